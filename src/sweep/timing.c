#include "sweep/timing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/model.h"
#include "graph/head.h"
#include "lab/caller.h"
#include "store/record.h"
#include "sweep/cell.h"
#include "sweep/engines.h"
#include "sweep/inputs.h"
#include "sweep/key.h"

enum { DISTINCT_EVENTS = 1024, INPUT_BYTES = 64 << 20, SPREAD_MOST = 2048 };

/* A model ready to be timed; owns the caller. */
typedef struct {
    const pq_cell *cell;
    const char    *engine;
    double         race_s[PQ_FAST_ENGINES]; /* of the engines it was chosen from */
    pq_caller      caller;
} runner;

/* One batch size: all models that are timed together. */
typedef struct {
    const pq_timing_task *task;
    size_t                size; /* index of the batch size */
    size_t                batch;
    float                *events; /* [n_inputs * batch, item], of the test split */
    size_t                n_inputs, item;
    size_t                n;
    runner               *runners; /* [n]; the first is the reference */
    pq_variant           *variants;
    pq_timing            *results;
} session;

/* Distinct inputs to go round, taken from the test events, again from the start if there
 * are too few. */
static pq_status read_events(session *s, pq_err *err)
{
    const pq_cells        *c       = s->task->cells;
    pq_dataset            *dataset = NULL;
    const pq_dataset_info *info;
    size_t                 split = 0, most, n;
    pq_status              st;

    PQ_TRY(pq_cells_dataset(c, c->data, &dataset, err));
    PQ_TRY(pq_dataset_split(dataset, c->test, &split, err));
    info = pq_dataset_describe(dataset);
    PQ_CHECK(pq_shape_count(&info->sample, &s->item), PQ_ERR_SHAPE,
             "events are too large");
    most        = INPUT_BYTES / (s->batch * s->item * sizeof(float));
    s->n_inputs = s->batch >= DISTINCT_EVENTS ? 4 : DISTINCT_EVENTS / s->batch;
    s->n_inputs = most < 1 ? 1 : s->n_inputs > most ? most : s->n_inputs;
    n           = s->n_inputs * s->batch;
    PQ_NEW(s->events, n * s->item);
    for (size_t first = 0; first < n;) {
        const size_t   left = n - first, have = info->splits[split].n;
        const size_t   part  = left < have ? left : have;
        const pq_batch batch = {.x = s->events + first * s->item};
        PQ_TRY(pq_dataset_read(dataset, split, 0, part, &batch, err));
        first += part;
    }
cleanup:
    pq_dataset_close(&dataset);
    return st;
}

static size_t threads_of(const session *s)
{
    return (size_t)s->task->cells->config->latency.threads;
}

/* A model on an engine, run once. */
static pq_status start(const session *s, const pq_graph *graph, const char *engine,
                       runner *r, pq_err *err)
{
    const pq_caller_options how = {
        .engine = engine, .batch = s->batch, .threads = threads_of(s)};
    pq_status st;

    *r = (runner){.engine = engine};
    PQ_TRY(pq_caller_open(graph, &how, &r->caller, err));
    r->caller.in       = s->events;
    r->caller.n_inputs = s->n_inputs;
    PQ_TRY(pq_caller_try(&r->caller, err));
cleanup:
    return st;
}

/* Times the engines of one model in turns, shortly; the fastest stays. */
static pq_status race(session *s, runner *runners, size_t n, runner *winner, pq_err *err)
{
    const pq_latency_options brief = {.warmup_s      = 0.01,
                                      .samples       = 9,
                                      .sample_time_s = 0.002,
                                      .rounds        = 3,
                                      .max_s         = 1.0,
                                      .pin           = threads_of(s) == 1};
    pq_variant               variants[PQ_FAST_ENGINES];
    pq_timing                times[PQ_FAST_ENGINES] = {{0}};
    size_t                   best                   = 0;
    double                   timer_s;
    pq_status                st;

    for (size_t i = 0; i < n; i++) {
        variants[i] = pq_caller_variant(&runners[i].caller);
    }
    PQ_TRY(pq_latency_measure(variants, n, &brief,
                              (uint64_t)s->task->cells->config->seeds.base, NULL, times,
                              &timer_s, err));
    for (size_t i = 1; i < n; i++) {
        best = times[i].throughput_s < times[best].throughput_s ? i : best;
    }
    *winner       = runners[best];
    runners[best] = (runner){0};
    for (size_t i = 0; i < n; i++) {
        winner->race_s[i] = times[i].throughput_s;
        pq_timing_free(&times[i]);
    }
cleanup:
    return st;
}

static pq_status prepare(session *s, const pq_cell *cell, pq_err *err)
{
    const pq_cells *c     = s->task->cells;
    char           *path  = pq_artifact_path(c, pq_cell_artifact(cell));
    pq_graph       *graph = NULL;
    runner          runners[PQ_FAST_ENGINES] = {{0}};
    runner         *r                        = &s->runners[s->n];
    const char     *engines[PQ_FAST_ENGINES];
    size_t          n = 0;
    pq_status       st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_model_load(path, NULL, &graph, err));
    PQ_TRY(pq_graph_check(graph, err));
    PQ_TRY(pq_timed_engines(c->config, graph, engines, &n, err));
    if (c->config->latency.logits) {
        pq_graph_leave_softmax(graph);
    }
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(start(s, graph, engines[i], &runners[i], err));
    }
    if (n > 1) {
        PQ_TRY(race(s, runners, n, r, err));
    } else {
        *r         = runners[0];
        runners[0] = (runner){0};
    }
    r->cell             = cell;
    s->variants[s->n++] = pq_caller_variant(&r->caller);
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_caller_close(&runners[i].caller);
    }
    pq_graph_free(&graph);
    pq_free(path);
    return st;
}

static bool is_due(const session *s, size_t cell)
{
    return s->task->due[cell * s->task->cells->config->latency.batch.n + s->size];
}

/* The reference first, then every due artifact once. */
static pq_status prepare_all(session *s, pq_err *err)
{
    const pq_cells *c = s->task->cells;
    pq_status       st;

    PQ_NEW(s->runners, c->n + 1);
    PQ_NEW(s->variants, c->n + 1);
    PQ_NEW(s->results, c->n + 1);
    PQ_TRY(prepare(s, &c->cells[c->reference], err));
    for (size_t i = 0; i < c->n; i++) {
        bool known = false;
        for (size_t k = 0; k < s->n; k++) {
            known = known || strcmp(s->runners[k].cell->latency[s->size],
                                    c->cells[i].latency[s->size]) == 0;
        }
        if (is_due(s, i) && !known) {
            PQ_TRY(prepare(s, &c->cells[i], err));
        }
    }
cleanup:
    return st;
}

static pq_status add_metric(json_t *record, size_t batch, const char *name,
                            const double v[3], pq_better better, pq_err *err)
{
    const size_t n = strlen(name);
    char         path[64];
    pq_value     value = {
            .name = path, .value = v[0], .lo = v[1], .hi = v[2], .better = better};

    (void)pq_snprintf(path, sizeof path, "latency.b%zu.%s", batch, name);
    (void)pq_snprintf(value.unit, sizeof value.unit, "%s",
                      n > 2 && strcmp(name + n - 2, "_s") == 0 ? "s"
                      : strcmp(name, PQ_LATENCY_CODE) == 0     ? "byte"
                                                               : "");
    return pq_record_metric(record, &value, err);
}

/* In the order of add_metrics. */
const char *const pq_latency_values[] = {"throughput_s", "cpu_s", "chain_s", "call_s",
                                         "p50_s",        "p90_s", "p99_s",   "p999_s",
                                         "ratio",        NULL};

/* What not every model has: times in cold states, and the size of its code. */
static pq_status add_states(json_t *record, size_t batch, const pq_timing *t,
                            size_t code_bytes, pq_err *err)
{
    const double none = (double)NAN;
    char         name[32];
    pq_status    st = PQ_OK;

    for (size_t state = 0; state < PQ_COLD_STATES; state++) {
        const double cold[] = {t->cold_s[state], none, none};
        (void)pq_snprintf(name, sizeof name, "%s_s", pq_cold_names[state]);
        if (!isnan(cold[0])) {
            PQ_TRY(add_metric(record, batch, name, cold, PQ_BETTER_LOWER, err));
        }
    }
    if (code_bytes > 0) {
        const double code[] = {(double)code_bytes, none, none};
        PQ_TRY(add_metric(record, batch, PQ_LATENCY_CODE, code, PQ_BETTER_LOWER, err));
    }
cleanup:
    return st;
}

static pq_status add_metrics(json_t *record, size_t batch, const pq_timing *t,
                             pq_err *err)
{
    const double none       = (double)NAN;
    const double times[][3] = {{t->throughput_s, t->throughput_lo, t->throughput_hi},
                               {t->cpu_s, none, none},
                               {t->chain_s, none, none},
                               {pq_timing_call_s(t), none, none},
                               {t->p50_s, none, none},
                               {t->p90_s, none, none},
                               {t->p99_s, none, none},
                               {t->p999_s, none, none}};
    const double ratio[]    = {t->ratio, t->ratio_lo, t->ratio_hi};
    pq_status    st;

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        PQ_TRY(add_metric(record, batch, pq_latency_values[i], times[i], PQ_BETTER_LOWER,
                          err));
    }
    PQ_TRY(add_metric(record, batch, "ratio", ratio, PQ_BETTER_HIGHER, err));
cleanup:
    return st;
}

/* The calls themselves, all of one duration in one: [[ns, calls], …]. A clock of
 * nanoseconds gives few durations of short calls; of long ones, SPREAD_MOST at most by
 * steps of 2, 4, … ns. */
static json_t *spread_json(const double *sorted, size_t n, double *step_ns)
{
    for (*step_ns = 1.0;; *step_ns *= 2.0) {
        json_t    *pairs = json_array();
        double     last  = -1.0;
        json_int_t count = 0;
        for (size_t i = 0; i <= n && json_array_size(pairs) <= SPREAD_MOST; i++) {
            const double at =
                i < n ? *step_ns * floor(1e9 * sorted[i] / *step_ns + 0.5) : -1.0;
            if (count > 0 && (at < last || at > last)) {
                (void)json_array_append_new(pairs, json_pack("[f, I]", last, count));
                count = 0;
            }
            last = at;
            count++;
        }
        if (json_array_size(pairs) <= SPREAD_MOST) {
            return pairs;
        }
        json_decref(pairs);
    }
}

/* Single calls, hot and in each cold state. */
static json_t *shots_json(const pq_timing *t)
{
    json_t *all = json_object();

    for (size_t i = 0; i <= PQ_COLD_STATES; i++) {
        const bool   hot = i == PQ_COLD_STATES;
        const size_t n   = hot ? t->n_shots : t->n_cold[i];
        double       step;
        json_t      *pairs;
        if (n > 0) {
            pairs = spread_json(hot ? t->shots : t->cold[i], n, &step);
            (void)json_object_set_new(
                all, hot ? "hot" : pq_cold_names[i],
                json_pack("{s:f, s:o}", "step_ns", step, "ns_calls", pairs));
        }
    }
    return all;
}

static json_t *timing_json(const session *s, const runner *r, const pq_timing *t,
                           double timer_s)
{
    json_t       *samples = json_array(), *race = json_array(), *ratios = json_array();
    const double *reference = s->results[0].samples;

    for (size_t i = 0; i < PQ_FAST_ENGINES && r->race_s[i] > 0.0; i++) {
        (void)json_array_append_new(race, json_real(r->race_s[i]));
    }

    for (size_t i = 0; i < t->n; i++) {
        (void)json_array_append_new(samples, json_real(t->samples[i]));
        if (i < s->results[0].n && reference[i] > 0.0) { /* of the same sweep */
            (void)json_array_append_new(ratios, json_real(t->samples[i] / reference[i]));
        }
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:b, s:s, s:f, s:I, s:s, s:o, s:o}",
                     "batch", (json_int_t)s->batch, "threads",
                     (json_int_t)s->task->cells->config->latency.threads, "calls",
                     (json_int_t)t->calls, "samples", samples, "ratios", ratios, "noisy",
                     t->noisy, "why", t->why, "timer_s", timer_s, "variants",
                     (json_int_t)s->n, "engine", r->engine, "race_s", race, "shots",
                     shots_json(t));
}

static pq_status write_record(const session *s, size_t i, double timer_s, pq_err *err)
{
    const pq_cells *c    = s->task->cells;
    const pq_cell  *cell = s->runners[i].cell;
    json_t   *record  = pq_cell_record(c, cell, "latency", cell->latency[s->size], "ok");
    pq_text   kernels = {0};
    pq_status st;

    pq_plan_kernels(pq_crew_plan(s->runners[i].caller.crew), &kernels);

    PQ_CHECK(record != NULL &&
                 json_object_set_new(record, "metrics", json_object()) == 0 &&
                 json_object_set_new(
                     record, "timing",
                     timing_json(s, &s->runners[i], &s->results[i], timer_s)) == 0 &&
                 json_object_set_new(record, "provenance",
                                     pq_cell_provenance(c, s->runners[i].engine)) == 0 &&
                 !kernels.failed &&
                 json_object_set_new(json_object_get(record, "provenance"), "kernels",
                                     json_string(kernels.text)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a record");
    if (kernels.text != NULL && strstr(kernels.text, PQ_PLAN_INSTEAD) != NULL) {
        (void)json_object_set_new(json_object_get(record, "provenance"), "interpreted",
                                  json_true());
    }
    PQ_TRY(add_metrics(record, s->batch, &s->results[i], err));
    PQ_TRY(add_states(record, s->batch, &s->results[i],
                      pq_caller_code_bytes(&s->runners[i].caller), err));
    PQ_TRY(pq_record_write(c->dir, record, err));
cleanup:
    pq_text_free(&kernels);
    json_decref(record);
    return st;
}

static void end_session(session *s)
{
    for (size_t i = 0; i < s->n; i++) {
        pq_caller_close(&s->runners[i].caller);
        pq_timing_free(&s->results[i]);
    }
    pq_free(s->events);
    pq_free(s->runners);
    pq_free(s->variants);
    pq_free(s->results);
}

static pq_status time_batch(const pq_timing_task *task, size_t size, pq_err *err)
{
    const pq_config *config = task->cells->config;
    session          s      = {
                      .task = task, .size = size, .batch = (size_t)config->latency.batch.value[size]};
    pq_latency_options how = config->latency.options;
    double             timer_s;
    pq_status          st;

    how.pin = how.pin && threads_of(&s) == 1; /* threads would share the one core */
    PQ_TRY(read_events(&s, err));
    PQ_TRY(prepare_all(&s, err));
    PQ_TRY(pq_latency_measure(s.variants, s.n, &how, (uint64_t)config->seeds.base,
                              task->progress, s.results, &timer_s, err));
    PQ_TRY(pq_cells_unchanged(task->cells, err));
    for (size_t i = 0; i < s.n; i++) {
        if (is_due(&s, s.runners[i].cell->order)) {
            PQ_TRY(write_record(&s, i, timer_s, err));
        }
    }
cleanup:
    end_session(&s);
    return st;
}

pq_status pq_cells_time(const pq_timing_task *task, pq_err *err)
{
    const size_t sizes = task->cells->config->latency.batch.n;
    pq_status    st    = PQ_OK;

    for (size_t size = 0; size < sizes; size++) {
        bool any = false;
        for (size_t i = 0; i < task->cells->n; i++) {
            any = any || task->due[i * sizes + size];
        }
        if (any) {
            PQ_TRY(time_batch(task, size, err));
        }
    }
cleanup:
    return st;
}
