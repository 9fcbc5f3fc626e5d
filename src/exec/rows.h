/**
 * @file
 * Slices of the last axis, and pooling over the rows of a mask, in float32.
 */
#ifndef PQ_EXEC_ROWS_H
#define PQ_EXEC_ROWS_H

#include "exec/engine.h"

/** Whether a layer kind has a function here. */
bool pq_rows_has(const char *kind);

/** Prepares a step of such a kind (pq_engine.prepare). */
pq_status pq_rows_prepare(const pq_step *step, pq_op **out, pq_err *err);

#endif
