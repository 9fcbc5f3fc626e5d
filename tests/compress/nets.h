/* Small random networks, and what they compute, for the tests of methods. */
#ifndef TESTS_COMPRESS_NETS_H
#define TESTS_COMPRESS_NETS_H

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "compress/method.h"
#include "core/memory.h"
#include "core/rng.h"
#include "exec/plan.h"
#include "layers/kinds.h"

/* Asserts that a call goes well, with its message. */
#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err err = {0};                                                                \
        cr_assert_eq((call), PQ_OK, "%s: %s", #call, err.message);                       \
    } while (0)

static inline pq_tensor *net_tensor(pq_rng *rng, pq_shape shape, double scale)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, &err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)(scale * pq_rng_normal(rng));
    }
    return t;
}

static inline pq_layer *net_layer(const char *kind)
{
    pq_layer *layer = NULL;

    OK(pq_layer_create(kind, &layer, &err));
    return layer;
}

static inline void net_add(pq_graph *g, const char *name, pq_layer *layer,
                           const char *input)
{
    OK(pq_graph_add(g, name, layer, input != NULL ? 1 : 0, &input, &err));
}

/* A layer without weights or attributes. */
static inline void net_plain(pq_graph *g, const char *kind, const char *name,
                             const char *input)
{
    net_add(g, name, net_layer(kind), input);
}

static inline void net_input(pq_graph *g, const char *shape)
{
    pq_layer *layer = net_layer("input");

    OK(pq_layer_set(layer, "shape", shape, &err));
    net_add(g, "in", layer, NULL);
}

/* Dense or convolution, by the shape of its kernel; with a bias unless told otherwise. */
static inline pq_layer *net_kernel(pq_rng *rng, pq_shape kernel, bool bias)
{
    pq_layer *layer = net_layer(kernel.ndim == 2 ? "dense" : "conv2d");
    size_t    count;

    cr_assert(pq_shape_count(&kernel, &count));
    OK(pq_layer_add_weight(
        layer, "kernel",
        net_tensor(rng, kernel, sqrt((double)kernel.dim[0] / (double)count)), &err));
    if (bias) {
        OK(pq_layer_add_weight(layer, "bias",
                               net_tensor(rng, PQ_SHAPE(kernel.dim[0]), 0.1), &err));
    }
    return layer;
}

static inline pq_layer *net_norm(pq_rng *rng, size_t channels)
{
    static const char *const names[] = {"gamma", "beta", "mean", "variance"};
    pq_layer                *layer   = net_layer("batch_norm");

    for (size_t i = 0; i < 4; i++) {
        pq_tensor *t = net_tensor(rng, PQ_SHAPE(channels), 0.3);
        for (size_t c = 0; c < channels && i % 3 == 0; c++) {
            pq_f32(t)[c] = 0.5f + fabsf(pq_f32(t)[c]);
        }
        OK(pq_layer_add_weight(layer, names[i], t, &err));
    }
    return layer;
}

/* 16-64-32-32-5 with relu and softmax: fc1, fc2, fc3, out. */
static inline pq_graph *net_mlp(uint64_t seed)
{
    pq_rng    rng = pq_rng_stream(seed, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "16");
    net_add(g, "fc1", net_kernel(&rng, PQ_SHAPE(64, 16), true), "in");
    net_plain(g, "relu", "relu1", "fc1");
    net_add(g, "fc2", net_kernel(&rng, PQ_SHAPE(32, 64), true), "relu1");
    net_plain(g, "relu", "relu2", "fc2");
    net_add(g, "fc3", net_kernel(&rng, PQ_SHAPE(32, 32), true), "relu2");
    net_plain(g, "relu", "relu3", "fc3");
    net_add(g, "out", net_kernel(&rng, PQ_SHAPE(5, 32), true), "relu3");
    net_plain(g, "softmax", "softmax", "out");
    OK(pq_graph_check(g, &err));
    return g;
}

/*
 * A residual block on 8 x 8 x 3: stem (no bias) bn0 relu0; conv1 bn1 relu1; conv2 bn2;
 * add with relu0, relu2; max_pool, conv3 depthwise, average pooling, out, softmax.
 */
static inline pq_graph *net_residual(uint64_t seed)
{
    pq_rng    rng = pq_rng_stream(seed, "test");
    pq_graph *g   = NULL;
    pq_layer *l;

    OK(pq_graph_create(&g, &err));
    net_input(g, "8, 8, 3");
    l = net_kernel(&rng, PQ_SHAPE(6, 3, 3, 3), false);
    OK(pq_layer_set(l, "padding", "same", &err));
    net_add(g, "stem", l, "in");
    net_add(g, "bn0", net_norm(&rng, 6), "stem");
    net_plain(g, "relu", "relu0", "bn0");
    for (int i = 1; i <= 2; i++) {
        l = net_kernel(&rng, PQ_SHAPE(6, 3, 3, 6), true);
        OK(pq_layer_set(l, "padding", "same", &err));
        net_add(g, i == 1 ? "conv1" : "conv2", l, i == 1 ? "relu0" : "relu1");
        net_add(g, i == 1 ? "bn1" : "bn2", net_norm(&rng, 6), i == 1 ? "conv1" : "conv2");
        if (i == 1) {
            net_plain(g, "relu", "relu1", "bn1");
        }
    }
    OK(pq_graph_add(g, "add", net_layer("add"), 2, (const char *[]){"bn2", "relu0"},
                    &err));
    net_plain(g, "relu", "relu2", "add");
    l = net_layer("max_pool");
    OK(pq_layer_set(l, "kernel_h", "2", &err));
    OK(pq_layer_set(l, "kernel_w", "2", &err));
    net_add(g, "pool", l, "relu2");
    l = net_kernel(&rng, PQ_SHAPE(6, 3, 3, 1), true);
    OK(pq_layer_set(l, "groups", "6", &err));
    net_add(g, "conv3", l, "pool");
    net_plain(g, "global_avg_pool", "mean", "conv3");
    net_add(g, "out", net_kernel(&rng, PQ_SHAPE(5, 6), true), "mean");
    net_plain(g, "softmax", "softmax", "out");
    OK(pq_graph_check(g, &err));
    return g;
}

/* 12 -> cores [1, 3, 3, 4], [4, 3, 4, 1] -> relu -> 9 -> 4: fc, relu, out. */
static inline pq_graph *net_cores(uint64_t seed)
{
    pq_rng    rng = pq_rng_stream(seed, "test");
    pq_graph *g   = NULL;
    pq_layer *l   = net_layer("tt_dense");

    OK(pq_graph_create(&g, &err));
    net_input(g, "12");
    OK(pq_layer_add_weight(l, "core1", net_tensor(&rng, PQ_SHAPE(1, 3, 3, 4), 0.2),
                           &err));
    OK(pq_layer_add_weight(l, "core2", net_tensor(&rng, PQ_SHAPE(4, 3, 4, 1), 0.9),
                           &err));
    net_add(g, "fc", l, "in");
    net_plain(g, "relu", "relu", "fc");
    net_add(g, "out", net_kernel(&rng, PQ_SHAPE(4, 9), true), "relu");
    OK(pq_graph_check(g, &err));
    return g;
}

/* Outputs of n random samples by the reference engine; the caller frees with pq_free. */
static inline float *net_run(const pq_graph *g, size_t n, size_t *count)
{
    pq_rng                rng     = pq_rng_stream(99, "events");
    const pq_plan_options options = {.engine = "reference", .batch = n};
    pq_plan              *plan    = NULL;
    pq_shape              shape;
    size_t                in, out;
    float                *x, *y;

    cr_assert(pq_shape_count(&g->nodes[0].shape, &in));
    x = pq_calloc(n * in, sizeof *x);
    for (size_t i = 0; i < n * in; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_plan_create(g, &options, &plan, &err));
    shape = pq_plan_output_shape(plan);
    cr_assert(pq_shape_count(&shape, &out));
    y = pq_calloc(n * out, sizeof *y);
    OK(pq_plan_run(plan, n, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    pq_free(x);
    *count = n * out;
    return y;
}

/* Largest difference between what two networks compute from the same samples. */
static inline double net_difference(const pq_graph *a, const pq_graph *b)
{
    size_t na, nb;
    float *ya = net_run(a, 20, &na), *yb = net_run(b, 20, &nb);
    double largest = 0.0;

    cr_assert_eq(na, nb);
    for (size_t i = 0; i < na; i++) {
        largest = fmax(largest, fabs((double)ya[i] - (double)yb[i]));
    }
    pq_free(ya);
    pq_free(yb);
    return largest;
}

typedef struct {
    pq_calib       *calib;
    const pq_graph *graph;
} net_watch;

static inline void net_observe(void *context, size_t node, size_t n, const float *values)
{
    const net_watch *w     = context;
    const pq_shape  *shape = &w->graph->nodes[node].shape;
    size_t           count;

    cr_assert(pq_shape_count(shape, &count));
    OK(pq_calib_add(w->calib, node, n, count, shape->dim[shape->ndim - 1], values, &err));
}

/* Statistics of every node on n random samples; the first are those of net_run. */
static inline pq_calib *net_calibrate(const pq_graph *g, size_t n)
{
    pq_rng                rng     = pq_rng_stream(99, "events");
    const pq_plan_options options = {.engine = "reference", .batch = n};
    pq_plan              *plan    = NULL;
    net_watch             watch   = {NULL, g};
    size_t                in, out;
    float                *x, *y;
    pq_shape              shape;

    OK(pq_calib_create(g, &watch.calib, &err));
    OK(pq_plan_create(g, &options, &plan, &err));
    shape = pq_plan_output_shape(plan);
    cr_assert(pq_shape_count(&g->nodes[0].shape, &in) && pq_shape_count(&shape, &out));
    x = pq_calloc(n * in, sizeof *x);
    y = pq_calloc(n * out, sizeof *y);
    for (size_t i = 0; i < n * in; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    pq_plan_observe(plan, net_observe, &watch);
    OK(pq_plan_run(plan, n, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    pq_free(x);
    pq_free(y);
    return watch.calib;
}

/* A stage from its text, applied; changes may be NULL. */
static inline pq_graph *net_apply(const char *text, const pq_graph *g,
                                  const pq_apply_options *options,
                                  pq_layer_change **changes, size_t *n_changes)
{
    const pq_apply_options none  = {0};
    pq_stage               stage = {0};
    pq_layer_change       *list  = NULL;
    pq_graph              *out   = NULL;
    size_t                 n     = 0;

    OK(pq_stage_parse(text, &stage, &err));
    OK(pq_stage_apply(&stage, g, options != NULL ? options : &none, &out, &list, &n,
                      &err));
    pq_stage_free(&stage);
    if (changes != NULL) {
        *changes   = list;
        *n_changes = n;
    } else {
        pq_free(list);
    }
    return out;
}

/* The message of a stage that is refused, at parsing or applying, with its status. */
static inline pq_status net_refusal(const char *text, const pq_graph *g,
                                    const pq_apply_options *options, pq_err *err)
{
    const pq_apply_options none    = {0};
    pq_stage               stage   = {0};
    pq_layer_change       *changes = NULL;
    pq_graph              *out     = NULL;
    size_t                 n       = 0;
    pq_status              st;

    *err = (pq_err){0};
    st   = pq_stage_parse(text, &stage, err);
    if (st == PQ_OK) {
        st = pq_stage_apply(&stage, g, options != NULL ? options : &none, &out, &changes,
                            &n, err);
        pq_stage_free(&stage);
    }
    cr_expect_null(out);
    cr_expect_null(changes);
    return st;
}

/* A stage that is refused by its text alone, with this message. */
static inline void net_stage_refused(const char *text, const char *message)
{
    pq_stage stage = {0};
    pq_err   err   = {0};

    cr_expect_neq(pq_stage_parse(text, &stage, &err), PQ_OK);
    cr_expect_str_eq(err.message, message);
    pq_stage_free(&stage);
}

static inline const pq_node *net_node(const pq_graph *g, const char *name)
{
    const size_t i = pq_graph_find(g, name);

    cr_assert_neq(i, SIZE_MAX, "no layer '%s'", name);
    return &g->nodes[i];
}

static inline const pq_tensor *net_weight(const pq_graph *g, const char *node,
                                          const char *weight)
{
    const pq_weight *w = pq_layer_weight(net_node(g, node)->layer, weight);

    cr_assert_not_null(w);
    return w->value;
}

/* Applies a stage with every allocation failing once; nothing may stay behind. */
static inline void net_survives(const char *text, const pq_graph *g,
                                const pq_apply_options *options)
{
    const pq_apply_options none  = {0};
    pq_stage               stage = {0};
    pq_status              st    = PQ_ERR_NOMEM;

    OK(pq_stage_parse(text, &stage, &err));
    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t     live    = pq_memory_live();
        pq_layer_change *changes = NULL;
        pq_graph        *out     = NULL;
        size_t           count   = 0;

        pq_memory_fail_after(n);
        st = pq_stage_apply(&stage, g, options != NULL ? options : &none, &out, &changes,
                            &count, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "allocation %zu: status %d", n,
                  (int)st);
        pq_graph_free(&out);
        pq_free(changes);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);
    }
    pq_stage_free(&stage);
}

#endif
