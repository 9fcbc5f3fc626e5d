/**
 * @file
 * The latency of a run's cells, measured together: all variants loaded, interleaved with
 * the reference, in one process or in `latency.processes` that are started one after the
 * other (sweep/timing_process.h).
 */
#ifndef PQ_SWEEP_TIMING_H
#define PQ_SWEEP_TIMING_H

#include "core/progress.h"
#include "sweep/plan.h"

/** What is to be timed. Borrowed. */
typedef struct {
    const pq_cells    *cells;
    const bool        *due;     /**< [cells->n, batch sizes] */
    const char        *program; /**< that is started for each of several processes */
    const pq_progress *progress;
} pq_timing_task;

/** Bytes of code and constants of generated C, in the names of values below. */
#define PQ_LATENCY_CODE "code_bytes"

/** Names of what is measured at each batch size, as "latency.b<batch>.<name>";
 * NULL-terminated. Generated C has PQ_LATENCY_CODE too, and cold states that are timed
 * "<pq_cold_names>_s". */
extern const char *const pq_latency_values[];

/**
 * Times every due cell at every batch size against the reference, and writes the records.
 * The models must be in the results folder. Where a process of several does not come
 * back, the record of each cell of its batch size says why, in place of numbers, and the
 * next size is timed.
 */
pq_status pq_cells_time(const pq_timing_task *task, pq_err *err);

#endif
