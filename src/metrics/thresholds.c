/*
 * Each class at one cut of its own: which part of its events, and of all others, has a
 * probability of the class of at least the cut. For outputs that stand for themselves.
 */
#include <math.h>
#include <stdio.h>

#include "core/memory.h"
#include "metrics/interval.h"
#include "metrics/metric.h"

typedef struct {
    double cut;
} thresholds_params;

static const double usual_cut = 0.5;

static const pq_param params[] = {
    {.name     = "cut",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(thresholds_params, cut),
     .fallback = "0.5",
     .min      = 0,
     .max      = 1,
     .help     = "events with a probability of at least this are accepted"},
    {0},
};

/* Events on one side of a class: of it, or of the rest. */
typedef struct {
    pq_weight_sum all;
    double        kept;
} side;

static pq_status add(pq_values *out, const char *what, const char *name, side s,
                     pq_better better, pq_err *err)
{
    const double      n     = pq_weight_effective(s.all);
    const double      value = n > 0.0 ? s.kept / s.all.sum : (double)NAN;
    const pq_interval i     = n > 0.0
                                  ? pq_interval_clopper_pearson(value * n, n, PQ_ONE_SIGMA)
                                  : (pq_interval){(double)NAN, (double)NAN};
    char              whole[64];

    (void)snprintf(whole, sizeof whole, "%s.%s", what, name);
    return pq_values_add(out, whole, value, i.lo, i.hi, n, "", better, err);
}

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const thresholds_params *p   = values;
    const double             cut = p != NULL ? p->cut : usual_cut;
    pq_status                st;

    PQ_TRY(pq_evaluation_check(e, err));
    for (size_t c = 0; c < e->classes; c++) {
        side sides[2] = {0}; /* the rest, the class */
        for (size_t i = 0; i < e->n; i++) {
            side        *s = &sides[(size_t)e->labels[i] == c];
            const double w = pq_evaluation_weight(e, i);
            pq_weight_add(&s->all, w);
            s->kept += pq_evaluation_probability(e, i, c) >= cut ? w : 0.0;
        }
        PQ_TRY(
            add(out, "efficiency", e->class_names[c], sides[1], PQ_BETTER_HIGHER, err));
        PQ_TRY(add(out, "mistag", e->class_names[c], sides[0], PQ_BETTER_LOWER, err));
    }
cleanup:
    return st;
}

static bool usual(const pq_evaluation *e)
{
    return e->head == PQ_HEAD_SIGMOID;
}

static const char *const given[] = {"efficiency.*", "mistag.*", NULL};

const pq_metric pq_metric_thresholds = {
    .name   = "thresholds",
    .values = given,
    .summary =
        "of each class at a cut on its probability: efficiency, the fraction of its "
        "events at or above it, and mistag, that of all others; Clopper-Pearson",
    .source      = "doi:10.1093/biomet/26.4.404",
    .params      = params,
    .params_size = sizeof(thresholds_params),
    .version     = "1",
    .refuses     = pq_evaluation_improbable,
    .usual       = usual,
    .compute     = compute,
};
