#include "sweep/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/memory.h"
#include "core/rng.h"
#include "data/layout.h"
#include "formats/zoo.h"
#include "sweep/bounds.h"
#include "sweep/key.h"
#include "sweep/plan_inputs.h"

enum { CELLS_MAX = 1000000 };

/* Whether the cell's stage `i` and all before it are those of another cell, which has its
 * keys: neighbours of a sweep mostly differ in their last stages. */
static bool same_prefix(const pq_cell *cell, const pq_cell *other, size_t i)
{
    return other != NULL && i <= other->variant->n_stages && cell->seed == other->seed &&
           (i == 0 ||
            (cell->variant->stages[i - 1] == other->variant->stages[i - 1] &&
             memcmp(cell->artifact[i - 1], other->artifact[i - 1], PQ_HASH_TEXT) == 0));
}

/* `text` is scratch of all cells. */
static pq_status make_keys(const pq_cells *c, pq_cell *cell, pq_text *text, pq_err *err)
{
    const size_t   n     = cell->variant->n_stages;
    const pq_cell *other = cell->order > 0 ? &c->cells[cell->order - 1] : NULL;
    pq_status      st;

    PQ_NEW(cell->artifact, n + 1);
    for (size_t i = 0; i <= n; i++) {
        if (same_prefix(cell, other, i)) {
            memcpy(cell->artifact[i], other->artifact[i], PQ_HASH_TEXT);
            continue;
        }
        text->length = 0;
        pq_key_artifact(c, cell, i, text);
        PQ_TRY(pq_key_of(text, cell->artifact[i], err));
    }
    text->length = 0;
    pq_key_eval(c, cell, text);
    PQ_TRY(pq_key_of(text, cell->eval, err));
cleanup:
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
        if (pq_stage_draws(variant->stages[s])) {
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

static size_t count_cells(const pq_config *config)
{
    size_t n = 0;

    for (size_t p = 0; p < config->n_pipelines; p++) {
        for (size_t k = 0; k < config->pipelines[p].n_cases; k++) {
            n += repeats_of(config, &config->pipelines[p].cases[k]);
        }
    }
    return n;
}

static pq_status list_cells(pq_cells *c, pq_err *err)
{
    const size_t n    = count_cells(c->config);
    pq_text      text = {0};
    pq_status    st;

    PQ_CHECK(n <= CELLS_MAX, PQ_ERR_CONFIG,
             "%s: %zu cells with seeds.repeats = %lld; at most %d are run",
             c->config->path, n, (long long)c->config->seeds.repeats, CELLS_MAX);
    pq_key_evaluation(c, &text);
    PQ_TRY(pq_text_take(&text, &c->evaluation, err));
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
                PQ_TRY(make_keys(c, cell, &text, err));
                if (cell->reference && c->reference == SIZE_MAX) {
                    c->reference = cell->order;
                }
            }
        }
    }
cleanup:
    pq_text_free(&text);
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

/* Lists the cells within `limits.memory`, of which the configuration and what was read
 * have had their part. */
static pq_status list_within(pq_cells *c, bool latency, pq_err *err)
{
    const double limit = c->config->limits.memory_bytes;
    const size_t used  = pq_memory_bytes();
    pq_budget    budget;
    pq_status    st;

    pq_budget_start_bytes(&budget, !(limit > 0.0)         ? SIZE_MAX / 2
                                   : (size_t)limit > used ? (size_t)limit - used
                                                          : 0);
    PQ_TRY(list_cells(c, err));
    PQ_TRY(check_reference(c, err));
    for (size_t i = 0; latency && i < c->n; i++) {
        PQ_TRY(make_latency_keys(c, &c->cells[i], err));
    }
cleanup:
    st = pq_budget_end(&budget, c->config->path, st, err);
    if (st != PQ_OK && pq_budget_out_of_bytes(&budget)) {
        if (err != NULL) {
            *err = (pq_err){0};
        }
        st = pq_config_too_large(c->config, count_cells(c->config), limit, err);
    }
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
    PQ_TRY(list_within(&c, config->latency.wanted, err));
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
    PQ_TRY(list_within(&c, false, err));
cleanup:
    pq_cells_free(&c);
    return st;
}

void pq_cells_show(const pq_config *config, pq_text *out, pq_err *unknown)
{
    pq_cells      c = {.config = config, .reference = SIZE_MAX};
    pq_evaluation view;
    bool          asked = false;

    *unknown = (pq_err){0};
    for (size_t i = 0; i < config->n_metrics && !config->metrics[0].usual; i++) {
        asked = asked || config->metrics[i].usual;
    }
    asked = asked && pq_cells_find_inputs(&c, NULL, unknown) == PQ_OK;
    view  = pq_cells_view(&c);
    pq_config_show(config, asked ? &view : NULL, out);
    pq_cells_free(&c);
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
    pq_free(cells->evaluation);
    pq_free(cells->weights);
    pq_free(cells->arch);
    pq_free(cells->data);
    pq_free(cells->test);
    pq_free(cells->calib_data);
    pq_free(cells->calib);
    pq_free(cells->train);
    pq_free(cells->validation);
    pq_texts_free(&cells->features, cells->n_features);
    pq_texts_free(&cells->classes, cells->n_classes);
    pq_graph_free(&cells->model);
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
