/*
 * The layers of a model of Keras as a graph: chains and functional models, those within
 * them, and layers that are called more than once, which become as many nodes with the
 * same weights.
 */
#include "formats/keras_reader.h"

#include <string.h>

#include "core/memory.h"
#include "formats/model.h"

enum { MAX_DEPTH = 16 /* of models in models */ };

/* Inputs of a call, as names of nodes. */
typedef struct {
    size_t      n;
    const char *names[PQ_NODE_INPUTS];
} wires;

static pq_status add_model(pq_keras_reader *r, pq_keras_scope *scope,
                           const json_t *architecture, const wires *in, json_t **outputs,
                           pq_err *err);

/* Prefix, name and call: "inner.fc1", "inner.fc1.call2". */
static char *node_name(const pq_keras_scope *scope, const char *name, size_t call)
{
    return call == 0 ? pq_format("%s%s", scope->prefix, name)
                     : pq_format("%s%s.call%zu", scope->prefix, name, call + 1);
}

/* Adds the nodes of a layer; outputs: [its last one]. */
static pq_status add_layer(pq_keras_reader *r, const pq_keras_scope *scope,
                           const json_t *json, size_t call, const wires *in,
                           json_t **outputs, pq_err *err)
{
    char     *name = node_name(scope, pq_keras_layer_name(json), call);
    pq_status st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(pq_keras_add_layer(r, scope, json, name, in->n, in->names, err));
    *outputs = json_pack("[s]", r->target.last);
    PQ_CHECK(*outputs != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    pq_free(name);
    return st;
}

/* Where the weights of a model within a model are: "layers/functional/layers". */
static pq_status inner_places(const pq_keras_reader *r, const pq_keras_scope *outer,
                              const json_t *model, json_t **out, pq_err *err)
{
    const char *place =
        json_string_value(json_object_get(outer->places, pq_keras_layer_name(model)));
    const json_t *config = json_object_get(model, "config");
    char         *root   = NULL;
    pq_status     st;

    PQ_CHECK(place != NULL, PQ_ERR_FORMAT, "%s: model '%s' has no place in the file",
             r->path, pq_keras_layer_name(model));
    root = pq_format("%.*s%s", (int)(strlen(place) - strlen("vars")), place,
                     pq_keras_v3_root(r->file));
    PQ_CHECK(root != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_keras_v3_places(r->file, r->path, root, json_object_get(config, "layers"),
                              out, err));
cleanup:
    pq_free(root);
    return st;
}

/* A model that is a layer. */
static pq_status add_inner(pq_keras_reader *r, const pq_keras_scope *outer,
                           const json_t *model, size_t call, const wires *in,
                           json_t **outputs, pq_err *err)
{
    static const pq_keras_keys keys = {"class_name config name inbound_nodes",
                                       PQ_KERAS_ORIGIN " build_config compile_config",
                                       NULL};
    const char                *name = pq_keras_layer_name(model);
    pq_keras_scope scope = {.outer = outer, .name = name, .depth = outer->depth + 1};
    char          *path = node_name(outer, name, call), *prefix = NULL;
    pq_status      st;

    prefix = pq_format("%s.", path != NULL ? path : "");
    PQ_CHECK(path != NULL && prefix != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_CHECK(scope.depth <= MAX_DEPTH, PQ_ERR_UNSUPPORTED,
             "%s: model '%s' is within %d others; no more are read", r->path, path,
             MAX_DEPTH);
    PQ_TRY(pq_keras_check_keys(model, "the model", &keys, 1, err));
    scope.prefix = prefix;
    scope.group  = outer->group != NULL ? outer->group : name;
    if (outer->places != NULL) {
        PQ_TRY(inner_places(r, outer, model, &scope.places, err));
    }
    PQ_TRY(add_model(r, &scope, model, in, outputs, err));
cleanup:
    json_decref(scope.places);
    pq_free(path);
    pq_free(prefix);
    return st;
}

/* Adds a call of a layer and keeps which nodes are its outputs. */
static pq_status add_call(pq_keras_reader *r, pq_keras_scope *scope, const json_t *layer,
                          size_t call, const wires *in, pq_err *err)
{
    const char *name    = pq_keras_layer_name(layer);
    json_t     *outputs = NULL, *calls = json_object_get(scope->calls, name);
    pq_status   st;

    PQ_CHECK(r->n_calls++ < PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "%s: has more than %d layers, each call counted: " PQ_GRAPH_NODES_WHY,
             r->path, PQ_GRAPH_NODES);
    PQ_TRY(pq_keras_is_model(layer)
               ? add_inner(r, scope, layer, call, in, &outputs, err)
               : add_layer(r, scope, layer, call, in, &outputs, err));
    if (calls == NULL) {
        calls = json_array();
        PQ_CHECK(json_object_set_new(scope->calls, name, calls) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a table");
    }
    while (json_array_size(calls) <= call) {
        PQ_CHECK(json_array_append_new(calls, json_null()) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a table");
    }
    PQ_CHECK(json_array_set(calls, call, outputs) == 0, PQ_ERR_NOMEM,
             "cannot allocate a table");
cleanup:
    json_decref(outputs);
    return st;
}

/* Node of a tensor, or NULL where it is not there (yet). which: 0 in what layers read,
 * 1 in the outputs. */
static const char *node_of(const pq_keras_scope *scope, const char *layer, size_t call,
                           size_t tensor, size_t which)
{
    const json_int_t first =
        json_integer_value(json_array_get(json_object_get(scope->bases, layer), which));
    const json_t *calls = json_object_get(scope->calls, layer);

    return (json_int_t)call < first
               ? NULL
               : json_string_value(
                     json_array_get(json_array_get(calls, call - (size_t)first), tensor));
}

/* Adds the call if all that it reads is there. */
static pq_status try_call(pq_keras_reader *r, pq_keras_scope *scope, const json_t *layer,
                          size_t call, bool *added, pq_err *err)
{
    pq_keras_sources from = {0};
    wires            in   = {0};
    pq_status        st;

    *added = false;
    PQ_TRY(pq_keras_find_sources(r->path, layer, call, &from, err));
    for (; in.n < from.n; in.n++) {
        in.names[in.n] = node_of(scope, from.from[in.n].layer, from.from[in.n].call,
                                 from.from[in.n].tensor, 0);
        if (in.names[in.n] == NULL) {
            return PQ_OK;
        }
    }
    PQ_TRY(add_call(r, scope, layer, call, &in, err));
    *added = true;
cleanup:
    return st;
}

/* The inputs in the order of the model's arguments, which need not be that of its
 * layers. Those of an inner model are what it is called with. */
static pq_status add_inputs(pq_keras_reader *r, pq_keras_scope *scope,
                            const json_t *layers, const json_t *inputs, const wires *in,
                            bool **done, pq_err *err)
{
    const json_t *tensor;
    const char   *name;
    size_t        n  = 0;
    pq_status     st = PQ_OK;

    for (; (tensor = pq_keras_tensor_at(inputs, n, &name)) != NULL; n++) {
        name = json_string_value(json_array_get(tensor, 0));
        for (size_t i = 0; name != NULL && i < json_array_size(layers); i++) {
            const json_t *layer = json_array_get(layers, i);
            if (done[i][0] || strcmp(pq_keras_layer_name(layer), name) != 0) {
                continue;
            }
            if (scope->outer == NULL) {
                PQ_TRY(try_call(r, scope, layer, 0, &done[i][0], err));
            } else if (n < in->n) {
                PQ_CHECK(json_object_set_new(scope->calls, name,
                                             json_pack("[[s]]", in->names[n])) == 0,
                         PQ_ERR_NOMEM, "cannot allocate a name");
                done[i][0] = true;
            }
        }
    }
    PQ_CHECK(scope->outer == NULL || n == in->n, PQ_ERR_FORMAT,
             "%s: model '%s' has %zu inputs, and is called with %zu", r->path,
             scope->name, n, in->n);
cleanup:
    return st;
}

/* Adds those calls that can be added, in passes forwards and backwards, until none is
 * left. */
static pq_status add_passes(pq_keras_reader *r, pq_keras_scope *scope,
                            const json_t *layers, bool **done, pq_err *err)
{
    const size_t n     = json_array_size(layers);
    bool         added = true;
    pq_status    st    = PQ_OK;

    for (size_t turn = 0; added; turn++) {
        added = false;
        for (size_t step = 0; step < n; step++) {
            const size_t  i     = turn % 2 == 0 ? step : n - 1 - step;
            const json_t *layer = json_array_get(layers, i);
            for (size_t k = 0; k < pq_keras_n_calls(layer); k++) {
                if (!done[i][k]) {
                    PQ_TRY(try_call(r, scope, layer, k, &done[i][k], err));
                    added = added || done[i][k];
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *layer = json_array_get(layers, i);
        for (size_t k = 0; k < pq_keras_n_calls(layer); k++) {
            PQ_CHECK(done[i][k], PQ_ERR_FORMAT,
                     "%s: layer '%s%s': reads layers that are not there, or itself",
                     r->path, scope->prefix, pq_keras_layer_name(layer));
        }
    }
cleanup:
    return st;
}

/* Layers stand in any order. */
static pq_status add_functional(pq_keras_reader *r, pq_keras_scope *scope,
                                const json_t *config, const wires *in, pq_err *err)
{
    const json_t *layers = json_object_get(config, "layers");
    const size_t  n      = json_array_size(layers);
    size_t        calls  = 0;
    bool        **done = NULL, *flags = NULL;
    pq_status     st;

    for (size_t i = 0; i < n; i++) {
        calls += pq_keras_n_calls(json_array_get(layers, i));
    }
    PQ_CHECK(calls <= PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "%s: has %zu layers; at most %d are read: " PQ_GRAPH_NODES_WHY, r->path,
             calls, PQ_GRAPH_NODES);
    PQ_NEW(done, n);
    PQ_NEW(flags, calls);
    for (size_t i = 0, at = 0; i < n; i++) {
        done[i] = flags + at;
        at += pq_keras_n_calls(json_array_get(layers, i));
    }
    PQ_TRY(pq_keras_find_bases(r->path, layers, json_object_get(config, "output_layers"),
                               &scope->bases, err));
    PQ_TRY(add_inputs(r, scope, layers, json_object_get(config, "input_layers"), in, done,
                      err));
    PQ_TRY(add_passes(r, scope, layers, done, err));
cleanup:
    pq_free(done);
    pq_free(flags);
    return st;
}

/* Nodes of a functional model's outputs. */
static pq_status list_outputs(const pq_keras_reader *r, const pq_keras_scope *scope,
                              const json_t *config, json_t **out, pq_err *err)
{
    const json_t *all = json_object_get(config, "output_layers"), *tensor;
    const char   *name, *node;
    json_t       *nodes = json_array();
    pq_status     st;

    PQ_CHECK(nodes != NULL, PQ_ERR_NOMEM, "cannot allocate a list");
    for (size_t i = 0; (tensor = pq_keras_tensor_at(all, i, &name)) != NULL; i++) {
        name = json_string_value(json_array_get(tensor, 0));
        node = name == NULL
                   ? NULL
                   : node_of(scope, name,
                             (size_t)json_integer_value(json_array_get(tensor, 1)),
                             (size_t)json_integer_value(json_array_get(tensor, 2)), 1);
        PQ_CHECK(node != NULL, PQ_ERR_FORMAT,
                 "%s: the model's output '%s' is not one of its layers", r->path,
                 name != NULL ? name : "");
        PQ_CHECK(json_array_append_new(nodes, json_string(node)) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a list");
    }
    PQ_CHECK(json_array_size(nodes) > 0, PQ_ERR_FORMAT, "%s: the model has no output",
             r->path);
    *out  = nodes;
    nodes = NULL;
cleanup:
    json_decref(nodes);
    return st;
}

/* Shape of what a chain reads, by its first layer; a model by its own first. */
static json_t *shape_of(const json_t *layer)
{
    for (size_t i = 0; i < MAX_DEPTH && pq_keras_is_model(layer); i++) {
        const json_t *config = json_object_get(layer, "config");
        layer                = json_array_get(
                           json_is_array(config) ? config : json_object_get(config, "layers"), 0);
    }
    const json_t *config = json_object_get(layer, "config");
    json_t       *shape  = json_object_get(config, "batch_input_shape");

    return shape != NULL ? shape : json_object_get(config, "batch_shape");
}

/* A chain; the first layer, or the model, may carry the input's shape. */
static pq_status add_sequential(pq_keras_reader *r, pq_keras_scope *scope,
                                const json_t *layers, json_t *built, const wires *in,
                                json_t **outputs, pq_err *err)
{
    json_t   *made = NULL, *last = NULL;
    pq_status st = PQ_OK;

    if (in->n > 0) {
        last = json_pack("[s]", in->names[0]);
        PQ_CHECK(last != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        wires         none = {0}, one = {.n = 1};
        const bool    is_input =
            strcmp(pq_keras_text(layer, "class_name", ""), "InputLayer") == 0;

        if (i == 0 && !is_input && in->n == 0) {
            json_t *shape = shape_of(layer) != NULL ? shape_of(layer) : built;
            made = json_pack("{s:s, s:{s:s, s:O?}}", "class_name", "InputLayer", "config",
                             "name", "input", "batch_input_shape", shape);
            PQ_CHECK(made != NULL, PQ_ERR_NOMEM, "cannot allocate a layer");
            PQ_TRY(add_layer(r, scope, made, 0, &none, &last, err));
        }
        if (i == 0 && is_input && in->n > 0) {
            continue; /* which is what the chain is called with */
        }
        PQ_CHECK(is_input || json_array_size(last) == 1, PQ_ERR_FORMAT,
                 "%s: layer '%s%s' of a chain reads %zu values, not one", r->path,
                 scope->prefix, pq_keras_layer_name(layer), json_array_size(last));
        one.names[0] = json_string_value(json_array_get(last, 0));
        PQ_TRY(add_call(r, scope, layer, 0, is_input ? &none : &one, err));
        json_decref(last);
        last = json_incref(
            json_array_get(json_object_get(scope->calls, pq_keras_layer_name(layer)), 0));
    }
    *outputs = json_incref(last);
cleanup:
    json_decref(made);
    json_decref(last);
    return st;
}

/* Whose model it is, and that nothing is said of it that is not known here. Theano's
 * kernels are turned by 180 degrees. */
static pq_status check_model(const pq_keras_reader *r, const pq_keras_scope *scope,
                             const json_t *model, pq_err *err)
{
    static const pq_keras_keys itself = {
        "class_name config backend",
        PQ_KERAS_ORIGIN " keras_version build_config compile_config", NULL};
    static const pq_keras_keys inside = {
        "layers input_layers output_layers build_input_shape",
        "name trainable dtype batch_input_shape", NULL};
    pq_status st = PQ_OK;

    if (scope->outer == NULL) {
        PQ_TRY(pq_keras_check_keys(model, "the model", &itself, 1, err));
    }
    PQ_TRY(pq_keras_check_origin(model, err));
    PQ_TRY(pq_keras_check_keys(json_object_get(model, "config"), "the model", &inside, 1,
                               err));
    PQ_CHECK(strcmp(pq_keras_text(model, "backend", ""), "theano") != 0 &&
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

static pq_status add_model(pq_keras_reader *r, pq_keras_scope *scope, const json_t *model,
                           const wires *in, json_t **outputs, pq_err *err)
{
    const char   *kind   = pq_keras_text(model, "class_name", "");
    const json_t *config = json_object_get(model, "config");
    const json_t *layers =
        json_is_array(config) ? config : json_object_get(config, "layers");
    pq_status st;

    PQ_TRY(check_model(r, scope, model, err));
    PQ_CHECK(json_array_size(layers) > 0, PQ_ERR_FORMAT,
             "%s: the architecture has no layers", r->path);
    PQ_CHECK(pq_keras_is_model(model), PQ_ERR_UNSUPPORTED,
             "%s: the model is a '%s'; Sequential, Functional and Model are read",
             r->path, kind);
    scope->calls = json_object();
    PQ_CHECK(scope->calls != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    if (strcmp(kind, "Sequential") == 0) {
        PQ_TRY(add_sequential(r, scope, layers,
                              json_object_get(config, "build_input_shape"), in, outputs,
                              err));
    } else {
        PQ_TRY(add_functional(r, scope, config, in, err));
        PQ_TRY(list_outputs(r, scope, config, outputs, err));
    }
cleanup:
    json_decref(scope->calls);
    json_decref(scope->bases);
    scope->calls = scope->bases = NULL;
    return st;
}

/* Which of n outputs is meant. */
static pq_status choose(const pq_keras_reader *r, const json_t *config, size_t n,
                        size_t *out, pq_err *err)
{
    const json_t *all   = json_object_get(config, "output_layers");
    const char  **names = NULL;
    pq_status     st;

    PQ_NEW(names, n);
    for (size_t i = 0; i < n; i++) {
        (void)pq_keras_tensor_at(all, i, &names[i]);
    }
    st = pq_model_choose(n, names, r->output, out, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", r->path);
    }
cleanup:
    pq_free(names);
    return st;
}

pq_status pq_keras_wire(pq_keras_reader *r, const json_t *architecture, pq_err *err)
{
    const json_t  *config  = json_object_get(architecture, "config");
    pq_keras_scope scope   = {.name = "", .prefix = ""};
    json_t        *outputs = NULL;
    const wires    none    = {0};
    size_t         which   = 0;
    pq_status      st;

    if (pq_keras_v3_root(r->file) != NULL) {
        PQ_TRY(pq_keras_v3_places(
            r->file, r->path, pq_keras_v3_root(r->file),
            json_is_array(config) ? config : json_object_get(config, "layers"),
            &scope.places, err));
    }
    PQ_TRY(add_model(r, &scope, architecture, &none, &outputs, err));
    if (json_array_size(outputs) > 1 || r->output != NULL) {
        PQ_TRY(choose(r, config, json_array_size(outputs), &which, err));
    }
    r->target.graph->output =
        pq_graph_find(r->target.graph, json_string_value(json_array_get(outputs, which)));
    pq_graph_drop_unread(r->target.graph);
cleanup:
    json_decref(scope.places);
    json_decref(outputs);
    return st;
}
