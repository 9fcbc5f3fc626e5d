#include "sweep/cell.h"

#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "exec/plan.h"
#include "formats/model.h"
#include "io/hdf5.h"
#include "lab/compress.h"
#include "lab/pair.h"
#include "metrics/confusion.h"
#include "store/json.h"
#include "store/record.h"
#include "sweep/curves.h"
#include "sweep/engines.h"
#include "sweep/inputs.h"
#include "sweep/key.h"
#include "train/train.h"

enum { LAYERS_BYTES = 64 << 20 };

/* A cell while it is computed; owns all but cells and cell. */
typedef struct {
    const pq_cells        *cells;
    const pq_cell         *cell;
    const pq_cell_options *options;
    pq_graph              *graph;   /* after the stages done so far */
    size_t                 done;    /* stages */
    json_t                *changes; /* what they did, layer by layer */
    json_t                *history; /* epochs of the stage at work, if it trained */
    pq_graph              *teacher; /* the network before any stage */
    pq_dataset            *data, *calib;
    pq_cache              *cache;
    pq_evaluated           result;
    const char            *second; /* another engine that was evaluated, or NULL */
    pq_evaluated           other;  /* by it */
    pq_diff                diff;   /* against the network before any stage */
} work;

char *pq_artifact_path(const pq_cells *cells, const char *artifact)
{
    return pq_format("%s/models/%s.h5", cells->dir, artifact);
}

/* Where a stage that trains goes on after a kill. */
static char *checkpoint_path(const work *w)
{
    return pq_format("%s/models/%s.checkpoint", w->cells->dir,
                     w->cell->artifact[w->done + 1]);
}

static char *changes_path(const pq_cells *cells, const char *artifact)
{
    return pq_format("%s/models/%s.json", cells->dir, artifact);
}

/* Takes up the model of a prefix if it and what was done to it are there and whole. */
static bool take_up(work *w, size_t stages)
{
    char  *model   = pq_artifact_path(w->cells, w->cell->artifact[stages]);
    char  *changes = changes_path(w->cells, w->cell->artifact[stages]);
    char  *bytes   = NULL;
    size_t n       = 0;
    bool   fine    = model != NULL && changes != NULL &&
                pq_file_read(changes, LAYERS_BYTES, &bytes, &n, NULL) == PQ_OK &&
                pq_model_load(model, NULL, &w->graph, NULL) == PQ_OK;

    if (fine) {
        json_decref(w->changes);
        w->changes = json_loadb(bytes, n, 0, NULL);
        fine       = json_is_array(w->changes);
    }
    if (fine) {
        w->done = stages;
    } else {
        pq_graph_free(&w->graph);
        json_decref(w->changes);
        w->changes = json_array();
    }
    pq_free(model);
    pq_free(changes);
    pq_free(bytes);
    return fine;
}

static pq_status note_changes(work *w, const pq_layer_change *changes, size_t n,
                              pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const pq_layer_change *c   = &changes[i];
        json_t                *one = json_pack(
                           "{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I}", "stage",
                           w->cell->variant->stages[w->done]->method->name, "layer", c->layer, "what",
                           c->what, "error", pq_json_real(c->error), "bytes_before",
                           (json_int_t)c->bytes_before, "bytes_after", (json_int_t)c->bytes_after,
                           "macs_before", (json_int_t)c->macs_before, "macs_after",
                           (json_int_t)c->macs_after);
        if (*c->missed != '\0') {
            (void)json_object_set_new(one, "missed", json_string(c->missed));
            (void)json_object_set_new(one, "infeasible", json_boolean(c->infeasible));
        }
        if (i == 0 && w->history != NULL) {
            (void)json_object_set(one, "history", w->history);
        }
        PQ_CHECK(json_array_append_new(w->changes, one) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a change");
    }
cleanup:
    return st;
}

/* Saves a model and what was done to it; that first, so that a model is never without it:
 * whoever takes it up reads it whole or computes the model again. */
static pq_status save(const pq_cells *c, const char *artifact, const pq_graph *graph,
                      const json_t *changes, pq_err *err)
{
    char     *model = pq_artifact_path(c, artifact);
    char     *notes = changes_path(c, artifact);
    pq_text   text  = {0};
    pq_status st;

    PQ_CHECK(model != NULL && notes != NULL && pq_json_add(changes, &text), PQ_ERR_NOMEM,
             "cannot allocate a path");
    PQ_TRY(pq_cells_unchanged(c, err));
    PQ_TRY(pq_folder_make_inside(c->dir, "models", NULL, err));
    PQ_TRY(pq_file_write_unsynced(notes, text.text, text.length, err));
    PQ_TRY(pq_model_save(graph, model, err));
cleanup:
    pq_free(model);
    pq_free(notes);
    pq_text_free(&text);
    return st;
}

pq_status pq_cells_save_model(const pq_cells *cells, pq_err *err)
{
    json_t   *changes = json_array();
    pq_status st      = PQ_OK;

    PQ_CHECK(changes != NULL, PQ_ERR_NOMEM, "cannot allocate changes");
    if (cells->n > 0) { /* all cells begin with it */
        PQ_TRY(save(cells, cells->cells[0].artifact[0], cells->model, changes, err));
    }
cleanup:
    json_decref(changes);
    return st;
}

static pq_status open_calib(work *w, pq_dataset **dataset, size_t *split, pq_err *err)
{
    const pq_cells *c  = w->cells;
    pq_status       st = PQ_OK;

    if (strcmp(c->calib_data, c->data) != 0 && w->calib == NULL) {
        PQ_TRY(pq_cells_dataset(c, c->calib_data, &w->calib, err));
        PQ_TRY(pq_cells_same_files(c, w->calib, err));
    }
    *dataset = w->calib != NULL ? w->calib : w->data;
    PQ_TRY(pq_dataset_split(*dataset, c->calib, split, err));
cleanup:
    return st;
}

static void keep_history(void *context, const pq_graph *trained,
                         const pq_train_summary *summary)
{
    work *w = context;

    json_decref(w->history);
    w->history = pq_train_history_json(summary, trained);
}

/* The network before any stage. */
static pq_status open_teacher(work *w, pq_err *err)
{
    return w->teacher != NULL ? PQ_OK : pq_graph_clone(w->cells->model, &w->teacher, err);
}

/* Splits to train on, and the network before any stage as teacher. */
static pq_status open_training(work *w, const char *checkpoint, pq_training *t,
                               pq_err *err)
{
    const pq_cells *c = w->cells;
    pq_status       st;

    *t = (pq_training){.dataset    = w->data,
                       .validation = SIZE_MAX,
                       .threads    = w->options->threads,
                       .checkpoint = checkpoint,
                       .done       = keep_history,
                       .context    = w};
    if (w->options->fresh) {
        (void)unlink(checkpoint);
    }
    PQ_TRY(pq_dataset_split(w->data, c->train, &t->train, err));
    if (c->validation != NULL) {
        PQ_TRY(pq_dataset_split(w->data, c->validation, &t->validation, err));
    }
    PQ_TRY(open_teacher(w, err));
    t->teacher = w->teacher;
cleanup:
    return st;
}

static pq_status apply_stage(work *w, const pq_stage *stage, pq_err *err)
{
    pq_compress_options options = {
        .calib_events = (size_t)w->cells->config->dataset.calib_events,
        .cache        = w->cache,
        .engine       = pq_stage_engine(w->cells->config),
        .batch        = (size_t)w->cells->config->latency.batch.value[0],
        .seed         = pq_stage_seed(w->cells, w->cell, stage),
        .progress     = w->options->progress,
    };
    char            *checkpoint = checkpoint_path(w);
    pq_training      training;
    pq_layer_change *changes = NULL;
    pq_graph        *next    = NULL;
    size_t           n       = 0;
    pq_status        st;

    json_decref(w->history);
    w->history = NULL;
    PQ_CHECK(checkpoint != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if ((pq_stage_needs(stage) & PQ_NEEDS_TRAINING) != 0) {
        PQ_TRY(open_training(w, checkpoint, &training, err));
        options.training = &training;
    }
    if ((pq_stage_needs(stage) & PQ_NEEDS_CALIB) != 0) {
        PQ_TRY(open_calib(w, &options.dataset, &options.calib_split, err));
    }
    st = pq_compress_stage(stage, w->graph, &options, &next, &changes, &n, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", stage->place);
        goto cleanup;
    }
    PQ_TRY(note_changes(w, changes, n, err));
    pq_graph_free(&w->graph);
    w->graph = next;
    next     = NULL;
    w->done++;
    PQ_TRY(save(w->cells, w->cell->artifact[w->done], w->graph, w->changes, err));
    (void)unlink(checkpoint);
cleanup:
    if (st == PQ_ERR_NUMERIC) { /* going on would end there again */
        (void)unlink(checkpoint);
    }
    pq_graph_free(&next);
    pq_free(changes);
    pq_free(checkpoint);
    return st;
}

/* Takes up the longest prefix of stages that has a model, or the network before any
 * stage, which was saved before the first cell. */
static pq_status begin(work *w, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = w->cell->variant->n_stages; i > 0 && !w->options->fresh; i--) {
        if (take_up(w, i)) {
            return PQ_OK;
        }
    }
    PQ_TRY(pq_graph_clone(w->cells->model, &w->graph, err));
cleanup:
    return st;
}

static pq_status compress(work *w, pq_err *err)
{
    const pq_case *variant = w->cell->variant;
    char          *folder  = pq_path_join(w->cells->dir, "cache");
    pq_status      st;

    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(pq_path_is_inside(w->cells->dir, "cache"), PQ_ERR_IO,
             "%s: is a link; a folder of results is written in itself alone", folder);
    PQ_TRY(begin(w, err));
    PQ_TRY(pq_cache_open(folder, &w->cache, err));
    while (w->done < variant->n_stages) {
        PQ_TRY(apply_stage(w, variant->stages[w->done], err));
    }
cleanup:
    pq_free(folder);
    return st;
}

/* Puts what compression changed beside the network before any stage, whose scores are
 * kept for all cells. */
static pq_status pair(work *w, size_t split, const pq_evaluate_options *options,
                      pq_err *err)
{
    const bool     compressed = w->cell->variant->n_stages > 0;
    char           key[PQ_HASH_TEXT];
    pq_pair_memory memory = {.cache = w->cache, .key = key};
    pq_text        text   = {0};
    pq_status      st;

    pq_key_reference(w->cells, w->cell, &text);
    PQ_TRY(pq_key_of(&text, key, err));
    if (compressed) {
        PQ_TRY(open_teacher(w, err));
    }
    PQ_TRY(pq_evaluate_paired(compressed ? w->teacher : NULL, &memory, w->graph, w->data,
                              split, options, &w->result, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status evaluate(work *w, pq_err *err)
{
    const pq_config    *config = w->cells->config;
    char               *model  = pq_artifact_path(w->cells, pq_cell_artifact(w->cell));
    const char         *engines[PQ_FAST_ENGINES];
    size_t              n_engines;
    pq_evaluate_options options = {
        .predict          = {.engine  = pq_evaluating_engine(config),
                             .threads = w->options->threads,
                             .limit   = config->evaluate.limit != PQ_UNSET
                                            ? (size_t)config->evaluate.limit
                                            : 0,
                             .stride  = (size_t)config->evaluate.stride},
        .n_metrics        = config->n_metrics,
        .metrics          = config->metrics,
        .negative_weights = config->evaluate.negative_weights,
    };
    size_t    split = 0;
    pq_status st;

    PQ_CHECK(model != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    options.file_bytes = pq_file_bytes(model);
    if (w->data == NULL) {
        PQ_TRY(pq_evaluate_network(w->graph, &options, &w->result.values, err));
        goto cleanup;
    }
    PQ_TRY(pq_dataset_split(w->data, w->cells->test, &split, err));
    PQ_TRY(pq_evaluate(w->graph, w->data, split, &options, &w->result, err));
    PQ_TRY(pair(w, split, &options, err));
    if (pq_evaluates_twice(config)) {
        PQ_TRY(pq_plan_engines(w->graph, engines, &n_engines, err));
        options.predict.engine = w->second = n_engines > 1 ? engines[1] : NULL;
    }
    if (w->second != NULL) {
        PQ_TRY(pq_evaluate(w->graph, w->data, split, &options, &w->other, err));
    }
cleanup:
    pq_free(model);
    return st;
}

static pq_evaluation view_of(const work *w)
{
    return pq_evaluated_view(&w->result, w->graph, 0);
}

static pq_status add_confusion(const work *w, json_t *record, pq_err *err)
{
    const pq_evaluation view   = view_of(w);
    const size_t        n      = view.classes;
    json_t             *matrix = json_array(), *names = json_array();
    double             *counts = NULL;
    pq_status           st;

    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(names, json_string(view.class_names[i]));
    }
    if (pq_config_metric(w->cells->config, "confusion") && w->result.decided &&
        n <= PQ_CONFUSION_CLASSES_MOST) {
        PQ_NEW(counts, n * n);
        pq_confusion(&view, counts);
        for (size_t i = 0; i < n; i++) {
            json_t *row = json_array();
            for (size_t k = 0; k < n; k++) {
                (void)json_array_append_new(row, json_real(counts[i * n + k]));
            }
            (void)json_array_append_new(matrix, row);
        }
        (void)json_object_set(record, "confusion", matrix);
    }
    PQ_CHECK(json_object_set(record, "class_names", names) == 0, PQ_ERR_NOMEM,
             "cannot allocate a record");
cleanup:
    json_decref(matrix);
    json_decref(names);
    pq_free(counts);
    return st;
}

static bool is_paired(const pq_config *config)
{
    for (size_t i = 0; i < config->n_gates; i++) {
        if (config->gates[i].test == PQ_GATE_PAIRED) {
            return true;
        }
    }
    return false;
}

/* For gates that compare event by event: which events each engine decided right. */
static pq_status add_correct(const work *w, json_t *record, pq_err *err)
{
    pq_status st = PQ_OK;

    if (!is_paired(w->cells->config)) {
        return PQ_OK;
    }
    PQ_TRY(pq_record_correct(record, &w->result, w->graph, err));
    if (w->second != NULL) {
        json_t *part = json_object_get(json_object_get(record, "engines"), w->second);
        PQ_TRY(pq_record_correct(part, &w->other, w->graph, err));
    }
cleanup:
    return st;
}

static pq_status add_curves(const work *w, json_t *record, pq_err *err)
{
    const pq_evaluation view = view_of(w);
    char               *name = pq_format("arrays/%s.h5", w->cell->eval);
    char               *path = name != NULL ? pq_path_join(w->cells->dir, name) : NULL;
    const void         *btag = pq_values_find(&w->result.values, "btag.distinct") != NULL
                                   ? pq_config_params(w->cells->config, "btag")
                                   : NULL;
    pq_status           st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_folder_make_inside(w->cells->dir, "arrays", NULL, err));
    PQ_TRY(pq_curves_write(&view, pq_config_metric(w->cells->config, "auc"), btag, path,
                           err));
    PQ_CHECK(json_object_set_new(record, "arrays_file", json_string(name)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a record");
cleanup:
    pq_free(name);
    pq_free(path);
    return st;
}

static bool is_quantized(const pq_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            if (node->layer->weights[k].quant != NULL) {
                return true;
            }
        }
        if (node->quant != NULL) {
            return true;
        }
    }
    return false;
}

/* How far each layer's values are from those of the network before any stage. */
static pq_status compare_layers(work *w, pq_err *err)
{
    const pq_diff_options options = {NULL, pq_evaluating_engine(w->cells->config), 0};
    size_t                split   = 0;
    pq_status             st      = PQ_OK;

    if (w->data == NULL || !is_quantized(w->graph)) {
        return PQ_OK;
    }
    PQ_TRY(open_teacher(w, err));
    PQ_TRY(pq_dataset_split(w->data, w->cells->test, &split, err));
    PQ_TRY(pq_diff_models(w->teacher, w->graph, w->data, split, &options, &w->diff, err));
cleanup:
    return st;
}

static pq_status write_record(const work *w, double seconds, pq_err *err)
{
    const pq_config *config = w->cells->config;
    json_t   *record = pq_cell_record(w->cells, w->cell, "eval", w->cell->eval, "ok");
    char     *model  = pq_format("models/%s.h5", pq_cell_artifact(w->cell));
    pq_status st;

    PQ_CHECK(record != NULL && model != NULL &&
                 json_object_set_new(record, "metrics", json_object()) == 0 &&
                 json_object_set(record, "layers", w->changes) == 0 &&
                 pq_record_unreached(record, w->changes) &&
                 json_object_set_new(record, "model_file", json_string(model)) == 0 &&
                 json_object_set_new(
                     record, "provenance",
                     pq_cell_provenance(w->cells, pq_evaluating_engine(config))) == 0,
             PQ_ERR_NOMEM, "cannot allocate a record");
    for (size_t i = 0; i < w->result.values.n; i++) {
        PQ_TRY(pq_record_metric(record, &w->result.values.items[i], err));
    }
    if (w->data != NULL) {
        if (w->result.n_negative > 0) {
            (void)json_object_set_new(record, "negative_weights",
                                      json_integer((json_int_t)w->result.n_negative));
        }
        (void)json_object_set_new(record, "events",
                                  json_integer((json_int_t)w->result.n));
        (void)json_object_set_new(record, "assumed", pq_note_json(w->cells->note));
        PQ_TRY(pq_record_kernels(record, &w->result, err));
        PQ_TRY(pq_record_outputs(record, &w->result, err));
        PQ_TRY(pq_record_diff(record, &w->diff, err));
        if (w->second != NULL) {
            PQ_TRY(pq_record_engine(record, w->second, &w->result, &w->other, err));
        }
        PQ_TRY(add_confusion(w, record, err));
        PQ_TRY(add_correct(w, record, err));
    }
    if (pq_config_metric(config, "auc") || pq_config_metric(config, "btag")) {
        PQ_TRY(add_curves(w, record, err));
    }
    if (w->data != NULL && config->dataset.nonfinite != PQ_NONFINITE_FAIL) {
        (void)json_object_set_new(
            record, "nonfinite_events",
            json_integer((json_int_t)pq_dataset_describe(w->data)->nonfinite));
    }
    (void)json_object_set_new(record, "seconds", json_real(seconds));
    PQ_TRY(pq_record_write(w->cells->dir, record, err));
cleanup:
    json_decref(record);
    pq_free(model);
    return st;
}

pq_status pq_cell_compute(const pq_cells *cells, const pq_cell *cell,
                          const pq_cell_options *options, pq_err *err)
{
    const double start = pq_clock_wall_s();
    work w = {.cells = cells, .cell = cell, .options = options, .changes = json_array()};
    pq_status st;

    PQ_TRY(pq_cells_unchanged(cells, err));
    for (size_t i = 0; i < cells->n_inputs; i++) { /* the plan has read them whole */
        pq_h5_trust(cells->inputs[i].path);
    }
    if (cells->data != NULL) {
        PQ_TRY(pq_cells_dataset(cells, cells->data, &w.data, err));
        PQ_TRY(pq_cells_same_files(cells, w.data, err));
    }
    PQ_TRY(compress(&w, err));
    PQ_TRY(evaluate(&w, err));
    PQ_TRY(compare_layers(&w, err));
    PQ_TRY(pq_cells_unchanged(cells, err));
    PQ_TRY(write_record(&w, pq_clock_wall_s() - start, err));
cleanup:
    pq_graph_free(&w.graph);
    pq_graph_free(&w.teacher);
    pq_dataset_close(&w.data);
    pq_dataset_close(&w.calib);
    pq_cache_close(&w.cache);
    pq_evaluated_free(&w.result);
    pq_evaluated_free(&w.other);
    pq_diff_free(&w.diff);
    json_decref(w.changes);
    json_decref(w.history);
    return st;
}
