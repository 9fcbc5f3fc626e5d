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
};
