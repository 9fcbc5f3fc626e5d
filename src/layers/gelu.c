/*
 * exact: y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2;
 * tanh:  y = x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3).
 */
#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const char *const forms[] = {"exact", "tanh", NULL};

static const pq_param params[] = {
    {"form", PQ_PARAM_CHOICE, offsetof(pq_gelu_params, form), "exact", 0, 0, forms,
     PQ_UNIT_NONE, "exact, or the approximation by tanh"},
    {0},
};

static double tanh_argument(double x)
{
    return M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x);
}

/* y / x */
static double share(int form, double x)
{
    return form == PQ_GELU_EXACT ? erfc(-x * M_SQRT1_2) / 2.0
                                 : (1.0 + tanh(tanh_argument(x))) / 2.0;
}

/* dy/dx = share + x dshare/dx */
static double slope(int form, double x)
{
    double t;

    if (form == PQ_GELU_EXACT) {
        return share(form, x) + x * exp(-x * x / 2.0) * M_2_SQRTPI * M_SQRT1_2 / 2.0;
    }
    t = tanh(tanh_argument(x));
    return share(form, x) + x * (1.0 - t * t) / 2.0 * M_2_SQRTPI * M_SQRT1_2 *
                                (1.0 + 3.0 * 0.044715 * x * x);
}

static void forward(const pq_layer_call *call)
{
    const pq_gelu_params *p = call->layer->params;
    const size_t          n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        const double x = call->in[0][i];
        call->out[i]   = x * share(p->form, x);
    }
}

static void backward(const pq_layer_call *call)
{
    const pq_gelu_params *p = call->layer->params;
    const size_t          n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        const double x = call->in[0][i];
        call->grad_in[0][i] += call->grad_out[i] * slope(p->form, x);
    }
}

static inline float tanh32(float x)
{
    return tanhf(0.797884560802865356f * (x + 0.044715f * x * x * x));
}

static inline float share32(int form, float x)
{
    return form == PQ_GELU_EXACT ? 0.5f * erfcf(-x * (float)M_SQRT1_2)
                                 : 0.5f * (1.0f + tanh32(x));
}

static inline float slope32(int form, float x)
{
    const float root = 0.797884560802865356f; /* sqrt(2 / pi) */
    float       t;

    if (form == PQ_GELU_EXACT) {
        return share32(form, x) + 0.5f * x * expf(-0.5f * x * x) * root;
    }
    t = tanh32(x);
    return 0.5f * (1.0f + t) +
           0.5f * x * (1.0f - t * t) * root * (1.0f + 3.0f * 0.044715f * x * x);
}

static void forward32(const pq_float_call *call)
{
    const int    form = ((const pq_gelu_params *)call->layer->params)->form;
    const float *x    = call->in[0];
    const size_t n    = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = x[i] * share32(form, x[i]);
    }
}

static void backward32(const pq_float_call *call)
{
    const int    form = ((const pq_gelu_params *)call->layer->params)->form;
    const float *x    = call->in[0];
    const size_t n    = pq_float_items(call);

    for (size_t i = 0; i < n; i++) {
        call->grad_out[i] *= slope32(form, x[i]);
    }
}

const pq_layer_kind pq_layer_kind_gelu = {
    .name        = "gelu",
    .summary     = "x times the normal distribution function of x",
    .source      = "Hendrycks & Gimpel, arXiv:1606.08415",
    .params      = params,
    .params_size = sizeof(pq_gelu_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_shape_same,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN,
    .forward32   = forward32,
    .backward32  = backward32,
};
