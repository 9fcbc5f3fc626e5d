/**
 * @file
 * The history of many nights in a report.
 */
#ifndef PQ_CLI_HISTORY_H
#define PQ_CLI_HISTORY_H

#include "core/text.h"

/** Appends a section of a page: the chart of what changed most, and since when, from
 * paths as `pquant history` takes them.
 * @retval PQ_ERR_CONFIG  They are no nights of one experiment. */
pq_status pq_history_section(size_t n, const char *const *paths, pq_text *out,
                             pq_err *err);

#endif
