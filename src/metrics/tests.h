/**
 * @file
 * Tests whether two measurements differ, and how many of many tests to believe.
 *
 * Sources: Mann & Whitney, Ann. Math. Stat. 18 (1947), doi:10.1214/aoms/1177730491;
 *          McNemar, Psychometrika 12 (1947), doi:10.1007/BF02295996;
 *          Benjamini & Hochberg, JRSS B 57 (1995),
 * doi:10.1111/j.2517-6161.1995.tb02031.x.
 */
#ifndef PQ_METRICS_TESTS_H
#define PQ_METRICS_TESTS_H

#include <stddef.h>

#include "core/err.h"

/**
 * Two-sided p of Mann and Whitney for two samples, by the normal approximation with
 * corrections for ties and continuity; 1 where either has fewer than three values or all
 * are alike.
 * @param[in] a  [n], finite
 * @param[in] b  [m], finite
 */
pq_status pq_test_ranks(const double *a, size_t n, const double *b, size_t m, double *p,
                        pq_err *err);

/** Exact two-sided p of McNemar: of the events that one of two models alone decides
 * right, `a` are the first's and `b` the second's. 1 for none. */
double pq_test_discordant(size_t a, size_t b);

/** Two-sided p of a difference in standard errors: that of the normal distribution. */
double pq_test_normal(double z);

/** Replaces each p by the smallest share of false alarms at which it would still be
 * believed among all n. NAN stays, and does not count. */
pq_status pq_false_discovery(double *p, size_t n, pq_err *err);

/** Median of n > 0 values; sorts them. */
double pq_median_of(double *values, size_t n);

/**
 * Median of n >= 1 values, and its 95 % interval: the widest-placed order
 * statistics that a Binomial(n, 1/2) leaves outside with at most 2.5 % on each
 * side; the extremes when n < 6.
 *
 * @param[in,out] values  [n], sorted on return
 */
void pq_median(double *values, size_t n, double *median, double *lo, double *hi);

#endif
