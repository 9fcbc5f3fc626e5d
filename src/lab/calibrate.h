/**
 * @file
 * Runs calibration events through a model and collects what methods ask for.
 */
#ifndef PQ_LAB_CALIBRATE_H
#define PQ_LAB_CALIBRATE_H

#include "compress/method.h"
#include "data/dataset.h"
#include "exec/plan.h"

enum { PQ_CALIB_BATCH = 64 /* samples of a run */ };

/**
 * @param[in] needs   PQ_NEEDS_* of the stage
 * @param[in] events  how many events, taken from a fixed random choice of the split; 0 =
 * 1000
 * @param[in] seed    of the choice (stream "calibration")
 */
pq_status pq_calibrate(const pq_graph *graph, pq_dataset *dataset, size_t split,
                       unsigned needs, size_t events, uint64_t seed, pq_calib **out,
                       pq_err *err);

/** Number of events that are run where `events` are asked for. @retval PQ_ERR_CONFIG  The
 * split is empty. */
pq_status pq_calib_count(const pq_dataset *dataset, size_t split, size_t events,
                         size_t *out, pq_err *err);

/**
 * Those events: a fixed random choice.
 * @param[in]  dataset  of the events
 * @param[in]  split    of it
 * @param[in]  events   how many, 0 = 1000; at most all
 * @param[in]  seed     of the choice (stream "calibration")
 * @param[out] out      [*chosen] ascending; caller frees with pq_free
 * @param[out] chosen   how many
 * @param[out] err      details of a failure, or NULL
 * @retval PQ_ERR_CONFIG  The split is empty.
 */
pq_status pq_calib_choose(const pq_dataset *dataset, size_t split, size_t events,
                          uint64_t seed, size_t **out, size_t *chosen, pq_err *err);

/**
 * Runs the events of pq_calibrate through a plan of PQ_CALIB_BATCH samples.
 * @param[in] seen  told of the output after each batch
 */
pq_status pq_calib_run(pq_plan *plan, const pq_graph *graph, pq_dataset *dataset,
                       size_t split, size_t events, uint64_t seed, pq_bench_seen seen,
                       void *context, pq_err *err);

#endif
