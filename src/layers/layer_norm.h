/**
 * @file
 * Attributes of layer_norm.
 */
#ifndef PQ_LAYERS_LAYER_NORM_H
#define PQ_LAYERS_LAYER_NORM_H

/** In float32, a row whose sum of squares exceeds this is computed in double: it would
 * overflow, or has. */
#define PQ_LAYER_NORM_MOST 1e38f

/** So is one whose variance and epsilon are together less than this: squares below
 * float32 may be missing. */
#define PQ_LAYER_NORM_LEAST 1e-30f

/** layer_norm */
typedef struct {
    double epsilon; /**< added to the variance */
} pq_layer_norm_params;

#endif
