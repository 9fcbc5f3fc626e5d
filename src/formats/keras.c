/*
 * Models of Keras: in HDF5, whole with `model_config` or weights beside an architecture
 * in JSON, and the .keras archives of Keras 3. Weights are found by layer_names and
 * weight_names, or in files of Keras 3, which have neither, by the places of their
 * layers; in their order, never by guessing.
 */
#include "formats/keras.h"
#include "formats/left.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"

#define MAX_JSON_BYTES   ((size_t)256 << 20)
#define MAX_WEIGHT_BYTES ((size_t)4 << 30)

/* One reading of a model. */
typedef struct {
    const char      *path; /* of the weights */
    const char      *arch; /* beside them, or NULL */
    pq_h5           *file;
    const char      *root;  /* group of the layers' groups */
    char           **saved; /* [n_saved] layer_names */
    size_t           n_saved;
    char            *backend; /* that wrote the weights, or "" */
    pq_keras_archive archive; /* {0} where the file is none */
    json_t          *places;  /* of the layers' weights in a file of Keras 3, or NULL */
    json_t *nodes;  /* name of a Keras layer -> name of the node that is its output */
    json_t *dtypes; /* types and policies other than float32 that were met */
    pq_keras_target target;
} reader;

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

static bool is_saved(const reader *r, const char *name)
{
    for (size_t i = 0; i < r->n_saved; i++) {
        if (strcmp(r->saved[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Says where in the file a value is not finite. */
static pq_status check_finite(const char *path, const pq_tensor *t, pq_err *err)
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
            pq_text_add(&at, "%s%zu", d == 0 ? "" : ", ", place.dim[d]);
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
static bool has_weights(const reader *r, const char *layer)
{
    const char *place = json_string_value(json_object_get(r->places, layer));

    return r->places != NULL ? place != NULL && pq_h5_has(r->file, place)
                             : is_saved(r, layer);
}

/* The group of a layer's weights, and their names in it, in the layer's order. */
static pq_status list_weights(const reader *r, const char *layer, char **group,
                              char ***names, size_t *n, pq_err *err)
{
    pq_status st;

    if (r->places == NULL) {
        *group = pq_format("%s%s", r->root, layer);
        PQ_CHECK(*group != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        return pq_h5_attr_texts(r->file, *group, "weight_names", names, n, err);
    }
    PQ_STRDUP(*group, json_string_value(json_object_get(r->places, layer)));
    PQ_TRY(pq_h5_list(r->file, *group, names, n, err));
    for (size_t i = 0; i < *n && *n <= 10; i++) { /* sorted: one digit each */
        PQ_CHECK((*names)[i][0] == (char)('0' + i) && (*names)[i][1] == '\0',
                 PQ_ERR_FORMAT, "%s holds '%s' where weight %zu is due", *group,
                 (*names)[i], i);
    }
cleanup:
    return st;
}

/* Reads all weights of a layer in their order. */
static pq_status read_weights(const reader *r, pq_keras_layer *k, pq_err *err)
{
    char     *group = NULL, *path = NULL, **names = NULL;
    size_t    n  = 0;
    pq_status st = PQ_OK;

    if (!has_weights(r, k->name)) {
        return PQ_OK;
    }
    PQ_TRY(list_weights(r, k->name, &group, &names, &n, err));
    PQ_CHECK(n <= PQ_KERAS_WEIGHTS, PQ_ERR_UNSUPPORTED,
             "has %zu weights; layers with more than %d are not read", n,
             PQ_KERAS_WEIGHTS);
    for (size_t i = 0; i < n; i++) {
        pq_free(path);
        path = pq_format("%s/%s", group, names[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(pq_h5_read(r->file, path, PQ_DTYPE_F32, MAX_WEIGHT_BYTES, &k->weights[i],
                          err));
        k->n_weights++;
        PQ_TRY(check_finite(path, k->weights[i], err));
    }
cleanup:
    pq_free(group);
    pq_free(path);
    pq_h5_free_texts(&names, n);
    return st;
}

/* Unpacks wrappers that only matter in training: PruneLowMagnitude of tfmot. */
static pq_status unwrap(pq_keras_layer *k, pq_err *err)
{
    static const pq_keras_keys wrapper = {
        "layer", "pruning_schedule block_size block_pooling_type", NULL};
    const pq_keras_keys keys[] = {pq_keras_common, wrapper};
    const json_t       *inner  = json_object_get(k->config, "layer");
    pq_status           st     = PQ_OK;

    if (strcmp(k->class_name, "PruneLowMagnitude") == 0 && json_is_object(inner)) {
        PQ_TRY(pq_keras_check_keys(k->config, k->class_name, keys, 2, err));
        PQ_TRY(pq_keras_check_origin(inner, err));
        k->class_name = pq_keras_text(inner, "class_name", "");
        k->config     = json_object_get(inner, "config");
        k->wrapped    = true;
    }
cleanup:
    return st;
}

/* Keeps what a layer computes in, where that is not float32. */
static pq_status note_dtype(reader *r, const pq_keras_layer *k, pq_err *err)
{
    const char *name;
    json_t     *note;
    pq_status   st;

    PQ_TRY(pq_keras_dtype(k->config, &name, err));
    if (name == NULL || json_object_get(r->dtypes, name) != NULL) {
        return PQ_OK;
    }
    PQ_CHECK(json_object_set_new(r->dtypes, name, json_true()) == 0, PQ_ERR_NOMEM,
             "cannot allocate a name");
    note = json_pack("{s:s, s:s, s:s}", "read", "keras", "dtype", name, "computed_in",
                     "float32");
    PQ_CHECK(note != NULL, PQ_ERR_NOMEM, "cannot allocate a note");
    PQ_TRY(pq_graph_note(r->target.graph, note, err));
cleanup:
    return st;
}

/* From what it says of itself to nodes; the class is known before a weight is read. */
static pq_status convert(reader *r, const json_t *json, pq_keras_layer *k, pq_err *err)
{
    static const pq_keras_keys keys = {"class_name config name inbound_nodes",
                                       PQ_KERAS_ORIGIN " build_config", NULL};
    const pq_keras_class      *found;
    pq_status                  st;

    PQ_TRY(pq_keras_check_keys(json, "the layer", &keys, 1, err));
    PQ_TRY(pq_keras_check_origin(json, err));
    PQ_TRY(unwrap(k, err));
    PQ_TRY(pq_keras_find_class(k, &found, err));
    PQ_TRY(note_dtype(r, k, err));
    PQ_TRY(read_weights(r, k, err));
    PQ_TRY(found->convert(k, &r->target, err));
cleanup:
    return st;
}

/* Reads the weights of a layer, turns it into nodes and notes which one is its output. */
static pq_status add_layer(reader *r, const json_t *json, size_t n_inputs,
                           const char *const *inputs, pq_err *err)
{
    pq_keras_layer k = {.class_name = pq_keras_text(json, "class_name", ""),
                        .config     = json_object_get(json, "config"),
                        .n_inputs   = n_inputs};
    pq_status      st;

    k.name = pq_keras_text(k.config, "name", pq_keras_text(json, "name", ""));
    PQ_CHECK(k.name[0] != '\0' && k.class_name[0] != '\0', PQ_ERR_FORMAT,
             "%s: a layer of the architecture has no name or no class", r->path);
    for (size_t i = 0; i < n_inputs; i++) {
        k.inputs[i] = inputs[i];
    }
    st = convert(r, json, &k, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s%s%s: layer '%s'", r->path,
                       r->arch != NULL ? " with " : "", r->arch != NULL ? r->arch : "",
                       k.name);
        goto cleanup;
    }
    PQ_CHECK(json_object_set_new(r->nodes, k.name, json_string(r->target.last)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    for (size_t i = 0; i < PQ_KERAS_WEIGHTS; i++) {
        pq_tensor_free(&k.weights[i]);
    }
    return st;
}

/* Adds the layer if all that it reads is there. */
static pq_status try_layer(reader *r, const json_t *layer, bool *added, pq_err *err)
{
    pq_keras_sources from = {0};
    const char      *inputs[PQ_NODE_INPUTS];
    pq_status        st;

    *added = false;
    PQ_TRY(pq_keras_find_sources(r->path, layer, &from, err));
    for (size_t i = 0; i < from.n; i++) {
        inputs[i] = json_string_value(json_object_get(r->nodes, from.names[i]));
        if (inputs[i] == NULL) {
            return PQ_OK;
        }
    }
    PQ_TRY(add_layer(r, layer, from.n, inputs, err));
    *added = true;
cleanup:
    return st;
}

/* [["a", 0, 0], ["b", 0, 0]]: the inputs in the order of the model's arguments, which
 * need not be that of its layers. */
static pq_status add_inputs(reader *r, const json_t *layers, const json_t *inputs,
                            bool *done, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t k = 0; k < json_array_size(inputs); k++) {
        const char *name =
            json_string_value(json_array_get(json_array_get(inputs, k), 0));
        for (size_t i = 0; name != NULL && i < json_array_size(layers); i++) {
            const json_t *layer = json_array_get(layers, i);
            if (!done[i] && strcmp(pq_keras_text(layer, "name", ""), name) == 0) {
                PQ_TRY(try_layer(r, layer, &done[i], err));
            }
        }
    }
cleanup:
    return st;
}

/* Layers stand in any order: adds those that can be added until none is left. */
static pq_status add_functional(reader *r, const json_t *layers, const json_t *inputs,
                                pq_err *err)
{
    const size_t n    = json_array_size(layers);
    bool        *done = NULL, added = true;
    pq_status    st;

    PQ_NEW(done, n);
    PQ_CHECK(n <= PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "%s: has %zu layers; at most %d are read: " PQ_GRAPH_NODES_WHY, r->path, n,
             PQ_GRAPH_NODES);
    PQ_TRY(add_inputs(r, layers, inputs, done, err));
    for (size_t turn = 0; added; turn++) { /* forwards, backwards, … */
        added = false;
        for (size_t step = 0; step < n; step++) {
            const size_t i = turn % 2 == 0 ? step : n - 1 - step;
            if (!done[i]) {
                PQ_TRY(try_layer(r, json_array_get(layers, i), &done[i], err));
                added = added || done[i];
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(done[i], PQ_ERR_FORMAT,
                 "%s: layer '%s': reads layers that are not there, or itself", r->path,
                 pq_keras_text(json_array_get(layers, i), "name", ""));
    }
cleanup:
    pq_free(done);
    return st;
}

/* [["dense", 0, 0]], or ["dense", 0, 0] as Keras 3 writes a single one. */
static pq_status set_output(reader *r, const json_t *config, pq_err *err)
{
    const json_t *outputs = json_object_get(config, "output_layers");
    const json_t *first   = json_array_get(outputs, 0);
    const char   *name;
    size_t        node;
    pq_status     st;

    PQ_CHECK(!json_is_array(first) || json_array_size(outputs) == 1, PQ_ERR_UNSUPPORTED,
             "%s: the model has %zu outputs; one is read", r->path,
             json_array_size(outputs));
    name = json_string_value(json_is_array(first) ? json_array_get(first, 0) : first);
    PQ_CHECK(name != NULL && json_object_get(r->nodes, name) != NULL, PQ_ERR_FORMAT,
             "%s: the model's output '%s' is not one of its layers", r->path,
             name != NULL ? name : "");
    node                    = pq_graph_find(r->target.graph,
                                            json_string_value(json_object_get(r->nodes, name)));
    r->target.graph->output = node;
cleanup:
    return st;
}

/* A chain; the first layer, or the model, may carry the input's shape. */
static pq_status add_sequential(reader *r, const json_t *layers, json_t *built,
                                pq_err *err)
{
    json_t   *made = NULL;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char   *last  = r->target.last;
        char          copy[sizeof r->target.last];
        const bool    is_input =
            strcmp(pq_keras_text(layer, "class_name", ""), "InputLayer") == 0;

        if (i == 0 && !is_input) {
            json_t *shape =
                json_object_get(json_object_get(layer, "config"), "batch_input_shape");
            shape = shape != NULL ? shape : built;
            made = json_pack("{s:s, s:{s:s, s:O?}}", "class_name", "InputLayer", "config",
                             "name", "input", "batch_input_shape", shape);
            PQ_CHECK(made != NULL, PQ_ERR_NOMEM, "cannot allocate a layer");
            PQ_TRY(add_layer(r, made, 0, NULL, err));
        }
        memcpy(copy, r->target.last, sizeof copy);
        last = copy;
        PQ_TRY(add_layer(r, layer, is_input ? 0 : 1, &last, err));
    }
cleanup:
    json_decref(made);
    return st;
}

/* Whose model it is, and that nothing is said of it that is not known here. Theano's
 * kernels are turned by 180 degrees. */
static pq_status check_model(const reader *r, const json_t *architecture, pq_err *err)
{
    static const pq_keras_keys model = {
        "class_name config backend",
        PQ_KERAS_ORIGIN " keras_version build_config compile_config", NULL};
    static const pq_keras_keys inside = {
        "layers input_layers output_layers build_input_shape",
        "name trainable dtype batch_input_shape", NULL};
    pq_status st;

    PQ_TRY(pq_keras_check_keys(architecture, "the model", &model, 1, err));
    PQ_TRY(pq_keras_check_origin(architecture, err));
    PQ_TRY(pq_keras_check_keys(json_object_get(architecture, "config"), "the model",
                               &inside, 1, err));
    PQ_CHECK(strcmp(pq_keras_text(architecture, "backend", ""), "theano") != 0 &&
                 strcmp(r->backend, "theano") != 0,
             PQ_ERR_UNSUPPORTED,
             "the model was saved with Theano, whose kernels are turned; save it with "
             "TensorFlow");
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", r->path);
    }
    return st;
}

static pq_status build(reader *r, const json_t *architecture, pq_err *err)
{
    const char   *kind   = pq_keras_text(architecture, "class_name", "");
    const json_t *config = json_object_get(architecture, "config");
    const json_t *layers =
        json_is_array(config) ? config : json_object_get(config, "layers");
    pq_status st;

    PQ_TRY(check_model(r, architecture, err));
    PQ_CHECK(json_array_size(layers) > 0, PQ_ERR_FORMAT,
             "%s: the architecture has no layers", r->path);
    if (pq_keras_v3_root(r->file) != NULL) {
        PQ_TRY(pq_keras_v3_places(r->file, layers, &r->places, err));
    }
    if (strcmp(kind, "Sequential") == 0) {
        PQ_TRY(
            add_sequential(r, layers, json_object_get(config, "build_input_shape"), err));
    } else {
        PQ_CHECK(strcmp(kind, "Functional") == 0 || strcmp(kind, "Model") == 0,
                 PQ_ERR_UNSUPPORTED,
                 "%s: the model is a '%s'; Sequential, Functional and Model are read",
                 r->path, kind);
        PQ_TRY(add_functional(r, layers, json_object_get(config, "input_layers"), err));
        PQ_TRY(set_output(r, config, err));
    }
cleanup:
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

static pq_status open_weights(reader *r, pq_err *err)
{
    pq_status st;

    if (pq_keras_is_archive(r->path)) {
        PQ_TRY(pq_keras_unpack(r->path, &r->archive, err));
    }
    PQ_TRY(pq_h5_open(r->archive.weights != NULL ? r->archive.weights : r->path, &r->file,
                      err));
    r->root = pq_h5_has(r->file, "model_weights") ? "model_weights/" : "/";
    if (pq_keras_v3_root(r->file) == NULL) {
        PQ_TRY(pq_h5_attr_texts(r->file, r->root, "layer_names", &r->saved, &r->n_saved,
                                err));
    }
    if (pq_h5_has_attr(r->file, r->root, "backend")) {
        PQ_TRY(pq_h5_attr_text(r->file, r->root, "backend", &r->backend, err));
    } else {
        PQ_STRDUP(r->backend, "");
    }
cleanup:
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    reader    r            = {.path = path, .arch = arch};
    json_t   *architecture = NULL;
    pq_status st;

    r.nodes  = json_object();
    r.dtypes = json_object();
    PQ_CHECK(r.nodes != NULL && r.dtypes != NULL, PQ_ERR_NOMEM,
             "cannot allocate a table");
    PQ_TRY(open_weights(&r, err));
    PQ_TRY(read_architecture(&r, arch, &architecture, err));
    PQ_TRY(pq_graph_create(&r.target.graph, err));
    PQ_TRY(build(&r, architecture, err));
    PQ_TRY(take_metadata(&r, err));
    *out           = r.target.graph;
    r.target.graph = NULL;
cleanup:
    if (r.archive.weights != NULL) {
        pq_keras_blame(err, r.archive.weights, path);
    }
    pq_keras_archive_free(&r.archive);
    json_decref(r.places);
    json_decref(architecture);
    json_decref(r.nodes);
    json_decref(r.dtypes);
    pq_h5_free_texts(&r.saved, r.n_saved);
    pq_free(r.backend);
    pq_h5_close(&r.file);
    pq_graph_free(&r.target.graph);
    return st;
}

const pq_model_format pq_model_format_keras = {
    .name       = "keras",
    .summary    = "model of Keras 2 or 3: .keras, HDF5 whole, or weights beside an "
                  "architecture in JSON",
    .source     = "https://keras.io/guides/serialization_and_saving",
    .recognises = recognises,
    .load       = load,
    .save       = pq_keras_save,
};
