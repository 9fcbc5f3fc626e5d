/*
 * y[o] = sum_i kernel[o, i] x[i] + bias[o], along the last axis of the input.
 */
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"

typedef struct {
    size_t rows, in, out;
} sizes;

static sizes sizes_of(const pq_layer_call *call)
{
    const pq_shape *k = &pq_layer_weight(call->layer, "kernel")->value->shape;
    const sizes     s = {pq_call_items(call) / k->dim[0], k->dim[1], k->dim[0]};

    return s;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_shape *k;
    char            kernel[128], input[128];
    pq_status       st;

    (void)n_in;
    PQ_TRY(pq_affine_check(layer, 2, err));
    k = &pq_layer_weight(layer, "kernel")->value->shape;
    PQ_CHECK(in->ndim >= 1 && in->dim[in->ndim - 1] == k->dim[1], PQ_ERR_SHAPE,
             "kernel is %s but the input is %s with %zu features",
             pq_shape_text(k, kernel, sizeof kernel),
             pq_shape_text(in, input, sizeof input),
             in->ndim == 0 ? 0 : in->dim[in->ndim - 1]);
    *out                    = *in;
    out->dim[out->ndim - 1] = k->dim[0];
cleanup:
    return st;
}

static uint64_t macs(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out)
{
    (void)layer;
    (void)n_in;
    return pq_items(out) * in->dim[in->ndim - 1];
}

static void forward(const pq_layer_call *call)
{
    const sizes   s      = sizes_of(call);
    const double *kernel = pq_call_weight(call, "kernel");
    const double *bias   = pq_call_weight(call, "bias");

    for (size_t row = 0; row < s.rows; row++) {
        double *y = call->out + row * s.out;
        for (size_t o = 0; o < s.out; o++) {
            y[o] = bias != NULL ? bias[o] : 0.0;
        }
        for (size_t o = 0; o < s.out; o += PQ_DOT_ROWS) {
            const size_t n = s.out - o < PQ_DOT_ROWS ? s.out - o : PQ_DOT_ROWS;
            pq_dot_rows(s.in, call->in[0] + row * s.in, kernel + o * s.in, s.in, n,
                        y + o);
        }
    }
}

static void backward(const pq_layer_call *call)
{
    const sizes   s           = sizes_of(call);
    const double *kernel      = pq_call_weight(call, "kernel");
    double       *grad_kernel = pq_call_grad(call, "kernel");
    double       *grad_bias   = pq_call_grad(call, "bias");

    for (size_t row = 0; row < s.rows; row++) {
        const double *x = call->in[0] + row * s.in;
        double *grad_x  = call->grad_in[0] == NULL ? NULL : call->grad_in[0] + row * s.in;
        for (size_t o = 0; o < s.out; o++) {
            const double g = call->grad_out[row * s.out + o];
            if (grad_bias != NULL) {
                grad_bias[o] += g;
            }
            for (size_t i = 0; grad_kernel != NULL && i < s.in; i++) {
                grad_kernel[o * s.in + i] += g * x[i];
            }
            for (size_t i = 0; grad_x != NULL && i < s.in; i++) {
                grad_x[i] += g * kernel[o * s.in + i];
            }
        }
    }
}

const pq_layer_kind pq_layer_kind_dense = {
    .name       = "dense",
    .summary    = "matrix product along the last axis, plus a bias if there is one",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .role       = pq_role_affine,
    .channels   = &pq_channels_dense,
    .shape      = shape,
    .macs       = macs,
    .forward    = forward,
    .backward   = backward,
    .form       = PQ_FORM_DENSE,
};
