/* Bit operations of one sample. */
#include <math.h>
#include <string.h>

#include "graph/graph.h"
#include "metrics/metric.h"

/*
 * Of a kernel [m, n] (n inputs under it) of which a share p is zero, at each position:
 * m n ((1 - p) b_w b_x + b_w + b_x + log2 n), widths b_w of weights, b_x of inputs.
 */
static double bops_of(const pq_graph *graph, size_t node, const pq_weight *w)
{
    const double outputs   = (double)w->value->shape.dim[0];
    const double n         = (double)w->value->count / outputs;
    const double positions = (double)pq_node_macs(graph, node) / (outputs * n);
    const double b_x       = pq_activation_bits(graph, graph->nodes[node].inputs[0]);
    const double b_w       = w->quant != NULL ? w->quant->bits : 32.0;
    double       products  = 0.0;

    for (size_t i = 0; i < w->value->count; i++) {
        products += pq_item_bits(w, i) * b_x;
    }
    return positions * (products + outputs * n * (b_w + b_x + log2(n)));
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
        const pq_weight *w = pq_layer_weight(e->graph->nodes[i].layer, "kernel");
        sum += w != NULL ? bops_of(e->graph, i, w) : 0.0;
    }
    PQ_TRY(pq_values_add(out, "bops", sum, (double)NAN, (double)NAN, 0.0, "BOP",
                         PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

const pq_metric pq_metric_bops = {
    .name      = "bops",
    .summary   = "bit operations of one sample: products of widths and their sums, zeros "
                 "left out of the products; 32 bits where nothing is quantized",
    .source    = "arXiv:2102.11289",
    .version   = "1",
    .eventless = true,
    .compute   = compute,
};
