/**
 * @file
 * Intervals of binomial efficiencies, 68.3 % (one sigma) unless told otherwise.
 *
 * Source: Wilson, JASA 22 (1927), doi:10.1080/01621459.1927.10502953;
 *         Clopper & Pearson, Biometrika 26 (1934), doi:10.1093/biomet/26.4.404.
 */
#ifndef PQ_METRICS_INTERVAL_H
#define PQ_METRICS_INTERVAL_H

/** Probability content of one standard deviation. */
#define PQ_ONE_SIGMA 0.6826894921370859

typedef struct {
    double lo, hi;
} pq_interval;

/** Wilson score interval for k of n at z standard deviations; k may be fractional for
 * effective counts. NAN for n = 0. */
pq_interval pq_interval_wilson(double k, double n, double z);

/** Clopper-Pearson interval at a confidence level in (0, 1); k and n may be fractional.
 * NAN for n = 0. */
pq_interval pq_interval_clopper_pearson(double k, double n, double level);

/** Of how many standard errors a one-sigma interval consists when the error itself is
 * estimated with so many degrees of freedom (> 0; at least 0.5 is taken): the 84.13 %
 * quantile of Student's t, 1.84 for 1, 1.05 for 10, 1 for infinitely many. */
double pq_student_sigma(double freedom);

/**
 * Degrees of freedom of a variance that is a sum of squares d_i^2, from its own
 * kurtosis: (sum d^2)^2 / sum d^4 - 1; n - 1 where all are alike, few where few
 * events rule.
 *
 * Source: Satterthwaite, Biometrics Bulletin 2 (1946), doi:10.2307/3002019.
 */
double pq_freedom(double sum_squares, double sum_fourth_powers);

/** Regularised incomplete beta function I_x(a, b), a, b > 0; relative error about 1e-15
 * (a + b) ln(a + b). */
double pq_incomplete_beta(double a, double b, double x);

#endif
