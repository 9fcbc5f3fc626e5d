#include "train/front.h"

#include <string.h>

#include "core/memory.h"
#include "train/sparsify.h"
#include "train/steer.h"

void pq_front_free(pq_front *front)
{
    pq_free(front->weights);
    pq_free(front->epochs);
    *front = (pq_front){0};
}

pq_status pq_front_reserve(pq_trainer *t, size_t n, pq_err *err)
{
    pq_front *f = &t->front;
    float    *weights;
    size_t   *epochs;
    pq_status st = PQ_OK;

    if (n <= f->room) {
        return PQ_OK;
    }
    weights = pq_recalloc(f->weights, f->room * t->net->n_flat, n * t->net->n_flat,
                          sizeof *weights);
    PQ_CHECK(weights != NULL, PQ_ERR_NOMEM, "cannot allocate %zu networks of a front", n);
    f->weights = weights;
    epochs     = pq_recalloc(f->epochs, f->room, n, sizeof *epochs);
    PQ_CHECK(epochs != NULL, PQ_ERR_NOMEM, "cannot allocate %zu networks of a front", n);
    f->epochs = epochs;
    f->room   = n;
cleanup:
    return st;
}

/* Whether no other epoch that may be kept beats one. */
static bool is_on_front(const pq_trainer *t, size_t epoch)
{
    return pq_steer_on_front(t->history, pq_sparse_first(t->options->sparse) - 1,
                             t->n_history, epoch - 1);
}

pq_status pq_front_keep(pq_trainer *t, const float *weights, pq_err *err)
{
    pq_front    *f    = &t->front;
    const size_t size = t->net->n_flat;
    size_t       kept = 0;
    pq_status    st   = PQ_OK;

    if (!t->params->hgq_front) {
        return PQ_OK;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (is_on_front(t, f->epochs[i])) {
            memmove(f->weights + kept * size, f->weights + i * size,
                    size * sizeof *f->weights);
            f->epochs[kept++] = f->epochs[i];
        }
    }
    f->n = kept;
    if (is_on_front(t, t->n_history)) {
        PQ_TRY(pq_front_reserve(t, f->n + 1 > f->room ? 2 * f->n + 1 : f->n + 1, err));
        memcpy(f->weights + f->n * size, weights, size * sizeof *weights);
        f->epochs[f->n++] = t->n_history;
    }
cleanup:
    return st;
}

/* The nodes of a graph alone, with what an epoch was in their provenance. */
static pq_status take(const pq_trainer *t, const pq_graph *graph, size_t epoch,
                      pq_graph **out, pq_err *err)
{
    const pq_train_epoch *e    = &t->history[epoch - 1];
    pq_graph             *bare = NULL;
    pq_status             st;

    PQ_TRY(pq_graph_clone(graph, &bare, err));
    pq_tensor_free(&bare->scaler_mean);
    pq_tensor_free(&bare->scaler_std);
    pq_graph_free(&bare->front);
    pq_graph_free(&bare->aside);
    json_decref(bare->provenance);
    bare->provenance = json_array();
    PQ_CHECK(bare->provenance != NULL, PQ_ERR_NOMEM, "cannot allocate a provenance");
    PQ_TRY(pq_graph_note(bare,
                         json_pack("{s:I, s:f, s:f}", "epoch", (json_int_t)epoch, "ebops",
                                   e->ebops, "validation_accuracy", e->accuracy),
                         err));
    *out = bare;
    bare = NULL;
cleanup:
    pq_graph_free(&bare);
    return st;
}

/* Puts a network into a list that falls in EBOPs. */
static void insert(pq_graph **list, pq_graph *one)
{
    const double ebops = pq_graph_ebops(one);

    while (*list != NULL && pq_graph_ebops(*list) > ebops) {
        list = &(*list)->front;
    }
    one->front = *list;
    *list      = one;
}

pq_status pq_front_attach(const pq_trainer *t, pq_graph *graph, pq_err *err)
{
    const pq_front *f    = &t->front;
    pq_graph       *list = NULL, *one = NULL;
    pq_status       st = PQ_OK;

    for (size_t i = 0; i < f->n; i++) {
        const float *flat = f->weights + i * t->net->n_flat;
        pq_net_store(t->net, flat, graph);
        PQ_TRY(pq_sparse_mark(t->net, flat, graph, err));
        PQ_TRY(take(t, graph, f->epochs[i], &one, err));
        insert(&list, one);
        one = NULL;
    }
    pq_graph_free(&graph->front);
    graph->front = list;
    list         = NULL;
cleanup:
    pq_graph_free(&list);
    return st;
}
