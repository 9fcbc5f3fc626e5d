/* Random graphs with joins of far nodes, groups of channels and shapes that change, for
 * structured pruning. */
#ifndef TESTS_COMPRESS_RANDOM_DAGS_H
#define TESTS_COMPRESS_RANDOM_DAGS_H

#include "../exec/random_nets.h"
#include "layers/kinds.h"

/* A random node of the same shape, or of one that differs in channels only. */
static inline const pq_node *dag_partner(net *t, bool any_channels)
{
    const pq_graph *g     = t->graph;
    const pq_shape *shape = shape_of(t);
    const size_t    start = below(t, g->n_nodes);

    for (size_t k = 0; k < g->n_nodes; k++) {
        const pq_node *node = &g->nodes[(start + k) % g->n_nodes];
        pq_shape       same = node->shape;
        if (any_channels && same.ndim == shape->ndim) {
            same.dim[same.ndim - 1] = shape->dim[shape->ndim - 1];
        }
        if (pq_shape_equal(&same, shape)) {
            return node;
        }
    }
    return NULL;
}

static inline void dag_join(net *t)
{
    static const char *const kinds[] = {"add", "multiply", "concat", "add"};
    const char              *kind    = kinds[below(t, 4)];
    const bool               concat  = strcmp(kind, "concat") == 0;
    const bool               other   = concat && chance(t, 0.3); /* another axis */
    const pq_node           *partner = dag_partner(t, concat && !other);
    char                     from[16], name[16];
    pq_layer                *layer;

    if (partner == NULL || (concat && shape_of(t)->dim[shape_of(t)->ndim - 1] > 24)) {
        return;
    }
    (void)snprintf(from, sizeof from, "%s", t->last);
    (void)snprintf(name, sizeof name, "%s", partner->name);
    layer = make_layer(kind);
    if (concat) {
        OK(pq_layer_set(layer, "axis", other && shape_of(t)->ndim > 1 ? "0" : "-1",
                        &err));
    }
    append2(t, layer, from, name);
}

static inline void dag_conv(net *t)
{
    const size_t in     = shape_of(t)->dim[2];
    const size_t draw   = below(t, 10);
    const size_t groups = draw < 2                  ? in
                          : draw < 4 && in % 2 == 0 ? 2
                          : draw < 5 && in % 3 == 0 ? 3
                                                    : 1;
    pq_layer    *layer  = make_layer("conv2d");

    OK(pq_layer_set(layer, "padding",
                    chance(t, 0.8) || shape_of(t)->dim[0] < 3 || shape_of(t)->dim[1] < 3
                        ? "same"
                        : "valid",
                    &err));
    set(layer, "groups", groups);
    append(t, kernel(t, layer,
                     PQ_SHAPE(groups * (groups == 1 ? 2 + below(t, 8) : 1 + below(t, 3)),
                              1 + below(t, 2), 1 + below(t, 2), in / groups)));
}

static inline void dag_pad(net *t)
{
    pq_layer *layer = make_layer("pad");

    set(layer, "before", below(t, 3));
    set(layer, "after", below(t, 3));
    set(layer, "top", below(t, 2));
    OK(pq_layer_set(layer, "value", chance(t, 0.3) ? "0.5" : "0", &err));
    append(t, layer);
}

static inline void dag_slice(net *t)
{
    const size_t width = shape_of(t)->dim[shape_of(t)->ndim - 1];
    const size_t from  = below(t, width);
    pq_layer    *layer = make_layer("slice");

    set(layer, "from", from);
    if (chance(t, 0.5)) {
        set(layer, "to", from + 1 + below(t, width - from));
    }
    append(t, layer);
}

/* Another split of the same items into rows. */
static inline void dag_reshape(net *t)
{
    const pq_shape *shape = shape_of(t);
    const size_t    items = shape->dim[0] * (shape->ndim > 1 ? shape->dim[1] : 1);
    const size_t    rows  = items % 2 == 0 ? 2 : items % 3 == 0 ? 3 : 1;
    pq_layer       *layer = make_layer("reshape");
    char            text[40];

    if (chance(t, 0.5)) {
        (void)snprintf(text, sizeof text, "[%zu, %zu]", rows, items / rows);
    } else {
        (void)snprintf(text, sizeof text, "[%zu, -1]", rows);
    }
    OK(pq_layer_set(layer, "shape", text, &err));
    append(t, layer);
}

static inline void dag_image_layer(net *t)
{
    switch (below(t, 12)) {
    case 0:
        dag_pad(t);
        break;
    case 1:
        dag_slice(t);
        break;
    case 2:
    case 3:
    case 4:
        dag_join(t);
        break;
    case 5:
        append(t, norm_layer(&t->rng, shape_of(t)->dim[2]));
        break;
    case 6:
    case 7:
        add_function(t);
        break;
    default:
        dag_conv(t);
    }
    if (shape_of(t)->dim[0] > 4 && shape_of(t)->dim[1] > 2 && chance(t, 0.1)) {
        pq_layer *layer = make_layer(chance(t, 0.5) ? "subsample" : "max_pool");
        if (strcmp(layer->kind->name, "max_pool") == 0) {
            set(layer, "kernel_h", 2);
            set(layer, "kernel_w", 2);
        }
        append(t, layer);
    }
}

static inline void dag_flat_layer(net *t)
{
    switch (below(t, 7)) {
    case 0:
        dag_join(t);
        break;
    case 1:
        dag_reshape(t);
        break;
    case 2:
        add_function(t);
        break;
    case 3:
        chance(t, 0.3) ? add_train(t) : dag_slice(t);
        break;
    default: {
        const size_t in = shape_of(t)->dim[shape_of(t)->ndim - 1];
        append(t, kernel(t, make_layer("dense"), PQ_SHAPE(2 + below(t, 9), in)));
    }
    }
}

/*
 * Grids on activations, where no definition changes with the scales that go: a bias in
 * whole numbers is rounded to the finest scale of its row, which may go where every
 * weight has its own; and with several scales of its input it is not rounded at all.
 */
static inline void dag_quantize(net *t)
{
    bool grids = false;

    for (size_t i = 0; i < t->graph->n_nodes; i++) {
        const pq_layer *layer = t->graph->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            const pq_quant *q = layer->weights[k].quant;
            if (q != NULL && q->axis == PQ_QUANT_PER_ITEM) {
                return;
            }
            grids = grids || q != NULL;
        }
    }
    for (size_t i = 0; i < t->graph->n_nodes; i++) {
        pq_node *node = &t->graph->nodes[i];
        if (chance(t, 0.3)) {
            quantize_node(t, node);
        }
        if (grids && node->quant != NULL && node->quant->n > 1) {
            pq_quant_free(&node->quant);
        }
    }
}

static inline net make_dag(uint64_t seed)
{
    net        t     = {.rng = pq_rng_stream(seed, "dag")};
    const bool image = chance(&t, 0.7);

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", image ? "[6, 5, 3]" : "[9]");
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    for (size_t i = 0, n = 3 + below(&t, 8); image && i < n; i++) {
        dag_image_layer(&t);
    }
    if (image) {
        static const char *const ends[] = {"global_avg_pool", "global_max_pool",
                                           "flatten"};
        append(&t, make_layer(ends[below(&t, 3)]));
    }
    for (size_t i = 0, n = 2 + below(&t, 5); i < n; i++) {
        dag_flat_layer(&t);
    }
    if (chance(&t, 0.3)) {
        append(&t, make_layer("softmax"));
    }
    if (chance(&t, 0.4)) {
        dag_quantize(&t);
    }
    return t;
}

#endif
