/*
 * y = x for x > 0, slope x otherwise.
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"slope", PQ_PARAM_REAL, offsetof(pq_leaky_relu_params, slope), "0.01", -100, 100,
     NULL, PQ_UNIT_NONE, "slope for negative values"},
    {0},
};

static void forward(const pq_layer_call *call)
{
    const pq_leaky_relu_params *p = call->layer->params;
    const size_t                n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = x > 0.0 ? x : p->slope * x;
    }
}

static void backward(const pq_layer_call *call)
{
    const pq_leaky_relu_params *p = call->layer->params;
    const size_t                n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * (x > 0.0 ? 1.0 : p->slope);
    }
}

static void forward32(const pq_float_call *call)
{
    const float slope = (float)((const pq_leaky_relu_params *)call->layer->params)->slope;
    const float *x    = call->in[0];
    const size_t n    = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = x[i] > 0.0f ? x[i] : slope * x[i];
    }
}

static void backward32(const pq_float_call *call)
{
    const float slope = (float)((const pq_leaky_relu_params *)call->layer->params)->slope;
    const float *x    = call->in[0];
    const size_t n    = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= x[i] > 0.0f ? 1.0f : slope;
    }
}

const pq_layer_kind pq_layer_kind_leaky_relu = {
    .name        = "leaky_relu",
    .summary     = "x, or slope times x below 0",
    .source      = "Maas et al., ICML 2013",
    .params      = params,
    .params_size = sizeof(pq_leaky_relu_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_shape_same,
    .forward     = forward,
    .backward    = backward,
    .traits =
        PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_READS_IN,
    .forward32  = forward32,
    .backward32 = backward32,
};
