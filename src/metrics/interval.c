#include "metrics/interval.h"

#include <math.h>

pq_interval pq_interval_wilson(double k, double n, double z)
{
    if (!(n > 0.0)) {
        return (pq_interval){(double)NAN, (double)NAN};
    }
    /* (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n) */
    const double p = k / n, zz = z * z / n, centre = p + zz / 2.0;
    const double half = z * sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));

    return (pq_interval){k <= 0.0 ? 0.0 : (centre - half) / (1.0 + zz),
                         k >= n ? 1.0 : (centre + half) / (1.0 + zz)};
}

/* Continued fraction of the incomplete beta function, for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double       c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0), h;

    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    h = d;
    for (int i = 1; i < 20000; i++) { /* about sqrt(max(a, b)) steps are needed */
        const double m = (double)i;
        double       term, step = 1.0;
        for (int odd = 0; odd < 2; odd++) {
            term = odd == 0 ? m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
                            : -(a + m) * (a + b + m) * x /
                                  ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
            d    = 1.0 + term * d;
            c    = 1.0 + term / c;
            d    = 1.0 / (fabs(d) < tiny ? tiny : d);
            c    = fabs(c) < tiny ? tiny : c;
            step = d * c;
            h *= step;
        }
        if (fabs(step - 1.0) < 1e-15) {
            break;
        }
    }
    return h;
}

static double log_gamma(double x)
{
    int sign; /* lgamma() would write a global */

    return lgamma_r(x, &sign);
}

double pq_incomplete_beta(double a, double b, double x)
{
    if (x <= 0.0 || x >= 1.0) {
        return x <= 0.0 ? 0.0 : 1.0;
    }
    const double front =
        exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));

    if (x < (a + 1.0) / (a + b + 2.0)) {
        return front * beta_fraction(a, b, x) / a;
    }
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

/* x with I_x(a, b) = q, by bisection: monotone, and 200 halvings end at the last bit. */
static double beta_quantile(double a, double b, double q)
{
    double lo = 0.0, hi = 1.0;

    for (int i = 0; i < 200; i++) {
        const double x = 0.5 * (lo + hi);
        if (x <= lo || x >= hi) {
            break;
        }
        if (pq_incomplete_beta(a, b, x) < q) {
            lo = x;
        } else {
            hi = x;
        }
    }
    return 0.5 * (lo + hi);
}

double pq_student_sigma(double freedom)
{
    const double v = freedom > 0.5 ? freedom : 0.5;

    if (v > 1e7) {
        return 1.0;
    }
    /* P(|t| > T) = I_x(v/2, 1/2) at x = v / (v + T^2) */
    const double x = beta_quantile(v / 2.0, 0.5, 1.0 - PQ_ONE_SIGMA);

    return sqrt(v * (1.0 - x) / x);
}

double pq_freedom(double sum_squares, double sum_fourth_powers)
{
    return sum_fourth_powers > 0.0 ? sum_squares * sum_squares / sum_fourth_powers - 1.0
                                   : 0.0;
}

pq_interval pq_interval_clopper_pearson(double k, double n, double level)
{
    const double tail = 0.5 * (1.0 - level);

    if (!(n > 0.0)) {
        return (pq_interval){(double)NAN, (double)NAN};
    }
    return (pq_interval){k <= 0.0 ? 0.0 : beta_quantile(k, n - k + 1.0, tail),
                         k >= n ? 1.0 : beta_quantile(k + 1.0, n - k, 1.0 - tail)};
}
