#include "graph/graph.h"

#include <string.h>

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
