/*
 * Picks a network of the front that a training with hgq_front left: of its epochs that no
 * other beats in both effective bit operations and accuracy, the most accurate one within
 * a limit, which is the one with most of them.
 */
#include <math.h>

#include "compress/method.h"
#include "compress/wiring.h"

typedef struct {
    double max_ebops;
} front_params;

static const pq_param params[] = {
    {.name   = "max_ebops",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(front_params, max_ebops),
     .min    = 1,
     .max    = 1e18,
     .help   = "most effective bit operations of the network"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(!isnan(((const front_params *)values)->max_ebops), PQ_ERR_CONFIG,
             "give max_ebops");
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_kernel(node) != NULL;
}

/* What an epoch was, of its own provenance. */
static double noted(const pq_graph *graph, const char *name)
{
    const json_t *value = json_object_get(json_array_get(graph->provenance, 0), name);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const front_params *p     = task->params;
    pq_graph           *graph = task->graph, *pick = graph->front, *least = NULL;
    pq_status           st = PQ_OK;

    PQ_CHECK(pick != NULL, PQ_ERR_CONFIG,
             "there is no front to pick from: the stage before must be a training with "
             "hgq_front: true");
    for (; pick != NULL && pq_graph_ebops(pick) > p->max_ebops; pick = pick->front) {
        least = pick;
    }
    PQ_CHECK(pick != NULL, PQ_ERR_RANGE,
             "max_ebops = %g: the smallest network of the front has %.0f", p->max_ebops,
             pq_graph_ebops(least));
    PQ_CHECK(pick->n_nodes == graph->n_nodes, PQ_ERR_FORMAT,
             "a network of the front has %zu layers, not %zu", pick->n_nodes,
             graph->n_nodes);
    const pq_places names = graph->names; /* of the nodes: they go along */
    graph->names          = pick->names;
    pick->names           = names;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node swap = graph->nodes[i];
        graph->nodes[i]    = pick->nodes[i];
        pick->nodes[i]     = swap;
    }
    for (size_t i = 0; i < task->n_nodes; i++) {
        PQ_TRY(pq_task_change(task, task->nodes[i], (double)NAN,
                              "epoch %.0f, %.0f EBOPs, accuracy %.4f in validation",
                              noted(pick, "epoch"), pq_graph_ebops(graph),
                              noted(pick, "validation_accuracy")));
    }
    pq_graph_free(&graph->front);
cleanup:
    return st;
}

const pq_method pq_method_front = {
    .name        = "front",
    .summary     = "picks a network of the front that one training with hgq_front left",
    .source      = "arXiv:2405.00645",
    .params      = params,
    .params_size = sizeof(front_params),
    .version     = "1",
    .keeps       = PQ_KEEPS_ALL | PQ_KEEPS_FRONT,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
