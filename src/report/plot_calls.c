/* Distribution of single calls, with the time that was asked for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "report/plot.h"
#include "store/json.h"

enum { MODELS = PQ_CALLS_MOST, GREY = 6 /* pq_plot_color of the reference */ };

/* What is drawn, and the range of it. */
typedef struct {
    const pq_view *v;
    long long      batch;
    double         target; /* s, or NAN */
    size_t         n;
    size_t         rows[MODELS]; /* in the plan's order */
    size_t         all;          /* models that were timed, each by its first repeat */
    double         lo, hi;       /* ns */
    double         least;        /* part of calls */
    double         most;         /* calls of a model */
} picture;

static const picture empty = {
    .target = (double)NAN, .lo = (double)INFINITY, .least = 1.0};

static bool read_pair(const json_t *pair, double *ns, double *calls)
{
    const json_t *at = json_array_get(pair, 0), *n = json_array_get(pair, 1);

    *ns    = json_is_number(at) ? fmax(json_number_value(at), 1.0) : (double)NAN;
    *calls = json_is_number(n) ? json_number_value(n) : (double)NAN;
    return isfinite(*ns) && *calls > 0.0;
}

/* Whether a list holds what is written there, and anything. */
static bool is_whole(const json_t *pairs)
{
    const json_t *pair;
    double        ns, calls;
    size_t        i;

    json_array_foreach((json_t *)pairs, i, pair)
    {
        if (!read_pair(pair, &ns, &calls)) {
            return false;
        }
    }
    return json_array_size(pairs) > 0;
}

static int by_place(const void *a, const void *b)
{
    const size_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* [[ns, calls], …] of a model at a batch size, or NULL. */
static const json_t *calls_of(const pq_view *v, size_t row, long long batch)
{
    const json_t *timings = json_object_get(v->rows[row].cell, "timings"), *record;
    size_t        i;

    json_array_foreach((json_t *)timings, i, record)
    {
        const json_t *timing = json_object_get(record, "timing");
        const json_t *hot    = json_object_get(json_object_get(timing, "shots"), "hot");
        const json_t *pairs  = json_object_get(hot, "ns_calls");
        if (json_integer_value(json_object_get(timing, "batch")) == batch &&
            is_whole(pairs)) {
            return pairs;
        }
    }
    return NULL;
}

/* A block of the part of calls that take at least so long, as a staircase. */
static void add_block(picture *x, const json_t *pairs, size_t block, pq_text *out)
{
    double        all = 0.0, left, ns, calls;
    const json_t *pair;
    size_t        i;

    json_array_foreach((json_t *)pairs, i, pair)
    {
        (void)read_pair(pair, &ns, &calls);
        all += calls;
        x->lo = fmin(x->lo, ns);
        x->hi = fmax(x->hi, ns);
    }
    left = all;
    pq_text_add(out, "%s# ns, part of calls that take at least so long\n",
                block > 0 ? "\n\n" : "");
    json_array_foreach((json_t *)pairs, i, pair)
    {
        (void)read_pair(pair, &ns, &calls);
        pq_text_add(out, "%.7g %.7g\n", ns, left / all);
        x->least = fmin(x->least, left / all);
        left -= calls;
        if (left > 0.5) {
            pq_text_add(out, "%.7g %.7g\n", ns, left / all);
        }
    }
    x->most = fmax(x->most, all);
}

static void add_line(pq_plot *p, size_t block, const char *label, size_t color)
{
    pq_text_add(&p->body,
                "%s'%s' index %zu using 1:2 with lines linewidth 1.6 linecolor rgb '%s' "
                "title ",
                block > 0 ? ", \\\n  " : "plot ", p->data_name, block,
                pq_plot_color(color));
    pq_plot_quote(&p->body, label);
}

/* The time that was asked for, from top to bottom. */
static pq_status add_target(pq_plot *p, const picture *x, pq_err *err)
{
    char      title[64];
    pq_status st;

    (void)pq_snprintf(title, sizeof title, "target %.4g ns", 1e9 * x->target);
    pq_text_add(&p->data, "\n\n# target\n%.7g %.7g\n%.7g 1\n", 1e9 * x->target, x->least,
                1e9 * x->target);
    pq_text_add(&p->body,
                ", \\\n  '%s' index %zu using 1:2 with lines dashtype 2 linewidth 1.8 "
                "linecolor rgb '#000000' title ",
                p->data_name, x->n);
    pq_plot_quote(&p->body, title);
    PQ_TRY(pq_chart_add(&p->chart, title, GREY, 2, "", err));
    pq_text_add(&p->caption, " The dashed line is the target, %.4g ns.", 1e9 * x->target);
cleanup:
    return st;
}

static void add_axes(pq_plot *p, const picture *x)
{
    const double target = isfinite(x->target) ? 1e9 * x->target : x->lo;

    pq_plot_log_axis(&p->body, 'x', fmin(x->lo, target), fmax(x->hi, target), true);
    pq_text_add(&p->body,
                "set logscale y\nset yrange [%.6g:1.3]\nset format y '%%g'\n"
                "set xlabel 'time of a single call / ns, batch size %lld'\n"
                "set ylabel 'part of calls that take at least so long'\n",
                x->least / 1.3, x->batch);
    p->chart.x_title = "time of a single call / ns";
    p->chart.y_title = "part of calls that take at least so long";
    p->chart.log_x = p->chart.log_y = true;
}

static double call_of(const picture *x, size_t row)
{
    char name[64];

    (void)snprintf(name, sizeof name, "latency.b%lld.call_s", x->batch);
    return row == x->v->reference
               ? -1.0 /* always drawn */
               : pq_view_number(x->v, row, pq_view_column_of(x->v, name)).value;
}

/* The reference and the fastest others. */
static void choose(picture *x)
{
    double calls[MODELS];
    bool   kept = true;

    for (size_t r = 0; r < x->v->n_rows; r++) {
        const double call = call_of(x, r);
        size_t       at   = x->n < MODELS ? x->n : MODELS - 1;
        if (!x->v->rows[r].done || isnan(call) || calls_of(x->v, r, x->batch) == NULL ||
            json_integer_value(json_object_get(x->v->rows[r].cell, "repeat")) > 0) {
            continue;
        }
        x->all++;
        kept = x->n < MODELS || call < calls[at];
        for (; kept && at > 0 && calls[at - 1] > call; at--) {
            calls[at]   = calls[at - 1];
            x->rows[at] = x->rows[at - 1];
        }
        if (kept) {
            calls[at]   = call;
            x->rows[at] = r;
            x->n += x->n < MODELS;
        }
    }
    qsort(x->rows, x->n, sizeof *x->rows, by_place);
}

/* A line of each model, whose labels and colours are there. */
static void add_lines(pq_plot *p, picture *x, const json_t *const *pairs,
                      char *const *labels, const size_t *colors)
{
    for (size_t i = 0; i < x->n; i++) {
        add_block(x, pairs[i], i, &p->data);
    }
    add_axes(p, x);
    for (size_t i = 0; i < x->n; i++) {
        add_line(p, i, labels[i], colors[i]);
    }
}

static pq_status add_models(pq_plot *p, picture *x, pq_err *err)
{
    const json_t *pairs[MODELS];
    const char   *names[MODELS];
    size_t        colors[MODELS];
    char        **labels = NULL;
    pq_status     st     = PQ_OK;

    for (size_t i = 0; i < x->n; i++) {
        const size_t row = x->rows[i];
        pairs[i]         = calls_of(x->v, row, x->batch);
        names[i]         = pq_json_get_text(x->v->rows[row].cell, "label");
        colors[i]        = row == x->v->reference ? GREY : i + (i >= GREY);
    }
    PQ_TRY(pq_labels_make(names, x->n, PQ_LABEL_LONGEST, &labels, err));
    add_lines(p, x, pairs, labels, colors);
    for (size_t i = 0; i < x->n; i++) {
        PQ_TRY(pq_chart_add(&p->chart, labels[i], colors[i], 1,
                            pq_json_get_text(x->v->rows[x->rows[i]].cell, "eval"), err));
    }
cleanup:
    pq_labels_free(&labels, x->n);
    return st;
}

/* The caption, the target, and the end. */
static pq_status finish(pq_plot *p, const picture *x, pq_err *err)
{
    pq_status st = PQ_OK;

    pq_text_add(&p->caption,
                "Single calls of %lld event%s, caches hot: the part of them that take at "
                "least so long, of up to %.0f calls a model.",
                x->batch, x->batch == 1 ? "" : "s", x->most);
    if (x->all > x->n) {
        pq_text_add(&p->caption, " These are the %zu fastest of %zu models.", x->n,
                    x->all);
    }
    if (isfinite(x->target)) {
        PQ_TRY(add_target(p, x, err));
    }
    pq_text_add(&p->body, "\n");
cleanup:
    return st;
}

pq_status pq_plot_calls(pq_plot *p, pq_err *err)
{
    picture   x  = empty;
    pq_status st = PQ_OK;

    x.v      = p->v;
    x.batch  = pq_view_least_batch(p->v);
    x.target = pq_view_target(p->v, x.batch);
    choose(&x);
    if (x.n == 0) {
        return PQ_OK;
    }
    PQ_TRY(add_models(p, &x, err));
    PQ_TRY(finish(p, &x, err));
cleanup:
    return st;
}

pq_status pq_plot_calls_of(pq_plot *p, const pq_calls *calls, pq_err *err)
{
    picture   x = empty;
    size_t    colors[MODELS];
    char    **labels = NULL;
    pq_status st;

    x.n      = calls->n;
    x.batch  = calls->batch;
    x.target = calls->target;
    for (size_t i = 0; i < x.n; i++) {
        colors[i] = i == 0 ? GREY : i - 1 + (i - 1 >= GREY);
    }
    PQ_TRY(pq_labels_make(calls->names, x.n, PQ_LABEL_LONGEST, &labels, err));
    add_lines(p, &x, calls->pairs, labels, colors);
    PQ_TRY(finish(p, &x, err));
cleanup:
    pq_labels_free(&labels, x.n);
    return st;
}
