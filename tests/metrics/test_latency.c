#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "core/clock.h"
#include "core/memory.h"
#include "metrics/latency.h"
#include "metrics/tests.h"

/* Machines that run tests are shared: ratios are checked to a factor, never to percents.
 */
static const double most_aa_ratio = 1.5;

static const pq_latency_options quick = {.warmup_s      = 0.002,
                                         .samples       = 12,
                                         .sample_time_s = 0.001,
                                         .rounds        = 3,
                                         .max_s         = 5.0,
                                         .single_shots  = 200,
                                         .pin           = true};

typedef struct {
    size_t work;
    size_t calls, last_input;
    bool   rising; /* every input was larger than the one before */
    double denormal_seen;
} spinner;

static uint32_t spin(void *context, size_t input, size_t after)
{
    spinner       *s    = context;
    volatile float x    = 1.0f;
    volatile float tiny = 1e-39f;

    (void)after;
    s->rising        = s->rising && (s->calls == 0 || input > s->last_input);
    s->last_input    = input;
    s->denormal_seen = (double)(tiny + tiny);
    s->calls++;
    for (size_t i = 0; i < s->work; i++) {
        x = x * 1.0000001f;
    }
    return (uint32_t)x;
}

static void timing_free_all(pq_timing *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_timing_free(&t[i]);
    }
}

Test(latency, median_has_the_interval_of_binomial_order_statistics)
{
    static const struct {
        size_t n;
        double median, lo, hi;
    } cases[] = {{1, 1, 1, 1}, {5, 3, 1, 5},       {6, 3.5, 1, 6},
                 {9, 5, 2, 8}, {30, 15.5, 10, 21}, {101, 51, 41, 61}};
    double values[101], median, lo, hi;

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (size_t i = 0; i < cases[c].n; i++) {
            values[i] = (double)(cases[c].n - i);
        }
        pq_median(values, cases[c].n, &median, &lo, &hi);
        cr_expect_eq(median, cases[c].median, "n = %zu: median %g", cases[c].n, median);
        cr_expect_eq(lo, cases[c].lo, "n = %zu: lo %g", cases[c].n, lo);
        cr_expect_eq(hi, cases[c].hi, "n = %zu: hi %g", cases[c].n, hi);
    }
}

static const char busy[] = "skipped: other work disturbed every measurement";

/* Times two spinners; again, at most 8 times, while the verdict says that the machine was
 * noisy. Times that the stopwatch does not trust are not judged. */
static void measure_quietly(spinner s[2], uint64_t seed, pq_timing t[2], double *timer_s)
{
    const spinner    fresh[2] = {s[0], s[1]};
    const pq_variant v[2]     = {{.run = spin, .context = &s[0]},
                                 {.run = spin, .context = &s[1]}};
    pq_err           err      = {0};

    for (int attempt = 1;; attempt++) {
        memcpy(s, fresh, sizeof fresh);
        cr_assert_eq(pq_latency_measure(v, 2, &quick, seed, NULL, t, timer_s, &err),
                     PQ_OK, "%s", err.message);
        if (!t[0].noisy && !t[1].noisy) {
            return;
        }
        timing_free_all(t, 2);
        if (attempt == 8) {
            cr_skip_test("%s", busy);
        }
    }
}

Test(latency, four_times_the_work_takes_longer_and_the_reference_has_ratio_one)
{
    spinner   s[2] = {{.work = 2000, .rising = true}, {.work = 8000, .rising = true}};
    pq_timing t[2];
    double    timer_s = -1.0;

    measure_quietly(s, 1, t, &timer_s);
    cr_expect_eq(t[0].ratio, 1.0);
    cr_expect_eq(t[0].ratio_lo, 1.0);
    cr_expect(t[1].ratio > 0.25 / most_aa_ratio && t[1].ratio < 0.25 * most_aa_ratio,
              "ratio %g", t[1].ratio);
    cr_expect(t[1].ratio_lo <= t[1].ratio && t[1].ratio <= t[1].ratio_hi);
    cr_expect(timer_s > 0.0 && timer_s < 1e-5, "timer %g s", timer_s);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(t[i].n, 12);
        cr_expect(t[i].calls >= 1);
        cr_expect(t[i].throughput_lo <= t[i].throughput_s);
        cr_expect(t[i].throughput_s <= t[i].throughput_hi);
        cr_expect(t[i].cpu_s > 0.0 && t[i].chain_s > 0.0);
        cr_expect(t[i].p50_s <= t[i].p90_s && t[i].p90_s <= t[i].p99_s &&
                  t[i].p99_s <= t[i].p999_s);
        cr_expect_eq(t[i].noisy, t[i].why[0] != '\0');
        cr_expect(s[i].rising, "inputs did not count up");
        cr_expect(s[i].calls >= 2 * 12 * t[i].calls + 200);
    }
    timing_free_all(t, 2);
}

Test(latency, the_same_work_against_itself_has_a_ratio_near_one)
{
    spinner   s[2] = {{.work = 3000}, {.work = 3000}};
    pq_timing t[2];
    double    timer_s;

    measure_quietly(s, 7, t, &timer_s);
    cr_expect(t[1].ratio > 1.0 / most_aa_ratio && t[1].ratio < most_aa_ratio, "ratio %g",
              t[1].ratio);
    timing_free_all(t, 2);
}

Test(latency, shares_of_processes_are_all_that_is_asked_for)
{
    pq_latency_options o       = quick;
    int64_t            samples = 0, shots = 0, cold = 0;
    double             s = 0.0;

    o.samples    = 41;
    o.cold_shots = 7;
    for (size_t p = 0; p < 6; p++) {
        const pq_latency_options own = pq_latency_share(&o, p, 6);
        cr_expect(own.samples == 6 || own.samples == 7);
        cr_expect_eq(own.rounds, 1);
        cr_expect_eq(own.warmup_s, o.warmup_s, "each has to get warm");
        samples += own.samples;
        shots += own.single_shots;
        cold += own.cold_shots;
        s += own.max_s;
    }
    cr_expect_eq(samples, 41);
    cr_expect_eq(shots, 200);
    cr_expect_eq(cold, 7);
    cr_expect_float_eq(s, 5.0, 1e-12);
    cr_expect_eq(pq_latency_share(&o, 0, 1).samples, 41);
    cr_expect_eq(pq_latency_share(&o, 0, 1).rounds, 3);
}

/* Six processes of which each draws another speed, by work that is known: intervals span
 * what they differ by, where those of one process hold its own draw alone. */
Test(latency, intervals_count_what_processes_differ_by)
{
    static const size_t work[] = {4000, 4400, 3700, 4200, 3800, 4600};
    enum { N = sizeof work / sizeof *work };
    spinner          first = {.work = 4000}, other = {0};
    const pq_variant v[]      = {{.run = spin, .context = &first},
                                 {.run = spin, .context = &other}};
    pq_takes         takes[N] = {{0}};
    pq_timing        all[2], one[2];
    size_t           samples = 0;

    for (size_t p = 0; p < N; p++) {
        const pq_latency_options own = pq_latency_share(&quick, p, N);
        other.work                   = work[p];
        cr_assert_eq(pq_latency_take(v, 2, &own, p, NULL, &takes[p], NULL), PQ_OK);
        cr_expect_eq(takes[p].process, (long)getpid());
        samples += takes[p].of[1].n;
    }
    cr_assert_eq(pq_latency_conclude(takes, N, all, NULL), PQ_OK);
    cr_assert_eq(pq_latency_conclude(&takes[5], 1, one, NULL), PQ_OK);
    cr_expect_eq(all[1].n_parts, N);
    cr_expect_eq(all[1].n, samples);
    cr_expect_eq(all[1].n_shots, 200);
    cr_expect_eq(all[0].ratio, 1.0);
    for (size_t p = 0; p < N; p++) {
        cr_expect(all[1].ratio_lo <= all[1].parts[p].ratio &&
                  all[1].parts[p].ratio <= all[1].ratio_hi);
        cr_expect(all[1].throughput_lo <= all[1].parts[p].throughput_s &&
                  all[1].parts[p].throughput_s <= all[1].throughput_hi);
    }
    cr_expect_gt(all[1].ratio_hi / all[1].ratio_lo, 1.1, "planted: 1.24");
    cr_expect_eq(one[1].n_parts, 1);
    cr_expect_eq(one[1].ratio, all[1].parts[5].ratio);
    timing_free_all(all, 2);
    timing_free_all(one, 2);
    for (size_t p = 0; p < N; p++) {
        pq_takes_free(&takes[p]);
    }
}

/* Samples alike within each process, and processes a quarter apart. */
Test(latency, processes_that_differ_much_are_noisy)
{
    double    wall[3][4], cpu[3][4], chain[3][4];
    pq_taken  of[3];
    pq_takes  takes[3];
    pq_timing t;

    for (size_t p = 0; p < 3; p++) {
        for (size_t i = 0; i < 4; i++) {
            wall[p][i] = cpu[p][i] = chain[p][i] = 1e-6 * (1.0 + 0.25 * (double)p);
        }
        of[p] = (pq_taken){
            .calls = 100, .n = 4, .wall = wall[p], .cpu = cpu[p], .chain = chain[p]};
        takes[p] = (pq_takes){.n = 1, .of = &of[p], .pinned = true, .process = (long)p};
    }
    cr_assert_eq(pq_latency_conclude(takes, 3, &t, NULL), PQ_OK);
    cr_expect(t.noisy);
    cr_expect_str_eq(t.why, "processes differ by 16 %, more than 10 %");
    cr_expect_float_eq(t.throughput_s, 1.25e-6, 1e-15);
    cr_expect_float_eq(t.throughput_lo, 1e-6, 1e-15);
    cr_expect_float_eq(t.throughput_hi, 1.5e-6, 1e-15);
    cr_expect_eq(t.parts[2].process, 2);
    cr_expect_eq(t.parts[1].samples, 4);
    pq_timing_free(&t);
}

Test(latency, the_thread_is_as_before_afterwards)
{
    spinner          s = {.work = 10};
    const pq_variant v = {.run = spin, .context = &s};
    pq_timing        t;
    double           timer_s;
    cpu_set_t        before, after;

    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    cr_assert_eq(pq_latency_measure(&v, 1, &quick, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_expect(CPU_EQUAL(&before, &after));
#if defined(__SSE__)
    cr_expect_eq(_mm_getcsr() & 0x8040U, 0U, "denormals are still flushed");
    cr_expect_eq(s.denormal_seen, 0.0, "denormals were not flushed: %g", s.denormal_seen);
#endif
    pq_timing_free(&t);
}

Test(latency, single_calls_are_kept_in_order_of_their_times)
{
    spinner            s = {.work = 100};
    const pq_variant   v = {.run = spin, .context = &s};
    pq_latency_options o = quick;
    pq_timing          t;
    double             timer_s;

    o.cold_shots = 20;
    cr_assert_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_assert_eq(t.n_shots, 200);
    for (size_t i = 1; i < t.n_shots; i++) {
        cr_expect_leq(t.shots[i - 1], t.shots[i]);
    }
    cr_expect_eq(t.p50_s, t.shots[99]);
    cr_expect_eq(t.n_cold[PQ_COLD_L1], 20);
    cr_expect_eq(t.n_cold[PQ_COLD_IDLE], 20);
    cr_expect_eq(t.n_cold[PQ_COLD_FLUSHED], 0, "it has no way to flush itself");
    cr_expect_eq(t.cold_s[PQ_COLD_L1], t.cold[PQ_COLD_L1][9]);
    pq_timing_free(&t);
}

/* Naps in one of a thousand calls, as something that interrupts would. */
static uint32_t interrupted(void *context, size_t input, size_t after)
{
    const struct timespec while_gone = {.tv_nsec = 2000000};

    (void)context;
    (void)after;
    if (input % 1000 == 0) {
        (void)nanosleep(&while_gone, NULL);
    }
    return 1;
}

/* The one call of the warm-up naps, so that a sample has 5000 calls, and fewer where the
 * machine is busy: the naps are in few of its stretches. */
Test(latency, what_interrupts_a_chain_is_not_in_its_time)
{
    const pq_variant   v = {.run = interrupted, .context = NULL};
    pq_latency_options o = quick;
    pq_timing          t;
    double             timer_s;

    o.warmup_s      = 0.0;
    o.sample_time_s = 10.0;
    o.samples       = 3;
    cr_assert_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_expect_lt(t.chain_s, 1e-6, "chain %g s", t.chain_s);
    pq_timing_free(&t);
}

Test(latency, no_single_shots_give_no_percentiles)
{
    spinner            s = {.work = 10};
    const pq_variant   v = {.run = spin, .context = &s};
    pq_latency_options o = quick;
    pq_timing          t;
    double             timer_s;

    o.single_shots = 0;
    cr_assert_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_expect(isnan(t.p50_s) && isnan(t.p999_s));
    pq_timing_free(&t);
}

Test(latency, stops_when_the_time_is_spent)
{
    spinner            s = {.work = 1000};
    const pq_variant   v = {.run = spin, .context = &s};
    pq_latency_options o = quick;
    pq_timing          t;
    double             timer_s;

    o.samples = 1000;
    o.rounds  = 1000;
    o.max_s   = 0.01;
    cr_assert_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_expect(t.n >= 1 && t.n < 100, "%zu samples", t.n);
    pq_timing_free(&t);
}

static uint32_t doze(void *context, size_t input, size_t after)
{
    const struct timespec nap = {0, 200000};

    (void)context;
    (void)after;
    (void)nanosleep(&nap, NULL);
    return (uint32_t)input;
}

static uint32_t nap(void *context, size_t input, size_t after)
{
    const struct timespec time = {0, 2000000};

    (void)context;
    (void)after;
    (void)input;
    (void)nanosleep(&time, NULL);
    return 1;
}

/* 400 samples of 20 ms in one round would take 16 s, and as much for the chain. */
Test(latency, the_time_is_looked_at_within_a_round)
{
    const pq_variant   v[2] = {{.run = nap, .context = NULL},
                               {.run = nap, .context = NULL}};
    pq_latency_options o    = quick;
    pq_timing          t[2];
    const double       start = pq_clock_wall_s();
    double             timer_s;

    o.warmup_s      = 0.0;
    o.samples       = 400;
    o.sample_time_s = 0.02;
    o.rounds        = 1;
    o.single_shots  = 2000;
    o.max_s         = 0.2;
    cr_assert_eq(pq_latency_measure(v, 2, &o, 1, NULL, t, &timer_s, NULL), PQ_OK);
    cr_expect_lt(pq_clock_wall_s() - start, 4.0);
    cr_expect_eq(t[0].n, t[1].n, "samples are paired");
    for (size_t i = 0; i < 2; i++) {
        cr_expect_geq(t[i].n, 2);
        cr_expect_lt(t[i].n, 40);
        cr_expect(t[i].p50_s > 0.001, "a few single calls are always timed");
        pq_timing_free(&t[i]);
    }
}

Test(latency, a_sleeping_call_is_called_noisy)
{
    const pq_variant v = {.run = doze, .context = NULL};
    pq_timing        t;
    double           timer_s;

    cr_assert_eq(pq_latency_measure(&v, 1, &quick, 1, NULL, &t, &timer_s, NULL), PQ_OK);
    cr_expect(t.noisy);
    cr_expect_eq(strncmp(t.why, "cpu/wall 0.", 11), 0, "%s", t.why);
    pq_timing_free(&t);
}

Test(latency, bad_options_are_refused_with_the_range)
{
    spinner            s = {.work = 1};
    const pq_variant   v = {.run = spin, .context = &s};
    pq_latency_options o = quick;
    pq_timing          t;
    double             timer_s;
    pq_err             err = {0};

    cr_expect_eq(pq_latency_measure(&v, 0, &o, 1, NULL, &t, &timer_s, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "there is nothing to time: 0 variants");
    err       = (pq_err){0};
    o.samples = 0;
    cr_expect_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "samples = 0 is not in 1..1000000");
    err            = (pq_err){0};
    o              = quick;
    o.single_shots = -1;
    cr_expect_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "single_shots = -1 is not in 0..100000000");
    err        = (pq_err){0};
    o          = quick;
    o.warmup_s = (double)NAN;
    cr_expect_eq(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, &err),
                 PQ_ERR_RANGE);
}

Test(latency, every_failed_allocation_leaves_nothing_behind)
{
    spinner          s    = {.work = 1};
    const pq_variant v    = {.run = spin, .context = &s};
    const size_t     live = pq_memory_live();
    size_t           n    = 0;
    pq_status        st   = PQ_ERR_NOMEM;

    for (; st != PQ_OK && n < 100; n++) {
        pq_timing t = {0};
        double    timer_s;
        pq_memory_fail_after(n);
        st = pq_latency_measure(&v, 1, &quick, 1, NULL, &t, &timer_s, NULL);
        cr_expect(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_timing_free(&t);
        cr_expect_eq(pq_memory_live(), live, "after failure %zu", n);
    }
    pq_memory_fail_after(SIZE_MAX);
    cr_expect(n > 5);
}

Test(latency, parameters_have_the_defaults_of_the_documentation)
{
    pq_latency_options o = {0};

    cr_assert_eq(pq_params_default(pq_latency_params, &o, NULL), PQ_OK);
    cr_expect_eq(o.warmup_s, 0.2);
    cr_expect_eq(o.samples, 30);
    cr_expect_eq(o.sample_time_s, 0.01);
    cr_expect_eq(o.rounds, 3);
    cr_expect_eq(o.max_s, 60.0);
    cr_expect(o.pin);
}

/* --- the measurement itself --- */

static pq_err err;

#define OK(call) cr_assert_eq((call), PQ_OK, "%s", err.message)

#if defined(__x86_64__)
/* Additions that wait for each other: so many cycles, whatever else the processor does.
 */
static uint64_t add(uint64_t x, size_t hundreds)
{
    for (size_t i = 0; i < hundreds; i++) {
        __asm__ volatile(".rept 100\n\taddq %1, %0\n\t.endr" : "+r"(x) : "r"(x | 1));
    }
    return x;
}

enum { HUNDREDS = 200, BLOCKS = 400 };

static uint32_t add_all(void *context, size_t input, size_t after)
{
    (void)context;
    return (uint32_t)(add(input + after, HUNDREDS) & 1);
}

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Seconds of the same additions by another way: blocks of fifty times as many, the
 * median. */
static double due_seconds(void)
{
    static double   t[BLOCKS];
    struct timespec a, b;
    uint64_t        x = 1;

    for (size_t i = 0; i < BLOCKS; i++) {
        (void)clock_gettime(CLOCK_MONOTONIC_RAW, &a);
        x = add(x, HUNDREDS * 50);
        (void)clock_gettime(CLOCK_MONOTONIC_RAW, &b);
        t[i] = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    }
    cr_assert_neq(x, 0);
    qsort(t, BLOCKS, sizeof *t, rising);
    return t[BLOCKS / 4] / 50.0; /* of a core that others use the quiet part */
}

static bool within(double is, double due, double part)
{
    return fabs(is - due) <= part * due;
}

/* 20,000 additions, some microseconds: calls back to back, dependent and single ones are
 * what the additions take. A core that others disturb is given further tries; one that is
 * never left alone, by what the stopwatch and the blocks before and after say, is not
 * judged. */
Test(latency, additions_that_wait_for_each_other_take_what_they_take, .timeout = 120)
{
    const pq_variant   v = {.run = add_all};
    pq_latency_options o = quick;
    pq_timing          t = {0};
    double             timer_s, due = 0.0;
    bool               fine = false, judged = false;

    o.samples      = 30;
    o.single_shots = 2000;
    for (int attempt = 0; attempt < 12 && !fine; attempt++) {
        const double before = due_seconds();
        double       after;
        pq_timing_free(&t);
        OK(pq_latency_measure(&v, 1, &o, 1, NULL, &t, &timer_s, &err));
        after  = due_seconds();
        due    = (before + after) / 2.0;
        judged = judged || (!t.noisy && within(after, before, 0.02));
        fine   = within(t.throughput_s, due, 0.05) && within(t.chain_s, due, 0.05) &&
               within(t.p50_s, due, 0.05);
    }
    if (!fine && !judged) {
        pq_timing_free(&t);
        cr_skip_test("%s", busy);
    }
    cr_expect(fine, "due %.4g us, back to back %.4g, dependent %.4g, single %.4g",
              1e6 * due, 1e6 * t.throughput_s, 1e6 * t.chain_s, 1e6 * t.p50_s);
    pq_timing_free(&t);
}

/* Of 100 comparisons of a variant with itself a 95 % interval of the ratio may lie beyond
 * 1 in 5; beyond 1 +- 0.5 %, of timings that are not called noisy, it does in 0 to 2. */
#define LEAST 0.005

Test(latency, a_variant_is_not_told_from_itself_a_hundred_times, .timeout = 300)
{
    enum { TRIALS = 100 };
    const pq_variant   v[2] = {{.run = add_all}, {.run = add_all}};
    pq_latency_options o    = quick;
    size_t             told = 0, quiet = 0;

    o.samples       = 20;
    o.sample_time_s = 2e-4;
    o.warmup_s      = 1e-3;
    o.single_shots  = 0;
    for (size_t trial = 0; trial < TRIALS; trial++) {
        pq_timing t[2];
        double    timer_s;
        OK(pq_latency_measure(v, 2, &o, trial, NULL, t, &timer_s, &err));
        if (!t[0].noisy && !t[1].noisy) {
            quiet++;
            told += t[1].ratio_lo > 1.0 + LEAST || t[1].ratio_hi < 1.0 - LEAST ? 1 : 0;
        }
        timing_free_all(t, 2);
    }
    cr_log_info("%zu of %d comparisons quiet, %zu differences raised", quiet, TRIALS,
                told);
    cr_expect_leq(told, TRIALS / 20, "%zu of %zu quiet comparisons", told, quiet);
}
#endif

static size_t flushed;

static void count_flush(void *context)
{
    (void)context;
    flushed++;
}

/* A walk over half of a first-level cache, in steps that no prefetcher foresees. */
static char walked[16 << 10] = {1}; /* pages of its own */

static uint32_t walk(void *context, size_t input, size_t after)
{
    size_t at = 64 + (input + after) % 64;

    (void)context;
    for (size_t i = 0; i < sizeof walked / 64; i++) { /* each load waits for the last */
        at = (at + 37 * 64 + (size_t)((volatile char *)walked)[at]) & (sizeof walked - 1);
    }
    return (uint32_t)at;
}

Test(latency, cold_calls_are_timed_where_a_state_can_be_had)
{
    const pq_variant   v[2] = {{.run = walk, .flush = count_flush}, {.run = walk}};
    pq_latency_options o    = quick;
    pq_timing          t[2];
    double             timer_s;

    o.cold_shots = 30;
    o.rounds     = 2;
    OK(pq_latency_measure(v, 2, &o, 1, NULL, t, &timer_s, &err));
    cr_expect_eq(flushed, 30);
    for (size_t i = 0; i < 2; i++) {
        cr_expect(t[i].cold_s[PQ_COLD_L1] > 0.0 && t[i].cold_s[PQ_COLD_IDLE] > 0.0);
        cr_expect_eq(isnan(t[i].cold_s[PQ_COLD_FLUSHED]), i == 1);
        cr_expect_gt(t[i].cold_s[PQ_COLD_L1], 1.1 * t[i].p50_s);
    }
    timing_free_all(t, 2);
    o.cold_shots = 0;
    OK(pq_latency_measure(v, 2, &o, 1, NULL, t, &timer_s, &err));
    cr_expect(isnan(t[0].cold_s[PQ_COLD_L1]));
    timing_free_all(t, 2);
    o.cold_shots = -1;
    cr_expect_eq(pq_latency_measure(v, 2, &o, 1, NULL, t, &timer_s, &err), PQ_ERR_RANGE);
}
