/* Gates of times: ratios to the reference of the same run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/tests.h"
#include "store/json.h"
#include "sweep/gate_inside.h"
#include "sweep/snapshot.h"

enum { LEAST_SAMPLES = 8, LEAST_PROCESSES = 3 };

static const double SPREADS = 3.0; /* an effect below is no effect */

/* What processes are taken to differ by where fewer than LEAST_PROCESSES were measured:
 * seen on quiet hosts are up to 14.8 % between two (docs/measurement.md). */
static const double UNKNOWN_SCATTER = 0.05;

/* Of one cell in one snapshot; owned. */
typedef struct {
    size_t  n, n_processes;
    double *values;    /* ratios, sweep by sweep */
    double *processes; /* log of the median ratio of each */
} samples;

static pq_status take(const json_t *timing, samples *out, pq_err *err)
{
    pq_status st;

    *out = (samples){0};
    PQ_TRY(pq_snapshot_values(timing, "ratios", &out->values, &out->n, err));
    PQ_TRY(
        pq_snapshot_values(timing, "processes", &out->processes, &out->n_processes, err));
    for (size_t i = 0; i < out->n_processes; i++) {
        out->processes[i] = log(out->processes[i]);
    }
cleanup:
    return st;
}

static void drop(samples *s)
{
    pq_free(s->values);
    pq_free(s->processes);
    *s = (samples){0};
}

static bool is_scatter_known(const samples *s)
{
    return s->n_processes >= LEAST_PROCESSES;
}

/* Standard deviation of the processes, relative; of two at least. */
static double scatter_of(const samples *s)
{
    double sum = 0.0, squares = 0.0;

    for (size_t i = 0; i < s->n_processes; i++) {
        sum += s->processes[i];
    }
    for (size_t i = 0; i < s->n_processes; i++) {
        const double off = s->processes[i] - sum / (double)s->n_processes;
        squares += off * off;
    }
    return sqrt(squares / (double)(s->n_processes - 1));
}

/* |median of the first half / median of the second - 1|: the same code against itself.
 * Sorts within the halves. */
static double halves_of(const samples *s)
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

/* What the same code differs by. Processes follow each other, so that their deviation has
 * in it what halves would show, and is the better known. */
static double spread_of(const samples *s)
{
    return is_scatter_known(s) ? scatter_of(s) : fmax(halves_of(s), UNKNOWN_SCATTER);
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
        st = take(timing, &s, err);
        if (st == PQ_OK && s.n >= LEAST_SAMPLES) {
            all[(*n)++] = spread_of(&s);
        }
        drop(&s);
        PQ_TRY(st);
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

/* Where the limit comes from, when it is above what the gate allows. */
static void say_limit(const samples *x, const samples *y, double limit, bool below,
                      pq_finding *out)
{
    const char *const is = below ? "not beyond" : "beyond";

    if (is_scatter_known(x) && is_scatter_known(y)) {
        (void)pq_snprintf(out->why, sizeof out->why,
                          "%s %.1f %%, three times what processes differ by", is,
                          100.0 * limit);
    } else {
        (void)pq_snprintf(out->why, sizeof out->why,
                          "%s %.1f %%, three times the noise, which of fewer than %d "
                          "processes is taken as %.0f %%",
                          is, 100.0 * limit, (int)LEAST_PROCESSES,
                          100.0 * UNKNOWN_SCATTER);
    }
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
    PQ_TRY(pq_snapshot_ratio(a, &out->before, err));
    PQ_TRY(pq_snapshot_ratio(b, &out->now, err));
    limit       = fmax(due, SPREADS * fmax(fmax(spread_of(&x), spread_of(&y)), usual));
    out->limit  = limit;
    out->worse  = out->now / out->before - 1.0;
    found->over = out->worse > due;
    if (why != NULL) {
        (void)snprintf(out->why, sizeof out->why, "%s", why);
    } else if (found->over) {
        found->noisy = out->worse <= limit;
        if (limit > due) {
            say_limit(&x, &y, limit, found->noisy, out);
        }
    }
cleanup:
    drop(&x);
    drop(&y);
    return st;
}
