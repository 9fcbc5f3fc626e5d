/* Latency, beside nothing else. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/record.h"
#include "sweep/key.h"
#include "sweep/run_inside.h"
#include "sweep/timing.h"

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
        if (!s->mine[i] || !pq_shelf_done(s->shelf, cell->eval)) {
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

/* Of several runs on one host one measures at a time. */
static pq_status wait_for_turn(sweep *s, char key[PQ_HASH_TEXT], pq_err *err)
{
    char      host[64] = "";
    pq_text   text     = {0};
    bool      taken    = false;
    pq_status st       = PQ_OK;

    (void)gethostname(host, sizeof host - 1);
    pq_text_add(&text, "latency on %s", host);
    PQ_TRY(pq_key_of(&text, key, err));
    PQ_TRY(pq_sweep_open_claims(s, err));
    for (;;) {
        PQ_TRY(pq_claim_take(s->claims, key, &taken, err));
        if (taken) {
            break;
        }
        PQ_TRY(pq_sweep_check_signal(err));
        pq_workers_wait(NULL, 0, 0.1);
    }
cleanup:
    pq_text_free(&text);
    return st;
}

/* Timings that were due and have no numbers now. */
static size_t count_lost(const sweep *s, const bool *due)
{
    const size_t sizes = s->cells->config->latency.batch.n;
    size_t       n     = 0;

    for (size_t i = 0; i < s->cells->n * sizes; i++) {
        n += due[i] && !pq_record_done(s->cells->dir,
                                       s->cells->cells[i / sizes].latency[i % sizes]);
    }
    return n;
}

pq_status pq_sweep_time(sweep *s, pq_sweep_summary *summary, pq_err *err)
{
    const pq_config *config = s->cells->config;
    bool            *due    = NULL;
    pq_timing_task   task   = {.cells = s->cells};
    pq_worker        worker = {0};
    const pq_worker *at     = &worker;
    pq_worker_state  state;
    pq_err           why               = {0};
    size_t           n                 = 0;
    char             key[PQ_HASH_TEXT] = "";
    pq_status        st;

    PQ_NEW(due, s->cells->n * config->latency.batch.n);
    PQ_TRY(pq_sweep_open_shelf(s, err));
    if (find_due(s, due) == 0) {
        goto cleanup;
    }
    PQ_TRY(wait_for_turn(s, key, err));
    memset(due, 0, s->cells->n * config->latency.batch.n * sizeof *due);
    n = find_due(s, due); /* of what others have not timed meanwhile */
    if (n == 0) {
        goto cleanup;
    }
    PQ_TRY(check_models(s, due, err));
    PQ_CHECK(config->latency.processes == 1 || s->options->program != NULL,
             PQ_ERR_UNSUPPORTED,
             "latency.processes = %lld: only the program pquant starts processes that "
             "measure; here 1 is due",
             (long long)config->latency.processes);
    task.due      = due;
    task.program  = s->options->program;
    task.progress = s->options->progress;
    PQ_TRY(pq_worker_start(&worker, timing_work, &task, (pq_worker_limits){0}, err));
    while ((state = pq_worker_poll(&worker, &why)) == PQ_WORKER_RUNNING) {
        PQ_TRY(pq_sweep_check_signal(err));
        pq_claims_beat(s->claims);
        pq_workers_wait(&at, 1, PQ_SWEEP_LOOK_S);
    }
    PQ_CHECK(state == PQ_WORKER_OK, why.code, "latency: %s", why.message);
    summary->untimed = count_lost(s, due);
    summary->timed   = n - summary->untimed;
cleanup:
    pq_worker_stop(&worker);
    if (s->claims != NULL) {
        pq_claim_drop(s->claims, key);
    }
    pq_free(due);
    return st;
}
