/* Areas plainly, as they are defined: what metrics/auc_ranked.c is compared with. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "metrics/auc.h"

typedef struct {
    double score;
    size_t event;
} ranked;

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
static pq_auc_area one_class(const pq_evaluation *e, size_t c, scratch *s)
{
    pq_weight_sum side[2] = {{0.0, 0.0}, {0.0, 0.0}};
    pq_auc_area   a       = {.value = (double)NAN};
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
    a = (pq_auc_area){.value   = value / (sum[0] * sum[1]),
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

pq_status pq_auc_plain(const pq_evaluation *e, pq_auc_area *areas, pq_err *err)
{
    scratch   s = {0};
    pq_status st;

    PQ_NEW(s.order, e->n);
    PQ_NEW(s.component, e->n);
    PQ_NEW(s.total, e->n);
    for (size_t c = 0; c < e->classes; c++) {
        areas[c] = one_class(e, c, &s);
    }
    areas[e->classes] = pq_auc_mean(e, areas, s.total);
cleanup:
    pq_free(s.order);
    pq_free(s.component);
    pq_free(s.total);
    return st;
}
