/* Cells, a process each. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "io/hdf5.h"
#include "store/record.h"
#include "sweep/key.h"
#include "sweep/run_inside.h"
#include "sweep/stamp.h"

/* How the model of an artifact is now; false where there is none, or none that is newer
 * than this run. */
static bool stamp_model(const pq_cells *cells, const char *path, char out[PQ_HASH_TEXT])
{
    pq_stamp stamp;

    pq_stamp_start(&stamp);
    pq_stamp_add(&stamp, path);
    pq_stamp_end(&stamp, out);
    return !stamp.missing && pq_stamp_since(&stamp, cells->start);
}

/* Notes what a cell that has ended well has saved: it read it back, whole. */
static void note_models(sweep *s, const pq_cell *cell)
{
    for (size_t k = 1; k <= cell->variant->n_stages; k++) {
        char *path = pq_artifact_path(s->cells, cell->artifact[k]);
        char  stamp[PQ_HASH_TEXT];
        if (path != NULL && json_object_get(s->made, cell->artifact[k]) == NULL &&
            stamp_model(s->cells, path,
                        stamp)) { /* forgotten, it is read with more care */
            (void)json_object_set_new(s->made, cell->artifact[k], json_string(stamp));
        }
        pq_free(path);
    }
}

/* In a cell's process: opens models of prefixes that are as cells of this run left them
 * without a process of their own. */
static void trust_models(const slot *at, const pq_cell *cell)
{
    for (size_t k = 1; k <= cell->variant->n_stages; k++) {
        const char *known =
            json_string_value(json_object_get(at->made, cell->artifact[k]));
        char *path =
            known != NULL ? pq_artifact_path(at->cells, cell->artifact[k]) : NULL;
        char stamp[PQ_HASH_TEXT];
        if (path != NULL && stamp_model(at->cells, path, stamp) &&
            strcmp(stamp, known) == 0) {
            pq_h5_trust(path); /* which keeps the text */
        } else {
            pq_free(path);
        }
    }
}

static pq_status cell_work(void *context, pq_err *err)
{
    slot             *at       = context;
    const pq_progress progress = pq_worker_progress(&at->worker);

    trust_models(at, &at->cells->cells[at->cell]);

    at->options.progress = &progress;
    return pq_cell_compute(at->cells, &at->cells->cells[at->cell], &at->options, err);
}

/* Notes a cell that another worker has done. */
static void end_elsewhere(sweep *s, size_t i)
{
    const pq_cell *cell = &s->cells->cells[i];

    s->states[i] = pq_record_done(s->cells->dir, cell->eval) ? CACHED : FAILED;
    s->ended++;
    s->patience_s = 0.0;
    pq_progress_report(s->options->progress, "cells", s->ended, s->todo,
                       cell->variant->label);
}

/* A cell to be started, claimed; cells->n where none can be now. */
static size_t next_cell(sweep *s, pq_status *st, pq_err *err)
{
    static const double PATIENCE_MAX_S = 1.0;
    bool                taken = false, left = false;

    if (s->draining || pq_clock_wall_s() < s->look_again_s) {
        return s->cells->n;
    }
    while (s->first < s->cells->n && s->states[s->first] != WAITING) {
        s->first++;
    }
    for (size_t i = s->first; i < s->cells->n && *st == PQ_OK; i++) {
        const pq_cell *cell = &s->cells->cells[i];
        if (s->states[i] != WAITING) {
            continue;
        }
        if (!pq_sweep_ended_elsewhere(s, cell)) {
            *st = pq_sweep_claim(s, cell, &taken, err);
            if (*st != PQ_OK || !taken) {
                left = true;
                continue;
            }
        }
        if (!pq_sweep_ended_elsewhere(s, cell)) {
            return i;
        }
        pq_sweep_unclaim(s, cell, true); /* between the first look and the claim */
        end_elsewhere(s, i);
    }
    s->patience_s   = left ? fmin(PATIENCE_MAX_S, 2.0 * s->patience_s + 0.002) : 0.0;
    s->look_again_s = pq_clock_wall_s() + s->patience_s;
    return s->cells->n;
}

static pq_status start_cell(sweep *s, slot *at, pq_err *err)
{
    const pq_config_limits *limits = &s->cells->config->limits;
    const size_t            cores  = pq_threads_available();
    pq_status               st     = PQ_OK;
    const size_t            i      = next_cell(s, &st, err);

    if (st == PQ_OK && i < s->cells->n) {
        at->cell  = i;
        at->cells = s->cells;
        at->made  = s->made;
        at->options =
            (pq_cell_options){.threads = cores > s->n_slots ? cores / s->n_slots : 1,
                              .fresh   = s->options->force};
        s->states[i] = AT_WORK;
        st           = pq_worker_start(
                      &at->worker, cell_work, at,
                      (pq_worker_limits){limits->cell_timeout_s, limits->memory_bytes}, err);
    }
    return st;
}

/* A worker has ended: its cell succeeded or its failure is recorded. */
static pq_status end_cell(sweep *s, const slot *at, pq_worker_state state,
                          const pq_err *why, double seconds, pq_err *err)
{
    const pq_cell *cell = &s->cells->cells[at->cell];
    pq_status      st   = PQ_OK;

    s->states[at->cell] = state == PQ_WORKER_OK ? COMPUTED : FAILED;
    s->look_again_s     = 0.0;
    s->ended++;
    pq_progress_report(s->options->progress, "cells", s->ended, s->todo,
                       cell->variant->label);
    if (state == PQ_WORKER_OK) {
        note_models(s, cell);
        pq_sweep_unclaim(s, cell, true);
        return PQ_OK;
    }
    if (state == PQ_WORKER_CRASHED) { /* or ended by the signal that ends this run */
        PQ_TRY(pq_sweep_check_signal(err));
    }
    if (state == PQ_WORKER_FAILED &&
        (why->code == PQ_ERR_IO || why->code == PQ_ERR_ACCESS)) {
        /* a full or unwritable disk is not the cell's fault: the sweep stops */
        return pq_err_set(err, why->code, __FILE__, __LINE__, "%s", why->message);
    }
    PQ_TRY(
        pq_cell_record_failure(s->cells, cell,
                               &(pq_cell_failure){.phase   = "eval",
                                                  .key     = cell->eval,
                                                  .status  = pq_worker_state_name(state),
                                                  .why     = why,
                                                  .seconds = seconds},
                               err));
    pq_sweep_unclaim(s, cell, true);
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

/* Waits for a worker to end; where a cell waits for a prefix that one makes, looks often.
 */
static void wait_for_slots(const sweep *s, const pq_worker **workers)
{
    size_t running = 0;

    for (size_t i = 0; i < s->n_slots; i++) {
        workers[i] = &s->slots[i].worker;
        running += workers[i]->pid != 0;
    }
    pq_workers_wait(workers, s->n_slots,
                    running < s->n_slots && s->ended + running < s->todo
                        ? PQ_SWEEP_LOOK_S / 10
                        : PQ_SWEEP_LOOK_S);
}

pq_status pq_sweep_compute(sweep *s, pq_err *err)
{
    const pq_worker **workers = NULL;
    bool              busy    = true;
    pq_status         st      = PQ_OK;

    s->n_slots = s->options->jobs > 1 ? s->options->jobs : 1;
    PQ_NEW(s->slots, s->n_slots);
    PQ_NEW(workers, s->n_slots);
    s->made = json_object();
    PQ_CHECK(s->made != NULL, PQ_ERR_NOMEM, "cannot allocate a list of models");
    PQ_TRY(pq_cells_save_model(s->cells, err));
    pq_progress_report(s->options->progress, "cells", 0, s->todo, NULL);
    while (busy) {
        PQ_TRY(pq_sweep_check_signal(err));
        s->draining = pq_sweep_is_draining();
        pq_claims_beat(s->claims);
        busy = false;
        for (size_t i = 0; i < s->n_slots; i++) {
            PQ_TRY(tend(s, &s->slots[i], &busy, err));
        }
        if (!busy && s->draining && s->ended < s->todo) {
            st = pq_sweep_interrupted(err);
            goto cleanup;
        }
        busy = busy || s->ended < s->todo; /* by others */
        if (busy) {
            show_note(s);
            wait_for_slots(s, workers);
        }
    }
cleanup:
    for (size_t i = 0; s->slots != NULL && i < s->n_slots; i++) {
        pq_worker_stop(&s->slots[i].worker);
    }
    pq_free(s->slots);
    pq_free(workers);
    json_decref(s->made);
    s->made  = NULL;
    s->slots = NULL;
    return st;
}
