/**
 * @file
 * A results folder as one JSON value that can be kept and compared: what `pquant baseline
 * set` writes, and what gates and comparisons read (schema "pquant-baseline/1"):
 *   schema, name, made (date), pquant (version),
 *   cells [{label, repeat, status, reference, events (hash of the test events),
 *           metrics {name: {value, lo, hi, n, unit, better}} but those of latency,
 *           correct (which events were decided for their label, four to a hexadecimal
 *           digit, the first the highest bit), where a gate wants it,
 *           timings {"latency.b1": {ratios [cell's time over the reference's of the same
 *                    sweep], processes [median ratio in each], noisy, machine,
 *                    measured (date)}}}].
 * Baselines and records of before there were several processes have no `processes`.
 */
#ifndef PQ_SWEEP_SNAPSHOT_H
#define PQ_SWEEP_SNAPSHOT_H

#include <jansson.h>

#include "core/err.h"

#define PQ_BASELINE_SCHEMA "pquant-baseline/1"

/**
 * Takes a folder's results.
 * @param[out] out   new reference, caller decrefs
 * @param[out] plan  the folder's plan, new reference; may be NULL
 * @retval others    As pq_results_read.
 */
pq_status pq_snapshot_take(const char *dir, json_t **out, json_t **plan, pq_err *err);

/**
 * Reads a folder or a file that was written by pq_snapshot_write.
 * @retval PQ_ERR_NOT_FOUND  Neither is there.
 * @retval PQ_ERR_FORMAT     Not of this schema, or damaged.
 */
pq_status pq_snapshot_read(const char *path, json_t **out, pq_err *err);

/** Writes a file, atomically; folders on the way are made. */
pq_status pq_snapshot_write(const json_t *snapshot, const char *path, pq_err *err);

/** Key of a cell in another snapshot of the same sweep: label and repeat; NULL when out
 * of memory; caller frees with pq_free. */
char *pq_snapshot_key(const json_t *cell);

/**
 * The ratio of a timing: the median over processes, or over ratios where that is not
 * known.
 * @param[out] out  NAN where there is none
 */
pq_status pq_snapshot_ratio(const json_t *timing, double *out, pq_err *err);

/** Finite numbers above 0 of a list of a timing, in their order; caller frees with
 * pq_free. */
pq_status pq_snapshot_values(const json_t *timing, const char *list, double **out,
                             size_t *n, pq_err *err);

/** The cells by their keys; new reference, NULL when out of memory. */
json_t *pq_snapshot_index(const json_t *snapshot);

#endif
