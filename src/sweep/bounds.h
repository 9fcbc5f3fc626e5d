/**
 * @file
 * `constraints:`, `baseline:` and `gates:`: what values metrics may have.
 */
#ifndef PQ_SWEEP_BOUNDS_H
#define PQ_SWEEP_BOUNDS_H

#include "sweep/config.h"
#include "sweep/problems.h"

/** Reads the three keys; what is wrong goes to the problems. */
pq_status pq_read_bounds(pq_problems *p, const pq_yaml *tree, pq_config *config,
                         pq_err *err);

/** Whether a bound is on what the reference has more of a metric, "<metric>_loss". */
bool pq_bound_is_loss(const char *metric);

/** Whether a bound names a class, e.g. "recall.b" or "auc.b_loss", that is none of these.
 */
bool pq_bound_lacks_class(const char *metric, size_t n, const char *const *classes);

void pq_bounds_free(pq_config *config);

#endif
