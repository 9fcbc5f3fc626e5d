#include <math.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/head.h"

static pq_status check_weights(const pq_layer *layer, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < layer->n_weights; i++) {
        const pq_weight *w   = &layer->weights[i];
        const size_t     bad = pq_tensor_first_nonfinite(w->value);
        PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "%s holds %g at index %zu", w->name,
                 pq_tensor_get(w->value, bad), bad);
        if (w->quant != NULL) {
            PQ_TRY(pq_quant_check(w->quant, &w->value->shape, err));
        }
    }
cleanup:
    return st;
}

pq_status pq_graph_check_node(const pq_graph *graph, size_t index, pq_err *err)
{
    pq_node  *node = &graph->nodes[index];
    pq_shape  in[PQ_NODE_INPUTS], out = {0};
    size_t    count;
    char      text[128];
    pq_status st;

    for (size_t k = 0; k < node->n_inputs; k++) {
        in[k] = graph->nodes[node->inputs[k]].shape;
    }
    PQ_TRY(node->layer->kind->shape(node->layer, node->n_inputs, in, &out, err));
    PQ_CHECK(pq_shape_count(&out, &count) && count >= 1 && count <= UINT32_MAX,
             PQ_ERR_SHAPE, "an output of %s has not 1..%u values",
             pq_shape_text(&out, text, sizeof text), UINT32_MAX);
    PQ_TRY(check_weights(node->layer, err));
    if (node->quant != NULL) {
        PQ_CHECK(node->quant->scheme != PQ_QUANT_NF4 &&
                     node->quant->axis != PQ_QUANT_PER_GROUP,
                 PQ_ERR_UNSUPPORTED, "activations cannot have NF4 or grouped quantizers");
        PQ_TRY(pq_quant_check(node->quant, &out, err));
    }
    node->shape = out;
cleanup:
    return st;
}

static pq_status check_scaler(const pq_graph *graph, pq_err *err)
{
    const pq_tensor *mean = graph->scaler_mean, *std = graph->scaler_std;
    const pq_shape  *in = &graph->nodes[0].shape;
    pq_status        st = PQ_OK;

    if (mean == NULL && std == NULL) {
        return PQ_OK;
    }
    PQ_CHECK(mean != NULL && std != NULL, PQ_ERR_FORMAT, "the input scaler has no %s",
             mean == NULL ? "mean" : "standard deviation");
    PQ_CHECK(
        mean->count == in->dim[in->ndim - 1] && std->count == mean->count, PQ_ERR_SHAPE,
        "the input scaler has %zu means and %zu deviations but the input %zu features",
        mean->count, std->count, in->dim[in->ndim - 1]);
    for (size_t i = 0; i < mean->count; i++) {
        const double m = (double)pq_f32(mean)[i], s = (double)pq_f32(std)[i];
        PQ_CHECK(isfinite(m) && isfinite(s) && s > 0.0, PQ_ERR_NUMERIC,
                 "the input scaler has mean %g and standard deviation %g for feature %zu",
                 m, s, i);
    }
cleanup:
    return st;
}

pq_status pq_graph_check(pq_graph *graph, pq_err *err)
{
    pq_status st;

    PQ_CHECK(graph->n_nodes > 0 &&
                 strcmp(graph->nodes[0].layer->kind->name, "input") == 0,
             PQ_ERR_FORMAT, "the model does not begin with an input");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        st = pq_graph_check_node(graph, i, err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", graph->nodes[i].name);
            goto cleanup;
        }
    }
    PQ_TRY(check_scaler(graph, err));
    PQ_TRY(pq_head_check(graph, graph->head, err));
    if (graph->aside != NULL) {
        st = pq_graph_check(graph->aside, err);
        if (st != PQ_OK) {
            pq_err_context(err, "set aside");
        }
    }
    if (st == PQ_OK && graph->front != NULL) {
        st = pq_graph_check(graph->front, err);
        if (st != PQ_OK) {
            pq_err_context(err, "front");
        }
    }
cleanup:
    return st;
}
