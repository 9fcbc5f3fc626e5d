/* Takes groups of channels out of a graph: as zeros, or by smaller layers. */
#include "compress/prune_groups.h"
#include "core/memory.h"
#include "layers/channels.h"

/* Which channels stay, node by node. */
static pq_status kept_of(const pq_channel_groups *groups, const bool *gone, bool **kept,
                         pq_err *err)
{
    const size_t n = groups->first[groups->n_nodes];
    pq_status    st;

    PQ_NEW(*kept, n);
    for (size_t i = 0; i < n; i++) {
        (*kept)[i] = !gone[groups->group[i]];
    }
cleanup:
    return st;
}

static pq_status mask_weight(const pq_layer *layer, pq_weight *w, const bool *kept_in,
                             const bool *kept_out, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < w->value->count; i++) {
        size_t in, out;
        layer->kind->channels->place(layer, w, i, &in, &out);
        if (kept_in[in] && kept_out[out]) {
            continue;
        }
        if (w->pruned == NULL) {
            PQ_NEW(w->pruned, pq_mask_bytes(w->value->count));
        }
        pq_f32(w->value)[i] = 0.0f;
        w->pruned[i / 8] |= (uint8_t)(1u << i % 8);
    }
cleanup:
    return st;
}

pq_status pq_channels_mask(pq_graph *graph, const pq_channel_groups *groups,
                           const bool *gone, pq_err *err)
{
    bool     *kept = NULL;
    pq_status st;

    PQ_TRY(kept_of(groups, gone, &kept, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        if (!pq_makes_channels(node)) {
            continue;
        }
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            pq_weight *w = &node->layer->weights[k];
            if (node->layer->kind->role(w->name) == PQ_WEIGHT_KERNEL) {
                PQ_TRY(mask_weight(node->layer, w, kept + groups->first[node->inputs[0]],
                                   kept + groups->first[i], err));
            }
        }
    }
cleanup:
    pq_free(kept);
    return st;
}

/* Items of the sample that stay, for a quantizer of activations. */
static pq_status cut_activations(pq_node *node, const bool *kept, pq_err *err)
{
    const size_t channels = pq_channels_of(&node->shape);
    size_t       items    = 0;
    bool        *stay     = NULL;
    pq_status    st       = PQ_OK;

    if (node->quant == NULL) {
        return PQ_OK;
    }
    (void)pq_shape_count(&node->shape, &items);
    PQ_NEW(stay, items);
    for (size_t i = 0; i < items; i++) {
        stay[i] = kept[i % channels];
    }
    PQ_TRY(pq_quant_keep_items(node->quant, &node->shape, stay, err));
cleanup:
    pq_free(stay);
    return st;
}

static pq_status cut_node(pq_graph *graph, const pq_channel_groups *groups, size_t i,
                          const bool *kept, pq_err *err)
{
    pq_node       *node = &graph->nodes[i];
    pq_shape       in[PQ_NODE_INPUTS];
    const bool    *kept_in[PQ_NODE_INPUTS];
    pq_channel_cut cut = {in, kept_in, node->shape, kept + groups->first[i]};
    pq_status      st;

    if (node->layer->kind->channels == NULL) { /* all of its channels are locked */
        return PQ_OK;
    }
    for (size_t k = 0; k < node->n_inputs; k++) {
        in[k]      = graph->nodes[node->inputs[k]].shape;
        kept_in[k] = kept + groups->first[node->inputs[k]];
    }
    PQ_TRY(cut_activations(node, cut.kept_out, err));
    PQ_TRY(pq_channels_take_out(node->layer, &cut, err));
cleanup:
    return st;
}

static pq_status cut_vector(pq_tensor **t, const bool *kept, pq_err *err)
{
    pq_tensor *less = NULL;
    size_t     at   = 0;
    pq_status  st   = PQ_OK;

    if (*t == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(pq_channels_kept(kept, (*t)->count)),
                            &less, err));
    for (size_t i = 0; i < (*t)->count; i++) {
        if (kept[i]) {
            pq_f32(less)[at++] = pq_f32(*t)[i];
        }
    }
    pq_tensor_free(t);
    *t = less;
cleanup:
    return st;
}

/* The scaler and the names of the features, which are those of the first input. */
static pq_status cut_features(pq_graph *graph, const bool *kept, size_t features,
                              pq_err *err)
{
    size_t    at = 0;
    pq_status st;

    PQ_TRY(cut_vector(&graph->scaler_mean, kept, err));
    PQ_TRY(cut_vector(&graph->scaler_std, kept, err));
    for (size_t i = 0; graph->n_features == features && i < features; i++) {
        if (kept[i]) {
            graph->feature_names[at++] = graph->feature_names[i];
        } else {
            pq_free(graph->feature_names[i]);
        }
    }
    graph->n_features = graph->n_features == features ? at : graph->n_features;
cleanup:
    return st;
}

pq_status pq_channels_shrink(pq_graph *graph, const pq_channel_groups *groups,
                             const bool *gone, pq_err *err)
{
    bool     *kept = NULL;
    pq_status st;

    PQ_TRY(kept_of(groups, gone, &kept, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_TRY(cut_node(graph, groups, i, kept, err));
    }
    PQ_TRY(cut_features(graph, kept, groups->first[1], err));
cleanup:
    pq_free(kept);
    return st;
}
