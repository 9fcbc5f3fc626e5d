#include "metrics/roc.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/rank.h"

typedef struct {
    double score, signal,
        background; /* first of one event, then summed over all scores >= */
} point;

/* The events by falling score, those of one score in their order. */
static pq_status make_points(const pq_evaluation *e, size_t class_index, point *p,
                             pq_err *err)
{
    uint64_t *keys = NULL, *list = NULL, *spare = NULL;
    pq_status st;

    PQ_CHECK(e->n <= UINT32_MAX, PQ_ERR_RANGE, "%zu events are more than a curve takes",
             e->n);
    PQ_NEW(keys, e->n);
    PQ_NEW(list, e->n);
    PQ_NEW(spare, e->n);
    for (size_t i = 0; i < e->n; i++) {
        keys[i] = pq_rank_key(-pq_evaluation_score(e, i, class_index));
    }
    pq_rank_sort(keys, list, spare, e->n);
    for (size_t k = 0; k < e->n; k++) {
        const size_t i        = list[k] & PQ_RANK_NUMBER;
        const double w        = pq_evaluation_weight(e, i);
        const bool   positive = (size_t)e->labels[i] == class_index;
        p[k] = (point){pq_evaluation_score(e, i, class_index), positive ? w : 0.0,
                       positive ? 0.0 : w};
    }
cleanup:
    pq_free(keys);
    pq_free(list);
    pq_free(spare);
    return st;
}

/* Turns sorted events into the exact curve, one point a distinct score; returns how many.
 */
static size_t accumulate(point *p, size_t n)
{
    size_t points = 0;
    double signal = 0.0, background = 0.0;

    for (size_t i = 0; i < n; i++) {
        const bool last = i + 1 == n || p[i + 1].score != p[i].score;
        signal += p[i].signal;
        background += p[i].background;
        if (last) {
            p[points++] = (point){p[i].score, signal, background};
        }
    }
    for (size_t i = 0; i < points; i++) { /* the end is exactly (1, 1) */
        p[i].signal     = signal > 0.0 ? p[i].signal / signal : (double)NAN;
        p[i].background = background > 0.0 ? p[i].background / background : (double)NAN;
    }
    return points;
}

/* The largest efficiencies, above 1 with negative weights alone, and the smallest of the
 * background that is above 0; of the background their logarithms. */
typedef struct {
    double signal, log_most, log_least;
} reach;

static reach reach_of(const point *p, size_t n)
{
    reach r = {1.0, 0.0, 0.0};

    for (size_t i = 0; i < n; i++) {
        r.signal = fmax(r.signal, p[i].signal);
        if (p[i].background > 0.0) {
            r.log_most  = fmax(r.log_most, log(p[i].background));
            r.log_least = fmin(r.log_least, log(p[i].background));
        }
    }
    return r;
}

/* Keeps at most max_points - 1 points (the origin is added later), the last one always.
 */
static size_t thin(point *p, size_t n, size_t max_points)
{
    const double steps     = (double)((max_points - 4) / 2);
    const reach  r         = reach_of(p, n);
    const double span      = r.log_least - r.log_most;
    double       at_signal = 0.0, at_log = -HUGE_VAL;
    size_t       kept = 0;

    for (size_t i = 0; i + 1 < n; i++) {
        const double signal = floor(p[i].signal / r.signal * steps);
        const double lg =
            p[i].background > 0.0 && span < 0.0
                ? floor((1.0 - (log(p[i].background) - r.log_most) / span) * steps)
                : at_log;
        if (signal > at_signal || lg > at_log) {
            p[kept++] = p[i];
        }
        at_signal = fmax(at_signal, signal);
        at_log    = fmax(at_log, lg);
    }
    p[kept++] = p[n - 1];
    return kept;
}

pq_status pq_roc(const pq_evaluation *e, size_t class_index, size_t max_points,
                 pq_roc_curve *out, pq_err *err)
{
    pq_roc_curve curve = {0};
    point       *p     = NULL;
    size_t       points;
    pq_status    st;

    PQ_TRY(pq_evaluation_check(e, err));
    PQ_CHECK(class_index < e->classes, PQ_ERR_RANGE, "class %zu is not in 0..%zu",
             class_index, e->classes - 1);
    PQ_CHECK(max_points >= 8, PQ_ERR_RANGE, "max_points = %zu is less than 8",
             max_points);
    PQ_NEW(p, e->n);
    PQ_TRY(make_points(e, class_index, p, err));
    points = accumulate(p, e->n);
    if (isnan(p[0].signal) || isnan(p[0].background)) {
        points = 0; /* one side is empty: no curve */
    } else if (points + 1 > max_points) {
        points = thin(p, points, max_points);
    }
    curve.n = points > 0 ? points + 1 : 0;
    PQ_NEW(curve.signal, curve.n);
    PQ_NEW(curve.background, curve.n);
    for (size_t i = 0; i < points; i++) { /* entry 0 stays the origin */
        curve.signal[i + 1]     = p[i].signal;
        curve.background[i + 1] = p[i].background;
    }
    *out  = curve;
    curve = (pq_roc_curve){0};
cleanup:
    pq_free(p);
    pq_roc_free(&curve);
    return st;
}

void pq_roc_free(pq_roc_curve *curve)
{
    pq_free(curve->signal);
    pq_free(curve->background);
    *curve = (pq_roc_curve){0};
}
