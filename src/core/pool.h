/**
 * @file
 * Threads that stay, for prediction, training and timing: work of tens of microseconds
 * takes less than starting a thread. They spin briefly for the next work, then sleep.
 * Denormals are handled as by the thread that makes the pool (POSIX: a new thread
 * inherits the floating-point environment). A forked process may run and free a pool of
 * its parent: its own thread does all the work.
 */
#ifndef PQ_CORE_POOL_H
#define PQ_CORE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

typedef struct pq_pool pq_pool;

/** One piece of work; thread is 0 .. threads-1, 0 the caller's. */
typedef void (*pq_pool_piece)(void *context, size_t piece, size_t thread);

/**
 * @param[in] threads  >= 1, the caller's included.
 * @retval PQ_ERR_NOMEM  Out of memory, or a thread cannot be started.
 */
pq_status pq_pool_create(size_t threads, pq_pool **out, pq_err *err);
void      pq_pool_free(pq_pool **pool);

/** Threads, the caller's included. */
size_t pq_pool_threads(const pq_pool *pool);

/** Whether the caller's thread does all work from now on; between runs only. */
void pq_pool_set_alone(pq_pool *pool, bool alone);

/** Threads that work: all, or the caller's alone. */
size_t pq_pool_working(const pq_pool *pool);

/** Runs pieces 0 .. pieces-1 (below 2^32) and returns when all are done. Not reentrant.
 */
void pq_pool_run(pq_pool *pool, size_t pieces, pq_pool_piece run, void *context);

/** The same, on the calling thread alone when all pieces together touch few items: waking
 * others costs more. */
void pq_pool_run_small(pq_pool *pool, size_t items, size_t pieces, pq_pool_piece run,
                       void *context);

#endif
