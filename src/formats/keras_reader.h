/**
 * @file
 * One reading of a model of Keras: what its files hold (keras.c), and its layers wired
 * into a graph (keras_wire.c, keras_calls.c). For formats/keras*.c only.
 */
#ifndef PQ_FORMATS_KERAS_READER_H
#define PQ_FORMATS_KERAS_READER_H

#include "core/places.h"
#include "formats/keras.h"

/** What is known while a model is read. */
typedef struct {
    const char      *path;   /**< of the weights */
    const char      *arch;   /**< beside them, or NULL */
    const char      *output; /**< which of several, by name or number; or NULL */
    pq_h5           *file;
    const char      *root;  /**< group of the layers' groups */
    char           **saved; /**< [n_saved] layer_names */
    size_t           n_saved;
    pq_places        saved_at; /**< of layer_names */
    char            *backend;  /**< that wrote the weights, or "" */
    pq_keras_archive archive;  /**< {0} where the file is none */
    json_t          *dtypes;   /**< types and policies other than float32 that were met */
    size_t           n_calls;  /**< of layers so far */
    float           *rows;     /**< [n_rows] room for rows of a kernel on their way */
    size_t           n_rows;
    pq_keras_target  target;
} pq_keras_reader;

/** A model, or one within it that is a layer there, while its layers are added: each of
 * its calls is a scope. */
typedef struct pq_keras_scope {
    const struct pq_keras_scope *outer; /**< NULL: the model itself */
    const char                  *name;  /**< as a layer of the outer one, or "" */
    const char *prefix;                 /**< of the names of its nodes: "", or "inner." */
    const char *group; /**< of all its weights in HDF5 of Keras 2: that of the layer of
                            the model itself, or NULL: each layer has its own */
    size_t  depth;
    json_t *places; /**< of the layers' weights in a file of Keras 3, or NULL */
    json_t *calls;  /**< name of a layer -> its calls -> names of their output nodes */
    json_t *bases;  /**< name of an inner model -> numbers of its first call in what
                         its readers and what the outputs say */
} pq_keras_scope;

/** Whether a layer is a model of layers. */
bool pq_keras_is_model(const json_t *layer);

/** Name of a layer, "" where it has none. */
const char *pq_keras_layer_name(const json_t *layer);

/** Tensor i of ["a", 0, 0], [["a", 0, 0], ["b", 0, 0]] or {"x": ["a", 0, 0], …}, and what
 * it is called; NULL where there are no more. Borrowed. */
const json_t *pq_keras_tensor_at(const json_t *list, size_t i, const char **name);

/** Reads the weights of a layer and turns it into nodes, the last of which is
 * r->target.last. @param[in] name  of the node */
pq_status pq_keras_add_layer(pq_keras_reader *r, const pq_keras_scope *scope,
                             const json_t *json, const char *name, size_t n_inputs,
                             const char *const *inputs, pq_err *err);

/** Adds all layers of a model, and sets the graph's output. */
pq_status pq_keras_wire(pq_keras_reader *r, const json_t *architecture, pq_err *err);

/** Reads the weights of a layer in their order.
 * @param[in] name  of the layer in its scope */
pq_status pq_keras_read_weights(pq_keras_reader *r, const pq_keras_scope *scope,
                                const char *name, pq_keras_layer *k, pq_err *err);

/** What a layer reads in one call. */
typedef struct {
    size_t n;
    struct {
        const char *layer; /**< borrowed from the JSON */
        size_t      call, tensor;
    } from[PQ_NODE_INPUTS];
} pq_keras_sources;

/** How often a layer is called. */
size_t pq_keras_n_calls(const json_t *layer);

/**
 * What a call of a layer of a functional model reads; messages name file and layer.
 * @retval PQ_ERR_UNSUPPORTED  Called with more than tensors.
 */
pq_status pq_keras_find_sources(const char *path, const json_t *layer, size_t call,
                                pq_keras_sources *out, pq_err *err);

/**
 * Numbers of the first calls of models within a model. A model that is a layer has been
 * called once before, by itself: Keras 2 counts that call everywhere, Keras 3 only in
 * the list of outputs.
 * @param[out] out  caller frees
 */
pq_status pq_keras_find_bases(const char *path, const json_t *layers,
                              const json_t *outputs, json_t **out, pq_err *err);

#endif
