/* Random graphs of all kinds of layers, widths, granularities and modes. */
#ifndef TESTS_EXEC_RANDOM_NETS_H
#define TESTS_EXEC_RANDOM_NETS_H

#include "models.h"

/* A random graph and what was drawn for it. */
typedef struct {
    pq_rng    rng;
    pq_graph *graph;
    bool      dyadic; /* scales are powers of two, biases on their grid */
    size_t    layers;
    char      last[16];
} net;

static inline size_t below(net *t, size_t n)
{
    return (size_t)pq_rng_below(&t->rng, n);
}

static inline bool chance(net *t, double p)
{
    return pq_rng_uniform(&t->rng) < p;
}

static inline pq_quant *fixed_quant(net *t, int axis, size_t n)
{
    pq_quant *q = NULL;

    OK(pq_quant_create_fixed(chance(t, 0.7), (pq_overflow)below(t, 4),
                             (pq_rounding)below(t, 7), axis, n, &q, &err));
    for (size_t i = 0; i < n; i++) {
        const int width    = 2 + (int)below(t, 14);
        const int fraction = 1 + (int)below(t, 8);
        OK(pq_quant_set_fixed(q, i, width - fraction, fraction, &err));
    }
    return q;
}

static inline pq_quant *integer_quant(net *t, int axis, size_t n)
{
    const bool is_signed = chance(t, 0.6), narrow = is_signed && chance(t, 0.3);
    const bool symmetric = chance(t, 0.4);
    pq_quant  *q         = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, 2 + (int)below(t, 15), is_signed, narrow, axis,
                       n, &q, &err));
    for (size_t i = 0; i < n; i++) {
        const double lo = -3.0 * pq_rng_uniform(&t->rng) * (chance(t, 0.3) ? 0.0 : 1.0);
        pq_quant_set_range(q, i, lo, 3.0 * pq_rng_uniform(&t->rng), symmetric);
    }
    return q;
}

/* Puts a quantizer of any scheme and granularity on a weight, or none. */
static inline void quantize_weight(net *t, pq_weight *w)
{
    const pq_shape *shape    = &w->value->shape;
    const bool      channels = chance(t, 0.5);
    const int       axis     = channels ? 0 : PQ_QUANT_PER_TENSOR;
    const size_t    n        = channels ? shape->dim[0] : 1;
    const size_t    draw     = t->dyadic ? below(t, 2) : below(t, 12);

    if (draw == 0) {
        const bool items = chance(t, 0.4);
        w->quant =
            fixed_quant(t, items ? PQ_QUANT_PER_ITEM : axis, items ? w->value->count : n);
    } else if (t->dyadic) {
        w->quant = fixed_quant(t, axis, n);
    } else if (draw == 1) {
        OK(pq_quant_create_grouped(chance(t, 0.5) ? PQ_QUANT_NF4 : PQ_QUANT_INTEGER, 4,
                                   shape, 1 + below(t, 5), &w->quant, &err));
        for (size_t i = 0; i < w->quant->n; i++) {
            w->quant->scale[i] = 0.2f;
        }
    } else if (draw == 2) {
        OK(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0, &w->quant, &err));
    } else if (draw > 3) {
        w->quant = integer_quant(t, axis, n);
    }
    if (w->quant != NULL) {
        OK(pq_quant_apply(w->quant, w->value, &err));
    }
}

/* Most nodes get a quantizer of one scale; some several scales, floats, or none. */
static inline void quantize_node(net *t, pq_node *node)
{
    const size_t channels = node->shape.dim[node->shape.ndim - 1];
    const size_t draw     = below(t, 10);

    if (draw == 0) {
        return;
    }
    if (draw == 1 && !t->dyadic) {
        OK(pq_quant_create(PQ_QUANT_BFLOAT16, 16, true, false, -1, 0, &node->quant,
                           &err));
        return;
    }
    const int    axis = draw == 2 ? (int)node->shape.ndim - 1 : PQ_QUANT_PER_TENSOR;
    const size_t n    = draw == 2 ? channels : 1;

    node->quant =
        t->dyadic || chance(t, 0.3) ? fixed_quant(t, axis, n) : integer_quant(t, axis, n);
}

static inline pq_node *append2(net *t, pq_layer *layer, const char *a, const char *b)
{
    char name[16];

    (void)snprintf(name, sizeof name, "l%zu", t->layers++);
    if (b != NULL) {
        add_layer2(t->graph, name, layer, a, b);
    } else {
        add_layer(t->graph, name, layer, a);
    }
    (void)snprintf(t->last, sizeof t->last, "%s", name);
    OK(pq_graph_check(t->graph, &err));
    return &t->graph->nodes[t->graph->n_nodes - 1];
}

static inline pq_node *append(net *t, pq_layer *layer)
{
    char from[16];

    (void)snprintf(from, sizeof from, "%s", t->last);
    return append2(t, layer, from, NULL);
}

static inline void set(pq_layer *layer, const char *name, size_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%zu", value);
    OK(pq_layer_set(layer, name, text, &err));
}

static inline const pq_shape *shape_of(const net *t)
{
    return &t->graph->nodes[pq_graph_find(t->graph, t->last)].shape;
}

static inline pq_layer *kernel(net *t, pq_layer *layer, pq_shape shape)
{
    pq_weight *bias;

    affine(&t->rng, layer, shape, chance(t, 0.7));
    quantize_weight(t, pq_layer_weight(layer, "kernel"));
    bias = pq_layer_weight(layer, "bias");
    for (size_t i = 0; t->dyadic && bias != NULL && i < bias->value->count; i++) {
        pq_f32(bias->value)[i] = (float)below(t, 9) / 4.0f - 1.0f;
    }
    return layer;
}

static inline pq_layer *windowed(net *t, const char *kind)
{
    static const char *const paddings[] = {"same", "valid", "explicit"};
    pq_layer                *layer      = make_layer(kind);

    set(layer, "stride_h", 1 + below(t, 2));
    set(layer, "stride_w", 1 + below(t, 2));
    OK(pq_layer_set(layer, "padding", paddings[below(t, 3)], &err));
    set(layer, "pad_top", below(t, 2));
    set(layer, "pad_right", below(t, 2));
    return layer;
}

static inline void add_conv(net *t)
{
    const size_t in     = shape_of(t)->dim[2];
    const size_t groups = chance(t, 0.3) ? in : 1;
    pq_layer    *layer  = windowed(t, "conv2d");

    set(layer, "groups", groups);
    set(layer, "dilation_w", shape_of(t)->dim[1] > 3 ? 1 + below(t, 2) : 1);
    append(t, kernel(t, layer,
                     PQ_SHAPE(groups * (1 + below(t, 3)), 1 + below(t, 2),
                              1 + below(t, 2), in / groups)));
}

static inline void add_pool(net *t, const char *kind)
{
    pq_layer *layer = windowed(t, kind);

    set(layer, "kernel_h", 2);
    set(layer, "kernel_w", 2);
    if (strcmp(kind, "avg_pool") == 0 && chance(t, 0.5)) {
        OK(pq_layer_set(layer, "count_padding", "true", &err));
    }
    append(t, layer);
}

/* The last value and a function of it joined again, each on a grid of its own. */
static inline void add_join(net *t)
{
    static const char *const kinds[] = {"add", "multiply", "concat"};
    const char              *kind    = kinds[below(t, 3)];
    char                     from[16];
    pq_layer                *layer = make_layer(kind);

    (void)snprintf(from, sizeof from, "%s", t->last);
    quantize_node(t, append(t, make_layer(chance(t, 0.5) ? "relu" : "tanh")));
    if (strcmp(kind, "concat") == 0) {
        OK(pq_layer_set(layer, "axis", "-1", &err));
    }
    append2(t, layer, from, t->last);
}

static inline void add_pad(net *t)
{
    pq_layer *layer = make_layer("pad");

    set(layer, "top", below(t, 2));
    set(layer, "right", below(t, 2));
    set(layer, "after", below(t, 3));
    if (chance(t, 0.2)) {
        OK(pq_layer_set(layer, "value", "0.25", &err));
    }
    append(t, layer);
}

static inline void add_function(net *t)
{
    static const char *const kinds[] = {"relu", "leaky_relu", "elu",     "gelu",
                                        "tanh", "sigmoid",    "dropout", "clip"};
    const char              *kind    = kinds[below(t, 8)];
    pq_layer                *layer   = make_layer(kind);

    if (strcmp(kind, "clip") == 0) {
        OK(pq_layer_set(layer, "lo", "0", &err));
        OK(pq_layer_set(layer, "hi", "1.5", &err));
    }
    append(t, layer);
}

static inline void add_image_layer(net *t)
{
    const pq_shape *shape = shape_of(t);

    if (shape->dim[0] < 3 || shape->dim[1] < 3 || shape->dim[2] > 40) {
        add_function(t);
        return;
    }
    switch (below(t, 9)) {
    case 0:
        add_pool(t, "max_pool");
        break;
    case 1:
        add_pool(t, "avg_pool");
        break;
    case 2:
        add_join(t);
        break;
    case 3:
        add_pad(t);
        break;
    case 4: {
        const bool part  = chance(t, 0.5);
        pq_layer  *layer = make_layer(part ? "slice" : "subsample");
        set(layer, part ? "from" : "stride_h", part ? below(t, shape->dim[2]) : 2);
        append(t, layer);
        break;
    }
    case 5:
        append(t, norm_layer(&t->rng, shape->dim[2]));
        break;
    case 6:
        add_function(t);
        break;
    default:
        add_conv(t);
    }
}

static inline void add_dense(net *t)
{
    const size_t in = shape_of(t)->dim[shape_of(t)->ndim - 1];

    append(t, kernel(t, make_layer("dense"), PQ_SHAPE(1 + below(t, 6), in)));
}

/* The last value as rows, so that what follows works along the last axis. */
static inline void add_rows(net *t)
{
    const size_t n = shape_of(t)->dim[0], rows = n % 2 == 0 ? 2 : n % 3 == 0 ? 3 : 1;
    pq_layer    *layer = make_layer("reshape");
    char         shape[32];

    (void)snprintf(shape, sizeof shape, "[%zu, %zu]", rows, n / rows);
    OK(pq_layer_set(layer, "shape", shape, &err));
    append(t, layer);
}

/* Two cores over the last axis: a kind with kernels and no form in whole numbers. */
static inline void add_train(net *t)
{
    const size_t   in = shape_of(t)->dim[shape_of(t)->ndim - 1];
    const size_t   m = in % 2 == 0 ? 2 : in % 3 == 0 ? 3 : 1, r = 1 + below(t, 2);
    const pq_shape shapes[] = {PQ_SHAPE(1, 1 + below(t, 2), m, r),
                               PQ_SHAPE(r, 1 + below(t, 2), in / m, 1)};
    pq_layer      *layer    = make_layer("tt_dense");

    for (size_t k = 0; k < 2; k++) {
        OK(pq_layer_add_weight(layer, k == 0 ? "core1" : "core2",
                               normal_tensor(&t->rng, shapes[k], 0.7), &err));
        if (!t->dyadic) {
            quantize_weight(t, &layer->weights[k]);
        }
    }
    append(t, layer);
}

static inline void quantize_last(net *t)
{
    pq_node *node = &t->graph->nodes[pq_graph_find(t->graph, t->last)];

    if (node->quant == NULL) {
        quantize_node(t, node);
    }
}

static inline net make_net(uint64_t seed, bool dyadic)
{
    net        t     = {.rng = pq_rng_stream(seed, "integer"), .dyadic = dyadic};
    const bool image = chance(&t, 0.6);

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", image ? "[5, 4, 3]" : "[7]");
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    quantize_last(&t);
    for (size_t i = 0, n = 2 + below(&t, 4); image && i < n; i++) {
        add_image_layer(&t);
        quantize_last(&t);
    }
    if (image) {
        static const char *const ends[] = {"global_avg_pool", "global_max_pool",
                                           "flatten"};
        append(&t, make_layer(ends[below(&t, 3)]));
        quantize_last(&t);
    }
    if (shape_of(&t)->ndim == 1 && chance(&t, 0.3)) {
        add_rows(&t);
        quantize_last(&t);
    }
    for (size_t i = 0, n = 1 + below(&t, 3); i < n; i++) {
        chance(&t, 0.2)              ? add_join(&t)
        : chance(&t, 0.6)            ? add_dense(&t)
        : chance(&t, 0.4) && !dyadic ? add_train(&t)
                                     : add_function(&t);
        quantize_last(&t);
    }
    if (chance(&t, 0.3)) {
        append(&t, make_layer("softmax"));
    }
    return t;
}

#endif
