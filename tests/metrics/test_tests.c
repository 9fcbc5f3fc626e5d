#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "core/rng.h"
#include "metrics/tests.h"

/* scipy: mannwhitneyu(a, b, method="asymptotic"), binomtest(k, n).pvalue,
 * false_discovery_control(p) */
Test(tests, ranks_agree_with_scipy)
{
    const double a[] = {1.2, 3.4, 2.2, 5.1, 4.8, 2.2}, b[] = {3.9, 6.1, 5.5, 7.2, 2.2};
    double       p;

    cr_assert_eq(pq_test_ranks(a, 6, b, 5, &p, NULL), PQ_OK);
    cr_expect_float_eq(p, 0.11730556401208668, 1e-9, "%.9f", p);
    cr_assert_eq(pq_test_ranks(b, 5, a, 6, &p, NULL), PQ_OK);
    cr_expect_float_eq(p, 0.11730556401208668, 1e-9, "either order");
    cr_assert_eq(pq_test_ranks(a, 6, a, 6, &p, NULL), PQ_OK);
    cr_expect_float_eq(p, 1.0, 1e-12);
    cr_assert_eq(pq_test_ranks((const double[]){1, 1, 1}, 3, (const double[]){1, 1, 1}, 3,
                               &p, NULL),
                 PQ_OK);
    cr_expect_eq(p, 1.0, "all alike");
}

Test(tests, discordant_events_are_fair_coins)
{
    cr_expect_eq(pq_test_discordant(0, 0), 1.0);
    cr_expect_eq(pq_test_discordant(7, 7), 1.0);
    cr_expect_float_eq(pq_test_discordant(10, 0), 2.0 / 1024.0, 1e-12);
    cr_expect_float_eq(pq_test_discordant(0, 10), 2.0 / 1024.0, 1e-12);
    cr_expect_float_eq(pq_test_discordant(8, 2), 2.0 * (1 + 10 + 45) / 1024.0, 1e-12);
    cr_expect_float_eq(pq_test_discordant(6, 4), 0.75390625, 1e-12);
}

Test(tests, many_tests_are_believed_together)
{
    double p[] = {0.01, (double)NAN, 0.04, 0.03, 0.5};

    cr_assert_eq(pq_false_discovery(p, 5, NULL), PQ_OK);
    cr_expect_float_eq(p[0], 0.04, 1e-12);
    cr_expect(isnan(p[1]));
    cr_expect_float_eq(p[2], 0.04 * 4 / 3, 1e-12);
    cr_expect_float_eq(p[3], 0.04 * 4 / 3, 1e-12);
    cr_expect_float_eq(p[4], 0.5, 1e-12);
    cr_assert_eq(pq_false_discovery(p, 0, NULL), PQ_OK);
}

/* Of samples of one kind, p < 0.05 comes as often as it says. */
Test(tests, ranks_of_equal_samples_raise_few_alarms)
{
    pq_rng rng    = pq_rng_stream(1, "ranks");
    size_t alarms = 0;

    for (size_t t = 0; t < 2000; t++) {
        double a[30], b[30], p;
        for (size_t i = 0; i < 30; i++) {
            a[i] = exp(0.1 * (double)pq_rng_normal(&rng));
            b[i] = exp(0.1 * (double)pq_rng_normal(&rng));
        }
        cr_assert_eq(pq_test_ranks(a, 30, b, 30, &p, NULL), PQ_OK);
        alarms += p < 0.05;
    }
    cr_expect_geq(alarms, 60);
    cr_expect_leq(alarms, 140, "%zu of 2000", alarms);
}

Test(tests, the_median_of_an_even_number_is_between_two)
{
    cr_expect_eq(pq_median_of((double[]){3, 1, 2}, 3), 2.0);
    cr_expect_eq(pq_median_of((double[]){4, 1, 3, 2}, 4), 2.5);
}
