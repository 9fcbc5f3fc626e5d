/**
 * @file
 * Two models on the same jets.
 */
#ifndef PQ_LAB_PAIR_H
#define PQ_LAB_PAIR_H

#include "lab/evaluate.h"

/**
 * Adds what a model is beside its reference on the same jets to its values
 * (metrics/paired.h), where metric btag has values of it; else does nothing.
 *
 * @param[in]     reference  gets its shapes
 * @param[in]     graph      whose values those of `e` are
 * @param[in]     dataset    events of both
 * @param[in]     split      which of them
 * @param[in]     options    with which `e` was evaluated
 * @param[in,out] e          gets the values
 * @param[out]    err        details of a failure, or NULL
 * @retval others  As pq_evaluate and pq_btag_add_paired.
 */
pq_status pq_evaluate_paired(pq_graph *reference, const pq_graph *graph,
                             pq_dataset *dataset, size_t split,
                             const pq_evaluate_options *options, pq_evaluated *e,
                             pq_err *err);

#endif
