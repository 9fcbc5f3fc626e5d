/*
 * y = 1 where x >= threshold, -1 where x <= -threshold, 0 between; at 0 itself, with a
 * threshold of 0, what `zero` says: 0, or 1 for two values alone.
 *
 * Its derivative is 0 wherever it has one. Gradients go straight through where |x| <= 1
 * (Courbariaux et al.), so that what stands before is trained.
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"threshold", PQ_PARAM_REAL, offsetof(pq_sign_params, threshold), "0", 0, 1e30, NULL,
     PQ_UNIT_NONE, "smallest magnitude that does not become 0"},
    {"zero", PQ_PARAM_REAL, offsetof(pq_sign_params, zero), "0", -1, 1, NULL,
     PQ_UNIT_NONE, "value at 0 where the threshold is 0: -1, 0 or 1"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_sign_params *p = layer->params;
    pq_status             st;

    PQ_CHECK(p->zero == 0.0 || p->zero == 1.0 || p->zero == -1.0, PQ_ERR_RANGE,
             "zero = %g is none of -1, 0 and 1", p->zero);
    PQ_CHECK(p->zero == 0.0 || p->threshold == 0.0, PQ_ERR_RANGE,
             "zero = %g and threshold = %g: what is below the threshold is 0", p->zero,
             p->threshold);
    PQ_TRY(pq_shape_same(layer, n_in, in, out, err));
cleanup:
    return st;
}

static void forward(const pq_layer_call *call)
{
    const pq_sign_params *p = call->layer->params;
    const size_t          n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        const double y = x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x == 0.0 ? p->zero : x;
        call->out[i]   = x > -p->threshold && x < p->threshold ? 0.0 : y; /* NaN stays */
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * (x >= -1.0 && x <= 1.0 ? 1.0 : 0.0);
    }
}

static void forward32(const pq_float_call *call)
{
    const pq_sign_params *p    = call->layer->params;
    const float           zero = (float)p->zero, threshold = (float)p->threshold;
    const float          *x = call->in[0];
    const size_t          n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        const float y = x[i] > 0.0f    ? 1.0f
                        : x[i] < 0.0f  ? -1.0f
                        : x[i] == 0.0f ? zero
                                       : x[i];
        call->out[i]  = x[i] > -threshold && x[i] < threshold ? 0.0f : y;
    }
}

static void backward32(const pq_float_call *call)
{
    const float *x = call->in[0];
    const size_t n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= x[i] >= -1.0f && x[i] <= 1.0f ? 1.0f : 0.0f;
    }
}

const pq_layer_kind pq_layer_kind_sign = {
    .name        = "sign",
    .summary     = "-1, 0 or 1, by sign and threshold; gradients straight through",
    .source      = "Courbariaux et al. 2016, arXiv:1602.02830",
    .params      = params,
    .params_size = sizeof(pq_sign_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN,
    .forward32   = forward32,
    .backward32  = backward32,
};
