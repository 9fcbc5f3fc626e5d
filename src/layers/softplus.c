/*
 * y = ln(1 + exp(x)), as max(x, 0) + ln(1 + exp(-|x|)), which does not overflow;
 * dy/dx = 1 / (1 + exp(-x)).
 */
#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = (x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)));
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        call->grad_in[0][i] += call->grad_out[i] / (1.0 + exp(-call->in[0][i]));
    }
}

static void forward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = (x[i] < 0.0f ? 0.0f : x[i]) + log1pf(expf(-fabsf(x[i])));
    }
}

static void backward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] /= 1.0f + expf(-x[i]);
    }
}

const pq_layer_kind pq_layer_kind_softplus = {
    .name       = "softplus",
    .summary    = "ln(1 + exp(x))",
    .source     = "Dugas et al., NIPS 2000",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .traits     = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN,
    .forward32  = forward32,
    .backward32 = backward32,
};
