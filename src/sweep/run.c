#define _GNU_SOURCE
#include "sweep/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "store/lock.h"
#include "store/record.h"
#include "sweep/cell.h"
#include "sweep/key.h"
#include "sweep/merge.h"
#include "sweep/timing.h"
#include "sweep/worker.h"

static volatile sig_atomic_t stop_signal; /* set by the handler, read between polls */

static void on_signal(int number)
{
    stop_signal = number;
}

typedef struct {
    struct sigaction interrupt, terminate;
} old_handlers;

static void catch_signals(old_handlers *old)
{
    const struct sigaction ours = {.sa_handler = on_signal,
                                   .sa_flags   = (int)SA_RESETHAND};

    stop_signal = 0;
    (void)sigaction(SIGINT, &ours, &old->interrupt);
    (void)sigaction(SIGTERM, &ours, &old->terminate);
}

static void restore_signals(const old_handlers *old)
{
    (void)sigaction(SIGINT, &old->interrupt, NULL);
    (void)sigaction(SIGTERM, &old->terminate, NULL);
}

typedef enum { LEFT_ALONE, CACHED, WAITING, AT_WORK, COMPUTED, FAILED } cell_state;

/* A worker and the cell it is at. */
typedef struct {
    pq_worker       worker;
    size_t          cell;
    pq_cell_options options;
    const pq_cells *cells;
} slot;

typedef struct {
    const pq_cells         *cells;
    const pq_sweep_options *options;
    cell_state             *states; /* [cells->n] */
    size_t                  n_slots;
    slot                   *slots;
    size_t                  todo, ended;
    pq_shelf               *shelf; /* closed while cells are computed */
} sweep;

/* Between looks at the workers; a cell takes far longer. */
static void pause_briefly(void)
{
    const struct timespec pause = {0, 2000000};

    (void)nanosleep(&pause, NULL);
}

static bool selected(const sweep *s, const pq_cell *cell)
{
    return s->options->only == NULL ||
           pq_glob_match(s->options->only, cell->variant->label);
}

/* Opens the folder's records. */
static pq_status open_shelf(sweep *s, pq_err *err)
{
    return s->shelf != NULL ? PQ_OK : pq_shelf_open(s->cells->dir, &s->shelf, err);
}

/* Marks what is done, what is to be done, and what another cell of the same key will do.
 */
static pq_status sort_cells(sweep *s, pq_err *err)
{
    json_t   *keys = json_object(); /* of those that wait */
    pq_status st;

    PQ_CHECK(keys != NULL, PQ_ERR_NOMEM, "cannot allocate keys");
    PQ_TRY(open_shelf(s, err));
    for (size_t i = 0; i < s->cells->n; i++) {
        const pq_cell *cell = &s->cells->cells[i];
        if (!(s->options->force && selected(s, cell)) &&
            pq_shelf_done(s->shelf, cell->eval)) {
            s->states[i] = CACHED;
        } else if (selected(s, cell) && json_object_get(keys, cell->eval) == NULL) {
            PQ_CHECK(json_object_set_new_nocheck(keys, cell->eval, json_true()) == 0,
                     PQ_ERR_NOMEM, "cannot allocate keys");
            s->states[i] = WAITING;
            s->todo++;
        }
    }
    if (s->todo > 0) { /* what is on the shelf would be copied into every process */
        pq_shelf_close(&s->shelf);
    }
cleanup:
    json_decref(keys);
    return st;
}

/* Whether a worker is just making a prefix that this cell starts with. */
static bool prefix_at_work(const sweep *s, const pq_cell *cell)
{
    for (size_t i = 0; i < s->n_slots; i++) {
        const pq_cell *other = &s->cells->cells[s->slots[i].cell];
        const size_t   n     = cell->variant->n_stages < other->variant->n_stages
                                   ? cell->variant->n_stages
                                   : other->variant->n_stages;
        bool           made  = true;
        for (size_t k = n; k > 0 && s->slots[i].worker.pid != 0 && made; k--) {
            if (strcmp(cell->artifact[k], other->artifact[k]) == 0) {
                char *path = pq_artifact_path(s->cells, cell->artifact[k]);
                made       = pq_file_exists(path);
                pq_free(path);
                break;
            }
        }
        if (!made) {
            return true;
        }
    }
    return false;
}

static pq_status cell_work(void *context, pq_err *err)
{
    slot             *at       = context;
    const pq_progress progress = pq_worker_progress(&at->worker);

    at->options.progress = &progress;
    return pq_cell_compute(at->cells, &at->cells->cells[at->cell], &at->options, err);
}

static pq_status start_cell(sweep *s, slot *at, pq_err *err)
{
    const pq_config_limits *limits = &s->cells->config->limits;
    const size_t            cores  = pq_threads_available();

    for (size_t i = 0; i < s->cells->n; i++) {
        if (s->states[i] != WAITING || prefix_at_work(s, &s->cells->cells[i])) {
            continue;
        }
        at->cell  = i;
        at->cells = s->cells;
        at->options =
            (pq_cell_options){.threads = cores > s->n_slots ? cores / s->n_slots : 1,
                              .fresh   = s->options->force};
        s->states[i] = AT_WORK;
        return pq_worker_start(
            &at->worker, cell_work, at,
            (pq_worker_limits){limits->cell_timeout_s, limits->memory_bytes}, err);
    }
    return PQ_OK;
}

/* A worker has ended: its cell succeeded or its failure is recorded. */
static pq_status end_cell(sweep *s, const slot *at, pq_worker_state state,
                          const pq_err *why, double seconds, pq_err *err)
{
    const pq_cell *cell = &s->cells->cells[at->cell];
    pq_status      st   = PQ_OK;

    s->states[at->cell] = state == PQ_WORKER_OK ? COMPUTED : FAILED;
    s->ended++;
    pq_progress_report(s->options->progress, "cells", s->ended, s->todo,
                       cell->variant->label);
    if (state == PQ_WORKER_OK) {
        return PQ_OK;
    }
    if (state == PQ_WORKER_FAILED &&
        (why->code == PQ_ERR_IO || why->code == PQ_ERR_ACCESS)) {
        /* a full or unwritable disk is not the cell's fault: the sweep stops */
        return pq_err_set(err, why->code, __FILE__, __LINE__, "%s", why->message);
    }
    PQ_TRY(pq_cell_record_failure(s->cells, cell, pq_worker_state_name(state), why,
                                  seconds, err));
cleanup:
    return st;
}

/* Looks at one slot: ends what has ended, starts what can start. */
static pq_status tend(sweep *s, slot *at, bool *busy, pq_err *err)
{
    const double    start = at->worker.start_s;
    pq_err          why   = {0};
    pq_worker_state state = pq_worker_poll(&at->worker, &why);
    pq_status       st    = PQ_OK;

    if (state == PQ_WORKER_RUNNING) {
        *busy = true;
        return PQ_OK;
    }
    if (state != PQ_WORKER_IDLE) {
        PQ_TRY(end_cell(s, at, state, &why, pq_clock_wall_s() - start, err));
    }
    PQ_TRY(start_cell(s, at, err));
    *busy = *busy || at->worker.pid != 0;
cleanup:
    return st;
}

/* Shows what the first worker with something to tell is at. */
static void show_note(const sweep *s)
{
    char note[PQ_WORKER_NOTE], text[2 * PQ_WORKER_NOTE];

    for (size_t i = 0; i < s->n_slots; i++) {
        const slot *at = &s->slots[i];
        if (pq_worker_note(&at->worker, note)) {
            (void)snprintf(text, sizeof text, "%s: %s",
                           s->cells->cells[at->cell].variant->label, note);
            pq_progress_report(s->options->progress, "cells", s->ended, s->todo, text);
            return;
        }
    }
}

static pq_status compute_cells(sweep *s, pq_err *err)
{
    bool      busy = s->todo > 0;
    pq_status st   = PQ_OK;

    s->n_slots = s->options->jobs > 1 ? s->options->jobs : 1;
    PQ_NEW(s->slots, s->n_slots);
    pq_progress_report(s->options->progress, "cells", 0, s->todo, NULL);
    while (busy) {
        PQ_CHECK(stop_signal == 0, PQ_ERR_INTERRUPTED,
                 "interrupted by signal %d; what is done is kept", (int)stop_signal);
        busy = false;
        for (size_t i = 0; i < s->n_slots; i++) {
            PQ_TRY(tend(s, &s->slots[i], &busy, err));
        }
        if (busy) {
            show_note(s);
            pause_briefly();
        }
    }
cleanup:
    for (size_t i = 0; s->slots != NULL && i < s->n_slots; i++) {
        pq_worker_stop(&s->slots[i].worker);
    }
    pq_free(s->slots);
    s->slots = NULL;
    return st;
}

static pq_status timing_work(void *context, pq_err *err)
{
    return pq_cells_time(context, err);
}

/* Which cells lack which latency records. Those without a model cannot have any. */
static size_t find_due(const sweep *s, bool *due)
{
    const size_t sizes = s->cells->config->latency.batch.n;
    size_t       n     = 0;

    for (size_t i = 0; i < s->cells->n; i++) {
        const pq_cell *cell = &s->cells->cells[i];
        if (!selected(s, cell) || !pq_shelf_done(s->shelf, cell->eval)) {
            continue;
        }
        for (size_t b = 0; b < sizes; b++) {
            due[i * sizes + b] =
                s->options->force || !pq_shelf_done(s->shelf, cell->latency[b]);
            n += due[i * sizes + b];
        }
    }
    return n;
}

/* The models that are timed must be there; who cleared them away computes the cell again.
 */
static pq_status check_models(const sweep *s, const bool *due, pq_err *err)
{
    const size_t sizes = s->cells->config->latency.batch.n;
    pq_status    st    = PQ_OK;

    for (size_t i = 0; i < s->cells->n; i++) {
        const pq_cell *cell = &s->cells->cells[i];
        char          *path;
        bool           there;
        if (i != s->cells->reference && memchr(&due[i * sizes], true, sizes) == NULL) {
            continue;
        }
        path  = pq_artifact_path(s->cells, pq_cell_artifact(cell));
        there = pq_file_exists(path);
        pq_free(path);
        PQ_CHECK(there, PQ_ERR_CONFIG,
                 "cell '%s' cannot be timed: its model is not in %s/models; run with "
                 "--force or "
                 "without --only and --phase first",
                 cell->variant->label, s->cells->dir);
    }
cleanup:
    return st;
}

/* The latency of what is due, in one process beside nothing else. */
static pq_status time_cells(sweep *s, pq_sweep_summary *summary, pq_err *err)
{
    const pq_config *config = s->cells->config;
    bool            *due    = NULL;
    pq_timing_task   task   = {.cells = s->cells};
    pq_worker        worker = {0};
    pq_worker_state  state;
    pq_err           why = {0};
    size_t           n   = 0;
    pq_status        st;

    PQ_NEW(due, s->cells->n * config->latency.batch.n);
    PQ_TRY(open_shelf(s, err));
    n = find_due(s, due);
    if (n == 0) {
        goto cleanup;
    }
    PQ_TRY(check_models(s, due, err));
    task.due      = due;
    task.progress = s->options->progress;
    PQ_TRY(pq_worker_start(&worker, timing_work, &task, (pq_worker_limits){0}, err));
    while ((state = pq_worker_poll(&worker, &why)) == PQ_WORKER_RUNNING) {
        PQ_CHECK(stop_signal == 0, PQ_ERR_INTERRUPTED,
                 "interrupted by signal %d; what is done is kept", (int)stop_signal);
        pause_briefly();
    }
    PQ_CHECK(state == PQ_WORKER_OK, why.code, "latency: %s", why.message);
    summary->timed = n;
cleanup:
    pq_worker_stop(&worker);
    pq_free(due);
    return st;
}

/* Counts cells by how they stand now; the results are those of the plan, in its order. */
static void count_cells(const sweep *s, const json_t *results, pq_sweep_summary *summary)
{
    const json_t *all = json_object_get(results, "cells");

    summary->cells    = s->cells->n;
    summary->selected = summary->cached = summary->computed = summary->failed = 0;
    summary->missing                                                          = 0;
    for (size_t i = 0; i < s->cells->n; i++) {
        const json_t *status = json_object_get(json_array_get(all, i), "status");
        const char   *text   = json_is_string(status) ? json_string_value(status) : "";
        const bool    mine   = selected(s, &s->cells->cells[i]);
        summary->selected += mine;
        if (s->states[i] == CACHED) {
            summary->cached++;
        } else if (!mine || strcmp(text, "missing") == 0) {
            summary->missing++;
        } else if (strcmp(text, "ok") == 0 || strcmp(text, "infeasible") == 0) {
            summary->computed++;
        } else {
            summary->failed++;
        }
    }
}

static pq_status check_signal(pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(stop_signal == 0, PQ_ERR_INTERRUPTED,
             "interrupted by signal %d; what is done is kept", (int)stop_signal);
cleanup:
    return st;
}

static pq_status run_phases(sweep *s, unsigned phases, pq_sweep_summary *summary,
                            pq_err *err)
{
    pq_status st;

    PQ_TRY(check_signal(err)); /* while it was planned */
    if ((phases & PQ_PHASE_EVAL) != 0) {
        PQ_TRY(compute_cells(s, err));
    }
    if ((phases & PQ_PHASE_LATENCY) != 0 && s->cells->config->latency.wanted) {
        PQ_TRY(time_cells(s, summary, err));
    }
cleanup:
    return st;
}

/* Removes what cells left half written when they were killed. */
static void tidy(const char *dir)
{
    static const char *const folders[] = {"",       "cells", "models",
                                          "arrays", "cache", "plots"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = pq_path_join(dir, folders[i]);
        if (path != NULL) {
            pq_folder_tidy(path);
        }
        pq_free(path);
    }
}

/* The plan, for those who look on. */
static pq_status write_plan(const pq_cells *cells, pq_err *err)
{
    int       lock = -1;
    pq_status st;

    PQ_TRY(pq_folder_make(cells->dir, err));
    PQ_TRY(pq_results_lock(cells->dir, &lock, err));
    PQ_TRY(pq_cells_write(cells, err));
cleanup:
    pq_results_unlock(&lock);
    return st;
}

/* Tables of this run's plan: another run may have put its own there meanwhile. */
static pq_status end_run(sweep *s, bool whole, double start, pq_sweep_summary *done,
                         pq_err *err)
{
    const pq_cells  *cells   = s->cells;
    json_t          *results = NULL;
    pq_results_count count   = {0};
    int              lock    = -1;
    pq_status        st;

    PQ_TRY(pq_results_lock(cells->dir, &lock, err));
    PQ_TRY(pq_cells_write(cells, err));
    PQ_TRY(open_shelf(s, err));
    PQ_TRY(pq_sweep_collect(cells->dir, s->shelf, &results, &count, err));
    count_cells(s, results, done);
    done->seconds = pq_clock_wall_s() - start;
    done->table   = pq_path_join(cells->dir, "table.csv");
    PQ_CHECK(done->table != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (whole && s->options->finish != NULL) {
        PQ_TRY(s->options->finish(s->options->context, done, results, &count, err));
    }
cleanup:
    json_decref(results);
    pq_results_unlock(&lock);
    return st;
}

static pq_status run_cells(const pq_config *config, const pq_sweep_options *options,
                           pq_sweep_summary *done, pq_err *err)
{
    const double   start  = pq_clock_wall_s();
    const unsigned phases = options->phases == 0 ? PQ_PHASE_ALL : options->phases;
    pq_cells       cells  = {0};
    sweep          s      = {.cells = &cells, .options = options};
    pq_status      st, ran;

    PQ_TRY(pq_cells_plan(config, done->dir, &cells, err));
    PQ_TRY(write_plan(&cells, err));
    tidy(cells.dir);
    (void)snprintf(done->note, sizeof done->note, "%s", cells.note);
    PQ_NEW(s.states, cells.n);
    PQ_TRY(sort_cells(&s, err));
    ran = run_phases(&s, phases, done, err);
    tidy(cells.dir);
    if (ran == PQ_OK) {
        PQ_TRY(end_run(&s, true, start, done, err));
        PQ_TRY(check_signal(err)); /* while tables were made */
    } else if (ran == PQ_ERR_INTERRUPTED) {
        (void)end_run(&s, false, start, done, NULL);
    }
    st = ran;
cleanup:
    pq_shelf_close(&s.shelf);
    pq_free(s.states);
    pq_cells_free(&cells);
    return st;
}

pq_status pq_sweep_run(const pq_config *config, const pq_sweep_options *options,
                       pq_sweep_summary *summary, pq_err *err)
{
    old_handlers     old;
    pq_sweep_summary done = {0};
    pq_status        st;

    catch_signals(&old);
    done.dir = options->dir != NULL ? pq_strdup(options->dir) : pq_config_dir(config);
    PQ_CHECK(done.dir != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    st = run_cells(config, options, &done, err);
    if (st == PQ_OK || st == PQ_ERR_INTERRUPTED) {
        *summary = done;
        done     = (pq_sweep_summary){0};
    }
cleanup:
    restore_signals(&old);
    pq_sweep_summary_free(&done);
    return st;
}

void pq_sweep_summary_free(pq_sweep_summary *summary)
{
    pq_free(summary->dir);
    pq_free(summary->table);
    *summary = (pq_sweep_summary){0};
}
