#include "core/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "core/memory.h"

enum {
    SPINS = 3000,    /* some 50 us: longer than the gap between two phases of a step */
    SMALL = 1 << 15, /* items that one thread has done before another wakes up */
    LINE  = 64       /* bytes of a cache line */
};

typedef struct {
    pq_pool  *pool;
    size_t    thread;
    pthread_t handle;
    bool      started;
} worker;

/* What the caller writes stands beside the ticket, where a worker finds it in the line it
   waits for; what workers write stands apart. */
struct pq_pool {
    /* Generation of the work in the upper half, next piece in the lower: one
       compare-and-swap takes a piece of this generation or nothing. */
    _Atomic uint64_t       ticket;
    _Atomic size_t         pieces;
    _Atomic(pq_pool_piece) run;
    _Atomic(void *)        context;
    char                   apart[LINE];
    _Atomic size_t         done; /* pieces that workers have done, of all generations */
    char                   apart_again[LINE];
    atomic_size_t          sleepers;
    atomic_bool            stop;
    pthread_mutex_t        lock;
    pthread_cond_t         wake;
    size_t                 threads;
    pid_t                  owner; /* a process forked later has none of the threads */
    bool                   alone; /* the caller's thread does it all; only it looks */
    worker                *workers;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Takes and runs pieces of one generation until there are none; gives how many. Those of
   workers are counted. */
static size_t drain(pq_pool *p, uint64_t generation, size_t thread)
{
    uint64_t t = atomic_load(&p->ticket);
    size_t   n = 0;

    while (t >> 32 == generation) {
        const size_t        piece   = (size_t)(t & UINT32_MAX);
        const pq_pool_piece run     = atomic_load(&p->run);
        void               *context = atomic_load(&p->context);
        if (piece >= atomic_load(&p->pieces)) {
            break;
        }
        if (atomic_compare_exchange_weak(&p->ticket, &t, t + 1)) {
            run(context, piece, thread);
            n++;
            if (thread > 0) {
                (void)atomic_fetch_add(&p->done, 1);
            }
            t = atomic_load(&p->ticket);
        }
    }
    return n;
}

/* Waits until the generation is another than `seen`; returns it. */
static uint64_t next_generation(pq_pool *p, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&p->ticket) >> 32 != seen) {
            return atomic_load(&p->ticket) >> 32;
        }
        relax();
    }
    (void)pthread_mutex_lock(&p->lock);
    (void)atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->ticket) >> 32 == seen) {
        (void)pthread_cond_wait(&p->wake, &p->lock);
    }
    (void)atomic_fetch_sub(&p->sleepers, 1);
    (void)pthread_mutex_unlock(&p->lock);
    return atomic_load(&p->ticket) >> 32;
}

static void *work(void *argument)
{
    const worker *me   = argument;
    pq_pool      *p    = me->pool;
    uint64_t      seen = 0;

    for (;;) {
        seen = next_generation(p, seen);
        if (atomic_load(&p->stop)) {
            return NULL;
        }
        drain(p, seen, me->thread);
    }
}

/* Starts a generation, whose first `taken` pieces the caller has. The old one is closed
   first: a late worker must not take one of its piece numbers for a piece of the new
   work. */
static uint64_t publish(pq_pool *p, size_t pieces, size_t taken, pq_pool_piece run,
                        void *context)
{
    const uint64_t generation = (atomic_load(&p->ticket) >> 32) + 1;

    atomic_store_explicit(&p->ticket, (generation - 1) << 32 | UINT32_MAX,
                          memory_order_release);
    atomic_store_explicit(&p->pieces, pieces, memory_order_release);
    atomic_store_explicit(&p->run, run, memory_order_release);
    atomic_store_explicit(&p->context, context, memory_order_release);
    atomic_store(&p->ticket, generation << 32 | taken);
    if (atomic_load(&p->sleepers) > 0) {
        (void)pthread_mutex_lock(&p->lock);
        (void)pthread_cond_broadcast(&p->wake);
        (void)pthread_mutex_unlock(&p->lock);
    }
    return generation;
}

void pq_pool_run(pq_pool *pool, size_t pieces, pq_pool_piece run, void *context)
{
    const size_t before = atomic_load(&pool->done);
    uint64_t     generation;
    size_t       awaited;

    if (pool->threads == 1 || pool->alone || pieces <= 1) {
        for (size_t i = 0; i < pieces; i++) {
            run(context, i, 0);
        }
        return;
    }
    generation = publish(pool, pieces, 1, run, context);
    run(context, 0, 0);
    awaited = before + pieces - 1 - drain(pool, generation, 0);
    for (int i = 0; atomic_load(&pool->done) != awaited; i++) {
        relax();
        if (i > SPINS) {
            (void)sched_yield();
        }
    }
}

void pq_pool_run_small(pq_pool *pool, size_t items, size_t pieces, pq_pool_piece run,
                       void *context)
{
    for (size_t i = 0; items < SMALL && i < pieces; i++) {
        run(context, i, 0);
    }
    if (items >= SMALL) {
        pq_pool_run(pool, pieces, run, context);
    }
}

pq_status pq_pool_create(size_t threads, pq_pool **out, pq_err *err)
{
    pq_pool  *p = NULL;
    pq_status st;

    PQ_NEW(p, 1);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    p->threads = threads;
    p->owner   = getpid();
    PQ_NEW(p->workers, threads);
    for (size_t t = 1; t < threads; t++) {
        p->workers[t] = (worker){.pool = p, .thread = t};
        p->workers[t].started =
            pthread_create(&p->workers[t].handle, NULL, work, &p->workers[t]) == 0;
        PQ_CHECK(p->workers[t].started, PQ_ERR_NOMEM, "cannot start thread %zu of %zu",
                 t + 1, threads);
    }
    *out = p;
    p    = NULL;
cleanup:
    pq_pool_free(&p);
    return st;
}

/* Ends the threads and waits for them. */
static void end_workers(pq_pool *p)
{
    atomic_store(&p->stop, true);
    (void)publish(p, 0, 0, NULL, NULL);
    for (size_t t = 1; p->workers != NULL && t < p->threads; t++) {
        if (p->workers[t].started) {
            (void)pthread_join(p->workers[t].handle, NULL);
        }
    }
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
}

void pq_pool_free(pq_pool **pool)
{
    pq_pool *p = *pool;

    if (p == NULL) {
        return;
    }
    if (p->owner == getpid()) { /* elsewhere waiting for them has no end */
        end_workers(p);
    }
    pq_free(p->workers);
    pq_free(p);
    *pool = NULL;
}

size_t pq_pool_threads(const pq_pool *pool)
{
    return pool->threads;
}

void pq_pool_set_alone(pq_pool *pool, bool alone)
{
    pool->alone = alone;
}

size_t pq_pool_working(const pq_pool *pool)
{
    return pool->alone ? 1 : pool->threads;
}
