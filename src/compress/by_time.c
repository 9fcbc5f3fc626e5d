#include "compress/by_time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

enum { POINTS = 5 /* most options of a layer that are timed */ };

static const double us_per_s = 1e6;

/* A layer, or what a method put in its place, behind an input of its own. */
static pq_status cut_out(const pq_graph *before, const pq_graph *graph, const char *name,
                         pq_graph **out, pq_err *err)
{
    pq_graph *piece = NULL;
    size_t   *nodes = NULL, n = 0;
    pq_status st;

    PQ_NEW(nodes, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const char *own = graph->nodes[i].name;
        if (strcmp(own, name) == 0 || pq_graph_find(before, own) == SIZE_MAX) {
            nodes[n++] = i;
        }
    }
    PQ_TRY(pq_graph_create(&piece, err));
    PQ_TRY(pq_graph_append(piece, graph, n, nodes, "piece.in", err));
    PQ_TRY(pq_graph_check(piece, err));
    *out  = piece;
    piece = NULL;
cleanup:
    pq_free(nodes);
    pq_graph_free(&piece);
    return st;
}

/* The method on a copy of the graph in one form. Owns graph, changes and params. */
typedef struct {
    pq_compress_task task;
    void            *params;
} trial;

static void free_trial(trial *t)
{
    pq_graph_free(&t->task.graph);
    pq_free(t->task.changes);
    pq_free(t->params);
}

static pq_status make_trial(const pq_compress_task *task, const pq_rank_params *p,
                            const pq_lowrank_steps *steps, const char *name, size_t rank,
                            pq_run_as form, trial *out, pq_err *err)
{
    const size_t    at = (size_t)((const char *)p - (const char *)task->params);
    pq_rank_params *own;
    pq_status       st;

    out->task           = *task;
    out->task.graph     = NULL;
    out->task.changes   = NULL;
    out->task.n_changes = 0;
    out->params         = pq_calloc(1, steps->params_size);
    PQ_CHECK(out->params != NULL, PQ_ERR_NOMEM, "cannot allocate parameters");
    memcpy(out->params, task->params, steps->params_size);
    own              = (void *)((char *)out->params + at);
    own->run_as      = form;
    own->keep_dense  = false;
    out->task.params = out->params;
    PQ_TRY(pq_graph_clone(task->graph, &out->task.graph, err));
    PQ_TRY(steps->apply(&out->task, name, rank, err));
    PQ_TRY(pq_graph_check(out->task.graph, err));
cleanup:
    return st;
}

static pq_status time_pieces(const pq_compress_task *task, size_t n,
                             pq_graph *const *pieces, double *us, pq_err *err)
{
    pq_status st;

    PQ_TRY(task->bench->time(task->bench->context, n, (const pq_graph *const *)pieces, us,
                             err));
    for (size_t i = 0; i < n; i++) {
        us[i] *= us_per_s;
    }
cleanup:
    return st;
}

/* Moves the trial's changes to the task, with the times in the first. */
static pq_status take_changes(pq_compress_task *task, const trial *t, const double us[3])
{
    const size_t first = task->n_changes;
    pq_status    st    = PQ_OK;

    for (size_t i = 0; st == PQ_OK && i < t->task.n_changes; i++) {
        const pq_layer_change *c = &t->task.changes[i];
        st = pq_task_change(task, c->layer, c->error, "%s", c->what);
    }
    if (st == PQ_OK) {
        pq_change_add(&task->changes[first],
                      "; %.3g us factorised, %.3g reconstructed, %.3g dense", us[1],
                      us[2], us[0]);
    }
    return st;
}

pq_status pq_apply_faster(pq_compress_task *task, const pq_rank_params *p,
                          const pq_lowrank_steps *steps, const char *name, size_t rank,
                          pq_err *err)
{
    trial     trials[2] = {0};
    pq_graph *pieces[3] = {NULL};
    double    us[3];
    pq_status st;

    PQ_TRY(cut_out(task->graph, task->graph, name, &pieces[0], err));
    for (int form = PQ_RUN_FACTORISED; form <= PQ_RUN_RECONSTRUCTED; form++) {
        trial *t = &trials[form];
        PQ_TRY(make_trial(task, p, steps, name, rank, (pq_run_as)form, t, err));
        PQ_TRY(cut_out(task->graph, t->task.graph, name, &pieces[1 + form], err));
    }
    PQ_TRY(time_pieces(task, 3, pieces, us, err));
    trial *chosen = &trials[us[1] < us[2] ? PQ_RUN_FACTORISED : PQ_RUN_RECONSTRUCTED];
    st            = take_changes(task, chosen, us);
    PQ_CHECK(st == PQ_OK, st, "cannot allocate a change");
    pq_graph_free(&task->graph);
    task->graph        = chosen->task.graph;
    chosen->task.graph = NULL;
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_graph_free(&pieces[i]);
    }
    free_trial(&trials[0]);
    free_trial(&trials[1]);
    return st;
}

/* The i-th of n indices 0 .. last that lie evenly, first and last among them. */
static size_t even(size_t i, size_t n, size_t last)
{
    return n > 1 ? (i * last + (n - 1) / 2) / (n - 1) : 0;
}

/* Times of the options in microseconds, from those of n timed ones. */
static void interpolate(pq_share *s, size_t n, const double *us)
{
    const size_t last = s->n - 1;

    for (size_t k = 0; k + 1 < n; k++) {
        const size_t from = even(k, n, last), to = even(k + 1, n, last);
        const double low = s->option[from].cost, high = s->option[to].cost;
        for (size_t i = from; i < to; i++) {
            const double part = i > from ? (s->option[i].cost - low) / (high - low) : 0.0;
            s->option[i].cost = us[k] + part * (us[k + 1] - us[k]);
        }
    }
    s->option[last].cost = us[n - 1];
}

/* Keeps what is faster than every option of less loss, and than the limit. */
static void keep_best(pq_share *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        const pq_option o = s->option[i];
        while (n > 0 && s->option[n - 1].cost >= o.cost) {
            n--;
        }
        if (o.cost < s->limit) {
            s->option[n++] = o;
        }
    }
    s->n = n;
}

pq_status pq_share_time(const pq_compress_task *task, const pq_rank_params *p,
                        const pq_lowrank_steps *steps, const char *name, pq_share *share,
                        double *dense, pq_err *err)
{
    const size_t n                  = share->n < POINTS ? share->n : POINTS;
    pq_graph    *pieces[1 + POINTS] = {NULL};
    double       us[1 + POINTS];
    pq_status    st;

    PQ_TRY(cut_out(task->graph, task->graph, name, &pieces[0], err));
    for (size_t i = 0; i < n; i++) {
        const size_t rank = share->option[even(i, n, share->n - 1)].rank;
        trial        t    = {0};
        st = make_trial(task, p, steps, name, rank, PQ_RUN_FACTORISED, &t, err);
        st = st == PQ_OK ? cut_out(task->graph, t.task.graph, name, &pieces[1 + i], err)
                         : st;
        free_trial(&t);
        PQ_TRY(st);
    }
    PQ_TRY(time_pieces(task, 1 + n, pieces, us, err));
    *dense       = us[0];
    share->limit = isinf(share->limit) ? share->limit : us[0];
    if (n > 0) {
        interpolate(share, n, us + 1);
        keep_best(share);
    }
cleanup:
    for (size_t i = 0; i < 1 + POINTS; i++) {
        pq_graph_free(&pieces[i]);
    }
    return st;
}
