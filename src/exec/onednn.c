#include "exec/onednn.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"
#include "exec/bytes.h"
#include "exec/codes.h"
#include "exec/onednn_primitive.h"
#include "layers/kinds.h"

typedef struct {
    pq_op           op;
    pq_dnnl_variant full, one;
    size_t          in_count, out_count, in_bytes, out_bytes;
    float          *bias; /* owned */
    atomic_flag     busy[PQ_DNNL_SETS];
} dnn_op;

static void release(pq_op *op)
{
    dnn_op *d = (dnn_op *)op;

    pq_dnnl_free(&d->full);
    pq_dnnl_free(&d->one);
    pq_free(d->bias);
    pq_free(d);
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    dnn_op        *d    = (dnn_op *)(uintptr_t)op; /* only its flags change */
    const uint8_t *from = in[0];
    uint8_t       *to   = out;
    size_t         set  = 0;

    while (atomic_flag_test_and_set_explicit(&d->busy[set], memory_order_acquire)) {
        set = (set + 1) % PQ_DNNL_SETS;
        if (set == 0) {
            (void)sched_yield();
        }
    }
    if (n == d->full.n) {
        pq_dnnl_run(&d->full, set, from, to, scratch);
    } else {
        for (size_t i = 0; i < n; i++) {
            pq_dnnl_run(&d->one, set, from + i * d->in_count * d->in_bytes,
                        to + i * d->out_count * d->out_bytes, scratch);
        }
    }
    atomic_flag_clear_explicit(&d->busy[set], memory_order_release);
}

/* Whether a layer's weights fit oneDNN's multiplication of bytes. Without VNNI two
   products are added in 16 bits, so that weights may have 7. */
static bool weights_fit(const pq_units *u)
{
    const int32_t most = pq_dnnl_has_vnni() ? 127 : 63;

    for (size_t i = 0; i < u->outputs * u->length; i++) {
        if (u->weight[i] < -most - 1 || u->weight[i] > most) {
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

/* A dense layer is a convolution of 1 x 1 over its rows. */
static void place_dense(const pq_step *step, pq_dnnl_shape *s)
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

static pq_status place_conv(const pq_step *step, pq_dnnl_shape *s, pq_err *err)
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
static void fill_affine(const pq_quant *to, pq_dnnl_shape *s, float *bias)
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

pq_status pq_onednn_prepare(const pq_step *step, size_t tile, const pq_units *units,
                            pq_op **out, pq_err *err)
{
    const pq_graph *g  = step->graph;
    const pq_quant *to = pq_byte_grid(g, step->last);
    pq_dnnl_shape   s  = {.units       = units,
                          .source_zero = pq_byte_zero(pq_byte_grid(g, step->in[0])),
                          .relu        = step->activation != PQ_NO_NODE,
                          .bytes       = to != NULL};
    dnn_op         *d  = NULL;
    pq_status       st;

    if (to != NULL) {
        s.target_zero = pq_byte_zero(to);
        s.codes       = pq_quant_most(to, 0) - pq_quant_least(to, 0) + 1;
    }
    if (!pq_dnnl_start() || !weights_fit(units)) {
        return PQ_OK;
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
    PQ_TRY(pq_dnnl_make(&s, tile, d->bias, &d->full, err));
    if (d->full.primitive != NULL && tile > 1) {
        PQ_TRY(pq_dnnl_make(&s, 1, d->bias, &d->one, err));
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

void pq_onednn_describe(pq_text *out)
{
    const dnnl_version_t *v = dnnl_version();

    pq_text_add(out, ", oneDNN %d.%d.%d %s", v->major, v->minor, v->patch, pq_dnnl_isa());
}

const char *pq_onednn_isa(void)
{
    return pq_dnnl_isa();
}
