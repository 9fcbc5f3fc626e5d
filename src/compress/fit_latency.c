/*
 * A network for a trigger: whole neurons pruned away, few bits, trained on before and
 * after rounding, until generated C of it answers one event within the target.
 *
 * The time of a network hardly depends on what its weights are, so candidates are timed
 * before they are trained: from `target_sparsity` and `bits` on, fewer bits down to
 * `least_bits` where that helps, then neurons, with a quarter of the multiplications
 * that are left each time. The first one below the target less the margin is trained, and
 * timed again; one that is then above the target is followed by the next candidate.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/fit_latency.h"
#include "compress/method.h"
#include "compress/training.h"
#include "core/memory.h"

enum {
    CANDIDATES = 12, /* widths that are tried */
    STEPS      = 9   /* of bisection */
};

typedef struct {
    double  target_latency, margin, target_sparsity;
    int64_t bits, least_bits;
    int     format;
    int64_t epochs, rounded_epochs, batch;
    double  lr;
    bool    logits;
} fit_params;

static const char *const formats[] = {"int", "fixed", NULL};

/* Of the multiplications, from one width to the next. */
static const double kept_each_time = 0.75;
static const double worth_a_bit = 0.98; /* fewer bits are tried while they are faster */

#define FIELD(field) .name = #field, .offset = offsetof(fit_params, field)

const pq_param pq_fit_latency_params[] = {
    {FIELD(target_latency), .type = PQ_PARAM_REAL, .min = 1e-9, .max = 1.0,
     .unit = PQ_UNIT_TIME, .fallback = "100ns",
     .help = "longest time of one event in generated C: of dependent calls, and the "
             "median of single ones"},
    {FIELD(margin), .type = PQ_PARAM_REAL, .min = 0.0, .max = 0.9, .fallback = "0.1",
     .help =
         "what a candidate must stay below the target before it is trained, relative"},
    {FIELD(target_sparsity), .type = PQ_PARAM_REAL, .min = 0.0, .max = 0.999,
     .fallback = "0.9",
     .help     = "fraction of the multiplications that go with whole neurons, at first"},
    {FIELD(bits), .type = PQ_PARAM_INT, .min = 2, .max = 8, .fallback = "6",
     .help = "width of weights and activations at first"},
    {FIELD(least_bits), .type = PQ_PARAM_INT, .min = 2, .max = 8, .fallback = "4",
     .help = "least width that is tried"},
    {FIELD(format), .type = PQ_PARAM_CHOICE, .fallback = "int", .choices = formats,
     .help = "powers of two as scales (fixed), or any (int)"},
    {FIELD(epochs), .type = PQ_PARAM_INT, .min = 0, .max = 1e6, .fallback = "8",
     .help = "epochs of training behind pruning"},
    {FIELD(rounded_epochs), .type = PQ_PARAM_INT, .min = 0, .max = 1e6, .fallback = "4",
     .help = "epochs of training behind rounding, with a third of `lr`"},
    {FIELD(batch), .type = PQ_PARAM_INT, .min = 1, .max = 65536, .fallback = "256",
     .help = "events of a step of training"},
    {FIELD(lr), .type = PQ_PARAM_REAL, .min = 0.0, .max = 100.0, .fallback = "0.003",
     .help = "learning rate, falling as a cosine"},
    {FIELD(logits), .type = PQ_PARAM_BOOL, .fallback = "true",
     .help = "time it without a softmax at the end: a decision needs none"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const fit_params *p = values;
    pq_status         st;

    PQ_CHECK(p->least_bits <= p->bits, PQ_ERR_CONFIG,
             "least_bits = %lld is above bits = %lld", (long long)p->least_bits,
             (long long)p->bits);
cleanup:
    return st;
}

static unsigned needs(const void *values)
{
    (void)values;
    return PQ_NEEDS_EVENTS | PQ_NEEDS_TRAINING | PQ_NEEDS_CALLS;
}

/* One stage on a graph, which is replaced. Changes go to the task where they are wanted.
 */
static pq_status stage(pq_compress_task *task, const char *text, bool told,
                       pq_graph **graph, pq_err *err)
{
    pq_stage         s        = {0};
    pq_calib        *calib    = NULL;
    pq_graph        *next     = NULL;
    pq_layer_change *changes  = NULL;
    pq_training      training = *task->training;
    pq_apply_options options  = {.cache      = task->cache,
                                 .training   = &training,
                                 .bench      = task->bench,
                                 .n_features = task->n_features,
                                 .features   = task->features,
                                 .progress   = task->progress};
    size_t           n        = 0;
    unsigned         due;
    pq_status        st;

    training.checkpoint = NULL; /* is of one training, and these are two */
    PQ_TRY(pq_stage_parse(text, &s, err));
    due          = s.method->needs != NULL ? s.method->needs(s.params) : 0;
    options.seed = pq_stage_draws(&s) ? task->seed : 0;
    if ((due & PQ_NEEDS_STATISTICS) != 0) {
        PQ_TRY(task->bench->calibrate(task->bench->context, *graph, due, &calib, err));
        options.calib = calib;
    }
    PQ_TRY(pq_stage_apply(&s, *graph, &options, &next, &changes, &n, err));
    for (size_t i = 0; told && i < n; i++) {
        PQ_TRY(pq_task_change(task, changes[i].layer, changes[i].error, "%s: %s",
                              s.method->name, changes[i].what));
    }
    pq_graph_free(graph);
    *graph = next;
    next   = NULL;
cleanup:
    pq_stage_free(&s);
    pq_calib_free(&calib);
    pq_graph_free(&next);
    pq_free(changes);
    return st;
}

/* A width and a number of bits. */
typedef struct {
    double  sparsity; /* of the neurons of each layer */
    double  gone;     /* of the multiplications */
    int64_t bits;
} candidate;

static pq_status prune_by(pq_compress_task *task, double sparsity, const char *criterion,
                          bool told, pq_graph **graph, pq_err *err)
{
    char text[128];

    (void)pq_snprintf(text, sizeof text,
                      "structured_prune:target_sparsity=%.9g,criterion=%s", sparsity,
                      criterion);
    return stage(task, text, told, graph, err);
}

static pq_status prune(pq_compress_task *task, candidate c, bool told, pq_graph **graph,
                       pq_err *err)
{
    return c.sparsity > 0.0 ? prune_by(task, c.sparsity, "activation", told, graph, err)
                            : PQ_OK;
}

static double macs_of(const pq_graph *graph)
{
    double macs = 0.0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        macs += (double)pq_node_macs(graph, i);
    }
    return macs;
}

/* Part of the multiplications that go with a part of the neurons, whichever they are. */
static pq_status part_gone(pq_compress_task *task, double sparsity, double *gone,
                           pq_err *err)
{
    pq_graph *graph = NULL;
    double    macs;
    pq_status st;

    PQ_TRY(pq_graph_clone(task->graph, &graph, err));
    PQ_TRY(pq_graph_check(graph, err));
    macs = macs_of(graph);
    PQ_TRY(prune_by(task, sparsity, "l2", false, &graph, err));
    *gone = 1.0 - macs_of(graph) / fmax(macs, 1.0);
cleanup:
    pq_graph_free(&graph);
    return st;
}

/* The fewest neurons whose multiplications are at least such a part of all. */
static pq_status width_for(pq_compress_task *task, double gone, candidate *c, pq_err *err)
{
    double    low = 0.0, high = gone, part = 0.0; /* neurons go squared */
    pq_status st = PQ_OK;

    *c = (candidate){0};
    if (gone <= 0.0) {
        return PQ_OK;
    }
    PQ_TRY(part_gone(task, high, &part, err));
    *c = (candidate){.sparsity = high, .gone = part};
    for (int i = 0; i < STEPS; i++) {
        const double middle = (low + high) / 2.0;
        PQ_TRY(part_gone(task, middle, &part, err));
        if (part >= gone) {
            high = middle;
            *c   = (candidate){.sparsity = high, .gone = part};
        } else {
            low = middle;
        }
    }
cleanup:
    return st;
}

static pq_status quantize(pq_compress_task *task, candidate c, bool told,
                          pq_graph **graph, pq_err *err)
{
    const fit_params *p = task->params;
    char              text[128];

    (void)pq_snprintf(text, sizeof text, "quantize:bits=%lld,format=%s",
                      (long long)c.bits, formats[p->format]);
    return stage(task, text, told, graph, err);
}

static pq_status train(pq_compress_task *task, int64_t epochs, double lr,
                       pq_graph **graph, pq_err *err)
{
    const fit_params *p = task->params;
    char              text[160];

    if (epochs == 0) {
        return PQ_OK;
    }
    (void)pq_snprintf(text, sizeof text,
                      "finetune:epochs=%lld,batch=%lld,lr=%.9g,schedule=cosine",
                      (long long)epochs, (long long)p->batch, lr);
    return stage(task, text, true, graph, err);
}

static pq_status time_untrained(pq_compress_task *task, candidate c, double *seconds,
                                pq_err *err)
{
    const fit_params *p     = task->params;
    pq_graph         *graph = NULL;
    pq_status         st;

    PQ_TRY(pq_graph_clone(task->graph, &graph, err));
    PQ_TRY(pq_graph_check(graph, err));
    PQ_TRY(prune(task, c, false, &graph, err));
    PQ_TRY(quantize(task, c, false, &graph, err));
    PQ_TRY(task->bench->call(task->bench->context, graph, p->logits, seconds, err));
cleanup:
    pq_graph_free(&graph);
    return st;
}

static pq_status make(pq_compress_task *task, candidate c, pq_graph **out,
                      double *seconds, pq_err *err)
{
    const fit_params *p     = task->params;
    pq_graph         *graph = NULL;
    pq_status         st;

    PQ_TRY(pq_graph_clone(task->graph, &graph, err));
    PQ_TRY(pq_graph_check(graph, err));
    PQ_TRY(prune(task, c, true, &graph, err));
    PQ_TRY(train(task, p->epochs, p->lr, &graph, err));
    PQ_TRY(quantize(task, c, true, &graph, err));
    PQ_TRY(train(task, p->rounded_epochs, p->lr / 3.0, &graph, err));
    PQ_TRY(task->bench->call(task->bench->context, graph, p->logits, seconds, err));
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    return st;
}

/* What the search has seen; owns `found`. */
typedef struct {
    candidate best; /* the fastest */
    double    best_s;
    size_t    n;
    pq_graph *found; /* trained, within the target */
    double    found_s;
    candidate at;
    pq_err    end; /* why no more neurons can go */
} search;

static pq_status try(pq_compress_task *task, search *s, candidate c, double *seconds,
                     pq_err *err)
{
    const fit_params *p       = task->params;
    const size_t      changes = task->n_changes;
    pq_graph         *made    = NULL;
    double            trained = (double)NAN;
    pq_status         st;

    PQ_CHECK(!pq_progress_stopped(task->progress), PQ_ERR_INTERRUPTED,
             "stopped after %zu candidates", s->n);
    PQ_TRY(time_untrained(task, c, seconds, err));
    s->n++;
    if (*seconds <= p->target_latency * (1.0 - p->margin)) {
        PQ_TRY(make(task, c, &made, &trained, err));
        *seconds = trained;
    }
    if (*seconds < s->best_s) {
        s->best_s = *seconds;
        s->best   = c;
    }
    if (made != NULL && trained <= p->target_latency) {
        s->found   = made;
        s->found_s = trained;
        s->at      = c;
        made       = NULL;
    } else {
        task->n_changes = changes; /* of a network that nobody gets */
    }
cleanup:
    pq_graph_free(&made);
    return st;
}

/* Fewer and fewer bits of one width, while they are faster. */
static pq_status try_bits(pq_compress_task *task, search *s, candidate c, pq_err *err)
{
    const fit_params *p      = task->params;
    double            before = (double)INFINITY, now = 0.0;
    pq_status         st = PQ_OK;

    for (c.bits = p->bits; c.bits >= p->least_bits && s->found == NULL; c.bits--) {
        PQ_TRY(try(task, s, c, &now, err));
        if (now > worth_a_bit * before) {
            break;
        }
        before = now;
    }
cleanup:
    return st;
}

/* As far as one is found, or nothing more can go. */
static pq_status find(pq_compress_task *task, search *s, pq_err *err)
{
    const fit_params *p    = task->params;
    double            kept = 1.0 - p->target_sparsity, gone = -1.0;
    candidate         c;
    pq_status         st;

    for (size_t i = 0; i < CANDIDATES && s->found == NULL; i++, kept *= kept_each_time) {
        st = width_for(task, 1.0 - kept, &c, &s->end);
        if (st == PQ_OK && c.gone > gone) { /* else it is the width before */
            gone = c.gone;
            st   = try_bits(task, s, c, &s->end);
        }
        if (st == PQ_ERR_RANGE && s->n > 0) { /* a layer would be empty */
            return PQ_OK;
        }
        if (st != PQ_OK) {
            if (err != NULL) {
                *err = s->end;
            }
            return st;
        }
    }
    return PQ_OK;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const fit_params *p = task->params;
    search            s = {.best_s = (double)INFINITY};
    char              first[64];
    pq_status         st;

    (void)snprintf(first, sizeof first, "%s", task->nodes[0]);
    PQ_TRY(find(task, &s, err));
    PQ_CHECK(
        s.found != NULL, PQ_ERR_RANGE,
        "target_latency %.4g ns is out of reach: of %zu candidates the fastest took "
        "%.4g ns, with %.3g %% of the multiplications pruned and %lld bits (a margin of "
        "%.3g %% is asked for)%s%s",
        1e9 * p->target_latency, s.n, 1e9 * s.best_s, 100.0 * s.best.gone,
        (long long)s.best.bits, 100.0 * p->margin,
        s.end.code != PQ_OK ? "; beyond, " : "", s.end.message);
    PQ_TRY(pq_task_change(
        task, first, (double)NAN,
        "generated C takes %.4g ns of %.4g, with %.3g %% of the multiplications "
        "pruned and %lld bits, the candidate number %zu",
        1e9 * s.found_s, 1e9 * p->target_latency, 100.0 * s.at.gone, (long long)s.at.bits,
        s.n));
    pq_graph_free(&task->graph);
    task->graph = s.found;
    s.found     = NULL;
cleanup:
    pq_graph_free(&s.found);
    return st;
}

const pq_method pq_method_fit_latency = {
    .name        = "fit_latency",
    .summary     = "prunes neurons, rounds and trains until generated C answers in time",
    .source      = "arXiv:1804.06913, arXiv:2006.10159",
    .params      = pq_fit_latency_params,
    .params_size = sizeof(fit_params),
    .version     = "1",
    .keeps       = PQ_KEEPS_ALL | PQ_KEEPS_REST,
    .draws       = pq_draws_always,
    .needs       = needs,
    .check       = check,
    .accepts     = pq_training_accepts,
    .apply       = apply,
};
