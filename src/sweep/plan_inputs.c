/* The model and the events of a sweep: found, checked against each other, hashed. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/memory.h"
#include "data/layout.h"
#include "exec/rescale.h"
#include "formats/zoo.h"
#include "lab/columns.h"
#include "lab/evaluate.h"
#include "sweep/bounds.h"
#include "sweep/key.h"
#include "sweep/plan_inputs.h"
#include "sweep/stamp.h"

/* Notes files that results depend on, as they are now. */
static pq_status note_inputs(pq_cells *c, size_t n, const char *const *files, pq_err *err)
{
    pq_input *grown =
        pq_recalloc(c->inputs, c->n_inputs, c->n_inputs + n, sizeof *c->inputs);
    pq_status st;

    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu inputs", n);
    c->inputs = grown;
    for (size_t i = 0; i < n; i++) {
        pq_input *input = &c->inputs[c->n_inputs];
        pq_stamp  s;
        PQ_STRDUP(input->path, files[i]);
        c->n_inputs++;
        pq_stamp_start(&s);
        pq_stamp_add(&s, files[i]);
        pq_stamp_end(&s, input->stamp);
        PQ_CHECK(!pq_stamp_since(&s, c->start), PQ_ERR_IO,
                 "%s: changed while it was read; its hash would be that of neither state",
                 files[i]);
    }
cleanup:
    return st;
}

pq_status pq_cells_unchanged(const pq_cells *c, pq_err *err)
{
    char      now[PQ_HASH_TEXT];
    pq_status st = PQ_OK;

    for (size_t i = 0; i < c->n_inputs; i++) {
        pq_stamp s;
        pq_stamp_start(&s);
        pq_stamp_add(&s, c->inputs[i].path);
        pq_stamp_end(&s, now);
        PQ_CHECK(strcmp(now, c->inputs[i].stamp) == 0, PQ_ERR_CONFIG,
                 "%s: was replaced or changed after the run began, and results of it do "
                 "not belong to this cell; run again",
                 c->inputs[i].path);
    }
cleanup:
    return st;
}

static pq_status note_dataset(pq_cells *c, const pq_dataset *dataset, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);

    return note_inputs(c, info->n_files, info->files, err);
}

/* A folder may have got one more file that belongs to the events. */
pq_status pq_cells_same_files(const pq_cells *c, const pq_dataset *dataset, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);
    pq_status              st   = PQ_OK;

    for (size_t i = 0; i < info->n_files; i++) {
        bool known = false;
        for (size_t k = 0; k < c->n_inputs && !known; k++) {
            known = strcmp(c->inputs[k].path, info->files[i]) == 0;
        }
        PQ_CHECK(known, PQ_ERR_CONFIG, "%s: came after the run began; run again",
                 info->files[i]);
    }
cleanup:
    return st;
}

static pq_status hash_model(pq_cells *c, const pq_graph *graph, pq_hash_memo *memo,
                            pq_err *err)
{
    const pq_config_model *m = &c->config->model;
    char                   key[PQ_HASH_TEXT], arch[PQ_HASH_TEXT] = "";
    char                  *how = NULL;
    bool                   settled, zoo;
    pq_status              st;

    if (memo == NULL) {
        return PQ_OK;
    }
    if (m->zoo != NULL) {
        return pq_graph_hash(graph, c->model_hash, err);
    }
    zoo     = c->arch != NULL && pq_zoo_has(c->arch);
    settled = c->arch == NULL || zoo ||
              pq_hash_memo_key(1, (const char *const *)&c->arch, "arch", arch);
    how = pq_format("model|%s|%s|%s|%s|%d", zoo ? c->arch : arch,
                    m->format != NULL ? m->format : "",
                    m->output_layer != NULL ? m->output_layer : "",
                    m->classes != NULL ? m->classes : "", m->head);
    PQ_CHECK(how != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    settled =
        pq_hash_memo_key(1, (const char *const *)&c->weights, how, key) && settled &&
        m->scaler == PQ_SCALER_NONE; /* which is part of the model, not of its file */
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

/* How a split is read: the options, and what else of an open dataset its hash is of. */
static void add_how(const pq_cells *c, const pq_dataset_info *info, const char *split,
                    pq_text *out)
{
    const pq_config_dataset *d         = &c->config->dataset;
    const char *const        options[] = {d->weight, d->layout, d->inputs,
                                          d->label,  d->labels, d->splits};
    const char *const        arrays[]  = {d->x, d->y};

    pq_text_add(out, "split rule 4|%s|%s|%d", split, info->layout, d->nonfinite);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        pq_text_add(out, "|%s", options[i] != NULL ? options[i] : "");
    }
    for (size_t i = 0; i < 2 && (d->x != NULL || d->y != NULL); i++) {
        pq_text_add(out, "|%s", arrays[i] != NULL ? arrays[i] : "");
    }
    for (size_t i = 0; i < info->n_classes; i++) {
        pq_text_add(out, "|%s", info->class_names[i]);
    }
    for (size_t i = 0; i < c->n_features; i++) { /* picked by name, where they are */
        pq_text_add(out, "|%s", c->features[i]);
    }
}

/* In place of a hash where no events are read: the same for the same split alone. */
static pq_status name_split(const pq_dataset *dataset, const char *split,
                            char out[PQ_HASH_TEXT], pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    pq_text_add(&text, "%s:%s", pq_dataset_describe(dataset)->path, split);
    st = pq_key_of(&text, out, err);
    pq_text_free(&text);
    return st;
}

/* Hash of one split of an open dataset. */
static pq_status hash_split(const pq_cells *c, pq_dataset *dataset, const char *split,
                            pq_hash_memo *memo, char out[PQ_HASH_TEXT], pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);
    char                   key[PQ_HASH_TEXT];
    pq_text                how = {0};
    size_t                 i   = 0;
    bool                   settled;
    pq_status              st;

    PQ_TRY(pq_dataset_split(dataset, split, &i, err));
    if (memo == NULL) {
        return name_split(dataset, split, out, err);
    }
    add_how(c, info, split, &how);
    PQ_CHECK(!how.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    /* Values put for others are counted while they are read. */
    settled = c->config->dataset.nonfinite != PQ_NONFINITE_ZERO &&
              pq_hash_memo_key(info->n_files, info->files, how.text, key);
    if (settled && pq_hash_memo_get(memo, key) != NULL) {
        memcpy(out, pq_hash_memo_get(memo, key), PQ_HASH_TEXT);
        goto cleanup;
    }
    PQ_TRY(pq_dataset_hash(dataset, i, out, err));
    if (settled) {
        pq_hash_memo_put(memo, key, out);
    }
cleanup:
    pq_text_free(&how);
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

typedef struct {
    char text[512];
} place;

/* "c.yaml:4:12: dataset.calib": where the split was named, or the file alone. */
static place place_of(const pq_cells *c, const char *key)
{
    const pq_yaml *dataset = pq_yaml_find(c->config->tree, "dataset");
    const pq_yaml *node    = dataset != NULL ? pq_yaml_find(dataset, key) : NULL;
    place          p;

    if (node != NULL) {
        (void)snprintf(p.text, sizeof p.text, "%.400s:%zu:%zu: dataset.%s", node->file,
                       node->line, node->column, key);
    } else {
        (void)snprintf(p.text, sizeof p.text, "%.400s: dataset.%s", c->config->path, key);
    }
    return p;
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
        pq_err_context(err, "%s", place_of(c, "test").text);
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
                if ((pq_stage_needs(v->stages[s]) & what) != 0) {
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
    PQ_CHECK(calib != NULL, PQ_ERR_CONFIG,
             "%s: a stage needs calibration events, and %s has no %s", c->config->path,
             c->data,
             pq_dataset_describe(dataset)->n_splits > 1
                 ? "split calib, train or val; set dataset.calib"
                 : "splits: name another file by dataset.calib, or cut this one by "
                   "`pquant data import --splits`");
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
        PQ_TRY(pq_cells_dataset(c, c->calib_data, &other, err));
    }
    st = hash_split(c, other != NULL ? other : dataset, c->calib, memo, c->calib_hash,
                    err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", place_of(c, "calib").text);
        goto cleanup;
    }
    if (other != NULL) {
        PQ_TRY(note_dataset(c, other, err));
    }
    PQ_CHECK(strcmp(c->calib_hash, c->test_hash) != 0, PQ_ERR_CONFIG,
             "%s: '%s' holds the test events; results on events that were "
             "calibrated on mean nothing",
             place_of(c, "calib").text, c->calib);
cleanup:
    pq_dataset_close(&other);
    return st;
}

/* A split that training may see, any but the test events; `key` names it. */
static pq_status hash_trained(pq_cells *c, pq_dataset *dataset, const char *key,
                              const char *split, pq_hash_memo *memo, pq_err *err)
{
    char     *out = strcmp(key, "train") == 0 ? c->train_hash : c->validation_hash;
    pq_status st  = hash_split(c, dataset, split, memo, out, err);

    if (st != PQ_OK) {
        pq_err_context(err, "%s", place_of(c, key).text);
        return st;
    }
    PQ_CHECK(
        strcmp(out, c->test_hash) != 0, PQ_ERR_CONFIG,
        "%s: '%s' holds the test events; results on events that were trained on mean "
        "nothing",
        place_of(c, key).text, split);
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
    PQ_TRY(hash_trained(c, dataset, "train", c->train, memo, err));
    for (size_t i = 0; validation == NULL && i < 2; i++) {
        validation = has_split(dataset, usual[i]) && strcmp(usual[i], c->test) != 0
                         ? usual[i]
                         : NULL;
    }
    if (validation != NULL) {
        PQ_STRDUP(c->validation, validation);
        PQ_TRY(hash_trained(c, dataset, "validation", validation, memo, err));
    }
cleanup:
    return st;
}

/* Adds a sentence to what is assumed; `what` may be NULL. */
static void add_note(pq_cells *c, const char *what, const char *more)
{
    const size_t n = strlen(c->note);

    if (what != NULL) {
        (void)snprintf(c->note + n, sizeof c->note - n, "%s%s%s", n > 0 ? "; " : "", what,
                       more);
    }
}

/* Whether the model takes the events; what is assumed about them goes into the note. */
static pq_status check_fit(pq_cells *c, const pq_graph *graph, const pq_dataset *dataset,
                           pq_err *err)
{
    const pq_dataset_info *info    = pq_dataset_describe(dataset);
    bool                   assumed = false;
    size_t                 n;
    pq_status              st = pq_evaluate_check(graph, dataset, &assumed, err);

    if (st == PQ_OK) {
        st = pq_evaluate_metrics_check(graph, c->config->n_metrics, c->config->metrics,
                                       err);
    }
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
    add_note(c,
             pq_scaler_is_left(graph, info)
                 ? "the model has no scaler and gets the events as they are, though the "
                   "dataset carries one (model.scaler: dataset)"
                 : NULL,
             "");
    add_note(c, pq_head_assumed(c->head, c->width), " (model.head says otherwise)");
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

static pq_status name_classes(pq_cells *c, const pq_graph *graph,
                              const pq_dataset_info *info, pq_err *err)
{
    const bool         own = graph->class_names != NULL;
    const char *const *names =
        own ? (const char *const *)graph->class_names : info->class_names;
    const size_t n  = own ? graph->n_classes : info->n_classes;
    pq_status    st = PQ_OK;

    if (names != NULL && n > 0) {
        PQ_TRY(pq_texts_copy(names, n, &c->classes, err));
        c->n_classes = n;
    }
cleanup:
    return st;
}

/* Bounds on classes that the events do not have would be met by no cell. */
static pq_status check_bounds(const pq_cells *c, pq_err *err)
{
    const char *const *names = (const char *const *)c->classes;
    pq_status          st    = PQ_OK;

    for (size_t i = 0; i < c->config->n_constraints; i++) {
        const char *metric = c->config->constraints[i].metric;
        PQ_CHECK(!pq_bound_lacks_class(metric, c->n_classes, names), PQ_ERR_CONFIG,
                 "%s: constraints: '%s' is of no class of the model", c->config->path,
                 metric);
    }
cleanup:
    return st;
}

/* Keys of metrics that the classes or the columns of the events do not have. */
static pq_status check_metrics(const pq_cells *c, pq_dataset *dataset, pq_err *err)
{
    pq_evaluation view = pq_cells_view(c);
    pq_columns_of of   = {.dataset = dataset};
    pq_columns    columns;
    pq_status     st;

    PQ_TRY(pq_dataset_split(dataset, c->test, &of.split, err));
    columns      = pq_columns_make(&of);
    view.columns = &columns;
    for (size_t i = 0; i < c->config->n_metrics; i++) {
        const pq_metric_choice *m = &c->config->metrics[i];
        if (!m->usual && m->metric->fits != NULL) {
            st = m->metric->fits(&view, m->params, err);
            if (st != PQ_OK) {
                pq_err_context(err, "%s: metrics: %s", c->config->path, m->metric->name);
                goto cleanup;
            }
        }
    }
cleanup:
    return st;
}

/* The events that are evaluated, calibrated and trained on. */
static pq_status find_events(pq_cells *c, const pq_graph *graph, pq_hash_memo *memo,
                             pq_err *err)
{
    pq_dataset *dataset = NULL;
    pq_status   st;

    PQ_TRY(pq_cells_dataset(c, c->data, &dataset, err));
    PQ_TRY(check_fit(c, graph, dataset, err));
    PQ_TRY(name_classes(c, graph, pq_dataset_describe(dataset), err));
    PQ_TRY(check_bounds(c, err));
    PQ_TRY(choose_test(c, dataset, err));
    PQ_TRY(check_metrics(c, dataset, err));
    PQ_TRY(hash_split(c, dataset, c->test, memo, c->test_hash, err));
    if (any_needs(c->config, PQ_NEEDS_CALIB)) {
        PQ_TRY(hash_calib(c, dataset, memo, err));
    }
    if (any_needs(c->config, PQ_NEEDS_TRAINING)) {
        PQ_TRY(hash_training(c, dataset, memo, err));
    }
    note_events(c, pq_dataset_describe(dataset));
    PQ_TRY(note_dataset(c, dataset, err));
cleanup:
    pq_dataset_close(&dataset);
    return st;
}

pq_status pq_cells_dataset(const pq_cells *cells, const char *path, pq_dataset **out,
                           pq_err *err)
{
    return pq_input_dataset(cells->config, cells->n_features,
                            (const char *const *)cells->features, path, out, err);
}

pq_status pq_cells_find_inputs(pq_cells *c, pq_hash_memo *memo, pq_err *err)
{
    const pq_config *config = c->config;
    pq_status        st     = PQ_OK;

    (void)clock_gettime(CLOCK_REALTIME, &c->start);
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
    PQ_TRY(pq_input_model(config, c->weights, c->arch, &c->model, err));
    c->head  = pq_graph_head(c->model);
    c->width = pq_graph_width(c->model);
    if (c->model->feature_names != NULL) {
        PQ_TRY(pq_texts_copy((const char *const *)c->model->feature_names,
                             c->model->n_features, &c->features, err));
        c->n_features = c->model->n_features;
    }
    PQ_TRY(hash_model(c, c->model, memo, err));
    PQ_TRY(note_inputs(c, c->weights != NULL, (const char *const *)&c->weights, err));
    PQ_TRY(note_inputs(c, c->arch != NULL && !pq_zoo_has(c->arch),
                       (const char *const *)&c->arch, err));
    if (c->data != NULL) {
        PQ_TRY(find_events(c, c->model, memo, err));
    }
cleanup:
    return st;
}
