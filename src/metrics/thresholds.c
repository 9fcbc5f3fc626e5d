/*
 * Each class at one cut of its own: which part of its events, and of all others, has a
 * probability of the class of at least the cut. For outputs that stand for themselves.
 */
#include "metrics/fraction.h"
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
static pq_status add(pq_values *out, const char *what, const char *name,
                     const pq_fraction *side, pq_better better, pq_err *err)
{
    const pq_interval i     = pq_fraction_clopper_pearson(side);
    const pq_value    value = {.value  = pq_fraction_value(side),
                               .lo     = i.lo,
                               .hi     = i.hi,
                               .n      = pq_fraction_effective(side),
                               .better = better,
                               .note   = pq_fraction_note(side)};

    return pq_values_add_class(out, what, name, value, err);
}

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const thresholds_params *p   = values;
    const double             cut = p != NULL ? p->cut : usual_cut;
    pq_status                st;

    PQ_TRY(pq_evaluation_check(e, err));
    for (size_t c = 0; c < e->classes; c++) {
        pq_fraction sides[2] = {0}; /* the rest, the class */
        for (size_t i = 0; i < e->n; i++) {
            pq_fraction_add(&sides[(size_t)e->labels[i] == c], pq_evaluation_weight(e, i),
                            pq_evaluation_probability(e, i, c) >= cut);
        }
        PQ_TRY(
            add(out, "efficiency", e->class_names[c], &sides[1], PQ_BETTER_HIGHER, err));
        PQ_TRY(add(out, "mistag", e->class_names[c], &sides[0], PQ_BETTER_LOWER, err));
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
    .version     = "2",
    .refuses     = pq_evaluation_improbable,
    .usual       = usual,
    .compute     = compute,
};
