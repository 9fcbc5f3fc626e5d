/*
 * int8 convolutions and dense layers by oneDNN 2.6, in uint8 codes from layer to layer.
 *
 * A value is held as bytes, code minus the lowest code, where it has a grid of at most
 * 8 bits; everything else is float32, and computed by the `blas` engine's operations
 * between codes. oneDNN's sums are exact; it scales and rounds in float32, so that a
 * result may be the neighbour of the code that the integer engine gives.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "core/memory.h"
#include "exec/bytes.h"
#include "exec/codes.h"
#include "exec/quantize.h"
#include "exec/units.h"
#include "layers/kinds.h"

enum { SETS = 8, ARGS = 5 };

extern const pq_engine pq_engine_blas;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t  machine;
static dnnl_stream_t  stream;
static bool           has_vnni;
static void (*set_threads)(int);
static _Thread_local bool is_single;

/* oneDNN may believe in AMX where the hypervisor has none (SIGILL), so the
   instruction set is capped before the first primitive. */
static void start(void)
{
    (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
    has_vnni = dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core_vnni;
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (dnnl_engine_create(&machine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&stream, machine, dnnl_stream_default_flags) != dnnl_success) {
        stream = NULL;
    }
}

/* One thread a plan, as everywhere here; the number is a thread's own. */
static void be_single(void)
{
    if (!is_single && set_threads != NULL) {
        set_threads(1);
    }
    is_single = true;
}

/* A primitive for a number of samples with its packed weights. */
typedef struct {
    size_t           n; /* samples */
    dnnl_primitive_t primitive;
    dnnl_memory_t    weights, bias;
    dnnl_memory_t    source[SETS], target[SETS], scratch[SETS];
    size_t           scratch_bytes, weight_bytes;
    uint8_t         *packed; /* owned */
    char             kernel[64];
} variant;

typedef struct {
    pq_op       op;
    variant     full, one;
    size_t      in_count, out_count, in_bytes, out_bytes;
    float      *bias; /* owned */
    atomic_flag busy[SETS];
} dnn_op;

/* What a layer is to oneDNN. */
typedef struct {
    const pq_units *units;
    dnnl_dims_t     source, weights, target, stride, dilation, before, after;
    int             weight_dims;
    int32_t         source_zero, target_zero;
    bool            bytes, relu; /* target: bytes or floats */
    int32_t         codes;       /* of bytes */
    float          *scale;       /* [outputs] */
} shape;

static void free_variant(variant *v)
{
    for (size_t i = 0; i < SETS; i++) {
        (void)dnnl_memory_destroy(v->source[i]);
        (void)dnnl_memory_destroy(v->target[i]);
        (void)dnnl_memory_destroy(v->scratch[i]);
    }
    (void)dnnl_memory_destroy(v->weights);
    (void)dnnl_memory_destroy(v->bias);
    if (v->primitive != NULL) {
        (void)dnnl_primitive_destroy(v->primitive);
    }
    pq_free(v->packed);
}

static void release(pq_op *op)
{
    dnn_op *d = (dnn_op *)op;

    free_variant(&d->full);
    free_variant(&d->one);
    pq_free(d->bias);
    pq_free(d);
}

static void run_variant(const variant *v, size_t set, const uint8_t *in, uint8_t *out,
                        void *scratch)
{
    const dnnl_exec_arg_t args[ARGS] = {
        {DNNL_ARG_SRC, v->source[set]},
        {DNNL_ARG_WEIGHTS, v->weights},
        {DNNL_ARG_BIAS, v->bias},
        {DNNL_ARG_DST, v->target[set]},
        {DNNL_ARG_SCRATCHPAD, v->scratch[set]},
    };

    (void)dnnl_memory_set_data_handle(v->source[set], (void *)(uintptr_t)in);
    (void)dnnl_memory_set_data_handle(v->target[set], out);
    (void)dnnl_memory_set_data_handle(v->scratch[set], scratch);
    (void)dnnl_primitive_execute(v->primitive, stream, ARGS, args);
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    dnn_op        *d    = (dnn_op *)(uintptr_t)op; /* only its flags change */
    const uint8_t *from = in[0];
    uint8_t       *to   = out;
    size_t         set  = 0;

    be_single();
    while (atomic_flag_test_and_set_explicit(&d->busy[set], memory_order_acquire)) {
        set = (set + 1) % SETS;
        if (set == 0) {
            (void)sched_yield();
        }
    }
    if (n == d->full.n) {
        run_variant(&d->full, set, from, to, scratch);
    } else {
        for (size_t i = 0; i < n; i++) {
            run_variant(&d->one, set, from + i * d->in_count * d->in_bytes,
                        to + i * d->out_count * d->out_bytes, scratch);
        }
    }
    atomic_flag_clear_explicit(&d->busy[set], memory_order_release);
}

static dnnl_status_t make_attributes(const shape *s, dnnl_primitive_attr_t *out)
{
    dnnl_primitive_attr_t a        = NULL;
    dnnl_post_ops_t       post_ops = NULL;
    const float           zero     = (float)s->target_zero;
    const float           least    = s->relu ? 0.0f : -zero; /* in steps, before zero */
    dnnl_status_t         st       = dnnl_primitive_attr_create(&a);

    st = st ? st : dnnl_post_ops_create(&post_ops);
    st = st ? st : dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user);
    st = st ? st
            : dnnl_primitive_attr_set_output_scales(a, (dnnl_dim_t)s->units->outputs,
                                                    1 << 1, s->scale);
    if (st == dnnl_success && s->source_zero != 0) {
        st = dnnl_primitive_attr_set_zero_points(a, DNNL_ARG_SRC, 1, 0, &s->source_zero);
    }
    if (st == dnnl_success && s->target_zero != 0) {
        st = dnnl_primitive_attr_set_zero_points(a, DNNL_ARG_DST, 1, 0, &s->target_zero);
    }
    if (st == dnnl_success && s->bytes && (s->codes != 256 || least > -zero)) {
        st = dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_clip, least,
                                          (float)(s->codes - 1) - zero);
        st = st ? st : dnnl_primitive_attr_set_post_ops(a, post_ops);
    } else if (st == dnnl_success && s->relu && !s->bytes) {
        st = dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
        st = st ? st : dnnl_primitive_attr_set_post_ops(a, post_ops);
    }
    (void)dnnl_post_ops_destroy(post_ops);
    *out = a;
    return st;
}

static dnnl_status_t describe(const shape *s, size_t n, dnnl_primitive_desc_t *out)
{
    const dnnl_dims_t       bias       = {(dnnl_dim_t)s->units->outputs};
    dnnl_primitive_attr_t   attributes = NULL;
    dnnl_memory_desc_t      x, w, b, y;
    dnnl_convolution_desc_t c;
    dnnl_dims_t             source, target;
    dnnl_status_t           st = make_attributes(s, &attributes);

    memcpy(source, s->source, sizeof source);
    memcpy(target, s->target, sizeof target);
    source[0] = target[0] = (dnnl_dim_t)n;
    st = st ? st : dnnl_memory_desc_init_by_tag(&x, 4, source, dnnl_u8, dnnl_nhwc);
    st = st ? st
            : dnnl_memory_desc_init_by_tag(&w, s->weight_dims, s->weights, dnnl_s8,
                                           dnnl_format_tag_any);
    st = st ? st : dnnl_memory_desc_init_by_tag(&b, 1, bias, dnnl_f32, dnnl_x);
    st = st ? st
            : dnnl_memory_desc_init_by_tag(&y, 4, target, s->bytes ? dnnl_u8 : dnnl_f32,
                                           dnnl_nhwc);
    st = st ? st
            : dnnl_dilated_convolution_forward_desc_init(
                  &c, dnnl_forward_inference, dnnl_convolution_direct, &x, &w, &b, &y,
                  s->stride, s->dilation, s->before, s->after);
    st = st ? st : dnnl_primitive_desc_create(out, &c, attributes, machine, NULL);
    (void)dnnl_primitive_attr_destroy(attributes);
    return st;
}

/* Our weights [out, height, width, in / groups], as bytes, into the primitive's layout.
 */
static dnnl_status_t pack_weights(const shape *s, const dnnl_memory_desc_t *packed,
                                  int8_t *plain, variant *v)
{
    dnnl_memory_desc_t    from;
    dnnl_memory_t         memory  = NULL;
    dnnl_primitive_desc_t desc    = NULL;
    dnnl_primitive_t      reorder = NULL;
    dnnl_status_t         st;

    for (size_t i = 0; i < s->units->outputs * s->units->length; i++) {
        plain[i] = (int8_t)s->units->weight[i];
    }
    st = dnnl_memory_desc_init_by_tag(&from, s->weight_dims, s->weights, dnnl_s8,
                                      s->weight_dims == 5 ? dnnl_gohwi : dnnl_ohwi);
    st = st ? st : dnnl_memory_create(&memory, &from, machine, plain);
    st = st ? st : dnnl_memory_create(&v->weights, packed, machine, v->packed);
    st = st ? st
            : dnnl_reorder_primitive_desc_create(&desc, &from, machine, packed, machine,
                                                 NULL);
    st = st ? st : dnnl_primitive_create(&reorder, desc);
    if (st == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, memory},
                                        {DNNL_ARG_TO, v->weights}};
        st                           = dnnl_primitive_execute(reorder, stream, 2, args);
        st                           = st ? st : dnnl_stream_wait(stream);
    }
    if (reorder != NULL) {
        (void)dnnl_primitive_destroy(reorder);
    }
    (void)dnnl_primitive_desc_destroy(desc);
    (void)dnnl_memory_destroy(memory);
    return st;
}

static dnnl_status_t make_memories(const_dnnl_primitive_desc_t desc, float *bias,
                                   variant *v)
{
    const dnnl_memory_desc_t *x =
        dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *y =
        dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    const dnnl_memory_desc_t *b =
        dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1);
    const dnnl_memory_desc_t *s =
        dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    dnnl_status_t st = dnnl_memory_create(&v->bias, b, machine, bias);

    v->scratch_bytes = dnnl_memory_desc_get_size(s);
    for (size_t i = 0; i < SETS && st == dnnl_success; i++) {
        st = dnnl_memory_create(&v->source[i], x, machine, DNNL_MEMORY_NONE);
        st = st ? st : dnnl_memory_create(&v->target[i], y, machine, DNNL_MEMORY_NONE);
        st = st ? st : dnnl_memory_create(&v->scratch[i], s, machine, DNNL_MEMORY_NONE);
    }
    return st;
}

/* Leaves v->primitive NULL where oneDNN has no fast kernel for the layer. */
static pq_status make_variant(const shape *s, size_t n, float *bias, variant *v,
                              pq_err *err)
{
    dnnl_primitive_desc_t     desc  = NULL;
    int8_t                   *plain = NULL;
    const char               *name  = "";
    const dnnl_memory_desc_t *w;
    dnnl_status_t             done = describe(s, n, &desc);
    pq_status                 st   = PQ_OK;

    if (done != dnnl_success ||
        dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) !=
            dnnl_success ||
        strstr(name, "ref") != NULL) {
        goto cleanup;
    }
    v->n = n;
    (void)snprintf(v->kernel, sizeof v->kernel, "%.40s, %s", name,
                   strstr(name, "vnni") != NULL ? "native" : "emulated");
    w               = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    v->weight_bytes = dnnl_memory_desc_get_size(w);
    PQ_NEW(plain, s->units->outputs * s->units->length);
    PQ_NEW(v->packed, v->weight_bytes);
    done = pack_weights(s, w, plain, v);
    done = done ? done : make_memories(desc, bias, v);
    done = done ? done : dnnl_primitive_create(&v->primitive, desc);
    PQ_CHECK(done == dnnl_success, PQ_ERR_NOMEM, "oneDNN cannot make a primitive (%d)",
             (int)done);
cleanup:
    pq_free(plain);
    (void)dnnl_primitive_desc_destroy(desc);
    return st;
}

/* Whether a layer's weights fit the multiplication of bytes. Without VNNI two products
   are added in 16 bits, so that weights may have 7. */
static bool weights_fit(const pq_units *u)
{
    for (size_t i = 0; i < u->outputs * u->length; i++) {
        if (u->weight[i] < -128 || u->weight[i] > 127 ||
            (!has_vnni && (u->weight[i] < -64 || u->weight[i] > 63))) {
            return false;
        }
    }
    for (size_t o = 0; o < u->outputs; o++) {
        if (u->bias[o] > INT32_MAX || u->bias[o] < INT32_MIN) {
            return false;
        }
    }
    return u->bound <= INT32_MAX;
}

/* Whole numbers of a step's layer, or NULL where oneDNN should not have it. */
static pq_status units_of(const pq_graph *graph, size_t node, pq_units **out, pq_err *err)
{
    pq_status st;

    (void)pthread_once(&once, start);
    PQ_TRY(pq_units_create(graph, node, out, NULL, err));
    if (*out != NULL && (stream == NULL || !weights_fit(*out) ||
                         pq_byte_grid(graph, graph->nodes[node].inputs[0]) == NULL)) {
        pq_units_free(out);
    }
cleanup:
    return st;
}

static pq_fusion fuses(const pq_step *step, size_t next)
{
    const pq_node *nodes = step->graph->nodes;
    pq_step        both  = *step;
    pq_units      *units = NULL;
    bool           whole;

    both.last = next;
    if (step->activation != PQ_NO_NODE ||
        strcmp(nodes[next].layer->kind->name, "relu") != 0) {
        return PQ_FUSE_NOT;
    }
    (void)units_of(step->graph, step->node, &units, NULL);
    whole = units != NULL;
    pq_units_free(&units);
    return whole || (strcmp(nodes[step->node].layer->kind->name, "add") == 0 &&
                     pq_bytes_has(&both))
               ? PQ_FUSE_ACTIVATION
               : PQ_FUSE_NOT;
}

/* A dense layer is a convolution of 1 x 1 over its rows. */
static void place_dense(const pq_step *step, shape *s)
{
    const dnnl_dim_t rows =
        (dnnl_dim_t)(pq_node_count(step->graph, step->in[0]) / s->units->length);
    const dnnl_dims_t source  = {1, (dnnl_dim_t)s->units->length, rows, 1};
    const dnnl_dims_t target  = {1, (dnnl_dim_t)s->units->outputs, rows, 1};
    const dnnl_dims_t weights = {(dnnl_dim_t)s->units->outputs,
                                 (dnnl_dim_t)s->units->length, 1, 1};

    memcpy(s->source, source, sizeof source);
    memcpy(s->target, target, sizeof target);
    memcpy(s->weights, weights, sizeof weights);
    s->weight_dims = 4;
    s->stride[0] = s->stride[1] = 1;
}

/* Padding behind the last window. */
static dnnl_dim_t behind(size_t out, size_t stride, size_t kernel, size_t dilation,
                         size_t in, size_t before)
{
    const dnnl_dim_t pad =
        (dnnl_dim_t)((out - 1) * stride + (kernel - 1) * dilation + 1) -
        (dnnl_dim_t)(in + before);

    return pad > 0 ? pad : 0;
}

static pq_status place_conv(const pq_step *step, shape *s, pq_err *err)
{
    const pq_layer  *layer  = step->graph->nodes[step->node].layer;
    const dnnl_dim_t groups = ((const pq_conv2d_params *)layer->params)->groups;
    const dnnl_dim_t out    = (dnnl_dim_t)s->units->outputs;
    pq_window        w;
    pq_status        st;

    PQ_TRY(pq_conv2d_window(layer, &step->graph->nodes[step->in[0]].shape, &w, err));
    const dnnl_dim_t  in = (dnnl_dim_t)w.channels;
    const dnnl_dim_t  h = (dnnl_dim_t)w.kernel_h, k = (dnnl_dim_t)w.kernel_w;
    const dnnl_dims_t source  = {1, in, (dnnl_dim_t)w.in_h, (dnnl_dim_t)w.in_w};
    const dnnl_dims_t target  = {1, out, (dnnl_dim_t)w.out_h, (dnnl_dim_t)w.out_w};
    const dnnl_dims_t grouped = {groups, out / groups, in / groups, h, k};
    const dnnl_dims_t weights = {out, in, h, k};

    memcpy(s->source, source, sizeof source);
    memcpy(s->target, target, sizeof target);
    memcpy(s->weights, groups > 1 ? grouped : weights, sizeof weights);
    s->weight_dims = groups > 1 ? 5 : 4;
    s->stride[0]   = (dnnl_dim_t)w.stride_h;
    s->stride[1]   = (dnnl_dim_t)w.stride_w;
    s->dilation[0] = (dnnl_dim_t)w.dilation_h - 1;
    s->dilation[1] = (dnnl_dim_t)w.dilation_w - 1;
    s->before[0]   = (dnnl_dim_t)w.pad_top;
    s->before[1]   = (dnnl_dim_t)w.pad_left;
    s->after[0] =
        behind(w.out_h, w.stride_h, w.kernel_h, w.dilation_h, w.in_h, w.pad_top);
    s->after[1] =
        behind(w.out_w, w.stride_w, w.kernel_w, w.dilation_w, w.in_w, w.pad_left);
cleanup:
    return st;
}

/* Scales, and the bias with the zero point of an unpadded source folded in. */
static void fill_affine(const pq_quant *to, shape *s, float *bias)
{
    const pq_units *u      = s->units;
    const bool      padded = s->before[0] + s->before[1] + s->after[0] + s->after[1] > 0;
    const int32_t   zero   = padded ? 0 : s->source_zero;

    for (size_t o = 0; o < u->outputs; o++) {
        int64_t sum = 0;
        for (size_t i = 0; i < u->length; i++) {
            sum += u->weight[o * u->length + i];
        }
        bias[o] = (float)(u->bias[o] - sum * zero);
        s->scale[o] =
            (float)(u->multiplier[o] / (to != NULL ? (double)to->scale[0] : 1.0));
    }
    s->source_zero = padded ? s->source_zero : 0;
}

/* *out stays NULL where oneDNN has no fast kernel. */
static pq_status prepare_units(const pq_step *step, size_t tile, const pq_units *units,
                               pq_op **out, pq_err *err)
{
    const pq_graph *g  = step->graph;
    const pq_quant *to = pq_byte_grid(g, step->last);
    shape           s  = {.units       = units,
                          .source_zero = pq_byte_zero(pq_byte_grid(g, step->in[0])),
                          .relu        = step->activation != PQ_NO_NODE,
                          .bytes       = to != NULL};
    dnn_op         *d  = NULL;
    pq_status       st;

    if (to != NULL) {
        s.target_zero = pq_byte_zero(to);
        s.codes       = pq_quant_most(to, 0) - pq_quant_least(to, 0) + 1;
    }
    PQ_NEW(d, 1);
    PQ_NEW(d->bias, units->outputs);
    PQ_NEW(s.scale, units->outputs);
    if (strcmp(g->nodes[step->node].layer->kind->name, "dense") == 0) {
        place_dense(step, &s);
    } else {
        PQ_TRY(place_conv(step, &s, err));
    }
    fill_affine(to, &s, d->bias);
    d->op.run     = run;
    d->op.release = release;
    d->in_count   = pq_node_count(g, step->in[0]);
    d->out_count  = pq_node_count(g, step->last);
    d->in_bytes   = 1;
    d->out_bytes  = to != NULL ? 1 : sizeof(float);
    PQ_TRY(make_variant(&s, tile, d->bias, &d->full, err));
    if (d->full.primitive != NULL && tile > 1) {
        PQ_TRY(make_variant(&s, 1, d->bias, &d->one, err));
    }
    if (d->full.primitive != NULL && (tile == 1 || d->one.primitive != NULL)) {
        d->op.scratch_bytes = d->full.scratch_bytes > d->one.scratch_bytes
                                  ? d->full.scratch_bytes
                                  : d->one.scratch_bytes;
        d->op.weight_bytes  = d->full.weight_bytes + d->one.weight_bytes;
        d->op.kernel        = d->full.kernel;
        *out                = &d->op;
        d                   = NULL;
    }
cleanup:
    pq_free(s.scale);
    if (d != NULL) {
        release(&d->op);
    }
    return st;
}

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    pq_units *units = NULL;
    pq_op    *op    = NULL;
    pq_status st;

    PQ_TRY(units_of(step->graph, step->node, &units, err));
    if (units != NULL) {
        PQ_TRY(prepare_units(step, tile, units, &op, err));
    } else if (pq_bytes_has(step)) {
        PQ_TRY(pq_bytes_prepare(step, &op, err));
    }
    if (op == NULL) {
        PQ_TRY(pq_bytes_between(step, tile, &op, err));
    }
    *out = op;
cleanup:
    pq_units_free(&units);
    return st;
}

const pq_engine pq_engine_onednn = {
    .name       = "onednn",
    .summary    = "int8 convolutions and dense layers by oneDNN, the rest as `blas`",
    .item_bytes = sizeof(float),
    .take       = pq_bytes_take,
    .give       = pq_bytes_give,
    .fuses      = fuses,
    .prepare    = prepare,
};
