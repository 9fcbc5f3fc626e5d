/**
 * @file
 * Places blocks that live for known spans of time into one block of memory, so
 * that blocks alive at the same time do not overlap: largest first, each at the
 * lowest free offset.
 *
 * Source: "greedy by size", Pisarchyk & Lee, MLSys 2020 workshop, arXiv:2001.03288.
 */
#ifndef PQ_EXEC_LAYOUT_H
#define PQ_EXEC_LAYOUT_H

#include <stddef.h>

#include "core/err.h"

/** One block and when it is alive, first and last step included. */
typedef struct {
    size_t bytes;
    size_t first, last;
    size_t offset; /**< set by pq_layout_place; a multiple of 64 */
} pq_span;

/**
 * Sets every offset.
 *
 * @param[in,out] spans  [n]
 * @param[out]    total  bytes of the whole block
 *
 * @retval PQ_ERR_RANGE  The sizes overflow.
 *
 * Cost: O(n^2 log n) time at worst, n indices of scratch. Deterministic.
 */
pq_status pq_layout_place(pq_span *spans, size_t n, size_t *total, pq_err *err);

#endif
