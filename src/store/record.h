/**
 * @file
 * What is known about one cell of a sweep, one JSON file each:
 * `<dir>/cells/<key>.json` (docs/file-formats.md). Records are the truth;
 * tables, plots and pages are made from them at any time.
 *
 * A record (schema "pquant-record/1") holds
 *   schema, key, phase ("eval" | "latency"), experiment, pipeline, label
 *   ("svd rank=8"), order (place in the plan), axes {name: value}, repeat,
 *   status ("ok" "failed" "timeout" "oom" "crashed" "interrupted"),
 *   error {code, message, hint} unless ok,
 *   stages [canonical text of each stage, defaults filled in],
 *   keys {artifact, eval, latency},
 *   metrics {name: {value, lo, hi, n, unit, better}}; an undefined number is null,
 *   correct "f3…" (which events were decided for their label, where a gate wants it),
 *   unreached ["fc1: ratio 1000 not reached: 12.3"], infeasible, where there is any,
 *   layers [{layer, what, missed?, error, bytes_before, bytes_after, macs_before,
 * macs_after}], confusion [[counts; row = true class]], class_names, model_file,
 * arrays_file (relative to the results folder; the HDF5 file holds
 *   /roc/<class>/signal_efficiency and background_efficiency),
 *   events (evaluated), assumed (of the inputs: order of classes, events left out, or
 *   ""), timing {raw samples} for latency, seeds, provenance (versions, CPU, ISA,
 *   engine, hashes of model and data, date), seconds (cost of the cell).
 */
#ifndef PQ_STORE_RECORD_H
#define PQ_STORE_RECORD_H

#include <jansson.h>
#include <stdbool.h>

#include "core/text.h"

#define PQ_RECORD_SCHEMA "pquant-record/1"

/** Writes `<dir>/cells/<key>.json` atomically; the key is the record's own. */
pq_status pq_record_write(const char *dir, const json_t *record, pq_err *err);

/**
 * Reads one record.
 * @param[out] out  new reference; caller decrefs
 * @retval PQ_ERR_NOT_FOUND  Not there.
 * @retval PQ_ERR_FORMAT     Not a record of this schema (it will be computed again).
 */
pq_status pq_record_read(const char *dir, const char *key, json_t **out, pq_err *err);

/** The same with the file's bytes, which the caller frees with pq_free; `text` may be
 * NULL.
 */
pq_status pq_record_load(const char *dir, const char *key, json_t **out, char **text,
                         size_t *n_text, pq_err *err);

/** All valid records of a results folder, a JSON array sorted by order, then label, then
 * key; damaged files are skipped and counted. */
pq_status pq_records_read(const char *dir, json_t **out, size_t *damaged, pq_err *err);

/** Whether a record is there, valid and ok. */
bool pq_record_done(const char *dir, const char *key);

#endif
