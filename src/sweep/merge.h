/**
 * @file
 * Brings results folders together, and builds what is made from records.
 */
#ifndef PQ_SWEEP_MERGE_H
#define PQ_SWEEP_MERGE_H

#include <stddef.h>

#include "core/err.h"

/**
 * Rebuilds `<dir>/table.csv` and `<dir>/results.sqlite` from plan and records.
 * @retval PQ_ERR_NOT_FOUND  No plan in the folder.
 */
pq_status pq_sweep_collect(const char *dir, pq_err *err);

/**
 * Copies the records (and models, arrays) of other folders that `dir` lacks, then
 * pq_sweep_collect. The order of the folders does not matter: ok records win over
 * failed ones.
 *
 * @param[in]  from       [n] folders of the same plan
 * @param[out] copied     records copied
 * @retval PQ_ERR_NUMERIC  Two folders give different values for the same eval key: a
 *                         determinism bug, or mixed versions; key and metric are named.
 */
pq_status pq_sweep_merge(const char *dir, size_t n, const char *const *from,
                         size_t *copied, pq_err *err);

#endif
