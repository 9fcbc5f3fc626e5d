#include "core/hash.h"
#include "graph/graph.h"
#include "graph/head.h"

static void hash_number(pq_hash *h, uint64_t value)
{
    pq_hash_bytes(h, &value, sizeof value);
}

static void hash_quant(pq_hash *h, const pq_quant *q)
{
    hash_number(h, q != NULL);
    if (q != NULL) {
        hash_number(h, (uint64_t)q->scheme);
        hash_number(h, (uint64_t)q->bits);
        hash_number(h, (uint64_t)q->is_signed << 1 | (uint64_t)q->narrow);
        hash_number(h, (uint64_t)q->axis);
        hash_number(h, q->n);
        pq_hash_bytes(h, q->scale, q->n * sizeof *q->scale);
        pq_hash_bytes(h, q->zero_point, q->n * sizeof *q->zero_point);
        hash_number(h, q->group);
        if (q->scale_code != NULL) {
            pq_hash_bytes(h, q->scale_code, q->n * sizeof *q->scale_code);
            pq_hash_bytes(h, q->scale_step,
                          pq_quant_scale_blocks(q) * sizeof *q->scale_step);
            pq_hash_bytes(h, &q->scale_mean, sizeof q->scale_mean);
        }
        if (q->width != NULL) {
            hash_number(h, (uint64_t)q->overflow << 8 | (uint64_t)q->rounding);
            pq_hash_bytes(h, q->width, q->n * sizeof *q->width);
        }
    }
}

/* -0 counts as 0: no result depends on it, and bitmap storage does not keep it. */
static void hash_tensor(pq_hash *h, const pq_tensor *t)
{
    float buffer[256];

    hash_number(h, t != NULL);
    if (t == NULL) {
        return;
    }
    hash_number(h, t->shape.ndim);
    for (size_t i = 0; i < t->shape.ndim; i++) {
        hash_number(h, t->shape.dim[i]);
    }
    for (size_t i = 0; i < t->count; i += 256) {
        const size_t n = t->count - i < 256 ? t->count - i : 256;
        for (size_t k = 0; k < n; k++) {
            buffer[k] = pq_f32(t)[i + k] + 0.0f;
        }
        pq_hash_bytes(h, buffer, n * sizeof *buffer);
    }
}

/* Most pruned weights have no other zeros than pruned ones: then a mark says it all. */
static void hash_mask(pq_hash *h, const pq_weight *w)
{
    size_t rounded = 0;

    if (w->pruned != NULL) {
        (void)pq_weight_zeros(w, &rounded);
    }
    hash_number(h, w->pruned == NULL ? 0 : rounded == 0 ? 1 : 2);
    if (rounded > 0) {
        pq_hash_bytes(h, w->pruned, pq_mask_bytes(w->value->count));
    }
}

static pq_status hash_node(pq_hash *h, const pq_node *node, pq_err *err)
{
    const pq_layer *layer      = node->layer;
    pq_text         attributes = {0};
    pq_status       st;

    pq_params_print(layer->kind->params, layer->params, &attributes);
    PQ_CHECK(!attributes.failed, PQ_ERR_NOMEM, "cannot allocate a text of attributes");
    pq_hash_text(h, node->name);
    pq_hash_text(h, layer->kind->name);
    pq_hash_text(h, attributes.text);
    hash_number(h, node->n_inputs);
    for (size_t k = 0; k < node->n_inputs; k++) {
        hash_number(h, node->inputs[k]);
    }
    hash_quant(h, node->quant);
    hash_number(h, layer->n_weights);
    for (size_t i = 0; i < layer->n_weights; i++) {
        const pq_weight *w = &layer->weights[i];
        pq_hash_text(h, w->name);
        hash_mask(h, w);
        hash_quant(h, w->quant);
        hash_tensor(h, w->value);
    }
cleanup:
    pq_text_free(&attributes);
    return st;
}

pq_status pq_graph_hash(const pq_graph *graph, char out[65], pq_err *err)
{
    char      aside[PQ_HASH_TEXT];
    pq_hash   h;
    pq_status st = PQ_OK;

    pq_hash_start(&h);
    hash_number(&h, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_TRY(hash_node(&h, &graph->nodes[i], err));
    }
    hash_number(&h, graph->output);
    hash_number(&h, graph->class_names == NULL ? 0 : graph->n_classes);
    for (size_t i = 0; graph->class_names != NULL && i < graph->n_classes; i++) {
        pq_hash_text(&h, graph->class_names[i]);
    }
    if (!pq_head_is_told(graph)) {
        pq_hash_text(&h, pq_head_name(graph->head));
    }
    if (graph->feature_names != NULL) { /* without: as it was before there were names */
        pq_hash_text(&h, "features");
        hash_number(&h, graph->n_features);
    }
    for (size_t i = 0; graph->feature_names != NULL && i < graph->n_features; i++) {
        pq_hash_text(&h, graph->feature_names[i]);
    }
    hash_tensor(&h, graph->scaler_mean);
    hash_tensor(&h, graph->scaler_std);
    if (graph->aside != NULL) {
        PQ_TRY(pq_graph_hash(graph->aside, aside, err));
        pq_hash_text(&h, aside);
    }
    if (graph->front != NULL) {
        PQ_TRY(pq_graph_hash(graph->front, aside, err));
        pq_hash_text(&h, "front");
        pq_hash_text(&h, aside);
    }
    pq_hash_end(&h, out);
cleanup:
    return st;
}
