#include <criterion/criterion.h>
#include <math.h>

#include "metrics/coverage.h"

/* Three standard deviations of the trials are allowed beyond the 3 points that
 * docs/measurement.md promises: sqrt(0.683 * 0.317 / 2000) = 1.04 points each.
 */
enum { TRIALS = 2000 };
static const double promised = 3.0, statistical = 3.2;

Test(coverage, of_every_printed_interval_is_nominal_or_more, .timeout = 300)
{
    for (size_t r = 0; r < COVERAGE_ROWS; r++) {
        const coverage_row *row = &coverage_rows[r];
        for (size_t n = 20; n <= 200; n *= 10) {
            const coverage c = coverage_measure(row, n, TRIALS, 7);
            cr_expect(c.all > row->nominal - promised - statistical,
                      "%s, %s, n = %zu: covers %.1f %%, not %.1f", row->interval,
                      row->setting, n, c.all, row->nominal);
        }
    }
}

/* Conservative where counts are small, never by so much that it says nothing. */
Test(coverage, of_many_events_is_not_above_nominal, .timeout = 300)
{
    for (size_t r = 0; r < COVERAGE_ROWS; r++) {
        const coverage_row *row     = &coverage_rows[r];
        const bool     conservative = row->run == coverage_clopper || row->nominal > 90.0;
        const coverage c            = coverage_measure(row, 2000, TRIALS / 4, 11);
        cr_expect(c.all <
                      row->nominal + (conservative ? 8.0 : promised) + 2.0 * statistical,
                  "%s, %s: covers %.1f %%, not %.1f", row->interval, row->setting, c.all,
                  row->nominal);
    }
}

/* 400 events, 5 % signal of weight 19, as of a physics sample: the effective number alone
 * gives a half width of 0.0215 where the true deviation is 0.0263. */
Test(coverage, weighted_accuracy_is_as_wide_as_its_spread)
{
    enum { EVENTS = 400, SAMPLES = 1000 };
    pq_rng rng = pq_rng_stream(3, "test");
    double sum = 0.0, squares = 0.0, half = 0.0, kish = 0.0;

    for (int t = 0; t < SAMPLES; t++) {
        pq_fraction f = {0};
        for (int i = 0; i < EVENTS; i++) {
            const bool signal = pq_rng_uniform(&rng) < 0.05;
            pq_fraction_add(&f, signal ? 19.0 : 1.0,
                            pq_rng_uniform(&rng) < (signal ? 0.5 : 0.95));
        }
        const double      x = pq_fraction_value(&f), n = pq_fraction_effective(&f);
        const pq_interval interval = pq_fraction_wilson(&f),
                          naive    = pq_interval_wilson(x * n, n, 1.0);
        sum += x;
        squares += x * x;
        half += (interval.hi - interval.lo) / 2.0;
        kish += (naive.hi - naive.lo) / 2.0;
    }
    const double deviation = sqrt(squares / SAMPLES - sum / SAMPLES * sum / SAMPLES);
    cr_expect(fabs(half / SAMPLES / deviation - 1.0) < 0.1, "half width %.4f of %.4f",
              half / SAMPLES, deviation);
    cr_expect(kish / SAMPLES < 0.9 * deviation);
}

Test(coverage, equal_weights_give_the_unweighted_interval_exactly)
{
    for (double w = 0.1; w < 40.0; w *= 3.0) {
        pq_fraction f = {0};
        for (int i = 0; i < 50; i++) {
            pq_fraction_add(&f, w, i % 3 != 0);
        }
        const pq_interval got = pq_fraction_wilson(&f),
                          due = pq_interval_wilson(33.0, 50.0, 1.0);
        cr_expect(fabs(got.lo - due.lo) < 1e-12 && fabs(got.hi - due.hi) < 1e-12);
        cr_expect_null(pq_fraction_note(&f));
    }
}

/* scipy.stats.t.ppf(0.8413447460685429, v) */
Test(coverage, student_sigma_is_that_of_tables)
{
    static const double known[][2] = {
        {1.0, 1.8373}, {2.0, 1.3213}, {5.0, 1.1105}, {10.0, 1.0526}, {100.0, 1.0050}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        cr_expect(fabs(pq_student_sigma(known[i][0]) - known[i][1]) < 2e-4, "%g: %.5f",
                  known[i][0], pq_student_sigma(known[i][0]));
    }
    cr_expect(fabs(pq_student_sigma(1e9) - 1.0) < 1e-6);
}
