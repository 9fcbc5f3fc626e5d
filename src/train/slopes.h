/**
 * @file
 * The gradient of the loss by every weight, event by event, of a network as it stands:
 * by running statistics of BatchNorm and without dropout. The loss is the cross-entropy
 * against the event's label; every event counts once.
 *
 * For scores by the Fisher diagonal, whose mean of squares over events a gradient of
 * whole batches does not tell.
 */
#ifndef PQ_TRAIN_SLOPES_H
#define PQ_TRAIN_SLOPES_H

#include "data/dataset.h"
#include "graph/graph.h"

/**
 * Told of one event's gradient.
 * @param[in] slope  [weights of all nodes, in graph order] of each weight its items'
 *                   slopes, NULL for statistics, which are not trained
 */
typedef pq_status (*pq_slopes_seen)(void *context, const float *const *slope,
                                    pq_err *err);

/**
 * Runs events through a checked graph, one after the other, on one thread.
 *
 * @param[in] index  [n] of the split's events, ascending
 * @retval PQ_ERR_CONFIG       The outputs are no probabilities, or classes differ.
 * @retval PQ_ERR_NUMERIC      The loss of an event is not finite.
 * @retval others              As pq_events_read and pq_net_create.
 *
 * Cost: about three forward passes an event, of batch 1.
 */
pq_status pq_slopes_run(const pq_graph *graph, pq_dataset *dataset, size_t split,
                        const size_t *index, size_t n, pq_slopes_seen seen, void *context,
                        pq_err *err);

#endif
