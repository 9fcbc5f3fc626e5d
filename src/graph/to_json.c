#include <math.h>

#include "core/memory.h"
#include "graph/graph_json.h"
#include "graph/head.h"

/* JSON has no infinity: it is written as the text that the parameter reads. */
static json_t *real(double value)
{
    char text[32];

    return isfinite(value) ? json_real(value)
                           : json_string(pq_real_text(value, text, sizeof text));
}

static json_t *list(const pq_reals *values)
{
    json_t *json = json_array();

    for (size_t i = 0; json != NULL && i < values->n; i++) {
        const double v = values->value[i];
        json_t      *item =
            v == rint(v) && fabs(v) < 0x1p53 ? json_integer((json_int_t)v) : real(v);
        if (json_array_append_new(json, item) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *attribute(const pq_param *row, const void *params)
{
    const void *at = (const char *)params + row->offset;

    switch (row->type) {
    case PQ_PARAM_INT:
        return *(const int64_t *)at == PQ_UNSET ? json_null()
                                                : json_integer(*(const int64_t *)at);
    case PQ_PARAM_REAL:
        return isnan(*(const double *)at) ? json_null() : real(*(const double *)at);
    case PQ_PARAM_BOOL:
        return json_boolean(*(const bool *)at);
    case PQ_PARAM_CHOICE:
        return json_string(row->choices[*(const int *)at]);
    case PQ_PARAM_STRING:
        return *(char *const *)at == NULL ? json_null() : json_string(*(char *const *)at);
    case PQ_PARAM_LIST:
        break;
    }
    return list(at);
}

static json_t *attributes_json(const pq_layer *layer)
{
    json_t *json = json_object();

    for (const pq_param *row = layer->kind->params; row != NULL && row->name != NULL;
         row++) {
        if (json_object_set_new(json, row->name, attribute(row, layer->params)) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *shape_json(const pq_shape *shape)
{
    json_t *json = json_array();

    for (size_t i = 0; json != NULL && i < shape->ndim; i++) {
        if (json_array_append_new(json, json_integer((json_int_t)shape->dim[i])) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *weights_json(const pq_layer *layer)
{
    json_t *json = json_array();

    for (size_t i = 0; json != NULL && i < layer->n_weights; i++) {
        json_t *w = json_object();
        if (json_object_set_new(w, "name", json_string(layer->weights[i].name)) != 0 ||
            json_object_set_new(w, "shape",
                                shape_json(&layer->weights[i].value->shape)) != 0 ||
            json_array_append(json, w) != 0) {
            json_decref(json);
            json = NULL;
        }
        json_decref(w);
    }
    return json;
}

static json_t *inputs_json(const pq_graph *graph, const pq_node *node)
{
    json_t *json = json_array();

    for (size_t k = 0; json != NULL && k < node->n_inputs; k++) {
        if (json_array_append_new(json,
                                  json_string(graph->nodes[node->inputs[k]].name)) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static pq_status node_json(const pq_graph *graph, const pq_node *node, json_t *nodes,
                           pq_err *err)
{
    json_t   *json = json_object(), *quant = NULL;
    pq_status st;

    if (node->quant != NULL) {
        PQ_TRY(pq_quant_to_json(node->quant, &quant, err));
    }
    PQ_CHECK(
        json_object_set_new(json, "name", json_string(node->name)) == 0 &&
            json_object_set_new(json, "kind", json_string(node->layer->kind->name)) ==
                0 &&
            json_object_set_new(json, "inputs", inputs_json(graph, node)) == 0 &&
            json_object_set_new(json, "attributes", attributes_json(node->layer)) == 0 &&
            (quant == NULL || json_object_set(json, "quant", quant) == 0) &&
            json_object_set_new(json, "weights", weights_json(node->layer)) == 0 &&
            json_array_append(nodes, json) == 0,
        PQ_ERR_NOMEM, "cannot describe layer '%s'", node->name);
cleanup:
    json_decref(json);
    json_decref(quant);
    return st;
}

static json_t *names_json(size_t n, char *const *names)
{
    json_t *json = json_array();

    for (size_t i = 0; json != NULL && i < n; i++) {
        if (json_array_append_new(json, json_string(names[i])) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

pq_status pq_graph_to_json(const pq_graph *graph, json_t **out, pq_err *err)
{
    json_t   *json = json_object(), *nodes = json_array();
    pq_status st;

    PQ_CHECK(graph->n_nodes > 0, PQ_ERR_FORMAT, "the model has no layers");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_TRY(node_json(graph, &graph->nodes[i], nodes, err));
    }
    PQ_CHECK(
        json_object_set(json, "nodes", nodes) == 0 &&
            json_object_set_new(json, "output",
                                json_string(graph->nodes[graph->output].name)) == 0 &&
            (pq_head_is_told(graph) ||
             json_object_set_new(json, "head", json_string(pq_head_name(graph->head))) ==
                 0) &&
            (graph->class_names == NULL ||
             json_object_set_new(json, "class_names",
                                 names_json(graph->n_classes, graph->class_names)) ==
                 0) &&
            (graph->feature_names == NULL ||
             json_object_set_new(json, "feature_names",
                                 names_json(graph->n_features, graph->feature_names)) ==
                 0),
        PQ_ERR_NOMEM, "cannot describe the model");
    *out = json_incref(json);
cleanup:
    json_decref(json);
    json_decref(nodes);
    return st;
}
