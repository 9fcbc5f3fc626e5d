/* Widths of weights and activations, and bit operations of the graph as a circuit. */
#include <math.h>
#include <string.h>

#include "graph/graph.h"

enum { PLAIN_BITS = 32 };

size_t pq_activation_source(const pq_graph *graph, size_t node)
{
    while (graph->nodes[node].quant == NULL &&
           pq_layer_is(graph->nodes[node].layer, PQ_TRAIT_KEEPS_GRID)) {
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

static bool is_kernel(const pq_layer *layer, const pq_weight *w)
{
    return layer->kind->role(w->name) == PQ_WEIGHT_KERNEL;
}

/* Scale of an output channel: the finest of its weights. */
static double channel_scale(const pq_weight *w, size_t channel)
{
    const size_t run   = w->value->count / w->value->shape.dim[0];
    double       scale = HUGE_VAL;

    for (size_t i = channel * run; i < (channel + 1) * run; i++) {
        scale =
            fmin(scale,
                 (double)w->quant->scale[pq_quant_index(w->quant, &w->value->shape, i)]);
    }
    return scale;
}

double pq_bias_bits(const pq_graph *graph, size_t node, size_t item)
{
    const pq_layer  *layer  = graph->nodes[node].layer;
    const pq_weight *bias   = pq_layer_weight(layer, "bias");
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const size_t     source = pq_activation_source(graph, graph->nodes[node].inputs[0]);
    const pq_quant  *in     = graph->nodes[source].quant;
    double           steps;

    if (bias->quant != NULL || pq_f32(bias->value)[item] == 0.0f || in == NULL ||
        !pq_quant_has_codes(in) || in->n != 1 || kernel == NULL ||
        kernel->quant == NULL || !pq_quant_has_codes(kernel->quant)) {
        return pq_item_bits(bias, item);
    }
    steps = rint((double)pq_f32(bias->value)[item] /
                 ((double)in->scale[0] * channel_scale(kernel, item)));
    return steps == 0.0 ? 0.0 : ilogb(steps) + 2.0; /* a sign, and its magnitude */
}

/* Whether the weights of an output channel have one scale, or such that the finest
 * divides the others. */
static bool has_unit(const pq_weight *w, size_t channel)
{
    const size_t run   = w->value->count / w->value->shape.dim[0];
    const double scale = channel_scale(w, channel);
    bool         one   = true;

    for (size_t i = channel * run; i < (channel + 1) * run; i++) {
        one = one &&
              (double)w->quant->scale[pq_quant_index(w->quant, &w->value->shape, i)] ==
                  scale;
    }
    return one || w->quant->scheme == PQ_QUANT_FIXED;
}

static bool is_zero(const pq_weight *w, size_t channel)
{
    const size_t run  = w->value->count / w->value->shape.dim[0];
    bool         zero = true;

    for (size_t i = channel * run; i < (channel + 1) * run; i++) {
        zero = zero && pq_f32(w->value)[i] == 0.0f;
    }
    return zero;
}

double pq_bias_value(const pq_graph *graph, size_t node, size_t item)
{
    const pq_layer  *layer  = graph->nodes[node].layer;
    const pq_weight *bias   = pq_layer_weight(layer, "bias");
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const size_t     source = pq_activation_source(graph, graph->nodes[node].inputs[0]);
    const pq_quant  *in     = graph->nodes[source].quant;
    const double     value  = (double)pq_f32(bias->value)[item];

    if (bias->quant != NULL || in == NULL || !pq_quant_has_codes(in) || in->n != 1 ||
        kernel == NULL || kernel->quant == NULL || !pq_quant_has_codes(kernel->quant) ||
        !has_unit(kernel, item) || is_zero(kernel, item)) {
        return value;
    }
    const double unit = (double)in->scale[0] * channel_scale(kernel, item);

    return rint(value / unit) * unit;
}

/* sum_ij b_x b_w(i, j) + sum_i b_bias: a multiplier for each weight of the kernel, or of
   its cores, once, whatever the positions of a convolution. What goes from core to core
   has no grid: 32 bits. */
static double ebops_of(const pq_graph *graph, size_t node)
{
    const pq_layer  *layer = graph->nodes[node].layer;
    const pq_weight *bias  = pq_layer_weight(layer, "bias");
    double           sum = 0.0, b_x = 0.0;

    for (size_t k = 0; k < layer->n_weights; k++) {
        const pq_weight *w = &layer->weights[k];
        if (!is_kernel(layer, w)) {
            continue;
        }
        b_x = b_x == 0.0 ? pq_activation_bits(graph, graph->nodes[node].inputs[0]) : 32.0;
        for (size_t i = 0; i < w->value->count; i++) {
            sum += pq_item_bits(w, i) * b_x;
        }
    }
    for (size_t i = 0; b_x > 0.0 && bias != NULL && i < bias->value->count; i++) {
        sum += pq_bias_bits(graph, node, i);
    }
    return sum;
}

double pq_graph_ebops(const pq_graph *graph)
{
    double sum = 0.0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        sum += ebops_of(graph, i);
    }
    return sum;
}
