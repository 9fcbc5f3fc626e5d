/* How long a model takes on this machine: the fast engines in one run. */
#include "api/inside.h"

#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/text.h"
#include "exec/crew.h"
#include "exec/plan.h"
#include "kernels/kernels.h"
#include "metrics/latency.h"

/* One engine, ready to be timed. */
typedef struct {
    pq_crew *crew;
    float   *in, *out; /* in is shared */
    size_t   batch, item, n_inputs, inputs;
} runner;

static uint32_t run_once(void *context, size_t input, size_t after)
{
    runner      *r = context;
    const float *in[PQ_LAYER_INPUTS];

    for (size_t k = 0; k < r->inputs; k++) {
        in[k] = r->in + (input % r->n_inputs) * r->batch * r->item + after;
    }
    return pq_crew_run(r->crew, r->batch, in, r->out, NULL) == PQ_OK
               ? pq_timed_bits(r->out)
               : 0;
}

/* The largest input's values, and the sizes of all. */
static pq_status start(const pquant_model *model, const char *engine, size_t threads,
                       size_t batch, runner *r, pq_err *err)
{
    const pq_plan_options how  = {.engine = engine, .batch = batch};
    const unsigned        mode = pq_flush_denormals(); /* as when it is timed */
    const pq_plan        *plan;
    pq_shape              shape;
    size_t                width = 0, item = 0;
    pq_status             st;

    st = pq_crew_create(model->graph, &how, threads, &r->crew, err);
    pq_restore_denormals(mode);
    if (st != PQ_OK) {
        return st;
    }
    plan      = pq_crew_plan(r->crew);
    r->batch  = batch;
    r->inputs = pq_plan_inputs(plan);
    PQ_CHECK(r->inputs <= PQ_LAYER_INPUTS, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs, more than %d", r->inputs, PQ_LAYER_INPUTS);
    for (size_t k = 0; k < r->inputs; k++) {
        shape = pq_plan_input_shape(plan, k);
        PQ_CHECK(pq_shape_count(&shape, &item), PQ_ERR_SHAPE, "input %zu is too large",
                 k);
        r->item = item > r->item ? item : r->item;
    }
    shape = pq_plan_output_shape(plan);
    PQ_CHECK(pq_shape_count(&shape, &width), PQ_ERR_SHAPE, "the output is too large");
    PQ_NEW(r->out, width * batch);
cleanup:
    return st;
}

static pq_status make_inputs(runner *runners, size_t n, uint64_t seed, pq_err *err)
{
    pq_rng       rng  = pq_rng_stream(seed, "latency");
    const size_t size = runners[0].batch * runners[0].item;
    const size_t many = pq_timed_inputs(runners[0].batch, runners[0].item);
    float       *in   = NULL;
    pq_status    st;

    PQ_NEW(in, many * size);
    for (size_t i = 0; i < many * size; i++) {
        in[i] = (float)pq_rng_normal(&rng);
    }
    for (size_t i = 0; i < n; i++) {
        runners[i].in       = in;
        runners[i].n_inputs = many;
    }
cleanup:
    return st;
}

/* The engine that runs where the one asked for cannot, from what its plan says. */
static pq_status name_engine(const runner *r, const char *asked, pquant_timing *out,
                             pq_err *err)
{
    pq_text     text = {0};
    const char *at;
    pq_status   st;

    pq_plan_kernels(pq_crew_plan(r->crew), &text);
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    at = text.text != NULL ? strstr(text.text, PQ_PLAN_INSTEAD) : NULL;
    at = at != NULL ? at + strlen(PQ_PLAN_INSTEAD) : asked;
    pq_snprintf(out->engine, sizeof out->engine, "%.*s", (int)strcspn(at, " "), at);
cleanup:
    pq_text_free(&text);
    return st;
}

static void give(const pq_timing *t, pquant_timing *out)
{
    *out = (pquant_timing){.throughput_s  = t->throughput_s,
                           .throughput_lo = t->throughput_lo,
                           .throughput_hi = t->throughput_hi,
                           .chain_s       = t->chain_s,
                           .p50_s         = t->p50_s,
                           .p90_s         = t->p90_s,
                           .p99_s         = t->p99_s,
                           .p999_s        = t->p999_s,
                           .noisy         = t->noisy};
    pq_snprintf(out->why, sizeof out->why, "%s", t->why);
}

int pquant_latency(const pquant_model *model, size_t batch, const pquant_options *options,
                   pquant_timing *out)
{
    const pquant_options o                        = pq_api_options(options);
    pq_err              *err                      = pq_api_begin();
    const size_t         threads                  = o.threads > 0 ? o.threads : 1;
    const char          *engines[PQ_FAST_ENGINES] = {o.engine};
    pq_latency_options   how                      = {0};
    runner               runners[PQ_FAST_ENGINES] = {{0}};
    pq_variant           variants[PQ_FAST_ENGINES];
    pq_timing            times[PQ_FAST_ENGINES] = {{0}};
    size_t               n = 1, best = 0;
    double               timer_s;
    pq_api_watch         watch;
    pq_status            st;

    pq_api_watch_start(&watch, &o);
    PQ_TRY(pq_api_check(&o, err));
    PQ_CHECK(batch >= 1 && batch <= 1 << 20, PQ_ERR_RANGE, "batch %zu is not in 1..%d",
             batch, 1 << 20);
    PQ_TRY(pq_params_default(pq_latency_params, &how, err));
    how.pin = how.pin && threads == 1;
    if (o.engine == NULL) {
        PQ_TRY(pq_graph_check(model->graph, err));
        PQ_TRY(pq_plan_engines(model->graph, engines, &n, err));
    }
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(start(model, engines[i], threads, batch, &runners[i], err));
        variants[i] = (pq_variant){.run = run_once, .context = &runners[i]};
    }
    PQ_TRY(make_inputs(runners, n, o.seed, err));
    PQ_TRY(pq_latency_measure(variants, n, &how, o.seed, &watch.progress, times, &timer_s,
                              err));
    for (size_t i = 1; i < n; i++) {
        best = times[i].throughput_s < times[best].throughput_s ? i : best;
    }
    give(&times[best], out);
    PQ_TRY(name_engine(&runners[best], engines[best], out, err));
cleanup:
    pq_free(runners[0].in);
    for (size_t i = 0; i < PQ_FAST_ENGINES; i++) {
        pq_crew_free(&runners[i].crew);
        pq_free(runners[i].out);
        pq_timing_free(&times[i]);
    }
    return st != PQ_OK;
}
