/**
 * @file
 * A model: layers wired into a directed acyclic graph, and what one must know
 * to use it (class order, input scaling, where it came from).
 *
 * Nodes stand in topological order: inputs of a node have smaller indices.
 * Changes go through the functions below, which keep that order.
 */
#ifndef PQ_GRAPH_GRAPH_H
#define PQ_GRAPH_GRAPH_H

#include <jansson.h>

#include "core/places.h"
#include "layers/layer.h"

enum {
    PQ_NODE_INPUTS = PQ_LAYER_INPUTS,
    PQ_GRAPH_NODES = 16384, /**< most nodes of a graph */
};

/** Why not more, for messages. */
#define PQ_GRAPH_NODES_WHY                                                               \
    "layers are put in order and dropped one by one, and beyond that a damaged file "    \
    "could keep the program busy for minutes"

/** One layer in its place; owns everything it points to. */
typedef struct {
    char     *name;  /**< unique in the graph */
    pq_layer *layer; /**< kind "input" for the graph's inputs */
    size_t    n_inputs;
    size_t    inputs[PQ_NODE_INPUTS]; /**< node indices */
    pq_quant *quant; /**< quantizer of the output activations, or NULL; its axis is the
                        sample's */
    pq_shape shape;  /**< output of one sample; valid after pq_graph_check */
} pq_node;

/** What a model's outputs mean: graph/head.h. */
typedef enum {
    PQ_HEAD_AUTO, /**< as the last layer tells */
    PQ_HEAD_SOFTMAX,
    PQ_HEAD_LOGITS,
    PQ_HEAD_SIGMOID,
    PQ_HEAD_BINARY,
    PQ_HEAD_NONE,
} pq_head;

/** The model; owns everything it points to. */
typedef struct pq_graph {
    size_t    n_nodes;
    pq_node  *nodes;
    size_t    room;   /**< nodes there is memory for, or 0: as many as there are */
    pq_places names;  /**< of the nodes: ask pq_graph_find */
    size_t    output; /**< index of the output node */
    pq_head   head;   /**< what the outputs mean: ask pq_graph_head */

    char **class_names; /**< [n_classes] in output order, of one output both classes, its
                           own second; or NULL when unknown */
    size_t n_classes;
    char **feature_names; /**< [n_features] of the last axis of the input, in order, or
                             NULL when unknown */
    size_t     n_features;
    pq_tensor *scaler_mean; /**< float32 [n features] or NULL: x' = (x - mean) / std */
    pq_tensor *scaler_std;
    json_t    *provenance;  /**< array of what was done, each with the content hash it was
                               done to */
    struct pq_graph *front; /**< other networks of the same nodes that a training left,
                               with fewer effective bit operations from one to the next; a
                               list, neither run nor counted; NULL when there are none */
    struct pq_graph *aside; /**< pieces that a method took out and can put back, each
                               behind an input of its own; neither run nor counted; NULL
                               when there are none */
} pq_graph;

pq_status pq_graph_create(pq_graph **out, pq_err *err);
void      pq_graph_free(pq_graph **graph);
pq_status pq_graph_clone(const pq_graph *graph, pq_graph **out, pq_err *err);

/** A copy whose weights are the graph's own (pq_layer_share), without what was set aside:
 * to run it, or another wiring of the same layers. The graph must outlive it and keep its
 * weights as they are. */
pq_status pq_graph_share(const pq_graph *graph, pq_graph **out, pq_err *err);

/**
 * Appends a node and makes it the output. Takes the layer, also on failure.
 *
 * @param[in] inputs  [n_inputs] names of earlier nodes.
 * @retval PQ_ERR_FORMAT  Name already used, unknown input, wrong number of inputs.
 */
pq_status pq_graph_add(pq_graph *graph, const char *name, pq_layer *layer,
                       size_t n_inputs, const char *const *inputs, pq_err *err);

/** Sets the class names, in output order; copies them.
 * @retval PQ_ERR_CONFIG  Two are the same, or one is empty. */
pq_status pq_graph_set_classes(pq_graph *graph, size_t n, const char *const *names,
                               pq_err *err);

/** Sets the names of the features, in the order of the input; as pq_graph_set_classes. */
pq_status pq_graph_set_features(pq_graph *graph, size_t n, const char *const *names,
                                pq_err *err);

/** Frees what a node owns and zeroes it. */
void pq_node_free(pq_node *node);

/** Whether a layer takes so many inputs. @retval PQ_ERR_FORMAT  With the name. */
pq_status pq_node_arity_check(const char *name, const pq_layer *layer, size_t n_inputs,
                              pq_err *err);

/** Index of a node, or SIZE_MAX. */
size_t pq_graph_find(const pq_graph *graph, const char *name);

/**
 * Checks the whole graph and fills every node's shape: kinds accept their
 * inputs, weights fit and are finite, quantizers and the scaler fit.
 *
 * @retval PQ_ERR_SHAPE    Named with the layer and both shapes: "layer 'fc1': kernel is
 *                         [64, 16] but the input is [15] with 15 features".
 * @retval PQ_ERR_NUMERIC  A weight holds NaN or infinity, with layer, weight and index.
 */
pq_status pq_graph_check(pq_graph *graph, pq_err *err);

/** As pq_graph_check, of one node whose inputs are checked; the message does not name it.
 */
pq_status pq_graph_check_node(const pq_graph *graph, size_t node, pq_err *err);

/**
 * Puts a chain of layers in place of one node. The first gets the node's
 * inputs; the last keeps the node's name (and output quantizer), so that its
 * readers follow; the others get the names given. Indices of later nodes grow.
 *
 * The graph is unchanged on failure; shapes need pq_graph_check again.
 *
 * @param[in] names   [n - 1] names of all but the last.
 * @param[in] layers  [n]; taken, also on failure.
 */
pq_status pq_graph_replace(pq_graph *graph, size_t node, size_t n,
                           const char *const *names, pq_layer *const *layers,
                           pq_err *err);

/**
 * Puts nodes right behind one node. The last of them takes over its readers, its output
 * quantizer and its place as the graph's output. Indices of later nodes grow by n.
 *
 * The graph is unchanged on failure; shapes need pq_graph_check again.
 *
 * @param[in] fresh  [n], n >= 1, names and layers owned; inputs are indices after the
 *                   insertion, where fresh[i] is node + 1 + i. Taken, also on failure.
 * @retval PQ_ERR_FORMAT  A name is in use, or a layer takes another number of inputs.
 */
pq_status pq_graph_insert(pq_graph *graph, size_t node, size_t n, pq_node *fresh,
                          pq_err *err);

/** Appends a copy of a node of another graph; inputs that `to` does not have are read
 * from its node `outside` instead. */
pq_status pq_graph_copy_node(pq_graph *to, const pq_graph *from, size_t node,
                             const char *outside, pq_err *err);

/**
 * Appends copies of nodes of another graph, behind a new input of the shape of what the
 * first of them reads.
 *
 * @param[in] from   checked
 * @param[in] nodes  [n], rising
 * @param[in] input  name of the new input
 */
pq_status pq_graph_append(pq_graph *to, const pq_graph *from, size_t n,
                          const size_t *nodes, const char *input, pq_err *err);

/** Takes a one-input node out; its readers read its input instead. Indices of later nodes
 * shrink. */
pq_status pq_graph_bypass(pq_graph *graph, size_t node, pq_err *err);

/** Takes out all nodes that the output does not need, inputs too. */
void pq_graph_drop_unread(pq_graph *graph);

/** Number of inputs of nodes that read `node`, plus one if it is the output. */
size_t pq_graph_readers(const pq_graph *graph, size_t node);

/** Multiply-accumulates of one sample (after pq_graph_check). */
uint64_t pq_graph_macs(const pq_graph *graph);
uint64_t pq_node_macs(const pq_graph *graph, size_t node);

/** What is counted as a parameter. */
typedef struct {
    bool biases, norms, statistics; /**< kernels always count */
} pq_count_rule;

/** Values in weights under a rule, and how many of them are not zero. */
size_t pq_graph_parameters(const pq_graph *graph, pq_count_rule rule, size_t *nonzero);

/** Sum of pq_weight_stored_bytes over all weights, statistics included. */
size_t pq_graph_stored_bytes(const pq_graph *graph);

/** Node whose grid a node's values lie on: itself, or the one whose codes it hands on. */
size_t pq_activation_source(const pq_graph *graph, size_t node);

/** Bits of a node's values: of the quantizer of its source; 32 without. */
double pq_activation_bits(const pq_graph *graph, size_t node);

/** Bits of one item of a weight; 0 for a zero. */
double pq_item_bits(const pq_weight *w, size_t item);

/** Bits of item `item` of a node's bias. Without a grid of its own it is what an engine
 * of whole numbers holds, round(bias / (scale of the input x scale of the output
 * channel)) with its sign, where input and kernel have codes; else 32. */
double pq_bias_bits(const pq_graph *graph, size_t node, size_t item);

/** What is added as item `item` of a node's bias: the nearest multiple of (scale of the
 * input x scale of the output channel) where both have codes, and the bias no grid of its
 * own (docs/quantization.md, rule 3), else the bias as it is. */
double pq_bias_value(const pq_graph *graph, size_t node, size_t item);

/**
 * Effective bit operations of the graph as a circuit, sum_ij b_x b_w(i, j) + sum_i b_bias
 * over its kernels: a multiplier for each weight of a kernel or of its cores, once,
 * whatever the positions of a convolution.
 *
 * Source: Sun et al., arXiv:2405.00645.
 */
double pq_graph_ebops(const pq_graph *graph);

/** Hash of everything that affects results: structure, attributes, weights, quantizers,
 * scaler, class names; not provenance. */
pq_status pq_graph_hash(const pq_graph *graph, char out[65], pq_err *err);

/** Notes one step of provenance, e.g. {"method": "svd", "params": "rank=8", "input":
 * "<hash>"}; takes `step`. */
pq_status pq_graph_note(pq_graph *graph, json_t *step, pq_err *err);

#endif
