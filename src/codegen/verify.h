/**
 * @file
 * Whether compiled code gives what the engine gives that defines it. For codegen/ only.
 */
#ifndef PQ_CODEGEN_VERIFY_H
#define PQ_CODEGEN_VERIFY_H

#include "graph/graph.h"

/** NAME_run1 and NAME_runN of generated code: one event, or n, of raw features. */
typedef void (*pq_run_one)(const float *x, float *y);
typedef void (*pq_run_many)(const float *x, float *y, size_t n);

/**
 * Compares on drawn events: normal features, some of them far away; as many as one second
 * has room for, at least one.
 *
 * @param[in] one    NAME_run1 of the graph's code
 * @param[in] many   NAME_runN, compared for blocks and for single events
 * @param[in] whole  the engine is `integer`, else `reference`
 * @param[in] exact  bits must be equal; else 1e-5 of an event's largest output, or of 1
 * @retval PQ_ERR_NUMERIC  They differ, with the first place.
 */
pq_status pq_verify(const pq_graph *graph, pq_run_one one, pq_run_many many, bool whole,
                    bool exact, pq_err *err);

/** n events of drawn features as measured, and as the model's scaler gives them. [n,
 * items of the input]; caller frees both. */
pq_status pq_verify_events(const pq_graph *graph, size_t n, double far, float **raw,
                           float **scaled, pq_err *err);

#endif
