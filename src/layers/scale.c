/*
 * y = factor x
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"factor", PQ_PARAM_REAL, offsetof(pq_scale_params, factor), "1", -1e6, 1e6, NULL,
     PQ_UNIT_NONE, "constant that multiplies every value"},
    {0},
};

static void forward(const pq_layer_call *call)
{
    const pq_scale_params *p = call->layer->params;
    const size_t           n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = p->factor * call->in[0][i];
    }
}

static void backward(const pq_layer_call *call)
{
    const pq_scale_params *p = call->layer->params;
    const size_t           n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        call->grad_in[0][i] += p->factor * call->grad_out[i];
    }
}

static void forward32(const pq_float_call *call)
{
    const float  factor = (float)((const pq_scale_params *)call->layer->params)->factor;
    const float *x      = call->in[0];
    const size_t n      = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = factor * x[i];
    }
}

static void backward32(const pq_float_call *call)
{
    const float  factor = (float)((const pq_scale_params *)call->layer->params)->factor;
    const size_t n      = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= factor;
    }
}

const pq_layer_kind pq_layer_kind_scale = {
    .name        = "scale",
    .summary     = "a constant times the input, not trained",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_scale_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_shape_same,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_LINE,
    .forward32   = forward32,
    .backward32  = backward32,
};
