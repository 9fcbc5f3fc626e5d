/**
 * @file
 * Which engines predict and are timed where a configuration says "auto".
 *
 * A cell's numbers come from the engine that it was timed on. Which that is only the
 * clock tells, after the predictions; so a model that `int8` computes in whole numbers
 * is evaluated on both, and the table takes the numbers of the faster (store/results.h).
 */
#ifndef PQ_SWEEP_ENGINES_H
#define PQ_SWEEP_ENGINES_H

#include <jansson.h>

#include "sweep/config.h"

/** Today's name of an index into pq_engine_choices. */
const char *pq_chosen_engine(int choice);

/** Engine of a cell's first predictions; "auto" stands for "float32". */
const char *pq_evaluating_engine(const pq_config *config);

/** Whether models are evaluated on `int8` as well, where that differs. */
bool pq_evaluates_twice(const pq_config *config);

/** Engine by whose times stages choose: "auto" stands for "float32". */
const char *pq_stage_engine(const pq_config *config);

/**
 * Engines to choose from for the time of a model: the one of the configuration; with
 * "auto" those that it was evaluated on.
 *
 * @param[out] engines  [PQ_FAST_ENGINES]
 */
pq_status pq_timed_engines(const pq_config *config, const pq_graph *graph,
                           const char **engines, size_t *n, pq_err *err);

/** Puts the numbers of another engine into an eval record:
 * engines {<engine>: {metrics, kernels, differs: events of another decision}}. */
pq_status pq_record_engine(json_t *record, const char *engine, const pq_evaluated *first,
                           const pq_evaluated *other, pq_err *err);

#endif
