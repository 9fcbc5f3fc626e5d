/**
 * @file
 * The dominant left singular space of a matrix: what TT, Tucker and ring need
 * of an SVD, at a fraction of its cost.
 */
#ifndef PQ_LINALG_SUBSPACE_H
#define PQ_LINALG_SUBSPACE_H

#include "linalg/svd.h"

/**
 * Smallest orthonormal basis U [m, r], r <= max_rank, with |A - U U^T A|_F <= tail, and
 * what it leaves of A; r = min(max_rank, m, n) when no smaller one is that good.
 *
 * From the eigenvectors of the smaller Gram matrix in double; where the wanted
 * singular values or the tail are below 1e-5 of the largest, so that squaring
 * them would lose digits, from a full SVD.
 *
 * @param[in]  a     float64 [m, n], unchanged
 * @param[in]  tail  >= 0, in the Frobenius norm; 0 = as exact as max_rank allows
 * @param[out] u     float64 [m, r], largest entry of each column positive; caller frees
 * @param[out] rest  float64 [r, n], U^T A; caller frees
 *
 * @retval PQ_ERR_SHAPE, PQ_ERR_NUMERIC, PQ_ERR_NOMEM  As pq_svd_thin; PQ_ERR_RANGE when
 * max_rank is 0.
 *
 * Cost: m n (k + 2 r) + 8/3 k^3 + 2 k^2 r operations, k = min(m, n). One thread,
 * deterministic.
 */
pq_status pq_left_split(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                        pq_tensor **rest, pq_err *err);

/** The basis from the Gram matrix A A^T [m, m] alone, exactly `rank` columns. */
pq_status pq_left_space_of_gram(const pq_tensor *gram, size_t rank, pq_tensor **u,
                                pq_err *err);

/** Copies the upper triangle of a square float64 matrix into the lower. */
void pq_mirror_upper(pq_tensor *a);

/** Frobenius norm, also where squares leave the range of double. */
double pq_norm(const pq_tensor *t);

/** sum of squares, and the distance of two tensors of one size, both float64. */
double pq_square_norm(const pq_tensor *t);
double pq_square_distance(const pq_tensor *a, const pq_tensor *b);

#endif
