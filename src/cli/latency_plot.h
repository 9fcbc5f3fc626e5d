/**
 * @file
 * The picture of `pquant latency --plot`.
 */
#ifndef PQ_CLI_LATENCY_PLOT_H
#define PQ_CLI_LATENCY_PLOT_H

#include "report/plot.h"

/** Whether pictures of that file's ending are drawn. */
bool pq_latency_plot_may(const char *path);

/** [[ns, calls], …] of n sorted single calls in s; NULL when out of memory. */
json_t *pq_latency_pairs(const double *shots, size_t n);

/** Draws the distribution into a file.
 * @param[out] drawn  false: there is no gnuplot
 * @retval PQ_ERR_IO  It could not be drawn or written. */
pq_status pq_latency_plot(const pq_calls *calls, const char *path, bool *drawn,
                          pq_err *err);

#endif
