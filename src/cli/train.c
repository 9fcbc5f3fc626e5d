/* pquant train: a network trained as a configuration says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"
#include "exec/cpu.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "io/yaml.h"
#include "lab/evaluate.h"
#include "train/train.h"

static const pq_option options[] = {
    {"set", 'S', "BLOCK.KEY=VALUE", true, NULL, "change a value of the configuration"},
    {"output", 'o', "OUT.h5", false, NULL,
     "where the model goes, instead of output.model"},
    {"threads", 0, "N", false, "0", "threads, 0 = all cores; does not change the result"},
    {0},
};

/** `model:`, `dataset:`, `output:` */
typedef struct {
    char *zoo, *weights, *arch, *teacher;
} model_block;

typedef struct {
    char *file, *layout, *inputs, *labels, *splits, *train, *validation, *test;
} data_block;

typedef struct {
    char *model, *log, *checkpoint;
} output_block;

#define TEXT(type, name, fallback, help)                                                 \
    {                                                                                    \
#name, PQ_PARAM_STRING, offsetof(type, name), fallback, 0, 0, NULL,              \
            PQ_UNIT_NONE, help                                                           \
    }

static const pq_param model_rows[] = {
    TEXT(model_block, zoo, NULL, "network of the zoo, trained from scratch"),
    TEXT(model_block, weights, NULL, "model file to go on from"),
    TEXT(model_block, arch, NULL, "architecture beside weights-only files"),
    TEXT(model_block, teacher, NULL, "model file to distil from"),
    {0},
};

static const pq_param data_rows[] = {
    TEXT(data_block, file, NULL, "file or folder of events, or the name of a public set"),
    TEXT(data_block, layout, NULL, "layout, where looking does not find it"),
    TEXT(data_block, inputs, NULL, "columns used as features"),
    TEXT(data_block, labels, NULL, "class name = value"),
    TEXT(data_block, splits, NULL, "splits by event number where the file has none"),
    TEXT(data_block, train, "train", "split to train on"),
    TEXT(data_block, validation, NULL,
         "split to watch; none = a share of the training one"),
    TEXT(data_block, test, NULL, "split to test the trained model on"),
    {0},
};

static const pq_param output_rows[] = {
    TEXT(output_block, model, NULL, "where the model goes"),
    TEXT(output_block, log, NULL, "where the course of the training goes, as JSON"),
    TEXT(output_block, checkpoint, NULL, "file to resume from after an interruption"),
    {0},
};

/* A run as configured; owns everything. */
typedef struct {
    const char      *path; /* of the configuration */
    char            *name;
    model_block      model;
    data_block       data;
    output_block     output;
    pq_train_params  train;
    pq_graph        *graph, *teacher;
    pq_dataset      *dataset;
    pq_train_summary summary;
    bool             quiet;
} run_state;

typedef struct {
    const char     *name;
    const pq_param *rows;
    void           *values;
} block;

enum { BLOCKS = 4 };

static void list_blocks(run_state *r, block out[BLOCKS])
{
    out[0] = (block){"model", model_rows, &r->model};
    out[1] = (block){"dataset", data_rows, &r->data};
    out[2] = (block){"train", pq_train_param_table, &r->train};
    out[3] = (block){"output", output_rows, &r->output};
}

static pq_status read_block(const pq_yaml *map, const block *b, pq_err *err)
{
    pq_status st = PQ_OK;

    if (map->kind != PQ_YAML_MAP) {
        return pq_yaml_fail(map, err, PQ_ERR_CONFIG, "%s: a map is due here, not %s",
                            b->name, pq_yaml_kind_text(map->kind));
    }
    for (size_t i = 0; i < map->n; i++) {
        const pq_yaml *item = map->items[i];
        pq_err         why  = {0};
        if (item->kind != PQ_YAML_SCALAR) {
            return pq_yaml_fail(item, err, PQ_ERR_CONFIG,
                                "%s.%s: a text is due here, not %s", b->name, item->key,
                                pq_yaml_kind_text(item->kind));
        }
        st = pq_params_set(b->rows, b->values, item->key, item->text, &why);
        if (st != PQ_OK) {
            return pq_params_find(b->rows, item->key) == NULL
                       ? pq_yaml_fail_key(item, err, st, "%s: %s", b->name, why.message)
                       : pq_yaml_fail(item, err, st, "%s: %s", b->name, why.message);
        }
    }
    return st;
}

static pq_status read_key(run_state *r, const pq_yaml *item, pq_err *err)
{
    block     blocks[BLOCKS];
    pq_status st = PQ_OK;

    list_blocks(r, blocks);
    for (size_t b = 0; b < BLOCKS; b++) {
        if (strcmp(item->key, blocks[b].name) == 0) {
            return read_block(item, &blocks[b], err);
        }
    }
    if (strcmp(item->key, "schema") == 0 && item->kind == PQ_YAML_SCALAR) {
        if (strcmp(item->text, "pquant/1") != 0) {
            return pq_yaml_fail(item, err, PQ_ERR_CONFIG, "schema is '%s', not pquant/1",
                                item->text);
        }
    } else if (strcmp(item->key, "name") == 0 && item->kind == PQ_YAML_SCALAR) {
        PQ_STRDUP(r->name, item->text);
    } else {
        st = pq_yaml_fail_key(
            item, err, PQ_ERR_CONFIG,
            "'%s' is not one of: schema name model dataset train output", item->key);
    }
cleanup:
    return st;
}

/* "train.lr=0.1" */
static pq_status change(run_state *r, const char *text, pq_err *err)
{
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    char        name[64];
    block       blocks[BLOCKS];
    pq_status   st;

    PQ_CHECK(dot != NULL && equals != NULL && dot < equals &&
                 (size_t)(equals - dot) < sizeof name,
             PQ_ERR_CONFIG, "-S %s: BLOCK.KEY=VALUE is due here", text);
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - dot - 1), dot + 1);
    list_blocks(r, blocks);
    for (size_t b = 0; b < BLOCKS; b++) {
        if (strncmp(text, blocks[b].name, (size_t)(dot - text)) == 0 &&
            blocks[b].name[dot - text] == '\0') {
            return pq_params_set(blocks[b].rows, blocks[b].values, name, equals + 1, err);
        }
    }
    PQ_FAIL(PQ_ERR_CONFIG, "-S %s: no such block; there are model dataset train output",
            text);
cleanup:
    return st;
}

static pq_status read_config(run_state *r, const pq_args *args, pq_err *err)
{
    const char *const *sets;
    pq_yaml           *tree = NULL;
    block              blocks[BLOCKS];
    size_t             n = 0;
    pq_status          st;

    list_blocks(r, blocks);
    for (size_t b = 0; b < BLOCKS; b++) {
        PQ_TRY(pq_params_default(blocks[b].rows, blocks[b].values, err));
    }
    PQ_TRY(pq_yaml_read(r->path, &tree, err));
    PQ_CHECK(tree->kind == PQ_YAML_MAP, PQ_ERR_CONFIG, "%s: a map is due here", r->path);
    for (size_t i = 0; i < tree->n; i++) {
        PQ_TRY(read_key(r, tree->items[i], err));
    }
    sets = pq_args_values(args, "set", &n);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(change(r, sets[i], err));
    }
    if (pq_args_value(args, "output") != NULL) {
        PQ_TRY(pq_params_set(output_rows, &r->output, "model",
                             pq_args_value(args, "output"), err));
    }
    PQ_CHECK((r->model.zoo != NULL) != (r->model.weights != NULL), PQ_ERR_CONFIG,
             "%s: model: exactly one of zoo and weights is due", r->path);
    PQ_CHECK(r->data.file != NULL, PQ_ERR_CONFIG, "%s: dataset: file is missing",
             r->path);
    PQ_CHECK(r->output.model != NULL, PQ_ERR_CONFIG, "%s: output: model is missing",
             r->path);
cleanup:
    pq_yaml_free(&tree);
    return st;
}

/* In the current folder, else beside the configuration. */
static char *locate(const run_state *r, const char *name)
{
    const size_t n      = (size_t)(pq_path_base(r->path) - r->path);
    char        *folder = pq_format("%.*s", (int)n, r->path);
    char        *beside = folder != NULL && n > 0 ? pq_path_join(folder, name) : NULL;
    const bool   here   = pq_file_exists(name) || pq_folder_exists(name);

    pq_free(folder);
    if (!here && beside != NULL && (pq_file_exists(beside) || pq_folder_exists(beside))) {
        return beside;
    }
    pq_free(beside);
    return pq_strdup(name);
}

static pq_status load(const run_state *r, const char *name, const char *arch,
                      pq_graph **out, pq_err *err)
{
    char     *path = locate(r, name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_model_load(path, arch, out, err));
cleanup:
    pq_free(path);
    return st;
}

/* A file or folder, or the name of a public set (datasets/sets). */
static char *locate_data(const run_state *r)
{
    const size_t n      = (size_t)(pq_path_base(r->path) - r->path);
    char        *beside = pq_format("%.*s../datasets/sets", (int)n, r->path);
    char        *path   = NULL;
    pq_set       set    = {0};

    if (beside != NULL && strpbrk(r->data.file, "/.") == NULL &&
        (pq_set_find("datasets/sets", r->data.file, &set, NULL) == PQ_OK ||
         pq_set_find(beside, r->data.file, &set, NULL) == PQ_OK)) {
        (void)pq_set_where(&set, &path, NULL);
        pq_set_free(&set);
    }
    pq_free(beside);
    return path != NULL ? path : locate(r, r->data.file);
}

static pq_status open_inputs(run_state *r, pq_train_data *data, pq_err *err)
{
    const pq_dataset_options how  = {.layout = r->data.layout,
                                     .inputs = r->data.inputs,
                                     .labels = r->data.labels,
                                     .splits = r->data.splits};
    char                    *path = locate_data(r);
    pq_status                st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (r->model.zoo != NULL) {
        PQ_TRY(pq_zoo_build(r->model.zoo, (uint64_t)r->train.seed, &r->graph, err));
    } else {
        PQ_TRY(load(r, r->model.weights, r->model.arch, &r->graph, err));
    }
    if (r->model.teacher != NULL) {
        PQ_TRY(load(r, r->model.teacher, NULL, &r->teacher, err));
        PQ_TRY(pq_graph_check(r->teacher, err));
    }
    PQ_TRY(pq_dataset_open(path, &how, &r->dataset, err));
    *data = (pq_train_data){.dataset = r->dataset, .validation = SIZE_MAX};
    PQ_TRY(pq_dataset_split(r->dataset, r->data.train, &data->train, err));
    if (r->data.validation != NULL) {
        PQ_TRY(pq_dataset_split(r->dataset, r->data.validation, &data->validation, err));
    }
cleanup:
    pq_free(path);
    return st;
}

static void print_epoch(void *context, const pq_train_epoch *e)
{
    const run_state *r = context;

    pq_progress_done();
    if (!r->quiet) {
        (void)printf("epoch %4zu  lr %.3g  loss %.4f  validation %.4f  accuracy %.4f  "
                     "lowest recall %.4f  %.3g events/s%s\n",
                     e->epoch, e->lr, e->train_loss, e->validation_loss, e->accuracy,
                     e->lowest_recall, e->events_per_s, e->best ? "  *" : "");
        (void)fflush(stdout);
    }
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Metrics of the test split, with their intervals. */
static pq_status test(const run_state *r, json_t *log, pq_err *err)
{
    const pq_evaluate_options how = {.file_bytes = pq_file_bytes(r->output.model)};
    pq_evaluated              got = {0};
    size_t                    split;
    json_t                   *metrics = json_object();
    pq_status                 st      = PQ_OK;

    if (r->data.test == NULL) {
        goto cleanup;
    }
    PQ_TRY(pq_dataset_split(r->dataset, r->data.test, &split, err));
    PQ_TRY(pq_evaluate(r->graph, r->dataset, split, &how, &got, err));
    for (size_t i = 0; i < got.values.n; i++) {
        const pq_value *v = &got.values.items[i];
        (void)json_object_set_new(metrics, v->name,
                                  json_pack("{s:o, s:o, s:o, s:o, s:s}", "value",
                                            number(v->value), "lo", number(v->lo), "hi",
                                            number(v->hi), "n", number(v->n), "unit",
                                            v->unit));
        if (!r->quiet && strcmp(v->name, "accuracy") == 0) {
            (void)printf("test accuracy %.4f [%.4f, %.4f] of %zu events\n", v->value,
                         v->lo, v->hi, got.n);
        }
    }
    (void)json_object_set(log, "test", metrics);
cleanup:
    json_decref(metrics);
    pq_evaluated_free(&got);
    return st;
}

static pq_status write_log(const run_state *r, json_t *log, pq_err *err)
{
    pq_text   params = {0};
    char      hash[65], date[32], *text = NULL;
    pq_status st = PQ_OK;

    if (r->output.log == NULL) {
        goto cleanup;
    }
    PQ_TRY(pq_graph_hash(r->graph, hash, err));
    pq_params_print(pq_train_param_table, &r->train, &params);
    PQ_CHECK(
        !params.failed &&
            json_object_update_new(
                log,
                json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:s, "
                          "s:s, s:o}",
                          "name", r->name != NULL ? r->name : "", "zoo", r->model.zoo,
                          "weights", r->model.weights, "dataset", r->data.file, "train",
                          params.text, "events", (json_int_t)r->summary.events,
                          "validation_events", (json_int_t)r->summary.validation_events,
                          "best_epoch", (json_int_t)r->summary.best, "peak_bytes",
                          (json_int_t)r->summary.peak_bytes, "stopped_early",
                          (int)r->summary.stopped_early, "model", hash, "date",
                          pq_clock_date(date, sizeof date), "epochs",
                          pq_train_history_json(&r->summary, r->graph))) == 0 &&
            json_object_set_new(log, "isa", json_string(pq_isa_name(pq_cpu_isa()))) == 0,
        PQ_ERR_NOMEM, "cannot allocate a log");
    text = json_dumps(log, JSON_INDENT(1) | JSON_REAL_PRECISION(7));
    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot allocate a log");
    PQ_TRY(pq_file_write(r->output.log, text, strlen(text), err));
cleanup:
    free(text); /* jansson's own block */
    pq_text_free(&params);
    return st;
}

static pq_status note(run_state *r, pq_err *err)
{
    pq_text   params = {0};
    json_t   *step;
    pq_status st;

    pq_params_print(pq_train_param_table, &r->train, &params);
    step = params.failed ? NULL
                         : json_pack("{s:s, s:s*, s:s, s:s}", "method", "train", "zoo",
                                     r->model.zoo, "dataset", pq_path_base(r->data.file),
                                     "params", params.text);
    PQ_CHECK(step != NULL, PQ_ERR_NOMEM, "cannot allocate a step of provenance");
    PQ_TRY(pq_graph_note(r->graph, step, err));
cleanup:
    pq_text_free(&params);
    return st;
}

static pq_status train(run_state *r, const pq_args *args, pq_err *err)
{
    const pq_progress progress = pq_args_progress(args);
    pq_train_options  how      = {.teacher    = NULL,
                                  .checkpoint = r->output.checkpoint,
                                  .progress   = &progress,
                                  .epoch_done = print_epoch,
                                  .context    = r};
    pq_train_data     data;
    json_t           *log = json_object();
    pq_status         st;

    PQ_TRY(pq_args_size(args, "threads", 0, 1024, &how.threads, err));
    PQ_TRY(open_inputs(r, &data, err));
    how.teacher = r->teacher;
    PQ_TRY(pq_train(r->graph, &data, &r->train, &how, &r->summary, err));
    PQ_TRY(note(r, err));
    PQ_TRY(pq_model_save(r->graph, r->output.model, err));
    PQ_TRY(test(r, log, err));
    PQ_TRY(write_log(r, log, err));
    if (!r->quiet) {
        (void)printf("%s: weights of epoch %zu of %zu%s\n", r->output.model,
                     r->summary.best, r->summary.n_epochs,
                     r->summary.stopped_early ? ", stopped early" : "");
    }
cleanup:
    json_decref(log);
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    run_state r = {.path = pq_args_get(args, 0), .quiet = pq_args_flag(args, "quiet")};
    block     blocks[BLOCKS];
    pq_status st;

    (void)exit_code;
    PQ_TRY(read_config(&r, args, err));
    PQ_TRY(train(&r, args, err));
cleanup:
    list_blocks(&r, blocks);
    for (size_t b = 0; b < BLOCKS; b++) {
        pq_params_free(blocks[b].rows, blocks[b].values);
    }
    pq_train_summary_free(&r.summary);
    pq_graph_free(&r.graph);
    pq_graph_free(&r.teacher);
    pq_dataset_close(&r.dataset);
    pq_free(r.name);
    return st;
}

const pq_verb pq_verb_train = {
    .name = "train",
    .summary =
        "train a network, from scratch or on from a model, as a configuration says",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant train configs/train-jsc.yaml -S train.epochs=20",
    .run       = run,
};
