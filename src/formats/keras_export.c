/*
 * Writes a graph as a .keras archive of Keras 3: a Functional model. What Keras has no
 * layer for is put into those it has (a shortcut's slice of channels is a convolution
 * with ones), trains and rings are rebuilt; what it cannot hold is refused by name.
 *
 * Source: keras/src/models/functional.py, keras/src/saving/saving_lib.py.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/keras_export.h"
#include "formats/left.h"
#include "io/zip.h"

enum { MOST_LAYERS = 3 /* of a node: padding, itself, the scaler */ };

static const pq_node *node_of(const pq_keras_writer *w)
{
    return &w->graph->nodes[w->at];
}

void pq_keras_free_spec(pq_keras_spec *s)
{
    pq_free(s->name);
    json_decref(s->config);
    for (size_t i = 0; i < PQ_KERAS_SPEC_WEIGHTS; i++) {
        pq_tensor_free(&s->weights[i]);
    }
}

/* [null, …]: a shape with the batch. */
json_t *pq_keras_batch_shape(const pq_shape *s)
{
    json_t *list = json_array();

    (void)json_array_append_new(list, json_null());
    for (size_t i = 0; i < s->ndim; i++) {
        (void)json_array_append_new(list, json_integer((json_int_t)s->dim[i]));
    }
    return list;
}

/* A name that no other layer has, of letters, digits, _ and - : the backends of Keras
 * forbid the others, each some. */
static char *free_name(const pq_keras_writer *w, const char *wish, const char *end)
{
    char *name = NULL;

    for (size_t k = 0;
         k == 0 || (name != NULL && json_object_get(w->taken, name) != NULL); k++) {
        pq_free(name);
        name =
            k == 0 ? pq_format("%s%s", wish, end) : pq_format("%s%s_%zu", wish, end, k);
        for (char *c = name; c != NULL && *c != '\0'; c++) {
            const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                                (*c >= '0' && *c <= '9');
            *c = letter || (c > name && (*c == '_' || *c == '-')) ? *c
                 : c > name                                       ? '_'
                                                                  : 'x';
        }
    }
    return name;
}

/* The call of a layer on its inputs, as Keras 3 notes it. */
static json_t *call_of(const pq_keras_writer *w, const pq_keras_spec *s)
{
    json_t *tensors = json_array(), *arguments = json_array();

    for (size_t i = 0; i < s->n_in; i++) {
        (void)json_array_append_new(
            tensors, json_pack("{s:s, s:{s:o, s:s, s:[s, i, i]}}", "class_name",
                               "__keras_tensor__", "config", "shape",
                               pq_keras_batch_shape(&s->in_shape[i]), "dtype", "float32",
                               "keras_history", w->layers[s->in[i]].name, 0, 0));
    }
    if (s->n_in == 1) {
        json_decref(arguments);
        arguments = tensors;
    } else {
        (void)json_array_append_new(arguments, tensors);
    }
    return json_pack("[{s:o, s:{}}]", "args", arguments, "kwargs");
}

/* Adds a layer; it then stands for the node's value. Takes what the pq_keras_spec owns.
 */
const pq_node *pq_keras_node(const pq_keras_writer *w)
{
    return &w->graph->nodes[w->at];
}

pq_status pq_keras_simple(pq_keras_writer *w, const char *class_name, json_t *config,
                          pq_err *err)
{
    pq_keras_spec s = pq_keras_over(w, class_name, "", config);

    return pq_keras_put(w, &s, err);
}

pq_status pq_keras_put(pq_keras_writer *w, pq_keras_spec *s, pq_err *err)
{
    pq_status st;

    PQ_CHECK(s->name != NULL && s->config != NULL &&
                 json_object_set_new(w->taken, s->name, json_true()) == 0,
             PQ_ERR_NOMEM, "cannot allocate a layer");
    w->layers[w->n] = *s;
    w->value[w->at] = w->n++;
    *s              = (pq_keras_spec){0};
cleanup:
    pq_keras_free_spec(s);
    return st;
}

/* A layer over the node's inputs. Takes config. */
pq_keras_spec pq_keras_over(const pq_keras_writer *w, const char *class_name,
                            const char *end, json_t *config)
{
    const pq_node *node = node_of(w);
    pq_keras_spec  s    = {.class_name = class_name,
                           .name       = free_name(w, node->name, end),
                           .config     = config,
                           .n_in       = node->n_inputs};

    for (size_t k = 0; k < node->n_inputs; k++) {
        s.in[k]       = w->value[node->inputs[k]];
        s.in_shape[k] = w->graph->nodes[node->inputs[k]].shape;
    }
    return s;
}

/* Adds a copy of a weight, axes reordered. */
pq_status pq_keras_add_weight(pq_keras_spec *s, const pq_tensor *t, const size_t *axes,
                              pq_err *err)
{
    return pq_tensor_permute(t, axes, &s->weights[s->n_weights++], err);
}

/* The scaler of the inputs: a BatchNormalization with nothing learnt. */
static pq_status put_scaler(pq_keras_writer *w, pq_err *err)
{
    static const size_t same[] = {0};
    const pq_tensor    *std    = w->graph->scaler_std;
    pq_tensor          *square = NULL;
    pq_keras_spec       s      = {
                   .class_name = "BatchNormalization", .n_in = 1, .in_shape[0] = node_of(w)->shape};
    pq_status st;

    s.in[0]  = w->value[w->at];
    s.name   = free_name(w, node_of(w)->name, "_scaler");
    s.config = json_pack("{s:i, s:f, s:f, s:b, s:b}", "axis", -1, "momentum", 0.99,
                         "epsilon", 0.0, "scale", 0, "center", 0);
    PQ_TRY(pq_tensor_permute(std, same, &square, err));
    for (size_t i = 0; i < square->count; i++) {
        pq_f32(square)[i] *= pq_f32(square)[i];
    }
    PQ_TRY(pq_keras_add_weight(&s, w->graph->scaler_mean, same, err));
    s.weights[s.n_weights++] = square;
    square                   = NULL;
    PQ_TRY(pq_keras_put(w, &s, err));
cleanup:
    pq_tensor_free(&square);
    pq_keras_free_spec(&s);
    return st;
}

static pq_status put_node(pq_keras_writer *w, pq_err *err)
{
    const pq_node *node = node_of(w);
    pq_status      st;

    PQ_CHECK(node->quant == NULL, PQ_ERR_UNSUPPORTED,
             "its values lie on a grid, for which Keras has no layer; write ONNX");
    PQ_TRY(pq_keras_put_kind(w, err));
    if (node->n_inputs == 0 && w->graph->scaler_mean != NULL) {
        PQ_TRY(put_scaler(w, err));
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "layer '%s'", node->name);
    }
    return st;
}

/* Depth and turn of every layer that the output needs. */
static pq_status measure(pq_keras_writer *w, pq_err *err)
{
    const size_t output = w->value[w->graph->output];
    size_t      *stack = NULL, n = 0, turn = 0;
    pq_status    st;

    PQ_NEW(stack, 1 + w->n * PQ_NODE_INPUTS);
    w->layers[output].depth = 1;
    for (size_t i = w->n; i-- > 0;) {
        const pq_keras_spec *s = &w->layers[i];
        for (size_t k = 0; s->depth > 0 && k < s->n_in; k++) {
            pq_keras_spec *from = &w->layers[s->in[k]];
            from->depth         = from->depth > s->depth ? from->depth : s->depth + 1;
        }
    }
    stack[n++] = output;
    while (n > 0) {
        pq_keras_spec *s = &w->layers[stack[--n]];
        if (s->turn == 0) {
            s->turn = ++turn;
            for (size_t k = s->n_in; k-- > 0;) {
                stack[n++] = s->in[k];
            }
        }
    }
cleanup:
    pq_free(stack);
    return st;
}

/* A place in Keras's order. */
typedef struct {
    size_t depth, turn, layer;
} place;

static int by_depth(const void *a, const void *b)
{
    const place *x = a, *y = b;

    return x->depth != y->depth ? (x->depth < y->depth ? 1 : -1)
                                : (x->turn > y->turn) - (x->turn < y->turn);
}

/* Keras sorts the layers of a model when it makes it, by depth and then as a walk from
 * the output meets them, and finds weights by that order (map_graph in functional.py). */
static pq_status sort_layers(pq_keras_writer *w, pq_err *err)
{
    place    *places = NULL;
    pq_status st;

    PQ_TRY(measure(w, err));
    PQ_NEW(places, w->n);
    PQ_NEW(w->order, w->n);
    for (size_t i = 0; i < w->n; i++) {
        if (w->layers[i].depth > 0) {
            places[w->kept++] = (place){w->layers[i].depth, w->layers[i].turn, i};
        }
    }
    qsort(places, w->kept, sizeof *places, by_depth);
    for (size_t i = 0; i < w->kept; i++) {
        w->order[i] = places[i].layer;
    }
cleanup:
    pq_free(places);
    return st;
}

static json_t *json_of(const pq_keras_writer *w, const pq_keras_spec *s)
{
    (void)json_object_set_new(s->config, "name", json_string(s->name));
    (void)json_object_set_new(s->config, "dtype", json_string("float32"));
    if (s->n_in > 0) {
        (void)json_object_set_new(s->config, "trainable", json_true());
    }
    return json_pack("{s:s, s:s, s:O, s:n, s:s, s:o}", "module", "keras.layers",
                     "class_name", s->class_name, "config", s->config, "registered_name",
                     "name", s->name, "inbound_nodes",
                     s->n_in > 0 ? call_of(w, s) : json_array());
}

/* Frees each array once it stands in the file. */
static pq_status put_weights(pq_keras_spec *s, pq_h5 *file, json_t *counts, pq_err *err)
{
    char     *group = NULL, *path = NULL;
    pq_status st;

    PQ_TRY(pq_keras_v3_place("layers", s->class_name, counts, &group, err));
    PQ_TRY(pq_h5_make_group(file, group, err));
    PQ_TRY(pq_h5_set_text(file, group, "name", s->name, err));
    for (size_t i = 0; i < s->n_weights; i++) {
        pq_free(path);
        path = pq_format("%s/%zu", group, i);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(pq_h5_write(file, path, s->weights[i], 0, err));
        pq_tensor_free(&s->weights[i]);
    }
cleanup:
    pq_free(group);
    pq_free(path);
    return st;
}

/* model.weights.h5, as a temporary file. */
static pq_status weights_of(const pq_keras_writer *w, const char *path, pq_err *err)
{
    pq_h5    *file   = NULL;
    json_t   *counts = json_object();
    pq_status st;

    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(pq_h5_make_group(file, "vars", err)); /* of the model itself: none */
    for (size_t i = 0; i < w->kept; i++) {
        PQ_TRY(put_weights(&w->layers[w->order[i]], file, counts, err));
    }
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_h5_close(&file);
    json_decref(counts);
    return st;
}

/* The model: its layers, which of them are inputs, and its output. */
static json_t *model_of(const pq_keras_writer *w)
{
    json_t *layers = json_array(), *inputs = json_array();

    for (size_t i = 0; i < w->kept; i++) {
        const pq_keras_spec *s = &w->layers[w->order[i]];
        (void)json_array_append_new(layers, json_of(w, s));
    }
    for (size_t i = 0; i < w->n; i++) { /* in the graph's order */
        const pq_keras_spec *s = &w->layers[i];
        if (s->n_in == 0 && s->depth > 0) {
            (void)json_array_append_new(inputs, json_pack("[s, i, i]", s->name, 0, 0));
        }
    }
    return json_pack("{s:s, s:s, s:{s:s, s:b, s:o, s:o, s:[[s, i, i]]}, s:n}", "module",
                     "keras.src.models.functional", "class_name", "Functional", "config",
                     "name", "model", "trainable", 1, "layers", layers, "input_layers",
                     inputs, "output_layers", w->layers[w->value[w->graph->output]].name,
                     0, 0, "registered_name");
}

/* config.json and metadata.json, which keeps what only this program reads back. */
static pq_status texts_of(const pq_keras_writer *w, char **config, char **metadata,
                          pq_err *err)
{
    const pq_graph *g     = w->graph;
    json_t         *model = model_of(w);
    json_t         *ours =
        json_pack("{s:s, s:s, s:O?, s:o?, s:o?}", "keras_version", "3.0.0", "pquant",
                  PQ_VERSION, "provenance", g->provenance, "class_names",
                  pq_left_texts(g->n_classes, g->class_names), "feature_names",
                  pq_left_texts(g->n_features, g->feature_names));
    pq_status st;

    *config   = model != NULL ? json_dumps(model, 0) : NULL;
    *metadata = ours != NULL ? json_dumps(ours, 0) : NULL;
    PQ_CHECK(*config != NULL && *metadata != NULL, PQ_ERR_NOMEM,
             "cannot allocate an architecture");
cleanup:
    json_decref(model);
    json_decref(ours);
    return st;
}

static pq_status pack(const pq_keras_writer *w, const char *path, pq_err *err)
{
    char     *config = NULL, *metadata = NULL, *weights = NULL, *bytes = NULL;
    size_t    n = 0;
    pq_status st;

    PQ_TRY(pq_keras_temporary(&weights, err));
    PQ_TRY(weights_of(w, weights, err));
    PQ_TRY(texts_of(w, &config, &metadata, err));
    PQ_TRY(pq_file_read(weights, SIZE_MAX - 1, &bytes, &n, err));
    PQ_TRY(
        pq_zip_write(path,
                     (const pq_zip_part[]){{"metadata.json", metadata, strlen(metadata)},
                                           {"config.json", config, strlen(config)},
                                           {"model.weights.h5", bytes, n}},
                     3, err));
cleanup:
    if (weights != NULL) {
        (void)unlink(weights);
    }
    pq_free(weights);
    pq_free(bytes);
    free(config);
    free(metadata);
    return st;
}

pq_status pq_keras_save(const pq_graph *graph, const char *path, pq_err *err)
{
    pq_graph       *copy = NULL;
    pq_keras_writer w    = {.taken = json_object()};
    pq_status       st;

    PQ_TRY(pq_graph_share(graph, &copy, err));
    PQ_TRY(pq_graph_check(copy, err)); /* fills the shapes */
    w.graph = copy;
    PQ_NEW(w.value, copy->n_nodes);
    PQ_NEW(w.layers, MOST_LAYERS * copy->n_nodes);
    for (w.at = 0; w.at < copy->n_nodes; w.at++) {
        PQ_TRY(put_node(&w, err));
    }
    PQ_TRY(sort_layers(&w, err));
    PQ_TRY(pack(&w, path, err));
cleanup:
    for (size_t i = 0; i < w.n; i++) {
        pq_keras_free_spec(&w.layers[i]);
    }
    pq_free(w.layers);
    pq_free(w.value);
    pq_free(w.order);
    json_decref(w.taken);
    pq_graph_free(&copy);
    return st;
}
