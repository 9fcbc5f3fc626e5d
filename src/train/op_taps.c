/*
 * Convolutions in groups or with gaps: a product for each row of outputs and group, whose
 * columns are run through tap by tap; channels that stay alone are multiplied side by
 * side. The gradient of the image is what each tap sends back, added up where it came
 * from.
 *
 * Source: Howard et al., arXiv:1704.04861 (depthwise); Yu & Koltun, arXiv:1511.07122
 *         (dilated).
 */
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "train/frame.h"
#include "train/net.h"

typedef struct {
    pq_window   w;
    size_t      out, taps;
    size_t      groups, group_in, group_out; /* channels of one group */
    bool        alone;                       /* one channel a group, on both sides */
    pq_frame    x;
    size_t      panel_forward, panel_backward, panel_weight;
    size_t      packed;       /* floats of one group's panels */
    float      *forward;      /* packed by group; alone: [taps, channels] */
    pq_segment *taps_x;       /* [taps] places under the window */
    pq_segment *rows_w;       /* [out_h] of the kernel's gradient */
    size_t      kernel, bias; /* offsets; bias SIZE_MAX = none */
} state;

static void free_state(void *pointer)
{
    state *s = pointer;

    pq_free(s->forward);
    pq_free(s->taps_x);
    pq_free(s->rows_w);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void place_frame(state *s)
{
    const pq_window *w      = &s->w;
    const size_t     height = (w->kernel_h - 1) * w->dilation_h + 1;
    const size_t     width  = (w->kernel_w - 1) * w->dilation_w + 1;

    s->x =
        (pq_frame){w->in_h,
                   w->in_w,
                   w->channels,
                   w->pad_top,
                   w->pad_left,
                   larger((w->out_h - 1) * w->stride_h + height, w->in_h + w->pad_top),
                   larger((w->out_w - 1) * w->stride_w + width, w->in_w + w->pad_left)};
}

static void list_segments(state *s)
{
    const pq_window *w   = &s->w;
    const size_t     row = s->x.columns * w->channels;

    for (size_t t = 0; t < s->taps; t++) {
        const size_t y = t / w->kernel_w * w->dilation_h;
        s->taps_x[t] =
            (pq_segment){y * row + t % w->kernel_w * w->dilation_w * w->channels,
                         t * s->group_in * s->panel_forward, s->group_in};
    }
    for (size_t i = 0; i < w->out_h; i++) {
        s->rows_w[i] =
            (pq_segment){i * w->out_w * s->out, i * w->stride_h * row, w->out_w};
    }
}

/* Scratch: the framed image, its gradient, and what one row of outputs sends back; alone,
   the gradient of the turned kernel instead. */
static size_t back_floats(const state *s)
{
    const size_t row = s->w.out_w * s->taps * s->group_in;

    return (s->alone ? s->taps * s->out : row) + PQ_KERNELS_SLACK;
}

static pq_status allocate(pq_net *net, pq_op *op, pq_err *err)
{
    state       *s = op->state;
    const size_t k = s->taps * s->group_in;
    pq_status    st;

    s->panel_forward  = net->kernels->panel(s->group_out);
    s->panel_backward = net->kernels->panel(k);
    s->panel_weight   = net->kernels->panel(s->group_in);
    s->packed         = pq_panel_floats(k, s->group_out, s->panel_forward);
    s->forward =
        pq_calloc(s->alone ? s->taps * s->out : s->groups * s->packed, sizeof(float));
    s->taps_x = pq_calloc(s->taps, sizeof *s->taps_x);
    s->rows_w = pq_calloc(s->w.out_h, sizeof *s->rows_w);
    PQ_CHECK(s->forward != NULL && s->taps_x != NULL && s->rows_w != NULL, PQ_ERR_NOMEM,
             "layer '%s': cannot allocate packed weights", op->name);
    op->scratch_bytes = (2 * pq_frame_floats(&s->x) + back_floats(s)) * sizeof(float);
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
    s->out       = op->layer->weights[kernel].value->shape.dim[0];
    s->taps      = s->w.kernel_h * s->w.kernel_w;
    s->groups    = (size_t)((const pq_conv2d_params *)op->layer->params)->groups;
    s->group_in  = s->w.channels / s->groups;
    s->group_out = s->out / s->groups;
    s->alone     = s->group_in == 1 && s->group_out == 1;
    s->kernel    = op->weight[kernel];
    s->bias      = bias != SIZE_MAX ? op->weight[bias] : SIZE_MAX;
    place_frame(s);
    PQ_TRY(allocate(net, op, err));
    list_segments(s);
cleanup:
    return st;
}

static void prepare(const pq_net *net, pq_op *op)
{
    const state *s = op->state;
    const float *w = net->used + s->kernel;
    const size_t k = s->taps * s->group_in;

    for (size_t i = 0; s->alone && i < s->out * s->taps; i++) {
        s->forward[i % s->taps * s->out + i / s->taps] = w[i];
    }
    for (size_t g = 0; !s->alone && g < s->groups; g++) {
        pq_pack_panels(k, s->group_out, w + g * s->group_out * k, 1, k, s->panel_forward,
                       s->forward + g * s->packed);
    }
}

/* Offset in the framed image of the window's corner for output (row, column). */
static size_t corner(const state *s, size_t row, size_t column)
{
    return (row * s->w.stride_h * s->x.columns + column * s->w.stride_w) * s->w.channels;
}

static void forward_group(const pq_net_call *c, const float *x, size_t row, size_t g,
                          float *y)
{
    const state *s    = c->op->state;
    const float *bias = s->bias != SIZE_MAX ? c->net->used + s->bias : NULL;

    c->net->kernels->gemm(
        &(pq_matmul){.m          = s->w.out_w,
                     .n          = s->group_out,
                     .a          = x + corner(s, row, 0) + g * s->group_in,
                     .a_row      = s->w.stride_w * s->w.channels,
                     .a_col      = 1,
                     .b          = s->forward + g * s->packed,
                     .b_row      = s->panel_forward,
                     .b_panel    = s->taps * s->group_in * s->panel_forward,
                     .panel      = s->panel_forward,
                     .c          = y + g * s->group_out,
                     .c_row      = s->out,
                     .n_segments = s->taps,
                     .segments   = s->taps_x,
                     .bias       = bias != NULL ? bias + g * s->group_out : NULL,
                     .clip       = pq_net_clip(c)});
}

static void forward_alone(const pq_net_call *c, const float *x, size_t row, float *y)
{
    const state *s = c->op->state;
    const size_t n = s->out;

    for (size_t column = 0; column < s->w.out_w; column++, y += n) {
        const float *at = x + corner(s, row, column);
        memset(y, 0, n * sizeof *y);
        for (size_t t = 0; t < s->taps; t++) {
            const float *from = at + s->taps_x[t].a, *w = s->forward + t * n;
            for (size_t i = 0; i < n; i++) {
                y[i] += from[i] * w[i];
            }
        }
        if (s->bias != SIZE_MAX) {
            c->net->kernels->add(n, c->net->used + s->bias, y);
        }
        for (size_t i = 0; c->op->relu && i < n; i++) {
            y[i] = y[i] < 0.0F ? 0.0F : y[i];
        }
    }
}

static void forward(const pq_net_call *c)
{
    const state *s     = c->op->state;
    const float *image = pq_net_value(c, c->op->in[0]);
    float       *y     = pq_net_value(c, c->op->out);

    for (size_t i = 0; i < c->rows; i++, image += pq_frame_inside(&s->x)) {
        const float *x = pq_framed(&s->x, image, c->scratch);
        for (size_t row = 0; row < s->w.out_h; row++, y += s->w.out_w * s->out) {
            if (s->alone) {
                forward_alone(c, x, row, y);
                continue;
            }
            for (size_t g = 0; g < s->groups; g++) {
                forward_group(c, x, row, g, y);
            }
        }
    }
}

/* Adds one image's part of the gradient of the kernel, group by group and tap by tap. */
static void kernel_gradient(const pq_net_call *c, const float *x, const float *dy,
                            bool first)
{
    const state *s = c->op->state;
    const size_t k = s->taps * s->group_in;

    for (size_t i = 0; i < s->groups * s->taps; i++) {
        const size_t g = i / s->taps, t = i % s->taps;
        float *to = c->gradients + s->kernel + g * s->group_out * k + t * s->group_in;
        c->net->kernels->gemm(&(pq_matmul){.m     = s->group_out,
                                           .n     = s->group_in,
                                           .a     = dy + g * s->group_out,
                                           .a_row = 1,
                                           .a_col = s->out,
                                           .b     = x + s->taps_x[t].a + g * s->group_in,
                                           .b_row = s->w.stride_w * s->w.channels,
                                           .b_panel    = s->panel_weight,
                                           .panel      = s->panel_weight,
                                           .c          = to,
                                           .c_row      = k,
                                           .n_segments = s->w.out_h,
                                           .segments   = s->rows_w,
                                           .add        = first ? NULL : to});
    }
}

/* What a row of outputs sends back through each tap, added to the framed gradient. */
static void image_gradient(const pq_net_call *c, const float *dy, size_t row, float *back,
                           float *dx)
{
    const state     *s   = c->op->state;
    const size_t     k   = s->taps * s->group_in;
    const pq_segment all = {.k = s->group_out};

    for (size_t g = 0; g < s->groups; g++) {
        c->net->kernels->gemm(
            &(pq_matmul){.m          = s->w.out_w,
                         .n          = k,
                         .a          = dy + g * s->group_out,
                         .a_row      = s->out,
                         .a_col      = 1,
                         .b          = c->net->used + s->kernel + g * s->group_out * k,
                         .b_row      = k,
                         .b_panel    = s->panel_backward,
                         .panel      = s->panel_backward,
                         .c          = back,
                         .c_row      = k,
                         .n_segments = 1,
                         .segments   = &all});
        for (size_t i = 0; i < s->w.out_w * s->taps; i++) {
            c->net->kernels->add(s->group_in, back + i * s->group_in,
                                 dx + corner(s, row, i / s->taps) +
                                     s->taps_x[i % s->taps].a + g * s->group_in);
        }
    }
}

/* Both gradients of one row of outputs; `change` is that of the turned kernel. */
static void backward_alone(const pq_net_call *c, const float *x, const float *dy,
                           size_t row, float *change, float *dx)
{
    const state *s = c->op->state;
    const size_t n = s->out;

    for (size_t i = 0; i < s->w.out_w * s->taps; i++) {
        const size_t t = i % s->taps, at = corner(s, row, i / s->taps) + s->taps_x[t].a;
        const float *g = dy + i / s->taps * n, *from = x + at, *w = s->forward + t * n;
        float       *dw = change + t * n, *to = dx + at;
        for (size_t k = 0; k < n; k++) {
            dw[k] += from[k] * g[k];
        }
        for (size_t k = 0; k < n; k++) {
            to[k] += w[k] * g[k];
        }
    }
}

/* The inside of the framed gradient goes to the image's. */
static void take_out(const pq_net_call *c, const float *framed, float *dx)
{
    const pq_frame *f   = &((const state *)c->op->state)->x;
    const size_t    row = f->width * f->channels;

    for (size_t y = 0; y < f->height; y++) {
        c->net->kernels->add(row,
                             framed + ((y + f->top) * f->columns + f->left) * f->channels,
                             dx + y * row);
    }
}

static void backward_image(const pq_net_call *c, const float *image, const float *dy,
                           bool first, float *dx)
{
    const state *s     = c->op->state;
    float       *frame = c->scratch, *framed = frame + pq_frame_floats(&s->x);
    float       *back = framed + pq_frame_floats(&s->x);
    const float *x    = pq_framed(&s->x, image, frame);

    memset(framed, 0, pq_frame_floats(&s->x) * sizeof *framed);
    if (!s->alone && !c->op->frozen) {
        kernel_gradient(c, x, dy, first);
    }
    for (size_t row = 0; row < s->w.out_h; row++, dy += s->w.out_w * s->out) {
        if (s->alone) {
            backward_alone(c, x, dy, row, back, framed);
        } else if (dx != NULL) {
            image_gradient(c, dy, row, back, framed);
        }
    }
    if (dx != NULL) {
        take_out(c, framed, dx);
    }
}

static void backward(const pq_net_call *c)
{
    const state *s    = c->op->state;
    const size_t size = s->w.out_h * s->w.out_w * s->out, in = pq_frame_inside(&s->x);
    const float *image  = pq_net_value(c, c->op->in[0]);
    float       *dy     = pq_net_gradient_behind(c, s->out, s->bias);
    float       *change = (float *)c->scratch + 2 * pq_frame_floats(&s->x);
    float       *dx     = c->op->wants[0] ? pq_net_gradient_to_add(c, 0) : NULL;

    if (s->alone) {
        memset(change, 0, s->taps * s->out * sizeof *change);
    }
    for (size_t i = 0; i < c->rows; i++) {
        backward_image(c, image + i * in, dy + i * size, i == 0,
                       dx != NULL ? dx + i * in : NULL);
    }
    for (size_t i = 0; s->alone && !c->op->frozen && i < s->out * s->taps; i++) {
        c->gradients[s->kernel + i] = change[i % s->taps * s->out + i / s->taps];
    }
}

const pq_op_class pq_op_taps = {.kernel     = "float32:products",
                                .setup      = setup,
                                .prepare    = prepare,
                                .forward    = forward,
                                .backward   = backward,
                                .needs_in   = true,
                                .takes_relu = true};
