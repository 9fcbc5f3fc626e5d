/* Bit operations of one sample. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "layers/tt.h"
#include "metrics/metric.h"

/*
 * Of a kernel [m, n] (n inputs under it) of which a share p is zero, at each position:
 * m n ((1 - p) b_w b_x + b_w + b_x + log2 n), widths b_w of weights, b_x of inputs.
 */
static double bops_of(const pq_weight *w, double n, double positions, double b_x)
{
    const double b_w      = w->quant != NULL ? w->quant->bits : 32.0;
    double       products = 0.0;

    for (size_t i = 0; i < w->value->count; i++) {
        products += pq_item_bits(w, i) * b_x;
    }
    return positions * (products + (double)w->value->count * (b_w + b_x + log2(n)));
}

/* A train or ring of cores, applied one by one to each row; what goes from core to core
   has no grid. */
static double bops_of_cores(const pq_graph *graph, size_t node, double b_x)
{
    const pq_layer *layer = graph->nodes[node].layer;
    pq_tt_modes     t     = {0};
    double          sum   = 0.0, others;
    char            name[16];

    if (pq_tt_modes_of(layer, &t, NULL) != PQ_OK) {
        return 0.0;
    }
    others =
        (double)t.inputs * (double)pq_node_macs(graph, node) / (double)pq_tt_macs(&t);
    for (size_t k = 0; k < t.d; k++) {
        (void)snprintf(name, sizeof name, "core%zu", k + 1);
        others /= (double)t.m[k];
        /* the cores between are used by each of a ring's trains */
        const double trains = k > 0 && k + 1 < t.d ? (double)t.ring : 1.0;
        sum += bops_of(pq_layer_weight(layer, name), (double)(t.r[k] * t.m[k]),
                       others * trains, k == 0 ? b_x : 32.0);
        others *= (double)t.n[k];
    }
    return sum;
}

/* A convolution by cores is computed with its kernel put together, in float32. */
static double bops_of_whole(const pq_graph *graph, size_t node, double b_x)
{
    const pq_shape *out   = &graph->nodes[node].shape;
    const double    macs  = (double)pq_node_macs(graph, node);
    size_t          count = 1;

    (void)pq_shape_count(out, &count);
    return macs * (32.0 * b_x + 32.0 + b_x + log2(macs / (double)count));
}

static double bops_of_node(const pq_graph *graph, size_t node)
{
    const pq_layer  *layer  = graph->nodes[node].layer;
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    double           b_x;

    if (graph->nodes[node].n_inputs == 0) {
        return 0.0;
    }
    b_x = pq_activation_bits(graph, graph->nodes[node].inputs[0]);
    if (kernel != NULL) {
        return bops_of(
            kernel, (double)kernel->value->count / (double)kernel->value->shape.dim[0],
            (double)pq_node_macs(graph, node) / (double)kernel->value->count, b_x);
    }
    return layer->kind->form == PQ_FORM_CORES          ? bops_of_cores(graph, node, b_x)
           : layer->kind->form == PQ_FORM_WINDOW_CORES ? bops_of_whole(graph, node, b_x)
                                                       : 0.0;
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    double    sum = 0.0;
    pq_status st;

    (void)params;
    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'bops' needs the model, not only its outputs");
    for (size_t i = 0; i < e->graph->n_nodes; i++) {
        sum += bops_of_node(e->graph, i);
    }
    PQ_TRY(pq_values_add(out, "bops", sum, (double)NAN, (double)NAN, 0.0, "BOP",
                         PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

static const char *const values[] = {"bops", NULL};

const pq_metric pq_metric_bops = {
    .name      = "bops",
    .values    = values,
    .summary   = "bit operations of one sample: products of widths and their sums, zeros "
                 "left out of the products; 32 bits where nothing is quantized",
    .source    = "arXiv:2102.11289",
    .version   = "2",
    .eventless = true,
    .compute   = compute,
};
