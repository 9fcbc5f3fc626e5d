#include "exec/crew.h"

#include <stdatomic.h>

#include "core/memory.h"
#include "core/pool.h"

enum {
    SHARES      = 4, /* of each thread: who is held up leaves some to the others */
    ROWS        = 8, /* shares are multiples of what kernels take at once */
    MOST_INPUTS = 32,
};

struct pq_crew {
    size_t    threads;
    pq_plan **plans; /* [threads]; the first is the caller's */
    pq_pool  *pool;
    size_t    n_inputs, out_count;
    size_t   *in_count; /* [n_inputs] values of a sample */
    /* the run */
    size_t              n, share;
    const float *const *in;
    float              *out;
    atomic_int          status;
    pq_err              err; /* of the first failure */
};

static void run_share(void *context, size_t share, size_t thread)
{
    pq_crew     *c     = context;
    const size_t first = share * c->share;
    const size_t n     = c->n - first < c->share ? c->n - first : c->share;
    const float *in[MOST_INPUTS];
    pq_err       err  = {0};
    int          none = PQ_OK;
    pq_status    st;

    for (size_t i = 0; i < c->n_inputs; i++) {
        in[i] = c->in[i] + first * c->in_count[i];
    }
    st = pq_plan_run(c->plans[thread], n, in, c->out + first * c->out_count, &err);
    if (st != PQ_OK && atomic_compare_exchange_strong(&c->status, &none, (int)st)) {
        c->err = err; /* read once all shares are done */
    }
}

pq_status pq_crew_run(pq_crew *crew, size_t n, const float *const *in, float *out,
                      pq_err *err)
{
    const size_t pieces = SHARES * crew->threads;
    pq_status    st;

    if (crew->threads == 1 || n < crew->threads || n > pq_plan_batch(crew->plans[0])) {
        return pq_plan_run_together(crew->plans, crew->threads == 1 ? NULL : crew->pool,
                                    n, in, out, err);
    }
    crew->n     = n;
    crew->in    = in;
    crew->out   = out;
    crew->share = (n + pieces - 1) / pieces;
    crew->share =
        crew->share > ROWS ? (crew->share + ROWS - 1) / ROWS * ROWS : crew->share;
    atomic_store(&crew->status, PQ_OK);
    pq_pool_run(crew->pool, (n + crew->share - 1) / crew->share, run_share, crew);
    st = (pq_status)atomic_load(&crew->status);
    if (st != PQ_OK && err != NULL && err->code == PQ_OK) {
        *err = crew->err;
    }
    return st;
}

static pq_status set_counts(pq_crew *c, pq_err *err)
{
    const pq_plan *plan  = c->plans[0];
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

pq_status pq_crew_create(const pq_graph *graph, const pq_plan_options *options,
                         size_t threads, pq_crew **out, pq_err *err)
{
    pq_crew  *c = NULL;
    pq_status st;

    PQ_CHECK(threads >= 1, PQ_ERR_RANGE, "0 threads are not at least 1");
    PQ_NEW(c, 1);
    PQ_NEW(c->plans, threads);
    c->threads = threads;
    PQ_TRY(pq_plan_create(graph, options, &c->plans[0], err));
    PQ_TRY(set_counts(c, err));
    for (size_t t = 1; t < threads; t++) {
        PQ_TRY(pq_plan_fork(c->plans[0], &c->plans[t], err));
    }
    PQ_TRY(pq_pool_create(threads, &c->pool, err));
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
    pq_pool_free(&c->pool);
    for (size_t t = c->threads; t-- > 0;) { /* forks go before the plan they share */
        pq_plan_free(&c->plans[t]);
    }
    pq_free(c->plans);
    pq_free(c->in_count);
    pq_free(c);
    *crew = NULL;
}

const pq_plan *pq_crew_plan(const pq_crew *crew)
{
    return crew->plans[0];
}
