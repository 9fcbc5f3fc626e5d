/**
 * @file
 * Eigenvalues and eigenvectors of a symmetric matrix in double precision.
 *
 * Source: LAPACK dsyevd (divide and conquer).
 */
#ifndef PQ_LINALG_EIGH_H
#define PQ_LINALG_EIGH_H

#include "tensor/tensor.h"

/**
 * Solves A v = lambda v. Signs: the entry of largest magnitude of each vector
 * is positive.
 *
 * @param[in]  a        [n, n], float32 or float64, unchanged; symmetric to 1e-6 of its
 * largest entry; the upper triangle is used
 * @param[out] values   float64 [n], descending; caller frees
 * @param[out] vectors  float64 [n, n], row i belongs to values[i]; caller frees
 *
 * @retval PQ_ERR_SHAPE    Not square, empty, or beyond LAPACK's 32-bit sizes.
 * @retval PQ_ERR_NUMERIC  NaN or infinity, not symmetric (the entry is named), or no
 * convergence.
 * @retval PQ_ERR_NOMEM    Out of memory.
 *
 * Cost: about 9 n^3 operations, 3 n^2 doubles of scratch. One thread, deterministic.
 */
pq_status pq_eigh(const pq_tensor *a, pq_tensor **values, pq_tensor **vectors,
                  pq_err *err);

/**
 * The `top` largest eigenvalues alone, and their vectors.
 *
 * @param[in]  top      1 .. n
 * @param[out] values   float64 [top], descending; vectors float64 [top, n]
 * @retval as pq_eigh; PQ_ERR_RANGE when top is not in 1 .. n
 *
 * By way of a tridiagonal matrix (linalg/tridiagonal.h), and of pq_eigh where that is not
 * sound, as with equal eigenvalues.
 *
 * Source: LAPACK dsytrd, dsterf, dormtr. Cost: 4/3 n^3 + 2 n^2 top + 2 n top^2.
 */
pq_status pq_eigh_top(const pq_tensor *a, size_t top, pq_tensor **values,
                      pq_tensor **vectors, pq_err *err);

#endif
