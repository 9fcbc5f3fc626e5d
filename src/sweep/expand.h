/**
 * @file
 * The cases of one pipeline: every combination of its axes, with its stages read.
 *
 * What cases have in common is there once: the texts of axes' values, and each stage for
 * every combination of the axes that it names itself. So two stages with an axis of 100
 * values each are 200 stages in memory, not 20,000.
 */
#ifndef PQ_SWEEP_EXPAND_H
#define PQ_SWEEP_EXPAND_H

#include "sweep/grid.h"

/**
 * Reads the stages of all cases into out->cases; what is wrong goes to the problems.
 *
 * @param[in] stages  a list; outlives nothing
 * @param[in] grid    whose axes' names outlive the result
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_expand(pq_problems *p, const pq_yaml *stages, pq_grid *grid,
                    pq_pipeline *out, pq_err *err);

/** Frees what it made; the pipeline has no cases then. */
void pq_expand_free(pq_pipeline *pipeline);

#endif
