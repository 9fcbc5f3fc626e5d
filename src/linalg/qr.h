/**
 * @file
 * Thin QR factorisation A = Q R in double precision; the diagonal of R is not
 * negative, so the factors are a function of A alone (for full column rank).
 *
 * Source: LAPACK dgelqf and dorglq (Householder).
 */
#ifndef PQ_LINALG_QR_H
#define PQ_LINALG_QR_H

#include "tensor/tensor.h"

/**
 * @param[in]  a  [m, n], float32 or float64, unchanged
 * @param[out] q  float64 [m, k], k = min(m, n), orthonormal columns; caller frees
 * @param[out] r  float64 [k, n], upper triangular; caller frees
 *
 * @retval PQ_ERR_SHAPE    Not a matrix, empty, or beyond LAPACK's 32-bit sizes.
 * @retval PQ_ERR_NUMERIC  a holds a NaN or infinity, whose index is named.
 * @retval PQ_ERR_NOMEM    Out of memory.
 *
 * Cost: 4 m n k operations, m n doubles of scratch. One thread, deterministic.
 */
pq_status pq_qr_thin(const pq_tensor *a, pq_tensor **q, pq_tensor **r, pq_err *err);

#endif
