/* pquant latency: how long a call takes, of models against each other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "codegen/codegen.h"
#include "codegen/loaded.h"
#include "core/memory.h"
#include "core/rng.h"
#include "exec/crew.h"
#include "formats/model.h"
#include "graph/head.h"
#include "metrics/latency.h"

enum { INPUTS = 1024, INPUT_BYTES = 64 << 20, MODELS = 64 };

static const char generated[] = "generated";

static const pq_option options[] = {
    {"engine", 0, "NAME", false, "float32",
     "engine that runs the models, or generated: C that is compiled and loaded"},
    {"batch", 0, "N", false, "1", "events of a call"},
    {"cold", 0, "N", false, "0",
     "single calls timed in each cold state: first-level cache evicted, code and weights "
     "flushed (generated only), after 1 ms of sleep"},
    {"threads", 0, "N", false, "1", "threads of a call; more than one are not pinned"},
    {"target", 0, "TIME", false, NULL,
     "longest time of a call: exit code 1 where a model takes longer (100ns)"},
    {"logits", 0, NULL, false, NULL,
     "leave out a softmax at the end: a decision needs none"},
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    {"format", 0, "table|json", false, "table", "output format"},
    {0},
};

/* A model that is timed; owns its parts. */
typedef struct {
    const char *path;
    pq_graph   *graph;
    pq_crew    *crew; /* or: */
    pq_loaded   code;
    float      *in, *out;
    size_t      batch, item, n_inputs;
} runner;

static float run_once(void *context, size_t input)
{
    runner            *r  = context;
    const float *const in = r->in + input % r->n_inputs * r->batch * r->item;

    if (r->code.run != NULL) {
        r->code.run(in, r->out, r->batch);
        return r->out[0];
    }
    /* what has run once does not fail: sizes were checked when it was made */
    return pq_crew_run(r->crew, r->batch, &in, r->out, NULL) == PQ_OK ? r->out[0] : 0.0F;
}

/* Normal features; generated code takes them as measured, engines in the model's scale.
 */
static pq_status make_inputs(runner *r, bool raw, pq_err *err)
{
    const pq_graph *g      = r->graph;
    const bool      scaled = raw && g->scaler_mean != NULL;
    const size_t    most   = INPUT_BYTES / sizeof(float) / r->batch / r->item;
    pq_rng          rng    = pq_rng_stream(1, "latency");
    pq_status       st;

    r->n_inputs = most < 1 ? 1 : most < INPUTS ? most : INPUTS;
    PQ_NEW(r->in, r->n_inputs * r->batch * r->item);
    for (size_t i = 0; i < r->n_inputs * r->batch * r->item; i++) {
        const size_t c = scaled ? i % g->scaler_mean->count : 0;
        r->in[i]       = (float)pq_rng_normal(&rng);
        if (scaled) {
            r->in[i] = pq_f32(g->scaler_mean)[c] + pq_f32(g->scaler_std)[c] * r->in[i];
        }
    }
cleanup:
    return st;
}

static pq_status start(const pq_args *args, size_t threads, runner *r, pq_err *err)
{
    const char           *engine  = pq_args_value(args, "engine");
    const bool            compile = strcmp(engine, generated) == 0;
    const pq_plan_options how     = {engine, r->batch};
    size_t                input = 0, width = 0;
    const float          *in;
    pq_status             st;

    PQ_TRY(pq_model_load(r->path, pq_args_value(args, "arch"), &r->graph, err));
    PQ_TRY(pq_graph_check(r->graph, err));
    if (pq_args_flag(args, "logits")) {
        pq_graph_leave_softmax(r->graph);
    }
    while (r->graph->nodes[input].n_inputs > 0) {
        input++;
    }
    PQ_CHECK(pq_shape_count(&r->graph->nodes[input].shape, &r->item) &&
                 pq_shape_count(&r->graph->nodes[r->graph->output].shape, &width) &&
                 r->item <= SIZE_MAX / sizeof(float) / r->batch &&
                 width <= SIZE_MAX / sizeof(float) / r->batch,
             PQ_ERR_SHAPE, "its events are too large");
    PQ_TRY(make_inputs(r, compile, err));
    PQ_NEW(r->out, r->batch * width);
    if (compile) {
        PQ_TRY(pq_loaded_open(r->graph, &r->code, err));
    } else {
        PQ_TRY(pq_crew_create(r->graph, &how, threads, &r->crew, err));
        PQ_CHECK(pq_plan_inputs(pq_crew_plan(r->crew)) == 1, PQ_ERR_UNSUPPORTED,
                 "the model has %zu inputs; latency takes one",
                 pq_plan_inputs(pq_crew_plan(r->crew)));
        in = r->in;
        PQ_TRY(pq_crew_run(r->crew, r->batch, &in, r->out, err));
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", r->path);
    }
    return st;
}

static void flush(void *context)
{
    pq_loaded_flush(&((runner *)context)->code);
}

static void stop(runner *r)
{
    pq_crew_free(&r->crew);
    pq_loaded_close(&r->code);
    pq_graph_free(&r->graph);
    pq_free(r->in);
    pq_free(r->out);
}

static json_t *to_json(const runner *r, const char *engine, size_t threads,
                       const pq_timing *t, double timer_s, double target)
{
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
                  "s:f, s:b, s:s}",
                  "model", r->path, "engine", engine, "batch", (json_int_t)r->batch,
                  "threads", (json_int_t)threads, "throughput_s", t->throughput_s,
                  "throughput_lo", t->throughput_lo, "throughput_hi", t->throughput_hi,
                  "chain_s", t->chain_s, "call_s", pq_timing_call_s(t), "p50_s", t->p50_s,
                  "p90_s", t->p90_s, "p99_s", t->p99_s, "p999_s", t->p999_s, "timer_s",
                  timer_s, "noisy", t->noisy ? 1 : 0, "why", t->why);
    json_t *samples = json_array();

    for (size_t i = 0; i < t->n; i++) {
        (void)json_array_append_new(samples, json_real(t->samples[i]));
    }
    (void)json_object_set_new(o, "samples_s", samples);
    for (size_t i = 0; i < PQ_COLD_STATES; i++) {
        if (!isnan(t->cold_s[i])) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s_s", pq_cold_names[i]);
            (void)json_object_set_new(o, name, json_real(t->cold_s[i]));
        }
    }
    if (r->code.run != NULL) {
        (void)json_object_set_new(o, "isa", json_string(r->code.isa));
    }
    if (!isnan(target)) {
        (void)json_object_set_new(o, "target_s", json_real(target));
        (void)json_object_set_new(o, "met", json_boolean(pq_timing_call_s(t) <= target));
    }
    return o;
}

static void say_row(const runner *r, const pq_timing *t, double target)
{
    char a[32], b[32], c[32], d[32];

    pq_say(stdout, "%-40s %10s %10s %10s %10s %6.2f%s%s%s\n", r->path,
           pq_seconds_text(t->throughput_s, a, sizeof a),
           pq_seconds_text(t->chain_s, b, sizeof b),
           pq_seconds_text(t->p50_s, c, sizeof c), pq_seconds_text(t->p99_s, d, sizeof d),
           t->ratio,
           isnan(target)                   ? ""
           : pq_timing_call_s(t) <= target ? "  met"
                                           : "  missed",
           t->noisy ? "  noisy: " : "", t->why);
    for (size_t i = 0, n = 0; i < PQ_COLD_STATES; i++) {
        if (!isnan(t->cold_s[i])) {
            pq_say(stdout, "%s%s %s", n++ == 0 ? "    single calls, median: " : ", ",
                   pq_cold_names[i], pq_seconds_text(t->cold_s[i], a, sizeof a));
        }
    }
    if (!isnan(t->cold_s[PQ_COLD_L1])) {
        pq_say(stdout, "\n");
    }
}

static pq_status report(const pq_args *args, const runner *runners, size_t n,
                        size_t threads, const pq_timing *times, double timer_s,
                        double target, pq_err *err)
{
    const char *format = NULL, *engine = pq_args_value(args, "engine");
    json_t     *all = NULL;
    char        text[32];
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    if (strcmp(format, "json") == 0) {
        all = json_array();
        for (size_t i = 0; i < n; i++) {
            (void)json_array_append_new(
                all, to_json(&runners[i], engine, threads, &times[i], timer_s, target));
        }
        (void)pq_say_json(all);
        goto cleanup;
    }
    pq_say(stdout, "%-40s %10s %10s %10s %10s %6s\n", "model", "back to b.", "chain",
           "p50", "p99", "ratio");
    for (size_t i = 0; i < n; i++) {
        say_row(&runners[i], &times[i], target);
    }
    pq_say(stdout, "engine %s, batch %s, %s subtracted from single shots for the timer\n",
           engine, pq_args_value(args, "batch"),
           pq_seconds_text(timer_s, text, sizeof text));
cleanup:
    json_decref(all);
    return st;
}

static pq_status measure(const pq_args *args, runner *runners, size_t n, size_t threads,
                         double target, int *exit_code, pq_err *err)
{
    pq_latency_options how = {0};
    pq_variant         variants[MODELS];
    pq_timing          times[MODELS] = {{0}};
    size_t             cold          = 0;
    double             timer_s;
    pq_status          st;

    PQ_TRY(pq_params_default(pq_latency_params, &how, err));
    PQ_TRY(pq_args_size(args, "cold", 0, 1000000, &cold, err));
    how.cold_shots = (int64_t)cold;
    how.pin        = threads == 1;
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(start(args, threads, &runners[i], err));
        variants[i] = (pq_variant){run_once, &runners[i],
                                   runners[i].code.run != NULL ? flush : NULL};
    }
    PQ_TRY(pq_latency_measure(variants, n, &how, 1, NULL, times, &timer_s, err));
    PQ_TRY(report(args, runners, n, threads, times, timer_s, target, err));
    for (size_t i = 0; !isnan(target) && i < n; i++) {
        *exit_code = pq_timing_call_s(&times[i]) <= target ? *exit_code : 1;
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_timing_free(&times[i]);
    }
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char  *text = pq_args_value(args, "target");
    const size_t n    = pq_args_count(args);
    const char  *format;
    runner       runners[MODELS] = {{0}};
    size_t       batch = 1, threads = 1;
    double       target = (double)NAN;
    pq_status    st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_args_size(args, "batch", 1, 65536, &batch, err));
    PQ_TRY(pq_args_size(args, "threads", 1, 256, &threads, err));
    PQ_CHECK(text == NULL || (pq_parse_real(text, PQ_UNIT_TIME, &target) && target > 0.0),
             PQ_ERR_CONFIG, "--target: '%s' is no time above 0, such as 100ns", text);
    PQ_CHECK(threads == 1 || strcmp(pq_args_value(args, "engine"), generated) != 0,
             PQ_ERR_CONFIG, "--threads: generated code runs in one thread");
    for (size_t i = 0; i < n; i++) {
        runners[i].path  = pq_args_get(args, i);
        runners[i].batch = batch;
    }
    PQ_TRY(measure(args, runners, n, threads, target, exit_code, err));
cleanup:
    for (size_t i = 0; i < n; i++) {
        stop(&runners[i]);
    }
    return st;
}

const pq_verb pq_verb_latency = {
    .name      = "latency",
    .summary   = "time models against each other, the first one the reference",
    .arguments = "MODEL…",
    .min_args  = 1,
    .max_args  = MODELS,
    .options   = options,
    .example =
        "pquant latency datasets/models/jsc-mlp.h5 --engine generated --target 1us",
    .run = run,
};
