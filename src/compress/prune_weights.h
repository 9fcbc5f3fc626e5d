/**
 * @file
 * Which single weights go: the least of a set by score, or all but N of every M. For the
 * stage prune only.
 */
#ifndef PQ_COMPRESS_PRUNE_WEIGHTS_H
#define PQ_COMPRESS_PRUNE_WEIGHTS_H

#include "layers/layer.h"

/** Neighbouring weights of one kernel; borrows all. */
typedef struct {
    pq_weight   *w;     /**< with room for a mask */
    const float *score; /**< [items of w] >= 0 and finite, or NULL: |w| */
    size_t       first, n;
    double      *dropped; /**< the squares that were zeroed are added */
} pq_weight_run;

/** Zeroes and marks one item. */
void pq_prune_item(const pq_weight_run *run, size_t item);

/**
 * Zeroes and marks `count` weights of all runs together: first what is pruned already,
 * then those of the least score, of equal ones those that come first.
 *
 * @param[in] histogram  [65536] scratch
 */
void pq_prune_least(const pq_weight_run *runs, size_t n, size_t count, size_t *histogram);

/** Of every M neighbours in a row, zeroes and marks all but the N of the largest score
 * (of equal ones the later go); of the shorter rest of a row as well.
 * @param[in] run  whole rows of `row` items */
void pq_prune_pattern(const pq_weight_run *run, size_t row, size_t N, size_t M);

#endif
