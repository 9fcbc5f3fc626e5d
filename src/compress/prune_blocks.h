/**
 * @file
 * Which blocks of weights go: of neighbours along the inputs by neighbouring outputs, so
 * that what is left are runs of whole vectors for kernels. For the stage prune only.
 *
 * Source: blocks of small size in kernels, Elsen et al., CVPR 2020, arXiv:1911.09723
 *         (16 x 1 there).
 */
#ifndef PQ_COMPRESS_PRUNE_BLOCKS_H
#define PQ_COMPRESS_PRUNE_BLOCKS_H

#include "compress/prune_weights.h"
#include "core/err.h"

/** Size of a block; those at the end of a row, or of the rows, may be smaller. */
typedef struct {
    size_t inputs, outputs;
} pq_block_size;

/**
 * Zeroes and marks round(share n) of the n blocks of all runs together: those of the
 * least mean square of scores, of which pruned weights have 0; of equal ones those that
 * come first, by kernel, outputs, inputs.
 *
 * @param[in]  runs  [n] of whole kernels
 * @param[in]  row   [n] items of an output channel of each
 * @param[in]  n     kernels
 * @param[in]  size  of a block, at least 1 x 1
 * @param[in]  share in [0, 1)
 * @param[out] err   details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 *
 * Cost: sorting, O(blocks log blocks); 40 bytes a block.
 */
pq_status pq_prune_blocks(const pq_weight_run *runs, const size_t *row, size_t n,
                          pq_block_size size, double share, pq_err *err);

#endif
