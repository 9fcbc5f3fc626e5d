#include "train/slopes.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "graph/head.h"
#include "train/trainer.h"

/* One event at work; owns but graph and events. */
typedef struct {
    pq_graph        *graph;
    const pq_events *events;
    size_t           at;
    pq_net          *net;
    pq_loss          loss;
    double           value;
    const float    **slope;
} work;

static void fill(void *context, size_t first, size_t rows, float *x)
{
    const work *w = context;

    (void)first;
    memcpy(x, w->events->x + w->at * w->events->count,
           rows * w->events->count * sizeof *x);
}

static void take_loss(void *context, const pq_net_call *c)
{
    static const float one = 1.0F;
    work              *w   = context;

    w->value = pq_loss_run(
        &w->loss, &(pq_loss_chunk){.kernels  = c->net->kernels,
                                   .rows     = c->rows,
                                   .logits   = pq_net_value(c, c->net->logits),
                                   .labels   = w->events->y + w->at,
                                   .weights  = &one,
                                   .scale    = 1.0,
                                   .gradient = pq_net_gradient(c, c->net->logits)});
}

/* A copy that draws nothing at random. */
static pq_status copy_still(const pq_graph *graph, pq_graph **out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_graph_clone(graph, out, err));
    for (size_t i = 0; i < (*out)->n_nodes; i++) {
        if (pq_layer_is((*out)->nodes[i].layer, PQ_TRAIT_RANDOM)) {
            PQ_TRY(pq_layer_set((*out)->nodes[i].layer, "rate", "0", err));
        }
    }
    PQ_TRY(pq_graph_check(*out, err));
cleanup:
    return st;
}

static pq_status start(work *w, const pq_graph *graph, size_t classes, pq_pool *pool,
                       pq_err *err)
{
    const pq_head  head    = pq_graph_head(graph);
    pq_net_options options = {.batch = 1, .training = true, .pool = pool};
    size_t         all     = 0;
    pq_link        link;
    pq_status      st;

    PQ_CHECK(head != PQ_HEAD_NONE, PQ_ERR_CONFIG, "there is no loss to go by: %s",
             pq_head_no_probability(head));
    PQ_TRY(copy_still(graph, &w->graph, err));
    PQ_TRY(pq_net_create(w->graph, &options, &w->net, err));
    w->net->norms_fixed = true;
    PQ_TRY(pq_net_link_of(w->graph, w->net, false, &link, err));
    w->loss = (pq_loss){.link = link, .width = w->net->width, .temperature = 1.0F};
    PQ_TRY(pq_loss_check(&w->loss, err));
    PQ_CHECK(pq_head_classes(head, w->net->width) == classes, PQ_ERR_SHAPE,
             "the graph has %zu outputs, but there are %zu classes", w->net->width,
             classes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        all += graph->nodes[i].layer->n_weights;
    }
    PQ_NEW(w->slope, all + 1);
    for (size_t i = 0; i < w->net->n_weights; i++) { /* in graph order */
        const pq_net_weight *row = &w->net->weights[i];
        w->slope[i] =
            row->role == PQ_WEIGHT_STATISTIC ? NULL : w->net->gradients + row->offset;
    }
cleanup:
    return st;
}

static pq_status run(work *w, const size_t *index, pq_slopes_seen seen, void *context,
                     pq_err *err)
{
    pq_status st = PQ_OK;

    for (w->at = 0; w->at < w->events->n; w->at++) {
        pq_net_train(w->net, &(pq_net_batch){
                                 .n = 1, .fill = fill, .loss = take_loss, .context = w});
        PQ_CHECK(isfinite(w->value), PQ_ERR_NUMERIC, "the loss of event %zu is %g",
                 index[w->at], w->value);
        PQ_TRY(seen(context, w->slope, err));
    }
cleanup:
    return st;
}

pq_status pq_slopes_run(const pq_graph *graph, pq_dataset *dataset, size_t split,
                        const size_t *index, size_t n, pq_slopes_seen seen, void *context,
                        pq_err *err)
{
    pq_events events = {0};
    work      w      = {.events = &events};
    pq_pool  *pool   = NULL;
    pq_status st;

    PQ_TRY(pq_pool_create(1, &pool, err));
    PQ_TRY(pq_events_pick(dataset, split, graph, index, n, &events, err));
    PQ_TRY(start(&w, graph, pq_dataset_describe(dataset)->n_classes, pool, err));
    PQ_TRY(run(&w, index, seen, context, err));
cleanup:
    pq_free(w.slope);
    pq_net_free(&w.net);
    pq_graph_free(&w.graph);
    pq_events_free(&events);
    pq_pool_free(&pool);
    return st;
}
