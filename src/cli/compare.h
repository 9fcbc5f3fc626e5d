/**
 * @file
 * Two models on the same events: `pquant compare A B --data FILE`.
 */
#ifndef PQ_CLI_COMPARE_H
#define PQ_CLI_COMPARE_H

#include "cli/verb.h"

/**
 * Evaluates both models of the arguments and prints their numbers side by side, with
 * paired intervals where decisions are compared, and at the working points of a tagger.
 * @param[in]  args  of verb compare, with --data
 * @param[out] err   details of a failure, or NULL
 * @retval others    As pq_model_load, pq_dataset_open and pq_evaluate.
 */
pq_status pq_compare_models(const pq_args *args, pq_err *err);

#endif
