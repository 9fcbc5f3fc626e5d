/**
 * @file
 * Two models on the same events, layer by layer: which layer broke it?
 */
#ifndef PQ_LAB_DIFF_H
#define PQ_LAB_DIFF_H

#include "data/dataset.h"
#include "graph/head.h"

/** Outputs of one layer that both models have. */
typedef struct {
    char *name;     /**< of the layer in both; owned */
    char *measured; /**< where the first model's value stands: behind a BatchNorm that the
                       second has folded, else as `name`; owned */
    double error;   /**< |a - b| / |a|, norms over all values of all events */
    double largest; /**< largest |a - b| */
    double signal;  /**< root mean square of a */
} pq_layer_diff;

typedef struct {
    const char *first_engine, *second_engine; /**< NULL = "float32" */
    size_t      events; /**< the first of the split, 0 = 256; at most 4096 */
} pq_diff_options;

/** Owns its array; {0} is empty. */
typedef struct {
    size_t         events;
    pq_head        head;  /**< of both models */
    size_t         width; /**< outputs of both */
    size_t         agree; /**< events that both decide alike: pq_head_agree */
    size_t         n;
    pq_layer_diff *layers; /**< [n], in the order of the second model */
} pq_diff;

/**
 * Compares the values of layers of one name and shape. Both models must take the
 * dataset's samples; without one (NULL) they get random inputs, the same for both,
 * standard normal after the scaler.
 *
 * @retval PQ_ERR_SHAPE  The models' outputs have different shapes, or do not fit the
 * samples.
 * @retval PQ_ERR_CONFIG  Their heads differ: decisions cannot be compared.
 */
pq_status pq_diff_models(const pq_graph *first, const pq_graph *second,
                         pq_dataset *dataset, size_t split,
                         const pq_diff_options *options, pq_diff *out, pq_err *err);
void      pq_diff_free(pq_diff *diff);

#endif
