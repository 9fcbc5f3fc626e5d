/**
 * @file
 * What a network loses when one layer alone is quantized: filled into the calibration
 * statistics, so that methods need no engine.
 */
#ifndef PQ_LAB_SENSITIVITY_H
#define PQ_LAB_SENSITIVITY_H

#include "compress/method.h"
#include "data/dataset.h"

/**
 * Quantizes the kernel of each layer that a stage of `quantize` selects alone, with 2
 * bits and up to the stage's, and compares the outputs on events with those of the graph
 * as it is: mean divergence and share of events that are decided otherwise, as the
 * graph's head says (graph/head.h).
 *
 * @param[in]     x      [n, input] events in the model's scale
 * @param[in,out] calib  statistics of the graph; its losses are filled
 * @retval PQ_ERR_CONFIG  The outputs have no probabilities (head none).
 * Cost: a run of n events for each layer and width.
 */
pq_status pq_sensitivity_measure(const pq_stage *stage, const pq_graph *graph, size_t n,
                                 const float *x, pq_calib *calib, pq_err *err);

#endif
