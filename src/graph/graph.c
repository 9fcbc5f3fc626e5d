#include "graph/graph.h"

#include <string.h>

#include "core/memory.h"

static void names_free(char **names, size_t n)
{
    for (size_t i = 0; names != NULL && i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
}

void pq_node_free(pq_node *node)
{
    pq_free(node->name);
    pq_layer_free(&node->layer);
    pq_quant_free(&node->quant);
    *node = (pq_node){0};
}

void pq_graph_free(pq_graph **graph)
{
    pq_graph *g = *graph;

    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        pq_node_free(&g->nodes[i]);
    }
    pq_free(g->nodes);
    pq_places_free(&g->names);
    names_free(g->class_names, g->n_classes);
    names_free(g->feature_names, g->n_features);
    pq_tensor_free(&g->scaler_mean);
    pq_tensor_free(&g->scaler_std);
    json_decref(g->provenance);
    pq_graph_free(&g->aside);
    pq_graph_free(&g->front);
    pq_free(g);
    *graph = NULL;
}

pq_status pq_graph_create(pq_graph **out, pq_err *err)
{
    pq_graph *g;
    pq_status st;

    PQ_NEW(g, 1);
    g->provenance = json_array();
    if (g->provenance == NULL) {
        pq_graph_free(&g);
        PQ_FAIL(PQ_ERR_NOMEM, "cannot allocate a graph");
    }
    *out = g;
cleanup:
    return st;
}

static pq_status clone_node(const pq_node *from, bool share, pq_node *to, pq_err *err)
{
    pq_status st;

    *to       = *from;
    to->name  = NULL;
    to->layer = NULL;
    to->quant = NULL;
    PQ_STRDUP(to->name, from->name);
    PQ_TRY(share ? pq_layer_share(from->layer, &to->layer, err)
                 : pq_layer_clone(from->layer, &to->layer, err));
    if (from->quant != NULL) {
        PQ_TRY(pq_quant_clone(from->quant, &to->quant, err));
    }
cleanup:
    return st;
}

static pq_status clone_context(const pq_graph *from, bool share, pq_graph *to,
                               pq_err *err)
{
    pq_status st;

    if (from->class_names != NULL) {
        PQ_TRY(pq_graph_set_classes(to, from->n_classes,
                                    (const char *const *)from->class_names, err));
    }
    if (from->feature_names != NULL) {
        PQ_TRY(pq_graph_set_features(to, from->n_features,
                                     (const char *const *)from->feature_names, err));
    }
    if (from->scaler_mean != NULL) {
        PQ_TRY(pq_tensor_clone(from->scaler_mean, &to->scaler_mean, err));
    }
    if (from->scaler_std != NULL) {
        PQ_TRY(pq_tensor_clone(from->scaler_std, &to->scaler_std, err));
    }
    json_decref(to->provenance);
    to->provenance = json_deep_copy(from->provenance);
    PQ_CHECK(to->provenance != NULL, PQ_ERR_NOMEM,
             "cannot allocate a copy of the provenance");
    if (from->aside != NULL && !share) {
        PQ_TRY(pq_graph_clone(from->aside, &to->aside, err));
    }
    if (from->front != NULL && !share) {
        PQ_TRY(pq_graph_clone(from->front, &to->front, err));
    }
cleanup:
    return st;
}

static pq_status copy_graph(const pq_graph *graph, bool share, pq_graph **out,
                            pq_err *err)
{
    pq_graph *copy = NULL;
    pq_status st;

    PQ_TRY(pq_graph_create(&copy, err));
    PQ_NEW(copy->nodes, graph->n_nodes);
    PQ_TRY(pq_places_reserve(&copy->names, graph->n_nodes, err));
    copy->output = graph->output;
    copy->head   = graph->head;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        copy->n_nodes++; /* first, so that a half-made node is freed */
        PQ_TRY(clone_node(&graph->nodes[i], share, &copy->nodes[i], err));
        pq_places_add(&copy->names, copy->nodes[i].name, i);
    }
    PQ_TRY(clone_context(graph, share, copy, err));
    *out = copy;
    copy = NULL;
cleanup:
    pq_graph_free(&copy);
    return st;
}

pq_status pq_graph_clone(const pq_graph *graph, pq_graph **out, pq_err *err)
{
    return copy_graph(graph, false, out, err);
}

pq_status pq_graph_share(const pq_graph *graph, pq_graph **out, pq_err *err)
{
    return copy_graph(graph, true, out, err);
}

/* Puts copies of names in place of others. */
static pq_status set_names(const char *what, size_t n, const char *const *names,
                           char ***to, size_t *to_n, pq_err *err)
{
    size_t    twice;
    char    **copies = NULL;
    pq_status st;

    PQ_TRY(pq_repeated(names, n, &twice, err));
    PQ_CHECK(twice == SIZE_MAX, PQ_ERR_CONFIG, "%s '%s' is named twice", what,
             names[twice]);
    PQ_NEW(copies, n);
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(names[i][0] != '\0', PQ_ERR_CONFIG, "%s %zu has an empty name", what, i);
        PQ_STRDUP(copies[i], names[i]);
    }
    names_free(*to, *to_n);
    *to    = copies;
    *to_n  = n;
    copies = NULL;
cleanup:
    names_free(copies, n);
    return st;
}

pq_status pq_graph_set_classes(pq_graph *graph, size_t n, const char *const *names,
                               pq_err *err)
{
    return set_names("class", n, names, &graph->class_names, &graph->n_classes, err);
}

pq_status pq_graph_set_features(pq_graph *graph, size_t n, const char *const *names,
                                pq_err *err)
{
    return set_names("feature", n, names, &graph->feature_names, &graph->n_features, err);
}

size_t pq_graph_find(const pq_graph *graph, const char *name)
{
    return pq_places_find(&graph->names, name);
}

pq_status pq_node_arity_check(const char *name, const pq_layer *layer, size_t n_inputs,
                              pq_err *err)
{
    const pq_layer_kind *k = layer->kind;
    pq_status            st;

    PQ_CHECK(n_inputs >= k->min_inputs && n_inputs <= k->max_inputs &&
                 n_inputs <= PQ_NODE_INPUTS,
             PQ_ERR_FORMAT, "layer '%s': %s takes %zu..%zu inputs, not %zu", name,
             k->name, k->min_inputs, k->max_inputs, n_inputs);
cleanup:
    return st;
}

pq_status pq_graph_add(pq_graph *graph, const char *name, pq_layer *layer,
                       size_t n_inputs, const char *const *inputs, pq_err *err)
{
    pq_node   node  = {.layer = layer, .n_inputs = n_inputs};
    pq_node  *grown = NULL;
    pq_status st;

    PQ_CHECK(*name != '\0', PQ_ERR_FORMAT, "a layer has an empty name");
    PQ_CHECK(pq_graph_find(graph, name) == SIZE_MAX, PQ_ERR_FORMAT,
             "two layers have the name '%s'", name);
    PQ_CHECK(graph->n_nodes < PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "more than %d layers: " PQ_GRAPH_NODES_WHY, PQ_GRAPH_NODES);
    PQ_TRY(pq_node_arity_check(name, layer, n_inputs, err));
    for (size_t i = 0; i < n_inputs; i++) {
        node.inputs[i] = pq_graph_find(graph, inputs[i]);
        PQ_CHECK(node.inputs[i] != SIZE_MAX, PQ_ERR_FORMAT,
                 "layer '%s' reads '%s', which is no earlier layer", name, inputs[i]);
    }
    PQ_STRDUP(node.name, name);
    PQ_TRY(pq_places_reserve(&graph->names, graph->n_nodes + 1, err));
    if (graph->n_nodes >= graph->room) {
        const size_t room = 2 * graph->n_nodes + 8;
        grown = pq_recalloc(graph->nodes, graph->n_nodes, room, sizeof *grown);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a layer");
        graph->nodes = grown;
        graph->room  = room;
    }
    pq_places_add(&graph->names, node.name, graph->n_nodes);
    graph->nodes[graph->n_nodes] = node;
    graph->output                = graph->n_nodes++;
    return PQ_OK;
cleanup:
    pq_node_free(&node);
    return st;
}

size_t pq_graph_readers(const pq_graph *graph, size_t node)
{
    size_t n = graph->output == node ? 1 : 0;

    for (size_t i = node + 1; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
            n += graph->nodes[i].inputs[k] == node ? 1 : 0;
        }
    }
    return n;
}

pq_status pq_graph_note(pq_graph *graph, json_t *step, pq_err *err)
{
    pq_status st;

    PQ_CHECK(json_array_append_new(graph->provenance, step) == 0, PQ_ERR_NOMEM,
             "cannot note a step of provenance");
cleanup:
    return st;
}
