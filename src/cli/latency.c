/* pquant latency: how long a call takes, of models against each other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/instructions.h"
#include "cli/latency_plot.h"
#include "cli/verb.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/model.h"
#include "graph/head.h"
#include "lab/caller.h"
#include "store/json.h"

enum {
    MODELS     = 64,
    BATCHES    = 16, /* sizes in one run */
    BATCH_MOST = 65536
};

static const pq_option options[] = {
    {"engine", 0, "NAME", false, "float32",
     "engine that runs the models, or generated: C that is compiled and loaded"},
    {"batch", 0, "N[,N…]", false, "1",
     "events of a call, 1 to 65536; each is timed by itself"},
    {"cold", 0, "N", false, "0",
     "single calls timed in each cold state: first-level cache evicted, code and weights "
     "flushed (generated only), after 1 ms of sleep"},
    {"threads", 0, "N", false, "1", "threads of a call; more than one are not pinned"},
    {"target", 0, "TIME", false, NULL,
     "longest time of a call: exit code 1 where a model takes longer (100ns)"},
    {"plot", 0, "FILE", false, NULL,
     "also draw how single calls are distributed, with the target: .svg, .png or .pdf, "
     "of the first batch size and up to 8 models"},
    {"instructions", 0, NULL, false, NULL,
     "count the instructions of a call by valgrind, with kernels of AVX2 at most"},
    {"calls", 0, "N", false, NULL,
     "make N calls of each model without timing them, for counters and profilers"},
    {"logits", 0, NULL, false, NULL,
     "leave out a softmax at the end: a decision needs none"},
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    PQ_OUTPUT_LAYER_OPTION,
    {"format", 0, "table|json", false, "table", "output format"},
    {0},
};

/* A model that is timed; owns its parts. */
typedef struct {
    const char *path;
    pq_graph   *graph;
    pq_caller   caller;
    float      *in;
    double      instructions; /* of a call, or 0 */
} runner;

/* What is timed at one batch size. */
typedef struct {
    const pq_args *args;
    size_t         n, threads, batch;
    double         target; /* s, or NAN */
    runner         runners[MODELS];
    pq_timing      times[MODELS];
    double         timer_s;
} session;

/* Normal features; generated code takes them as measured, engines in the model's scale.
 */
static pq_status make_inputs(runner *r, bool raw, pq_err *err)
{
    const pq_graph *g      = r->graph;
    const bool      scaled = raw && g->scaler_mean != NULL;
    const size_t    call   = r->caller.batch * r->caller.item;
    pq_rng          rng    = pq_rng_stream(1, "latency");
    pq_status       st;

    r->caller.n_inputs = pq_timed_inputs(r->caller.batch, r->caller.item);
    PQ_NEW(r->in, r->caller.n_inputs * call);
    for (size_t i = 0; i < r->caller.n_inputs * call; i++) {
        const size_t c = scaled ? i % g->scaler_mean->count : 0;
        r->in[i]       = (float)pq_rng_normal(&rng);
        if (scaled) {
            r->in[i] = pq_f32(g->scaler_mean)[c] + pq_f32(g->scaler_std)[c] * r->in[i];
        }
    }
    r->caller.in = r->in;
cleanup:
    return st;
}

/* A model that was read, ready to be called. */
static pq_status open_caller(const session *s, runner *r, pq_err *err)
{
    const pq_caller_options how = {.engine  = pq_args_value(s->args, "engine"),
                                   .batch   = s->batch,
                                   .threads = s->threads,
                                   .raw     = true};
    pq_status               st;

    PQ_TRY(pq_graph_check(r->graph, err));
    if (pq_args_flag(s->args, "logits")) {
        pq_graph_leave_softmax(r->graph);
    }
    PQ_TRY(pq_caller_open(r->graph, &how, &r->caller, err));
    PQ_TRY(make_inputs(r, r->caller.crew == NULL, err));
    PQ_TRY(pq_caller_try(&r->caller, err));
cleanup:
    return st;
}

static pq_status start(const session *s, runner *r, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_model_load_output(r->path, pq_args_value(s->args, "arch"),
                                pq_args_value(s->args, "output-layer"), &r->graph, err));
    st = open_caller(s, r, err);
    if (st != PQ_OK) { /* what cannot be read is told with its path */
        pq_err_context(err, "%s", r->path);
    }
cleanup:
    return st;
}

static void stop(runner *r)
{
    pq_caller_close(&r->caller);
    pq_graph_free(&r->graph);
    pq_free(r->in);
    r->in = NULL;
}

static void add_times(json_t *o, const char *name, const double *values, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_real(values[i]));
    }
    (void)json_object_set_new(o, name, list);
}

/* Medians of single calls in cold states, and the calls. */
static void add_cold(json_t *o, const pq_timing *t)
{
    for (size_t i = 0; i < PQ_COLD_STATES; i++) {
        char name[32];
        if (t->n_cold[i] > 0) {
            (void)snprintf(name, sizeof name, "%s_s", pq_cold_names[i]);
            (void)json_object_set_new(o, name, json_real(t->cold_s[i]));
            (void)snprintf(name, sizeof name, "%s_shots_s", pq_cold_names[i]);
            add_times(o, name, t->cold[i], t->n_cold[i]);
        }
    }
}

static json_t *to_json(const session *s, size_t at)
{
    const runner    *r = &s->runners[at];
    const pq_timing *t = &s->times[at];
    json_t          *o = json_pack(
                 "{s:o, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
                          "s:f, "
                          "s:f, s:b, s:s}",
                 "model", pq_json_shown(r->path), "engine", pq_args_value(s->args, "engine"),
                 "batch", (json_int_t)s->batch, "threads", (json_int_t)s->threads, "throughput_s",
                 t->throughput_s, "throughput_lo", t->throughput_lo, "throughput_hi",
                 t->throughput_hi, "chain_s", t->chain_s, "call_s", pq_timing_call_s(t), "p50_s",
                 t->p50_s, "p90_s", t->p90_s, "p99_s", t->p99_s, "p999_s", t->p999_s, "ratio",
                 t->ratio, "ratio_lo", t->ratio_lo, "ratio_hi", t->ratio_hi, "timer_s", s->timer_s,
                 "noisy", t->noisy ? 1 : 0, "why", t->why);

    add_times(o, "samples_s", t->samples, t->n);
    add_times(o, "shots_s", t->shots, t->n_shots);
    add_cold(o, t);
    if (r->caller.code.run != NULL) {
        (void)json_object_set_new(o, "isa", json_string(r->caller.code.isa));
        (void)json_object_set_new(
            o, "code_bytes", json_integer((json_int_t)pq_caller_code_bytes(&r->caller)));
    }
    if (r->instructions > 0.0) {
        (void)json_object_set_new(o, "instructions", json_real(r->instructions));
    }
    if (!isnan(s->target)) {
        (void)json_object_set_new(o, "target_s", json_real(s->target));
        (void)json_object_set_new(o, "met",
                                  json_boolean(pq_timing_call_s(t) <= s->target));
    }
    return o;
}

static void say_row(const session *s, size_t at)
{
    const runner    *r    = &s->runners[at];
    const pq_timing *t    = &s->times[at];
    const bool       asks = !isnan(s->target);
    char             a[32], b[32], c[32], d[32];

    pq_say(stdout, "%-40s %6zu %10s %10s %10s %10s %6.2f%s%s%s\n", r->path, s->batch,
           pq_seconds_text(t->throughput_s, a, sizeof a),
           pq_seconds_text(t->chain_s, b, sizeof b),
           pq_seconds_text(t->p50_s, c, sizeof c), pq_seconds_text(t->p99_s, d, sizeof d),
           t->ratio,
           !asks                              ? ""
           : pq_timing_call_s(t) <= s->target ? "  met"
                                              : "  missed",
           t->noisy ? "  noisy: " : "", t->why);
    for (size_t i = 0, n = 0; i < PQ_COLD_STATES; i++) {
        if (t->n_cold[i] > 0) {
            pq_say(stdout, "%s%s %s", n++ == 0 ? "    single calls, median: " : ", ",
                   pq_cold_names[i], pq_seconds_text(t->cold_s[i], a, sizeof a));
        }
    }
    if (t->n_cold[PQ_COLD_L1] > 0) {
        pq_say(stdout, "\n");
    }
    if (r->instructions > 0.0) {
        pq_say(stdout, "    instructions of a call, kernels of AVX2 at most: %.0f\n",
               r->instructions);
    }
}

/* Rows of a session, as it ends, or objects for the list that is printed at the end. */
static void report(const session *s, bool first, json_t *all)
{
    if (all == NULL && first) {
        pq_say(stdout, "%-40s %6s %10s %10s %10s %10s %6s\n", "model", "batch",
               "back to b.", "chain", "p50", "p99", "ratio");
    }
    for (size_t i = 0; i < s->n; i++) {
        if (all != NULL) {
            (void)json_array_append_new(all, to_json(s, i));
        } else {
            say_row(s, i);
        }
    }
}

/* As many calls as take seconds under valgrind, some 50 times as long as without: a start
 * of the program differs from the next by up to 15,000 instructions. */
static pq_status count(session *s, runner *r, pq_err *err)
{
    pq_counted          what   = {.model  = r->path,
                                  .arch   = pq_args_value(s->args, "arch"),
                                  .output = pq_args_value(s->args, "output-layer"),
                                  .engine = pq_args_value(s->args, "engine"),
                                  .batch  = s->batch,
                                  .logits = pq_args_flag(s->args, "logits")};
    static const size_t many[] = {40000, 4000, 1000, 400, 100, 40, 10};
    static const double most   = 2e8;
    double              macs   = 0.0;
    size_t              k      = 0;

    for (size_t i = 0; i < r->graph->n_nodes; i++) {
        macs += (double)pq_node_macs(r->graph, i) * (double)s->batch;
    }
    while (k + 1 < sizeof many / sizeof *many && (double)many[k] * macs > most) {
        k++;
    }
    what.calls = many[k];
    return pq_count_instructions(&what, &r->instructions, err);
}

/* What --calls leaves nothing to do for. */
static pq_status check_calls(const pq_args *args, pq_err *err)
{
    static const char *const timed[] = {"target",       "plot",   "cold",
                                        "instructions", "format", NULL};
    pq_status                st      = PQ_OK;

    for (size_t i = 0; timed[i] != NULL && pq_args_value(args, "calls") != NULL; i++) {
        size_t n = 0;
        (void)pq_args_values(args, timed[i], &n);
        PQ_CHECK(n == 0, PQ_ERR_CONFIG, "--calls: nothing is timed, so leave --%s away",
                 timed[i]);
    }
cleanup:
    return st;
}

/* Calls alone, of one model after the other. */
static pq_status call_only(session *s, pq_err *err)
{
    volatile uint32_t sink = 0; /* nothing computed is unused */
    size_t            calls;
    pq_status         st;

    PQ_TRY(pq_args_size(s->args, "calls", 1, 1000000000, &calls, err));
    for (size_t i = 0; i < s->n; i++) {
        pq_variant v;
        s->runners[i].path = pq_args_get(s->args, i);
        PQ_TRY(start(s, &s->runners[i], err));
        v = pq_caller_variant(&s->runners[i].caller);
        for (size_t k = 0; k < calls; k++) {
            sink = v.run(v.context, k, 0);
        }
    }
    (void)sink;
cleanup:
    return st;
}

/* All models at one batch size, interleaved. */
static pq_status measure(session *s, pq_err *err)
{
    pq_latency_options how = {0};
    pq_variant         variants[MODELS];
    size_t             cold = 0;
    pq_status          st;

    PQ_TRY(pq_params_default(pq_latency_params, &how, err));
    PQ_TRY(pq_args_size(s->args, "cold", 0, 1000000, &cold, err));
    how.cold_shots = (int64_t)cold;
    how.pin        = s->threads == 1;
    for (size_t i = 0; i < s->n; i++) {
        s->runners[i].path = pq_args_get(s->args, i);
        PQ_TRY(start(s, &s->runners[i], err));
        variants[i] = pq_caller_variant(&s->runners[i].caller);
    }
    for (size_t i = 0; i < s->n && pq_args_flag(s->args, "instructions"); i++) {
        PQ_TRY(count(s, &s->runners[i], err));
    }
    PQ_TRY(pq_latency_measure(variants, s->n, &how, 1, NULL, s->times, &s->timer_s, err));
cleanup:
    return st;
}

static void end_session(session *s)
{
    for (size_t i = 0; i < s->n; i++) {
        stop(&s->runners[i]);
        pq_timing_free(&s->times[i]);
    }
}

/* "1,16,256" */
static pq_status read_batches(const pq_args *args, size_t *batches, size_t *n,
                              pq_err *err)
{
    char    **items = NULL;
    int64_t   value;
    pq_status st;

    PQ_TRY(pq_text_split(pq_args_value(args, "batch"), ',', &items, n, err));
    PQ_CHECK(*n >= 1 && *n <= BATCHES, PQ_ERR_CONFIG,
             "--batch: %zu sizes are given, not 1 to %d", *n, BATCHES);
    for (size_t i = 0; i < *n; i++) {
        PQ_CHECK(pq_parse_int(items[i], &value) && value >= 1 && value <= BATCH_MOST,
                 PQ_ERR_CONFIG, "--batch: '%s' is not a whole number in 1..%d", items[i],
                 BATCH_MOST);
        batches[i] = (size_t)value;
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(batches[k] != batches[i], PQ_ERR_CONFIG,
                     "--batch: %zu stands there twice", batches[i]);
        }
    }
cleanup:
    pq_free(items);
    return st;
}

/* The distribution of single calls of the first models. */
static pq_status draw(const session *s, pq_err *err)
{
    const json_t *pairs[PQ_CALLS_MOST] = {NULL};
    const char   *names[PQ_CALLS_MOST];
    pq_calls      calls = {.names  = names,
                           .pairs  = pairs,
                           .batch  = (long long)s->batch,
                           .target = s->target};
    const char   *path  = pq_args_value(s->args, "plot");
    bool          drawn = false;
    pq_status     st;

    for (; calls.n < s->n && calls.n < PQ_CALLS_MOST; calls.n++) {
        const pq_timing *t = &s->times[calls.n];
        names[calls.n]     = s->runners[calls.n].path;
        pairs[calls.n]     = pq_latency_pairs(t->shots, t->n_shots);
    }
    st = pq_latency_plot(&calls, path, &drawn, err);
    for (size_t i = 0; i < calls.n; i++) {
        json_decref((json_t *)pairs[i]);
    }
    if (st == PQ_OK) {
        pq_say(stderr, drawn ? "%s\n" : "note: %s is not drawn, there is no gnuplot\n",
               path);
    }
    return st;
}

static pq_status run_batch(session *s, bool first, json_t *all, int *exit_code,
                           pq_err *err)
{
    pq_status st;

    if (pq_args_value(s->args, "calls") != NULL) {
        st = call_only(s, err);
        goto cleanup;
    }
    PQ_TRY(measure(s, err));
    report(s, first, all);
    if (first && pq_args_value(s->args, "plot") != NULL) {
        PQ_TRY(draw(s, err));
    }
    for (size_t i = 0; !isnan(s->target) && i < s->n; i++) {
        *exit_code = pq_timing_call_s(&s->times[i]) <= s->target ? *exit_code : 1;
    }
cleanup:
    end_session(s);
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *text = pq_args_value(args, "target"), *plot = pq_args_value(args, "plot");
    const char *format, *engine = pq_args_value(args, "engine");
    session     s   = {.args = args, .n = pq_args_count(args), .target = (double)NAN};
    json_t     *all = NULL;
    size_t      batches[BATCHES], n = 0;
    double      plain; /* seconds without a unit are nanoseconds, more often than not */
    char        timer[32];
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(read_batches(args, batches, &n, err));
    PQ_TRY(check_calls(args, err));
    PQ_TRY(pq_args_size(args, "threads", 1, 256, &s.threads, err));
    PQ_CHECK(text == NULL || (pq_parse_real(text, PQ_UNIT_TIME, &s.target) &&
                              !pq_parse_real(text, PQ_UNIT_NONE, &plain) &&
                              isfinite(s.target) && s.target > 0.0),
             PQ_ERR_CONFIG,
             "--target: '%s' is no time above 0 with a unit, such as 100ns", text);
    PQ_CHECK(plot == NULL || pq_latency_plot_may(plot), PQ_ERR_CONFIG,
             "--plot: '%s' does not end in .svg, .png or .pdf", plot);
    PQ_CHECK(s.threads == 1 || strcmp(engine, pq_generated) != 0, PQ_ERR_CONFIG,
             "--threads: generated code runs in one thread");
    PQ_CHECK(s.threads == 1 || !pq_args_flag(args, "instructions"), PQ_ERR_CONFIG,
             "--instructions: they are counted in one thread");
    all = strcmp(format, "json") == 0 ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) {
        session one = s;
        one.batch   = batches[i];
        PQ_TRY(run_batch(&one, i == 0, all, exit_code, err));
        s.timer_s = one.timer_s;
    }
    if (pq_args_value(args, "calls") != NULL) {
        goto cleanup; /* nothing was timed */
    }
    if (all != NULL) {
        (void)pq_say_json(all);
    } else {
        pq_say(stdout,
               "engine %s, %s subtracted from single shots for the timer; batch: events "
               "of a call\n",
               engine, pq_seconds_text(s.timer_s, timer, sizeof timer));
    }
cleanup:
    json_decref(all);
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
