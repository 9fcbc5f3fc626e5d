/* Plans that stay: made once, run on arrays of the caller where they lie. */
#include "api/inside.h"

#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "exec/plan.h"

enum {
    BATCH = 256, /* samples of a run */
    ALONE = 512, /* up to so many, starting threads costs more than it saves */
    PIECE = 8192,
};

struct pquant_plan {
    size_t    threads;
    pq_plan **plans;  /* [threads], the first owns the weights */
    float   **copies; /* [threads] of samples that do not lie as runs want them */
    size_t    inputs, item[PQ_LAYER_INPUTS], items, width;
};

typedef struct {
    pquant_plan        *plan;
    const pquant_array *in;
    float              *out;
    size_t              n, piece;
} job;

static pq_status run_piece(void *context, size_t piece, size_t thread, pq_err *err)
{
    const job   *j     = context;
    pquant_plan *p     = j->plan;
    const size_t first = piece * j->piece;
    const size_t end   = j->n - first < j->piece ? j->n : first + j->piece;
    const float *in[PQ_LAYER_INPUTS];
    pq_status    st = PQ_OK;

    for (size_t at = first; at < end; at += BATCH) {
        const size_t n    = end - at < BATCH ? end - at : BATCH;
        float       *copy = p->copies[thread];
        for (size_t k = 0; k < p->inputs; k++) {
            in[k] = (const float *)j->in[k].data + at * p->item[k];
            if (!pq_api_is_plain(&j->in[k])) {
                PQ_TRY(pq_api_gather(&j->in[k], at, n, copy, err));
                in[k] = copy;
            }
            copy += BATCH * p->item[k];
        }
        PQ_TRY(pq_plan_run(p->plans[thread], n, in, j->out + at * p->width, err));
    }
cleanup:
    return st;
}

static pq_status make(const pquant_model *model, const pquant_options *o, pquant_plan *p,
                      pq_err *err)
{
    const pq_plan_options how = {.engine = o->engine, .batch = BATCH};
    pq_shape              shape;
    pq_status             st;

    PQ_TRY(pq_api_check(o, err));
    p->threads = o->threads > 0 ? o->threads : pq_threads_available();
    PQ_NEW(p->plans, p->threads);
    PQ_NEW(p->copies, p->threads);
    PQ_TRY(pq_plan_create(model->graph, &how, &p->plans[0], err));
    p->inputs = pq_plan_inputs(p->plans[0]);
    PQ_CHECK(p->inputs <= PQ_LAYER_INPUTS, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs, more than %d", p->inputs, PQ_LAYER_INPUTS);
    for (size_t k = 0; k < p->inputs; k++) {
        shape = pq_plan_input_shape(p->plans[0], k);
        PQ_CHECK(pq_shape_count(&shape, &p->item[k]), PQ_ERR_SHAPE,
                 "input %zu is too large", k);
        p->items += p->item[k];
    }
    shape = pq_plan_output_shape(p->plans[0]);
    PQ_CHECK(pq_shape_count(&shape, &p->width), PQ_ERR_SHAPE, "the output is too large");
    for (size_t t = 0; t < p->threads; t++) {
        PQ_NEW(p->copies[t], BATCH * p->items);
        if (t > 0) {
            PQ_TRY(pq_plan_fork(p->plans[0], &p->plans[t], err));
        }
    }
cleanup:
    return st;
}

pquant_plan *pquant_plan_create(const pquant_model *model, const pquant_options *options)
{
    const pquant_options o    = pq_api_options(options);
    pq_err              *err  = pq_api_begin();
    pquant_plan         *plan = NULL;
    pq_status            st;

    PQ_NEW(plan, 1);
    PQ_TRY(make(model, &o, plan, err));
cleanup:
    if (st != PQ_OK) {
        pquant_plan_free(plan);
        plan = NULL;
    }
    return plan;
}

void pquant_plan_free(pquant_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t t = plan->threads; t-- > 0;) {
        if (plan->plans != NULL) {
            pq_plan_free(&plan->plans[t]); /* forks before what they share */
        }
        if (plan->copies != NULL) {
            pq_free(plan->copies[t]);
        }
    }
    pq_free(plan->plans);
    pq_free(plan->copies);
    pq_free(plan);
}

static pq_status run(pquant_plan *p, size_t n, const pquant_array *in, float *out,
                     pq_err *err)
{
    job          j       = {p, in, out, n, n};
    const size_t most    = (n + ALONE - 1) / ALONE;
    size_t       threads = p->threads < most ? p->threads : most, share;

    if (threads <= 1) {
        return run_piece(&j, 0, 0, err);
    }
    share   = (n + threads - 1) / threads;
    share   = (share + BATCH - 1) / BATCH * BATCH;
    j.piece = share < PIECE ? share : PIECE;
    return pq_threads_run(threads, (n + j.piece - 1) / j.piece, run_piece, &j, err);
}

int pquant_plan_predict(pquant_plan *plan, const pquant_array *inputs,
                        const pquant_array *output)
{
    pq_err      *err = pq_api_begin();
    const size_t n   = inputs[0].ndim > 0 ? inputs[0].shape[0] : 0;
    pq_status    st;

    for (size_t k = 0; k < plan->inputs; k++) {
        PQ_CHECK(inputs[k].ndim >= 1 && inputs[k].ndim <= PQUANT_AXES &&
                     inputs[k].shape[0] == n && pq_api_row(&inputs[k]) == plan->item[k],
                 PQ_ERR_SHAPE,
                 "input %zu has %zu samples of %zu values, but %zu of %zu are due", k,
                 inputs[k].ndim > 0 ? inputs[k].shape[0] : 0, pq_api_row(&inputs[k]), n,
                 plan->item[k]);
        PQ_CHECK(n == 0 || inputs[k].data != NULL, PQ_ERR_SHAPE, "input %zu has no data",
                 k);
    }
    PQ_CHECK(output->ndim >= 1 && output->ndim <= PQUANT_AXES && output->shape[0] == n &&
                 pq_api_row(output) == plan->width && pq_api_is_plain(output) &&
                 (n == 0 || output->data != NULL),
             PQ_ERR_SHAPE, "the output is no row-major float32 [%zu, %zu]", n,
             plan->width);
    if (n > 0) {
        PQ_TRY(run(plan, n, inputs, output->data, err));
    }
cleanup:
    return st != PQ_OK;
}

int pquant_predict(const pquant_model *model, const char *engine, size_t n,
                   const float *const *inputs, float *output)
{
    pq_err   *err  = pq_api_begin();
    pq_plan  *plan = NULL;
    pq_status st;

    PQ_CHECK(n >= 1, PQ_ERR_RANGE, "there are no samples");
    PQ_TRY(pq_plan_create(model->graph, &(pq_plan_options){engine, n}, &plan, err));
    PQ_TRY(pq_plan_run(plan, n, inputs, output, err));
cleanup:
    pq_plan_free(&plan);
    return st != PQ_OK;
}
