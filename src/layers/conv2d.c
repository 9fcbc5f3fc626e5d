/*
 * y[p, q, o] = bias[o] + sum_{a, b, i} kernel[o, a, b, i]
 *              x[p stride - top + a dilation, q stride - left + b dilation, g (in /
 * groups) + i] with g the group of output channel o; cells outside the input are 0.
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    PQ_WINDOW_ROWS(pq_conv2d_params, window, "1", ""),
    {"dilation_h", PQ_PARAM_INT, offsetof(pq_conv2d_params, dilation_h), "1", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "rows between kernel rows"},
    {"dilation_w", PQ_PARAM_INT, offsetof(pq_conv2d_params, dilation_w), "1", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "columns between kernel columns"},
    {"groups", PQ_PARAM_INT, offsetof(pq_conv2d_params, groups), "1", 1, 1048576, NULL,
     PQ_UNIT_NONE, "groups of channels; as many as input channels is depthwise"},
    {0},
};

pq_status pq_conv2d_window(const pq_layer *layer, const pq_shape *in, pq_window *out,
                           pq_err *err)
{
    const pq_conv2d_params *p = layer->params;
    const pq_weight        *w = pq_layer_weight(layer, "kernel");
    const pq_shape *k = &(w != NULL ? w : pq_layer_weight(layer, "window"))->value->shape;

    *out = (pq_window){.kernel_h   = k->dim[1],
                       .kernel_w   = k->dim[2],
                       .dilation_h = (size_t)p->dilation_h,
                       .dilation_w = (size_t)p->dilation_w};
    return pq_window_place(&p->window, in, out, err);
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const size_t    groups = (size_t)((const pq_conv2d_params *)layer->params)->groups;
    const pq_shape *k;
    pq_window       w;
    char            kernel[128], input[128];
    pq_status       st;

    (void)n_in;
    PQ_TRY(pq_affine_check(layer, 4, err));
    k = &pq_layer_weight(layer, "kernel")->value->shape;
    (void)pq_shape_text(k, kernel, sizeof kernel);
    PQ_CHECK(k->dim[1] <= PQ_WINDOW_MAX && k->dim[2] <= PQ_WINDOW_MAX, PQ_ERR_SHAPE,
             "kernel is %s, larger than %d rows or columns", kernel, PQ_WINDOW_MAX);
    PQ_TRY(pq_conv2d_window(layer, in, &w, err));
    PQ_CHECK(w.channels == k->dim[3] * groups && k->dim[0] % groups == 0, PQ_ERR_SHAPE,
             "kernel is %s in %zu groups but the input is %s", kernel, groups,
             pq_shape_text(in, input, sizeof input));
    *out = PQ_SHAPE(w.out_h, w.out_w, k->dim[0]);
cleanup:
    return st;
}

static uint64_t macs(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out)
{
    (void)n_in;
    (void)in;
    return (uint64_t)out->dim[0] * out->dim[1] *
           pq_layer_weight(layer, "kernel")->value->count;
}

/* A call's sizes and arrays. */
typedef struct {
    pq_window     w;
    size_t        out, group_in, group_out; /* channels: all, of one group */
    const double *kernel, *bias;
    double       *grad_kernel, *grad_bias;
} conv;

static conv conv_of(const pq_layer_call *call)
{
    const size_t groups = (size_t)((const pq_conv2d_params *)call->layer->params)->groups;
    conv         c      = {.out = call->out_shape.dim[2]};

    (void)pq_conv2d_window(call->layer, &call->in_shape[0], &c.w, NULL);
    c.group_in  = c.w.channels / groups;
    c.group_out = c.out / groups;
    c.kernel    = pq_call_weight(call, "kernel");
    c.bias      = pq_call_weight(call, "bias");
    return c;
}

/* Sums over the window at (p, q) for n output channels from o, all of one group. */
static void window_forward(const conv *c, const double *image, size_t p, size_t q,
                           size_t o, size_t n, double *y)
{
    const size_t stride = c->w.kernel_h * c->w.kernel_w * c->group_in;
    const size_t first  = o / c->group_out * c->group_in;
    size_t       row, column;

    for (size_t r = 0; r < n; r++) {
        y[r] = c->bias != NULL ? c->bias[o + r] : 0.0;
    }
    for (size_t a = 0; a < c->w.kernel_h; a++) {
        for (size_t b = 0; b < c->w.kernel_w; b++) {
            if (pq_window_row(&c->w, p, a, &row) &&
                pq_window_column(&c->w, q, b, &column)) {
                pq_dot_rows(c->group_in,
                            image + (row * c->w.in_w + column) * c->w.channels + first,
                            c->kernel + o * stride +
                                (a * c->w.kernel_w + b) * c->group_in,
                            stride, n, y);
            }
        }
    }
}

static void forward(const pq_layer_call *call)
{
    const conv   c    = conv_of(call);
    const size_t size = pq_items(&call->in_shape[0]);
    double      *y    = call->out;

    for (size_t sample = 0; sample < call->batch; sample++) {
        for (size_t p = 0; p < c.w.out_h; p++) {
            for (size_t q = 0; q < c.w.out_w; q++, y += c.out) {
                for (size_t o = 0, n; o < c.out; o += n) {
                    n = c.group_out - o % c.group_out;
                    n = n < PQ_DOT_ROWS ? n : PQ_DOT_ROWS;
                    window_forward(&c, call->in[0] + sample * size, p, q, o, n, y + o);
                }
            }
        }
    }
}

/* Adds g = dL/dy at (p, q, o) to the gradients of the input and the kernel under the
 * window. */
static void window_backward(const conv *c, const double *image, double *grad_image,
                            size_t p, size_t q, size_t o, double g)
{
    const size_t first = o / c->group_out * c->group_in;
    size_t       row, column;

    for (size_t a = 0; a < c->w.kernel_h; a++) {
        for (size_t b = 0; b < c->w.kernel_w; b++) {
            const size_t k = ((o * c->w.kernel_h + a) * c->w.kernel_w + b) * c->group_in;
            size_t       x;
            if (!pq_window_row(&c->w, p, a, &row) ||
                !pq_window_column(&c->w, q, b, &column)) {
                continue;
            }
            x = (row * c->w.in_w + column) * c->w.channels + first;
            for (size_t i = 0; grad_image != NULL && i < c->group_in; i++) {
                grad_image[x + i] += g * c->kernel[k + i];
            }
            for (size_t i = 0; c->grad_kernel != NULL && i < c->group_in; i++) {
                c->grad_kernel[k + i] += g * image[x + i];
            }
        }
    }
}

static void backward(const pq_layer_call *call)
{
    conv          c    = conv_of(call);
    const size_t  size = pq_items(&call->in_shape[0]);
    const double *g    = call->grad_out;

    c.grad_kernel = pq_call_grad(call, "kernel");
    c.grad_bias   = pq_call_grad(call, "bias");
    for (size_t sample = 0; sample < call->batch; sample++) {
        const double *image = call->in[0] + sample * size;
        double       *grad_image =
            call->grad_in[0] != NULL ? call->grad_in[0] + sample * size : NULL;
        for (size_t p = 0; p < c.w.out_h; p++) {
            for (size_t q = 0; q < c.w.out_w; q++) {
                for (size_t o = 0; o < c.out; o++, g++) {
                    if (c.grad_bias != NULL) {
                        c.grad_bias[o] += *g;
                    }
                    window_backward(&c, image, grad_image, p, q, o, *g);
                }
            }
        }
    }
}

const pq_layer_kind pq_layer_kind_conv2d = {
    .name        = "conv2d",
    .summary     = "2-D convolution (cross-correlation) of an NHWC image, in groups",
    .source      = "Dumoulin & Visin, arXiv:1603.07285",
    .params      = params,
    .params_size = sizeof(pq_conv2d_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .role        = pq_role_affine,
    .channels    = &pq_channels_conv2d,
    .shape       = shape,
    .macs        = macs,
    .forward     = forward,
    .backward    = backward,
    .form        = PQ_FORM_CONVOLUTION,
};
