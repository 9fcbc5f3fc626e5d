/**
 * @file
 * Inside of the writer for Keras: layers of a model about to be written. For
 * formats/keras_export*.c only.
 */
#ifndef PQ_FORMATS_KERAS_EXPORT_H
#define PQ_FORMATS_KERAS_EXPORT_H

#include "formats/keras.h"

enum { PQ_KERAS_SPEC_WEIGHTS = 4 };

/** A layer of Keras about to be written. */
typedef struct {
    const char *class_name;
    char       *name;   /**< owned */
    json_t     *config; /**< owned */
    size_t      n_in;
    size_t      in[PQ_NODE_INPUTS];       /**< layers, by index */
    pq_shape    in_shape[PQ_NODE_INPUTS]; /**< of a sample */
    size_t      n_weights;
    pq_tensor  *weights[PQ_KERAS_SPEC_WEIGHTS]; /**< owned, in Keras's order */
    size_t      depth; /**< layers on the longest way to the output, both ends; 0: none */
    size_t      turn;  /**< when a walk from the output came to it, from 1 */
} pq_keras_spec;

typedef struct {
    const pq_graph *graph;
    size_t          at;    /**< node that is written */
    size_t         *value; /**< [n_nodes] layer that gives a node's value */
    size_t          n;
    pq_keras_spec  *layers; /**< [n]; each reads earlier ones */
    size_t         *order; /**< [kept] those that the output needs, as Keras sorts them */
    size_t          kept;
    json_t         *taken; /**< names in use */
} pq_keras_writer;

/**
 * A layer of a class over the node's inputs, with its name and an ending.
 * @param[in] config  taken
 */
pq_keras_spec pq_keras_over(const pq_keras_writer *w, const char *class_name,
                            const char *end, json_t *config);

/** The node that is written. */
const pq_node *pq_keras_node(const pq_keras_writer *w);

/** Adds a layer without weights. Takes config. */
pq_status pq_keras_simple(pq_keras_writer *w, const char *class_name, json_t *config,
                          pq_err *err);

/** Adds a layer, which then stands for the node's value. Takes what the spec owns, also
 * on failure, and leaves it empty. */
pq_status pq_keras_put(pq_keras_writer *w, pq_keras_spec *s, pq_err *err);

/** Adds a copy of a weight, axes reordered. */
pq_status pq_keras_add_weight(pq_keras_spec *s, const pq_tensor *t, const size_t *axes,
                              pq_err *err);

void pq_keras_free_spec(pq_keras_spec *s);

/** [null, …]: a shape with the batch. */
json_t *pq_keras_batch_shape(const pq_shape *s);

/** How a kind of layer is written. */
typedef struct {
    const char *kind; /**< NULL ends a list */
    pq_status (*put)(pq_keras_writer *w, pq_err *err);
} pq_keras_kind;

extern const pq_keras_kind pq_keras_pointwise[];

/**
 * Adds what the node is in Keras.
 * @retval PQ_ERR_UNSUPPORTED  Keras has no layer for it; the caller names it.
 */
pq_status pq_keras_put_kind(pq_keras_writer *w, pq_err *err);

#endif
