/* Gates of times: ratios to the reference of the same run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/tests.h"
#include "store/json.h"
#include "sweep/gate_inside.h"

enum { LEAST_SAMPLES = 8 };

static const double SPREADS = 3.0; /* an effect below is no effect */

typedef struct {
    size_t  n;
    double *values; /* owned */
} samples;

/* Positive numbers alone. */
static pq_status take(const json_t *timing, samples *out, pq_err *err)
{
    const json_t *ratios = json_object_get(timing, "ratios"), *value;
    size_t        i;
    pq_status     st;

    *out = (samples){0};
    PQ_NEW(out->values, json_array_size(ratios) + 1);
    json_array_foreach((json_t *)ratios, i, value)
    {
        const double ratio = json_is_number(value) ? json_number_value(value) : 0.0;
        if (isfinite(ratio) && ratio > 0.0) {
            out->values[out->n++] = ratio;
        }
    }
cleanup:
    return st;
}

/* |median of the first half / median of the second - 1|: the same code against itself.
 * Sorts within the halves. */
static double spread_of(const samples *s)
{
    const size_t half = s->n / 2;
    double       first, second;

    if (s->n < LEAST_SAMPLES) {
        return (double)INFINITY;
    }
    first  = pq_median_of(s->values, half);
    second = pq_median_of(s->values + half, s->n - half);
    return fabs(first / second - 1.0);
}

static pq_status add_spreads(const json_t *snapshot, const char *batch, double *all,
                             size_t *n, pq_err *err)
{
    const json_t *cell;
    size_t        i;
    pq_status     st = PQ_OK;

    json_array_foreach(json_object_get(snapshot, "cells"), i, cell)
    {
        const json_t *timing = json_object_get(json_object_get(cell, "timings"), batch);
        samples       s;
        if (timing == NULL || json_is_true(json_object_get(cell, "reference"))) {
            continue; /* against itself it is 1 */
        }
        PQ_TRY(take(timing, &s, err));
        if (s.n >= LEAST_SAMPLES) {
            all[(*n)++] = spread_of(&s);
        }
        pq_free(s.values);
    }
cleanup:
    return st;
}

pq_status pq_gate_spread(const json_t *before, const json_t *now, const char *batch,
                         double *out, pq_err *err)
{
    const size_t most = json_array_size(json_object_get(before, "cells")) +
                        json_array_size(json_object_get(now, "cells"));
    double   *all = NULL;
    size_t    n   = 0;
    pq_status st;

    PQ_NEW(all, most);
    PQ_TRY(add_spreads(before, batch, all, &n, err));
    PQ_TRY(add_spreads(now, batch, all, &n, err));
    *out = n > 0 ? pq_median_of(all, n) : 0.0;
cleanup:
    pq_free(all);
    return st;
}

/* Why two measurements cannot be compared, or NULL. */
static const char *incomparable(const json_t *a, const json_t *b, const samples *x,
                                const samples *y)
{
    if (strcmp(pq_json_get_text(a, "machine"), pq_json_get_text(b, "machine")) != 0) {
        return "measured on another machine, or by another build";
    }
    if (json_is_true(json_object_get(a, "noisy")) ||
        json_is_true(json_object_get(b, "noisy"))) {
        return "noisy samples";
    }
    return x->n < LEAST_SAMPLES || y->n < LEAST_SAMPLES ? "too few samples" : NULL;
}

pq_status pq_gate_times(const json_t *before, const json_t *now, const pq_gate *gate,
                        double usual, pq_finding *out, pq_gate_case *found, pq_err *err)
{
    const json_t *a = json_object_get(json_object_get(before, "timings"), out->metric);
    const json_t *b = json_object_get(json_object_get(now, "timings"), out->metric);
    samples       x = {0}, y = {0};
    const double  due = isnan(gate->max_increase) ? 0.0 : gate->max_increase;
    double        limit;
    const char   *why;
    pq_status     st;

    *found = (pq_gate_case){0};
    PQ_TRY(take(a, &x, err));
    PQ_TRY(take(b, &y, err));
    why          = incomparable(a, b, &x, &y);
    found->noisy = why != NULL;
    (void)snprintf(found->at, sizeof found->at, "%s", pq_json_get_text(b, "measured"));
    if (x.n == 0 || y.n == 0) {
        (void)snprintf(out->why, sizeof out->why, "%s", why != NULL ? why : "no samples");
        goto cleanup;
    }
    if (!found->noisy) {
        PQ_TRY(pq_test_ranks(x.values, x.n, y.values, y.n, &out->p, err));
    }
    limit       = fmax(due, SPREADS * fmax(fmax(spread_of(&x), spread_of(&y)), usual));
    out->before = pq_median_of(x.values, x.n);
    out->now    = pq_median_of(y.values, y.n);
    out->worse  = out->now / out->before - 1.0;
    found->over = out->worse > due;
    if (why != NULL) {
        (void)snprintf(out->why, sizeof out->why, "%s", why);
    } else if (found->over && out->worse <= limit) {
        found->noisy = true;
        (void)pq_snprintf(out->why, sizeof out->why,
                          "not beyond %.1f %%, three times the noise of these runs",
                          100.0 * limit);
    }
cleanup:
    pq_free(x.values);
    pq_free(y.values);
    return st;
}
