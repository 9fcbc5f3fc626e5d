#include "lab/bench.h"

#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/rng.h"
#include "exec/plan.h"
#include "graph/head.h"
#include "kernels/cpu.h"
#include "lab/calibrate.h"
#include "lab/caller.h"
#include "train/slopes.h"

enum { INPUTS = 16 /* distinct ones to go round */ };

static const pq_latency_options how = {.warmup_s      = 2e-3,
                                       .samples       = 15,
                                       .sample_time_s = 1e-3,
                                       .rounds        = 5,
                                       .max_s         = 10.0,
                                       .single_shots  = 0,
                                       .pin           = true};

/* Of single calls of generated C; a quarter of a second. */
static const pq_latency_options of_calls = {.warmup_s      = 2e-2,
                                            .samples       = 15,
                                            .sample_time_s = 2e-3,
                                            .rounds        = 5,
                                            .max_s         = 10.0,
                                            .single_shots  = 5000,
                                            .pin           = true};

/* A graph ready to run; owns both. */
typedef struct {
    pq_caller caller;
    float    *in; /* [INPUTS, batch, item] */
} runner;

static pq_status prepare(const pq_compress_options *o, const char *engine, size_t batch,
                         const pq_graph *graph, runner *r, pq_err *err)
{
    const pq_caller_options call = {
        .engine = engine, .batch = batch > 0 ? batch : 1, .threads = 1};
    pq_rng    rng = pq_rng_stream(o->seed, "stopwatch");
    size_t    n;
    pq_status st;

    PQ_TRY(pq_caller_open(graph, &call, &r->caller, err));
    PQ_CHECK(r->caller.item <= SIZE_MAX / sizeof(float) / INPUTS / call.batch,
             PQ_ERR_SHAPE, "inputs are too large");
    n = INPUTS * call.batch * r->caller.item;
    PQ_NEW(r->in, n);
    for (size_t i = 0; i < n; i++) {
        r->in[i] = (float)pq_rng_normal(&rng);
    }
    r->caller.in       = r->in;
    r->caller.n_inputs = INPUTS;
    PQ_TRY(pq_caller_try(&r->caller, err));
cleanup:
    return st;
}

static void end(runner *r)
{
    pq_caller_close(&r->caller);
    pq_free(r->in);
}

static pq_status time_graphs(void *context, size_t n, const pq_graph *const *graphs,
                             double *seconds, pq_err *err)
{
    const pq_compress_options *o        = context;
    runner                    *runners  = NULL;
    pq_variant                *variants = NULL;
    pq_timing                 *timings  = NULL;
    double                     timer_s;
    pq_status                  st;

    PQ_NEW(runners, n);
    PQ_NEW(variants, n);
    PQ_NEW(timings, n);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(prepare(o, o->engine, o->batch, graphs[i], &runners[i], err));
        variants[i] = pq_caller_variant(&runners[i].caller);
    }
    PQ_TRY(pq_latency_measure(variants, n, &how, o->seed, NULL, timings, &timer_s, err));
    for (size_t i = 0; i < n; i++) {
        seconds[i] = timings[i].throughput_s;
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        if (runners != NULL) {
            end(&runners[i]);
        }
        if (timings != NULL) {
            pq_timing_free(&timings[i]);
        }
    }
    pq_free(runners);
    pq_free(variants);
    pq_free(timings);
    return st;
}

static pq_status time_call(void *context, const pq_graph *graph, bool logits,
                           double *seconds, pq_err *err)
{
    const pq_compress_options *o       = context;
    pq_graph                  *part    = NULL;
    runner                     r       = {0};
    pq_timing                  timing  = {0};
    pq_text                    kernels = {0};
    pq_variant                 variant;
    double                     timer_s;
    pq_status                  st;

    PQ_TRY(pq_graph_clone(graph, &part, err));
    PQ_TRY(pq_graph_check(part, err));
    if (logits) {
        pq_graph_leave_softmax(part);
    }
    PQ_TRY(prepare(o, pq_generated, 1, part, &r, err));
    variant = pq_caller_variant(&r.caller);
    pq_plan_kernels(pq_crew_plan(r.caller.crew), &kernels);
    PQ_CHECK(!kernels.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_CHECK(strstr(kernels.text, PQ_PLAN_INSTEAD) == NULL, PQ_ERR_UNSUPPORTED,
             "generated C cannot be timed: %s", kernels.text);
    PQ_TRY(pq_latency_measure(&variant, 1, &of_calls, o->seed, NULL, &timing, &timer_s,
                              err));
    *seconds = pq_timing_call_s(&timing);
cleanup:
    end(&r);
    pq_graph_free(&part);
    pq_timing_free(&timing);
    pq_text_free(&kernels);
    return st;
}

static pq_status calibrate(void *context, const pq_graph *graph, unsigned needs,
                           pq_calib **out, pq_err *err)
{
    const pq_compress_options *o = context;

    return pq_calibrate(graph, o->dataset, o->calib_split, needs, o->calib_events,
                        o->seed, out, err);
}

static pq_status run_events(void *context, const pq_graph *graph, size_t node,
                            pq_bench_seen seen, void *sink, pq_err *err)
{
    const pq_compress_options *o       = context;
    const pq_plan_options      options = {.engine = "float32", .batch = PQ_CALIB_BATCH};
    pq_graph                  *part    = NULL;
    pq_plan                   *plan    = NULL;
    pq_status                  st;

    PQ_TRY(pq_graph_clone(graph, &part, err));
    part->output = node; /* a plan leaves out what its output does not depend on */
    PQ_TRY(pq_plan_create(part, &options, &plan, err));
    PQ_TRY(pq_calib_run(plan, part, o->dataset, o->calib_split, o->calib_events, o->seed,
                        seen, sink, err));
cleanup:
    pq_plan_free(&plan);
    pq_graph_free(&part);
    return st;
}

static pq_status run_slopes(void *context, const pq_graph *graph, pq_bench_slopes seen,
                            void *sink, pq_err *err)
{
    const pq_compress_options *o     = context;
    size_t                    *index = NULL, n;
    pq_status                  st;

    PQ_TRY(pq_calib_choose(o->dataset, o->calib_split, o->calib_events, o->seed, &index,
                           &n, err));
    PQ_TRY(pq_slopes_run(graph, o->dataset, o->calib_split, index, n, seen, sink, err));
cleanup:
    pq_free(index);
    return st;
}

pq_status pq_bench_of(pq_compress_options *options, pq_bench *out, pq_err *err)
{
    *out = (pq_bench){.run       = run_events,
                      .slopes    = run_slopes,
                      .time      = time_graphs,
                      .calibrate = options->dataset != NULL ? calibrate : NULL,
                      .call      = time_call,
                      .context   = options};
    return options->dataset != NULL
               ? pq_calib_count(options->dataset, options->calib_split,
                                options->calib_events, &out->events, err)
               : PQ_OK;
}

void pq_bench_describe(const char *engine, size_t batch, pq_text *out)
{
    char cpu[64] = "", host[64] = "";

    (void)gethostname(host, sizeof host - 1);
    pq_text_add(out, "times of engine %s, batch %zu: %lld samples of %g s\n", engine,
                batch, (long long)how.samples, how.sample_time_s);
    pq_text_add(out, "host %s, %s\ncompiler %s\n", host, pq_cpu_name(cpu, sizeof cpu),
                __VERSION__);
}
