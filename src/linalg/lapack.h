/**
 * @file
 * What the callers of LAPACK share inside this room: checked sizes, scratch
 * from core, finite input. Not for other rooms.
 */
#ifndef PQ_LINALG_LAPACK_H
#define PQ_LINALG_LAPACK_H

#include <lapacke.h>

#include "tensor/tensor.h"

/**
 * Checks that `a` is a non-empty finite matrix of floats that fits LAPACK's 32-bit sizes,
 * and sets BLAS to one thread.
 *
 * @param[in]  what  name of the operation, for messages
 * @retval PQ_ERR_SHAPE    Not a matrix, empty, or too large.
 * @retval PQ_ERR_NUMERIC  NaN or infinity, with its row and column.
 */
pq_status pq_lapack_check(const pq_tensor *a, const char *what, pq_err *err);

/**
 * The same, and a copy in double.
 *
 * @param[out] copy  float64 [m, n], caller frees
 * @retval PQ_ERR_SHAPE    Not a matrix, empty, or too large.
 * @retval PQ_ERR_NUMERIC  NaN or infinity, with its row and column.
 */
pq_status pq_lapack_input(const pq_tensor *a, const char *what, pq_tensor **copy,
                          pq_err *err);

/** Scratch of the size that a LAPACK workspace query returned. @retval PQ_ERR_SHAPE  It
 * does not fit 32 bits. */
pq_status pq_lapack_scratch(double query, double **work, lapack_int *lwork, pq_err *err);

/** Makes the entry of largest magnitude of a vector (stride in items) positive. Returns
 * whether the sign changed. */
bool pq_fix_sign(double *vector, size_t n, size_t stride);

#endif
