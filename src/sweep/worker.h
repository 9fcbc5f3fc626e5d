/**
 * @file
 * A piece of work in a process of its own, with limits: whatever happens there,
 * this process only learns how it ended.
 */
#ifndef PQ_SWEEP_WORKER_H
#define PQ_SWEEP_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "core/err.h"
#include "core/progress.h"

/** The work; what it returns and the details in err reach the parent. */
typedef pq_status (*pq_work)(void *context, pq_err *err);

/** How a worker stands. */
typedef enum {
    PQ_WORKER_IDLE,
    PQ_WORKER_RUNNING,
    PQ_WORKER_OK,
    PQ_WORKER_FAILED,  /**< returned a failure */
    PQ_WORKER_TIMEOUT, /**< stopped by its limit */
    PQ_WORKER_OOM,     /**< ran into its memory limit, or out of memory */
    PQ_WORKER_CRASHED, /**< ended by a signal, or without a word */
} pq_worker_state;

typedef struct {
    double timeout_s;    /**< wall time, 0 = none */
    double memory_bytes; /**< address space, NAN or 0 = none */
} pq_worker_limits;

enum { PQ_WORKER_NOTE = 160 };

/** What both processes see. */
typedef struct {
    pq_err      why;                  /**< why the work failed */
    double      base_bytes;           /**< of address space before it began */
    atomic_uint turn;                 /**< odd while the note is being written */
    char        note[PQ_WORKER_NOTE]; /**< how far the work is */
} pq_worker_shared;

/** One worker; {0} is idle. */
typedef struct {
    pid_t             pid;
    int               ended;   /**< descriptor that can be read once it has, or -1 */
    double            start_s; /**< pq_clock_wall_s */
    pq_worker_limits  limits;
    pq_worker_shared *shared;
} pq_worker;

/** Starts the work in a child process. @retval PQ_ERR_IO  No process could be made. */
pq_status pq_worker_start(pq_worker *w, pq_work run, void *context,
                          pq_worker_limits limits, pq_err *err);

/**
 * Looks how it stands, without waiting; enforces the time limit. When it has ended the
 * worker is idle again.
 *
 * @param[out] why  reason of any end but PQ_WORKER_OK
 */
pq_worker_state pq_worker_poll(pq_worker *w, pq_err *why);

/** Waits until one of the workers that run has ended, at most so long; idle ones do not
 * count. */
void pq_workers_wait(const pq_worker *const *workers, size_t n, double seconds);

/** In the worker: progress of the work, for pq_worker_note. */
pq_progress pq_worker_progress(pq_worker *w);

/** In the parent: the last note of a running worker; false when there is none. */
bool pq_worker_note(const pq_worker *w, char note[PQ_WORKER_NOTE]);

/** Ends it at once if it runs; the worker is idle again. */
void pq_worker_stop(pq_worker *w);

/** Name of a failed state in records: "failed", "timeout", "oom", "crashed". */
const char *pq_worker_state_name(pq_worker_state state);

#endif
