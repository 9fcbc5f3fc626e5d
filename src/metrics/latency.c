#define _GNU_SOURCE
#include "metrics/latency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/rng.h"
#include "core/text.h"
#include "metrics/cold.h"
#include "metrics/tests.h"
#include "metrics/thread.h"

enum { TIMER_PAIRS = 2001 };

enum { LEAST_EVENTS = 16, LEAST_INPUTS = 4, MOST_INPUTS = 1024, MOST_BYTES = 64 << 20 };

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
    size_t     input;
    double     spent_s;
    pq_taken  *to; /* no calls in a cold state: the variant has no way to it */
} subject;

typedef struct {
    const pq_latency_options *options;
    size_t                    n;
    subject                  *subjects; /* [n] */
    size_t                   *order;    /* [n] */
    pq_rng                    rng;
    double                    timer_s;
    pq_cold                   cold;
    uint32_t                  sum; /* of all outputs: nothing computed is unused */
} bench;

size_t pq_timed_inputs(size_t batch, size_t item)
{
    const size_t call = batch * item * sizeof(float);
    const size_t least =
        batch * LEAST_INPUTS >= LEAST_EVENTS ? LEAST_INPUTS : LEAST_EVENTS / batch;
    const size_t hot  = pq_cold_first_cache() / 2 / call;
    const size_t n    = hot < least ? least : hot < MOST_INPUTS ? hot : MOST_INPUTS;
    const size_t room = MOST_BYTES / call;

    return n <= room ? n : room < 1 ? 1 : room;
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

static uint32_t run_independent(subject *s, size_t calls)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < calls; i++) {
        sum += s->variant.run(s->variant.context, s->input++, 0);
    }
    return sum;
}

/* The next input is known to the processor only when the last output is there: its bits,
   which the compiler cannot see to be masked away, are part of the address. */
static uint32_t run_chain(subject *s, size_t calls)
{
    uint32_t mask = 0, bits = 0;

    __asm__ volatile("" : "+r"(mask));
    for (size_t i = 0; i < calls; i++) {
        bits = s->variant.run(s->variant.context, s->input++, bits & mask);
    }
    return bits;
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
    call         = fmax(call, 1e-12);
    s->to->calls = (size_t)fmin(fmax(o->sample_time_s / call, 1.0), 1e9);
}

/* Seconds a dependent call of a sample: the median of its stretches, so that what holds
 * up one of them is not in it, however busy the machine is. */
static double take_chain(bench *b, subject *s)
{
    const size_t stretch = (s->to->calls + STRETCHES - 1) / STRETCHES;
    double       times[STRETCHES];
    size_t       n = 0, calls;

    for (size_t left = s->to->calls; left > 0; left -= calls) {
        const double start = pq_clock_wall_s();
        calls              = left < stretch ? left : stretch;
        b->sum += run_chain(s, calls);
        times[n++] = fmax(pq_clock_wall_s() - start - b->timer_s, 0.0) / (double)calls;
    }
    return pq_median_of(times, n);
}

static void take_sample(bench *b, subject *s)
{
    const double calls    = (double)s->to->calls;
    const long   switches = involuntary_switches();
    const double cpu      = pq_clock_thread_s();
    const double wall     = pq_clock_wall_s();

    b->sum += run_independent(s, s->to->calls);
    s->to->wall[s->to->n] = fmax(pq_clock_wall_s() - wall - b->timer_s, 0.0) / calls;
    s->to->cpu[s->to->n]  = fmax(pq_clock_thread_s() - cpu, 0.0) / calls;
    s->to->switches += involuntary_switches() - switches;
    s->to->chain[s->to->n++] = take_chain(b, s);
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
        if (s->to->n_shots >= LEAST_SHOTS && time_is_up(b, start - begin)) {
            break;
        }
        b->sum += s->variant.run(s->variant.context, s->input++, 0);
        s->to->shots[s->to->n_shots++] =
            fmax(pq_clock_wall_s() - start - b->timer_s, 0.0);
    }
    s->spent_s += pq_clock_wall_s() - begin;
}

/* As single shots, each behind a state of the caches; hot calls come between. */
static void take_cold(bench *b, subject *s, pq_cold_state state, size_t shots)
{
    const double begin = pq_clock_wall_s();

    for (size_t i = 0; i < shots; i++) {
        b->sum += s->variant.run(s->variant.context, s->input++, 0);
        if (!pq_cold_enter(&b->cold, state, &s->variant) ||
            (s->to->n_cold[state] >= LEAST_SHOTS &&
             time_is_up(b, pq_clock_wall_s() - begin))) {
            break;
        }
        const double start = pq_clock_wall_s();
        b->sum += s->variant.run(s->variant.context, s->input++, 0);
        s->to->cold[state][s->to->n_cold[state]++] =
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
        if (b->subjects[0].to->n >= LEAST_SAMPLES && time_is_up(b, 0.0)) {
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
        if (b->subjects[0].to->n >= LEAST_SAMPLES && time_is_up(b, 0.0)) {
            break;
        }
    }
    pq_progress_report(progress, "rounds of timing", rounds, rounds, NULL);
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

static pq_status bench_create(bench *b, const pq_variant *variants, pq_takes *takes,
                              pq_err *err)
{
    const size_t samples = (size_t)b->options->samples;
    pq_status    st;

    PQ_NEW(b->subjects, b->n);
    PQ_NEW(b->order, b->n);
    PQ_NEW(takes->of, b->n);
    takes->n = b->n;
    for (size_t v = 0; v < b->n; v++) {
        pq_taken *to   = &takes->of[v];
        b->order[v]    = v;
        b->subjects[v] = (subject){.variant = variants[v], .to = to};
        PQ_NEW(to->wall, samples);
        PQ_NEW(to->cpu, samples);
        PQ_NEW(to->chain, samples);
        PQ_NEW(to->shots, (size_t)b->options->single_shots);
        for (size_t state = 0; state < PQ_COLD_STATES; state++) {
            PQ_NEW(to->cold[state], (size_t)b->options->cold_shots);
        }
    }
    PQ_TRY(pq_cold_create(&b->cold, err));
cleanup:
    return st;
}

static void bench_free(bench *b)
{
    pq_free(b->subjects);
    pq_free(b->order);
    pq_cold_free(&b->cold);
}

pq_status pq_latency_take(const pq_variant *variants, size_t n,
                          const pq_latency_options *options, uint64_t seed,
                          const pq_progress *progress, pq_takes *out, pq_err *err)
{
    bench           b = {.options = options, .n = n, .rng = pq_rng_stream(seed, "order")};
    pq_takes        takes = {.process = (long)getpid()};
    double         *pairs = NULL;
    pq_thread_state before;
    volatile uint32_t sink;
    pq_status         st;

    PQ_TRY(check(n, options, err));
    PQ_TRY(bench_create(&b, variants, &takes, err));
    PQ_NEW(pairs, (size_t)TIMER_PAIRS);
    before    = pq_thread_enter(options->pin);
    b.timer_s = timer_cost(pairs);
    run_rounds(&b, progress);
    pq_thread_leave(&before);
    sink = b.sum;
    (void)sink;
    takes.timer_s = b.timer_s;
    takes.pinned  = before.pinned || !options->pin;
    *out          = takes;
    takes         = (pq_takes){0};
cleanup:
    bench_free(&b);
    pq_takes_free(&takes);
    pq_free(pairs);
    return st;
}

void pq_takes_free(pq_takes *takes)
{
    for (size_t v = 0; takes->of != NULL && v < takes->n; v++) {
        pq_taken *t = &takes->of[v];
        pq_free(t->wall);
        pq_free(t->cpu);
        pq_free(t->chain);
        pq_free(t->shots);
        for (size_t state = 0; state < PQ_COLD_STATES; state++) {
            pq_free(t->cold[state]);
        }
    }
    pq_free(takes->of);
    *takes = (pq_takes){0};
}

pq_latency_options pq_latency_share(const pq_latency_options *options, size_t part,
                                    size_t parts)
{
    const int64_t      p = (int64_t)part, all = (int64_t)parts;
    const int64_t      samples = (int64_t)share(options->samples, p, all);
    pq_latency_options own     = *options;

    own.samples      = samples > LEAST_SAMPLES ? samples : LEAST_SAMPLES;
    own.rounds       = options->rounds > all ? options->rounds / all : 1;
    own.single_shots = (int64_t)share(options->single_shots, p, all);
    own.cold_shots   = (int64_t)share(options->cold_shots, p, all);
    own.max_s        = options->max_s / (double)all;
    return own;
}

pq_status pq_latency_measure(const pq_variant *variants, size_t n,
                             const pq_latency_options *options, uint64_t seed,
                             const pq_progress *progress, pq_timing *results,
                             double *timer_s, pq_err *err)
{
    pq_takes  takes = {0};
    pq_status st;

    PQ_TRY(pq_latency_take(variants, n, options, seed, progress, &takes, err));
    PQ_TRY(pq_latency_conclude(&takes, 1, results, err));
    *timer_s = takes.timer_s;
cleanup:
    pq_takes_free(&takes);
    return st;
}
