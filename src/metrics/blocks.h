/**
 * @file
 * Sums over events on several threads: block by block, the blocks' sums added in their
 * order, so that the result does not depend on the number of threads. For the metrics
 * room only.
 */
#ifndef PQ_METRICS_BLOCKS_H
#define PQ_METRICS_BLOCKS_H

#include "core/threads.h"
#include "metrics/metric.h"

/** Threads that an evaluation may use, at least 1. */
static inline size_t pq_evaluation_threads(const pq_evaluation *e)
{
    return e->threads > 0 ? e->threads : 1;
}

/** Adds events first .. end-1 to sums. */
typedef void (*pq_block_add)(const pq_evaluation *e, const void *context, size_t first,
                             size_t end, double *sums);

/**
 * Adds up.
 * @param[in]  n_sums  numbers that a block adds to
 * @param[out] sums    [n_sums]
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_blocks_sum(const pq_evaluation *e, pq_block_add add, const void *context,
                        size_t n_sums, double *sums, pq_err *err);

#endif
