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

/** Notes a key that names a value which no cell of this configuration can have;
 * `left_out`: one that is only not asked for is fine. */
void pq_check_value(pq_problems *p, const pq_yaml *node, const pq_config *config,
                    const char *what, bool left_out);

/** Whether a bound is on what the reference has more of a metric, "<metric>_loss". */
bool pq_bound_is_loss(const char *metric);

/** Whether a bound names a class, e.g. "recall.b" or "auc.b_loss", that is none of these.
 */
bool pq_bound_lacks_class(const char *metric, size_t n, const char *const *classes);

void pq_bounds_free(pq_config *config);

#endif
