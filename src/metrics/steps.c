#include "metrics/steps.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/tests.h"

/* Residuals are taken for no smaller than this, relative to the largest value: a series
 * without any noise has one. */
static const double FLOOR = 1e-9;

/* Tables of the dynamic programme over the first j values in k segments. */
typedef struct {
    size_t  n;
    double *cost;  /* [n, n] of a segment i .. j */
    double *best;  /* [k, n + 1] */
    size_t *start; /* [k, n + 1] of the last segment */
} fit;

/* Puts a value into a sorted list. */
static void insert(double *sorted, size_t n, double value)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        if (sorted[middle] <= value) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    memmove(sorted + lo + 1, sorted + lo, (n - lo) * sizeof *sorted);
    sorted[lo] = value;
}

/* sum |y - median| of all stretches: the upper half less the lower. */
static void fill_costs(fit *f, const double *y, double *sorted)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = i; j < f->n; j++) {
            const size_t m   = j - i + 1;
            double       sum = 0.0;
            insert(sorted, m - 1, y[j]);
            for (size_t a = 0; a < m / 2; a++) {
                sum += sorted[m - 1 - a] - sorted[a];
            }
            f->cost[i * f->n + j] = sum;
        }
    }
}

static void run_programme(fit *f)
{
    const size_t row = f->n + 1;

    for (size_t k = 0; k <= PQ_STEPS_MAX; k++) {
        for (size_t j = 0; j <= f->n; j++) {
            f->best[k * row + j] = (double)INFINITY;
            for (size_t i = k * PQ_STEP_NIGHTS; i + PQ_STEP_NIGHTS <= j; i++) {
                const double before = k == 0 ? (i == 0 ? 0.0 : (double)INFINITY)
                                             : f->best[(k - 1) * row + i];
                const double all    = before + f->cost[i * f->n + j - 1];
                if (all < f->best[k * row + j]) {
                    f->best[k * row + j]  = all;
                    f->start[k * row + j] = i;
                }
            }
        }
    }
}

/* The number of steps that the criterion prefers. */
static size_t choose(const fit *f, double scale)
{
    const double n    = (double)f->n;
    double       best = (double)INFINITY;
    size_t       out  = 0;

    for (size_t k = 0; k <= PQ_STEPS_MAX; k++) {
        const double residual = f->best[k * (f->n + 1) + f->n] / n;
        const double score =
            log(fmax(residual, FLOOR * scale)) + 4.0 * log(n) / n * (double)k;
        if (isfinite(residual) && score < best - 1e-12) {
            best = score;
            out  = k;
        }
    }
    return out;
}

static pq_stretch segment_of(const double *y, size_t first, size_t n, double *scratch)
{
    pq_stretch s = {first, n, 0.0, 0.0};

    memcpy(scratch, y + first, n * sizeof *scratch);
    s.level = pq_median_of(scratch, n);
    for (size_t i = 0; i < n; i++) {
        scratch[i] = fabs(y[first + i] - s.level);
    }
    s.noise = pq_median_of(scratch, n);
    return s;
}

pq_status pq_steps_find(const double *y, size_t n, pq_stretch *out, size_t *k,
                        pq_err *err)
{
    fit       f      = {.n = n};
    double   *sorted = NULL, scale = 0.0;
    size_t    steps = 0, end = n;
    pq_status st = PQ_OK;

    *k = 0;
    PQ_CHECK(n <= PQ_STEP_VALUES_MAX, PQ_ERR_RANGE, "a series of %zu values; at most %d",
             n, PQ_STEP_VALUES_MAX);
    if (n == 0) {
        return PQ_OK;
    }
    PQ_NEW(sorted, n + 1);
    PQ_NEW(f.cost, n * n);
    PQ_NEW(f.best, (PQ_STEPS_MAX + 1) * (n + 1));
    PQ_NEW(f.start, (PQ_STEPS_MAX + 1) * (n + 1));
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs(y[i]));
    }
    if (n >= (size_t)2 * PQ_STEP_NIGHTS && scale > 0.0) {
        fill_costs(&f, y, sorted);
        run_programme(&f);
        steps = choose(&f, scale);
    }
    *k = steps + 1;
    for (size_t i = *k; i-- > 0;) {
        const size_t first = i == 0 ? 0 : f.start[i * (n + 1) + end];
        out[i]             = segment_of(y, first, end - first, sorted);
        end                = first;
    }
cleanup:
    pq_free(sorted);
    pq_free(f.cost);
    pq_free(f.best);
    pq_free(f.start);
    return st;
}
