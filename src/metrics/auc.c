/*
 * Area under the one-vs-rest ROC curve of each class and their mean, exact: the
 * probability that an event of the class scores above one of the rest, ties
 * counted half. Intervals by DeLong's structural components, which weights and
 * the mean over classes (correlated: same events) generalise to.
 */
#include "metrics/auc.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/interval.h"

pq_auc_area pq_auc_mean_value(const pq_evaluation *e, const pq_auc_area *areas,
                              size_t *defined)
{
    pq_auc_area mean = {.smaller = HUGE_VAL};

    *defined = 0;
    for (size_t c = 0; c < e->classes; c++) {
        if (!isnan(areas[c].value)) {
            mean.value += areas[c].value;
            mean.smaller = fmin(mean.smaller, areas[c].smaller);
            mean.lone    = mean.lone || areas[c].lone;
            (*defined)++;
        }
    }
    mean.value = *defined > 0 ? mean.value / (double)*defined : (double)NAN;
    return mean;
}

pq_auc_area pq_auc_mean(const pq_evaluation *e, const pq_auc_area *areas,
                        const double *total)
{
    size_t      defined;
    pq_auc_area mean = pq_auc_mean_value(e, areas, &defined);

    for (size_t i = 0; i < e->n; i++) {
        const double influence = total[i] / (double)defined;
        const double square    = influence * influence;
        mean.variance += square;
        mean.fourths += square * square;
    }
    return mean;
}

/* One standard deviation to each side, as many standard errors as Student's t asks for
 * where few events rule; where the estimate is 0 (all separated), Wilson for the smaller
 * side. */
static pq_value number_of(const pq_auc_area *a, double n)
{
    const double error =
        sqrt(a->variance) * pq_student_sigma(pq_freedom(a->variance, a->fourths));
    /* beyond 0..1 with negative weights alone */
    pq_interval interval = {fmax(a->value - error, fmin(a->value, 0.0)),
                            fmin(a->value + error, fmax(a->value, 1.0))};

    if (isnan(a->value) || isnan(error)) {
        interval = (pq_interval){(double)NAN, (double)NAN};
    } else if (error == 0.0) {
        interval = pq_interval_wilson(a->value * a->smaller, a->smaller, 1.0);
    }
    return (pq_value){
        .value  = a->value,
        .lo     = interval.lo,
        .hi     = interval.hi,
        .n      = n,
        .better = PQ_BETTER_HIGHER,
        .note   = a->lone ? "one event of the class or of the rest: no interval"
                  : !isnan(a->value) && a->smaller < PQ_FEW_EFFECTIVE ? pq_note_few
                                                                      : NULL};
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    pq_auc_area  *areas = NULL;
    pq_weight_sum all   = {(double)e->n, (double)e->n};
    pq_value      mean;
    double        n;
    pq_status     st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_NEW(areas, e->classes + 1);
    PQ_TRY(pq_auc_ranked(e, areas, err));
    if (e->weights != NULL) {
        all = (pq_weight_sum){0};
        for (size_t i = 0; i < e->n; i++) {
            pq_weight_add(&all, pq_evaluation_weight(e, i));
        }
    }
    n = pq_weight_effective(all);
    for (size_t c = 0; c < e->classes; c++) {
        PQ_TRY(pq_values_add_class(out, "auc", e->class_names[c], number_of(&areas[c], n),
                                   err));
    }
    mean = number_of(&areas[e->classes], n);
    PQ_TRY(pq_values_add(out, "auc.macro", mean.value, mean.lo, mean.hi, mean.n, "",
                         mean.better, err));
    out->items[out->n - 1].note = mean.note;
cleanup:
    pq_free(areas);
    return st;
}

static const char *const values[] = {"auc.macro", "auc.*", NULL};

const pq_metric pq_metric_auc = {
    .name   = "auc",
    .values = values,
    .summary =
        "area under the one-vs-rest ROC curve of each class, exact with ties counted "
        "half, and the mean over the classes present (auc.macro); ranked in double by "
        "the "
        "logits, also those that a softmax or one sigmoid at the end is given; DeLong "
        "intervals",
    .source  = "doi:10.2307/2531595 (DeLong et al. 1988), doi:10.1109/LSP.2014.2337313",
    .version = "3",
    .compute = compute,
};
