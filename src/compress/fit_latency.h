/**
 * @file
 * The keys of the method `fit_latency`, which the recipe `trigger` takes too.
 */
#ifndef PQ_COMPRESS_FIT_LATENCY_H
#define PQ_COMPRESS_FIT_LATENCY_H

#include "core/param.h"

/** Ends with a zeroed row. */
extern const pq_param pq_fit_latency_params[];

#endif
