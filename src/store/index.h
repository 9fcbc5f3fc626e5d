/**
 * @file
 * The records of a results folder as a SQLite file, for queries. Built from
 * scratch under a temporary name, so that no two writers ever share it.
 *
 *   cells(cell, pipeline, label, repeat, status, error, key)
 *   axes(cell, name, value)
 *   metrics(cell, name, value, lo, hi, n, unit, better)
 */
#ifndef PQ_STORE_INDEX_H
#define PQ_STORE_INDEX_H

#include <jansson.h>

#include "core/err.h"

/**
 * Replaces the file at `path` by the cells of pq_results_read's answer.
 * @retval PQ_ERR_IO  It cannot be written; nothing was changed.
 */
pq_status pq_index_write(const json_t *results, const char *path, pq_err *err);

#endif
