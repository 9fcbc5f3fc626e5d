#define _GNU_SOURCE
#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "core/memory.h"

typedef struct {
    pq_piece        run;
    void           *context;
    size_t          pieces;
    atomic_size_t   next;
    atomic_int      status; /* first failure */
    pthread_mutex_t lock;   /* guards err */
    pq_err         *err;
} job;

typedef struct {
    job      *shared;
    size_t    thread;
    pthread_t handle;
    int       started;
} worker;

static void *work(void *argument)
{
    const worker *me = argument;
    job          *j  = me->shared;
    size_t        piece;

    while (atomic_load(&j->status) == PQ_OK &&
           (piece = atomic_fetch_add(&j->next, 1)) < j->pieces) {
        pq_err          err = {0};
        const pq_status st  = j->run(j->context, piece, me->thread, &err);
        if (st == PQ_OK) {
            continue;
        }
        (void)pthread_mutex_lock(&j->lock);
        if (atomic_load(&j->status) == PQ_OK) {
            atomic_store(&j->status, (int)st);
            if (j->err != NULL && j->err->code == PQ_OK) {
                *j->err = err;
            }
        }
        (void)pthread_mutex_unlock(&j->lock);
    }
    return NULL;
}

pq_status pq_threads_run(size_t threads, size_t pieces, pq_piece run, void *context,
                         pq_err *err)
{
    job       j       = {.run = run, .context = context, .pieces = pieces, .err = err};
    worker   *workers = NULL;
    pq_status st;

    threads = threads > pieces ? pieces : threads;
    threads = threads == 0 ? 1 : threads;
    (void)pthread_mutex_init(&j.lock, NULL);
    PQ_NEW(workers, threads);
    for (size_t t = 0; t < threads; t++) {
        workers[t] = (worker){.shared = &j, .thread = t};
        if (t > 0) {
            workers[t].started =
                pthread_create(&workers[t].handle, NULL, work, &workers[t]) == 0;
        }
    }
    (void)work(&workers[0]);
    for (size_t t = 1; t < threads; t++) {
        if (workers[t].started) {
            (void)pthread_join(workers[t].handle, NULL);
        }
    }
    st = (pq_status)atomic_load(&j.status);
cleanup:
    pq_free(workers);
    (void)pthread_mutex_destroy(&j.lock);
    return st;
}

size_t pq_threads_available(void)
{
    cpu_set_t set;
    int       n;

    CPU_ZERO(&set);
    n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (size_t)n : 1;
}
