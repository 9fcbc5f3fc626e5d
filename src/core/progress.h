/**
 * @file
 * Reports how far a long piece of work is. The library never prints: it calls
 * back, and cli draws the bar.
 */
#ifndef PQ_CORE_PROGRESS_H
#define PQ_CORE_PROGRESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/** Receiver of progress; a zeroed one ignores everything. */
typedef struct {
    /** done of total items of `what` ("cells", "samples"); note is a short text or NULL.
     */
    void (*report)(void *context, const char *what, size_t done, size_t total,
                   const char *note);
    void *context;
    /** Work stops soon, with PQ_ERR_INTERRUPTED, when this is not 0; or NULL. */
    const volatile sig_atomic_t *stop;
} pq_progress;

/** Where the wish to stop stands, or NULL. */
static inline const volatile sig_atomic_t *pq_progress_stop(const pq_progress *p)
{
    return p != NULL ? p->stop : NULL;
}

/** Whether work is to stop. */
static inline bool pq_progress_stopped(const pq_progress *p)
{
    return p != NULL && p->stop != NULL && *p->stop != 0;
}

/** Calls the receiver if there is one. */
static inline void pq_progress_report(const pq_progress *p, const char *what, size_t done,
                                      size_t total, const char *note)
{
    if (p != NULL && p->report != NULL) {
        p->report(p->context, what, done, total, note);
    }
}

#endif
