/*
 * The work of int8 ResNet-8 (MLPerf Tiny) by oneDNN alone: nine convolutions and the last
 * dense layer as a convolution of 1 x 1, sums and relu as its own post-operations, uint8
 * in between, everything allocated before. What an engine around oneDNN can reach at
 * best. Weights do not matter for time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    int in, out, size, kernel, stride; /* size: of the input image */
    int from, to;                      /* values */
    int sum;                           /* adds to what is there already */
} layer;

/* Values: 0 the image, then one a layer; shortcuts are written first and summed into. */
static const layer layers[] = {
    {3, 16, 32, 3, 1, 0, 1, 0},  {16, 16, 32, 3, 1, 1, 2, 0}, {16, 16, 32, 3, 1, 2, 1, 1},
    {16, 32, 32, 3, 2, 1, 3, 0}, {16, 32, 32, 1, 2, 1, 4, 0}, {32, 32, 16, 3, 1, 3, 4, 1},
    {32, 64, 16, 3, 2, 4, 5, 0}, {32, 64, 16, 1, 2, 4, 6, 0}, {64, 64, 8, 3, 1, 5, 6, 1},
    {64, 10, 1, 1, 1, 7, 8, 0},
};

enum { LAYERS = sizeof layers / sizeof *layers, VALUES = 9 };

typedef struct {
    dnnl_stream_t    stream;
    dnnl_primitive_t primitive[LAYERS];
    dnnl_exec_arg_t  args[LAYERS][4];
    unsigned char   *value[VALUES];
    char             kernels[256];
} net;

static void *block(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);

    memset(p, 1, (bytes + 63) / 64 * 64);
    return p;
}

#define MUST(call)                                                                       \
    if ((call) != dnnl_success) {                                                        \
        fprintf(stderr, "bare: %s failed\n", #call);                                     \
        return NULL;                                                                     \
    }

EXPORT void *bare_open(int batch)
{
    net          *n = calloc(1, sizeof *n);
    dnnl_engine_t engine;

    (void)dnnl_set_max_cpu_isa(
        dnnl_cpu_isa_avx512_core_bf16); /* fails if it was set already */
    MUST(dnnl_engine_create(&engine, dnnl_cpu, 0));
    MUST(dnnl_stream_create(&n->stream, engine, dnnl_stream_default_flags));
    for (int v = 0; v < VALUES; v++) {
        n->value[v] = block((size_t)batch * 32 * 32 * 16);
    }
    for (int i = 0; i < LAYERS; i++) {
        const layer      *l   = &layers[i];
        const int         out = (l->size + l->stride - 1) / l->stride;
        const int         pad = (out - 1) * l->stride + l->kernel - l->size;
        const dnnl_dims_t x   = {batch, l->in, l->size, l->size};
        const dnnl_dims_t w = {l->out, l->in, l->kernel, l->kernel}, b = {l->out};
        const dnnl_dims_t y       = {batch, l->out, out, out};
        const dnnl_dims_t strides = {l->stride, l->stride};
        const dnnl_dims_t before  = {pad > 0 ? pad / 2 : 0, pad > 0 ? pad / 2 : 0};
        const dnnl_dims_t after   = {pad > 0 ? pad - pad / 2 : 0,
                                   pad > 0 ? pad - pad / 2 : 0};
        float                     scales[64];
        const char               *name;
        dnnl_memory_desc_t        mx, mw, mb, my;
        const dnnl_memory_desc_t *packed;
        dnnl_convolution_desc_t   desc;
        dnnl_primitive_desc_t     pd;
        dnnl_primitive_attr_t     attr;
        dnnl_post_ops_t           ops;
        dnnl_memory_t             memory[4];
        for (int o = 0; o < l->out; o++) {
            scales[o] = 0.01f;
        }
        MUST(dnnl_primitive_attr_create(&attr));
        MUST(dnnl_post_ops_create(&ops));
        MUST(dnnl_primitive_attr_set_output_scales(attr, l->out, 2, scales));
        if (l->sum) {
            MUST(dnnl_post_ops_append_sum(ops, 0.5f));
        }
        MUST(dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f));
        MUST(dnnl_primitive_attr_set_post_ops(attr, ops));
        MUST(dnnl_memory_desc_init_by_tag(&mx, 4, x, dnnl_u8, dnnl_nhwc));
        MUST(dnnl_memory_desc_init_by_tag(&mw, 4, w, dnnl_s8, dnnl_format_tag_any));
        MUST(dnnl_memory_desc_init_by_tag(&mb, 1, b, dnnl_f32, dnnl_x));
        MUST(dnnl_memory_desc_init_by_tag(&my, 4, y, dnnl_u8, dnnl_nhwc));
        MUST(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference,
                                                dnnl_convolution_direct, &mx, &mw, &mb,
                                                &my, strides, before, after));
        MUST(dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL));
        MUST(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
        if (i == 1) {
            snprintf(n->kernels, sizeof n->kernels, "%s", name);
        }
        packed = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
        MUST(dnnl_memory_create(&memory[0], &mx, engine, n->value[l->from]));
        MUST(dnnl_memory_create(&memory[1], packed, engine,
                                block(dnnl_memory_desc_get_size(packed))));
        MUST(dnnl_memory_create(&memory[2], &mb, engine, block(256)));
        MUST(dnnl_memory_create(&memory[3], &my, engine, n->value[l->to]));
        static const int roles[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS,
                                    DNNL_ARG_DST};
        for (int k = 0; k < 4; k++) {
            n->args[i][k] = (dnnl_exec_arg_t){roles[k], memory[k]};
        }
        MUST(dnnl_primitive_create(&n->primitive[i], pd));
    }
    return n;
}

EXPORT const char *bare_kernel(void *handle)
{
    return ((net *)handle)->kernels;
}

EXPORT int bare_run(void *handle)
{
    net *n  = handle;
    int  st = 0;

    for (int i = 0; i < LAYERS; i++) {
        st += dnnl_primitive_execute(n->primitive[i], n->stream, 4, n->args[i]);
    }
    return st + dnnl_stream_wait(n->stream);
}
