/* Effective bit operations of the circuit. */
#include <math.h>
#include <string.h>

#include "metrics/bits.h"
#include "metrics/metric.h"

/* sum_ij b_x b_w(i, j) + sum_i b_bias: a multiplier for each weight, once, whatever the
   positions of a convolution. */
static double ebops_of(const pq_graph *graph, size_t node, const pq_weight *w)
{
    const pq_weight *bias = pq_layer_weight(graph->nodes[node].layer, "bias");
    const double     b_x  = pq_activation_bits(graph, graph->nodes[node].inputs[0]);
    double           sum  = 0.0;

    for (size_t i = 0; i < w->value->count; i++) {
        sum += pq_item_bits(w, i) * b_x;
    }
    for (size_t i = 0; bias != NULL && i < bias->value->count; i++) {
        sum += pq_item_bits(bias, i);
    }
    return sum;
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    double    sum = 0.0;
    pq_status st;

    (void)params;
    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'ebops' needs the model, not only its outputs");
    for (size_t i = 0; i < e->graph->n_nodes; i++) {
        const pq_weight *w = pq_layer_weight(e->graph->nodes[i].layer, "kernel");
        sum += w != NULL ? ebops_of(e->graph, i, w) : 0.0;
    }
    PQ_TRY(pq_values_add(out, "ebops", sum, (double)NAN, (double)NAN, 0.0, "EBOP",
                         PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

const pq_metric pq_metric_ebops = {
    .name    = "ebops",
    .summary = "effective bit operations of dense layers and convolutions as a circuit: "
               "width of input times width of weight for each weight that is not zero, "
               "plus widths of biases; one position of a convolution",
    .source  = "arXiv:2405.00645",
    .version = "1",
    .eventless = true,
    .compute   = compute,
};
