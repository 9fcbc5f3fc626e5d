/**
 * @file
 * Cholesky factors of symmetric positive definite matrices, in double.
 */
#ifndef PQ_LINALG_CHOLESKY_H
#define PQ_LINALG_CHOLESKY_H

#include <stddef.h>

#include "core/err.h"

/**
 * The upper factor U of an inverse, A^-1 = U^T U: row i of U, over its diagonal, says how
 * the later unknowns answer when unknown i is fixed.
 *
 * @param[in]     n  1 .. 32767
 * @param[in,out] a  [n, n] symmetric; becomes U, zeros below the diagonal
 * @retval PQ_ERR_NUMERIC  The matrix is not positive definite, to rounding.
 * Cost: n^3 operations, no scratch.
 */
pq_status pq_inverse_factor(size_t n, double *a, pq_err *err);

#endif
