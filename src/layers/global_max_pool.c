/*
 * y[c] = max of x[..., c] over all axes but the last; the gradient goes to the first of
 * equal largest values.
 */
#include "layers/channels.h"
#include "layers/pool.h"

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    (void)layer;
    (void)n_in;
    return pq_shape_channels(in, out, err);
}

/* Offset in the input of the largest value for output item i. */
static size_t largest(const pq_layer_call *call, size_t i)
{
    const size_t channels = call->out_shape.dim[0];
    const size_t size     = pq_items(&call->in_shape[0]);
    const size_t first    = i / channels * size;
    size_t       best     = first + i % channels;

    for (size_t k = best; k < first + size; k += channels) {
        best = pq_is_larger(call->in[0][k], call->in[0][best]) ? k : best;
    }
    return best;
}

static void forward(const pq_layer_call *call)
{
    for (size_t i = 0; i < pq_call_items(call); i++) {
        call->out[i] = call->in[0][largest(call, i)];
    }
}

static void backward(const pq_layer_call *call)
{
    for (size_t i = 0; call->grad_in[0] != NULL && i < pq_call_items(call); i++) {
        call->grad_in[0][largest(call, i)] += call->grad_out[i];
    }
}

static void forward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_whole32(call, false);

    pq_pool_forward32(call, &p);
}

static void backward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_whole32(call, false);

    pq_pool_backward32(call, &p);
}

const pq_layer_kind pq_layer_kind_global_max_pool = {
    .name       = "global_max_pool",
    .summary    = "largest value of each channel over all positions",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = shape,
    .forward    = forward,
    .backward   = backward,
    .traits =
        PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS | PQ_TRAIT_READS_IN,
    .forward32  = forward32,
    .backward32 = backward32,
};
