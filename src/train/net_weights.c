#include "train/net.h"

#include <string.h>

#include "core/memory.h"
#include "train/sparsify.h"

enum { ALIGN = 16 /* floats between the starts of two weights */ };

static pq_status list_weights(pq_net *net, const pq_graph *graph, const char *freeze,
                              pq_err *err)
{
    bool      matched = freeze == NULL;
    pq_status st      = PQ_OK;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node   = &graph->nodes[i];
        const bool     frozen = freeze != NULL && pq_glob_match(freeze, node->name);
        matched               = matched || frozen;
        PQ_CHECK(node->layer->n_weights <= PQ_OP_WEIGHTS, PQ_ERR_UNSUPPORTED,
                 "layer '%s': %zu weights, at most %d can be trained", node->name,
                 node->layer->n_weights, (int)PQ_OP_WEIGHTS);
        for (size_t w = 0; w < node->layer->n_weights; w++) {
            const pq_weight *weight = &node->layer->weights[w];
            net->weights[net->n_weights++] =
                (pq_net_weight){.node   = i,
                                .index  = w,
                                .offset = net->n_flat,
                                .count  = weight->value->count,
                                .role   = node->layer->kind->role(weight->name),
                                .frozen = frozen,
                                .from   = weight,
                                .quant  = weight->quant,
                                .shape  = weight->value->shape};
            net->n_flat += (weight->value->count + ALIGN - 1) / ALIGN * ALIGN;
        }
    }
    net->n_rows = net->n_weights;
    PQ_CHECK(matched, PQ_ERR_CONFIG, "freeze: no layer matches '%s'", freeze);
cleanup:
    return st;
}

pq_status pq_net_plan_weights(pq_net *net, const pq_graph *graph,
                              const pq_net_options *options, pq_err *err)
{
    size_t    n       = 0;
    bool      rounded = false;
    pq_status st;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += graph->nodes[i].layer->n_weights;
    }
    PQ_NEW(net->weights, 5 * n + graph->n_nodes + 1);
    PQ_TRY(list_weights(net, graph, options->freeze, err));
    if (options->training) {
        PQ_TRY(pq_grids_plan(net, graph, options->freeze, &options->qat, err));
    }
    if (options->sparse != NULL) {
        PQ_TRY(pq_sparse_plan_rows(net, graph, options->sparse, err));
    }
    net->n_flat += PQ_KERNELS_SLACK;
    net->flat = pq_calloc(net->n_flat, sizeof(float));
    PQ_CHECK(net->flat != NULL, PQ_ERR_NOMEM, "cannot allocate the weights");
    for (size_t i = 0; i < net->n_weights; i++) {
        const pq_net_weight *w = &net->weights[i];
        const pq_tensor     *t = graph->nodes[w->node].layer->weights[w->index].value;
        memcpy(net->flat + w->offset, pq_f32(t), t->count * sizeof(float));
        rounded = rounded || w->quant != NULL;
    }
    pq_grids_start(net);
    net->shaped = net->sparse != NULL ? pq_calloc(net->n_flat, sizeof(float)) : net->flat;
    PQ_CHECK(net->shaped != NULL, PQ_ERR_NOMEM, "cannot allocate the pruned weights");
    net->used = rounded ? pq_calloc(net->n_flat, sizeof(float)) : net->shaped;
    PQ_CHECK(net->used != NULL, PQ_ERR_NOMEM, "cannot allocate the rounded weights");
cleanup:
    return st;
}

static void round_weight(const pq_net_weight *w, const float *from, float *to)
{
    if (w->quant != NULL) {
        pq_grid_round(w->grid, w->quant, &w->shape, w->count, from, to);
    } else {
        memcpy(to, from, w->count * sizeof *to);
    }
}

void pq_net_round_weights(pq_net *net)
{
    pq_sparse_shape(net, net->flat);
    pq_grids_pull(net, net->shaped);
    for (size_t i = 0; net->used != net->shaped && i < net->n_weights; i++) {
        const pq_net_weight *w = &net->weights[i];
        round_weight(w, net->shaped + w->offset, net->used + w->offset);
    }
}

void pq_net_store(const pq_net *net, const float *flat, pq_graph *graph)
{
    const float *from = net->sparse != NULL ? net->shaped : flat;

    pq_sparse_shape(net, flat);
    pq_grids_pull(net, from);
    for (size_t i = 0; i < net->n_weights; i++) {
        const pq_net_weight *w = &net->weights[i];
        round_weight(w, from + w->offset,
                     pq_f32(graph->nodes[w->node].layer->weights[w->index].value));
    }
    pq_grids_store(net, graph);
    pq_sparse_shape(net, net->flat);
    pq_grids_pull(net, net->shaped);
}
