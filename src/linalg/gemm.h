/**
 * @file
 * Checked matrix product through BLAS.
 */
#ifndef PQ_LINALG_GEMM_H
#define PQ_LINALG_GEMM_H

#include "tensor/tensor.h"

/** A matrix as an operand: as it is, or transposed without moving it. */
typedef struct {
    const pq_tensor *matrix;
    bool             transposed;
} pq_operand;

/**
 * C = beta C + op(A) op(B), all float32 (sgemm) or all float64 (dgemm).
 *
 * @param[in]     a     op(A) is [m, k]
 * @param[in]     b     op(B) is [k, n]
 * @param[in]     beta  0 overwrites C
 * @param[in,out] c     [m, n]; must not overlap A or B
 *
 * @retval PQ_ERR_SHAPE  Not matrices, sizes that do not fit each other or 32 bits, mixed
 * types.
 *
 * Cost: 2 m n k operations, no scratch of ours. One thread, deterministic on an
 * instruction set.
 */
pq_status pq_gemm(pq_operand a, pq_operand b, double beta, pq_tensor *c, pq_err *err);

/**
 * One thread in BLAS from now on: the order of summation must not depend on the machine,
 * and our own threads would compete with BLAS's. Costs nothing where it is so already:
 * told again after a fork, OpenBLAS would start all its threads anew, and they spin for
 * work.
 */
void pq_blas_alone(void);

#endif
