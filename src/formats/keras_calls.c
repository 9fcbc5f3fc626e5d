/* Which layers a layer reads, from either form of inbound_nodes. */
#include "formats/keras.h"

static pq_status add_source(const char *path, const char *layer, const json_t *history,
                            pq_keras_sources *out, pq_err *err)
{
    const char *name = json_string_value(json_array_get(history, 0));
    pq_status   st;

    PQ_CHECK(name != NULL, PQ_ERR_FORMAT,
             "%s: layer '%s': its inbound_nodes cannot be read", path, layer);
    PQ_CHECK(
        json_integer_value(json_array_get(history, 1)) == 0 &&
            json_integer_value(json_array_get(history, 2)) == 0,
        PQ_ERR_UNSUPPORTED,
        "%s: layer '%s': reads another call of '%s' than the first; layers used more "
        "than once are not read",
        path, layer, name);
    PQ_CHECK(out->n < PQ_NODE_INPUTS, PQ_ERR_UNSUPPORTED,
             "%s: layer '%s': has more than %d inputs", path, layer, PQ_NODE_INPUTS);
    out->names[out->n++] = name;
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

pq_status pq_keras_find_sources(const char *path, const json_t *layer,
                                pq_keras_sources *out, pq_err *err)
{
    const char   *name  = pq_keras_text(layer, "name", "");
    const json_t *nodes = json_object_get(layer, "inbound_nodes");
    const json_t *node  = json_array_get(nodes, 0);
    pq_status     st    = PQ_OK;

    PQ_CHECK(json_array_size(nodes) <= 1, PQ_ERR_UNSUPPORTED,
             "%s: layer '%s': is used %zu times; layers used more than once are not read",
             path, name, json_array_size(nodes));
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
