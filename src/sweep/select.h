/**
 * @file
 * Which cells a run is about: those that `--only` names, of those the part of a shard.
 */
#ifndef PQ_SWEEP_SELECT_H
#define PQ_SWEEP_SELECT_H

#include "sweep/plan.h"

/** One part of n: {0} is the whole. */
typedef struct {
    size_t part; /**< 0 .. parts - 1 */
    size_t parts;
} pq_shard;

/**
 * Marks the cells that a text names: a glob over labels ("svd*,int8"), or, where it holds
 * a comparison, an expression of `name op value` joined by `&&`, `||`, `!` and brackets.
 * Names are `pipeline`, `label`, `repeat` and the axes of the configuration; `==` and
 * `!=` compare numbers as numbers and texts as globs, `<`, `<=`, `>` and `>=` numbers
 * alone. A comparison with an axis that a cell does not have is false.
 *
 * @param[in]  only  or NULL = all
 * @param[out] mine  [cells->n]
 * @retval PQ_ERR_CONFIG  The expression is none, with the place; or there is no such
 *                        axis.
 */
pq_status pq_cells_select(const pq_cells *cells, const char *only, bool *mine,
                          pq_err *err);

/**
 * Leaves of the marked cells those of a shard. The parts are disjoint and together the
 * whole; they depend on plan and marks alone. Cells that share a trained prefix go to one
 * part, groups in descending cost to the part with the least; an epoch of training is
 * taken for ten evaluations.
 *
 * @param[in,out] mine  [cells->n]
 */
pq_status pq_cells_shard(const pq_cells *cells, pq_shard shard, bool *mine, pq_err *err);

#endif
