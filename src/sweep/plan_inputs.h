/**
 * @file
 * The inputs of a plan.
 */
#ifndef PQ_SWEEP_PLAN_INPUTS_H
#define PQ_SWEEP_PLAN_INPUTS_H

#include "sweep/inputs.h"
#include "sweep/plan.h"

/**
 * Finds model and events, checks that they fit each other and the configuration, and
 * hashes them; fills paths, splits, hashes and the note.
 *
 * @param[in] memo  NULL: headers alone are read, nothing is hashed
 */
pq_status pq_cells_find_inputs(pq_cells *c, pq_hash_memo *memo, pq_err *err);

#endif
