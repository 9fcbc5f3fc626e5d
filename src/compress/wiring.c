#include "compress/wiring.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"

bool pq_node_is(const pq_node *node, const char *kind)
{
    return strcmp(node->layer->kind->name, kind) == 0;
}

bool pq_node_in(const pq_node *node, const char *const *kinds)
{
    for (; *kinds != NULL; kinds++) {
        if (pq_node_is(node, *kinds)) {
            return true;
        }
    }
    return false;
}

pq_weight *pq_node_kernel(const pq_node *node)
{
    for (size_t w = 0; w < node->layer->n_weights; w++) {
        if (node->layer->kind->role(node->layer->weights[w].name) == PQ_WEIGHT_KERNEL) {
            return &node->layer->weights[w];
        }
    }
    return NULL;
}

size_t pq_sole_reader(const pq_graph *graph, size_t node)
{
    if (node == graph->output || pq_graph_readers(graph, node) != 1) {
        return SIZE_MAX;
    }
    for (size_t i = node + 1; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
            if (graph->nodes[i].inputs[k] == node) {
                return i;
            }
        }
    }
    return SIZE_MAX;
}

pq_status pq_add_bias(pq_layer *layer, size_t outputs, pq_err *err)
{
    pq_tensor *zeros = NULL;
    pq_status  st    = PQ_OK;

    if (pq_layer_weight(layer, "bias") == NULL) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(outputs), &zeros, err));
        PQ_TRY(pq_layer_add_weight(layer, "bias", zeros, err));
    }
cleanup:
    return st;
}

static double item(const pq_layer *layer, const char *weight, size_t i, double absent)
{
    const pq_weight *w = pq_layer_weight(layer, weight);

    return w != NULL ? (double)pq_f32(w->value)[i] : absent;
}

bool pq_grid_folds(const pq_quant *q)
{
    bool symmetric = true;

    for (size_t i = 0; q != NULL && i < q->n; i++) {
        symmetric = symmetric && q->zero_point[i] == 0;
    }
    return q != NULL && q->scheme == PQ_QUANT_INTEGER && q->is_signed && q->axis == 0 &&
           symmetric;
}

/* What BatchNorm multiplies an output with. */
static double factor_of(const pq_layer *norm, size_t o)
{
    const pq_batch_norm_params *p = norm->params;

    return item(norm, "gamma", o, 1.0) /
           sqrt(item(norm, "variance", o, 1.0) + p->epsilon);
}

/* Steps of a weight from zero, times the sign of g. */
static int32_t turned(const pq_quant *q, size_t o, double g, float w)
{
    const int32_t steps = pq_quant_code(q, o, w) - q->zero_point[o];

    return g < 0.0 ? -steps : g > 0.0 ? steps : 0;
}

/* The steps stay, but for a sign, when the scale takes the factor. */
static void scale_codes(pq_quant *q, size_t o, double g, size_t row, float *w)
{
    const float scale = (float)((double)q->scale[o] * fabs(g));
    const float next  = g == 0.0 ? q->scale[o] : fmaxf(fminf(scale, 1e30f), FLT_MIN);

    for (size_t i = 0; i < row; i++) {
        w[i] = (float)turned(q, o, g, w[i]) * next;
    }
    q->scale[o] = next;
}

/* Whether a kernel's grid holds what its BatchNorm makes of it: a negative factor turns
   the range round, and that of lo .. hi is -hi .. -lo. */
static bool holds_turned(const pq_layer *kernel, const pq_layer *norm)
{
    const pq_weight *w   = pq_layer_weight(kernel, "kernel");
    const pq_quant  *q   = w->quant;
    const size_t     out = w->value->shape.dim[0], row = w->value->count / out;

    for (size_t i = 0; pq_grid_folds(q) && i < w->value->count; i++) {
        const size_t  o = i / row;
        const int32_t code =
            turned(q, o, factor_of(norm, o), pq_f32(w->value)[i]) + q->zero_point[o];
        if (code < pq_quant_lo(q) || code > pq_quant_hi(q)) {
            return false;
        }
    }
    return true;
}

size_t pq_batch_norm_behind(const pq_graph *graph, size_t node)
{
    static const char *const foldable[] = {"dense", "conv2d", NULL};
    const size_t             reader     = pq_sole_reader(graph, node);

    return pq_node_in(&graph->nodes[node], foldable) &&
                   graph->nodes[node].quant == NULL && reader != SIZE_MAX &&
                   pq_node_is(&graph->nodes[reader], "batch_norm")
               ? reader
               : SIZE_MAX;
}

size_t pq_foldable_batch_norm(const pq_graph *graph, size_t node)
{
    const size_t norm = pq_batch_norm_behind(graph, node);

    return norm != SIZE_MAX &&
                   holds_turned(graph->nodes[node].layer, graph->nodes[norm].layer)
               ? norm
               : SIZE_MAX;
}

static void scale_kernel(pq_layer *kernel, const pq_layer *norm)
{
    pq_weight   *w    = pq_layer_weight(kernel, "kernel");
    float       *bias = pq_f32(pq_layer_weight(kernel, "bias")->value);
    const size_t out = w->value->shape.dim[0], row = w->value->count / out;
    const bool   folds = pq_grid_folds(w->quant);

    for (size_t o = 0; o < out; o++) {
        const double g = factor_of(norm, o);
        if (folds) {
            scale_codes(w->quant, o, g, row, pq_f32(w->value) + o * row);
        }
        for (size_t i = o * row; !folds && i < (o + 1) * row; i++) {
            pq_f32(w->value)[i] = (float)((double)pq_f32(w->value)[i] * g);
        }
        bias[o] = (float)(((double)bias[o] - item(norm, "mean", o, 0.0)) * g +
                          item(norm, "beta", o, 0.0));
    }
    if (!folds) {
        pq_quant_free(&w->quant);
    }
    pq_quant_free(&pq_layer_weight(kernel, "bias")->quant);
}

pq_status pq_fold_batch_norm(pq_graph *graph, size_t node, pq_err *err)
{
    const size_t norm   = pq_foldable_batch_norm(graph, node);
    pq_layer    *kernel = graph->nodes[node].layer;
    pq_status    st     = PQ_OK;

    if (norm == SIZE_MAX) {
        return PQ_OK;
    }
    PQ_TRY(
        pq_add_bias(kernel, pq_layer_weight(kernel, "kernel")->value->shape.dim[0], err));
    scale_kernel(kernel, graph->nodes[norm].layer);
    graph->nodes[node].quant = graph->nodes[norm].quant;
    graph->nodes[norm].quant = NULL;
    PQ_TRY(pq_graph_bypass(graph, norm, err));
cleanup:
    return st;
}
