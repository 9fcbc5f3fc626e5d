/**
 * @file
 * Steps without products in float32: what a kind's entry computes itself
 * (pq_layer_kind.forward32), items that move, and BatchNorm that is not folded.
 */
#ifndef PQ_EXEC_PLAIN_H
#define PQ_EXEC_PLAIN_H

#include "exec/engine.h"

/** Whether a step is one of them. */
bool pq_plain_has(const pq_layer *layer);

/** What computes it, for records. */
const char *pq_plain_kernel(const pq_layer *layer);

/** Prepares such a step (pq_engine.prepare). */
pq_status pq_plain_prepare(const pq_step *step, pq_op **out, pq_err *err);

#endif
