/*
 * Area under the one-vs-rest ROC curve of each class and their mean, exact: the
 * probability that an event of the class scores above one of the rest, ties
 * counted half. Intervals by DeLong's structural components, which weights and
 * the mean over classes (correlated: same events) generalise to.
 */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "metrics/interval.h"
#include "metrics/metric.h"

typedef struct {
    double score;
    size_t event;
} ranked;

/** One class: its area, the effective events of its smaller side, and the sums of the
 * squares and fourth powers of the events' influence on it. */
typedef struct {
    double value, smaller, variance, fourths;
    bool   lone; /* one event of the class or of the rest: no spread to be seen */
} area;

/** Scratch for all classes. */
typedef struct {
    ranked *order;     /* [n], by score, ascending */
    double *component; /* [n], weighted fraction of the other side that the event beats */
    double
        *total; /* [n], influence of the event on the mean over classes, times classes */
} scratch;

static int by_score(const void *a, const void *b)
{
    const double x = ((const ranked *)a)->score, y = ((const ranked *)b)->score;

    return (x > y) - (x < y);
}

static bool is_positive(const pq_evaluation *e, size_t event, size_t class_index)
{
    return (size_t)e->labels[event] == class_index;
}

/* component = weight of the other side beaten (ties half), not yet divided by its sum. */
static void compare_sides(const pq_evaluation *e, size_t c, const double sum[2],
                          scratch *s)
{
    double below[2] = {0.0, 0.0}; /* weight of rest and class under the current score */

    for (size_t first = 0, end; first < e->n; first = end) {
        double tied[2] = {0.0, 0.0};
        for (end = first; end < e->n && s->order[end].score == s->order[first].score;
             end++) {
            const size_t i = s->order[end].event;
            tied[is_positive(e, i, c)] += pq_evaluation_weight(e, i);
        }
        for (size_t k = first; k < end; k++) {
            const size_t i  = s->order[k].event;
            s->component[i] = is_positive(e, i, c)
                                  ? below[0] + tied[0] / 2.0
                                  : sum[1] - below[1] - tied[1] + tied[1] / 2.0;
        }
        below[0] += tied[0];
        below[1] += tied[1];
    }
}

/* Area of one class; every event's influence is added to s->total. */
static area one_class(const pq_evaluation *e, size_t c, scratch *s)
{
    pq_weight_sum side[2] = {{0.0, 0.0}, {0.0, 0.0}};
    area          a       = {.value = (double)NAN};
    double        n[2], sum[2], value = 0.0;

    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&side[is_positive(e, i, c)], pq_evaluation_weight(e, i));
        s->order[i] = (ranked){pq_evaluation_score(e, i, c), i};
    }
    for (int k = 0; k < 2; k++) {
        n[k]   = pq_weight_effective(side[k]);
        sum[k] = side[k].sum;
    }
    if (!(sum[0] > 0.0 && sum[1] > 0.0)) {
        return a;
    }
    qsort(s->order, e->n, sizeof *s->order, by_score);
    compare_sides(e, c, sum, s);
    for (size_t i = 0; i < e->n; i++) {
        value +=
            is_positive(e, i, c) ? pq_evaluation_weight(e, i) * s->component[i] : 0.0;
    }
    a = (area){.value   = value / (sum[0] * sum[1]),
               .smaller = fmin(n[0], n[1]),
               .lone    = !(n[0] > 1.0 && n[1] > 1.0)};
    for (size_t i = 0; i < e->n; i++) {
        const int    k         = is_positive(e, i, c);
        const double influence = pq_evaluation_weight(e, i) *
                                 (s->component[i] / sum[!k] - a.value) / sum[k] *
                                 (n[k] > 1.0 ? sqrt(n[k] / (n[k] - 1.0)) : (double)NAN);
        a.variance += influence * influence;
        a.fourths += pow(influence, 4.0);
        s->total[i] += influence;
    }
    return a;
}

/* One standard deviation to each side, as many standard errors as Student's t asks for
 * where few events rule; where the estimate is 0 (all separated), Wilson for the smaller
 * side. */
static pq_value number_of(const pq_evaluation *e, const area *a, double n)
{
    const double error =
        sqrt(a->variance) * pq_student_sigma(pq_freedom(a->variance, a->fourths));
    pq_interval interval = {fmax(a->value - error, 0.0), fmin(a->value + error, 1.0)};

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
                  : e->weights != NULL && !isnan(a->value) && a->smaller < PQ_FEW_EFFECTIVE
                      ? pq_note_few
                      : NULL};
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    scratch       s       = {0};
    pq_weight_sum all     = {0};
    area          macro   = {.smaller = HUGE_VAL};
    size_t        defined = 0;
    pq_value      mean;
    pq_status     st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_NEW(s.order, e->n);
    PQ_NEW(s.component, e->n);
    PQ_NEW(s.total, e->n);
    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&all, pq_evaluation_weight(e, i));
    }
    const double n = pq_weight_effective(all);

    for (size_t c = 0; c < e->classes; c++) {
        const area a = one_class(e, c, &s);
        PQ_TRY(
            pq_values_add_class(out, "auc", e->class_names[c], number_of(e, &a, n), err));
        if (!isnan(a.value)) {
            macro.value += a.value;
            macro.smaller = fmin(macro.smaller, a.smaller);
            macro.lone    = macro.lone || a.lone;
            defined++;
        }
    }
    macro.value = defined > 0 ? macro.value / (double)defined : (double)NAN;
    for (size_t i = 0; i < e->n; i++) {
        const double influence = s.total[i] / (double)defined;
        macro.variance += influence * influence;
        macro.fourths += pow(influence, 4.0);
    }
    mean = number_of(e, &macro, n);
    PQ_TRY(pq_values_add(out, "auc.macro", mean.value, mean.lo, mean.hi, mean.n, "",
                         mean.better, err));
    out->items[out->n - 1].note = mean.note;
cleanup:
    pq_free(s.order);
    pq_free(s.component);
    pq_free(s.total);
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
