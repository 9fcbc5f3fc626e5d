#include "train/net.h"

#include <string.h>

#include "core/memory.h"
#include "graph/head.h"
#include "train/train.h"

/* By what its backward32 reads. */
static const pq_op_class *plain_class(const pq_layer *layer)
{
    const bool in  = pq_layer_is(layer, PQ_TRAIT_READS_IN);
    const bool out = pq_layer_is(layer, PQ_TRAIT_READS_OUT);

    return in && out ? &pq_op_plain_of_both
           : in      ? &pq_op_plain_of_in
           : out     ? &pq_op_plain_of_out
                     : &pq_op_plain;
}

/* What there is no code for runs through its own double precision forward and backward.
 */
const pq_op_class *pq_op_class_of(const pq_layer *layer)
{
    switch (layer->kind->form) {
    case PQ_FORM_DENSE:
        return &pq_op_dense;
    case PQ_FORM_CONVOLUTION:
        return pq_op_conv2d_accepts(layer) ? &pq_op_conv2d : &pq_op_taps;
    case PQ_FORM_WINDOW_CORES:
        return pq_op_conv2d_accepts(layer) ? &pq_op_conv2d : &pq_op_kind;
    case PQ_FORM_CORES:
        return &pq_op_cores;
    case PQ_FORM_NORM:
        return &pq_op_batch_norm;
    case PQ_FORM_SUM:
        return &pq_op_add;
    case PQ_FORM_PLAIN:
        break;
    }
    return pq_layer_is(layer, PQ_TRAIT_RANDOM)  ? &pq_op_dropout
           : pq_layer_is(layer, PQ_TRAIT_MOVES) ? &pq_op_moves
           : layer->kind->forward32 != NULL && layer->kind->backward32 != NULL
               ? plain_class(layer)
               : &pq_op_kind;
}

const char *pq_train_kernel(const pq_layer *layer)
{
    if (layer->kind->forward == NULL ||
        (pq_layer_is(layer, PQ_TRAIT_ALIAS) && !pq_layer_is(layer, PQ_TRAIT_RANDOM))) {
        return "";
    }
    return pq_op_class_of(layer)->kernel;
}

static bool is_kind(const pq_node *node, const char *kind)
{
    return strcmp(node->layer->kind->name, kind) == 0;
}

/* Kinds that only rename their input's items. */
static bool is_alias(const pq_node *node)
{
    return pq_layer_is(node->layer, PQ_TRAIT_ALIAS) &&
           !pq_layer_is(node->layer, PQ_TRAIT_RANDOM);
}

static size_t items(const pq_shape *shape)
{
    size_t n = 0;

    return pq_shape_count(shape, &n) ? n : 0;
}

static size_t new_value(pq_net *net, const pq_shape *shape, size_t producer)
{
    net->values[net->n_values] =
        (pq_net_place){.count = items(shape), .gradient = SIZE_MAX, .producer = producer};
    return net->n_values++;
}

static bool is_pinned(const pq_net_options *options, const char *name)
{
    for (size_t i = 0; i < options->n_pinned; i++) {
        if (strcmp(options->pinned[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The operation a relu can be done by: its input's, if nobody else reads that. */
static pq_op *fusable(pq_net *net, const pq_graph *graph, const pq_node *node,
                      const pq_net_options *options)
{
    const pq_node *before = &graph->nodes[node->inputs[0]];
    const size_t   op     = net->values[net->value_of[node->inputs[0]]].producer;

    if (!is_kind(node, "relu") || op == SIZE_MAX || !net->ops[op].cls->takes_relu ||
        net->ops[op].relu || net->ops[op].name != before->name || before->quant != NULL ||
        is_pinned(options, before->name) ||
        pq_graph_readers(graph, node->inputs[0]) != 1) {
        return NULL;
    }
    return &net->ops[op];
}

static void add_op(pq_net *net, const pq_graph *graph, size_t i, const pq_op_class *cls)
{
    const pq_node *node = &graph->nodes[i];
    pq_op         *op   = &net->ops[net->n_ops];
    size_t         w    = 0;

    *op = (pq_op){.cls       = cls,
                  .layer     = node->layer,
                  .name      = node->name,
                  .n_in      = node->n_inputs,
                  .out_shape = node->shape};
    for (size_t k = 0; k < node->n_inputs; k++) {
        op->in[k]       = net->value_of[node->inputs[k]];
        op->in_shape[k] = graph->nodes[node->inputs[k]].shape;
    }
    for (size_t k = 0; k < net->n_weights; k++) {
        if (net->weights[k].node == i) {
            op->weight[w++] = net->weights[k].offset;
            op->frozen      = net->weights[k].frozen;
        }
    }
    op->out          = new_value(net, &node->shape, net->n_ops);
    net->value_of[i] = op->out;
    net->n_ops++;
}

/* Rounds a node's output as its quantizer says; what follows reads the rounded values. */
static void add_rounding(pq_net *net, const pq_graph *graph, size_t i)
{
    const pq_node *node = &graph->nodes[i];
    const pq_grid *grid = pq_grids_of_output(net, i);
    pq_op         *op   = &net->ops[net->n_ops];

    *op              = (pq_op){.cls       = &pq_op_round,
                               .layer     = node->layer,
                               .name      = node->name,
                               .n_in      = 1,
                               .in        = {net->value_of[i]},
                               .in_shape  = {node->shape},
                               .out_shape = node->shape,
                               .quant     = grid != NULL ? grid->quant : node->quant,
                               .grid      = grid};
    op->out          = new_value(net, &node->shape, net->n_ops);
    net->value_of[i] = op->out;
    net->n_ops++;
}

static pq_status add_input(pq_net *net, const pq_graph *graph, size_t i, pq_err *err)
{
    pq_status st;

    PQ_CHECK(net->input == SIZE_MAX, PQ_ERR_UNSUPPORTED,
             "layer '%s': a graph with more than one input cannot be trained",
             graph->nodes[i].name);
    net->input       = new_value(net, &graph->nodes[i].shape, SIZE_MAX);
    net->value_of[i] = net->input;
cleanup:
    return st;
}

/* Whether nothing but other names follows what makes the outputs. */
static bool ends_in_aliases(const pq_graph *graph)
{
    size_t node = graph->output;

    while (node != pq_head_node(graph) && is_alias(&graph->nodes[node])) {
        node = graph->nodes[node].inputs[0];
    }
    return node == pq_head_node(graph);
}

static pq_status add_node(pq_net *net, const pq_graph *graph, size_t i,
                          const pq_net_options *options, pq_err *err)
{
    const pq_node *node = &graph->nodes[i];
    pq_op         *relu = NULL;
    pq_status      st   = PQ_OK;

    if (is_kind(node, "input")) {
        PQ_TRY(add_input(net, graph, i, err));
    } else if (i == pq_head_node(graph) && ends_in_aliases(graph) &&
               pq_layer_is(node->layer, PQ_TRAIT_PROBABILITY)) {
        net->link        = node->layer->kind->name;
        net->value_of[i] = net->value_of[node->inputs[0]];
        goto cleanup; /* the loss does it, unrounded */
    } else if (is_alias(node)) {
        net->value_of[i] = net->value_of[node->inputs[0]];
    } else if ((relu = fusable(net, graph, node, options)) != NULL) {
        relu->relu       = true;
        relu->name       = node->name;
        net->value_of[i] = relu->out;
    } else {
        add_op(net, graph, i, pq_op_class_of(node->layer));
    }
    if (node->quant != NULL) {
        add_rounding(net, graph, i);
    }
    if (is_pinned(options, node->name)) {
        net->values[net->value_of[i]].pinned = true;
    }
cleanup:
    return st;
}

pq_status pq_net_plan_ops(pq_net *net, const pq_graph *graph,
                          const pq_net_options *options, pq_err *err)
{
    pq_status st;

    PQ_NEW(net->ops, 2 * graph->n_nodes);
    PQ_NEW(net->values, 2 * graph->n_nodes);
    PQ_NEW(net->value_of, graph->n_nodes);
    net->input = SIZE_MAX;
    net->link  = "";
    for (size_t i = 0; i <= graph->output; i++) {
        PQ_TRY(add_node(net, graph, i, options, err));
    }
    net->logits = net->value_of[graph->output];
    net->width  = net->values[net->logits].count;
    PQ_CHECK(net->n_ops > 0 && net->values[net->logits].producer != SIZE_MAX,
             PQ_ERR_UNSUPPORTED, "the graph has no layer that could be trained");
cleanup:
    return st;
}

size_t pq_net_find(const pq_net *net, const pq_graph *graph, const char *node)
{
    const size_t i = pq_graph_find(graph, node);

    return i == SIZE_MAX || i > graph->output ? SIZE_MAX : net->value_of[i];
}
