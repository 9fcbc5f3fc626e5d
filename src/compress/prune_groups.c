#include "compress/prune_groups.h"

#include <string.h>

#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/channels.h"

/* Union-find over channels while ties are told; the smallest channel is the root. */
typedef struct {
    const pq_graph *graph;
    size_t          node; /* the one that tells */
    const size_t   *first;
    size_t         *parent;
    const char    **why;    /* of the root */
    size_t         *blamed; /* node of why */
} ties;

static size_t root_of(size_t *parent, size_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i         = parent[i];
    }
    return i;
}

static size_t slot(const ties *t, size_t port, size_t channel)
{
    const size_t node =
        port == PQ_CHANNELS_OUT ? t->node : t->graph->nodes[t->node].inputs[port];

    return t->first[node] + channel;
}

static void tie(void *context, size_t port_a, size_t a, size_t port_b, size_t b)
{
    const ties  *t   = context;
    const size_t x   = root_of(t->parent, slot(t, port_a, a));
    const size_t y   = root_of(t->parent, slot(t, port_b, b));
    const size_t low = x < y ? x : y, high = x < y ? y : x;

    if (low != high) {
        t->parent[high] = low;
        if (t->why[low] == NULL) {
            t->why[low]    = t->why[high];
            t->blamed[low] = t->blamed[high];
        }
    }
}

static void lock(void *context, size_t port, const char *why)
{
    const ties  *t = context;
    const size_t node =
        port == PQ_CHANNELS_OUT ? t->node : t->graph->nodes[t->node].inputs[port];

    for (size_t i = t->first[node]; i < t->first[node + 1]; i++) {
        const size_t root = root_of(t->parent, i);
        if (t->why[root] == NULL) {
            t->why[root]    = why;
            t->blamed[root] = t->node;
        }
    }
}

bool pq_makes_channels(const pq_node *node)
{
    return node->layer->kind->channels != NULL && node->layer->kind->role != NULL &&
           pq_node_kernel(node) != NULL;
}

static bool is_input(const pq_node *node)
{
    return node->n_inputs == 0;
}

/* Ties and locks of one node. */
static void ask(ties *t, const bool *may)
{
    const pq_node        *node = &t->graph->nodes[t->node];
    const pq_channel_sink sink = {tie, lock, t};
    pq_shape              in[PQ_NODE_INPUTS];

    for (size_t k = 0; k < node->n_inputs; k++) {
        in[k] = t->graph->nodes[node->inputs[k]].shape;
    }
    if (node->layer->kind->channels != NULL) {
        node->layer->kind->channels->tie(node->layer, node->n_inputs, in, &node->shape,
                                         &sink);
    } else {
        for (size_t k = 0; k < node->n_inputs; k++) {
            lock(t, k, "needs all of its inputs");
        }
        lock(t, PQ_CHANNELS_OUT, "makes all of its outputs");
    }
    if (t->node == t->graph->output) {
        lock(t, PQ_CHANNELS_OUT, "is the network's output");
    }
    if (pq_makes_channels(node) && !may[t->node]) {
        lock(t, PQ_CHANNELS_OUT, "is not selected");
    }
}

/* Numbers the roots in order. */
static pq_status number(const ties *t, size_t slots, pq_channel_groups *g, pq_err *err)
{
    pq_status st;

    PQ_NEW(g->group, slots);
    for (size_t i = 0; i < slots; i++) {
        const size_t root = root_of(t->parent, i);
        g->group[i]       = root == i ? g->n++ : g->group[root];
    }
    PQ_NEW(g->groups, g->n);
    for (size_t i = 0; i < slots; i++) {
        if (t->parent[i] == i) {
            g->groups[g->group[i]].why  = t->why[i];
            g->groups[g->group[i]].node = t->blamed[i];
        }
    }
cleanup:
    return st;
}

/* Lists the nodes of each group with their counts, by two passes over the channels. */
static pq_status list_parts(pq_channel_groups *g, pq_err *err)
{
    size_t   *last  = NULL; /* node + 1 that a group was last met in */
    size_t    total = 0;
    pq_status st;

    PQ_NEW(last, g->n);
    for (size_t node = 0; node < g->n_nodes; node++) {
        for (size_t i = g->first[node]; i < g->first[node + 1]; i++) {
            pq_channel_group *group = &g->groups[g->group[i]];
            group->n_parts += last[g->group[i]] != node + 1 ? 1 : 0;
            last[g->group[i]] = node + 1;
        }
    }
    for (size_t i = 0; i < g->n; i++) {
        g->groups[i].part = total;
        total += g->groups[i].n_parts;
        g->groups[i].n_parts = 0;
        last[i]              = 0;
    }
    PQ_NEW(g->parts, total);
    for (size_t node = 0; node < g->n_nodes; node++) {
        for (size_t i = g->first[node]; i < g->first[node + 1]; i++) {
            pq_channel_group *group = &g->groups[g->group[i]];
            if (last[g->group[i]] != node + 1) {
                g->parts[group->part + group->n_parts++].node = node;
            }
            last[g->group[i]] = node + 1;
            g->parts[group->part + group->n_parts - 1].channels++;
        }
    }
cleanup:
    pq_free(last);
    return st;
}

/* Splits families node by node: what one of them makes and another does not. A family
 * may end up without groups. */
static pq_status find_families(const pq_graph *graph, pq_channel_groups *g, pq_err *err)
{
    size_t   *split = NULL; /* family of a family's groups that this node makes */
    pq_status st;

    PQ_NEW(split, g->first[g->n_nodes] + 1);
    g->n_families = 1;
    for (size_t node = 0; node < g->n_nodes; node++) {
        const size_t before = g->n_families;
        if (!pq_makes_channels(&graph->nodes[node]) && !is_input(&graph->nodes[node])) {
            continue;
        }
        memset(split, 0, before * sizeof *split);
        for (size_t i = g->first[node]; i < g->first[node + 1]; i++) {
            pq_channel_group *group = &g->groups[g->group[i]];
            if (group->family >= before) {
                continue; /* met in this node already */
            }
            if (split[group->family] == 0) {
                split[group->family] = g->n_families++;
            }
            group->family = split[group->family];
        }
    }
cleanup:
    pq_free(split);
    return st;
}

pq_status pq_channel_groups_find(const pq_graph *graph, const bool *may,
                                 pq_channel_groups *out, pq_err *err)
{
    pq_channel_groups g     = {.n_nodes = graph->n_nodes};
    ties              t     = {.graph = graph};
    size_t            slots = 0;
    pq_status         st;

    PQ_NEW(g.first, g.n_nodes + 1);
    for (size_t i = 0; i < g.n_nodes; i++) {
        g.first[i] = slots;
        slots += pq_channels_of(&graph->nodes[i].shape);
    }
    g.first[g.n_nodes] = slots;
    t.first            = g.first;
    PQ_NEW(t.parent, slots);
    PQ_NEW(t.why, slots);
    PQ_NEW(t.blamed, slots);
    for (size_t i = 0; i < slots; i++) {
        t.parent[i] = i;
    }
    for (; t.node < g.n_nodes; t.node++) {
        ask(&t, may);
    }
    for (t.node = 0; t.node < g.n_nodes; t.node++) { /* last: other reasons come first */
        if (is_input(&graph->nodes[t.node]) && !may[t.node]) {
            lock(&t, PQ_CHANNELS_OUT, "is the network's input");
        }
    }
    PQ_TRY(number(&t, slots, &g, err));
    PQ_TRY(list_parts(&g, err));
    PQ_TRY(find_families(graph, &g, err));
    *out = g;
    g    = (pq_channel_groups){0};
cleanup:
    pq_free(t.parent);
    pq_free(t.why);
    pq_free(t.blamed);
    pq_channel_groups_free(&g);
    return st;
}

void pq_channel_groups_free(pq_channel_groups *groups)
{
    pq_free(groups->groups);
    pq_free(groups->first);
    pq_free(groups->group);
    pq_free(groups->parts);
    *groups = (pq_channel_groups){0};
}
