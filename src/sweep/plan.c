#include "sweep/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "formats/zoo.h"
#include "sweep/bounds.h"
#include "sweep/key.h"
#include "sweep/plan_inputs.h"

enum { CELLS_MAX = 1000000 };

static pq_status make_keys(const pq_cells *c, pq_cell *cell, pq_err *err)
{
    const size_t n    = cell->variant->n_stages;
    pq_text      text = {0};
    pq_status    st;

    PQ_NEW(cell->artifact, n + 1);
    for (size_t i = 0; i <= n; i++) {
        pq_key_artifact(c, cell, i, &text);
        PQ_TRY(pq_key_of(&text, cell->artifact[i], err));
        pq_text_free(&text);
    }
    pq_key_eval(c, cell, &text);
    PQ_TRY(pq_key_of(&text, cell->eval, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status make_latency_keys(const pq_cells *c, pq_cell *cell, pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    PQ_NEW(cell->latency, c->config->latency.batch.n);
    for (size_t i = 0; i < c->config->latency.batch.n; i++) {
        pq_key_latency(c, cell, i, &text);
        PQ_TRY(pq_key_of(&text, cell->latency[i], err));
        pq_text_free(&text);
    }
cleanup:
    pq_text_free(&text);
    return st;
}

static size_t repeats_of(const pq_config *config, const pq_case *variant)
{
    for (size_t s = 0; s < variant->n_stages; s++) {
        if (pq_stage_draws(&variant->stages[s])) {
            return (size_t)config->seeds.repeats;
        }
    }
    return 1;
}

/* The first repeat has the base seed itself, so that one repeat is what `compress` gives.
 */
static uint64_t seed_of(const pq_config *config, size_t repeat)
{
    pq_rng   rng  = pq_rng_stream((uint64_t)config->seeds.base, "repeat");
    uint64_t seed = (uint64_t)config->seeds.base;

    for (size_t i = 0; i < repeat; i++) {
        seed = pq_rng_bits(&rng);
    }
    return seed;
}

static pq_status list_cells(pq_cells *c, pq_err *err)
{
    size_t    n = 0;
    pq_status st;

    for (size_t p = 0; p < c->config->n_pipelines; p++) {
        for (size_t k = 0; k < c->config->pipelines[p].n_cases; k++) {
            n += repeats_of(c->config, &c->config->pipelines[p].cases[k]);
        }
    }
    PQ_CHECK(n <= CELLS_MAX, PQ_ERR_CONFIG,
             "%s: %zu cells with seeds.repeats = %lld; at most %d are run",
             c->config->path, n, (long long)c->config->seeds.repeats, CELLS_MAX);
    PQ_NEW(c->cells, n);
    for (size_t p = 0; p < c->config->n_pipelines; p++) {
        const pq_pipeline *pipeline = &c->config->pipelines[p];
        for (size_t k = 0; k < pipeline->n_cases; k++) {
            const pq_case *variant = &pipeline->cases[k];
            for (size_t r = 0; r < repeats_of(c->config, variant); r++) {
                pq_cell *cell = &c->cells[c->n];
                *cell         = (pq_cell){.order     = c->n,
                                          .pipeline  = pipeline,
                                          .variant   = variant,
                                          .repeat    = r,
                                          .seed      = seed_of(c->config, r),
                                          .reference = variant->n_stages == 0};
                c->n++;
                PQ_TRY(make_keys(c, cell, err));
                if (cell->reference && c->reference == SIZE_MAX) {
                    c->reference = cell->order;
                }
            }
        }
    }
cleanup:
    return st;
}

/* What is compared with the uncompressed model needs it. */
static pq_status check_reference(const pq_cells *c, pq_err *err)
{
    const char *who = c->config->latency.wanted ? "latency" : NULL;
    pq_status   st;

    for (size_t i = 0; i < c->config->n_constraints; i++) {
        const char *metric = c->config->constraints[i].metric;
        who                = pq_bound_is_loss(metric) ? metric : who;
    }
    PQ_CHECK(who == NULL || c->reference != SIZE_MAX, PQ_ERR_CONFIG,
             "%s: %s is relative to a pipeline without stages; add 'reference: []' to "
             "pipelines",
             c->config->path, who);
cleanup:
    return st;
}

pq_status pq_cells_plan(const pq_config *config, const char *dir, pq_cells *out,
                        pq_err *err)
{
    pq_cells     c    = {.config = config, .reference = SIZE_MAX};
    pq_hash_memo memo = {0};
    pq_status    st;

    c.dir = dir != NULL ? pq_strdup(dir) : pq_config_dir(config);
    PQ_CHECK(c.dir != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_hash_memo_open(c.dir, &memo, err));
    PQ_TRY(pq_cells_find_inputs(&c, &memo, err));
    PQ_TRY(list_cells(&c, err));
    PQ_TRY(check_reference(&c, err));
    for (size_t i = 0; config->latency.wanted && i < c.n; i++) {
        PQ_TRY(make_latency_keys(&c, &c.cells[i], err));
    }
    *out = c;
    c    = (pq_cells){0};
cleanup:
    pq_hash_memo_close(&memo);
    pq_cells_free(&c);
    return st;
}

/* Whether all inputs are there; the first that is not is told. */
static bool is_there(const pq_config *config, pq_err *missing)
{
    const bool  zoo     = config->model.arch != NULL && pq_zoo_has(config->model.arch);
    const char *names[] = {config->model.weights, zoo ? NULL : config->model.arch,
                           config->dataset.file};
    static const char *const what[] = {"model", "architecture", "dataset"};
    bool                     there  = true;

    for (size_t i = 0; there && i < 3; i++) {
        char *path = NULL;
        there      = names[i] == NULL ||
                pq_input_find(config, what[i], names[i], &path, missing) == PQ_OK;
        pq_free(path);
    }
    return there;
}

pq_status pq_cells_check(const pq_config *config, pq_err *missing, pq_err *err)
{
    pq_cells  c = {.config = config, .reference = SIZE_MAX};
    pq_status st;

    *missing = (pq_err){0};
    if (!is_there(config, missing)) {
        return PQ_OK;
    }
    PQ_TRY(pq_cells_find_inputs(&c, NULL, err));
    PQ_TRY(list_cells(&c, err));
    PQ_TRY(check_reference(&c, err));
cleanup:
    pq_cells_free(&c);
    return st;
}

void pq_cells_free(pq_cells *cells)
{
    for (size_t i = 0; i < cells->n; i++) {
        pq_free(cells->cells[i].artifact);
        pq_free(cells->cells[i].latency);
    }
    for (size_t i = 0; i < cells->n_inputs; i++) {
        pq_free(cells->inputs[i].path);
    }
    pq_free(cells->inputs);
    pq_free(cells->cells);
    pq_free(cells->dir);
    pq_free(cells->weights);
    pq_free(cells->arch);
    pq_free(cells->data);
    pq_free(cells->test);
    pq_free(cells->calib_data);
    pq_free(cells->calib);
    pq_free(cells->train);
    pq_free(cells->validation);
    *cells = (pq_cells){0};
}

void pq_cell_explain(const pq_cells *cells, const pq_cell *cell, pq_text *out)
{
    for (size_t i = 0; i <= cell->variant->n_stages; i++) {
        pq_text_add(out, "%s =\n", cell->artifact[i]);
        pq_key_artifact(cells, cell, i, out);
        pq_text_add(out, "\n");
    }
    pq_text_add(out, "%s =\n", cell->eval);
    pq_key_eval(cells, cell, out);
    for (size_t i = 0; cell->latency != NULL && i < cells->config->latency.batch.n; i++) {
        pq_text_add(out, "\n%s =\n", cell->latency[i]);
        pq_key_latency(cells, cell, i, out);
    }
}
