#include "sweep/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"
#include "exec/rescale.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "graph/head.h"
#include "store/json.h"
#include "sweep/stamp.h"

enum { MEMO_BYTES = 16 << 20 };

enum { DATA_HOME = 2, PLACES };

/* The places an input may be in, in order; NULL entries are not looked at. */
static void list_places(const pq_config *config, const char *name, char *places[PLACES])
{
    const int n    = (int)(pq_path_base(config->path) - config->path);
    char     *home = NULL;

    places[0] = pq_strdup(name);
    if (name[0] == '/') {
        return;
    }
    places[1] = n > 0 ? pq_format("%.*s%s", n, config->path, name) : NULL;
    if (pq_data_home(&home, NULL) == PQ_OK) {
        places[2] = pq_path_join(home, name);
    }
    pq_free(home);
}

static bool is_there(const char *path)
{
    return path != NULL && (pq_file_exists(path) || pq_folder_exists(path));
}

/* The name itself, if it is that of a public set that is here: opening it finds the
 * place, and the manifest's layout and classes. NULL, and PQ_OK, if it is no set's. */
static pq_status find_set(const pq_config *config, const char *name, char **out,
                          pq_err *err)
{
    char     *sets = NULL, *path = NULL;
    pq_set    set = {0};
    pq_status st  = PQ_OK;

    *out = NULL;
    if (strpbrk(name, "/.") != NULL ||
        pq_folder_shipped("datasets/sets", "sets", &sets, NULL) != PQ_OK ||
        pq_set_find(sets, name, &set, NULL) != PQ_OK) {
        goto cleanup;
    }
    pq_set_free(&set);
    st = pq_data_resolve(name, &set, &path, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s: dataset '%s'", config->path, name);
        goto cleanup;
    }
    PQ_STRDUP(*out, name);
cleanup:
    pq_set_free(&set);
    pq_free(sets);
    pq_free(path);
    return st;
}

static pq_status fail_missing(const pq_config *config, const char *what, const char *name,
                              char *const places[PLACES], pq_err *err)
{
    pq_text   tried = {0};
    pq_status st;

    for (size_t i = 0; i < PLACES; i++) {
        if (places[i] != NULL) {
            pq_text_add(&tried, "%s%s", tried.length > 0 ? ", " : "", places[i]);
        }
    }
    st = pq_err_set(err, PQ_ERR_NOT_FOUND, __FILE__, __LINE__,
                    "%s: %s '%s' is not there (looked at %s)", config->path, what, name,
                    tried.text != NULL ? tried.text : name);
    pq_err_hint(
        err,
        strcmp(what, "dataset") == 0
            ? "give the path of '%s', or set PQUANT_DATA_DIR to the folder that holds "
              "it; "
              "`pquant data list` names the public sets that `pquant data fetch` gets"
        : strcmp(what, "architecture") == 0
            ? "give the path of '%s' (-S model.arch=FILE), or set PQUANT_DATA_DIR to the "
              "folder that holds it"
            : "give the path of '%s' (-S model.weights=FILE), or set PQUANT_DATA_DIR to "
              "the folder that holds it",
        name);
    pq_text_free(&tried);
    return st;
}

pq_status pq_input_find(const pq_config *config, const char *what, const char *name,
                        char **out, pq_err *err)
{
    char     *places[PLACES] = {0};
    pq_status st             = PQ_OK;

    *out = NULL;
    list_places(config, name, places);
    for (size_t i = 0; i < PLACES && *out == NULL; i++) {
        if (i == DATA_HOME && strcmp(what, "dataset") == 0) {
            PQ_TRY(find_set(config, name, out, err));
        }
        if (*out == NULL && is_there(places[i])) {
            *out      = places[i];
            places[i] = NULL;
        }
    }
    if (*out == NULL) {
        st = fail_missing(config, what, name, places, err);
    }
cleanup:
    for (size_t i = 0; i < PLACES; i++) {
        pq_free(places[i]);
    }
    return st;
}

static pq_status name_classes(const pq_config *config, pq_graph *graph, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_TRY(pq_text_split(config->model.classes, ',', &names, &n, err));
    PQ_TRY(pq_graph_set_classes(graph, n, (const char *const *)names, err));
cleanup:
    pq_free(names);
    return st;
}

static pq_status take_scaler(const pq_config *config, pq_graph *graph, pq_err *err)
{
    char       *path    = NULL;
    pq_dataset *dataset = NULL;
    pq_status   st;

    PQ_CHECK(config->dataset.file != NULL, PQ_ERR_CONFIG,
             "%s: model: scaler = dataset needs a dataset", config->path);
    PQ_TRY(pq_input_find(config, "dataset", config->dataset.file, &path, err));
    PQ_TRY(pq_input_dataset(config, graph->n_features,
                            (const char *const *)graph->feature_names, path, &dataset,
                            err));
    PQ_TRY(pq_scaler_take(graph, pq_dataset_describe(dataset), err));
    PQ_TRY(pq_graph_check(graph, err));
cleanup:
    pq_free(path);
    pq_dataset_close(&dataset);
    return st;
}

pq_status pq_input_model(const pq_config *config, const char *weights, const char *arch,
                         pq_graph **out, pq_err *err)
{
    pq_graph *graph = NULL;
    pq_status st    = PQ_OK;

    if (config->model.zoo != NULL) {
        PQ_TRY(
            pq_zoo_build(config->model.zoo, (uint64_t)config->seeds.base, &graph, err));
    }
    for (size_t i = 0; config->model.format != NULL && pq_formats[i] != NULL; i++) {
        if (strcmp(pq_formats[i]->name, config->model.format) == 0) {
            PQ_TRY(pq_model_load_as(pq_formats[i], weights, arch,
                                    config->model.output_layer, &graph, err));
        }
    }
    if (graph == NULL) {
        PQ_TRY(
            pq_model_load_output(weights, arch, config->model.output_layer, &graph, err));
    }
    PQ_TRY(pq_graph_check(graph, err));
    if (config->model.classes != NULL) {
        PQ_TRY(name_classes(config, graph, err));
    }
    if (config->model.scaler == PQ_SCALER_DATASET) {
        PQ_TRY(take_scaler(config, graph, err));
    }
    PQ_TRY(pq_graph_set_head(graph, pq_head_names[config->model.head], err));
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    return st;
}

pq_status pq_input_dataset(const pq_config *config, size_t n_wanted,
                           const char *const *wanted, const char *path, pq_dataset **out,
                           pq_err *err)
{
    const pq_config_dataset *d       = &config->dataset;
    const pq_dataset_options options = {.layout    = d->layout,
                                        .inputs    = d->inputs,
                                        .x         = d->x,
                                        .y         = d->y,
                                        .label     = d->label,
                                        .weight    = d->weight,
                                        .labels    = d->labels,
                                        .splits    = d->splits,
                                        .wanted    = wanted,
                                        .n_wanted  = n_wanted,
                                        .nonfinite = (pq_nonfinite)d->nonfinite};

    return pq_dataset_open(path, &options, out, err);
}

pq_status pq_hash_memo_open(const char *dir, pq_hash_memo *out, pq_err *err)
{
    char     *bytes = NULL;
    size_t    n     = 0;
    pq_status st;

    *out      = (pq_hash_memo){0};
    out->path = pq_path_join(dir, "hashes.json");
    PQ_CHECK(out->path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_file_read(out->path, MEMO_BYTES, &bytes, &n, NULL) == PQ_OK) {
        out->entries = json_loadb(bytes, n, 0, NULL);
    }
    if (!json_is_object(out->entries)) {
        json_decref(out->entries);
        out->entries = json_object();
    }
cleanup:
    pq_free(bytes);
    return st;
}

void pq_hash_memo_close(pq_hash_memo *memo)
{
    pq_text text = {0};

    if (memo->changed && pq_json_add(memo->entries, &text)) {
        (void)pq_file_write(memo->path, text.text, text.length, NULL);
    }
    pq_text_free(&text);
    json_decref(memo->entries);
    pq_free(memo->path);
    *memo = (pq_hash_memo){0};
}

bool pq_hash_memo_key(size_t n, const char *const *files, const char *how,
                      char out[PQ_HASH_TEXT])
{
    pq_stamp s;

    pq_stamp_start(&s);
    pq_hash_text(&s.hash, PQ_VERSION);
    pq_hash_text(&s.hash, how);
    for (size_t i = 0; i < n; i++) {
        pq_stamp_add(&s, files[i]);
    }
    pq_stamp_end(&s, out);
    return pq_stamp_settled(&s);
}

const char *pq_hash_memo_get(const pq_hash_memo *memo, const char *key)
{
    const char *hash = json_string_value(json_object_get(memo->entries, key));

    return hash != NULL && strlen(hash) == PQ_HASH_TEXT - 1 ? hash : NULL;
}

void pq_hash_memo_put(pq_hash_memo *memo, const char *key, const char *hash)
{
    char *folder =
        pq_format("%.*s", (int)(pq_path_base(memo->path) - memo->path), memo->path);

    if (pq_folder_exists(folder) &&
        json_object_set_new(memo->entries, key, json_string(hash)) == 0) {
        memo->changed = true;
    }
    pq_free(folder);
}
