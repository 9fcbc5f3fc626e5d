/**
 * @file
 * Runs calibration events through a model and collects what methods ask for.
 */
#ifndef PQ_LAB_CALIBRATE_H
#define PQ_LAB_CALIBRATE_H

#include "compress/calib.h"
#include "data/dataset.h"

/**
 * @param[in] needs   PQ_NEEDS_* of the stage
 * @param[in] events  how many events, taken from a fixed random choice of the split; 0 =
 * 1000
 * @param[in] seed    of the choice (stream "calibration")
 */
pq_status pq_calibrate(const pq_graph *graph, pq_dataset *dataset, size_t split,
                       unsigned needs, size_t events, uint64_t seed, pq_calib **out,
                       pq_err *err);

/**
 * The events that pq_calibrate runs, in the model's scale.
 *
 * @param[out] x  [*n, input], caller frees with pq_free
 * @retval PQ_ERR_NOMEM  They do not fit into memory.
 */
pq_status pq_calib_events(const pq_graph *graph, pq_dataset *dataset, size_t split,
                          size_t events, uint64_t seed, float **x, size_t *n,
                          pq_err *err);

#endif
