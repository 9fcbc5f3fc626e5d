/**
 * @file
 * Attributes of layer_norm.
 */
#ifndef PQ_LAYERS_LAYER_NORM_H
#define PQ_LAYERS_LAYER_NORM_H

/** layer_norm */
typedef struct {
    double epsilon; /**< added to the variance */
} pq_layer_norm_params;

#endif
