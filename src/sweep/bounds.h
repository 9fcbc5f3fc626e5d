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

void pq_bounds_free(pq_config *config);

#endif
