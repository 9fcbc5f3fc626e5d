/**
 * @file
 * Runs numbered pieces of work on a few threads. Pieces are handed out in
 * order; which thread runs which piece must not matter to the result.
 */
#ifndef PQ_CORE_THREADS_H
#define PQ_CORE_THREADS_H

#include <stddef.h>

#include "core/err.h"

/**
 * One piece.
 * @param[in] piece   0 .. pieces-1
 * @param[in] thread  0 .. threads-1, for per-thread scratch
 */
typedef pq_status (*pq_piece)(void *context, size_t piece, size_t thread, pq_err *err);

/**
 * Runs all pieces; the calling thread is thread 0. The first failure stops the
 * handing out and is returned.
 *
 * @param[in] threads  >= 1; more than `pieces` are not started.
 */
pq_status pq_threads_run(size_t threads, size_t pieces, pq_piece run, void *context,
                         pq_err *err);

/** Cores this process may use, at least 1. */
size_t pq_threads_available(void);

#endif
