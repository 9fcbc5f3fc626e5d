#include "sweep/train_config.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "exec/rescale.h"
#include "formats/model.h"
#include "graph/head.h"
#include "sweep/problems.h"
#include "sweep/source.h"

#define SCHEMA "pquant/1"

#define TEXT(type, name, fallback, help)                                                 \
    {                                                                                    \
#name, PQ_PARAM_STRING, offsetof(type, name), fallback, 0, 0, NULL,              \
            PQ_UNIT_NONE, help                                                           \
    }

static const pq_param model_rows[] = {
    TEXT(pq_train_config_model, zoo, NULL, "network of the zoo, trained from scratch"),
    TEXT(pq_train_config_model, weights, NULL,
         "model file to go on from; what max_recall_loss compares with, without a "
         "teacher"),
    TEXT(pq_train_config_model, arch, NULL, "architecture beside weights-only files"),
    TEXT(pq_train_config_model, output_layer, NULL,
         "which of several outputs of the weights, by its name or number from 0 on"),
    {.name     = "scaler",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_train_config_model, scaler),
     .fallback = "none",
     .choices  = pq_scaler_names,
     .help     = "for weights without a scaler of its own: none (events as they "
                 "are), or dataset (it takes the dataset's scaler)"},
    {.name     = "head",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_train_config_model, head),
     .fallback = "auto",
     .choices  = pq_head_names,
     .help = "what the outputs mean: auto (as the last layer tells), softmax, logits, "
             "sigmoid, binary, none"},
    {.name     = "teacher_scaler",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(pq_train_config_model, teacher_scaler),
     .fallback = "none",
     .choices  = pq_scaler_names,
     .help     = "for a teacher without a scaler of its own: none (events as they "
                 "are), or dataset (it takes the dataset's scaler)"},
    TEXT(pq_train_config_model, teacher, NULL, "model file to distil from"),
    TEXT(pq_train_config_model, teacher_arch, NULL,
         "architecture of a teacher that holds weights only: JSON of Keras, or a network "
         "of the zoo"),
    {0},
};

static const pq_param dataset_rows[] = {
    TEXT(pq_train_config_dataset, file, NULL,
         "file or folder of events, or the name of a public set"),
    TEXT(pq_train_config_dataset, layout, NULL, "layout, where looking does not find it"),
    TEXT(pq_train_config_dataset, inputs, NULL, "columns used as features"),
    TEXT(pq_train_config_dataset, x, NULL,
         "array of the events in .npy, .npz or HDF5, or a map of splits to arrays"),
    TEXT(pq_train_config_dataset, y, NULL, "array of the labels, likewise"),
    TEXT(pq_train_config_dataset, label, NULL, "column that holds the class"),
    TEXT(pq_train_config_dataset, weight, NULL,
         "column that holds the event weights, or \"none\": all count alike"),
    TEXT(pq_train_config_dataset, labels, NULL, "class name = value"),
    TEXT(pq_train_config_dataset, splits, NULL,
         "splits by event number where the file has none"),
    TEXT(pq_train_config_dataset, train, "train", "split to train on"),
    TEXT(pq_train_config_dataset, validation, NULL,
         "split to watch; none = a share of the training one"),
    TEXT(pq_train_config_dataset, test, NULL, "split to test the trained model on"),
    {0},
};

static const pq_param output_rows[] = {
    TEXT(pq_train_config_output, model, NULL, "where the model goes"),
    TEXT(pq_train_config_output, log, NULL,
         "where the course of the training goes, as JSON"),
    TEXT(pq_train_config_output, checkpoint, NULL,
         "file to resume from after an interruption, kept afterwards; none = "
         "<model>.checkpoint, removed when all went well"),
    {0},
};

const pq_config_block pq_train_config_blocks[] = {
    {"model", model_rows, offsetof(pq_train_config, model), "What is trained"},
    {"dataset", dataset_rows, offsetof(pq_train_config, dataset),
     "What it is trained on"},
    {"train", pq_train_param_table, offsetof(pq_train_config, train),
     "How it is trained"},
    {"output", output_rows, offsetof(pq_train_config, output), "Where it goes"},
    {0},
};

static const char *const top_keys[] = {"schema", "name",   "model", "dataset",
                                       "train",  "output", NULL};

bool pq_train_config_is(const char *path)
{
    pq_yaml   *tree = NULL;
    const bool is   = pq_source_read(path, &tree, NULL) == PQ_OK &&
                    tree->kind == PQ_YAML_MAP && pq_yaml_find(tree, "train") != NULL &&
                    pq_yaml_find(tree, "pipelines") == NULL;

    pq_yaml_free(&tree);
    return is;
}

static pq_status read_top(pq_problems *p, const pq_yaml *tree, pq_train_config *config,
                          pq_err *err)
{
    const pq_yaml *schema = pq_yaml_find(tree, "schema");
    const pq_yaml *name   = pq_yaml_find(tree, "name");
    const char    *base   = pq_path_base(config->path);
    pq_status      st     = PQ_OK;

    for (size_t i = 0; i < tree->n; i++) {
        (void)pq_expect_key(p, tree->items[i], NULL, top_keys, "configuration");
    }
    if (schema == NULL || schema->kind != PQ_YAML_SCALAR ||
        strcmp(schema->text, SCHEMA) != 0) {
        pq_problem(p, schema == NULL ? tree : schema, "'schema: " SCHEMA "' is due here");
    }
    if (name != NULL && (name->kind != PQ_YAML_SCALAR || name->text[0] == '\0')) {
        pq_problem(p, name, "name: a text is due here");
    } else if (name != NULL) {
        PQ_STRDUP(config->name, name->text);
    } else {
        config->name = pq_format("%.*s", (int)strcspn(base, "."), base);
        PQ_CHECK(config->name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
cleanup:
    return st;
}

static const pq_yaml *place(const pq_yaml *tree, const char *key)
{
    const pq_yaml *node = pq_yaml_find(tree, key);

    return node != NULL ? node : tree;
}

/* An architecture says nothing without the weights it is for. */
static void check_model(pq_problems *p, const pq_yaml *model,
                        const pq_train_config_model *m)
{
    if ((m->zoo != NULL) == (m->weights != NULL)) {
        pq_problem(p, model, "model: exactly one of zoo and weights must be given");
    }
    if (m->arch != NULL && m->weights == NULL) {
        pq_problem(p, place(model, "arch"), "model: arch goes with weights");
    }
    if (m->output_layer != NULL && m->weights == NULL) {
        pq_problem(p, place(model, "output_layer"),
                   "model: output_layer goes with weights");
    }
    if (m->teacher_arch != NULL && m->teacher == NULL) {
        pq_problem(p, place(model, "teacher_arch"),
                   "model: teacher_arch goes with teacher");
    }
}

/* What must be given, and what tables cannot say. */
static void check_whole(pq_problems *p, const pq_yaml *tree, const pq_train_config *c)
{
    pq_err why = {0};

    check_model(p, place(tree, "model"), &c->model);
    if (c->dataset.file == NULL) {
        pq_problem(p, place(tree, "dataset"), "dataset: file must be given");
    }
    if (c->output.model == NULL) {
        pq_problem(p, place(tree, "output"), "output: model must be given");
    } else if (pq_model_check_path(c->output.model, &why) != PQ_OK) {
        pq_problem(p, place(tree, "output"), "output: model: %s", why.message);
        why = (pq_err){0};
    }
    if (pq_train_check(&c->train, &why) != PQ_OK) {
        pq_problem(p, place(tree, "train"), "train: %s", why.message);
    }
}

static pq_status read_tree(pq_problems *p, const pq_yaml *tree, const char *model,
                           pq_train_config *config, pq_err *err)
{
    pq_status st;

    PQ_TRY(read_top(p, tree, config, err));
    for (const pq_config_block *b = pq_train_config_blocks; b->name != NULL; b++) {
        void          *values = (char *)config + b->offset;
        const pq_yaml *node   = pq_yaml_find(tree, b->name);
        PQ_TRY(pq_params_default(b->params, values, err));
        if (node != NULL) {
            pq_read_block(p, node, b->params, values, NULL, b->name);
        }
    }
    if (model != NULL) {
        PQ_TRY(pq_params_set(output_rows, &config->output, "model", model, err));
    }
    check_whole(p, tree, config);
cleanup:
    return st;
}

pq_status pq_train_config_read(const char *path, const pq_config_changes *changes,
                               const char *model, pq_train_config **out,
                               pq_text *problems, pq_err *err)
{
    pq_problems      p      = {0};
    pq_train_config *config = NULL;
    pq_yaml         *tree   = NULL;
    pq_status        st;

    PQ_NEW(config, 1);
    PQ_STRDUP(config->path, path);
    PQ_TRY(pq_source_read(path, &tree, err));
    if (changes != NULL) {
        PQ_TRY(pq_source_change(&p, changes, tree, err));
    }
    PQ_TRY(read_tree(&p, tree, model, config, err));
    if (problems != NULL && p.n > 0) {
        pq_problems_list(&p, problems);
    }
    PQ_TRY(pq_problems_status(&p, err));
    *out   = config;
    config = NULL;
cleanup:
    pq_text_free(&p.lines);
    pq_yaml_free(&tree);
    pq_train_config_free(&config);
    return st;
}

void pq_train_config_free(pq_train_config **config)
{
    pq_train_config *c = *config;

    if (c == NULL) {
        return;
    }
    for (const pq_config_block *b = pq_train_config_blocks; b->name != NULL; b++) {
        pq_params_free(b->params, (char *)c + b->offset);
    }
    pq_free(c->path);
    pq_free(c->name);
    pq_free(c);
    *config = NULL;
}

void pq_train_config_show(const pq_train_config *config, pq_text *out)
{
    pq_text_add(out, "schema: " SCHEMA "\n");
    pq_show_name(out, config->name);
    for (const pq_config_block *b = pq_train_config_blocks; b->name != NULL; b++) {
        pq_text_add(out, "%s:\n", b->name);
        pq_show_block(out, b, config, "  ");
    }
}
