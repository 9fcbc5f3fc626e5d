/**
 * @file
 * Fraction of weighted events that pass, and its interval.
 *
 * Weights carry information of their own: where heavy events pass less often than
 * light ones, the count of effective events (sum w)^2 / sum w^2 alone gives too
 * narrow an interval. So the variance is the linearised one of a ratio,
 *   V = sum w^2 (pass - f)^2 / (sum w)^2,
 * and Wilson or Clopper-Pearson are asked for the number of unweighted events with
 * the same variance, n = f (1 - f) / V; V comes from few events where few are heavy,
 * which Student's t takes into account. Equal weights give exactly the unweighted
 * interval; where all or none pass, V says nothing and effective events count.
 *
 * Weights may be negative, as those of generators of next-to-leading order: the sums are
 * the same, and so is V, which is f (1 - f) / n with the effective number n where weights
 * say nothing of what passes. The fraction is no binomial one then, and may lie outside
 * of 0..1: its interval is one standard error, sqrt(V) times Student's t, to each side.
 *
 * Source: Korn & Graubard, Survey Methodology 24 (1998), 193-201 (n from the variance
 *         and the degrees of freedom); Kish, Survey Sampling, 1965 (effective number);
 *         coverage by simulation in docs/measurement.md.
 */
#ifndef PQ_METRICS_FRACTION_H
#define PQ_METRICS_FRACTION_H

#include <stdbool.h>

#include "metrics/interval.h"

/** Sums over events; {0} is none. */
typedef struct {
    double events, weight, squares,
        fourths;               /**< sum of 1, w, w^2, w^4, where w is not 0 */
    double negative;           /**< sum of 1 where w < 0 */
    double pass, pass_squares; /**< sum of w, w^2 of those that pass */
} pq_fraction;

/** A fraction is so many numbers, all sums. */
enum { PQ_FRACTION_SUMS = sizeof(pq_fraction) / sizeof(double) };

/** Adds an event of a finite weight. */
void pq_fraction_add(pq_fraction *f, double weight, bool passes);

/** NAN where the weights do not add up to more than 0. */
double pq_fraction_value(const pq_fraction *f);

/** (sum w)^2 / sum w^2, or 0. */
double pq_fraction_effective(const pq_fraction *f);

/** 68.3 % intervals; NAN where there is no fraction. */
pq_interval pq_fraction_wilson(const pq_fraction *f);
pq_interval pq_fraction_clopper_pearson(const pq_fraction *f);

/** What a reader must know about the interval, or NULL. */
const char *pq_fraction_note(const pq_fraction *f);

#endif
