#include "sweep/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/zoo.h"
#include "lab/evaluate.h"
#include "sweep/inputs.h"
#include "sweep/key.h"

static pq_status hash_model(pq_cells *c, const pq_graph *graph, pq_hash_memo *memo,
                            pq_err *err)
{
    const pq_config_model *m = &c->config->model;
    char                   key[PQ_HASH_TEXT], arch[PQ_HASH_TEXT] = "";
    char                  *how = NULL;
    bool                   settled, zoo;
    pq_status              st;

    if (m->zoo != NULL) {
        return pq_graph_hash(graph, c->model_hash, err);
    }
    zoo     = c->arch != NULL && pq_zoo_has(c->arch);
    settled = c->arch == NULL || zoo || pq_hash_memo_key(c->arch, "arch", arch);
    how     = pq_format("model|%s|%s|%s", zoo ? c->arch : arch,
                    m->format != NULL ? m->format : "",
                    m->classes != NULL ? m->classes : "");
    PQ_CHECK(how != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    settled = pq_hash_memo_key(c->weights, how, key) && settled;
    if (settled && pq_hash_memo_get(memo, key) != NULL) {
        memcpy(c->model_hash, pq_hash_memo_get(memo, key), PQ_HASH_TEXT);
        goto cleanup;
    }
    PQ_TRY(pq_graph_hash(graph, c->model_hash, err));
    if (settled) {
        pq_hash_memo_put(memo, key, c->model_hash);
    }
cleanup:
    pq_free(how);
    return st;
}

/* Hash of one split of an open dataset. */
static pq_status hash_split(const pq_cells *c, pq_dataset *dataset, const char *split,
                            pq_hash_memo *memo, char out[PQ_HASH_TEXT], pq_err *err)
{
    const pq_config_dataset *d = &c->config->dataset;
    char                     key[PQ_HASH_TEXT];
    char                    *how = NULL;
    size_t                   i   = 0;
    bool                     settled;
    pq_status                st;

    PQ_TRY(pq_dataset_split(dataset, split, &i, err));
    how =
        pq_format("split rule 2|%s|%s|%s|%s|%s|%s|%d", split,
                  d->layout != NULL ? d->layout : "", d->inputs != NULL ? d->inputs : "",
                  d->label != NULL ? d->label : "", d->labels != NULL ? d->labels : "",
                  d->splits != NULL ? d->splits : "", d->nonfinite);
    PQ_CHECK(how != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    /* Values put for others are counted while they are read. */
    settled = d->nonfinite != PQ_NONFINITE_ZERO &&
              pq_hash_memo_key(pq_dataset_describe(dataset)->path, how, key);
    if (settled && pq_hash_memo_get(memo, key) != NULL) {
        memcpy(out, pq_hash_memo_get(memo, key), PQ_HASH_TEXT);
        goto cleanup;
    }
    PQ_TRY(pq_dataset_hash(dataset, i, out, err));
    if (settled) {
        pq_hash_memo_put(memo, key, out);
    }
cleanup:
    pq_free(how);
    return st;
}

/* One with events. */
static bool has_split(const pq_dataset *dataset, const char *name)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);

    for (size_t i = 0; i < info->n_splits; i++) {
        if (strcmp(info->splits[i].name, name) == 0 && info->splits[i].n > 0) {
            return true;
        }
    }
    return false;
}

static pq_status choose_test(pq_cells *c, pq_dataset *dataset, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);
    const char            *test = c->config->dataset.test;
    size_t                 split;
    pq_status              st;

    if (test == NULL) {
        test = has_split(dataset, "test") ? "test"
               : info->n_splits == 1      ? info->splits[0].name
                                          : "";
    }
    PQ_TRY(pq_dataset_split(dataset, test, &split, err));
    PQ_STRDUP(c->test, info->splits[split].name);
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s: dataset.test", c->config->path);
    }
    return st;
}

/* Whether any stage of the sweep needs one of these (PQ_NEEDS_*). */
static bool any_needs(const pq_config *config, unsigned what)
{
    for (size_t p = 0; p < config->n_pipelines; p++) {
        for (size_t k = 0; k < config->pipelines[p].n_cases; k++) {
            const pq_case *v = &config->pipelines[p].cases[k];
            for (size_t s = 0; s < v->n_stages; s++) {
                if ((pq_stage_needs(&v->stages[s]) & what) != 0) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* The split that calibration events come from: never the test events. */
static pq_status choose_calib(pq_cells *c, pq_dataset *dataset, pq_err *err)
{
    static const char *const usual[] = {"calib", "train", "val"};
    const char              *calib   = c->config->dataset.calib;
    char                    *file    = NULL;
    pq_status                st      = PQ_OK;

    if (calib != NULL && !has_split(dataset, calib) && strpbrk(calib, ":/.") != NULL) {
        PQ_TRY(pq_dataset_spec(calib, &file, &c->calib, err));
        PQ_TRY(
            pq_input_find(c->config, "calibration dataset", file, &c->calib_data, err));
        goto cleanup;
    }
    for (size_t i = 0; calib == NULL && i < 3; i++) {
        if (has_split(dataset, usual[i]) && strcmp(usual[i], c->test) != 0) {
            calib = usual[i];
        }
    }
    PQ_CHECK(
        calib != NULL, PQ_ERR_CONFIG,
        "%s: a stage needs calibration events, and %s has no split calib, train or val; "
        "set dataset.calib",
        c->config->path, c->data);
    PQ_STRDUP(c->calib, calib);
    PQ_STRDUP(c->calib_data, c->data);
cleanup:
    pq_free(file);
    return st;
}

static pq_status hash_calib(pq_cells *c, pq_dataset *dataset, pq_hash_memo *memo,
                            pq_err *err)
{
    pq_dataset *other = NULL;
    pq_status   st;

    PQ_TRY(choose_calib(c, dataset, err));
    if (strcmp(c->calib_data, c->data) != 0) {
        PQ_TRY(pq_input_dataset(c->config, c->calib_data, &other, err));
    }
    st = hash_split(c, other != NULL ? other : dataset, c->calib, memo, c->calib_hash,
                    err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s: dataset.calib", c->config->path);
        goto cleanup;
    }
    PQ_CHECK(strcmp(c->calib_hash, c->test_hash) != 0, PQ_ERR_CONFIG,
             "%s: dataset.calib: '%s' holds the test events; results on events that were "
             "calibrated on mean nothing",
             c->config->path, c->calib);
cleanup:
    pq_dataset_close(&other);
    return st;
}

/* A split that training may see: any but the test events. */
static pq_status hash_trained(pq_cells *c, pq_dataset *dataset, const char *split,
                              pq_hash_memo *memo, char out[PQ_HASH_TEXT], pq_err *err)
{
    pq_status st;

    PQ_TRY(hash_split(c, dataset, split, memo, out, err));
    PQ_CHECK(strcmp(out, c->test_hash) != 0, PQ_ERR_CONFIG,
             "%s: dataset.train: '%s' holds the test events; results on events that were "
             "trained on mean nothing",
             c->config->path, split);
cleanup:
    return st;
}

static pq_status hash_training(pq_cells *c, pq_dataset *dataset, pq_hash_memo *memo,
                               pq_err *err)
{
    static const char *const usual[]    = {"val", "validation"};
    const char              *train      = c->config->dataset.train;
    const char              *validation = c->config->dataset.validation;
    pq_status                st;

    PQ_STRDUP(c->train, train != NULL ? train : "train");
    PQ_TRY(hash_trained(c, dataset, c->train, memo, c->train_hash, err));
    for (size_t i = 0; validation == NULL && i < 2; i++) {
        validation = has_split(dataset, usual[i]) && strcmp(usual[i], c->test) != 0
                         ? usual[i]
                         : NULL;
    }
    if (validation != NULL) {
        PQ_STRDUP(c->validation, validation);
        PQ_TRY(hash_trained(c, dataset, validation, memo, c->validation_hash, err));
    }
cleanup:
    return st;
}

/* Whether the model takes the events; what is assumed about them goes into the note. */
static pq_status check_fit(pq_cells *c, const pq_graph *graph, const pq_dataset *dataset,
                           pq_err *err)
{
    const pq_dataset_info *info    = pq_dataset_describe(dataset);
    bool                   assumed = false;
    size_t                 n;
    const pq_status        st = pq_evaluate_check(graph, dataset, &assumed, err);

    if (st != PQ_OK) {
        pq_err_context(err, "%s: model %s", c->config->path,
                       c->weights != NULL ? c->weights : c->config->model.zoo);
        return st;
    }
    n = (size_t)snprintf(c->note, sizeof c->note, "%s",
                         assumed ? "the model does not name its outputs; they are taken "
                                   "in the dataset's order (model.classes says "
                                   "otherwise):"
                                 : "");
    for (size_t i = 0; assumed && i < info->n_classes && n < sizeof c->note; i++) {
        n += (size_t)snprintf(c->note + n, sizeof c->note - n, " %s",
                              info->class_names[i]);
    }
    return st;
}

/* Events that are not as the file has them go into the note. */
static void note_events(pq_cells *c, const pq_dataset_info *info)
{
    const size_t room = sizeof c->note;
    size_t       n    = strlen(c->note);

    if (info->left_out > 0) {
        n += (size_t)snprintf(c->note + n, room - n,
                              "%s%zu events of other labels are left out",
                              n > 0 ? "; " : "", info->left_out);
    }
    if (info->nonfinite > 0 && n < room) {
        (void)snprintf(c->note + n, room - n, "%s%zu events hold NaN or infinity: %s",
                       n > 0 ? "; " : "", info->nonfinite,
                       c->config->dataset.nonfinite == PQ_NONFINITE_DROP
                           ? "left out"
                           : "the mean is put in place of it");
    }
}

/* The events that are evaluated, calibrated and trained on. */
static pq_status find_events(pq_cells *c, const pq_graph *graph, pq_hash_memo *memo,
                             pq_err *err)
{
    pq_dataset *dataset = NULL;
    pq_status   st;

    PQ_TRY(pq_input_dataset(c->config, c->data, &dataset, err));
    PQ_TRY(check_fit(c, graph, dataset, err));
    PQ_TRY(choose_test(c, dataset, err));
    PQ_TRY(hash_split(c, dataset, c->test, memo, c->test_hash, err));
    if (any_needs(c->config, PQ_NEEDS_CALIB)) {
        PQ_TRY(hash_calib(c, dataset, memo, err));
    }
    if (any_needs(c->config, PQ_NEEDS_TRAINING)) {
        PQ_TRY(hash_training(c, dataset, memo, err));
    }
    note_events(c, pq_dataset_describe(dataset));
cleanup:
    pq_dataset_close(&dataset);
    return st;
}

static pq_status find_inputs(pq_cells *c, pq_hash_memo *memo, pq_err *err)
{
    const pq_config *config = c->config;
    pq_graph        *graph  = NULL;
    pq_status        st     = PQ_OK;

    if (config->dataset.file != NULL) {
        PQ_TRY(pq_input_find(config, "dataset", config->dataset.file, &c->data, err));
    }
    PQ_CHECK(c->data != NULL || !any_needs(config, PQ_NEEDS_CALIB | PQ_NEEDS_TRAINING),
             PQ_ERR_CONFIG, "%s: a stage needs events: dataset: file must be given",
             config->path);
    if (config->model.weights != NULL) {
        PQ_TRY(pq_input_find(config, "model", config->model.weights, &c->weights, err));
    }
    if (config->model.arch != NULL && pq_zoo_has(config->model.arch)) {
        PQ_STRDUP(c->arch, config->model.arch);
    } else if (config->model.arch != NULL) {
        PQ_TRY(pq_input_find(config, "architecture", config->model.arch, &c->arch, err));
    }
    PQ_TRY(pq_input_model(config, c->weights, c->arch, &graph, err));
    PQ_TRY(hash_model(c, graph, memo, err));
    if (c->data != NULL) {
        PQ_TRY(find_events(c, graph, memo, err));
    }
cleanup:
    pq_graph_free(&graph);
    return st;
}

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
        if (variant->stages[s].method->stochastic) {
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
        const char  *metric = c->config->constraints[i].metric;
        const size_t n      = strlen(metric);
        if (n > 5 && strcmp(metric + n - 5, "_loss") == 0 &&
            strcmp(metric, "log_loss") != 0) {
            who = metric;
        }
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
    PQ_TRY(find_inputs(&c, &memo, err));
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

void pq_cells_free(pq_cells *cells)
{
    for (size_t i = 0; i < cells->n; i++) {
        pq_free(cells->cells[i].artifact);
        pq_free(cells->cells[i].latency);
    }
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
