/*
 * The C side of `benchmarks/run.sh trigger`: dense layers with relu between them, by what
 * libraries offer a C program, float32 in and out, and one loop that times whatever runs.
 * Weights come from the same model for all.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cblas.h>

#include <oneapi/dnnl/dnnl.h>
#ifdef HAVE_XNNPACK
#include <xnnpack.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define MUST(condition)                                                                  \
    if (!(condition)) {                                                                  \
        fprintf(stderr, "trigger: failed: %s\n", #condition);                            \
        exit(1);                                                                         \
    }

enum { LAYERS = 4, WIDEST = 64 };

/* A network as compare.py hands it over. `scale`: of the integers of the input and of
 * each layer's output. */
typedef struct {
    int          size[LAYERS + 1];
    const float *weight[LAYERS]; /* [outputs, inputs] */
    const float *bias[LAYERS];
    float        scale[LAYERS + 1];
} net;

typedef void (*run_fn)(void *handle, const float *x, size_t n, float *y);

static void *block(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 *
                                    64); /* XNNPACK reads 16 bytes beyond the end */

    MUST(p != NULL);
    return memset(p, 0, (bytes + 127) / 64 * 64);
}

/* Seconds of a call, each waiting for the result of the one before: zero bits of it go
 * into the address of its input. */
EXPORT double trigger_seconds(run_fn run, void *handle, const float *x, size_t n,
                              float *y, size_t calls)
{
    struct timespec a, b;
    uint32_t        none = 0, bits = 0;

    __asm__ volatile("" : "+r"(none));
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (size_t i = 0; i < calls; i++) {
        run(handle, x + (bits & none), n, y);
        memcpy(&bits, y, sizeof bits);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec)) /
           (double)calls;
}

EXPORT void trigger_run(run_fn run, void *handle, const float *x, size_t n, float *y)
{
    run(handle, x, n, y);
}

/* Functions of one event, and of many: generated C, and hls4ml's emulation. */
typedef struct {
    void (*one)(const float *x, float *y);
    void (*many)(const float *x, float *y, size_t n);
    size_t inputs, outputs;
} source;

EXPORT void source_run(void *handle, const float *x, size_t n, float *y)
{
    const source *s = handle;

    if (n > 1 && s->many != NULL) {
        s->many(x, y, n);
        return;
    }
    for (size_t e = 0; e < n; e++) {
        s->one(x + e * s->inputs, y + e * s->outputs);
    }
}

/* OpenBLAS: a product a layer on top of the bias, then relu. */
typedef struct {
    net    net;
    float *value[LAYERS];
} blas;

EXPORT void *blas_open(const net *of, size_t n)
{
    blas *h = block(sizeof *h);

    h->net = *of;
    openblas_set_num_threads(1);
    for (int i = 0; i < LAYERS; i++) {
        h->value[i] = block(n * WIDEST * sizeof(float));
    }
    return h;
}

EXPORT void blas_run(void *handle, const float *x, size_t n, float *y)
{
    blas *h = handle;

    for (int i = 0; i < LAYERS; i++) {
        const int in = h->net.size[i], out = h->net.size[i + 1];
        float    *z = i + 1 < LAYERS ? h->value[i] : y;
        for (size_t e = 0; e < n; e++) {
            memcpy(z + e * (size_t)out, h->net.bias[i], (size_t)out * sizeof(float));
        }
        if (n == 1) {
            cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, h->net.weight[i], in, x,
                        1, 1, z, 1);
        } else {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, out, in, 1, x,
                        in, h->net.weight[i], in, 1, z, out);
        }
        for (size_t k = 0; i + 1 < LAYERS && k < n * (size_t)out; k++) {
            z[k] = z[k] > 0 ? z[k] : 0;
        }
        x = z;
    }
}

static int8_t rounded(float value)
{
    const float r = rintf(value);

    return (int8_t)(r > 127 ? 127 : r < -127 ? -127 : r);
}

/* Whole numbers of a weight, and their step: one a row, or one for all. */
static int8_t *quantized(const net *of, int layer, int by_row, float *step)
{
    const int in = of->size[layer], out = of->size[layer + 1];
    int8_t   *q   = block((size_t)(in * out));
    float     all = 0;

    for (int o = 0; o < out; o++) {
        step[o] = 0;
        for (int i = 0; i < in; i++) {
            step[o] = fmaxf(step[o], fabsf(of->weight[layer][o * in + i]) / 127);
        }
        all = fmaxf(all, step[o]);
    }
    for (int o = 0; o < out; o++) {
        step[o] = by_row ? step[o] : all;
        for (int i = 0; i < in; i++) {
            q[o * in + i] = rounded(of->weight[layer][o * in + i] / step[o]);
        }
    }
    return q;
}

static void quantize_input(const float *x, size_t count, float scale, int8_t *q)
{
    const float inverse = 1 / scale;

    for (size_t i = 0; i < count; i++) {
        q[i] = rounded(x[i] * inverse);
    }
}

/* oneDNN: an inner product a layer with relu as its post-operation; in int8 by row of
 * weights, uint8 between. */
typedef struct {
    net              net;
    int              int8;
    dnnl_stream_t    stream;
    dnnl_primitive_t primitive[LAYERS];
    dnnl_exec_arg_t  args[LAYERS][4];
    void            *value[LAYERS + 1];
} dnnl;

static void dnnl_ok(dnnl_status_t status)
{
    MUST(status == dnnl_success);
}

static dnnl_memory_t memory_of(dnnl_engine_t engine, const dnnl_memory_desc_t *desc,
                               void *data)
{
    dnnl_memory_t memory;

    dnnl_ok(dnnl_memory_create(&memory, desc, engine, data));
    return memory;
}

/* A weight in the layout that the primitive wants. */
static dnnl_memory_t packed(dnnl *h, dnnl_engine_t engine, const dnnl_memory_desc_t *want,
                            const dnnl_memory_desc_t *plain, void *data)
{
    dnnl_memory_t   from = memory_of(engine, plain, data);
    dnnl_memory_t   to = memory_of(engine, want, block(dnnl_memory_desc_get_size(want)));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t      reorder;

    dnnl_ok(dnnl_reorder_primitive_desc_create(&pd, plain, engine, want, engine, NULL));
    dnnl_ok(dnnl_primitive_create(&reorder, pd));
    dnnl_ok(dnnl_primitive_execute(reorder, h->stream, 2, args));
    dnnl_ok(dnnl_stream_wait(h->stream));
    return to;
}

/* Relu behind a layer; in int8 the step of its sums over that of its outputs, by row.
 * `bias` in steps of the sums. */
static dnnl_primitive_attr_t dnnl_attributes(const dnnl *h, int i, const float *step,
                                             float *bias)
{
    const int             out = h->net.size[i + 1];
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t       ops;
    float                 scales[WIDEST];

    dnnl_ok(dnnl_primitive_attr_create(&attr));
    dnnl_ok(dnnl_post_ops_create(&ops));
    for (int o = 0; o < out; o++) {
        const float sums = h->int8 ? step[o] * h->net.scale[i] : 1;
        bias[o]          = h->net.bias[i][o] / sums;
        scales[o]        = i + 1 < LAYERS ? sums / h->net.scale[i + 1] : sums;
    }
    if (h->int8) {
        dnnl_ok(dnnl_primitive_attr_set_output_scales(attr, out, 2, scales));
    }
    if (i + 1 < LAYERS) {
        dnnl_ok(dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f));
        dnnl_ok(dnnl_primitive_attr_set_post_ops(attr, ops));
    }
    return attr;
}

static void dnnl_layer(dnnl *h, dnnl_engine_t engine, int i, size_t n)
{
    const int         in = h->net.size[i], out = h->net.size[i + 1];
    const dnnl_dims_t x = {(dnnl_dim_t)n, in}, w = {out, in}, b = {out},
                      y               = {(dnnl_dim_t)n, out};
    const dnnl_data_type_t    weights = h->int8 ? dnnl_s8 : dnnl_f32;
    const dnnl_data_type_t    from    = !h->int8 ? dnnl_f32 : i == 0 ? dnnl_s8 : dnnl_u8;
    const dnnl_data_type_t    to      = h->int8 && i + 1 < LAYERS ? dnnl_u8 : dnnl_f32;
    dnnl_memory_desc_t        mx, mw, any, mb, my;
    dnnl_inner_product_desc_t desc;
    dnnl_primitive_desc_t     pd;
    float                     step[WIDEST], *bias = block(WIDEST * sizeof(float));
    void                     *data =
        h->int8 ? quantized(&h->net, i, 1, step) : (void *)(uintptr_t)h->net.weight[i];
    dnnl_primitive_attr_t attr = dnnl_attributes(h, i, step, bias);

    dnnl_ok(dnnl_memory_desc_init_by_tag(&mx, 2, x, from, dnnl_ab));
    dnnl_ok(dnnl_memory_desc_init_by_tag(&mw, 2, w, weights, dnnl_ab));
    dnnl_ok(dnnl_memory_desc_init_by_tag(&any, 2, w, weights, dnnl_format_tag_any));
    dnnl_ok(dnnl_memory_desc_init_by_tag(&mb, 1, b, dnnl_f32, dnnl_a));
    dnnl_ok(dnnl_memory_desc_init_by_tag(&my, 2, y, to, dnnl_ab));
    dnnl_ok(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_inference, &mx, &any,
                                                 &mb, &my));
    dnnl_ok(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL));
    h->args[i][0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, memory_of(engine, &mx, h->value[i])};
    h->args[i][1] = (dnnl_exec_arg_t){
        DNNL_ARG_WEIGHTS,
        packed(h, engine, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &mw,
               data)};
    h->args[i][2] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, memory_of(engine, &mb, bias)};
    h->args[i][3] =
        (dnnl_exec_arg_t){DNNL_ARG_DST, memory_of(engine, &my, h->value[i + 1])};
    dnnl_ok(dnnl_primitive_create(&h->primitive[i], pd));
}

EXPORT void *dnnl_open(const net *of, size_t n, int int8)
{
    dnnl         *h = block(sizeof *h);
    dnnl_engine_t engine;

    h->net  = *of;
    h->int8 = int8;
    dnnl_ok(dnnl_engine_create(&engine, dnnl_cpu, 0));
    dnnl_ok(dnnl_stream_create(&h->stream, engine, dnnl_stream_default_flags));
    for (int i = 0; i <= LAYERS; i++) {
        h->value[i] = block(n * WIDEST * sizeof(float));
    }
    for (int i = 0; i < LAYERS; i++) {
        dnnl_layer(h, engine, i, n);
    }
    return h;
}

EXPORT void dnnl_run(void *handle, const float *x, size_t n, float *y)
{
    dnnl        *h     = handle;
    const size_t count = n * (size_t)h->net.size[0];

    if (h->int8) {
        quantize_input(x, count, h->net.scale[0], h->value[0]);
    } else {
        memcpy(h->value[0], x, count * sizeof(float));
    }
    for (int i = 0; i < LAYERS; i++) {
        (void)dnnl_primitive_execute(h->primitive[i], h->stream, 4, h->args[i]);
    }
    (void)dnnl_stream_wait(h->stream);
    memcpy(y, h->value[LAYERS], n * (size_t)h->net.size[LAYERS] * sizeof(float));
}
#ifdef HAVE_XNNPACK
/* XNNPACK: a fully connected operator a layer, relu as its lower limit; int8 with one
 * step a weight. */
typedef struct {
    net            net;
    int            int8;
    xnn_operator_t op[LAYERS];
    void          *value[LAYERS + 1];
} xnn;

static void xnn_ok(enum xnn_status status)
{
    MUST(status == xnn_status_success);
}

/* Values behind a relu begin at -128. */
static int8_t zero_of(int value)
{
    return value > 0 && value < LAYERS ? -128 : 0;
}

static void xnn_layer(xnn *h, int i, size_t n)
{
    const size_t in = (size_t)h->net.size[i], out = (size_t)h->net.size[i + 1];
    float        step[WIDEST];
    int32_t      bias[WIDEST];

    if (!h->int8) {
        xnn_ok(xnn_create_fully_connected_nc_f32(
            in, out, in, out, h->net.weight[i], h->net.bias[i],
            i + 1 < LAYERS ? 0 : -INFINITY, INFINITY, 0, &h->op[i]));
        xnn_ok(xnn_setup_fully_connected_nc_f32(h->op[i], n, h->value[i], h->value[i + 1],
                                                NULL));
        return;
    }
    const int8_t *q = quantized(&h->net, i, 0, step);
    for (size_t o = 0; o < out; o++) {
        bias[o] = (int32_t)lrintf(h->net.bias[i][o] / (step[o] * h->net.scale[i]));
    }
    xnn_ok(xnn_create_fully_connected_nc_qs8(
        in, out, in, out, zero_of(i), h->net.scale[i], step[0], q, bias, zero_of(i + 1),
        h->net.scale[i + 1], -128, 127, 0, &h->op[i]));
    xnn_ok(xnn_setup_fully_connected_nc_qs8(h->op[i], n, h->value[i], h->value[i + 1],
                                            NULL));
}

EXPORT void *xnn_open(const net *of, size_t n, int int8)
{
    xnn *h = block(sizeof *h);

    h->net  = *of;
    h->int8 = int8;
    xnn_ok(xnn_initialize(NULL));
    for (int i = 0; i <= LAYERS; i++) {
        h->value[i] = block(n * WIDEST * sizeof(float));
    }
    for (int i = 0; i < LAYERS; i++) {
        xnn_layer(h, i, n);
    }
    return h;
}

EXPORT void xnn_run(void *handle, const float *x, size_t n, float *y)
{
    xnn         *h  = handle;
    const size_t in = n * (size_t)h->net.size[0], out = n * (size_t)h->net.size[LAYERS];

    if (h->int8) {
        quantize_input(x, in, h->net.scale[0], h->value[0]);
    } else {
        memcpy(h->value[0], x, in * sizeof(float));
    }
    for (int i = 0; i < LAYERS; i++) {
        (void)xnn_run_operator(h->op[i], NULL);
    }
    for (size_t k = 0; h->int8 && k < out; k++) {
        y[k] = h->net.scale[LAYERS] * (float)((const int8_t *)h->value[LAYERS])[k];
    }
    if (!h->int8) {
        memcpy(y, h->value[LAYERS], out * sizeof(float));
    }
}
#endif
