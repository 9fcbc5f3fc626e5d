/**
 * @file
 * Runs gnuplot on script files, without a shell.
 */
#ifndef PQ_REPORT_GNUPLOT_H
#define PQ_REPORT_GNUPLOT_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/err.h"

/** Seconds after which a hanging gnuplot is killed. */
enum { PQ_GNUPLOT_TIMEOUT_S = 60 };

/**
 * Path of the program.
 *
 * @param[in]  wanted  path, name to be found in PATH, or NULL = "gnuplot"
 * @param[out] out     caller frees with pq_free; NULL when there is none
 */
pq_status pq_gnuplot_find(const char *wanted, char **out, pq_err *err);

/**
 * Starts `program script` with `folder` as current folder; what it says goes to
 * `<folder>/<log>`.
 * @retval PQ_ERR_IO  No process could be made.
 */
pq_status pq_gnuplot_start(const char *program, const char *folder, const char *script,
                           const char *log, pid_t *out, pq_err *err);

/** Waits for it; whether it ended well. */
bool pq_gnuplot_wait(pid_t process);

#endif
