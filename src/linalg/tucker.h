/**
 * @file
 * Tucker decomposition: T = C x_1 U_1 … x_d U_d with orthonormal factors, of all
 * axes or of some (Tucker-2 of a convolution leaves its window whole).
 *
 * HOSVD takes each U from T; HOOI then improves each while the others are
 * fixed, until the error changes by less than a tolerance.
 *
 * Source: De Lathauwer, De Moor & Vandewalle, SIAM J. Matrix Anal. Appl. 21 (2000),
 *         doi:10.1137/S0895479896305696 and doi:10.1137/S0895479898346995; for
 *         layers: Kim et al., arXiv:1511.06530.
 */
#ifndef PQ_LINALG_TUCKER_H
#define PQ_LINALG_TUCKER_H

#include "tensor/tensor.h"

/** Core and factors; owns them. {0} is empty. */
typedef struct {
    pq_tensor *core;                /**< float64, [r_k] or [n_k] for axes left whole */
    pq_tensor *factor[PQ_MAX_DIMS]; /**< float64 [n_k, r_k], or NULL */
    size_t     sweeps;              /**< of HOOI that were made */
    double     error;               /**< |T - T'|_F / |T|_F, of the residual itself */
} pq_tucker;

/** How long to iterate. */
typedef struct {
    size_t max_sweeps;             /**< 0 = HOSVD alone */
    double tolerance;              /**< stop when the error changes by less, relative */
    const pq_tensor *const *start; /**< [ndim] left singular vectors of each unfolding,
                                      float64 [n_k, r_k or more], where they are known;
                                      may be NULL, also single ones */
} pq_tucker_options;

/**
 * @param[in]  t      float32 or float64, finite
 * @param[in]  rank   [ndim]; 0 leaves an axis whole
 * @param[out] out    caller frees with pq_tucker_free; untouched on failure
 *
 * @retval PQ_ERR_RANGE    A rank above its axis, with both.
 * @retval PQ_ERR_NUMERIC  NaN or infinity.
 *
 * Cost: a sweep takes one Gram matrix and one symmetric eigenproblem an axis.
 */
pq_status pq_tucker_decompose(const pq_tensor *t, const size_t *rank,
                              const pq_tucker_options *options, pq_tucker *out,
                              pq_err *err);
void      pq_tucker_free(pq_tucker *t);

/** The tensor, float64. */
pq_status pq_tucker_full(const pq_tucker *t, pq_tensor **out, pq_err *err);

/** Product along an axis: with [n, r] to r items, or (transposed = false) back from r to
 * n.
 */
pq_status pq_mode_product(const pq_tensor *t, size_t axis, const pq_tensor *factor,
                          bool transposed, pq_tensor **out, pq_err *err);

/** Sum of x x^T over all fibres x along an axis: [n, n], the Gram matrix of its
 * unfolding. */
pq_status pq_fibre_gram(const pq_tensor *t, size_t axis, pq_tensor **out, pq_err *err);

#endif
