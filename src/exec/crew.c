#include "exec/crew.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/memory.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    SPINS  = 4000, /* looks at a counter, some ten microseconds, before a thread sleeps */
    SHARES = 4,    /* of each thread: who is held up leaves some to the others */
    ROWS   = 8,    /* shares are multiples of what kernels take at once */
    MOST_INPUTS = 32,
    RUN_BIT     = 32, /* `state`: number of the run above, shares not yet taken below */
};

typedef struct {
    pq_crew  *crew;
    pthread_t handle;
    bool      started;
    pq_plan  *plan;
} member;

struct pq_crew {
    size_t  threads;
    member *members; /* [threads]; the first is the caller */
    size_t  n_inputs, out_count;
    size_t *in_count; /* [n_inputs] values of a sample */
    /* The run. Who has taken a share may read these: the run does not end before it is
     * done. */
    size_t               n, share, shares;
    const float *const  *in;
    float               *out;
    atomic_uint_fast64_t state;
    atomic_size_t        done; /* shares */
    atomic_int           status;
    pq_err               err; /* of the first failure */
    atomic_bool          stop;
    pthread_mutex_t      lock; /* for sleeping, and err */
    pthread_cond_t       wake, finished;
};

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

static void fail(pq_crew *c, pq_status st, const pq_err *err)
{
    int none = PQ_OK;

    (void)pthread_mutex_lock(&c->lock);
    if (atomic_compare_exchange_strong(&c->status, &none, (int)st)) {
        c->err = *err;
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static void run_share(pq_crew *c, pq_plan *plan, size_t share)
{
    const size_t first = share * c->share, shares = c->shares;
    const size_t n = c->n - first < c->share ? c->n - first : c->share;
    const float *in[MOST_INPUTS];
    pq_err       err = {0};
    pq_status    st;

    for (size_t i = 0; i < c->n_inputs; i++) {
        in[i] = c->in[i] + first * c->in_count[i];
    }
    st = pq_plan_run(plan, n, in, c->out + first * c->out_count, &err);
    if (st != PQ_OK) {
        fail(c, st, &err);
    }
    if (atomic_fetch_add_explicit(&c->done, 1, memory_order_acq_rel) + 1 == shares) {
        (void)pthread_mutex_lock(&c->lock);
        (void)pthread_cond_signal(&c->finished);
        (void)pthread_mutex_unlock(&c->lock);
    }
}

/* Takes and runs shares until none is left. */
static void run_shares(pq_crew *c, pq_plan *plan)
{
    uint_fast64_t state = atomic_load_explicit(&c->state, memory_order_acquire);

    while ((uint32_t)state > 0) {
        if (atomic_compare_exchange_weak_explicit(&c->state, &state, state - 1,
                                                  memory_order_acquire,
                                                  memory_order_acquire)) {
            run_share(c, plan, c->shares - (uint32_t)state);
            state = atomic_load_explicit(&c->state, memory_order_acquire);
        }
    }
}

static bool is_idle(pq_crew *c)
{
    return (uint32_t)atomic_load_explicit(&c->state, memory_order_acquire) == 0 &&
           !atomic_load_explicit(&c->stop, memory_order_acquire);
}

static void wait_for_shares(pq_crew *c)
{
    for (size_t i = 0; i < SPINS; i++) {
        if (!is_idle(c)) {
            return;
        }
        relax();
    }
    (void)pthread_mutex_lock(&c->lock);
    while (is_idle(c)) {
        (void)pthread_cond_wait(&c->wake, &c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static void *work(void *argument)
{
    member  *m = argument;
    pq_crew *c = m->crew;

    while (!atomic_load_explicit(&c->stop, memory_order_acquire)) {
        run_shares(c, m->plan);
        wait_for_shares(c);
    }
    return NULL;
}

static void wake_all(pq_crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    (void)pthread_cond_broadcast(&c->wake);
    (void)pthread_mutex_unlock(&c->lock);
}

static void start_run(pq_crew *c)
{
    const uint_fast64_t run = (atomic_load(&c->state) >> RUN_BIT) + 1;

    c->share  = (c->n + SHARES * c->threads - 1) / (SHARES * c->threads);
    c->share  = c->share > ROWS ? (c->share + ROWS - 1) / ROWS * ROWS : c->share;
    c->shares = (c->n + c->share - 1) / c->share;
    atomic_store(&c->status, PQ_OK);
    atomic_store(&c->done, 0);
    atomic_store_explicit(&c->state, run << RUN_BIT | c->shares, memory_order_release);
    wake_all(c);
}

static bool is_over(pq_crew *c)
{
    return atomic_load_explicit(&c->done, memory_order_acquire) == c->shares;
}

static void wait_for_end(pq_crew *c)
{
    for (size_t i = 0; i < SPINS; i++) {
        if (is_over(c)) {
            return;
        }
        relax();
    }
    (void)pthread_mutex_lock(&c->lock);
    while (!is_over(c)) {
        (void)pthread_cond_wait(&c->finished, &c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

pq_status pq_crew_run(pq_crew *crew, size_t n, const float *const *in, float *out,
                      pq_err *err)
{
    pq_plan     *plan  = crew->members[0].plan;
    const size_t batch = pq_plan_batch(plan);

    if (crew->threads == 1 || n < 1 || n > batch) {
        return pq_plan_run(plan, n, in, out, err);
    }
    crew->n   = n;
    crew->in  = in;
    crew->out = out;
    start_run(crew);
    run_shares(crew, plan);
    wait_for_end(crew);
    if (atomic_load(&crew->status) != PQ_OK && err != NULL && err->code == PQ_OK) {
        *err = crew->err;
    }
    return (pq_status)atomic_load(&crew->status);
}

static pq_status set_counts(pq_crew *c, pq_err *err)
{
    const pq_plan *plan  = c->members[0].plan;
    pq_shape       shape = pq_plan_output_shape(plan);
    pq_status      st;

    (void)pq_shape_count(&shape, &c->out_count);
    c->n_inputs = pq_plan_inputs(plan);
    PQ_CHECK(c->n_inputs <= MOST_INPUTS, PQ_ERR_UNSUPPORTED,
             "%zu inputs are more than a crew can split, which is %d", c->n_inputs,
             MOST_INPUTS);
    PQ_NEW(c->in_count, c->n_inputs);
    for (size_t i = 0; i < c->n_inputs; i++) {
        shape = pq_plan_input_shape(plan, i);
        (void)pq_shape_count(&shape, &c->in_count[i]);
    }
cleanup:
    return st;
}

static pq_status start_members(pq_crew *c, const pq_graph *graph,
                               const pq_plan_options *options, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_plan_create(graph, options, &c->members[0].plan, err));
    PQ_TRY(set_counts(c, err));
    for (size_t t = 0; t < c->threads; t++) {
        c->members[t].crew = c;
        if (t > 0) {
            PQ_TRY(pq_plan_fork(c->members[0].plan, &c->members[t].plan, err));
        }
    }
    for (size_t t = 1; t < c->threads; t++) {
        member *m  = &c->members[t];
        m->started = pthread_create(&m->handle, NULL, work, m) == 0;
        PQ_CHECK(m->started, PQ_ERR_IO, "cannot start thread %zu of %zu", t + 1,
                 c->threads);
    }
cleanup:
    return st;
}

pq_status pq_crew_create(const pq_graph *graph, const pq_plan_options *options,
                         size_t threads, pq_crew **out, pq_err *err)
{
    pq_crew  *c = NULL;
    pq_status st;

    PQ_CHECK(threads >= 1, PQ_ERR_RANGE, "0 threads are not at least 1");
    PQ_NEW(c, 1);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->wake, NULL);
    (void)pthread_cond_init(&c->finished, NULL);
    PQ_NEW(c->members, threads);
    c->threads = threads;
    PQ_TRY(start_members(c, graph, options, err));
    *out = c;
    c    = NULL;
cleanup:
    pq_crew_free(&c);
    return st;
}

void pq_crew_free(pq_crew **crew)
{
    pq_crew *c = *crew;

    if (c == NULL) {
        return;
    }
    atomic_store(&c->stop, true);
    wake_all(c);
    for (size_t t = c->threads; t-- > 0;) {
        if (c->members[t].started) {
            (void)pthread_join(c->members[t].handle, NULL);
        }
        pq_plan_free(&c->members[t].plan); /* forks go before the plan they share */
    }
    (void)pthread_cond_destroy(&c->wake);
    (void)pthread_cond_destroy(&c->finished);
    (void)pthread_mutex_destroy(&c->lock);
    pq_free(c->members);
    pq_free(c->in_count);
    pq_free(c);
    *crew = NULL;
}

const pq_plan *pq_crew_plan(const pq_crew *crew)
{
    return crew->members[0].plan;
}
