/*
 * y = tanh(x); dy/dx = 1 - y^2.
 */
#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = tanh(call->in[0][i]);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double y = call->out[i];
        call->grad_in[0][i] += call->grad_out[i] * (1.0 - y * y);
    }
}

/* tanh x for |x| < 0.625, where 1 - 2 / (1 + exp 2x) cancels. Source: tanhf of the Cephes
   library, Moshier 1992. */
static inline float small_tanh(float x)
{
    const float z = x * x;
    float       p = -5.70498872745e-3f;

    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return p * z * x + x;
}

static void forward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    float       *y = call->out;
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        y[i] = 2.0f * x[i];
    }
    call->kernels->exponentials(n, y);
    for (size_t i = 0; i < n; i++) {
        const float large = 1.0f - 2.0f / (1.0f + y[i]), small = small_tanh(x[i]);
        y[i] = fabsf(x[i]) < 0.625f ? small : large;
    }
}

static void backward32(const pq_float_call *call)
{
    const float *y = call->out;
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= 1.0f - y[i] * y[i];
    }
}

const pq_layer_kind pq_layer_kind_tanh = {
    .name       = "tanh",
    .summary    = "hyperbolic tangent",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .traits     = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
