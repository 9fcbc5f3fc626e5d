#include "sweep/timing.h"

#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "formats/model.h"
#include "graph/head.h"
#include "sweep/engines.h"
#include "sweep/inputs.h"
#include "sweep/key.h"
#include "sweep/timing_inside.h"
#include "sweep/timing_process.h"

/* Distinct inputs to go round, taken from the test events, again from the start if there
 * are too few. */
static pq_status read_events(pq_timing_session *s, pq_err *err)
{
    const pq_cells        *c       = s->task->cells;
    pq_dataset            *dataset = NULL;
    const pq_dataset_info *info;
    size_t                 split = 0, n;
    pq_status              st;

    PQ_TRY(pq_cells_dataset(c, c->data, &dataset, err));
    PQ_TRY(pq_dataset_split(dataset, c->test, &split, err));
    info = pq_dataset_describe(dataset);
    PQ_CHECK(pq_shape_count(&info->sample, &s->item), PQ_ERR_SHAPE,
             "events are too large");
    s->n_inputs = pq_timed_inputs(s->batch, s->item);
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

/* A model on an engine, run once. */
static pq_status start(const pq_timing_session *s, const pq_graph *graph,
                       const char *engine, pq_runner *r, pq_err *err)
{
    const pq_caller_options how = {
        .engine = engine, .batch = s->batch, .threads = pq_timing_threads(s)};
    pq_status st;

    *r = (pq_runner){.engine = engine};
    PQ_TRY(pq_caller_open(graph, &how, &r->caller, err));
    r->caller.in       = s->events;
    r->caller.n_inputs = s->n_inputs;
    PQ_TRY(pq_caller_try(&r->caller, err));
cleanup:
    return st;
}

/* Times the engines of one model in turns, shortly; the fastest stays. */
static pq_status race(pq_timing_session *s, pq_runner *runners, size_t n,
                      pq_runner *winner, pq_err *err)
{
    const pq_latency_options brief = {.warmup_s      = 0.01,
                                      .samples       = 9,
                                      .sample_time_s = 0.002,
                                      .rounds        = 3,
                                      .max_s         = 1.0,
                                      .pin           = pq_timing_threads(s) == 1};
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
    runners[best] = (pq_runner){0};
    for (size_t i = 0; i < n; i++) {
        winner->race_s[i] = times[i].throughput_s;
        pq_timing_free(&times[i]);
    }
cleanup:
    return st;
}

/* What the record says of a model, which need not be there any more when others time it.
 */
static pq_status describe(const pq_timing_session *s, pq_runner *r, pq_err *err)
{
    pq_status st;

    pq_plan_kernels(pq_crew_plan(r->caller.crew), &r->kernels);
    PQ_CHECK(!r->kernels.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    r->code_bytes = pq_caller_code_bytes(&r->caller);
    if (s->n_takes > 1) {
        pq_caller_close(&r->caller);
    }
cleanup:
    return st;
}

static pq_status prepare(pq_timing_session *s, const pq_cell *cell, pq_err *err)
{
    const pq_cells *c     = s->task->cells;
    char           *path  = pq_artifact_path(c, pq_cell_artifact(cell));
    pq_graph       *graph = NULL;
    pq_runner       runners[PQ_FAST_ENGINES] = {{0}};
    pq_runner      *r                        = &s->runners[s->n++];
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
        runners[0] = (pq_runner){0};
    }
    r->cell = cell;
    r->path = path;
    path    = NULL;
    PQ_TRY(describe(s, r, err));
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_caller_close(&runners[i].caller);
    }
    pq_graph_free(&graph);
    pq_free(path);
    return st;
}

/* The reference first, then every due artifact once. */
static pq_status prepare_all(pq_timing_session *s, pq_err *err)
{
    const pq_cells *c = s->task->cells;
    pq_status       st;

    PQ_NEW(s->runners, c->n + 1);
    PQ_NEW(s->results, c->n + 1);
    PQ_NEW(s->takes, s->n_takes);
    PQ_TRY(prepare(s, &c->cells[c->reference], err));
    for (size_t i = 0; i < c->n; i++) {
        bool known = false;
        for (size_t k = 0; k < s->n; k++) {
            known = known || strcmp(s->runners[k].cell->latency[s->size],
                                    c->cells[i].latency[s->size]) == 0;
        }
        if (pq_timing_is_due(s, i) && !known) {
            PQ_TRY(prepare(s, &c->cells[i], err));
        }
    }
cleanup:
    return st;
}

static void end_session(pq_timing_session *s)
{
    for (size_t i = 0; i < s->n; i++) {
        pq_caller_close(&s->runners[i].caller);
        pq_free(s->runners[i].path);
        pq_text_free(&s->runners[i].kernels);
        pq_timing_free(&s->results[i]);
    }
    for (size_t i = 0; s->takes != NULL && i < s->n_takes; i++) {
        pq_takes_free(&s->takes[i]);
    }
    pq_free(s->events);
    pq_free(s->runners);
    pq_free(s->results);
    pq_free(s->takes);
}

static pq_status take_here(pq_timing_session *s, const pq_latency_options *how,
                           pq_err *err)
{
    pq_variant *variants = NULL;
    pq_status   st;

    PQ_NEW(variants, s->n);
    for (size_t i = 0; i < s->n; i++) {
        variants[i] = pq_caller_variant(&s->runners[i].caller);
    }
    PQ_TRY(pq_latency_take(variants, s->n, how,
                           (uint64_t)s->task->cells->config->seeds.base,
                           s->task->progress, &s->takes[0], err));
cleanup:
    pq_free(variants);
    return st;
}

/* Each process takes its share; *lost, the first that does not come back, ends it. */
static pq_status take_elsewhere(pq_timing_session *s, const pq_latency_options *how,
                                pq_worker_state *lost, pq_err *err)
{
    const pq_config *config = s->task->cells->config;
    pq_timed_model  *models = NULL;
    pq_timing_job    job    = {.program  = s->task->program,
                               .n        = s->n,
                               .batch    = s->batch,
                               .threads  = pq_timing_threads(s),
                               .logits   = config->latency.logits,
                               .n_inputs = s->n_inputs,
                               .item     = s->item,
                               .events   = s->events};
    pq_status        st;

    PQ_NEW(models, s->n);
    for (size_t i = 0; i < s->n; i++) {
        models[i] = (pq_timed_model){s->runners[i].path, s->runners[i].engine};
    }
    job.models = models;
    for (size_t p = 0; p < s->n_takes; p++) {
        pq_progress_report(s->task->progress, "processes of timing", p, s->n_takes, NULL);
        job.how  = pq_latency_share(how, p, s->n_takes);
        job.seed = (uint64_t)config->seeds.base + p;
        st       = pq_timing_process_run(&job, &s->takes[p], lost, err);
        if (st != PQ_OK) {
            pq_err_context(err, "process %zu of %zu that measured batch %zu", p + 1,
                           s->n_takes, s->batch);
            goto cleanup;
        }
    }
    pq_progress_report(s->task->progress, "processes of timing", s->n_takes, s->n_takes,
                       NULL);
cleanup:
    pq_free(models);
    return st;
}

static pq_status time_batch(const pq_timing_task *task, size_t size, pq_err *err)
{
    const pq_config   *config = task->cells->config;
    const double       begun  = pq_clock_wall_s();
    pq_latency_options how    = config->latency.options;
    pq_worker_state    lost   = PQ_WORKER_IDLE;
    pq_err             why    = {0};
    pq_timing_session  s      = {.task    = task,
                                 .size    = size,
                                 .batch   = (size_t)config->latency.batch.value[size],
                                 .n_takes = (size_t)config->latency.processes};
    pq_status          st;

    how.pin =
        how.pin && pq_timing_threads(&s) == 1; /* threads would share the one core */
    PQ_TRY(read_events(&s, err));
    PQ_TRY(prepare_all(&s, err));
    if (s.n_takes == 1) {
        PQ_TRY(take_here(&s, &how, err));
    } else if ((st = take_elsewhere(&s, &how, &lost, &why)) != PQ_OK) {
        PQ_CHECK(lost != PQ_WORKER_IDLE, st, "%s", why.message);
        PQ_TRY(pq_timing_write_loss(&s, lost, &why, pq_clock_wall_s() - begun, err));
        goto cleanup;
    }
    PQ_TRY(pq_latency_conclude(s.takes, s.n_takes, s.results, err));
    PQ_TRY(pq_cells_unchanged(task->cells, err));
    for (size_t i = 0; i < s.n; i++) {
        if (pq_timing_is_due(&s, s.runners[i].cell->order)) {
            PQ_TRY(pq_timing_write(&s, i, err));
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
