/**
 * @file
 * Tensor trains and tensor rings in double precision.
 *
 *     T[i_1, …, i_d] = trace(G_1[i_1] G_2[i_2] … G_d[i_d]),
 *
 * core k being [r_{k-1}, n_k, r_k]; in a train r_0 = r_d = 1, in a ring r_0 =
 * r_d. A train whose every truncation keeps the dropped part below epsilon |T| /
 * sqrt(d - 1) is within epsilon |T| of T, whatever T is.
 *
 * Source: Oseledets, SIAM J. Sci. Comput. 33 (2011), doi:10.1137/090752286, alg. 1
 *         and 2; Zhao et al., arXiv:1606.05535 (rings).
 */
#ifndef PQ_LINALG_TT_H
#define PQ_LINALG_TT_H

#include "tensor/tensor.h"

/** Cores; owns them. {0} is empty. */
typedef struct {
    size_t     d;                     /**< number of cores, 1 .. PQ_MAX_DIMS */
    size_t     rank[PQ_MAX_DIMS + 1]; /**< r_0 .. r_d */
    pq_tensor *core[PQ_MAX_DIMS];     /**< float64 [r_{k-1}, n_k, r_k] */
} pq_tt;

void pq_tt_free(pq_tt *t);

/**
 * Decomposes by successive truncated SVDs.
 *
 * @param[in]  t          float32 or float64, 1 .. PQ_MAX_DIMS axes, finite
 * @param[in]  epsilon    >= 0: relative error that is kept where max_rank allows
 * @param[in]  max_rank   [d - 1] largest ranks, each >= 1, or NULL = none
 * @param[out] out        caller frees with pq_tt_free; untouched on failure
 *
 * @retval PQ_ERR_RANGE    A rank of 0, a negative epsilon.
 * @retval PQ_ERR_NUMERIC  NaN or infinity.
 */
pq_status pq_tt_svd(const pq_tensor *t, double epsilon, const size_t *max_rank,
                    pq_tt *out, pq_err *err);

/** A train of lower ranks within epsilon of `t` (relative): orthogonalises from the
 * right, truncates from the left. Arguments as pq_tt_svd. Cost: O(d n r^3). */
pq_status pq_tt_round(const pq_tt *t, double epsilon, const size_t *max_rank, pq_tt *out,
                      pq_err *err);

/**
 * Singular values of the unfolding at every cut of a train that pq_tt_svd or pq_tt_round
 * made without truncating anything.
 *
 * @param[out] values  [d - 1] float64 [rank[k + 1]], descending; caller frees each
 */
pq_status pq_tt_cuts(const pq_tt *t, pq_tensor **values, pq_err *err);

/**
 * A ring of ranks at most `rank`: the first SVD's rank is split into r_0 r_1, the rest is
 * a train. The start makes a difference: all d are tried and the best kept.
 * No guarantee of quality; *error says what came out.
 *
 * @param[out] error  relative, in the Frobenius norm
 */
pq_status pq_ring_svd(const pq_tensor *t, size_t rank, pq_tt *out, double *error,
                      pq_err *err);

/** The tensor of a train or ring, float64 [n_1, …, n_d]. */
pq_status pq_tt_full(const pq_tt *t, pq_tensor **out, pq_err *err);

/** Items of all cores. */
size_t pq_tt_parameters(const pq_tt *t);

#endif
