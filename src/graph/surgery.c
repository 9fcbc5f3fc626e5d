#include <string.h>

#include "core/memory.h"
#include "graph/graph.h"
#include "layers/kinds.h"

/* Whether the new names are free and every layer takes what the chain gives it. */
static pq_status check_chain(const pq_graph *graph, size_t node, size_t n,
                             const char *const *names, pq_layer *const *layers,
                             pq_err *err)
{
    const pq_node *old = &graph->nodes[node];
    pq_status      st;

    PQ_CHECK(graph->n_nodes + n - 1 <= PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "more than %d layers: " PQ_GRAPH_NODES_WHY, PQ_GRAPH_NODES);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_node_arity_check(i + 1 < n ? names[i] : old->name, layers[i],
                                   i == 0 ? old->n_inputs : 1, err));
        if (i + 1 == n) {
            break;
        }
        PQ_CHECK(pq_graph_find(graph, names[i]) == SIZE_MAX, PQ_ERR_FORMAT,
                 "two layers have the name '%s'", names[i]);
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(names[i], names[k]) != 0, PQ_ERR_FORMAT,
                     "two layers have the name '%s'", names[i]);
        }
    }
cleanup:
    return st;
}

/* Fills fresh[0 .. n-1] with the chain; only names are allocated. */
static pq_status make_chain(const pq_graph *graph, size_t node, size_t n,
                            const char *const *names, pq_node *fresh, pq_err *err)
{
    const pq_node *old = &graph->nodes[node];
    pq_status      st  = PQ_OK;

    for (size_t i = 0; i + 1 < n; i++) {
        PQ_STRDUP(fresh[i].name, names[i]);
        fresh[i + 1].n_inputs  = 1;
        fresh[i + 1].inputs[0] = node + i;
    }
    fresh[0].n_inputs = old->n_inputs;
    memcpy(fresh[0].inputs, old->inputs, sizeof old->inputs);
    fresh[n - 1].name  = old->name;
    fresh[n - 1].quant = old->quant;
cleanup:
    return st;
}

pq_status pq_graph_replace(pq_graph *graph, size_t node, size_t n,
                           const char *const *names, pq_layer *const *layers, pq_err *err)
{
    const size_t total = graph->n_nodes + n - 1;
    pq_node     *fresh = NULL;
    pq_status    st;

    assert(node < graph->n_nodes && n >= 1);
    PQ_TRY(check_chain(graph, node, n, names, layers, err));
    PQ_NEW(fresh, total);
    PQ_TRY(make_chain(graph, node, n, names, fresh + node, err));
    PQ_TRY(pq_places_reserve(&graph->names, total, err));

    /* Nothing can fail from here on. */
    pq_layer_free(&graph->nodes[node].layer);
    memcpy(fresh, graph->nodes, node * sizeof *fresh);
    memcpy(fresh + node + n, graph->nodes + node + 1,
           (graph->n_nodes - node - 1) * sizeof *fresh);
    for (size_t i = 0; i < n; i++) {
        fresh[node + i].layer = layers[i];
    }
    for (size_t i = node + n; i < total; i++) {
        for (size_t k = 0; k < fresh[i].n_inputs; k++) {
            fresh[i].inputs[k] += fresh[i].inputs[k] >= node ? n - 1 : 0;
        }
    }
    graph->output += graph->output >= node ? n - 1 : 0;
    pq_places_shift(&graph->names, node, (ptrdiff_t)n - 1); /* the last keeps the name */
    for (size_t i = node; i + 1 < node + n; i++) {
        pq_places_add(&graph->names, fresh[i].name, i);
    }
    pq_free(graph->nodes);
    graph->nodes   = fresh;
    graph->room    = 0;
    graph->n_nodes = total;
    return PQ_OK;
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_layer *layer = layers[i];
        pq_layer_free(&layer);
        if (fresh != NULL && i + 1 < n) {
            pq_free(fresh[node + i].name);
        }
    }
    pq_free(fresh);
    return st;
}

static pq_status check_fresh(const pq_graph *graph, size_t node, size_t n,
                             const pq_node *fresh, pq_err *err)
{
    pq_status st;

    PQ_CHECK(graph->n_nodes + n <= PQ_GRAPH_NODES, PQ_ERR_FORMAT,
             "more than %d layers: " PQ_GRAPH_NODES_WHY, PQ_GRAPH_NODES);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(
            pq_node_arity_check(fresh[i].name, fresh[i].layer, fresh[i].n_inputs, err));
        for (size_t k = 0; k < fresh[i].n_inputs; k++) {
            assert(fresh[i].inputs[k] < node + 1 + i);
        }
        bool taken = pq_graph_find(graph, fresh[i].name) != SIZE_MAX;
        for (size_t k = 0; k < i; k++) {
            taken = taken || strcmp(fresh[i].name, fresh[k].name) == 0;
        }
        PQ_CHECK(!taken, PQ_ERR_FORMAT, "two layers have the name '%s'", fresh[i].name);
    }
cleanup:
    return st;
}

pq_status pq_graph_insert(pq_graph *graph, size_t node, size_t n, pq_node *fresh,
                          pq_err *err)
{
    const size_t total = graph->n_nodes + n;
    pq_node     *grown = NULL;
    pq_status    st;

    assert(node < graph->n_nodes && n >= 1);
    PQ_TRY(check_fresh(graph, node, n, fresh, err));
    PQ_TRY(pq_places_reserve(&graph->names, total, err));
    grown = pq_recalloc(graph->nodes, graph->n_nodes, total, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu layers", n);

    /* Nothing can fail from here on. */
    graph->nodes = grown;
    graph->room  = 0;
    memmove(grown + node + 1 + n, grown + node + 1,
            (graph->n_nodes - node - 1) * sizeof *grown);
    memcpy(grown + node + 1, fresh, n * sizeof *grown);
    for (size_t i = node + 1 + n; i < total; i++) {
        for (size_t k = 0; k < grown[i].n_inputs; k++) {
            grown[i].inputs[k] += grown[i].inputs[k] >= node ? n : 0;
        }
    }
    pq_places_shift(&graph->names, node + 1, (ptrdiff_t)n);
    for (size_t i = node + 1; i <= node + n; i++) {
        pq_places_add(&graph->names, grown[i].name, i);
    }
    grown[node + n].quant = grown[node].quant;
    grown[node].quant     = NULL;
    graph->output += graph->output >= node ? n : 0;
    graph->n_nodes = total;
    return PQ_OK;
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_node_free(&fresh[i]);
    }
    return st;
}

/* Frees a node, and moves those behind it up; who reads what is as it was. */
static void take_out(pq_graph *graph, size_t node)
{
    pq_node *gone = &graph->nodes[node];

    pq_places_remove(&graph->names, gone->name);
    pq_places_shift(&graph->names, node + 1, -1);
    pq_node_free(gone);
    memmove(gone, gone + 1, (graph->n_nodes - node - 1) * sizeof *gone);
    graph->nodes[--graph->n_nodes] = (pq_node){0};
}

/* Where readers of `index` find its values once `node` is gone. */
static size_t without(size_t index, size_t node, size_t input)
{
    return index == node ? input : index > node ? index - 1 : index;
}

pq_status pq_graph_bypass(pq_graph *graph, size_t node, pq_err *err)
{
    pq_node  *gone = &graph->nodes[node];
    size_t    input;
    pq_status st;

    assert(node < graph->n_nodes);
    PQ_CHECK(gone->n_inputs == 1, PQ_ERR_SHAPE,
             "layer '%s' has %zu inputs and cannot be bypassed", gone->name,
             gone->n_inputs);
    input = gone->inputs[0];
    take_out(graph, node);
    for (size_t i = node; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
            graph->nodes[i].inputs[k] = without(graph->nodes[i].inputs[k], node, input);
        }
    }
    graph->output = without(graph->output, node, input);
cleanup:
    return st;
}

/* Whether something after a node, or the outside, reads it. */
static bool is_read(const pq_graph *graph, size_t node)
{
    for (size_t i = node + 1; i < graph->n_nodes; i++) {
        for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
            if (graph->nodes[i].inputs[k] == node) {
                return true;
            }
        }
    }
    return graph->output == node;
}

void pq_graph_drop_unread(pq_graph *graph)
{
    for (size_t node = graph->n_nodes; node-- > 0;) {
        if (is_read(graph, node)) {
            continue;
        }
        take_out(graph, node);
        for (size_t i = node; i < graph->n_nodes; i++) {
            for (size_t k = 0; k < graph->nodes[i].n_inputs; k++) {
                graph->nodes[i].inputs[k] -= graph->nodes[i].inputs[k] > node ? 1 : 0;
            }
        }
        graph->output -= graph->output > node ? 1 : 0;
    }
}

pq_status pq_graph_copy_node(pq_graph *to, const pq_graph *from, size_t node,
                             const char *outside, pq_err *err)
{
    const pq_node *old                    = &from->nodes[node];
    const char    *inputs[PQ_NODE_INPUTS] = {NULL};
    pq_layer      *layer                  = NULL;
    pq_status      st;

    for (size_t k = 0; k < old->n_inputs; k++) {
        const char *name = from->nodes[old->inputs[k]].name;
        inputs[k]        = pq_graph_find(to, name) != SIZE_MAX ? name : outside;
    }
    PQ_TRY(pq_layer_clone(old->layer, &layer, err));
    PQ_TRY(pq_graph_add(to, old->name, layer, old->n_inputs, inputs, err));
    if (old->quant != NULL) {
        PQ_TRY(pq_quant_clone(old->quant, &to->nodes[to->n_nodes - 1].quant, err));
    }
cleanup:
    return st;
}

pq_status pq_graph_append(pq_graph *to, const pq_graph *from, size_t n,
                          const size_t *nodes, const char *input, pq_err *err)
{
    const pq_node   *read  = &from->nodes[from->nodes[nodes[0]].inputs[0]];
    pq_layer        *layer = NULL;
    pq_input_params *attributes;
    pq_status        st;

    PQ_TRY(pq_layer_create("input", &layer, err));
    attributes          = layer->params;
    attributes->shape.n = read->shape.ndim;
    for (size_t i = 0; i < read->shape.ndim; i++) {
        attributes->shape.value[i] = (double)read->shape.dim[i];
    }
    PQ_TRY(pq_graph_add(to, input, layer, 0, NULL, err));
    if (read->quant != NULL) {
        PQ_TRY(pq_quant_clone(read->quant, &to->nodes[to->n_nodes - 1].quant, err));
    }
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_graph_copy_node(to, from, nodes[i], input, err));
    }
cleanup:
    return st;
}
