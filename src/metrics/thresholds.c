/*
 * Each class at one cut of its own: which part of its events, and of all others, has a
 * probability of the class of at least the cut. For outputs that stand for themselves.
 */
#include "core/memory.h"
#include "metrics/blocks.h"
#include "metrics/fraction.h"

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

typedef struct {
    const pq_evaluation *e;
    double               cut;
    pq_fraction (*sides)[2]; /* [classes]: the rest, the class */
} job;

static pq_status count_class(void *context, size_t c, size_t thread, pq_err *err)
{
    const job *j = context;

    (void)thread;
    (void)err;
    for (size_t i = 0; i < j->e->n; i++) {
        pq_fraction_add(&j->sides[c][(size_t)j->e->labels[i] == c],
                        pq_evaluation_weight(j->e, i),
                        pq_evaluation_probability(j->e, i, c) >= j->cut);
    }
    return PQ_OK;
}

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const thresholds_params *p = values;
    job                      j = {e, p != NULL ? p->cut : usual_cut, NULL};
    pq_status                st;

    PQ_TRY(pq_evaluation_check(e, err));
    PQ_NEW(j.sides, e->classes);
    PQ_TRY(pq_threads_run(pq_evaluation_threads(e), e->classes, count_class, &j, err));
    for (size_t c = 0; c < e->classes; c++) {
        PQ_TRY(add(out, "efficiency", e->class_names[c], &j.sides[c][1], PQ_BETTER_HIGHER,
                   err));
        PQ_TRY(
            add(out, "mistag", e->class_names[c], &j.sides[c][0], PQ_BETTER_LOWER, err));
    }
cleanup:
    pq_free(j.sides);
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
