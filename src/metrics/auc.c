/*
 * Area under the one-vs-rest ROC curve of each class and their mean, exact: the
 * probability that an event of the class scores above one of the rest, ties
 * counted half. Intervals by DeLong's structural components, which weights and
 * the mean over classes (correlated: same events) generalise to.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "metrics/interval.h"
#include "metrics/metric.h"

typedef struct {
    double score;
    size_t event;
} ranked;

/** One class: its area, and the effective events of its smaller side. */
typedef struct {
    double value, smaller;
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

/* Area of one class; its variance, and every event's influence added to s->total. */
static area one_class(const pq_evaluation *e, size_t c, scratch *s, double *variance)
{
    pq_weight_sum side[2] = {{0.0, 0.0}, {0.0, 0.0}};
    area          a       = {(double)NAN, 0.0};
    double        n[2], sum[2], value = 0.0;

    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&side[is_positive(e, i, c)], pq_evaluation_weight(e, i));
        s->order[i] = (ranked){pq_evaluation_score(e, i, c), i};
    }
    *variance = 0.0;
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
    a = (area){value / (sum[0] * sum[1]), fmin(n[0], n[1])};
    for (size_t i = 0; i < e->n; i++) {
        const int    k         = is_positive(e, i, c);
        const double influence = pq_evaluation_weight(e, i) *
                                 (s->component[i] / sum[!k] - a.value) / sum[k] *
                                 (n[k] > 1.0 ? sqrt(n[k] / (n[k] - 1.0)) : (double)NAN);
        *variance += influence * influence;
        s->total[i] += influence;
    }
    return a;
}

/* One standard deviation to each side; where the estimate is 0 (all separated), Wilson
 * for the smaller side. */
static pq_status add(pq_values *out, const char *name, area a, double variance, double n,
                     pq_err *err)
{
    const double error    = sqrt(variance);
    pq_interval  interval = {fmax(a.value - error, 0.0), fmin(a.value + error, 1.0)};

    if (isnan(a.value) || isnan(error)) {
        interval = (pq_interval){(double)NAN, (double)NAN};
    } else if (error == 0.0) {
        interval = pq_interval_wilson(a.value * a.smaller, a.smaller, 1.0);
    }
    return pq_values_add(out, name, a.value, interval.lo, interval.hi, n, "",
                         PQ_BETTER_HIGHER, err);
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    scratch       s       = {0};
    pq_weight_sum all     = {0};
    area          macro   = {0.0, HUGE_VAL};
    size_t        defined = 0;
    double        variance;
    char          name[64];
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
        const area a = one_class(e, c, &s, &variance);
        snprintf(name, sizeof name, "auc.%s", e->class_names[c]);
        PQ_TRY(add(out, name, a, variance, n, err));
        if (!isnan(a.value)) {
            macro.value += a.value;
            macro.smaller = fmin(macro.smaller, a.smaller);
            defined++;
        }
    }
    macro.value = defined > 0 ? macro.value / (double)defined : (double)NAN;
    variance    = 0.0;
    for (size_t i = 0; i < e->n; i++) {
        variance += s.total[i] * s.total[i];
    }
    variance /= (double)defined * (double)defined;
    PQ_TRY(add(out, "auc.macro", macro, variance, n, err));
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
