/**
 * @file
 * What `finetune` and `distill` share: a stage that trains the selected layers.
 */
#ifndef PQ_COMPRESS_TRAINING_H
#define PQ_COMPRESS_TRAINING_H

#include "compress/method.h"

/** Whether a layer has weights that can be trained. */
bool pq_training_accepts(const pq_graph *graph, const pq_node *node);

/** PQ_NEEDS_TRAINING, whatever the parameters. */
unsigned pq_training_needs(const void *params);

/** pq_train_check. */
pq_status pq_training_check(const void *params, pq_err *err);

/**
 * Says in a layer's change which recall is furthest below its floor, where floors were
 * not held; nothing otherwise.
 */
void pq_floor_missed(const pq_graph *graph, const pq_train_summary *summary,
                     pq_layer_change *change);

/**
 * Trains the selected nodes of task->graph in place; all others keep their
 * weights. Reports how far each selected layer moved.
 *
 * @param[in] teacher  NULL = train on labels alone.
 */
pq_status pq_training_apply(pq_compress_task *task, const pq_graph *teacher, pq_err *err);

#endif
