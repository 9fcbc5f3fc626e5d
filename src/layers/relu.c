/*
 * y = max(0, x); the slope at 0 is taken as 0.
 */
#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = x < 0.0 ? 0.0 : x; /* a NaN stays one */
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * (x > 0.0 ? 1.0 : 0.0);
    }
}

static void forward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) { /* a NaN stays one */
        call->out[i] = x[i] < 0.0f ? 0.0f : x[i];
    }
}

static void backward32(const pq_float_call *call)
{
    call->kernels->relu_grad(pq_float_items(call), call->out, call->grad_out);
}

const pq_layer_kind pq_layer_kind_relu = {
    .name       = "relu",
    .summary    = "max(0, x)",
    .source     = "Nair & Hinton, ICML 2010",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .traits     = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_CLIPS |
              PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
