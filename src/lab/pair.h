/**
 * @file
 * Two models on the same jets.
 */
#ifndef PQ_LAB_PAIR_H
#define PQ_LAB_PAIR_H

#include "compress/cache.h"
#include "lab/evaluate.h"

/** Decisions of two models on the same events. */
typedef struct {
    size_t   first_alone, second_alone; /**< events that only one decides right */
    pq_value difference; /**< fraction right of the second minus that of the first */
    double   p;          /**< exact McNemar; NAN with weights */
} pq_decision_pair;

/**
 * Compares the decisions of two evaluations. The interval is that of the mean of the
 * events' differences, -1, 0 or 1: sum w^2 (d - mean)^2 / (sum w)^2; a note says where
 * fewer than ten events are decided right by one alone.
 *
 * @param[in]  label   class whose events count, by name; NULL = all
 * @param[in]  first   of the same events in the same order as `second`
 * @param[in]  second  evaluation of the other model
 * @param[out] out     the comparison
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_CONFIG  Either has no decisions, their events are not the same, or none
 * counts.
 */
pq_status pq_pair_decisions(const char *label, const pq_evaluated *first,
                            const pq_evaluated *second, pq_decision_pair *out,
                            pq_err *err);

/** Scores of a reference, kept from one cell of a sweep to the next. */
typedef struct {
    pq_cache   *cache;
    const char *key; /**< of the reference, the events and how both are evaluated */
} pq_pair_memory;

/**
 * Adds what a model is beside its reference on the same jets to its values
 * (metrics/paired.h), where metric btag has values of it; else does nothing. The
 * reference is evaluated where the memory does not have it.
 *
 * @param[in]     reference  gets its shapes; NULL: `e` is of it, and is remembered alone
 * @param[in]     memory     or NULL: of none
 * @param[in]     graph      whose values those of `e` are
 * @param[in]     dataset    events of both
 * @param[in]     split      which of them
 * @param[in]     options    with which `e` was evaluated
 * @param[in,out] e          gets the values
 * @param[out]    err        details of a failure, or NULL
 * @retval others  As pq_evaluate, pq_btag_jets and pq_btag_add_paired.
 */
pq_status pq_evaluate_paired(pq_graph *reference, const pq_pair_memory *memory,
                             const pq_graph *graph, pq_dataset *dataset, size_t split,
                             const pq_evaluate_options *options, pq_evaluated *e,
                             pq_err *err);

#endif
