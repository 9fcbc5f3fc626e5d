/**
 * @file
 * Learning rates, and what happens to the weights once the gradients of all
 * chunks are there.
 *
 * Source: Adam, Kingma & Ba, arXiv:1412.6980; AdamW, Loshchilov & Hutter,
 *         arXiv:1711.05101; one cycle, Smith, arXiv:1708.07120.
 */
#ifndef PQ_TRAIN_OPTIMIZER_H
#define PQ_TRAIN_OPTIMIZER_H

#include "train/net.h"
#include "train/train.h"

/** Owns its arrays. */
typedef struct {
    const pq_train_params *params; /**< borrowed */
    size_t                 n_flat;
    float                 *first;   /**< velocity or first moment */
    float                 *second;  /**< second moment, NULL for SGD */
    float                 *average; /**< moving average of the weights, NULL without */
    bool           *pruned; /**< [n_flat] what stays zero, NULL when nothing does */
    uint64_t        steps;  /**< done */
    size_t          n_tiles;
    struct pq_tile *tiles;
    double         *tile_sums; /**< [n_tiles] squared gradient */
} pq_optimizer;

pq_status pq_optimizer_create(const pq_train_params *params, const pq_net *net,
                              pq_optimizer *out, pq_err *err);
void      pq_optimizer_free(pq_optimizer *o);

/** Where a run is, before a step. */
typedef struct {
    double epoch; /**< epochs done, in events: 0 .. params->epochs */
    double step;  /**< steps done */
    double steps; /**< of the whole run */
} pq_course;

/** Learning rate of the next step. */
double pq_learning_rate(const pq_train_params *params, const pq_course *at);

/**
 * Sums the chunks' gradients in order, clips, updates the weights and prepares
 * the net for the next batch.
 *
 * @param[in] chunks  that the batch had.
 * @return false when a gradient is not finite: nothing was changed.
 */
bool pq_optimizer_step(pq_optimizer *o, pq_net *net, size_t chunks, double lr);

/** Index in net->weights of the first gradient that is not finite after a failed step, or
 * SIZE_MAX. */
size_t pq_optimizer_blame(const pq_net *net);

#endif
