/**
 * @file
 * The cells of a results folder in the order of its plan, each joined with its
 * records: what tables, plots, `status` and pages are made from.
 *
 * `<dir>/plan.json` (schema "pquant-plan/1", written by every run) lists the
 * cells of the last configuration: names and order come from it, numbers from
 * the records, so a record may serve several configurations. It holds
 *   schema, name, config (path), classes?, output {plots, tables, html},
 *   cells [{order, pipeline, label, axes {name: text}, repeat, eval (key),
 *           latency [keys], reference (true for the uncompressed cell)}].
 */
#ifndef PQ_STORE_RESULTS_H
#define PQ_STORE_RESULTS_H

#include <jansson.h>
#include <stddef.h>

#include "core/err.h"
#include "store/shelf.h"

#define PQ_PLAN_SCHEMA "pquant-plan/1"

/** How far a results folder is, in cells (latency records are counted apart). */
typedef struct {
    size_t cells;           /**< of the plan */
    size_t done;            /**< evaluated, infeasible ones too */
    size_t failed;          /**< failed, timeout, oom or crashed */
    size_t missing;         /**< no record, or an interrupted one */
    size_t latency;         /**< latency records of the plan */
    size_t latency_missing; /**< of them not there (those of failed cells are not due) */
    size_t undecided;       /**< done, and some constraint's value was not measured */
    size_t damaged;         /**< record files that could not be read */
} pq_results_count;

/**
 * Reads plan and records.
 *
 * @param[in]  dir    results folder
 * @param[out] out    new reference, caller decrefs: the plan, with these in each cell:
 *   status   "ok", "infeasible", "missing", or the record's own;
 *   record   the eval record without `layers` and `quantization` (store/shelf.h), or
 * null; timings  [latency records that are there and ok]; untimed  why one has no
 * numbers, where one failed; undecided  [constraints whose value was not measured], of
 * cells that are done; metrics  {name: {value, lo, hi, n, unit, better}} of all these
 * records, latency last; where the eval record has numbers of several engines, those of
 * the engine of the first timing engines
 * {"latency.b<batch>.engine": name} of what was timed
 * @param[out] count  may be NULL
 *
 * @retval PQ_ERR_NOT_FOUND  No plan in the folder: nothing was run there.
 * @retval PQ_ERR_FORMAT     plan.json is damaged.
 */
pq_status pq_results_read(const char *dir, json_t **out, pq_results_count *count,
                          pq_err *err);

/** Puts records, numbers and verdicts into the cells of a plan, as pq_results_read. On
 * failure some of them are there. */
pq_status pq_results_fill(json_t *plan, pq_shelf *shelf, pq_results_count *count,
                          pq_err *err);

/** The same from an open shelf of the folder, which may be closed before the results are
 * freed. */
pq_status pq_results_join(const char *dir, pq_shelf *shelf, json_t **out,
                          pq_results_count *count, pq_err *err);

#endif
