/**
 * @file
 * Brings results folders together, and builds what is made from records.
 */
#ifndef PQ_SWEEP_MERGE_H
#define PQ_SWEEP_MERGE_H

#include <stddef.h>

#include "store/results.h"

/**
 * Rebuilds `<dir>/table.csv`, `<dir>/results.sqlite` and the index of the records from
 * plan and records, each of which is parsed once at most.
 *
 * @param[in]  shelf    of the folder, or NULL = opened here
 * @param[in]  made     the files are of these records (sweep/made.h): only the results
 * are read
 * @param[out] results  pq_results_read's answer, caller decrefs; may be NULL
 * @param[out] count    may be NULL
 * @retval PQ_ERR_NOT_FOUND  No plan in the folder.
 */
pq_status pq_sweep_collect(const char *dir, pq_shelf *shelf, bool made, json_t **results,
                           pq_results_count *count, pq_err *err);

/**
 * Copies the records (and models, arrays) of other folders that `dir` lacks, then
 * pq_sweep_collect. The order of the folders does not matter: ok records win over
 * failed ones.
 *
 * @param[in]  from       [n] folders of the same plan
 * @param[out] copied     records copied; may be NULL
 * @param[out] results    as of pq_sweep_collect
 * @param[out] count      as of pq_sweep_collect
 * @retval PQ_ERR_NUMERIC  Two folders give different values for the same eval key: a
 *                         determinism bug, or mixed versions; key and metric are named.
 */
pq_status pq_sweep_merge(const char *dir, size_t n, const char *const *from,
                         size_t *copied, json_t **results, pq_results_count *count,
                         pq_err *err);

#endif
