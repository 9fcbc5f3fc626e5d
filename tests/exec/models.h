/* Small random graphs for the tests of exec. */
#ifndef PQ_TESTS_EXEC_MODELS_H
#define PQ_TESTS_EXEC_MODELS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "exec/plan.h"
#include "kernels/bf16.h"

/* Asserts that a call goes well, with its message. */
#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err err = {0};                                                                \
        cr_assert_eq((call), PQ_OK, "%s: %s", #call, err.message);                       \
    } while (0)

/* Whether this processor has what an engine needs. */
static inline bool engine_runs(const char *engine)
{
    return strcmp(engine, "bf16") != 0 || pq_bf16_find() != NULL;
}

/* A grid of integers over a range, for a node. */
static inline pq_quant *range_grid(int bits, bool is_signed, double lo, double hi)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, bits, is_signed, false, -1, 1, &q, &err));
    pq_quant_set_range(q, 0, lo, hi, false);
    return q;
}

/* The bfloat16 number next to x. */
static inline float nearest_bf16(float x)
{
    uint16_t half;
    uint32_t bits;

    pq_bf16_plain.round(1, &x, &half);
    bits = (uint32_t)half << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void fill_normal(pq_rng *rng, double scale, size_t n, float *values)
{
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)(scale * pq_rng_normal(rng));
    }
}

static inline pq_tensor *normal_tensor(pq_rng *rng, pq_shape shape, double scale)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, &err));
    fill_normal(rng, scale, t->count, pq_f32(t));
    return t;
}

static inline pq_layer *make_layer(const char *kind)
{
    pq_layer *layer = NULL;

    OK(pq_layer_create(kind, &layer, &err));
    return layer;
}

static inline void set_size(pq_layer *layer, const char *name, size_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%zu", value);
    OK(pq_layer_set(layer, name, text, &err));
}

/* Attributes as "name=value" texts, ended by NULL. */
static inline pq_layer *make_layer_with(const char *kind, const char *const *attributes)
{
    pq_layer *layer = make_layer(kind);

    for (; attributes != NULL && *attributes != NULL; attributes++) {
        char name[64];
        char value[64];
        cr_assert_eq(sscanf(*attributes, "%63[^=]=%63[^\n]", name, value), 2);
        OK(pq_layer_set(layer, name, value, &err));
    }
    return layer;
}

static inline void add_input(pq_graph *g, const char *name, const char *shape)
{
    pq_layer *layer = make_layer("input");

    OK(pq_layer_set(layer, "shape", shape, &err));
    OK(pq_graph_add(g, name, layer, 0, NULL, &err));
}

static inline void add_layer(pq_graph *g, const char *name, pq_layer *layer,
                             const char *from)
{
    OK(pq_graph_add(g, name, layer, 1, &from, &err));
}

static inline void add_layer2(pq_graph *g, const char *name, pq_layer *layer,
                              const char *a, const char *b)
{
    const char *from[2] = {a, b};

    OK(pq_graph_add(g, name, layer, 2, from, &err));
}

/* A kernel scaled so that outputs are of the size of inputs. */
static inline pq_layer *affine(pq_rng *rng, pq_layer *layer, pq_shape kernel, bool bias)
{
    size_t count = 0;

    cr_assert(pq_shape_count(&kernel, &count));
    OK(pq_layer_add_weight(
        layer, "kernel",
        normal_tensor(rng, kernel, 1.0 / sqrt((double)count / (double)kernel.dim[0])),
        &err));
    if (bias) {
        OK(pq_layer_add_weight(layer, "bias",
                               normal_tensor(rng, PQ_SHAPE(kernel.dim[0]), 0.3), &err));
    }
    return layer;
}

static inline pq_layer *norm_layer(pq_rng *rng, size_t channels)
{
    pq_layer  *layer    = make_layer("batch_norm");
    pq_tensor *variance = normal_tensor(rng, PQ_SHAPE(channels), 1.0);

    for (size_t i = 0; i < channels; i++) {
        pq_f32(variance)[i] = 0.2f + fabsf(pq_f32(variance)[i]);
    }
    OK(pq_layer_add_weight(layer, "mean", normal_tensor(rng, PQ_SHAPE(channels), 0.5),
                           &err));
    OK(pq_layer_add_weight(layer, "variance", variance, &err));
    OK(pq_layer_add_weight(layer, "gamma", normal_tensor(rng, PQ_SHAPE(channels), 1.0),
                           &err));
    OK(pq_layer_add_weight(layer, "beta", normal_tensor(rng, PQ_SHAPE(channels), 0.5),
                           &err));
    return layer;
}

/* Runs one-input graphs; result to be freed with pq_free. */
static inline float *run_graph(const pq_graph *g, const char *engine, size_t batch,
                               size_t n, const float *x)
{
    const pq_plan_options options = {engine, batch};
    pq_plan              *plan    = NULL;
    pq_shape              shape;
    size_t                width = 0;
    float                *out;

    OK(pq_plan_create(g, &options, &plan, &err));
    shape = pq_plan_output_shape(plan);
    cr_assert(pq_shape_count(&shape, &width));
    out = pq_calloc(n * width, sizeof *out);
    for (size_t first = 0; first < n; first += batch) {
        const float *in[1] = {x};
        shape              = pq_plan_input_shape(plan, 0);
        size_t count       = 0;
        cr_assert(pq_shape_count(&shape, &count));
        in[0] = x + first * count;
        OK(pq_plan_run(plan, n - first < batch ? n - first : batch, in,
                       out + first * width, &err));
    }
    pq_plan_free(&plan);
    return out;
}

static inline double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        most           = d > most || isnan(d) ? d : most;
    }
    return most;
}

#endif
