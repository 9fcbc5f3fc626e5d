/*
 * y = x for x > 0, alpha (exp(x) - 1) otherwise.
 */
#include <math.h>
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"alpha", PQ_PARAM_REAL, offsetof(pq_elu_params, alpha), "1", 0, 1000, NULL,
     PQ_UNIT_NONE, "minus the limit for very negative values"},
    {0},
};

static void forward(const pq_layer_call *call)
{
    const pq_elu_params *p = call->layer->params;
    const size_t         n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = x > 0.0 ? x : p->alpha * expm1(x);
    }
}

static void backward(const pq_layer_call *call)
{
    const pq_elu_params *p = call->layer->params;
    const size_t         n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * (x > 0.0 ? 1.0 : p->alpha * exp(x));
    }
}

static void forward32(const pq_float_call *call)
{
    const float  alpha = (float)((const pq_elu_params *)call->layer->params)->alpha;
    const float *x     = call->in[0];
    float       *y     = call->out;
    const size_t n     = pq_float_items(call);

    memcpy(y, x, n * sizeof *y);
    call->kernels->exponentials(n, y);
    for (size_t i = 0; i < n; i++) {
        const float below = alpha * (y[i] - 1.0f);
        y[i]              = x[i] > 0.0f ? x[i] : below;
    }
}

static void backward32(const pq_float_call *call)
{
    const float  alpha = (float)((const pq_elu_params *)call->layer->params)->alpha;
    const float *y     = call->out;
    const size_t n     = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= y[i] > 0.0f ? 1.0f : y[i] + alpha;
    }
}

const pq_layer_kind pq_layer_kind_elu = {
    .name        = "elu",
    .summary     = "x, or alpha (exp(x) - 1) below 0",
    .source      = "Clevert et al., arXiv:1511.07289",
    .params      = params,
    .params_size = sizeof(pq_elu_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_shape_same,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_OUT,
    .forward32   = forward32,
    .backward32  = backward32,
};
