/**
 * @file
 * Thin singular value decomposition W = U diag(s) V^T in double precision.
 *
 * Signs are fixed: in each column of U the entry of largest magnitude (the
 * first of equal ones) is positive. So the factors are a function of W alone
 * wherever singular values are distinct.
 *
 * Source: LAPACK dgesdd, Gu & Eisenstat, SIAM J. Matrix Anal. Appl. 16 (1995),
 *         doi:10.1137/S0895479892242232; sign rule: TensorLy svd_flip.
 */
#ifndef PQ_LINALG_SVD_H
#define PQ_LINALG_SVD_H

#include "tensor/tensor.h"

/** Factors of an [m, n] matrix, k = min(m, n); owns all three. {0} is empty. */
typedef struct {
    pq_tensor *u;  /**< float64 [m, k], orthonormal columns */
    pq_tensor *s;  /**< float64 [k], descending, >= 0 */
    pq_tensor *vt; /**< float64 [k, n], orthonormal rows */
} pq_svd;

/**
 * Decomposes by divide and conquer, and by QR iteration where that does not
 * converge. One BLAS thread: same result on any number of cores.
 *
 * @param[in]  w    [m, n], float32 or float64, unchanged; m, n in 1 .. 2^31 - 1
 * @param[out] out  caller frees with pq_svd_free(); untouched on failure
 * @param[out] err  details of a failure, or NULL
 *
 * @retval PQ_ERR_SHAPE    w is not a matrix, is empty, or exceeds LAPACK's 32-bit sizes.
 * @retval PQ_ERR_NUMERIC  w holds a NaN or infinity (its index is named), or no
 * convergence.
 * @retval PQ_ERR_NOMEM    Out of memory.
 *
 * Cost: about 4 m n k + 8 k^3 operations; 2 m n + 4 k^2 + 7 k doubles of scratch.
 */
pq_status pq_svd_thin(const pq_tensor *w, pq_svd *out, pq_err *err);

/**
 * The same by one-sided Jacobi rotations, plainly written: the oracle.
 *
 * Source: Hestenes, J. SIAM 6 (1958), doi:10.1137/0106005.
 * Cost: O(m n k) a sweep, about ten sweeps. Columns of U that belong to zero
 * singular values are zero.
 */
pq_status pq_svd_thin_ref(const pq_tensor *w, pq_svd *out, pq_err *err);

/** Frees the factors and zeroes the struct; harmless on a zeroed one. */
void pq_svd_free(pq_svd *svd);

/** Makes the entry of largest magnitude of each column of u positive. */
void pq_svd_fix_signs(pq_svd *svd);

/** Norm of the dropped singular values, sqrt(sum of s_i^2 for i >= rank): the error of
 * the best approximation. */
double pq_svd_tail(const pq_svd *svd, size_t rank);

#endif
