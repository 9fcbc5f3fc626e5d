/**
 * @file
 * The events of a split in memory, in the order and scale the graph expects,
 * and the order in which an epoch visits them.
 */
#ifndef PQ_TRAIN_EVENTS_H
#define PQ_TRAIN_EVENTS_H

#include "core/rng.h"
#include "data/dataset.h"
#include "graph/graph.h"

/** Owns its arrays. */
typedef struct {
    size_t   n, count; /**< events, values of one */
    float   *x;        /**< [n, count], scaled by the graph's scaler where it has one */
    int32_t *y;        /**< [n], in the graph's class order */
    float   *weight;   /**< [n] */
    bool     padded;   /**< as in pq_dataset_info */
} pq_events;

/**
 * Reads a split.
 *
 * @param[in] graph    with scaler and class names, or without: then the dataset's hold.
 * @param[in] weights  false: every event counts 1.
 * @retval PQ_ERR_SHAPE   The events do not fit the input.
 * @retval PQ_ERR_CONFIG  Classes of graph and dataset are not the same.
 * @retval PQ_ERR_NOMEM   They do not fit into memory.
 */
pq_status pq_events_read(pq_dataset *dataset, size_t split, const pq_graph *graph,
                         bool weights, pq_events *out, pq_err *err);

/** The same of n events, by an ascending index; each counts once. */
pq_status pq_events_pick(pq_dataset *dataset, size_t split, const pq_graph *graph,
                         const size_t *index, size_t n, pq_events *out, pq_err *err);
void      pq_events_free(pq_events *e);

/** Gives the graph a scaler by mean and deviation of each feature (the last axis), and
 * scales the events. Padding does not count and stays 0; its mask is not scaled. */
pq_status pq_events_standardize(pq_events *e, pq_graph *graph, pq_err *err);

/** Order of one epoch: a shuffle of `index`, a pure function of seed and epoch. */
void pq_order_uniform(uint64_t seed, size_t epoch, const size_t *index, size_t n,
                      size_t *out);

/** Such an order in the making. */
typedef struct {
    size_t  epoch; /**< 0 = none */
    pq_rng  rng;
    size_t  left; /**< of `out`, still to be shuffled */
    size_t *out;  /**< borrowed */
} pq_order;

/** Makes it some swaps at a time, so that it can be done beside other work; n swaps make
 * it whole. */
void pq_order_start(uint64_t seed, size_t epoch, const size_t *index, size_t n,
                    size_t *out, pq_order *order);
void pq_order_go_on(pq_order *order, size_t swaps);

/**
 * Order of one epoch in which every class that occurs is drawn equally often;
 * within a class all events come before any comes again.
 * @param[in] classes  labels are 0 .. classes-1
 */
pq_status pq_order_balanced(uint64_t seed, size_t epoch, const pq_events *events,
                            size_t classes, const size_t *index, size_t n, size_t *out,
                            pq_err *err);

#endif
