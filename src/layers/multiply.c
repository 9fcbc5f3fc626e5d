/*
 * y = x_1 x_2 …, item by item.
 */
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = call->in[0][i];
        for (size_t k = 1; k < call->n_in; k++) {
            call->out[i] *= call->in[k][i];
        }
    }
}

/* The product of the other inputs is formed anew: y / x_k fails at 0. */
static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t k = 0; k < call->n_in; k++) {
        for (size_t i = 0; call->grad_in[k] != NULL && i < n; i++) {
            double g = call->grad_out[i];
            for (size_t other = 0; other < call->n_in; other++) {
                g *= other == k ? 1.0 : call->in[other][i];
            }
            call->grad_in[k][i] += g;
        }
    }
}

static void forward32(const pq_float_call *call)
{
    const size_t n = pq_float_items(call);

    memcpy(call->out, call->in[0], n * sizeof *call->out);
    for (size_t k = 1; k < call->n_in; k++) {
        for (size_t i = 0; i < n; i++) {
            call->out[i] *= call->in[k][i];
        }
    }
}

/* The product of the others takes the place of the output. */
static void backward32(const pq_float_call *call)
{
    const size_t n    = pq_float_items(call);
    float       *part = call->out;

    for (size_t k = 0; k < call->n_in; k++) {
        if (call->grad_in[k] == NULL) {
            continue;
        }
        memcpy(part, call->grad_out, n * sizeof *part);
        for (size_t other = 0; other < call->n_in; other++) {
            for (size_t i = 0; other != k && i < n; i++) {
                part[i] *= call->in[other][i];
            }
        }
        call->kernels->add(n, part, call->grad_in[k]);
    }
}

const pq_layer_kind pq_layer_kind_multiply = {
    .name       = "multiply",
    .summary    = "product of inputs of one shape",
    .source     = "",
    .min_inputs = 2,
    .max_inputs = 8,
    .channels   = &pq_channels_same,
    .shape      = pq_shape_same,
    .forward    = forward,
    .backward   = backward,
    .traits     = PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
