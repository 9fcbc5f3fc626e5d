/* Small graphs for the tests of this room. */
#ifndef PQ_TESTS_GRAPH_BUILD_H
#define PQ_TESTS_GRAPH_BUILD_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "graph/graph.h"

static inline pq_status build_weight(pq_layer *layer, const char *name, pq_shape shape,
                                     pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)(i % 5) * 0.25f;
    }
    PQ_TRY(pq_layer_add_weight(layer, name, t, err));
cleanup:
    return st;
}

/* Appends a node; `a` and `b` are its inputs, or NULL; `kernel` may be empty. */
static inline pq_status build_node(pq_graph *g, const char *kind, const char *name,
                                   const char *a, const char *b, pq_shape kernel,
                                   pq_err *err)
{
    const char *inputs[] = {a, b};
    pq_layer   *layer    = NULL, *taken;
    pq_status   st;

    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (strcmp(kind, "input") == 0) {
        PQ_TRY(pq_layer_set(layer, "shape", "[6, 6, 3]", err));
    }
    if (strcmp(kind, "conv2d") == 0) {
        PQ_TRY(pq_layer_set(layer, "padding", "same", err));
    }
    if (kernel.ndim > 0) {
        PQ_TRY(build_weight(layer, "kernel", kernel, err));
        PQ_TRY(build_weight(layer, "bias", PQ_SHAPE(kernel.dim[0]), err));
    }
    taken = layer;
    layer = NULL;
    PQ_TRY(pq_graph_add(g, name, taken, a == NULL ? 0 : b == NULL ? 1 : 2, inputs, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* image -> conv1 -> relu1 -> conv2 -> sum(relu1, conv2) -> mean -> fc -> softmax, with
 * everything set. */
static inline pq_status build_residual(pq_graph **out, pq_err *err)
{
    static const char *const classes[] = {"g", "q", "w"};
    const pq_shape           none = {0}, features = PQ_SHAPE(3);
    pq_graph                *g = NULL;
    pq_status                st;

    PQ_TRY(pq_graph_create(&g, err));
    PQ_TRY(build_node(g, "input", "image", NULL, NULL, none, err));
    PQ_TRY(build_node(g, "conv2d", "conv1", "image", NULL, PQ_SHAPE(4, 3, 3, 3), err));
    PQ_TRY(build_node(g, "relu", "relu1", "conv1", NULL, none, err));
    PQ_TRY(build_node(g, "conv2d", "conv2", "relu1", NULL, PQ_SHAPE(4, 3, 3, 4), err));
    PQ_TRY(build_node(g, "add", "sum", "relu1", "conv2", none, err));
    PQ_TRY(build_node(g, "global_avg_pool", "mean", "sum", NULL, none, err));
    PQ_TRY(build_node(g, "dense", "fc", "mean", NULL, PQ_SHAPE(3, 4), err));
    PQ_TRY(build_node(g, "softmax", "out", "fc", NULL, none, err));
    PQ_TRY(pq_graph_set_classes(g, 3, classes, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, features, &g->scaler_mean, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, features, &g->scaler_std, err));
    for (size_t i = 0; i < 3; i++) {
        pq_f32(g->scaler_std)[i] = 2.0f;
    }
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, 8, false, false, PQ_QUANT_PER_TENSOR, 1,
                           &g->nodes[2].quant, err));
    (void)pq_quant_set_range(g->nodes[2].quant, 0, 0.0, 0.7, false);
    *out = g;
    g    = NULL;
cleanup:
    pq_graph_free(&g);
    return st;
}

static inline pq_graph *residual(void)
{
    pq_graph *g   = NULL;
    pq_err    err = {0};

    cr_assert_eq(build_residual(&g, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_graph_check(g, &err), PQ_OK, "%s", err.message);
    return g;
}

/* Dense layer [out, in] for a 1-D graph, or any kind without weights. */
static inline pq_layer *a_layer(const char *kind, size_t out, size_t in)
{
    pq_layer *layer = NULL;

    cr_assert_eq(pq_layer_create(kind, &layer, NULL), PQ_OK);
    if (out > 0) {
        cr_assert_eq(build_weight(layer, "kernel", PQ_SHAPE(out, in), NULL), PQ_OK);
    }
    return layer;
}

static inline void expect_reads(const pq_graph *g, const char *node, const char *a,
                                const char *b)
{
    const size_t i = pq_graph_find(g, node);

    cr_assert_neq(i, SIZE_MAX, "%s", node);
    cr_assert_eq(g->nodes[i].n_inputs, b == NULL ? 1 : 2);
    cr_expect_str_eq(g->nodes[g->nodes[i].inputs[0]].name, a);
    if (b != NULL) {
        cr_expect_str_eq(g->nodes[g->nodes[i].inputs[1]].name, b);
    }
    for (size_t k = 0; k < g->nodes[i].n_inputs; k++) {
        cr_expect_lt(g->nodes[i].inputs[k], i, "topological order");
    }
}

/* Runs `work` with every allocation failing in turn; nothing may be left behind. */
static inline void expect_no_leak(pq_status (*work)(void *context, pq_err *err),
                                  void *context)
{
    const size_t before = pq_memory_live();
    pq_status    st     = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        pq_err err = {0};
        pq_memory_fail_after(n);
        st = work(context, &err);
        pq_memory_fail_after(SIZE_MAX);
        cr_expect(st == PQ_OK || st == PQ_ERR_NOMEM, "allocation %zu: %s", n,
                  err.message);
        cr_expect_eq(pq_memory_live(), before, "allocation %zu", n);
        cr_assert_lt(n, 2000);
    }
}

#endif
