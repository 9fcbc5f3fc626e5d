/*
 * y = 1 / (1 + exp(-x)); dy/dx = y (1 - y).
 */
#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = 1.0 / (1.0 + exp(-call->in[0][i]));
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double y = call->out[i];
        call->grad_in[0][i] += call->grad_out[i] * y * (1.0 - y);
    }
}

static void forward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    float       *y = call->out;
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        y[i] = -x[i];
    }
    call->kernels->exponentials(n, y);
    for (size_t i = 0; i < n; i++) {
        y[i] = 1.0f / (1.0f + y[i]);
    }
}

static void backward32(const pq_float_call *call)
{
    const float *y = call->out;
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= y[i] * (1.0f - y[i]);
    }
}

const pq_layer_kind pq_layer_kind_sigmoid = {
    .name       = "sigmoid",
    .summary    = "1 / (1 + exp(-x))",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .traits =
        PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_PROBABILITY | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
