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

/** Regularised incomplete beta function I_x(a, b), a, b > 0; relative error about 1e-15
 * (a + b) ln(a + b). */
double pq_incomplete_beta(double a, double b, double x);

#endif
