/*
 * Models of Keras: in HDF5, whole with `model_config` or weights beside an architecture
 * in JSON, and the .keras archives of Keras 3. Weights are found by layer_names and
 * weight_names, or in files of Keras 3, which have neither, by the places of their
 * layers; in their order, never by guessing.
 */
#include "formats/keras_reader.h"
#include "formats/left.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"

#define MAX_JSON_BYTES   ((size_t)256 << 20)
#define MAX_WEIGHT_BYTES ((size_t)4 << 30)

enum { PIECE_ITEMS = 1 << 17 };

typedef pq_keras_reader reader;

static bool recognises(const char *path)
{
    pq_h5 *file = NULL;
    bool   yes;

    if (pq_keras_is_archive(path)) {
        return true;
    }
    yes = pq_h5_open(path, &file, NULL) == PQ_OK &&
          (pq_h5_has_attr(file, "/", "model_config") ||
           pq_h5_has_attr(file, "/", "layer_names") ||
           pq_h5_has_attr(file, "/", "layer_names0") ||
           pq_h5_has(file, "model_weights") || pq_keras_v3_root(file) != NULL);
    pq_h5_close(&file);
    return yes;
}

/* The architecture: beside the file, or in it. */
static pq_status read_architecture(reader *r, const char *arch, json_t **out, pq_err *err)
{
    char     *text = NULL;
    size_t    n    = 0;
    pq_status st;

    if (arch != NULL) {
        PQ_TRY(pq_file_read(arch, MAX_JSON_BYTES, &text, &n, err));
        PQ_TRY(pq_keras_parse(text, n, arch, out, err));
    } else if (r->archive.config != NULL) {
        PQ_TRY(pq_keras_parse(r->archive.config, strlen(r->archive.config), r->path, out,
                              err));
    } else {
        if (!pq_h5_has_attr(r->file, "/", "model_config")) {
            st = pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                            "%s: holds weights of Keras without their architecture",
                            r->path);
            pq_err_hint(err, "give the JSON of model.to_json() with --arch FILE, or "
                             "`arch:` (of a teacher `teacher_arch:`) in a configuration");
            goto cleanup;
        }
        PQ_TRY(pq_h5_attr_text(r->file, "/", "model_config", &text, err));
        PQ_TRY(pq_keras_parse(text, strlen(text), r->path, out, err));
    }
cleanup:
    pq_free(text);
    return st;
}

/* Whether an array is HGQ 1's count of operations, which nothing is computed with, and
 * which is no number where a kernel is 0. */
static bool counts_only(const char *path)
{
    const char *end = strrchr(path, '/');

    return end != NULL && strcmp(end, "/bops:0") == 0;
}

/* Says where in the file a value is not finite. */
static pq_status check_finite(const char *path, const pq_tensor *t, bool turned,
                              pq_err *err)
{
    const size_t bad  = pq_tensor_first_nonfinite(t);
    size_t       left = bad;
    pq_text      at   = {0};
    pq_shape     place;
    pq_status    st = PQ_OK;

    if (bad != SIZE_MAX) {
        place.ndim = t->shape.ndim;
        for (size_t d = place.ndim; d-- > 0; left /= t->shape.dim[d]) {
            place.dim[d] = left % t->shape.dim[d];
        }
        for (size_t d = 0; d < place.ndim; d++) {
            pq_text_add(&at, "%s%zu", d == 0 ? "" : ", ",
                        place.dim[turned ? (d + 1) % place.ndim : d]);
        }
        PQ_FAIL(PQ_ERR_NUMERIC, "%s holds %g at [%s]", path, pq_tensor_get(t, bad),
                at.text != NULL ? at.text : "");
    }
cleanup:
    pq_text_free(&at);
    return st;
}

/* Whether the file has a group of a layer's weights; the conversion says if it needs
 * some. */
static bool has_weights(const reader *r, const pq_keras_scope *scope, const char *layer)
{
    const char *place = json_string_value(json_object_get(scope->places, layer));

    return scope->places != NULL
               ? place != NULL && pq_h5_has(r->file, place)
               : pq_places_find(&r->saved_at,
                                scope->group != NULL ? scope->group : layer) != SIZE_MAX;
}

/* The folder of a weight's name, "inner/dense" of "inner/dense/kernel:0", without those
 * before the last `parts` of it; its length. */
static size_t folder_of(const char *name, size_t parts, const char **begin)
{
    const char *end = strrchr(name, '/'), *at = end;

    *begin = name;
    if (end == NULL) {
        return 0;
    }
    while (at > name && parts > 0) {
        at--;
        if (*at == '/' && --parts == 0) {
            *begin = at + 1;
        }
    }
    return (size_t)(end - *begin);
}

static bool in_folder(const char *name, size_t parts, const char *folder)
{
    const char  *begin;
    const size_t n = folder_of(name, parts, &begin);

    return n == strlen(folder) && memcmp(begin, folder, n) == 0;
}

/* A layer of a model within a model has those of the group's weights whose names say so:
 * in a folder "…/inner/dense", else in "dense", else in "…/dense" where that is one. */
static pq_status keep_own(const pq_keras_scope *scope, const char *layer, char **names,
                          size_t *n, pq_err *err)
{
    char        *full    = pq_format("%s/%s", scope->name, layer);
    const char  *due[]   = {full, layer, layer}, *first, *begin;
    const size_t parts[] = {2, SIZE_MAX, 1};
    size_t       kept    = 0;
    pq_status    st;

    PQ_CHECK(full != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    for (size_t rule = 0; rule < 3 && kept == 0; rule++) {
        for (size_t i = 0; i < *n; i++) {
            if (in_folder(names[i], parts[rule], due[rule])) {
                char *name    = names[kept];
                names[kept++] = names[i];
                names[i]      = name;
            }
        }
    }
    for (size_t i = 1; i < kept; i++) {
        const size_t length = folder_of(names[0], SIZE_MAX, &first);
        PQ_CHECK(folder_of(names[i], SIZE_MAX, &begin) == length &&
                     memcmp(first, begin, length) == 0,
                 PQ_ERR_UNSUPPORTED,
                 "its weights could be those of '%.*s' or of '%.*s'; save the model as "
                 ".keras, which tells",
                 (int)length, first, (int)folder_of(names[i], SIZE_MAX, &begin), begin);
    }
    for (size_t i = kept; i < *n; i++) {
        pq_free(names[i]);
    }
    *n = kept;
cleanup:
    pq_free(full);
    return st;
}

/* The group of a layer's weights, and their names in it, in the layer's order. */
static pq_status list_weights(const reader *r, const pq_keras_scope *scope,
                              const char *layer, char **group, char ***names, size_t *n,
                              pq_err *err)
{
    pq_status st;

    if (scope->places == NULL) {
        *group = pq_format("%s%s", r->root, scope->group != NULL ? scope->group : layer);
        PQ_CHECK(*group != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(pq_h5_attr_texts(r->file, *group, "weight_names", names, n, err));
        return scope->group != NULL ? keep_own(scope, layer, *names, n, err) : PQ_OK;
    }
    PQ_STRDUP(*group, json_string_value(json_object_get(scope->places, layer)));
    PQ_TRY(pq_h5_list(r->file, *group, names, n, err));
    for (size_t i = 0; i < *n && *n <= 10; i++) { /* sorted: one digit each */
        PQ_CHECK((*names)[i][0] == (char)('0' + i) && (*names)[i][1] == '\0',
                 PQ_ERR_FORMAT, "%s holds '%s' where weight %zu is due", *group,
                 (*names)[i], i);
    }
cleanup:
    return st;
}

/* Room for rows on their way, one for all kernels: one for each would leave holes between
 * them that nothing fits into. */
static pq_status make_room(reader *r, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    if (n > r->n_rows) {
        pq_free(r->rows);
        r->n_rows = 0;
        PQ_NEW(r->rows, n);
        r->n_rows = n;
    }
cleanup:
    return st;
}

/* A kernel with its last axis first, in pieces of rows: a large one is held once. What
 * has no rows is read as it is. */
static pq_status read_turned(reader *r, const char *path, bool *turned, pq_tensor **out,
                             pq_err *err)
{
    size_t        axes[PQ_MAX_DIMS], count = 0, piece;
    pq_state_fill fill = {0};
    pq_h5_info    info;
    pq_status     st;

    PQ_TRY(pq_h5_describe(r->file, path, &info, err));
    const size_t ndim = info.shape.ndim, *dim = info.shape.dim;
    *turned = (info.kind == PQ_H5_FLOAT || info.kind == PQ_H5_INTEGER) && ndim >= 2 &&
              pq_shape_count(&info.shape, &count) && count > 0 &&
              count <= MAX_WEIGHT_BYTES / sizeof(float);
    if (!*turned) {
        return pq_h5_read(r->file, path, PQ_DTYPE_F32, MAX_WEIGHT_BYTES, out, err);
    }
    for (size_t d = 0; d < ndim; d++) {
        axes[d] = (d + ndim - 1) % ndim;
    }
    PQ_TRY(pq_state_fill_start(PQ_DTYPE_F32, &info.shape, axes, &fill, err));
    const size_t row = count / dim[0];
    piece            = row < PIECE_ITEMS ? PIECE_ITEMS / row : 1;
    PQ_TRY(make_room(r, (piece < dim[0] ? piece : dim[0]) * row, err));
    for (size_t at = 0; at < dim[0]; at += piece) {
        const pq_rows some = {at, piece < dim[0] - at ? piece : dim[0] - at};
        PQ_TRY(pq_h5_read_rows(r->file, path, some, PQ_DTYPE_F32, r->rows, err));
        pq_state_fill_put(&fill, r->rows, some.n * row);
    }
    *out    = fill.to;
    fill.to = NULL;
cleanup:
    pq_tensor_free(&fill.to);
    return st;
}

pq_status pq_keras_read_weights(reader *r, const pq_keras_scope *scope, const char *name,
                                pq_keras_layer *k, pq_err *err)
{
    char     *group = NULL, *path = NULL, **names = NULL;
    size_t    n  = 0;
    pq_status st = PQ_OK;

    if (!has_weights(r, scope, name)) {
        return PQ_OK;
    }
    PQ_TRY(list_weights(r, scope, name, &group, &names, &n, err));
    PQ_CHECK(n <= PQ_KERAS_WEIGHTS, PQ_ERR_UNSUPPORTED,
             "has %zu weights; layers with more than %d are not read", n,
             PQ_KERAS_WEIGHTS);
    for (size_t i = 0; i < n; i++) {
        pq_free(path);
        path = pq_format("%s/%s", group, names[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(i == 0 && k->turned ? read_turned(r, path, &k->turned, &k->weights[i], err)
                                   : pq_h5_read(r->file, path, PQ_DTYPE_F32,
                                                MAX_WEIGHT_BYTES, &k->weights[i], err));
        k->n_weights++;
        if (!counts_only(path)) {
            PQ_TRY(check_finite(path, k->weights[i], i == 0 && k->turned, err));
        }
    }
    k->file  = r->file;
    k->group = group;
    group    = NULL;
cleanup:
    pq_free(group);
    pq_free(path);
    pq_h5_free_texts(&names, n);
    return st;
}

/* What this program left in an archive's metadata. */
static pq_status take_metadata(const reader *r, pq_err *err)
{
    const char *text = r->archive.metadata;
    json_t     *all  = text != NULL ? json_loads(text, 0, NULL) : NULL;
    pq_status   st   = PQ_OK;

    if (json_object_get(all, "pquant") != NULL) {
        PQ_TRY(pq_left_take(r->target.graph, json_object_get(all, "provenance"),
                            json_object_get(all, "class_names"),
                            json_object_get(all, "feature_names"), err));
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s: metadata.json", r->path);
    }
    json_decref(all);
    return st;
}

/* An archive's JSON is taken apart while its weights are looked at. */
static pq_status unpack(reader *r, json_t **architecture, pq_err *err)
{
    pq_h5    *expected = NULL;
    pq_status st;

    PQ_TRY(pq_keras_unpack(r->path, &r->archive, err));
    PQ_TRY(pq_h5_expect(r->archive.weights, &expected, err));
    PQ_TRY(read_architecture(r, r->arch, architecture, err));
    PQ_TRY(pq_h5_open(r->archive.weights, &r->file, err));
cleanup:
    pq_h5_close(&expected);
    return st;
}

static pq_status open_weights(reader *r, json_t **architecture, pq_err *err)
{
    pq_status st;

    if (pq_keras_is_archive(r->path)) {
        PQ_TRY(unpack(r, architecture, err));
    } else {
        PQ_TRY(pq_h5_open(r->path, &r->file, err));
        PQ_TRY(read_architecture(r, r->arch, architecture, err));
    }
    r->root = pq_h5_has(r->file, "model_weights") ? "model_weights/" : "/";
    if (pq_keras_v3_root(r->file) == NULL) {
        PQ_TRY(pq_h5_attr_texts(r->file, r->root, "layer_names", &r->saved, &r->n_saved,
                                err));
        PQ_TRY(pq_places_reserve(&r->saved_at, r->n_saved, err));
        for (size_t i = 0; i < r->n_saved; i++) {
            if (pq_places_find(&r->saved_at, r->saved[i]) == SIZE_MAX) {
                pq_places_add(&r->saved_at, r->saved[i], i);
            }
        }
    }
    if (pq_h5_has_attr(r->file, r->root, "backend")) {
        PQ_TRY(pq_h5_attr_text(r->file, r->root, "backend", &r->backend, err));
    } else {
        PQ_STRDUP(r->backend, "");
    }
cleanup:
    return st;
}

static pq_status load_output(const char *path, const char *arch, const char *output,
                             pq_graph **out, pq_err *err)
{
    reader    r            = {.path = path, .arch = arch, .output = output};
    json_t   *architecture = NULL;
    pq_status st;

    r.dtypes = json_object();
    PQ_CHECK(r.dtypes != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    PQ_TRY(open_weights(&r, &architecture, err));
    PQ_TRY(pq_graph_create(&r.target.graph, err));
    PQ_TRY(pq_keras_wire(&r, architecture, err));
    PQ_TRY(take_metadata(&r, err));
    *out           = r.target.graph;
    r.target.graph = NULL;
cleanup:
    if (r.archive.weights != NULL) {
        pq_keras_blame(err, r.archive.weights, path);
    }
    pq_keras_archive_free(&r.archive);
    json_decref(architecture);
    json_decref(r.dtypes);
    pq_places_free(&r.saved_at);
    pq_h5_free_texts(&r.saved, r.n_saved);
    pq_free(r.backend);
    pq_free(r.rows);
    pq_h5_close(&r.file);
    pq_graph_free(&r.target.graph);
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return load_output(path, arch, NULL, out, err);
}

const pq_model_format pq_model_format_keras = {
    .name = "keras",
    .summary =
        "model of Keras 2 or 3, or QKeras: .keras, HDF5 whole, or weights beside an "
        "architecture in JSON",
    .source      = "https://keras.io/guides/serialization_and_saving",
    .recognises  = recognises,
    .load        = load,
    .load_output = load_output,
    .save        = pq_keras_save,
};
