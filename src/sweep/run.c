#define _GNU_SOURCE
#include "sweep/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "store/lock.h"
#include "sweep/made.h"
#include "sweep/merge.h"
#include "sweep/run_inside.h"

static volatile sig_atomic_t stop_signal; /* set by the handler, read between polls */

static void on_signal(int number)
{
    stop_signal = number;
}

static const int caught[] = {SIGINT, SIGTERM, SIGUSR1};

enum { N_CAUGHT = sizeof caught / sizeof *caught };

typedef struct {
    struct sigaction of[N_CAUGHT];
} old_handlers;

static void catch_signals(old_handlers *old)
{
    const struct sigaction ours = {.sa_handler = on_signal,
                                   .sa_flags   = (int)SA_RESETHAND};

    stop_signal = 0;
    for (size_t i = 0; i < N_CAUGHT; i++) {
        (void)sigaction(caught[i], &ours, &old->of[i]);
    }
}

static void restore_signals(const old_handlers *old)
{
    for (size_t i = 0; i < N_CAUGHT; i++) {
        (void)sigaction(caught[i], &old->of[i], NULL);
    }
}

bool pq_sweep_is_draining(void)
{
    return stop_signal == SIGUSR1;
}

pq_status pq_sweep_interrupted(pq_err *err)
{
    return pq_err_set(err, PQ_ERR_INTERRUPTED, __FILE__, __LINE__,
                      "interrupted by signal %d; what is done is kept", (int)stop_signal);
}

pq_status pq_sweep_check_signal(pq_err *err)
{
    return stop_signal == 0 || pq_sweep_is_draining() ? PQ_OK : pq_sweep_interrupted(err);
}

/* Opens the folder's records. */
pq_status pq_sweep_open_shelf(sweep *s, pq_err *err)
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
    PQ_TRY(pq_sweep_open_shelf(s, err));
    for (size_t i = 0; i < s->cells->n; i++) {
        const pq_cell *cell = &s->cells->cells[i];
        /* looked at first: a record that another worker writes from here on is news */
        s->seen[i] = pq_sweep_look(s, cell);
        if (!(s->options->force && s->mine[i]) && pq_shelf_done(s->shelf, cell->eval)) {
            s->states[i] = CACHED;
        } else if (s->mine[i] && json_object_get(keys, cell->eval) == NULL) {
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

/* Counts cells by how they stand now; the results are those of the plan, in its order,
 * NULL when nothing was to be computed. */
static void count_cells(const sweep *s, const json_t *results, pq_sweep_summary *summary)
{
    const json_t *all = results != NULL ? json_object_get(results, "cells") : NULL;

    summary->cells    = s->cells->n;
    summary->selected = summary->cached = summary->computed = summary->failed = 0;
    summary->missing                                                          = 0;
    for (size_t i = 0; i < s->cells->n; i++) {
        const json_t *status = json_object_get(json_array_get(all, i), "status");
        const char   *text   = json_is_string(status) ? json_string_value(status) : "";
        const bool    mine   = s->mine[i];
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

static pq_status run_phases(sweep *s, unsigned phases, pq_sweep_summary *summary,
                            pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_sweep_check_signal(err)); /* while it was planned */
    if ((phases & PQ_PHASE_EVAL) != 0 && s->todo > 0) {
        PQ_TRY(pq_sweep_open_claims(s, err));
        PQ_TRY(pq_sweep_compute(s, err));
    }
    if ((phases & PQ_PHASE_LATENCY) != 0 && s->cells->config->latency.wanted &&
        s->options->shard.parts == 0) {
        if (pq_sweep_is_draining()) {
            st = pq_sweep_interrupted(err);
            goto cleanup;
        }
        PQ_TRY(pq_sweep_time(s, summary, err));
    }
    pq_sweep_tidy_claims(s);
cleanup:
    pq_claims_close(&s->claims);
    return st;
}

/* The plan, for those who look on. */
static pq_status write_plan(sweep *s, pq_err *err)
{
    int       lock = -1;
    pq_status st;

    PQ_TRY(pq_cells_text(s->cells, &s->plan, err));
    PQ_TRY(pq_folder_make(s->cells->dir, err));
    PQ_TRY(pq_results_lock(s->cells->dir, &lock, err));
    PQ_TRY(pq_plan_write(s->cells->dir, &s->plan, err));
cleanup:
    pq_results_unlock(&lock);
    return st;
}

/* Results of the cells selected and what they are compared with: where everything is made
 * already, nobody needs the others. */
static pq_status collect_selected(const sweep *s, json_t **results,
                                  pq_results_count *count, pq_err *err)
{
    bool     *chosen = NULL;
    json_t   *plan   = NULL;
    pq_status st;

    PQ_NEW(chosen, s->cells->n);
    for (size_t i = 0; i < s->cells->n; i++) {
        chosen[i] = i == s->cells->reference || s->mine[i];
    }
    plan = pq_cells_json(s->cells, chosen);
    PQ_CHECK(plan != NULL, PQ_ERR_NOMEM, "cannot allocate results");
    PQ_TRY(pq_results_fill(plan, s->shelf, count, err));
    *results = plan;
    plan     = NULL;
cleanup:
    json_decref(plan);
    pq_free(chosen);
    return st;
}

/* Tables of this run's plan: another run may have put its own there meanwhile. */
static pq_status end_run(sweep *s, bool whole, double start, pq_sweep_summary *done,
                         pq_err *err)
{
    const pq_cells  *cells   = s->cells;
    const bool       idle    = s->todo == 0 && done->timed == 0;
    json_t          *results = NULL;
    pq_results_count count   = {0};
    int              lock    = -1;
    pq_status        st;

    PQ_TRY(pq_results_lock(cells->dir, &lock, err));
    PQ_TRY(pq_plan_write(cells->dir, &s->plan, err));
    PQ_TRY(pq_sweep_open_shelf(s, err));
    pq_made_hash(cells, &s->plan, s->shelf, done->made_of);
    done->made = pq_made_is(cells->dir, done->made_of);
    if (done->made && idle && s->options->only != NULL) {
        PQ_TRY(collect_selected(s, &results, &count, err));
        count_cells(s, NULL, done);
    } else {
        PQ_TRY(pq_sweep_collect(cells->dir, s->shelf, done->made, &results, &count, err));
        count_cells(s, results, done);
    }
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

/* A shard makes no tables: its records are the result. */
static void end_shard(const sweep *s, double start, pq_sweep_summary *done)
{
    for (size_t i = 0; i < s->cells->n; i++) {
        const cell_state state = s->states[i];
        done->cells++;
        done->selected += s->mine[i];
        done->cached += s->mine[i] && state == CACHED;
        done->computed += state == COMPUTED;
        done->failed += state == FAILED;
        done->missing += state == WAITING || state == AT_WORK;
    }
    done->seconds = pq_clock_wall_s() - start;
}

/* What is selected, what is done, and what is to be done. */
static pq_status prepare(sweep *s, pq_err *err)
{
    const size_t n = s->cells->n;
    pq_status    st;

    PQ_NEW(s->states, n);
    PQ_NEW(s->mine, n);
    PQ_NEW(s->seen, n);
    PQ_TRY(pq_cells_select(s->cells, s->options->only, s->mine, err));
    PQ_TRY(pq_cells_shard(s->cells, s->options->shard, s->mine, err));
    PQ_TRY(sort_cells(s, err));
cleanup:
    return st;
}

static pq_status run_cells(const pq_config *config, const pq_sweep_options *options,
                           pq_sweep_summary *done, pq_err *err)
{
    const double   start  = pq_clock_wall_s();
    const unsigned phases = options->collect       ? 0
                            : options->phases == 0 ? PQ_PHASE_ALL
                                                   : options->phases;
    pq_cells       cells  = {0};
    sweep          s      = {.cells = &cells, .options = options};
    pq_status      st, ran;

    PQ_TRY(pq_cells_plan(config, done->dir, &cells, err));
    PQ_TRY(write_plan(&s, err));
    (void)snprintf(done->note, sizeof done->note, "%s", cells.note);
    PQ_TRY(prepare(&s, err));
    ran = run_phases(&s, phases, done, err);
    pq_sweep_tidy(cells.dir); /* of those, too, that were dying when this run began */
    if (options->shard.parts > 0) {
        end_shard(&s, start, done);
    } else if (ran == PQ_OK) {
        PQ_TRY(end_run(&s, true, start, done, err));
        PQ_TRY(pq_sweep_check_signal(err)); /* while tables were made */
    } else if (ran == PQ_ERR_INTERRUPTED) {
        (void)end_run(&s, false, start, done, NULL);
    }
    st = ran;
cleanup:
    pq_shelf_close(&s.shelf);
    pq_text_free(&s.plan);
    pq_free(s.states);
    pq_free(s.mine);
    pq_free(s.seen);
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
    st          = run_cells(config, options, &done, err);
    done.signal = (int)stop_signal;
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
