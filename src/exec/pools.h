/**
 * @file
 * Pooling in float32, all channels of a position together.
 */
#ifndef PQ_EXEC_POOLS_H
#define PQ_EXEC_POOLS_H

#include "exec/engine.h"

/** Whether a layer kind has a function here. */
bool pq_pools_has(const char *kind);

/** Prepares a step of such a kind (pq_engine.prepare). */
pq_status pq_pools_prepare(const pq_step *step, pq_op **out, pq_err *err);

#endif
