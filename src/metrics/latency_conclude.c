/* What samples of one process or of several say. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "metrics/latency.h"
#include "metrics/tests.h"

/* Verdicts, from A/A measurements on small shared machines (docs/measurement.md). */
static const double least_cpu_share     = 0.9;
static const double most_variation      = 0.1;
static const double most_switches_per_s = 50.0;

/* One variant in all processes, and room for its values. */
typedef struct {
    const pq_takes *takes; /* [parts] */
    size_t          parts, variant;
    double         *scratch; /* for all values of a variant of any kind */
    double         *medians; /* [parts] */
} bundle;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q)
{
    const size_t rank = (size_t)ceil(q * (double)n);

    return n == 0 ? (double)NAN : sorted[rank > 0 ? rank - 1 : 0];
}

static const pq_taken *part_of(const bundle *b, size_t part)
{
    return &b->takes[part].of[b->variant];
}

/* Standard deviation over mean. */
static double variation_of(const double *values, size_t n)
{
    double sum = 0.0, square = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += values[i];
        square += values[i] * values[i];
    }
    const double mean = sum / (double)n;

    return sqrt(fmax(square / (double)n - mean * mean, 0.0)) / mean;
}

/* Of all processes together, once their medians are known. */
static void judge(const bundle *b, pq_timing *t)
{
    double wall = 0.0, cpu = 0.0, busy_s = 0.0, switches = 0.0;
    bool   pinned = true;

    for (size_t p = 0; p < b->parts; p++) {
        const pq_taken *of   = part_of(b, p);
        double          mine = 0.0;
        for (size_t i = 0; i < of->n; i++) {
            mine += of->wall[i];
            cpu += of->cpu[i];
        }
        wall += mine;
        busy_s += mine * (double)of->calls;
        switches += (double)of->switches;
        pinned = pinned && b->takes[p].pinned;
    }
    for (size_t p = 0; p < b->parts; p++) {
        b->medians[p] = t->parts[p].throughput_s;
    }
    const double variation = variation_of(t->samples, t->n);
    const double scatter   = variation_of(b->medians, b->parts);
    const double per_s     = switches / busy_s;

    if (!pinned) {
        (void)snprintf(t->why, sizeof t->why, "could not pin to one core");
    } else if (cpu / wall < least_cpu_share) {
        (void)pq_snprintf(t->why, sizeof t->why, "cpu/wall %.2f is below %.1f",
                          cpu / wall, least_cpu_share);
    } else if (scatter > most_variation) {
        (void)pq_snprintf(t->why, sizeof t->why,
                          "processes differ by %.0f %%, more than %.0f %%",
                          100.0 * scatter, 100.0 * most_variation);
    } else if (variation > most_variation) {
        (void)pq_snprintf(t->why, sizeof t->why,
                          "samples vary by %.0f %%, more than %.0f %%", 100.0 * variation,
                          100.0 * most_variation);
    } else if (per_s > most_switches_per_s) {
        (void)pq_snprintf(t->why, sizeof t->why,
                          "%.0f involuntary switches/s, more than %.0f", per_s,
                          most_switches_per_s);
    }
    t->noisy = t->why[0] != '\0';
}

/* Median of one process's values. */
static double median_of_part(const bundle *b, const double *values, size_t n)
{
    memcpy(b->scratch, values, n * sizeof *values);
    return pq_median_of(b->scratch, n);
}

/* Reference over variant, pair by pair of the same sweep, into scratch. */
static void pair_up(const bundle *b, size_t part)
{
    const pq_taken *of = part_of(b, part), *reference = &b->takes[part].of[0];

    for (size_t i = 0; i < of->n; i++) {
        b->scratch[i] =
            of->wall[i] > 0.0 ? reference->wall[i] / of->wall[i] : (double)NAN;
    }
}

/* The numbers whose interval is that of a median over samples: of one process. */
static void conclude_one(const bundle *b, pq_timing *t)
{
    const pq_taken *of = part_of(b, 0);

    pair_up(b, 0);
    pq_median(b->scratch, of->n, &t->ratio, &t->ratio_lo, &t->ratio_hi);
    memcpy(b->scratch, of->wall, of->n * sizeof *of->wall);
    pq_median(b->scratch, of->n, &t->throughput_s, &t->throughput_lo, &t->throughput_hi);
}

/* The same of several: their medians are the samples. */
static void conclude_many(const bundle *b, pq_timing *t)
{
    for (size_t p = 0; p < b->parts; p++) {
        b->medians[p] = t->parts[p].ratio;
    }
    pq_median(b->medians, b->parts, &t->ratio, &t->ratio_lo, &t->ratio_hi);
    for (size_t p = 0; p < b->parts; p++) {
        b->medians[p] = t->parts[p].throughput_s;
    }
    pq_median(b->medians, b->parts, &t->throughput_s, &t->throughput_lo,
              &t->throughput_hi);
}

static void conclude_parts(const bundle *b, pq_timing *t)
{
    for (size_t p = 0; p < b->parts; p++) {
        const pq_taken *of = part_of(b, p);
        t->parts[p] =
            (pq_timing_part){.process      = b->takes[p].process,
                             .samples      = of->n,
                             .throughput_s = median_of_part(b, of->wall, of->n)};
        pair_up(b, p);
        t->parts[p].ratio = pq_median_of(b->scratch, of->n);
    }
    if (b->parts == 1) {
        conclude_one(b, t);
    } else {
        conclude_many(b, t);
    }
    for (size_t p = 0; p < b->parts; p++) {
        b->medians[p] = median_of_part(b, part_of(b, p)->cpu, part_of(b, p)->n);
    }
    t->cpu_s = pq_median_of(b->medians, b->parts);
    for (size_t p = 0; p < b->parts; p++) {
        b->medians[p] = median_of_part(b, part_of(b, p)->chain, part_of(b, p)->n);
    }
    t->chain_s = pq_median_of(b->medians, b->parts);
}

/* Appends one list to another. */
static void append(double *to, size_t *n, const double *values, size_t more)
{
    for (size_t i = 0; i < more; i++) { /* of none there need be no list */
        to[(*n)++] = values[i];
    }
}

/* All samples and single calls of a variant, one process after the other. */
static pq_status pool(const bundle *b, pq_timing *t, pq_err *err)
{
    size_t    n = 0, shots = 0, cold[PQ_COLD_STATES] = {0};
    pq_status st;

    for (size_t p = 0; p < b->parts; p++) {
        n += part_of(b, p)->n;
        shots += part_of(b, p)->n_shots;
        for (size_t k = 0; k < PQ_COLD_STATES; k++) {
            cold[k] += part_of(b, p)->n_cold[k];
        }
    }
    PQ_NEW(t->parts, b->parts);
    PQ_NEW(t->samples, n);
    PQ_NEW(t->shots, shots);
    for (size_t k = 0; k < PQ_COLD_STATES; k++) {
        PQ_NEW(t->cold[k], cold[k]);
    }
    t->n_parts = b->parts;
    for (size_t p = 0; p < b->parts; p++) {
        const pq_taken *of = part_of(b, p);
        append(t->samples, &t->n, of->wall, of->n);
        append(t->shots, &t->n_shots, of->shots, of->n_shots);
        for (size_t k = 0; k < PQ_COLD_STATES; k++) {
            append(t->cold[k], &t->n_cold[k], of->cold[k], of->n_cold[k]);
        }
    }
    qsort(t->shots, t->n_shots, sizeof *t->shots, compare);
    for (size_t k = 0; k < PQ_COLD_STATES; k++) {
        qsort(t->cold[k], t->n_cold[k], sizeof *t->cold[k], compare);
    }
cleanup:
    return st;
}

static pq_status conclude(const bundle *b, pq_timing *t, pq_err *err)
{
    pq_status st;

    PQ_TRY(pool(b, t, err));
    t->calls = part_of(b, 0)->calls;
    conclude_parts(b, t);
    judge(b, t);
    t->p50_s  = quantile(t->shots, t->n_shots, 0.5);
    t->p90_s  = quantile(t->shots, t->n_shots, 0.9);
    t->p99_s  = quantile(t->shots, t->n_shots, 0.99);
    t->p999_s = quantile(t->shots, t->n_shots, 0.999);
    for (size_t k = 0; k < PQ_COLD_STATES; k++) {
        t->cold_s[k] = quantile(t->cold[k], t->n_cold[k], 0.5);
    }
cleanup:
    return st;
}

pq_status pq_latency_conclude(const pq_takes *takes, size_t parts, pq_timing *results,
                              pq_err *err)
{
    const size_t n    = takes[0].n;
    bundle       b    = {.takes = takes, .parts = parts};
    pq_timing   *all  = NULL;
    size_t       most = 0;
    pq_status    st;

    for (size_t p = 0; p < parts; p++) {
        for (size_t v = 0; v < n; v++) {
            most = takes[p].of[v].n > most ? takes[p].of[v].n : most;
        }
    }
    PQ_NEW(b.scratch, most);
    PQ_NEW(b.medians, parts);
    PQ_NEW(all, n);
    for (; b.variant < n; b.variant++) {
        PQ_TRY(conclude(&b, &all[b.variant], err));
    }
    memcpy(results, all, n * sizeof *all);
    pq_free(all);
cleanup:
    for (size_t v = 0; st != PQ_OK && all != NULL && v < n; v++) {
        pq_timing_free(&all[v]);
    }
    if (st != PQ_OK) {
        pq_free(all);
    }
    pq_free(b.scratch);
    pq_free(b.medians);
    return st;
}

void pq_timing_free(pq_timing *t)
{
    pq_free(t->samples);
    pq_free(t->shots);
    pq_free(t->parts);
    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        pq_free(t->cold[state]);
    }
    *t = (pq_timing){0};
}

double pq_timing_call_s(const pq_timing *t)
{
    return t->p50_s > t->chain_s ? t->p50_s
                                 : t->chain_s; /* p50 may be NaN: no single calls */
}
