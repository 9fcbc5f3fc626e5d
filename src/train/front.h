/**
 * @file
 * The epochs of one training that no other beats in both EBOPs and accuracy, with their
 * weights: one training of hgq gives a front of networks. For the files of this room.
 */
#ifndef PQ_TRAIN_FRONT_H
#define PQ_TRAIN_FRONT_H

#include "train/trainer.h"

/** Takes the last epoch of the history in, and those that it beats out; epochs that
 * cannot be kept (pq_sparse_first) do not count. Does nothing without hgq_front. */
pq_status pq_front_keep(pq_trainer *t, const float *weights, pq_err *err);

/** Memory for n networks, before a checkpoint fills them. */
pq_status pq_front_reserve(pq_trainer *t, size_t n, pq_err *err);

/** Hangs the networks onto a graph (pq_graph.front), the one with most EBOPs first. The
 * graph's own weights are others afterwards. */
pq_status pq_front_attach(const pq_trainer *t, pq_graph *graph, pq_err *err);

void pq_front_free(pq_front *front);

#endif
