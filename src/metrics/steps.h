/**
 * @file
 * Steps of a series of numbers in time: the piecewise constant fit
 *   min over segments  sum_i |y_i - median of its segment|
 * for each number of segments k, of which that is taken that minimises
 *   ln(residual_k / n) + 4 ln(n) / n * (k - 1),
 * the Bayesian criterion with two parameters (place and height) a step and noise that is
 * taken for as often correlated as not. A segment has at least PQ_STEP_NIGHTS values: one
 * outlier is no step, and a step is seen that many nights late.
 *
 * Source: A. Weinmann, M. Storath, L. Demaret, SIAM J. Numer. Anal. 53 (2015) 644,
 *         doi:10.1137/120896256 (L1 Potts functional); criterion as in airspeed velocity.
 */
#ifndef PQ_METRICS_STEPS_H
#define PQ_METRICS_STEPS_H

#include <stddef.h>

#include "core/err.h"

/** Values of the shortest segment, steps at most, values at most. */
enum { PQ_STEP_NIGHTS = 3, PQ_STEPS_MAX = 16, PQ_STEP_VALUES_MAX = 1000 };

/** A stretch of equal level. */
typedef struct {
    size_t first, n;
    double level; /**< median */
    double noise; /**< median of |y - level| */
} pq_stretch;

/**
 * Fits a series.
 *
 * @param[in]  y    [n], finite, n <= PQ_STEP_VALUES_MAX
 * @param[out] out  [PQ_STEPS_MAX + 1] segments in order
 * @param[out] k    how many; 0 for n = 0
 *
 * Deterministic. Cost: O(n^3 + n^2 PQ_STEPS_MAX) time and 8 n^2 bytes: a second for 1,000
 * values.
 */
pq_status pq_steps_find(const double *y, size_t n, pq_stretch *out, size_t *k,
                        pq_err *err);

#endif
