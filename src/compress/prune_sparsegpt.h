/**
 * @file
 * SparseGPT: prunes a matrix column by column, and lets the weights that come later make
 * up for what goes (optimal brain surgery with a fixed order).
 *
 * With H the second moments of the inputs, damped by 0.01 of their mean diagonal, and U
 * the upper factor of H^-1 = U^T U: in blocks of 128 columns, weights of the least
 * (w_ij / U_jj)^2 go; for every column j in turn, with e_i = (w_ij - kept value) / U_jj,
 *
 *     w_ik -= e_i U_jk   for all k > j.
 *
 * Weights of inputs that are always 0 are worth nothing; those that stay stay as they
 * are.
 *
 * Source: Frantar & Alistarh, ICML 2023, arXiv:2301.00774, algorithm 1.
 */
#ifndef PQ_COMPRESS_PRUNE_SPARSEGPT_H
#define PQ_COMPRESS_PRUNE_SPARSEGPT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** What goes: round(sparsity rows columns) weights, shared out over the blocks; or, with
 * M > 0, all but N of every M in a row. */
typedef struct {
    double sparsity;
    size_t N, M;
} pq_sparsegpt_target;

/**
 * @param[in,out] w     [rows, columns] row-major; what goes is exactly 0 afterwards
 * @param[in]     gram  [columns, columns] symmetric, sum of x x^T
 * @param[in,out] gone  [rows, columns] what is pruned already, which counts and stays so
 * @retval PQ_ERR_NUMERIC  The moments cannot be inverted.
 * Deterministic. Cost: columns^3 + rows columns^2 operations, columns^2 + rows columns
 * doubles of scratch.
 */
pq_status pq_sparsegpt(size_t rows, size_t columns, const double *gram,
                       pq_sparsegpt_target target, float *w, bool *gone, pq_err *err);

#endif
