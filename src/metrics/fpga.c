/* What a network would take as a circuit, without synthesis: estimates, never to be set
 * beside times of a processor. */
#include <math.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "metrics/metric.h"

static bool has_codes(const pq_quant *q)
{
    return q != NULL && pq_quant_has_codes(q);
}

/* Adders one behind the other from a product to the largest sum of a layer: of its terms
 * that are not zero, and the bias. */
static double levels_of(const pq_layer *layer, const pq_weight *kernel)
{
    const pq_weight *bias = pq_layer_weight(layer, "bias");
    const size_t     rows = kernel->value->shape.dim[0];
    const size_t     row  = kernel->value->count / rows;
    size_t           most = 1;

    for (size_t r = 0; r < rows; r++) {
        size_t terms = bias != NULL ? 1 : 0;
        for (size_t i = 0; i < row; i++) {
            terms += pq_f32(kernel->value)[r * row + i] != 0.0f ? 1 : 0;
        }
        most = terms > most ? terms : most;
    }
    return ceil(log2((double)most));
}

static bool is_kernel(const pq_layer *layer, size_t w)
{
    return layer->kind->role != NULL &&
           layer->kind->role(layer->weights[w].name) == PQ_WEIGHT_KERNEL;
}

static double items_of(const pq_graph *graph, size_t node)
{
    size_t n = 0;

    (void)pq_shape_count(&graph->nodes[node].shape, &n);
    return (double)n;
}

/* Values of one input that meet in one item of a layer without a kernel: the cells of a
 * window, or of a whole sample's channel. */
static double cells_of(const pq_graph *graph, size_t node)
{
    const pq_node *at = &graph->nodes[node];

    if (pq_layer_is(at->layer, PQ_TRAIT_WINDOW)) {
        const pq_pool_params *p = at->layer->params;
        return (double)p->kernel_h * (double)p->kernel_w;
    }
    return fmax(items_of(graph, at->inputs[0]) / items_of(graph, node), 1.0);
}

/* Levels of one node, or NAN where the rule says nothing of it: a kernel or inputs
 * without codes, or a kernel in pieces. */
static double levels_at(const pq_graph *graph, size_t node)
{
    const pq_layer  *layer  = graph->nodes[node].layer;
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");

    for (size_t w = 0; w < layer->n_weights; w++) {
        if (is_kernel(layer, w) && &layer->weights[w] != kernel) {
            return (double)NAN;
        }
    }
    if (graph->nodes[node].n_inputs == 0 || pq_layer_is(layer, PQ_TRAIT_MOVES)) {
        return 0.0;
    }
    if (kernel == NULL) {
        return (graph->nodes[node].n_inputs > 1 ? 1.0 : 0.0) +
               ceil(log2(cells_of(graph, node)));
    }
    return has_codes(kernel->quant) &&
                   has_codes(graph
                                 ->nodes[pq_activation_source(
                                     graph, graph->nodes[node].inputs[0])]
                                 .quant)
               ? 1.0 + levels_of(layer, kernel)
               : (double)NAN;
}

/* Of the longest way to the output. */
static pq_status depth_of(const pq_graph *graph, double *depth, pq_err *err)
{
    double   *at = NULL;
    pq_status st;

    PQ_NEW(at, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const double own = levels_at(graph, i);
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
            const double before = at[graph->nodes[i].inputs[k]];
            at[i]               = before > at[i] || isnan(before) ? before : at[i];
        }
        at[i] += own;
    }
    *depth = at[graph->output];
cleanup:
    pq_free(at);
    return st;
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    const double none  = (double)NAN;
    double       depth = 0.0;
    pq_status    st;

    (void)params;
    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'fpga' needs the model, not only its outputs");
    PQ_TRY(depth_of(e->graph, &depth, err));
    if (isnan(depth)) { /* the rules are of whole numbers */
        return PQ_OK;
    }
    PQ_TRY(pq_values_add(out, "fpga.estimated_luts", pq_graph_ebops(e->graph), none, none,
                         0.0, "LUT", PQ_BETTER_LOWER, err));
    PQ_TRY(pq_values_add(out, "fpga.estimated_levels", depth, none, none, 0.0, "level",
                         PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

static const char *const values[] = {"fpga.estimated_luts", "fpga.estimated_levels",
                                     NULL};

const pq_metric pq_metric_fpga = {
    .name    = "fpga",
    .values  = values,
    .summary = "estimates for a circuit, without synthesis, of models whose kernels and "
               "inputs all have codes: LUTs, with 55 of them for each DSP that is used "
               "instead, from the rule EBOPs = LUT + 55 DSP; and levels of logic on the "
               "longest way, one for products and ceil(log2(terms)) for the largest sum "
               "or maximum of a layer, which is cycles where each level has a register",
    .source  = "arXiv:2405.00645",
    .version = "2",
    .eventless = true,
    .compute   = compute,
};
