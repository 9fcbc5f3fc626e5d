/**
 * @file
 * States of the caches that single calls are timed in, beside the hot one. For metrics
 * only.
 */
#ifndef PQ_METRICS_COLD_H
#define PQ_METRICS_COLD_H

#include "metrics/latency.h"

/** Bytes of the first-level data cache; a usual size where the system does not say. */
size_t pq_cold_first_cache(void);

/** Memory that is read to drive other data out. {0} is none. */
typedef struct {
    char  *block; /**< owned */
    size_t bytes; /**< four times the first-level data cache */
} pq_cold;

pq_status pq_cold_create(pq_cold *out, pq_err *err);
void      pq_cold_free(pq_cold *c);

/**
 * Brings the caches, or the core, into a state before a call of a variant.
 * @return false where the variant has no way to it
 */
bool pq_cold_enter(const pq_cold *c, pq_cold_state state, const pq_variant *v);

#endif
