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
        call->out[i]   = x > 0.0 ? x : 0.0;
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
};
