/*
 * y[c] = mean of x[..., c] over all axes but the last.
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

static void forward(const pq_layer_call *call)
{
    const size_t channels = call->out_shape.dim[0];
    const size_t cells    = pq_items(&call->in_shape[0]) / channels;

    for (size_t i = 0; i < pq_call_items(call); i++) {
        const double *x   = call->in[0] + i / channels * cells * channels + i % channels;
        double        sum = 0.0;
        for (size_t k = 0; k < cells; k++) {
            sum += x[k * channels];
        }
        call->out[i] = sum / (double)cells;
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t channels = call->out_shape.dim[0];
    const size_t cells    = pq_items(&call->in_shape[0]) / channels;
    const size_t n        = call->batch * cells * channels;

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const size_t sample = i / (cells * channels);
        call->grad_in[0][i] +=
            call->grad_out[sample * channels + i % channels] / (double)cells;
    }
}

static void forward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_whole32(call, true);

    pq_pool_forward32(call, &p);
}

static void backward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_whole32(call, true);

    pq_pool_backward32(call, &p);
}

const pq_layer_kind pq_layer_kind_global_avg_pool = {
    .name       = "global_avg_pool",
    .summary    = "mean of each channel over all positions",
    .source     = "Lin et al., arXiv:1312.4400",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_same,
    .shape      = shape,
    .forward    = forward,
    .backward   = backward,
    .traits = PQ_TRAIT_ROUNDED | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS | PQ_TRAIT_LINE,
    .forward32  = forward32,
    .backward32 = backward32,
};
