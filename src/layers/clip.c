/*
 * y = min(max(x, lo), hi).
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"lo", PQ_PARAM_REAL, offsetof(pq_clip_params, lo), "0", 0, 0, NULL, PQ_UNIT_NONE,
     "smallest value"},
    {"hi", PQ_PARAM_REAL, offsetof(pq_clip_params, hi), "6", 0, 0, NULL, PQ_UNIT_NONE,
     "largest value"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_clip_params *p = layer->params;
    pq_status             st;

    PQ_CHECK(p->lo <= p->hi, PQ_ERR_RANGE, "lo = %g is above hi = %g", p->lo, p->hi);
    PQ_TRY(pq_shape_same(layer, n_in, in, out, err));
cleanup:
    return st;
}

static void forward(const pq_layer_call *call)
{
    const pq_clip_params *p = call->layer->params;
    const size_t          n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = x < p->lo ? p->lo : x > p->hi ? p->hi : x;
    }
}

static void backward(const pq_layer_call *call)
{
    const pq_clip_params *p = call->layer->params;
    const size_t          n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * (x > p->lo && x < p->hi ? 1.0 : 0.0);
    }
}

/* Two loops, as gcc does not vectorize two comparisons in a row. */
static void forward32(const pq_float_call *call)
{
    const pq_clip_params *p  = call->layer->params;
    const float           lo = (float)p->lo, hi = (float)p->hi;
    const float          *x = call->in[0];
    float                *y = call->out;
    const size_t          n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] < lo ? lo : x[i];
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = y[i] > hi ? hi : y[i];
    }
}

static void backward32(const pq_float_call *call)
{
    const pq_clip_params *p  = call->layer->params;
    const float           lo = (float)p->lo, hi = (float)p->hi;
    const float          *y = call->out;
    const size_t          n = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= y[i] > lo && y[i] < hi ? 1.0f : 0.0f;
    }
}

const pq_layer_kind pq_layer_kind_clip = {
    .name        = "clip",
    .summary     = "x limited to lo..hi; ReLU6 is 0..6",
    .source      = "Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
    .params      = params,
    .params_size = sizeof(pq_clip_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_CLIPS | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
