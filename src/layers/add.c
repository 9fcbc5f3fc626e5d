/*
 * y = x_1 + x_2 + …
 */
#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = call->in[0][i];
        for (size_t k = 1; k < call->n_in; k++) {
            call->out[i] += call->in[k][i];
        }
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t k = 0; k < call->n_in; k++) {
        for (size_t i = 0; call->grad_in[k] != NULL && i < n; i++) {
            call->grad_in[k][i] += call->grad_out[i];
        }
    }
}

static void forward32(const pq_float_call *call)
{
    const size_t n = pq_float_items(call);

    call->kernels->add2(n, call->in[0], call->in[1], false, call->out);
    for (size_t k = 2; k < call->n_in; k++) {
        call->kernels->add(n, call->in[k], call->out);
    }
}

const pq_layer_kind pq_layer_kind_add = {
    .name       = "add",
    .summary    = "sum of inputs of one shape",
    .source     = "",
    .min_inputs = 2,
    .max_inputs = 8,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .form       = PQ_FORM_SUM,
    .traits     = PQ_TRAIT_ROUNDED,
    .forward32  = forward32,
};
