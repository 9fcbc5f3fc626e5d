#include "metrics/metric.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/name.h"
#include "metrics/blocks.h"

#define X(word) extern const pq_metric pq_metric_##word;
#include "metrics/metrics.def"
#undef X

const pq_metric *const pq_metrics[] = {
#define X(word) &pq_metric_##word,
#include "metrics/metrics.def"
#undef X
    NULL};

const char pq_note_few[] =
    "fewer than 10 effective events: the interval may be too narrow";

const pq_metric *pq_metric_find(const char *name)
{
    for (const pq_metric *const *m = pq_metrics; *m != NULL; m++) {
        if (strcmp((*m)->name, name) == 0) {
            return *m;
        }
    }
    return NULL;
}

/* Room for one more: it doubles, so a full list is as long as a power of two. */
static pq_status make_room(pq_values *values, pq_err *err)
{
    const size_t n = values->n;
    pq_value    *grown;
    pq_status    st = PQ_OK;

    if (n > 0 && (n & (n - 1)) != 0) {
        return PQ_OK;
    }
    grown = pq_recalloc(values->items, n, n == 0 ? 1 : 2 * n, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu values", n + 1);
    values->items = grown;
cleanup:
    return st;
}

pq_status pq_values_add(pq_values *values, const char *name, double value, double lo,
                        double hi, double n, const char *unit, pq_better better,
                        pq_err *err)
{
    pq_value *item;
    pq_status st;

    PQ_TRY(make_room(values, err));
    item  = &values->items[values->n++];
    *item = (pq_value){.value = value, .lo = lo, .hi = hi, .n = n, .better = better};
    PQ_STRDUP(item->name, name);
    snprintf(item->unit, sizeof item->unit, "%s", unit);
cleanup:
    return st;
}

pq_status pq_values_add_class(pq_values *values, const char *metric,
                              const char *class_name, pq_value value, pq_err *err)
{
    char     *name = pq_name_metric(metric, class_name);
    pq_status st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(pq_values_add(values, name, value.value, value.lo, value.hi, value.n,
                         value.unit, value.better, err));
    values->items[values->n - 1].note = value.note;
cleanup:
    pq_free(name);
    return st;
}

void pq_values_free(pq_values *values)
{
    for (size_t i = 0; i < values->n; i++) {
        pq_free(values->items[i].name);
    }
    pq_free(values->items);
    *values = (pq_values){0};
}

const pq_value *pq_values_find(const pq_values *values, const char *name)
{
    for (size_t i = 0; i < values->n; i++) {
        if (strcmp(values->items[i].name, name) == 0) {
            return &values->items[i];
        }
    }
    return NULL;
}

static bool is_weight(const pq_evaluation *e, double w)
{
    return isfinite(w) && (w >= 0.0 || e->negative);
}

static pq_status check_weight(const pq_evaluation *e, size_t event, pq_err *err)
{
    const double w  = pq_evaluation_weight(e, event);
    pq_status    st = PQ_OK;

    if (is_weight(e, w)) {
        return PQ_OK;
    }
    st = pq_err_set(err, PQ_ERR_RANGE, __FILE__, __LINE__,
                    isfinite(w) ? "event %zu: weight %g is negative: negative_weights: "
                                  "true under evaluate, or --negative-weights, takes such"
                                : "event %zu: weight %g is not finite",
                    event, w);
    pq_err_hint(err, "or name the column of weights, or leave weights out: --weight "
                     "NAME|none, or `weight` of the dataset");
    return st;
}

/* Names the first event that is wrong. */
static pq_status find_wrong(const pq_evaluation *e, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < e->n; i++) {
        PQ_CHECK(e->labels[i] >= 0 && (size_t)e->labels[i] < e->classes, PQ_ERR_RANGE,
                 "event %zu: label %d is not in 0..%zu", i, (int)e->labels[i],
                 e->classes - 1);
        PQ_TRY(check_weight(e, i, err));
        for (size_t c = 0; c < e->width; c++) {
            PQ_CHECK(isfinite(e->outputs[i * e->width + c]), PQ_ERR_NUMERIC,
                     "event %zu: output %zu is %g", i, c,
                     (double)e->outputs[i * e->width + c]);
        }
    }
cleanup:
    return st;
}

enum { WRONG, WEIGHTS, SUMS };

static void add_wrong(const pq_evaluation *e, const void *context, size_t first,
                      size_t end, double *sums)
{
    bool wrong = false;

    (void)context;
    for (size_t i = first; i < end; i++) {
        const double w = pq_evaluation_weight(e, i);
        wrong = wrong || e->labels[i] < 0 || (size_t)e->labels[i] >= e->classes ||
                !is_weight(e, w);
        sums[WEIGHTS] += w;
    }
    for (size_t i = first * e->width; i < end * e->width; i++) {
        wrong |= !isfinite(e->outputs[i]);
    }
    sums[WRONG] = wrong ? 1.0 : 0.0;
}

pq_status pq_evaluation_check(const pq_evaluation *e, pq_err *err)
{
    double    sums[SUMS];
    pq_status st;

    if (e->checked) {
        return PQ_OK;
    }
    PQ_CHECK(e->n > 0 && e->classes > 0, PQ_ERR_CONFIG,
             "nothing to evaluate: %zu events of %zu classes", e->n, e->classes);
    PQ_TRY(pq_blocks_sum(e, add_wrong, NULL, SUMS, sums, err));
    if (sums[WRONG] > 0.0) {
        PQ_TRY(find_wrong(e, err));
    }
    PQ_CHECK(e->negative || sums[WEIGHTS] > 0.0, PQ_ERR_CONFIG,
             "nothing to evaluate: the weights of all %zu events are 0", e->n);
    PQ_CHECK(sums[WEIGHTS] > 0.0, PQ_ERR_CONFIG,
             "nothing to evaluate: the weights of %zu events add up to %g, not to more "
             "than 0",
             e->n, sums[WEIGHTS]);
cleanup:
    return st;
}

static const float *row_of(const pq_evaluation *e, size_t event)
{
    return e->outputs + event * e->width;
}

size_t pq_evaluation_decision(const pq_evaluation *e, size_t event)
{
    return pq_head_decide(e->head, e->width, row_of(e, event));
}

bool pq_evaluation_tied(const pq_evaluation *e, size_t event, size_t decision)
{
    const float *row     = row_of(e, event);
    const float  largest = e->width > 1 ? row[decision] : 0.0f;
    const float  least   = largest - 4.0f * FLT_EPSILON * fabsf(largest);
    bool         tied    = false;

    for (size_t c = 0; c < e->width && e->width > 1; c++) {
        tied = tied || (c != decision && row[c] >= least);
    }
    return tied;
}

double pq_evaluation_probability(const pq_evaluation *e, size_t event, size_t class_index)
{
    return pq_head_probability(e->head, e->width, row_of(e, event),
                               pq_evaluation_norm(e, event), class_index);
}

const char *pq_evaluation_undecided(const pq_evaluation *e)
{
    return pq_head_no_decision(e->head, e->width);
}

const char *pq_evaluation_improbable(const pq_evaluation *e)
{
    return pq_head_no_probability(e->head);
}

double pq_weight_effective(pq_weight_sum s)
{
    return s.sum_squares > 0.0 ? s.sum * s.sum / s.sum_squares : 0.0;
}
