#define _GNU_SOURCE
#include "metrics/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/rng.h"
#include "core/text.h"
#include "metrics/cold.h"
#include "metrics/tests.h"
#include "metrics/thread.h"

/* Verdicts, from A/A measurements on small shared machines (docs/measurement.md). */
static const double least_cpu_share     = 0.9;
static const double most_variation      = 0.1;
static const double most_switches_per_s = 50.0;

enum { TIMER_PAIRS = 2001 };

/* What is taken of each however long it takes. */
enum { LEAST_SAMPLES = 2, LEAST_SHOTS = 5 };

enum { STRETCHES = 32 /* of dependent calls in a sample, each timed by itself */ };

const pq_param pq_latency_params[] = {
    {"warmup", PQ_PARAM_REAL, offsetof(pq_latency_options, warmup_s), "0.2", 0, 3600,
     NULL, PQ_UNIT_TIME, "warm-up of each variant"},
    {"samples", PQ_PARAM_INT, offsetof(pq_latency_options, samples), "30", 1, 1000000,
     NULL, PQ_UNIT_NONE, "timed samples of each variant"},
    {"sample_time", PQ_PARAM_REAL, offsetof(pq_latency_options, sample_time_s), "0.01", 0,
     3600, NULL, PQ_UNIT_TIME, "time a sample fills with calls"},
    {"rounds", PQ_PARAM_INT, offsetof(pq_latency_options, rounds), "3", 1, 1000000, NULL,
     PQ_UNIT_NONE, "rounds over all variants, in a new random order"},
    {"max_time", PQ_PARAM_REAL, offsetof(pq_latency_options, max_s), "60", 0, 86400, NULL,
     PQ_UNIT_TIME, "no further round once a variant has taken so long on average"},
    {"single_shots", PQ_PARAM_INT, offsetof(pq_latency_options, single_shots), "1000", 0,
     100000000, NULL, PQ_UNIT_NONE, "calls timed one by one for the percentiles"},
    {"cold_shots", PQ_PARAM_INT, offsetof(pq_latency_options, cold_shots), "0", 0,
     1000000, NULL, PQ_UNIT_NONE, "calls timed one by one in each cold state"},
    {"pin", PQ_PARAM_BOOL, offsetof(pq_latency_options, pin), "true", 0, 0, NULL,
     PQ_UNIT_NONE, "pin to one core"},
    {0},
};

/* One variant while it is measured. */
typedef struct {
    pq_variant variant;
    size_t     calls, input;
    size_t     n, n_shots;
    double    *wall, *cpu, *chain;     /* [samples], seconds a call */
    double    *shots;                  /* [single_shots] */
    double    *cold[PQ_COLD_STATES];   /* [cold_shots] */
    size_t     n_cold[PQ_COLD_STATES]; /* 0: the variant has no way to it */
    double     spent_s;
    long       switches; /* involuntary, while throughput was sampled */
} subject;

typedef struct {
    const pq_latency_options *options;
    size_t                    n;
    subject                  *subjects; /* [n] */
    size_t                   *order;    /* [n] */
    pq_rng                    rng;
    double                    timer_s;
    pq_cold                   cold;
    float                     sum; /* of all outputs: nothing computed is unused */
} bench;

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

static double timer_cost(double *pairs)
{
    double lo, hi, median;

    for (size_t i = 0; i < TIMER_PAIRS; i++) {
        const double start = pq_clock_wall_s();
        pairs[i]           = pq_clock_wall_s() - start;
    }
    pq_median(pairs, TIMER_PAIRS, &median, &lo, &hi);
    return median;
}

static long involuntary_switches(void)
{
    struct rusage usage = {0};

    (void)getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static float run_independent(subject *s, size_t calls)
{
    float sum = 0.0f;

    for (size_t i = 0; i < calls; i++) {
        sum += s->variant.run(s->variant.context, s->input++);
    }
    return sum;
}

/* The next input is known to the processor only when the last output is there: its bits,
   which the compiler cannot see to be masked away, are part of the address. */
static float run_chain(subject *s, size_t calls)
{
    float    y    = 0.0f;
    uint32_t mask = 0, bits;

    __asm__ volatile("" : "+r"(mask));
    for (size_t i = 0; i < calls; i++) {
        memcpy(&bits, &y, sizeof bits);
        y = s->variant.run(s->variant.context, s->input++ + (bits & mask));
    }
    return y;
}

/* Warms up, and finds how many calls fill a sample: by the fastest of the batches, since
 * one that the scheduler held up would leave a sample with few. */
static void warm_up(bench *b, subject *s)
{
    const pq_latency_options *o     = b->options;
    const double              start = pq_clock_wall_s();
    double                    spent = 0.0, last = 0.0, call = (double)INFINITY;
    size_t                    calls = 1;

    do {
        b->sum += run_independent(s, calls);
        last = pq_clock_wall_s() - start - spent;
        spent += last;
        call = fmin(call, last / (double)calls);
        if (last < o->sample_time_s / 4.0 && last < o->warmup_s) {
            calls *= 2;
        }
    } while (spent < o->warmup_s);
    call     = fmax(call, 1e-12);
    s->calls = (size_t)fmin(fmax(o->sample_time_s / call, 1.0), 1e9);
}

/* Seconds a dependent call of a sample: the median of its stretches, so that what holds
 * up one of them is not in it, however busy the machine is. */
static double take_chain(bench *b, subject *s)
{
    const size_t stretch = (s->calls + STRETCHES - 1) / STRETCHES;
    double       times[STRETCHES];
    size_t       n = 0, calls;

    for (size_t left = s->calls; left > 0; left -= calls) {
        const double start = pq_clock_wall_s();
        calls              = left < stretch ? left : stretch;
        b->sum += run_chain(s, calls);
        times[n++] = fmax(pq_clock_wall_s() - start - b->timer_s, 0.0) / (double)calls;
    }
    return pq_median_of(times, n);
}

static void take_sample(bench *b, subject *s)
{
    const double calls    = (double)s->calls;
    const long   switches = involuntary_switches();
    const double cpu      = pq_clock_thread_s();
    const double wall     = pq_clock_wall_s();

    b->sum += run_independent(s, s->calls);
    s->wall[s->n] = fmax(pq_clock_wall_s() - wall - b->timer_s, 0.0) / calls;
    s->cpu[s->n]  = fmax(pq_clock_thread_s() - cpu, 0.0) / calls;
    s->switches += involuntary_switches() - switches;
    s->chain[s->n++] = take_chain(b, s);
    s->spent_s += pq_clock_wall_s() - wall;
}

/* Time of all subjects so far, against what all may take. */
static bool time_is_up(const bench *b, double more_s)
{
    double spent = more_s;

    for (size_t v = 0; v < b->n; v++) {
        spent += b->subjects[v].spent_s;
    }
    return spent >= b->options->max_s * (double)b->n;
}

static void take_shots(bench *b, subject *s, size_t shots)
{
    const double begin = pq_clock_wall_s();

    for (size_t i = 0; i < shots; i++) {
        const double start = pq_clock_wall_s();
        if (s->n_shots >= LEAST_SHOTS && time_is_up(b, start - begin)) {
            break;
        }
        b->sum += s->variant.run(s->variant.context, s->input++);
        s->shots[s->n_shots++] = fmax(pq_clock_wall_s() - start - b->timer_s, 0.0);
    }
    s->spent_s += pq_clock_wall_s() - begin;
}

/* As single shots, each behind a state of the caches; hot calls come between. */
static void take_cold(bench *b, subject *s, pq_cold_state state, size_t shots)
{
    const double begin = pq_clock_wall_s();

    for (size_t i = 0; i < shots; i++) {
        b->sum += s->variant.run(s->variant.context, s->input++);
        if (!pq_cold_enter(&b->cold, state, &s->variant) ||
            (s->n_cold[state] >= LEAST_SHOTS &&
             time_is_up(b, pq_clock_wall_s() - begin))) {
            break;
        }
        const double start = pq_clock_wall_s();
        b->sum += s->variant.run(s->variant.context, s->input++);
        s->cold[state][s->n_cold[state]++] =
            fmax(pq_clock_wall_s() - start - b->timer_s, 0.0);
    }
    s->spent_s += pq_clock_wall_s() - begin;
}

/* What of `total` falls to round r, so that all rounds together take exactly that. */
static size_t share(int64_t total, int64_t r, int64_t rounds)
{
    return (size_t)(total * (r + 1) / rounds - total * r / rounds);
}

static void run_round(bench *b, int64_t r)
{
    const pq_latency_options *o       = b->options;
    const size_t              samples = share(o->samples, r, o->rounds);
    const size_t              shots   = share(o->single_shots, r, o->rounds);

    for (size_t i = 0; i < samples; i++) { /* of all, so that they stay paired */
        if (b->subjects[0].n >= LEAST_SAMPLES && time_is_up(b, 0.0)) {
            break;
        }
        pq_rng_shuffle(&b->rng, b->order, b->n);
        for (size_t v = 0; v < b->n; v++) {
            take_sample(b, &b->subjects[b->order[v]]);
        }
    }
    pq_rng_shuffle(&b->rng, b->order, b->n);
    for (size_t v = 0; v < b->n; v++) {
        take_shots(b, &b->subjects[b->order[v]], shots);
    }
    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        for (size_t v = 0; v < b->n; v++) {
            take_cold(b, &b->subjects[b->order[v]], (pq_cold_state)state,
                      share(o->cold_shots, r, o->rounds));
        }
    }
}

static void run_rounds(bench *b, const pq_progress *progress)
{
    const size_t rounds = (size_t)b->options->rounds;

    for (size_t v = 0; v < b->n; v++) {
        warm_up(b, &b->subjects[v]);
    }
    for (size_t r = 0; r < rounds; r++) {
        pq_progress_report(progress, "rounds of timing", r, rounds, NULL);
        run_round(b, (int64_t)r);
        if (b->subjects[0].n >= LEAST_SAMPLES && time_is_up(b, 0.0)) {
            break;
        }
    }
    pq_progress_report(progress, "rounds of timing", rounds, rounds, NULL);
}

static void judge(const subject *s, bool pinned, pq_timing *t)
{
    double wall = 0.0, cpu = 0.0, square = 0.0;

    for (size_t i = 0; i < s->n; i++) {
        wall += s->wall[i];
        cpu += s->cpu[i];
        square += s->wall[i] * s->wall[i];
    }
    const double n = (double)s->n;
    const double variation =
        sqrt(fmax(square / n - wall * wall / n / n, 0.0)) / (wall / n);
    const double per_s = (double)s->switches / (wall * (double)s->calls);

    if (!pinned) {
        (void)snprintf(t->why, sizeof t->why, "could not pin to one core");
    } else if (cpu / wall < least_cpu_share) {
        (void)pq_snprintf(t->why, sizeof t->why, "cpu/wall %.2f is below %.1f",
                          cpu / wall, least_cpu_share);
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

/* Fills one result; `reference` holds the wall samples of the first variant in their
 * order. */
static void conclude(subject *s, const double *reference, double *scratch, bool pinned,
                     pq_timing *t)
{
    double lo, hi;

    judge(s, pinned, t);
    for (size_t i = 0; i < s->n; i++) {
        scratch[i] = s->wall[i] > 0.0 ? reference[i] / s->wall[i] : (double)NAN;
    }
    pq_median(scratch, s->n, &t->ratio, &t->ratio_lo, &t->ratio_hi);
    memcpy(scratch, s->wall, s->n * sizeof *scratch);
    pq_median(scratch, s->n, &t->throughput_s, &t->throughput_lo, &t->throughput_hi);
    pq_median(s->cpu, s->n, &t->cpu_s, &lo, &hi);
    pq_median(s->chain, s->n, &t->chain_s, &lo, &hi);
    qsort(s->shots, s->n_shots, sizeof *s->shots, compare);
    t->p50_s  = quantile(s->shots, s->n_shots, 0.5);
    t->p90_s  = quantile(s->shots, s->n_shots, 0.9);
    t->p99_s  = quantile(s->shots, s->n_shots, 0.99);
    t->p999_s = quantile(s->shots, s->n_shots, 0.999);
    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        qsort(s->cold[state], s->n_cold[state], sizeof *s->cold[state], compare);
        t->cold_s[state] = quantile(s->cold[state], s->n_cold[state], 0.5);
    }
    t->calls = s->calls;
    t->n     = s->n;
}

/* Hands over what was taken. */
static void give_samples(subject *s, pq_timing *t)
{
    t->samples = s->wall;
    s->wall    = NULL;
    t->shots   = s->shots;
    t->n_shots = s->n_shots;
    s->shots   = NULL;
    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        t->cold[state]   = s->cold[state];
        t->n_cold[state] = s->n_cold[state];
        s->cold[state]   = NULL;
    }
}

static pq_status check(size_t n, const pq_latency_options *o, pq_err *err)
{
    pq_status st;

    PQ_CHECK(n >= 1, PQ_ERR_RANGE, "there is nothing to time: 0 variants");
    PQ_CHECK(o->samples >= 1 && o->samples <= 1000000, PQ_ERR_RANGE,
             "samples = %lld is not in 1..1000000", (long long)o->samples);
    PQ_CHECK(o->rounds >= 1 && o->rounds <= 1000000, PQ_ERR_RANGE,
             "rounds = %lld is not in 1..1000000", (long long)o->rounds);
    PQ_CHECK(o->single_shots >= 0 && o->single_shots <= 100000000, PQ_ERR_RANGE,
             "single_shots = %lld is not in 0..100000000", (long long)o->single_shots);
    PQ_CHECK(o->cold_shots >= 0 && o->cold_shots <= 1000000, PQ_ERR_RANGE,
             "cold_shots = %lld is not in 0..1000000", (long long)o->cold_shots);
    PQ_CHECK(
        o->warmup_s >= 0.0 && o->sample_time_s >= 0.0 && o->max_s >= 0.0, PQ_ERR_RANGE,
        "warm-up, sample time and longest time are %g, %g and %g s, not all at least 0",
        o->warmup_s, o->sample_time_s, o->max_s);
cleanup:
    return st;
}

static pq_status bench_create(bench *b, const pq_variant *variants, pq_err *err)
{
    const size_t samples = (size_t)b->options->samples;
    pq_status    st;

    PQ_NEW(b->subjects, b->n);
    PQ_NEW(b->order, b->n);
    for (size_t v = 0; v < b->n; v++) {
        subject *s  = &b->subjects[v];
        b->order[v] = v;
        s->variant  = variants[v];
        PQ_NEW(s->wall, samples);
        PQ_NEW(s->cpu, samples);
        PQ_NEW(s->chain, samples);
        PQ_NEW(s->shots, (size_t)b->options->single_shots);
        for (size_t state = 0; state < PQ_COLD_STATES; state++) {
            PQ_NEW(s->cold[state], (size_t)b->options->cold_shots);
        }
    }
    PQ_TRY(pq_cold_create(&b->cold, err));
cleanup:
    return st;
}

static void bench_free(bench *b)
{
    for (size_t v = 0; b->subjects != NULL && v < b->n; v++) {
        pq_free(b->subjects[v].wall);
        pq_free(b->subjects[v].cpu);
        pq_free(b->subjects[v].chain);
        pq_free(b->subjects[v].shots);
        for (size_t state = 0; state < PQ_COLD_STATES; state++) {
            pq_free(b->subjects[v].cold[state]);
        }
    }
    pq_free(b->subjects);
    pq_free(b->order);
    pq_cold_free(&b->cold);
}

pq_status pq_latency_measure(const pq_variant *variants, size_t n,
                             const pq_latency_options *options, uint64_t seed,
                             const pq_progress *progress, pq_timing *results,
                             double *timer_s, pq_err *err)
{
    bench           b = {.options = options, .n = n, .rng = pq_rng_stream(seed, "order")};
    double         *scratch = NULL;
    pq_thread_state before;
    volatile float  sink;
    pq_status       st;

    PQ_TRY(check(n, options, err));
    PQ_TRY(bench_create(&b, variants, err));
    PQ_NEW(scratch, (size_t)options->samples > TIMER_PAIRS ? (size_t)options->samples
                                                           : (size_t)TIMER_PAIRS);
    before    = pq_thread_enter(options->pin);
    b.timer_s = timer_cost(scratch);
    run_rounds(&b, progress);
    pq_thread_leave(&before);
    sink = b.sum;
    (void)sink;
    for (size_t v = 0; v < n; v++) {
        results[v] = (pq_timing){0};
        conclude(&b.subjects[v], b.subjects[0].wall, scratch,
                 before.pinned || !options->pin, &results[v]);
    }
    for (size_t v = 0; v < n; v++) {
        give_samples(&b.subjects[v], &results[v]);
    }
    *timer_s = b.timer_s;
cleanup:
    bench_free(&b);
    pq_free(scratch);
    return st;
}

void pq_timing_free(pq_timing *t)
{
    pq_free(t->samples);
    pq_free(t->shots);
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
