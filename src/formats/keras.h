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

enum { PQ_KERAS_WEIGHTS = 12 /**< most weights of a layer that are read */ };

/** A layer of Keras on its way into the graph. Texts and config are borrowed from the
 * JSON. */
typedef struct {
    const char   *class_name;
    const char   *name;
    const json_t *config;
    bool   wrapped; /**< by a pruning wrapper, which adds weights of its own at the end */
    bool   turned;  /**< weights[0] has the file's last axis first, as ours have it */
    size_t n_inputs;
    const char *inputs[PQ_NODE_INPUTS]; /**< names of nodes */
    size_t      n_weights;
    pq_tensor  *weights[PQ_KERAS_WEIGHTS]; /**< float32, in the file's order; taken by the
                                              conversion */
    pq_h5 *file;                           /**< of the weights, borrowed */
    char  *group; /**< of the layer's weights in it, owned; NULL without */
} pq_keras_layer;

/** Where a conversion puts its layers. */
typedef struct {
    pq_graph *graph;
    char last[256]; /**< node that stands for the layer's output; set by the conversion */
} pq_keras_target;

/** Shape of a node that is there. */
static inline const pq_shape *pq_keras_shape(const pq_keras_target *target,
                                             const char            *node)
{
    return &target->graph->nodes[pq_graph_find(target->graph, node)].shape;
}

/** Keys of an object, by what becomes of them; names between blanks, NULL = none. */
typedef struct {
    const char *read; /**< followed */
    const char *idle; /**< change nothing in what a trained layer computes */
    const char *off;  /**< would, and are not read: null or false only */
} pq_keras_keys;

/** Keys of every layer's config. */
extern const pq_keras_keys pq_keras_common;

/** Keys beside class_name and config that say where a class comes from. */
#define PQ_KERAS_ORIGIN "module registered_name shared_object_id"

/** Refuses a class or function that is not Keras's own, by module and registered name. */
pq_status pq_keras_check_origin(const json_t *object, pq_err *err);

/* Keras 3: archives, and weights found by the places of their layers (keras_v3.c). */

/** Whether a file is a .keras archive. */
bool pq_keras_is_archive(const char *path);

/** What is in an archive; owned, the temporary file too. */
typedef struct {
    char *config;   /**< JSON of the architecture */
    char *metadata; /**< JSON, or NULL */
    char *weights;  /**< path of a temporary HDF5 file */
} pq_keras_archive;

/** Takes an archive apart. What is in `out`, caller frees, also on failure. */
pq_status pq_keras_unpack(const char *path, pq_keras_archive *out, pq_err *err);

/** Frees what was taken out, and removes the temporary file. */
void pq_keras_archive_free(pq_keras_archive *a);

/** Makes an empty file with a name of its own in the folder for temporary files; caller
 * removes it, and frees its path with pq_free. */
pq_status pq_keras_temporary(char **path, pq_err *err);

/** Puts the archive's path into a message in place of the temporary file's. */
void pq_keras_blame(pq_err *err, const char *spilled, const char *path);

/**
 * Group of the weights of a model's next layer of a class: "layers/dense/vars",
 * "layers/dense_1/vars", …
 * @param[in,out] counts  layers of each class so far
 * @param[out]    out     caller frees with pq_free
 */
pq_status pq_keras_v3_place(const char *root, const char *class_name, json_t *counts,
                            char **out, pq_err *err);

/** Writes a graph as a .keras archive.
 * @retval PQ_ERR_UNSUPPORTED  Keras has no layer for one of the graph's: named. */
pq_status pq_keras_save(const pq_graph *graph, const char *path, pq_err *err);

/** Group of the layers' groups in a file whose weights have no names, or NULL. */
const char *pq_keras_v3_root(pq_h5 *file);

/** Object of layers' names and the groups of their weights below `root`, which are
 * datasets 0, 1, ….
 * @param[in] path        of the file, for messages
 * @retval PQ_ERR_FORMAT  A group says that it is another layer's. */
pq_status pq_keras_v3_places(pq_h5 *file, const char *path, const char *root,
                             const json_t *layers, json_t **out, pq_err *err);

/** A class of layers: how many inputs, its conversion, and every key of its config. */
typedef struct {
    const char *name;
    size_t      min_inputs, max_inputs;
    /** Appends what a layer of Keras is in our kinds; the node with the weights has its
     * name. Messages say what is wrong; the caller adds file and layer. */
    pq_status (*convert)(pq_keras_layer *layer, pq_keras_target *target, pq_err *err);
    pq_keras_keys keys;
} pq_keras_class;

/**
 * Class of a layer, once its inputs and the keys of its config are known to be those of
 * the class; its weights need not be read yet.
 * @retval PQ_ERR_UNSUPPORTED  Unknown class or key.
 */
pq_status pq_keras_find_class(const pq_keras_layer *layer, const pq_keras_class **out,
                              pq_err *err);

/** Appends the activation a config names (text or object) to node `last`, unless it is
 * linear. @retval PQ_ERR_UNSUPPORTED  It has no kind here. */
pq_status pq_keras_activation(const json_t *activation, const char *name,
                              pq_keras_target *target, pq_err *err);

/** Appends a node over earlier ones and makes it `last`. Takes the layer, also on
 * failure. */
pq_status pq_keras_add(pq_keras_target *target, const char *name, pq_layer *layer,
                       size_t n, const char *const *inputs, pq_err *err);

/** Appends a node over `last`; takes *layer, also on failure. */
pq_status pq_keras_add_over(pq_keras_target *target, const char *name, pq_layer **layer,
                            pq_err *err);

/* Reading a config. A missing or null entry gives the fallback; one of another type is
 * an error, never a default. */

/** Parses an architecture (`text` is changed): Python's NaN and Infinity are read, and
 * values that stand in wrappings (arrays of NumPy, tuples) are taken out of them. */
pq_status pq_keras_parse(char *text, size_t n, const char *name, json_t **out,
                         pq_err *err);

/** A text where there is one, for names and messages. */
const char *pq_keras_text(const json_t *config, const char *key, const char *fallback);

pq_status pq_keras_word(const json_t *config, const char *key, const char *fallback,
                        const char **out, pq_err *err);
pq_status pq_keras_real(const json_t *config, const char *key, double fallback,
                        double *out, pq_err *err);
pq_status pq_keras_bool(const json_t *config, const char *key, bool fallback, bool *out,
                        pq_err *err);

/** A number; infinite where it is missing, null or Infinity. */
pq_status pq_keras_limit(const json_t *config, const char *key, double *out, pq_err *err);

/** A size; 0 where it is missing. */
pq_status pq_keras_size(const json_t *config, const char *key, size_t *out, pq_err *err);

/** Two whole numbers, written as [a, b] or as one for both. */
pq_status pq_keras_pair(const json_t *config, const char *key, int64_t fallback,
                        int64_t out[2], pq_err *err);

/** Axis of a sample of `ndim` axes that `axis` (a number or a list of one; missing: the
 * last) means. @retval PQ_ERR_UNSUPPORTED  Several, or the batch. */
pq_status pq_keras_axis(const json_t *config, size_t ndim, size_t *out, pq_err *err);

/** Type or policy of a layer: NULL for float32, else its name.
 * @retval PQ_ERR_UNSUPPORTED  It does not compute in floats. */
pq_status pq_keras_dtype(const json_t *config, const char **out, pq_err *err);

/** A copy of a config without its activation. @param[out] out  caller releases, also on
 * failure */
pq_status pq_keras_without_activation(const json_t *config, json_t **out, pq_err *err);

/** Refuses a key of `what` that is in none of the n lists. */
pq_status pq_keras_check_keys(const json_t *object, const char *what,
                              const pq_keras_keys *keys, size_t n, pq_err *err);

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
pq_status pq_keras_layer_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

pq_status pq_keras_conv1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_max_pool1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_avg_pool1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_keras_normalization(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/** Rescaling by factors and offsets of channels; by one factor it is a `scale`. */
pq_status pq_keras_rescaling(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/** Refuses a number of weights in the file other than the configuration's. */
pq_status pq_keras_check_weights(const pq_keras_layer *k, size_t due, pq_err *err);

/** Refuses channels_first. */
pq_status pq_keras_check_format(const json_t *config, pq_err *err);

/** Appends a node of a kind with up to one attribute (or NULL) over `last`. */
pq_status pq_keras_add_simple(const char *kind, const char *attribute, double value,
                              const char *name, pq_keras_target *target, pq_err *err);

/** Appends a clip to lo..hi over `last`. */
pq_status pq_keras_add_clip(double lo, double hi, const char *name,
                            pq_keras_target *target, pq_err *err);

/** Appends an activation that is a layer (ReLU, LeakyReLU, ELU, Softmax) over `last`. */
pq_status pq_keras_activation_layer(const char *class_name, const json_t *config,
                                    const char *name, pq_keras_target *target,
                                    pq_err *err);

/** Whether a class is such a layer; its keys. */
const pq_keras_keys *pq_keras_activation_keys(const char *class_name);

#endif
