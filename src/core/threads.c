#define _GNU_SOURCE
#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "core/pool.h"

typedef struct {
    pq_piece        run;
    void           *context;
    atomic_int      status; /* first failure */
    pthread_mutex_t lock;   /* guards err */
    pq_err         *err;
} job;

static void run_piece(void *context, size_t piece, size_t thread)
{
    job      *j    = context;
    pq_err    err  = {0};
    int       none = PQ_OK;
    pq_status st;

    if (atomic_load(&j->status) != PQ_OK) {
        return;
    }
    st = j->run(j->context, piece, thread, &err);
    if (st == PQ_OK) {
        return;
    }
    (void)pthread_mutex_lock(&j->lock);
    if (atomic_compare_exchange_strong(&j->status, &none, (int)st) && j->err != NULL &&
        j->err->code == PQ_OK) {
        *j->err = err;
    }
    (void)pthread_mutex_unlock(&j->lock);
}

pq_status pq_threads_run(size_t threads, size_t pieces, pq_piece run, void *context,
                         pq_err *err)
{
    job       j    = {.run = run, .context = context, .err = err};
    pq_pool  *pool = NULL;
    pq_status st;

    threads = threads > pieces ? pieces : threads;
    threads = threads == 0 ? 1 : threads;
    (void)pthread_mutex_init(&j.lock, NULL);
    if (pq_pool_create(threads, &pool, NULL) != PQ_OK) { /* fewer do as well */
        PQ_TRY(pq_pool_create(1, &pool, err));
    }
    pq_pool_run(pool, pieces, run_piece, &j);
    st = (pq_status)atomic_load(&j.status);
cleanup:
    pq_pool_free(&pool);
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
