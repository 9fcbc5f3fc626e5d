#include <criterion/criterion.h>
#include <math.h>

#include "metrics/interval.h"

static const double TOL_BETA   = 1e-11; /* closed forms of the incomplete beta function */
static const double TOL_SOLVED = 1e-9;  /* the defining equation at the bound */

/* Probability of k or more of n, term by term. */
static double upper_tail(int k, int n, double p)
{
    double sum = 0.0;

    for (int j = k; j <= n; j++) {
        sum += exp(lgamma(n + 1.0) - lgamma(j + 1.0) - lgamma(n - j + 1.0) + j * log(p) +
                   (n - j) * log1p(-p));
    }
    return sum;
}

Test(interval, incomplete_beta_has_its_closed_forms)
{
    for (double x = 0.05; x < 1.0; x += 0.05) {
        for (double b = 0.5; b < 200.0; b *= 3.0) {
            cr_expect_float_eq(pq_incomplete_beta(1.0, b, x), 1.0 - pow(1.0 - x, b),
                               TOL_BETA);
            cr_expect_float_eq(pq_incomplete_beta(b, 1.0, x), pow(x, b), TOL_BETA);
            cr_expect_float_eq(pq_incomplete_beta(b, 2.5, x) +
                                   pq_incomplete_beta(2.5, b, 1.0 - x),
                               1.0, TOL_BETA);
        }
    }
    for (double a = 1.0; a < 1e7; a *= 10.0) {
        cr_expect_float_eq(pq_incomplete_beta(a, a, 0.5), 0.5, 1e-7, "a = %g", a);
    }
}

Test(interval, clopper_pearson_bounds_leave_half_the_rest_in_each_tail)
{
    for (int n = 1; n <= 60; n += 7) {
        for (int k = 0; k <= n; k++) {
            const pq_interval i    = pq_interval_clopper_pearson(k, n, PQ_ONE_SIGMA);
            const double      half = 0.5 * (1.0 - PQ_ONE_SIGMA);

            cr_expect(k == 0 ? i.lo == 0.0
                             : fabs(upper_tail(k, n, i.lo) - half) < TOL_SOLVED);
            cr_expect(k == n
                          ? i.hi == 1.0
                          : fabs(1.0 - upper_tail(k + 1, n, i.hi) - half) < TOL_SOLVED);
        }
    }
}

/* 5 of 10 at 95 %: 0.18709 to 0.81291, e.g. Brown, Cai & DasGupta, Stat. Sci. 16 (2001).
 */
Test(interval, clopper_pearson_of_five_in_ten_is_the_published_one)
{
    const pq_interval i = pq_interval_clopper_pearson(5.0, 10.0, 0.95);

    cr_expect_float_eq(i.lo, 0.18709, 5e-6);
    cr_expect_float_eq(i.hi, 0.81291, 5e-6);
}

Test(interval, wilson_bounds_are_z_deviations_away)
{
    for (double z = 0.5; z < 4.0; z += 0.7) {
        for (int k = 0; k <= 20; k++) {
            const pq_interval i = pq_interval_wilson(k, 20.0, z);
            const double      p = k / 20.0;

            cr_expect(i.lo >= 0.0 && i.hi <= 1.0 && i.lo <= p && p <= i.hi);
            if (k > 0) {
                cr_expect_float_eq(p - i.lo, z * sqrt(i.lo * (1.0 - i.lo) / 20.0), 1e-12);
            }
            if (k < 20) {
                cr_expect_float_eq(i.hi - p, z * sqrt(i.hi * (1.0 - i.hi) / 20.0), 1e-12);
            }
        }
    }
}

Test(interval, nothing_known_from_no_events)
{
    cr_expect(isnan(pq_interval_wilson(0.0, 0.0, 1.0).lo));
    cr_expect(isnan(pq_interval_clopper_pearson(0.0, 0.0, 0.68).hi));
}
