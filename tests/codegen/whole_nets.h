/* Nets as they are made for triggers and images, the events they get, and a folder for
   what is made of them. */
#ifndef TESTS_CODEGEN_WHOLE_NETS_H
#define TESTS_CODEGEN_WHOLE_NETS_H

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "exec/random_nets.h"

enum {
    EVENTS = 12,
    ITEMS  = 3 * 40 * 40 /* most of an input */
};

/* A net, what it was generated for, and its number in the batch. */
typedef struct {
    pq_graph *graph;
    uint64_t  seed;
} made;

static char folder[64];

static inline size_t items_of(const pq_shape *shape)
{
    size_t n = 0;

    (void)pq_shape_count(shape, &n);
    return n;
}

static inline void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/pquant-whole-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static inline void remove_folder(void)
{
    char command[96];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_expect_eq(system(command), 0);
}

/* Values that are far away, no numbers, and on the edge between two codes. */
static inline void hard_values(net *t, size_t n, float *x)
{
    const pq_quant *q = t->graph->nodes[0].quant;

    fill_normal(&t->rng, 1.5, n, x);
    for (size_t i = 0; i < n; i++) {
        const size_t draw = below(t, 12);
        if (draw == 0) {
            x[i] *= 1e30f;
        } else if (draw == 1 && q != NULL && pq_quant_has_codes(q)) {
            x[i] = NAN;
        } else if (draw < 5 && q != NULL && pq_quant_has_codes(q)) {
            x[i] = ((float)below(t, 64) - 31.5f) * q->scale[0];
        }
    }
}

/* --- every layer is whole --- */

static inline pq_quant *activations(net *t, bool fixed, int bits)
{
    const double lo = chance(t, 0.6) ? 0.0 : -2.0 * pq_rng_uniform(&t->rng);
    pq_quant    *q  = NULL;

    if (!fixed) {
        OK(pq_quant_create(PQ_QUANT_INTEGER, bits, lo < 0.0 && chance(t, 0.5), false,
                           PQ_QUANT_PER_TENSOR, 1, &q, &err));
        pq_quant_set_range(q, 0, lo, 0.5 + 4.0 * pq_rng_uniform(&t->rng), chance(t, 0.3));
        return q;
    }
    OK(pq_quant_create_fixed(lo < 0.0, (pq_overflow)below(t, 4), (pq_rounding)below(t, 7),
                             PQ_QUANT_PER_TENSOR, 1, &q, &err));
    const int fraction = (int)below(t, (size_t)bits);
    OK(pq_quant_set_fixed(q, 0, bits - fraction - (lo < 0.0 ? 1 : 0), fraction, &err));
    return q;
}

/* Some weights become 0, some outputs lose all of them. */
static inline void thin_out(net *t, pq_weight *w)
{
    const size_t length = w->value->count / w->value->shape.dim[0];
    const double kept   = pq_rng_uniform(&t->rng);

    for (size_t i = 0; i < w->value->count; i++) {
        if (!chance(t, kept) || (i / length % 5 == 3 && kept < 0.5)) {
            pq_f32(w->value)[i] = 0.0f;
        }
    }
}

static inline pq_layer *whole_kernel(net *t, pq_layer *layer, pq_shape shape, bool fixed,
                                     int bits)
{
    const bool channels = chance(t, 0.6);
    const int  axis     = channels ? 0 : PQ_QUANT_PER_TENSOR;
    pq_weight *w;

    affine(&t->rng, layer, shape, chance(t, 0.8));
    w = pq_layer_weight(layer, "kernel");
    if (chance(t, 0.4)) {
        thin_out(t, w);
    }
    const size_t n = channels ? shape.dim[0] : 1;
    if (fixed) {
        OK(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV, axis, n,
                                 &w->quant, &err));
        for (size_t i = 0; i < n; i++) {
            OK(pq_quant_set_fixed(w->quant, i, 1, bits - 2, &err));
        }
    } else {
        OK(pq_quant_create(PQ_QUANT_INTEGER, bits, true, true, axis, n, &w->quant, &err));
        for (size_t i = 0; i < n; i++) {
            pq_quant_set_range(w->quant, i, -1.0 - pq_rng_uniform(&t->rng), 1.0, true);
        }
    }
    OK(pq_quant_apply(w->quant, w->value, &err));
    return layer;
}

/* A bend behind the last layer, or none, and a grid. */
static inline void end_layer(net *t, bool fixed, int bits)
{
    static const char *const kinds[] = {"relu", "relu", "relu", "leaky_relu", "clip"};

    if (chance(t, 0.8)) {
        const char *kind  = kinds[below(t, 5)];
        pq_layer   *layer = make_layer(kind);
        if (strcmp(kind, "clip") == 0) {
            OK(pq_layer_set(layer, "lo", "-0.5", &err));
            OK(pq_layer_set(layer, "hi", "1.5", &err));
        }
        append(t, layer);
    }
    t->graph->nodes[t->graph->n_nodes - 1].quant = activations(t, fixed, bits);
}

static inline void add_block(net *t, bool fixed, int bits)
{
    const size_t in = shape_of(t)->dim[2];
    char         from[16];
    pq_layer    *layer = windowed(t, "conv2d");

    (void)snprintf(from, sizeof from, "%s", t->last);
    const bool residual = chance(t, 0.5);
    if (residual) { /* the shape stays */
        OK(pq_layer_set(layer, "padding", "same", &err));
        set(layer, "stride_h", 1);
        set(layer, "stride_w", 1);
    }
    append(t, whole_kernel(t, layer,
                           PQ_SHAPE(residual ? in : 1 + below(t, 40), 1 + below(t, 3),
                                    1 + below(t, 3), in),
                           fixed, bits));
    if (residual) {
        char sum[16];
        (void)snprintf(sum, sizeof sum, "%s", t->last);
        append2(t, make_layer("add"), chance(t, 0.5) ? sum : from, sum);
        (void)from;
    }
    end_layer(t, fixed, bits);
}

/* `in_fixed`: share of nets in fixed point; `in_softmax`: of those that end in one. */
static inline made make_whole_of(uint64_t seed, double in_fixed, double in_softmax)
{
    static const char *const ends[] = {"global_avg_pool", "global_max_pool", "flatten"};
    net                      t      = {.rng = pq_rng_stream(seed, "whole")};
    const bool               image = chance(&t, 0.4), fixed = chance(&t, in_fixed);
    const int                bits = 2 + (int)below(&t, 7);
    char                     shape[32];

    OK(pq_graph_create(&t.graph, &err));
    (void)snprintf(shape, sizeof shape, image ? "[%zu, 6, 3]" : "[%zu]",
                   image ? 4 + below(&t, 6) : 1 + below(&t, 70));
    add_input(t.graph, "in", shape);
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    t.graph->nodes[0].quant = activations(&t, fixed, bits);
    for (size_t i = 0, n = 1 + below(&t, 3); image && i < n; i++) {
        const pq_shape *now = shape_of(&t);
        if (now->dim[0] > 2 && now->dim[1] > 2) {
            add_block(&t, fixed, bits);
        }
    }
    if (image) {
        append(&t, make_layer(ends[below(&t, 3)]));
        t.graph->nodes[t.graph->n_nodes - 1].quant = activations(&t, fixed, bits);
    }
    for (size_t i = 0, n = 1 + below(&t, 4); i < n; i++) {
        const size_t in = shape_of(&t)->dim[0];
        append(&t, whole_kernel(&t, make_layer("dense"),
                                PQ_SHAPE(1 + below(&t, i + 1 == n ? 6 : 70), in), fixed,
                                bits));
        if (i + 1 < n || chance(&t, 0.2)) {
            end_layer(&t, fixed, bits);
        }
    }
    if (chance(&t, in_softmax)) {
        append(&t, make_layer("softmax"));
    }
    OK(pq_graph_check(t.graph, &err));
    return (made){t.graph, seed};
}

static inline made make_whole(uint64_t seed)
{
    return make_whole_of(seed, 0.4, 0.2);
}

#endif
