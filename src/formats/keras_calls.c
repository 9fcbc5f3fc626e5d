/* Which layers a layer reads in each of its calls, from either form of inbound_nodes. */
#include <string.h>

#include "formats/keras_reader.h"

bool pq_keras_is_model(const json_t *layer)
{
    static const char *const classes[] = {"Functional", "Sequential", "Model"};
    const char *class                  = pq_keras_text(layer, "class_name", "");

    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strcmp(class, classes[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *pq_keras_layer_name(const json_t *layer)
{
    return pq_keras_text(json_object_get(layer, "config"), "name",
                         pq_keras_text(layer, "name", ""));
}

size_t pq_keras_n_calls(const json_t *layer)
{
    const size_t n = json_array_size(json_object_get(layer, "inbound_nodes"));

    return n > 0 ? n : 1; /* inputs list none */
}

const json_t *pq_keras_tensor_at(const json_t *list, size_t i, const char **name)
{
    const json_t *found = NULL;
    void         *at;

    if (json_is_string(json_array_get(list, 0))) {
        found = i == 0 ? list : NULL;
    } else if (json_is_array(list)) {
        found = json_array_get(list, i);
    } else {
        at = json_object_iter((json_t *)list);
        for (size_t k = 0; at != NULL && k < i; k++) {
            at = json_object_iter_next((json_t *)list, at);
        }
        found = at != NULL ? json_object_iter_value(at) : NULL;
        *name = at != NULL ? json_object_iter_key(at) : NULL;
        return found;
    }
    *name = json_string_value(json_array_get(found, 0));
    return found;
}

static pq_status add_source(const char *path, const char *layer, const json_t *history,
                            pq_keras_sources *out, pq_err *err)
{
    const char      *name   = json_string_value(json_array_get(history, 0));
    const json_int_t call   = json_integer_value(json_array_get(history, 1)),
                     tensor = json_integer_value(json_array_get(history, 2));
    pq_status st;

    PQ_CHECK(name != NULL && call >= 0 && tensor >= 0, PQ_ERR_FORMAT,
             "%s: layer '%s': its inbound_nodes cannot be read", path, layer);
    PQ_CHECK(out->n < PQ_NODE_INPUTS, PQ_ERR_UNSUPPORTED,
             "%s: layer '%s': has more than %d inputs", path, layer, PQ_NODE_INPUTS);
    out->from[out->n].layer  = name;
    out->from[out->n].call   = (size_t)call;
    out->from[out->n].tensor = (size_t)tensor;
    out->n++;
cleanup:
    return st;
}

/* Arguments of the call beside the tensors. */
static pq_status check_call(const char *path, const char *layer, const json_t *arguments,
                            pq_err *err)
{
    static const pq_keras_keys keys = {NULL, NULL, "training mask"};
    pq_status st = pq_keras_check_keys(arguments, "its call", &keys, 1, err);

    if (st != PQ_OK) {
        pq_err_context(err, "%s: layer '%s'", path, layer);
    }
    return st;
}

/* Keras 3: tensors stand in the arguments, alone or in lists. */
static pq_status collect_tensors(const char *path, const char *layer, const json_t *args,
                                 pq_keras_sources *out, pq_err *err)
{
    const json_t *history =
        json_object_get(json_object_get(args, "config"), "keras_history");
    pq_status st = PQ_OK;

    if (history != NULL) {
        return add_source(path, layer, history, out, err);
    }
    PQ_CHECK(args == NULL || json_is_array(args), PQ_ERR_UNSUPPORTED,
             "%s: layer '%s': is called with an argument that is no tensor", path, layer);
    for (size_t i = 0; i < json_array_size(args); i++) {
        PQ_TRY(collect_tensors(path, layer, json_array_get(args, i), out, err));
    }
cleanup:
    return st;
}

pq_status pq_keras_find_sources(const char *path, const json_t *layer, size_t call,
                                pq_keras_sources *out, pq_err *err)
{
    const char   *name = pq_keras_layer_name(layer);
    const json_t *node = json_array_get(json_object_get(layer, "inbound_nodes"), call);
    pq_status     st   = PQ_OK;

    if (json_is_object(node)) {
        PQ_TRY(collect_tensors(path, name, json_object_get(node, "args"), out, err));
        PQ_TRY(check_call(path, name, json_object_get(node, "kwargs"), err));
    }
    for (size_t i = 0; i < json_array_size(node); i++) {
        PQ_TRY(add_source(path, name, json_array_get(node, i), out, err));
        PQ_TRY(check_call(path, name, json_array_get(json_array_get(node, i), 3), err));
    }
cleanup:
    return st;
}

/* Whether a layer's calls are in the form of Keras 3. */
static bool is_v3(const json_t *layer)
{
    return json_is_object(json_array_get(json_object_get(layer, "inbound_nodes"), 0));
}

/* Lowers the first call of a model to one that is named. */
static void see(json_t *bases, const char *layer, size_t call)
{
    json_t *base = json_object_get(bases, layer);

    if (base != NULL && (json_int_t)call < json_integer_value(json_array_get(base, 0))) {
        (void)json_array_set_new(base, 0, json_integer((json_int_t)call));
        (void)json_array_set_new(base, 1, json_integer((json_int_t)call));
    }
}

static void see_outputs(json_t *bases, const json_t *outputs)
{
    const json_t *first = json_array_get(outputs, 0);
    const char   *key;
    json_t       *value;

    if (json_is_string(first)) {
        see(bases, json_string_value(first),
            (size_t)json_integer_value(json_array_get(outputs, 1)));
    }
    for (size_t i = 0; json_is_array(first) && i < json_array_size(outputs); i++) {
        see_outputs(bases, json_array_get(outputs, i));
    }
    json_object_foreach((json_t *)outputs, key, value)
    {
        see_outputs(bases, value);
    }
}

/* Puts the models among the layers into the table. */
static pq_status list_models(const json_t *layers, json_t *bases, bool *old, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const bool    v3    = is_v3(layer);
        const bool    own =
            strcmp(pq_keras_text(layer, "class_name", ""), "Sequential") != 0;
        if (pq_keras_is_model(layer)) {
            *old = *old || !v3;
            PQ_CHECK(json_object_set_new(bases, pq_keras_layer_name(layer),
                                         json_pack("[i, i]", v3 ? 0 : INT32_MAX,
                                                   v3 ? (own ? 1 : 0) : INT32_MAX)) == 0,
                     PQ_ERR_NOMEM, "cannot allocate a table");
        }
    }
cleanup:
    return st;
}

pq_status pq_keras_find_bases(const char *path, const json_t *layers,
                              const json_t *outputs, json_t **out, pq_err *err)
{
    json_t   *bases = json_object();
    bool      old   = false;
    pq_status st;

    PQ_CHECK(bases != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    PQ_TRY(list_models(layers, bases, &old, err));
    for (size_t i = 0; old && i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        for (size_t k = 0; k < pq_keras_n_calls(layer); k++) {
            pq_keras_sources from = {0};
            PQ_TRY(pq_keras_find_sources(path, layer, k, &from, err));
            for (size_t s = 0; s < from.n; s++) {
                see(bases, from.from[s].layer, from.from[s].call);
            }
        }
    }
    if (old) {
        see_outputs(bases, outputs);
    }
    *out  = bases;
    bases = NULL;
cleanup:
    json_decref(bases);
    return st;
}
