/**
 * @file
 * Inside of the Keras reader: one layer of the architecture and what turns it
 * into layers of ours. For formats/keras*.c only.
 *
 * Source: keras.io, "Saving & Loading"; keras/legacy/saving/legacy_h5_format.py.
 */
#ifndef PQ_FORMATS_KERAS_H
#define PQ_FORMATS_KERAS_H

#include "graph/graph.h"
#include "io/hdf5.h"

enum { PQ_KERAS_WEIGHTS = 8 /**< most weights of a layer that are read */ };

/** A layer of Keras on its way into the graph. Texts and config are borrowed from the
 * JSON. */
typedef struct {
    const char   *class_name;
    const char   *name;
    const json_t *config;
    bool   wrapped; /**< by a pruning wrapper, which adds weights of its own at the end */
    size_t n_inputs;
    const char *inputs[PQ_NODE_INPUTS]; /**< names of nodes */
    size_t      n_weights;
    pq_tensor  *weights[PQ_KERAS_WEIGHTS]; /**< float32, in the file's order; taken by the
                                              conversion */
} pq_keras_layer;

/** Where a conversion puts its layers. */
typedef struct {
    pq_graph *graph;
    char last[256]; /**< node that stands for the layer's output; set by the conversion */
} pq_keras_target;

/**
 * Appends what a layer of Keras is in our kinds; the node with the weights has its name.
 * Messages say what is wrong; the caller adds file and layer.
 * @retval PQ_ERR_UNSUPPORTED  Unknown class or option.
 */
pq_status pq_keras_convert(pq_keras_layer *layer, pq_keras_target *target, pq_err *err);

/** Appends the activation a config names (text or object) to node `last`, unless it is
 * linear. */
pq_status pq_keras_activation(const json_t *activation, const char *name,
                              pq_keras_target *target, pq_err *err);

/** Appends a node over earlier ones and makes it `last`. Takes the layer, also on
 * failure. */
pq_status pq_keras_add(pq_keras_target *target, const char *name, pq_layer *layer,
                       size_t n, const char *const *inputs, pq_err *err);

/* Reading a config; a missing or null entry gives the fallback. */

const char *pq_keras_text(const json_t *config, const char *key, const char *fallback);
double      pq_keras_real(const json_t *config, const char *key, double fallback);
bool        pq_keras_bool(const json_t *config, const char *key, bool fallback);

/** Two whole numbers, written as [a, b] or as one for both. */
pq_status pq_keras_pair(const json_t *config, const char *key, int64_t fallback,
                        int64_t out[2], pq_err *err);

/** Sets an attribute of a layer from a number. */
pq_status pq_keras_set(pq_layer *layer, const char *attribute, double value, pq_err *err);

/* What several classes share. */

/** Appends a layer under a name and the activation of the config after it; takes *layer,
 * also on failure. */
pq_status pq_keras_finish(pq_keras_layer *k, const char *name, pq_layer **layer,
                          pq_keras_target *target, pq_err *err);

/** Sets attributes <what>_h and <what>_w. */
pq_status pq_keras_set_pair(pq_layer *layer, const char *what, const int64_t pair[2],
                            pq_err *err);

/** Sets stride (else `fallback`) and padding from a config. */
pq_status pq_keras_set_window(pq_layer *layer, const json_t *config,
                              const int64_t *fallback, pq_err *err);

/* Converters of the classes with weights; as pq_keras_convert. */

pq_status pq_keras_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_depthwise(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_separable(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_batch_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/** Refuses channels_first. */
pq_status pq_keras_check_format(const json_t *config, pq_err *err);

/** Converts an activation layer (ReLU, LeakyReLU, ELU, Softmax), or finds that it is
 * none. */
pq_status pq_keras_activation_class(const char *class_name, const json_t *config,
                                    const char *name, pq_keras_target *target,
                                    bool *found, pq_err *err);

#endif
