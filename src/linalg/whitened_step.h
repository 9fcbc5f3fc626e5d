/**
 * @file
 * Steps that whitened Tucker and CP share. Not for other rooms.
 */
#ifndef PQ_LINALG_WHITENED_STEP_H
#define PQ_LINALG_WHITENED_STEP_H

#include "tensor/tensor.h"

/** C [m, n] = A [m, k] B, row by row, B [k, n] or (transposed) [n, k]; `beta` C is added.
 */
void pq_multiply(size_t m, size_t n, size_t k, const double *a, const double *b,
                 bool transposed, double beta, double *c);

/** Sum of the products of two lists. */
double pq_dot(size_t n, const double *a, const double *b);

/** b [m, k] becomes b a^-1, a [k, k] symmetric, no eigenvalue below 0; directions in
 * which it is 0 are left out. */
pq_status pq_solve_right(const pq_tensor *a, pq_tensor *b, pq_err *err);

/** Pseudo-inverse of a symmetric matrix whose eigenvalues are raised by 1e-6 of their
 * mean. */
pq_status pq_soft_inverse(const pq_tensor *a, pq_tensor **out, pq_err *err);

/**
 * What is left of S [n, n] for one axis of a patch: the mean over all others of the
 * blocks where they agree.
 * @param[in]  s      [n, n]; n = outer size inner
 * @param[in]  outer  items before the axis
 * @param[in]  size   items along it
 * @param[in]  inner  items behind it
 * @param[out] out    [size, size], caller frees with pq_tensor_free
 * @param[out] err    details of a failure, or NULL
 */
pq_status pq_partial_moments(const pq_tensor *s, size_t outer, size_t size, size_t inner,
                             pq_tensor **out, pq_err *err);

/** An unknown [m, r] of linear least squares. */
typedef struct {
    size_t           m, r;
    const pq_tensor *rows, *columns; /**< [m, m], [r, r]: preconditioner */
    void (*normal)(void *context, const double *x, double *y); /**< y = H x */
    void *context;
} pq_least_squares;

/** A few steps of conjugate gradients for H x = b from x; each lowers the error.
 * @retval PQ_ERR_NOMEM */
pq_status pq_conjugate(const pq_least_squares *p, const double *b, double *x, size_t most,
                       pq_err *err);

#endif
