#include <string.h>

#include "core/memory.h"
#include "graph/graph_json.h"
#include "graph/head.h"
#include "graph/json_keys.h"

enum { NAMES_MAX = 1 << 20, NAME_MAX_BYTES = 255 };

/* A JSON number as the text that pq_layer_set reads. */
static bool number_text(const json_t *value, char *text, size_t size)
{
    if (json_is_integer(value)) {
        (void)snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)pq_real_text(json_real_value(value), text, size);
    }
    return json_is_number(value);
}

static bool list_text(const json_t *value, pq_text *text)
{
    char number[32];

    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!number_text(json_array_get(value, i), number, sizeof number)) {
            return false;
        }
        pq_text_add(text, "%s%s", i == 0 ? "" : ", ", number);
    }
    return true;
}

static pq_status set_attribute(pq_layer *layer, const char *name, const json_t *value,
                               pq_err *err)
{
    char      number[32];
    pq_text   text = {0};
    bool      ok   = true;
    pq_status st;

    if (json_is_array(value)) {
        PQ_CHECK(json_array_size(value) <= PQ_LIST_MAX, PQ_ERR_FORMAT,
                 "attribute '%.64s' has %zu entries, more than %d", name,
                 json_array_size(value), PQ_LIST_MAX);
        pq_text_add(&text, "[");
        ok = list_text(value, &text);
        pq_text_add(&text, "]");
    } else if (json_is_string(value)) {
        pq_text_add(&text, "%s", json_string_value(value));
    } else if (json_is_boolean(value)) {
        pq_text_add(&text, "%s", json_is_true(value) ? "true" : "false");
    } else if (json_is_null(value)) {
        pq_text_add(&text, "none");
    } else {
        ok = number_text(value, number, sizeof number);
        pq_text_add(&text, "%s", ok ? number : "");
    }
    PQ_CHECK(ok, PQ_ERR_FORMAT,
             "attribute '%.64s' is no number, text, true or false, or list", name);
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate an attribute");
    PQ_TRY(pq_layer_set(layer, name, text.text, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status read_attributes(const json_t *node, pq_layer *layer, pq_err *err)
{
    json_t     *attributes = json_object_get(node, "attributes");
    const char *name;
    json_t     *value;
    pq_status   st;

    PQ_CHECK(attributes == NULL || json_is_object(attributes), PQ_ERR_FORMAT,
             "'attributes' is no JSON object");
    json_object_foreach(attributes, name, value)
    {
        PQ_TRY(set_attribute(layer, name, value, err));
    }
cleanup:
    return st;
}

static pq_status read_inputs(const json_t *node, size_t *n, const char **names,
                             pq_err *err)
{
    const json_t *inputs = NULL;
    pq_status     st;

    PQ_TRY(pq_json_array(node, "inputs", &inputs, err));
    *n = json_array_size(inputs);
    PQ_CHECK(*n <= PQ_NODE_INPUTS, PQ_ERR_FORMAT, "%zu inputs are more than %d", *n,
             PQ_NODE_INPUTS);
    for (size_t k = 0; k < *n; k++) {
        names[k] = json_string_value(json_array_get(inputs, k));
        PQ_CHECK(names[k] != NULL, PQ_ERR_FORMAT, "input %zu is no text", k);
    }
cleanup:
    return st;
}

/* Everything of a node but its name. */
static pq_status read_node(const json_t *json, const char *name, pq_graph *graph,
                           pq_err *err)
{
    static const char *const keys[] = {"name",  "kind",    "inputs", "attributes",
                                       "quant", "weights", NULL};
    const json_t            *quant  = json_object_get(json, "quant");
    const char              *kind   = NULL, *inputs[PQ_NODE_INPUTS];
    size_t                   n      = 0;
    pq_layer                *layer  = NULL, *taken;
    pq_status                st;

    PQ_TRY(pq_json_known(json, "a layer", keys, err));
    PQ_TRY(pq_json_text(json, "kind", &kind, err));
    PQ_TRY(read_inputs(json, &n, inputs, err));
    PQ_TRY(pq_layer_create(kind, &layer, err));
    PQ_TRY(read_attributes(json, layer, err));
    taken = layer;
    layer = NULL;
    PQ_TRY(pq_graph_add(graph, name, taken, n, inputs, err));
    if (quant != NULL) {
        PQ_TRY(pq_quant_from_json(quant, &graph->nodes[graph->n_nodes - 1].quant, err));
    }
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status read_nodes(const json_t *json, pq_graph *graph, pq_err *err)
{
    const json_t *nodes = NULL;
    const char   *name  = NULL;
    pq_status     st;

    PQ_TRY(pq_json_array(json, "nodes", &nodes, err));
    PQ_CHECK(json_array_size(nodes) >= 1, PQ_ERR_FORMAT, "the model has no layers");
    PQ_CHECK(json_array_size(nodes) <= PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "the model has %zu layers, more than %d: " PQ_GRAPH_NODES_WHY,
             json_array_size(nodes), PQ_GRAPH_NODES);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        PQ_CHECK(json_is_object(node), PQ_ERR_FORMAT, "nodes[%zu] is no JSON object", i);
        st = pq_json_text(node, "name", &name, err);
        if (st != PQ_OK) {
            pq_err_context(err, "nodes[%zu]", i);
            goto cleanup;
        }
        PQ_CHECK(strlen(name) <= NAME_MAX_BYTES, PQ_ERR_FORMAT,
                 "nodes[%zu]: its name has %zu bytes, more than %d", i, strlen(name),
                 NAME_MAX_BYTES);
        st = read_node(node, name, graph, err);
        if (st != PQ_OK) {
            pq_err_context(err, "nodes[%zu] ('%s')", i, name);
            goto cleanup;
        }
    }
cleanup:
    return st;
}

/* Names below a key, by the function that keeps them. */
static pq_status
read_names(const json_t *json, const char *key, const char *what, pq_graph *graph,
           pq_status (*set)(pq_graph *, size_t, const char *const *, pq_err *),
           pq_err *err)
{
    const json_t *list  = json_object_get(json, key);
    const size_t  n     = json_array_size(list);
    const char  **names = NULL;
    pq_status     st;

    if (list == NULL) {
        return PQ_OK;
    }
    PQ_CHECK(n >= 1 && n <= NAMES_MAX, PQ_ERR_FORMAT, "'%s' is no array of 1..%d names",
             key, NAMES_MAX);
    PQ_NEW(names, n);
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        PQ_CHECK(names[i] != NULL, PQ_ERR_FORMAT, "%s %zu is no text", what, i);
    }
    st = set(graph, n, names, err);
    if (st == PQ_ERR_CONFIG) { /* in a file: not what a user asked for */
        st = PQ_ERR_FORMAT;
    }
cleanup:
    pq_free(names);
    return st;
}

static pq_status read_head(const json_t *json, pq_graph *graph, pq_err *err)
{
    const char *name = NULL;
    pq_status   st   = PQ_OK;

    if (json_object_get(json, "head") != NULL) {
        PQ_TRY(pq_json_text(json, "head", &name, err));
        PQ_CHECK(pq_head_find(name, &graph->head), PQ_ERR_FORMAT,
                 "the head '%.64s' is none of softmax, logits, sigmoid, binary, none",
                 name);
    }
cleanup:
    return st;
}

pq_status pq_graph_from_json(const json_t *json, pq_graph **out, pq_err *err)
{
    static const char *const keys[] = {"nodes",       "output",        "head",
                                       "class_names", "feature_names", NULL};
    pq_graph                *graph  = NULL;
    const char              *output = NULL;
    pq_status                st;

    PQ_CHECK(json_is_object(json), PQ_ERR_FORMAT, "the model's graph is no JSON object");
    PQ_TRY(pq_json_known(json, "the model's graph", keys, err));
    PQ_TRY(pq_graph_create(&graph, err));
    PQ_TRY(read_nodes(json, graph, err));
    PQ_TRY(pq_json_text(json, "output", &output, err));
    graph->output = pq_graph_find(graph, output);
    PQ_CHECK(graph->output != SIZE_MAX, PQ_ERR_FORMAT, "the output '%.64s' is no layer",
             output);
    PQ_TRY(read_head(json, graph, err));
    PQ_TRY(
        read_names(json, "class_names", "class name", graph, pq_graph_set_classes, err));
    PQ_TRY(read_names(json, "feature_names", "feature name", graph, pq_graph_set_features,
                      err));
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    return st;
}
