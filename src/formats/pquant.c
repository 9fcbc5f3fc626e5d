/*
 * Our own model file (docs/file-formats.md): HDF5 with the graph as JSON and one
 * dataset per weight, bit-packed with its quantizer in attributes, or float32.
 * The same model gives the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/pquant_mask.h"
#include "formats/pquant_quant.h"
#include "graph/graph_json.h"
#include "io/hdf5.h"
#include "tensor/store.h"

enum { VERSION = 1, MOST_WITHOUT_BITS = 1 << 22 };

#define FORMAT           "pquant-model"
#define MAX_WEIGHT_BYTES ((size_t)8 << 30)

/* Where the weights of the model stand, and those of what was set aside. */
static const char weights[] = "weights", aside_weights[] = "aside_weights";

/* Most networks of a front that a file may hold. */
enum { MOST_FRONT = 4096 };

static char *weight_path(const char *root, const char *layer, const char *weight)
{
    return pq_format("%s/%s/%s", root, layer, weight);
}

/* Saving */

static pq_status save_packed(pq_h5 *file, const char *path, const pq_weight *w,
                             pq_store_form form, pq_err *err)
{
    const pq_quant *q      = w->quant;
    uint8_t        *packed = NULL;
    size_t          bytes  = 0;
    pq_tensor       view   = {.dtype = PQ_DTYPE_U8};
    int64_t         shape[PQ_MAX_DIMS];
    pq_status       st;

    PQ_TRY(pq_store_pack(q, w->value, form, &packed, &bytes, err));
    view.shape = PQ_SHAPE(bytes);
    view.count = bytes;
    view.data  = packed;
    PQ_TRY(pq_h5_write(file, path, &view, 0, err));
    PQ_TRY(pq_h5_set_text(file, path, "scheme",
                          q != NULL ? pq_quant_scheme_names[q->scheme] : PQ_H5_PLAIN,
                          err));
    for (size_t i = 0; i < w->value->shape.ndim; i++) {
        shape[i] = (int64_t)w->value->shape.dim[i];
    }
    PQ_TRY(pq_h5_set_numbers(file, path, "shape", PQ_DTYPE_I64, shape,
                             w->value->shape.ndim, err));
    if (form != PQ_STORE_DENSE) {
        PQ_TRY(pq_h5_set_flag(file, path, "sparse", (int)form, err));
    }
    if (q != NULL) {
        PQ_TRY(pq_h5_save_quantizer(file, path, q, err));
    }
cleanup:
    pq_free(packed);
    return st;
}

static pq_status save_weight(pq_h5 *file, const char *root, const char *layer,
                             const pq_weight *w, pq_err *err)
{
    size_t              bytes;
    const pq_store_form form =
        w->pruned != NULL ? pq_store_least(w->quant, w->value, &bytes) : PQ_STORE_DENSE;
    char     *path = weight_path(root, layer, w->name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (w->quant != NULL || form != PQ_STORE_DENSE) {
        PQ_TRY(save_packed(file, path, w, form, err));
    } else {
        PQ_TRY(pq_h5_write(file, path, w->value, 0, err));
    }
    if (w->pruned != NULL) {
        PQ_TRY(pq_h5_set_flag(file, path, "pruned", 1, err));
        PQ_TRY(pq_h5_save_mask(file, path, w, err));
    }
cleanup:
    pq_free(path);
    return st;
}

static pq_status save_json(pq_h5 *file, const char *path, const json_t *json, pq_err *err)
{
    char     *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    pq_status st;

    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot write JSON");
    PQ_TRY(pq_h5_write_text(file, path, text, err));
cleanup:
    free(text);
    return st;
}

/* The structure as JSON under `name`, the weights under `root`. */
static pq_status save_nodes(pq_h5 *file, const pq_graph *graph, const char *name,
                            const char *root, pq_err *err)
{
    json_t   *json = NULL;
    pq_status st;

    PQ_TRY(pq_graph_to_json(graph, &json, err));
    PQ_TRY(save_json(file, name, json, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            PQ_TRY(save_weight(file, root, node->name, &node->layer->weights[k], err));
        }
    }
cleanup:
    json_decref(json);
    return st;
}

static pq_status save_about(pq_h5 *file, const pq_graph *graph, pq_err *err)
{
    const int32_t version = VERSION;
    pq_status     st;

    PQ_TRY(pq_h5_set_text(file, "/", "format", FORMAT, err));
    PQ_TRY(pq_h5_set_numbers(file, "/", "version", PQ_DTYPE_I32, &version, 1, err));
    if (json_array_size(graph->provenance) > 0) {
        PQ_TRY(save_json(file, "provenance", graph->provenance, err));
    }
    if (graph->scaler_mean != NULL) {
        PQ_TRY(pq_h5_write(file, "scaler/mean", graph->scaler_mean, 0, err));
        PQ_TRY(pq_h5_write(file, "scaler/std", graph->scaler_std, 0, err));
    }
cleanup:
    return st;
}

/* Loading */

static bool recognises(const char *path)
{
    pq_h5 *file   = NULL;
    char  *format = NULL;
    bool   yes;

    yes = pq_h5_is_file(path) && pq_h5_open(path, &file, NULL) == PQ_OK &&
          pq_h5_attr_text(file, "/", "format", &format, NULL) == PQ_OK &&
          strcmp(format, FORMAT) == 0;
    pq_free(format);
    pq_h5_close(&file);
    return yes;
}

static pq_status load_json(pq_h5 *file, const char *path, json_t **out, pq_err *err)
{
    char       **texts = NULL;
    size_t       n     = 0;
    json_error_t where;
    pq_status    st;

    PQ_TRY(pq_h5_read_texts(file, path, &texts, &n, err));
    PQ_CHECK(n == 1, PQ_ERR_FORMAT, "%s: %s holds %zu texts, not one", pq_h5_path(file),
             path, n);
    *out = json_loads(texts[0], JSON_REJECT_DUPLICATES, &where);
    PQ_CHECK(*out != NULL, PQ_ERR_FORMAT, "%s: %s is not valid JSON: column %d: %s",
             pq_h5_path(file), path, where.column, where.text);
cleanup:
    pq_h5_free_texts(&texts, n);
    return st;
}

static pq_status load_packed(pq_h5 *file, const char *path, const pq_shape *shape,
                             pq_quant **quant, pq_tensor **out, pq_err *err)
{
    pq_tensor *packed = NULL, *t = NULL;
    pq_quant  *q     = NULL;
    size_t     count = 0;
    int        sparse;
    char       text[128];
    pq_status  st;

    PQ_TRY(pq_h5_load_quantizer(file, path, shape, &q, err));
    PQ_TRY(pq_h5_whole(file, path, "sparse", 0, 0, PQ_STORE_FORMS - 1, &sparse, err));
    PQ_TRY(pq_h5_read(file, path, PQ_DTYPE_U8, MAX_WEIGHT_BYTES, &packed, err));
    /* Even a bitmap takes a bit of each value, other forms one for eight; only fixed
     * point may have no bits at all. */
    PQ_CHECK(
        pq_shape_count(shape, &count) &&
            (count / (sparse > PQ_STORE_BITMAP ? PQ_STORE_ITEMS_A_BYTE : 8) <=
                 packed->count ||
             (q != NULL && q->scheme == PQ_QUANT_FIXED && count <= MOST_WITHOUT_BITS)),
        PQ_ERR_FORMAT, "%s: %s stores %zu bytes for a weight of shape %s",
        pq_h5_path(file), path, packed->count, pq_shape_text(shape, text, sizeof text));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, *shape, &t, err));
    st = q != NULL ? pq_quant_check(q, shape, err) : PQ_OK;
    st = st == PQ_OK ? pq_store_unpack(q, packed->data, packed->count,
                                       (pq_store_form)sparse, t, err)
                     : st;
    if (st != PQ_OK) {
        pq_err_context(err, "%s: %s", pq_h5_path(file), path);
        goto cleanup;
    }
    *quant = q;
    *out   = t;
    q      = NULL;
    t      = NULL;
cleanup:
    pq_quant_free(&q);
    pq_tensor_free(&t);
    pq_tensor_free(&packed);
    return st;
}

/* Shape and name of a weight as the graph's JSON gives them. */
static pq_status weight_shape(const pq_h5 *file, const char *layer, const json_t *json,
                              const char **name, pq_shape *shape, pq_err *err)
{
    const json_t *dims = json_object_get(json, "shape");
    pq_status     st;

    *name  = json_string_value(json_object_get(json, "name"));
    *shape = (pq_shape){.ndim = json_array_size(dims)};
    PQ_CHECK(*name != NULL && json_is_array(dims) && shape->ndim <= PQ_MAX_DIMS,
             PQ_ERR_FORMAT, "%s: layer '%s': a weight in /graph has no name or no shape",
             pq_h5_path(file), layer);
    for (size_t i = 0; i < shape->ndim; i++) {
        const json_int_t dim = json_integer_value(json_array_get(dims, i));
        PQ_CHECK(dim >= 1, PQ_ERR_FORMAT,
                 "%s: layer '%s': weight '%s' has an empty shape", pq_h5_path(file),
                 layer, *name);
        shape->dim[i] = (size_t)dim;
    }
cleanup:
    return st;
}

static pq_status load_weight(pq_h5 *file, const char *root, pq_node *node,
                             const json_t *json, pq_err *err)
{
    const char *name = NULL;
    char       *path = NULL;
    pq_tensor  *t    = NULL, *taken;
    pq_quant   *q    = NULL;
    pq_weight  *w;
    pq_shape    shape;
    int         pruned;
    char        want[128], have[128];
    pq_status   st;

    PQ_TRY(weight_shape(file, node->name, json, &name, &shape, err));
    path = weight_path(root, node->name, name);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_h5_has_attr(file, path, "scheme")) {
        PQ_TRY(load_packed(file, path, &shape, &q, &t, err));
    } else {
        PQ_TRY(pq_h5_read(file, path, PQ_DTYPE_F32, MAX_WEIGHT_BYTES, &t, err));
        PQ_CHECK(pq_shape_equal(&t->shape, &shape), PQ_ERR_SHAPE,
                 "%s: %s is %s, /graph says %s", pq_h5_path(file), path,
                 pq_shape_text(&t->shape, have, sizeof have),
                 pq_shape_text(&shape, want, sizeof want));
    }
    PQ_TRY(pq_h5_whole(file, path, "pruned", 0, 0, 1, &pruned, err));
    taken = t;
    t     = NULL;
    PQ_TRY(pq_layer_add_weight(node->layer, name, taken, err));
    w        = pq_layer_weight(node->layer, name);
    w->quant = q;
    q        = NULL;
    if (pruned == 1) {
        PQ_TRY(pq_h5_load_mask(file, path, w, err));
    }
cleanup:
    pq_free(path);
    pq_tensor_free(&t);
    pq_quant_free(&q);
    return st;
}

static pq_status load_nodes(pq_h5 *file, const char *name, const char *root,
                            pq_graph **out, pq_err *err)
{
    json_t       *json = NULL;
    const json_t *nodes;
    pq_graph     *graph = NULL;
    pq_status     st;

    PQ_TRY(load_json(file, name, &json, err));
    st = pq_graph_from_json(json, &graph, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s: %s", pq_h5_path(file), name);
        goto cleanup;
    }
    nodes = json_object_get(json, "nodes");
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        const json_t *list = json_object_get(node, "weights");
        const size_t  at =
            pq_graph_find(graph, json_string_value(json_object_get(node, "name")));
        for (size_t k = 0; k < json_array_size(list); k++) {
            PQ_TRY(
                load_weight(file, root, &graph->nodes[at], json_array_get(list, k), err));
        }
    }
    *out  = graph;
    graph = NULL;
cleanup:
    json_decref(json);
    pq_graph_free(&graph);
    return st;
}

static pq_status load_scaler(pq_h5 *file, pq_graph *graph, pq_err *err)
{
    pq_status st = PQ_OK;

    if (!pq_h5_has(file, "scaler")) {
        return PQ_OK;
    }
    PQ_TRY(pq_h5_read(file, "scaler/mean", PQ_DTYPE_F32, MAX_WEIGHT_BYTES,
                      &graph->scaler_mean, err));
    PQ_TRY(pq_h5_read(file, "scaler/std", PQ_DTYPE_F32, MAX_WEIGHT_BYTES,
                      &graph->scaler_std, err));
    PQ_CHECK(graph->scaler_mean->shape.ndim == 1 &&
                 pq_shape_equal(&graph->scaler_mean->shape, &graph->scaler_std->shape),
             PQ_ERR_SHAPE, "%s: scaler/mean and scaler/std are not lists of one length",
             pq_h5_path(file));
    for (size_t i = 0; i < graph->scaler_std->count; i++) {
        const float mean = pq_f32(graph->scaler_mean)[i],
                    std  = pq_f32(graph->scaler_std)[i];
        PQ_CHECK(
            mean - mean == 0.0F && std - std == 0.0F && std > 0.0F, PQ_ERR_NUMERIC,
            "%s: the scaler of feature %zu has mean %g and std %g, not finite ones with "
            "std > 0",
            pq_h5_path(file), i, (double)mean, (double)std);
    }
cleanup:
    return st;
}

static pq_status check_version(pq_h5 *file, pq_err *err)
{
    double   *version = NULL;
    size_t    n       = 0;
    pq_status st;

    PQ_TRY(pq_h5_attr_numbers(file, "/", "version", &version, &n, err));
    PQ_CHECK(n == 1 && version[0] == VERSION, PQ_ERR_UNSUPPORTED,
             "%s: is of version %g; version %d is read", pq_h5_path(file),
             n == 1 ? version[0] : 0.0, VERSION);
cleanup:
    pq_free(version);
    return st;
}

/* Networks 0, 1, … of a front, each with its provenance. */
static pq_status save_front(pq_h5 *file, const pq_graph *graph, pq_err *err)
{
    char      name[48], root[48], about[48];
    size_t    i  = 0;
    pq_status st = PQ_OK;

    for (const pq_graph *g = graph->front; g != NULL; g = g->front, i++) {
        PQ_CHECK(i < MOST_FRONT, PQ_ERR_UNSUPPORTED,
                 "a front of more than %d networks cannot be saved", (int)MOST_FRONT);
        (void)snprintf(name, sizeof name, "front/%zu", i);
        (void)snprintf(root, sizeof root, "front_weights/%zu", i);
        (void)snprintf(about, sizeof about, "front_provenance/%zu", i);
        PQ_TRY(save_nodes(file, g, name, root, err));
        PQ_TRY(save_json(file, about, g->provenance, err));
    }
cleanup:
    return st;
}

static pq_status load_front(pq_h5 *file, pq_graph **list, pq_err *err)
{
    char      name[48], root[48], about[48];
    pq_status st = PQ_OK;

    if (!pq_h5_has(file, "front")) {
        return PQ_OK;
    }
    for (size_t i = 0; i < MOST_FRONT; i++, list = &(*list)->front) {
        (void)snprintf(name, sizeof name, "front/%zu", i);
        (void)snprintf(root, sizeof root, "front_weights/%zu", i);
        (void)snprintf(about, sizeof about, "front_provenance/%zu", i);
        if (!pq_h5_has(file, name)) {
            break;
        }
        PQ_TRY(load_nodes(file, name, root, list, err));
        if (pq_h5_has(file, about)) {
            json_decref((*list)->provenance);
            (*list)->provenance = NULL;
            PQ_TRY(load_json(file, about, &(*list)->provenance, err));
            PQ_CHECK(json_is_array((*list)->provenance), PQ_ERR_FORMAT,
                     "%s: %s is not a list", pq_h5_path(file), about);
        }
    }
cleanup:
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    pq_h5    *file  = NULL;
    pq_graph *graph = NULL;
    pq_status st;

    PQ_CHECK(arch == NULL, PQ_ERR_CONFIG,
             "%s: holds its own architecture; --arch is for weights-only files", path);
    PQ_TRY(pq_h5_open(path, &file, err));
    PQ_TRY(check_version(file, err));
    PQ_TRY(load_nodes(file, "graph", weights, &graph, err));
    PQ_TRY(load_scaler(file, graph, err));
    if (pq_h5_has(file, "aside")) {
        PQ_TRY(load_nodes(file, "aside", aside_weights, &graph->aside, err));
    }
    PQ_TRY(load_front(file, &graph->front, err));
    if (pq_h5_has(file, "provenance")) {
        json_decref(graph->provenance);
        graph->provenance = NULL;
        PQ_TRY(load_json(file, "provenance", &graph->provenance, err));
        PQ_CHECK(json_is_array(graph->provenance), PQ_ERR_FORMAT,
                 "%s: provenance is not a list", path);
    }
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    pq_h5_close(&file);
    return st;
}

/* Whether a file holds the graph: what cannot be read back, or not as it was, gets no
 * name. */
static pq_status check_saved(const char *path, const void *context, pq_err *err)
{
    const pq_graph *graph = context;
    pq_graph       *back  = NULL;
    char            due[PQ_HASH_TEXT], is[PQ_HASH_TEXT];
    pq_status       st;

    PQ_TRY(load(path, NULL, &back, err));
    PQ_TRY(pq_graph_check(back, err));
    PQ_TRY(pq_graph_hash(graph, due, err));
    PQ_TRY(pq_graph_hash(back, is, err));
    PQ_CHECK(strcmp(due, is) == 0 && json_equal(graph->provenance, back->provenance) != 0,
             PQ_ERR_FORMAT, "%s: what was written is not the model that was to be saved",
             path);
cleanup:
    if (st != PQ_OK && st != PQ_ERR_NOMEM) {
        pq_err_context(err, "the file is not kept, as it cannot be read back");
    }
    pq_graph_free(&back);
    return st;
}

static pq_status save(const pq_graph *graph, const char *path, pq_err *err)
{
    pq_h5    *file = NULL;
    pq_status st;

    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(save_about(file, graph, err));
    PQ_TRY(save_nodes(file, graph, "graph", weights, err));
    if (graph->aside != NULL) {
        PQ_TRY(save_nodes(file, graph->aside, "aside", aside_weights, err));
    }
    PQ_TRY(save_front(file, graph, err));
    PQ_TRY(pq_h5_commit_checked(&file, check_saved, graph, err));
cleanup:
    pq_h5_close(&file);
    return st;
}

const pq_model_format pq_model_format_pquant = {
    .name       = "pquant",
    .summary    = "own model file: graph, packed weights, quantizers, scaler, provenance",
    .source     = "docs/file-formats.md",
    .recognises = recognises,
    .load       = load,
    .save       = save,
};
