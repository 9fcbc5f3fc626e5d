/**
 * @file
 * Canonical polyadic decomposition T = sum_r a_r o b_r o c_r … by alternating
 * least squares in double.
 *
 * Several starts (the leading singular vectors, then random ones) and a ridge of
 * 1e-10 of the mean diagonal keep the solves sound. Where single terms grow while
 * they cancel each other (degeneracy: sum of |term|^2 far above |T|^2), an
 * error-preserving correction makes the terms as small as the error allows.
 *
 * Source: Kolda & Bader, SIAM Review 51 (2009), doi:10.1137/07070111X; for layers:
 *         Lebedev et al., arXiv:1412.6553; correction: Phan et al., arXiv:2008.05441.
 */
#ifndef PQ_LINALG_CP_H
#define PQ_LINALG_CP_H

#include <stdint.h>

#include "tensor/tensor.h"

/** Factors; owns them. The norm of a term is spread evenly. {0} is empty. */
typedef struct {
    size_t     d;
    pq_tensor *factor[PQ_MAX_DIMS]; /**< float64 [n_k, rank] */
    double     error;               /**< |T - T'|_F / |T|_F, of the residual itself */
    double     swell;               /**< sum of |term|^2 / |T|^2: 1 or less is tame */
    size_t     sweeps;              /**< of the start that was kept */
    bool       corrected;           /**< by the error-preserving correction */
} pq_cp;

/** How hard to try; see pq_cp_defaults. */
typedef struct {
    size_t   starts;     /**< >= 1 */
    size_t   max_sweeps; /**< of each start, >= 1 */
    double   tolerance;  /**< stop when the error changes by less, relative to |T| */
    double   ridge;      /**< part of the mean diagonal of the normal equations */
    double   swell;      /**< above this the terms count as degenerate */
    uint64_t seed;
} pq_cp_options;

/** 5 starts, 200 sweeps, 1e-6, 1e-10, 100, seed 0. */
extern const pq_cp_options pq_cp_defaults;

/**
 * @param[in]  t     float32 or float64, 2 .. PQ_MAX_DIMS axes, finite, not all zero
 * @param[in]  rank  >= 1
 * @param[out] out   caller frees with pq_cp_free; untouched on failure
 *
 * @retval PQ_ERR_RANGE    Rank 0.
 * @retval PQ_ERR_NUMERIC  NaN or infinity in T; no start gave finite factors.
 *
 * Cost: a sweep takes about 4 rank items(T) operations. The best start is kept, tame
 * ones before degenerate ones; deterministic for a seed.
 */
pq_status pq_cp_als(const pq_tensor *t, size_t rank, const pq_cp_options *options,
                    pq_cp *out, pq_err *err);
void      pq_cp_free(pq_cp *cp);

/** The tensor, float64. */
pq_status pq_cp_full(const pq_cp *cp, pq_tensor **out, pq_err *err);

#endif
