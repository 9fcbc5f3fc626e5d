/**
 * @file
 * Leading eigenvectors of a symmetric tridiagonal matrix T = L D L^T + lambda: what is
 * left of a symmetric eigenproblem after reduction.
 *
 * Values by QR iteration without square roots. Each vector from the factorisation of
 * T - lambda that begins at both ends and meets where the remainder is smallest, many
 * values side by side; then all are made orthonormal by the Cholesky factor of their
 * Gram matrix. This takes O(n^2 + n top^2) operations where divide and conquer takes
 * O(n^3), but is not sound for every matrix: what came out is checked, not hoped for.
 *
 * Source: Parlett & Dhillon, Linear Algebra Appl. 267 (1997),
 *         doi:10.1016/S0024-3795(97)80053-5; values: LAPACK dsterf.
 */
#ifndef PQ_LINALG_TRIDIAGONAL_H
#define PQ_LINALG_TRIDIAGONAL_H

#include "tensor/tensor.h"

/**
 * @param[in]  d        [n] diagonal
 * @param[in]  e        [n - 1] beside it
 * @param[in]  top      1 .. n
 * @param[out] values   [top] largest eigenvalues, ascending
 * @param[out] vectors  [top, n] orthonormal, row i belongs to values[i]
 * @param[out] sound    whether every |T v - lambda v| is at rounding level and the
 * vectors came out nearly orthogonal of themselves; else both are garbage: equal
 * eigenvalues, a zero beside the diagonal
 *
 * @retval PQ_ERR_NOMEM  Out of memory.
 *
 * Deterministic.
 */
pq_status pq_tridiagonal_top(const double *d, const double *e, size_t n, size_t top,
                             double *values, double *vectors, bool *sound, pq_err *err);

#endif
