#include "graph/graph.h"

#include <string.h>

enum { PLAIN_BITS = 32 };

uint64_t pq_graph_macs(const pq_graph *graph)
{
    uint64_t macs = 0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        macs += pq_node_macs(graph, i);
    }
    return macs;
}

uint64_t pq_node_macs(const pq_graph *graph, size_t node)
{
    const pq_node *n = &graph->nodes[node];
    pq_shape       in[PQ_NODE_INPUTS];

    for (size_t k = 0; k < n->n_inputs; k++) {
        in[k] = graph->nodes[n->inputs[k]].shape;
    }
    return n->layer->kind->macs == NULL
               ? 0
               : n->layer->kind->macs(n->layer, n->n_inputs, in, &n->shape);
}

static bool counts(pq_weight_role role, pq_count_rule rule)
{
    switch (role) {
    case PQ_WEIGHT_BIAS:
        return rule.biases;
    case PQ_WEIGHT_NORM:
        return rule.norms;
    case PQ_WEIGHT_STATISTIC:
        return rule.statistics;
    case PQ_WEIGHT_KERNEL:
        break;
    }
    return true;
}

size_t pq_graph_parameters(const pq_graph *graph, pq_count_rule rule, size_t *nonzero)
{
    size_t total = 0, kept = 0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_layer *layer = graph->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            const pq_tensor *t = layer->weights[k].value;
            if (!counts(layer->kind->role(layer->weights[k].name), rule)) {
                continue;
            }
            total += t->count;
            for (size_t j = 0; j < t->count; j++) {
                kept += pq_f32(t)[j] != 0.0f ? 1 : 0;
            }
        }
    }
    if (nonzero != NULL) {
        *nonzero = kept;
    }
    return total;
}

size_t pq_graph_stored_bytes(const pq_graph *graph)
{
    size_t bytes = 0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].layer->n_weights; k++) {
            bytes += pq_weight_stored_bytes(&graph->nodes[i].layer->weights[k]);
        }
    }
    return bytes;
}

static bool hands_on(const char *kind)
{
    static const char *const kinds[] = {
        "flatten", "reshape",   "dropout",         "pad",
        "slice",   "subsample", "global_max_pool", "max_pool"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            return true;
        }
    }
    return false;
}

size_t pq_activation_source(const pq_graph *graph, size_t node)
{
    while (graph->nodes[node].quant == NULL &&
           hands_on(graph->nodes[node].layer->kind->name)) {
        node = graph->nodes[node].inputs[0];
    }
    return node;
}

double pq_activation_bits(const pq_graph *graph, size_t node)
{
    const pq_quant *q = graph->nodes[pq_activation_source(graph, node)].quant;

    return q != NULL ? q->bits : PLAIN_BITS;
}

double pq_item_bits(const pq_weight *w, size_t item)
{
    const pq_quant *q = w->quant;

    if (pq_f32(w->value)[item] == 0.0f) {
        return 0.0;
    }
    if (q == NULL) {
        return PLAIN_BITS;
    }
    return q->scheme == PQ_QUANT_FIXED
               ? q->width[pq_quant_index(q, &w->value->shape, item)]
               : q->bits;
}

double pq_graph_ebops(const pq_graph *graph)
{
    double sum = 0.0;

    for (size_t n = 0; n < graph->n_nodes; n++) {
        const pq_weight *w    = pq_layer_weight(graph->nodes[n].layer, "kernel");
        const pq_weight *bias = pq_layer_weight(graph->nodes[n].layer, "bias");
        if (w == NULL) {
            continue;
        }
        const double b_x = pq_activation_bits(graph, graph->nodes[n].inputs[0]);
        for (size_t i = 0; i < w->value->count; i++) {
            sum += pq_item_bits(w, i) * b_x;
        }
        for (size_t i = 0; bias != NULL && i < bias->value->count; i++) {
            sum += pq_item_bits(bias, i);
        }
    }
    return sum;
}
