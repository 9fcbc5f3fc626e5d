/*
 * Convolutions as products of overlapping rows: in a padded NHWC image the
 * pixels under one row of the kernel lie side by side, so a row of outputs is
 * one product whose rows of A overlap, one segment for each row of the kernel.
 * The gradient of the image is the same with the kernel turned around, once for
 * each remainder of a position by the stride.
 *
 * Source: Zhang, Franchetti & Low, arXiv:1809.10170 (no im2col); Dumoulin & Visin,
 *         arXiv:1603.07285, section 4.
 *
 * A kernel held as a tensor train is rebuilt once a step and runs as any other.
 */
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "train/frame.h"
#include "train/net.h"
#include "train/tt_kernel.h"

enum { KERNEL_ROWS = 64 /* most rows of a kernel; larger ones run in double */ };

typedef struct {
    pq_window     w;
    size_t        out;   /* channels */
    size_t        taps;  /* kernel_h kernel_w */
    bool          pixel; /* 1 x 1, stride 1: one product over all pixels */
    pq_frame      x, dy; /* framed input and gradient of the output */
    size_t        panel_forward, panel_backward, panel_weight;
    float        *forward, *backward; /* packed kernels */
    pq_segment   *rows_x;             /* [kernel_h] of forward */
    pq_segment   *rows_w;             /* [out_h] of the kernel's gradient */
    size_t        kernel, bias;       /* offsets; bias SIZE_MAX = none */
    pq_tt_kernel *tt; /* the kernel is rebuilt from a tensor train, or NULL */
} state;

bool pq_op_conv2d_accepts(const pq_layer *layer)
{
    const pq_conv2d_params *p = layer->params;

    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const pq_weight *w      = kernel != NULL ? kernel : pq_layer_weight(layer, "window");

    return p->groups == 1 && p->dilation_h == 1 && p->dilation_w == 1 &&
           w->value->shape.dim[1] <= KERNEL_ROWS;
}

static void free_state(void *s)
{
    pq_free(((state *)s)->forward);
    pq_free(((state *)s)->backward);
    pq_free(((state *)s)->rows_x);
    pq_free(((state *)s)->rows_w);
    pq_tt_kernel_free(&((state *)s)->tt);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Margins of the gradient: a pixel q strides from the origin reads outputs q, q - 1, …,
   one for each stride that the kernel covers. */
static void place_frames(state *s)
{
    const pq_window *w      = &s->w;
    const size_t     top    = (w->kernel_h - 1) / w->stride_h;
    const size_t     left   = (w->kernel_w - 1) / w->stride_w;
    const size_t     last_y = (w->in_h - 1 + w->pad_top) / w->stride_h;
    const size_t     last_x = (w->in_w - 1 + w->pad_left) / w->stride_w;

    s->x = (pq_frame){
        w->in_h,
        w->in_w,
        w->channels,
        w->pad_top,
        w->pad_left,
        larger((w->out_h - 1) * w->stride_h + w->kernel_h, w->in_h + w->pad_top),
        larger((w->out_w - 1) * w->stride_w + w->kernel_w, w->in_w + w->pad_left)};
    s->dy = (pq_frame){w->out_h,
                       w->out_w,
                       s->out,
                       top,
                       left,
                       top + larger(w->out_h, last_y + 1),
                       left + larger(w->out_w, last_x + 1)};
}

static void list_segments(state *s)
{
    const pq_window *w   = &s->w;
    const size_t     row = s->x.columns * w->channels, k = w->kernel_w * w->channels;

    for (size_t i = 0; i < w->kernel_h; i++) {
        s->rows_x[i] = (pq_segment){i * row, i * k * s->panel_forward, k};
    }
    for (size_t i = 0; i < w->out_h; i++) {
        s->rows_w[i] =
            (pq_segment){i * w->out_w * s->out, i * w->stride_h * row, w->out_w};
    }
}

static pq_status allocate(pq_net *net, pq_op *op, pq_err *err)
{
    state       *s = op->state;
    const size_t k = s->taps * s->w.channels;
    pq_status    st;

    s->panel_forward  = net->kernels->panel(s->out);
    s->panel_backward = net->kernels->panel(s->w.channels);
    s->panel_weight   = net->kernels->panel(s->w.kernel_w * s->w.channels);
    s->forward = pq_calloc(pq_panel_floats(k, s->out, s->panel_forward), sizeof(float));
    s->backward =
        pq_calloc(pq_panel_floats(s->taps * s->out, s->w.channels, s->panel_backward),
                  sizeof(float));
    s->rows_x = pq_calloc(s->w.kernel_h, sizeof *s->rows_x);
    s->rows_w = pq_calloc(s->w.out_h, sizeof *s->rows_w);
    PQ_CHECK(s->forward != NULL && s->backward != NULL && s->rows_x != NULL &&
                 s->rows_w != NULL,
             PQ_ERR_NOMEM, "layer '%s': cannot allocate packed weights", op->name);
    op->scratch_bytes = (pq_frame_floats(&s->x) + pq_frame_floats(&s->dy) +
                         (s->tt != NULL ? pq_tt_kernel_scratch(s->tt) : 0)) *
                        sizeof(float);
cleanup:
    return st;
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    const size_t kernel = pq_layer_weight_index(op->layer, "kernel");
    const size_t bias   = pq_layer_weight_index(op->layer, "bias");
    state       *s      = pq_calloc(1, sizeof *s);
    pq_status    st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state      = s;
    op->free_state = free_state;
    PQ_TRY(pq_conv2d_window(op->layer, &op->in_shape[0], &s->w, err));
    s->taps = s->w.kernel_h * s->w.kernel_w;
    if (kernel == SIZE_MAX) {
        PQ_TRY(pq_tt_kernel_create(net, op, &s->tt, err));
        s->out = pq_tt_kernel_outputs(s->tt);
    } else {
        s->out    = op->layer->weights[kernel].value->shape.dim[0];
        s->kernel = op->weight[kernel];
    }
    s->bias = bias != SIZE_MAX ? op->weight[bias] : SIZE_MAX;
    place_frames(s);
    s->pixel = s->taps == 1 && s->w.stride_h == 1 && s->w.stride_w == 1 &&
               s->x.rows == s->w.in_h && s->x.columns == s->w.in_w;
    PQ_TRY(allocate(net, op, err));
    list_segments(s);
cleanup:
    return st;
}

/* Columns of the kernel that reach positions with one remainder, last first: their
   places in the packed kernel follow each other, as their pixels do. */
static void pack_backward(const state *s, const float *w)
{
    const size_t c = s->w.channels, n = s->panel_backward;
    size_t       place = 0;

    for (size_t ky = 0; ky < s->w.kernel_h; ky++) {
        for (size_t rest = 0; rest < s->w.stride_w && rest < s->w.kernel_w; rest++) {
            const size_t count =
                (s->w.kernel_w - rest + s->w.stride_w - 1) / s->w.stride_w;
            for (size_t t = count; t-- > 0; place++) {
                const size_t tap = ky * s->w.kernel_w + rest + t * s->w.stride_w;
                for (size_t j = 0; j < c; j += n) {
                    pq_pack_panels(s->out, c - j < n ? c - j : n, w + tap * c + j,
                                   s->taps * c, 1, n,
                                   s->backward + (j / n * s->taps + place) * s->out * n);
                }
            }
        }
    }
}

static void prepare(const pq_net *net, pq_op *op)
{
    const state *s = op->state;
    const float *w =
        s->tt != NULL ? pq_tt_kernel_rebuild(net, s->tt) : net->used + s->kernel;
    const size_t k = s->taps * s->w.channels;

    pq_pack_panels(k, s->out, w, 1, k, s->panel_forward, s->forward);
    if (op->wants[0]) {
        pack_backward(s, w);
    }
}

static void forward(const pq_net_call *c)
{
    const state *s   = c->op->state;
    const size_t row = s->x.columns * s->w.channels, pixels = s->w.out_h * s->w.out_w;
    const float *image = pq_net_value(c, c->op->in[0]);
    float       *out   = pq_net_value(c, c->op->out);
    pq_matmul    g     = {.m          = s->pixel ? c->rows * pixels : s->w.out_w,
                          .n          = s->out,
                          .a          = image,
                          .a_row      = s->w.stride_w * s->w.channels,
                          .a_col      = 1,
                          .b          = s->forward,
                          .b_row      = s->panel_forward,
                          .b_panel    = s->taps * s->w.channels * s->panel_forward,
                          .panel      = s->panel_forward,
                          .c          = out,
                          .c_row      = s->out,
                          .n_segments = s->w.kernel_h,
                          .segments   = s->rows_x,
                          .bias       = s->bias != SIZE_MAX ? c->net->used + s->bias : NULL,
                          .clip       = pq_net_clip(c)};

    if (s->pixel) {
        c->net->kernels->gemm(&g);
        return;
    }
    for (size_t i = 0; i < c->rows; i++, image += pq_frame_inside(&s->x)) {
        const float *x = pq_framed(&s->x, image, c->scratch);
        for (size_t y = 0; y < s->w.out_h; y++, g.c += s->w.out_w * s->out) {
            g.a = x + y * s->w.stride_h * row;
            c->net->kernels->gemm(&g);
        }
    }
}

/* Where the gradient of the kernel goes. */
static float *change_of(const pq_net_call *c)
{
    const state *s = c->op->state;

    return s->tt == NULL
               ? c->gradients + s->kernel
               : (float *)c->scratch + pq_frame_floats(&s->x) + pq_frame_floats(&s->dy);
}

/* Adds one image's part of the gradient of the kernel, a row of it at a time. */
static void kernel_gradient(const pq_net_call *c, const float *x, const float *dy,
                            bool first)
{
    const state *s   = c->op->state;
    const size_t row = s->w.kernel_w * s->w.channels;

    for (size_t ky = 0; ky < s->w.kernel_h; ky++) {
        c->net->kernels->gemm(
            &(pq_matmul){.m          = s->out,
                         .n          = row,
                         .a          = dy,
                         .a_row      = 1,
                         .a_col      = s->out,
                         .b          = x + ky * s->x.columns * s->w.channels,
                         .b_row      = s->w.stride_w * s->w.channels,
                         .b_panel    = s->panel_weight,
                         .panel      = s->panel_weight,
                         .c          = change_of(c) + ky * row,
                         .c_row      = s->taps * s->w.channels,
                         .n_segments = s->w.out_h,
                         .segments   = s->rows_w,
                         .add        = first ? NULL : change_of(c) + ky * row});
    }
}

/* Segments of the kernel's rows that reach image row y, for columns of one remainder. */
static size_t reach(const state *s, size_t y, size_t rest, pq_segment *list)
{
    const pq_window *w  = &s->w;
    const size_t     at = y + w->pad_top, row = s->dy.columns * s->out;
    const size_t     count =
        rest < w->kernel_w ? (w->kernel_w - rest + w->stride_w - 1) / w->stride_w : 0;
    size_t before = 0, n = 0;

    for (size_t r = 0; r < rest; r++) {
        before += (w->kernel_w - r + w->stride_w - 1) / w->stride_w;
    }
    for (size_t ky = at % w->stride_h; count > 0 && ky < w->kernel_h; ky += w->stride_h) {
        const size_t line = at / w->stride_h - ky / w->stride_h + s->dy.top;
        list[n++]         = (pq_segment){line * row,
                                         (ky * w->kernel_w + before) * s->out * s->panel_backward,
                                         count * s->out};
    }
    return n;
}

/* Gradient of the pixels of row y whose position leaves `rest` over when divided by the
   stride. */
static void image_row_gradient(const pq_net_call *c, const float *dy, size_t y,
                               size_t rest, float *dx)
{
    const state     *s     = c->op->state;
    const pq_window *w     = &s->w;
    const size_t     left  = w->pad_left % w->stride_w;
    const size_t     first = (rest + w->stride_w - left) % w->stride_w;
    const size_t     taps =
        rest < w->kernel_w ? (w->kernel_w - rest + w->stride_w - 1) / w->stride_w : 1;
    pq_segment list[KERNEL_ROWS];

    if (first >= w->in_w) {
        return;
    }
    const size_t n  = reach(s, y, rest, list);
    const size_t at = (first + w->pad_left) / w->stride_w + s->dy.left - (taps - 1);
    float       *to = dx + (y * w->in_w + first) * w->channels;
    c->net->kernels->gemm(
        &(pq_matmul){.m          = (w->in_w - first + w->stride_w - 1) / w->stride_w,
                     .n          = w->channels,
                     .a          = dy + at * s->out,
                     .a_row      = s->out,
                     .a_col      = 1,
                     .b          = s->backward,
                     .b_row      = s->panel_backward,
                     .b_panel    = s->taps * s->out * s->panel_backward,
                     .panel      = s->panel_backward,
                     .c          = to,
                     .c_row      = w->stride_w * w->channels,
                     .n_segments = n,
                     .segments   = list,
                     .add        = c->op->accumulate[0] ? to : NULL});
}

static void backward(const pq_net_call *c)
{
    const state *s     = c->op->state;
    const size_t size  = pq_frame_inside(&s->dy);
    const float *image = pq_net_value(c, c->op->in[0]);
    float       *dy = pq_net_gradient_behind(c, s->out, s->bias), *dx = NULL;
    float       *frames = c->scratch;

    if (c->op->wants[0]) {
        dx = pq_net_gradient(c, c->op->in[0]);
    }
    for (size_t i = 0; i < c->rows; i++, dy += size, image += pq_frame_inside(&s->x)) {
        if (!c->op->frozen) {
            kernel_gradient(c, pq_framed(&s->x, image, frames), dy, i == 0);
        }
        if (dx == NULL) {
            continue;
        }
        const float *from = pq_framed(&s->dy, dy, frames + pq_frame_floats(&s->x));
        for (size_t y = 0; y < s->w.in_h; y++) {
            for (size_t rest = 0; rest < s->w.stride_w; rest++) {
                image_row_gradient(c, from, y, rest, dx);
            }
        }
        dx += pq_frame_inside(&s->x);
    }
    if (s->tt != NULL && !c->op->frozen) {
        pq_tt_kernel_spread(c, s->tt, change_of(c));
    }
}

const pq_op_class pq_op_conv2d = {.kernel     = "float32:products",
                                  .setup      = setup,
                                  .prepare    = prepare,
                                  .forward    = forward,
                                  .backward   = backward,
                                  .needs_in   = true,
                                  .takes_relu = true};
