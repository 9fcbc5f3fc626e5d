/*
 * y = gamma (x - mean) / sqrt(variance + epsilon) + beta for each channel (last axis),
 * with the moving statistics of inference: mean and variance are constants of
 * the layer, so the backward pass has no terms through the statistics of a batch.
 */
#include <math.h>
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"epsilon", PQ_PARAM_REAL, offsetof(pq_batch_norm_params, epsilon), "0.001", 0, 1e30,
     NULL, PQ_UNIT_NONE, "added to the variance"},
    {0},
};

static const char *const names[] = {"mean", "variance", "gamma", "beta"};

static pq_weight_role role(const char *weight)
{
    return strcmp(weight, "gamma") == 0 || strcmp(weight, "beta") == 0
               ? PQ_WEIGHT_NORM
               : PQ_WEIGHT_STATISTIC;
}

static double epsilon_of(const pq_layer *layer)
{
    return ((const pq_batch_norm_params *)layer->params)->epsilon;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const size_t     channels = in->ndim == 0 ? 1 : in->dim[in->ndim - 1];
    const pq_weight *variance;
    size_t           known = 0;
    pq_status        st;

    (void)n_in;
    for (size_t i = 0; i < 4; i++) {
        const bool there = pq_layer_weight(layer, names[i]) != NULL;
        if (there || i < 2) {
            PQ_TRY(pq_weight_check(layer, names[i], PQ_SHAPE(channels), err));
        }
        known += there ? 1 : 0;
    }
    PQ_CHECK(layer->n_weights == known, PQ_ERR_SHAPE,
             "%zu weights are given, but only mean, variance, gamma and beta are known",
             layer->n_weights);
    variance = pq_layer_weight(layer, "variance");
    for (size_t c = 0; c < channels; c++) {
        const double v = (double)pq_f32(variance->value)[c];
        PQ_CHECK(!(v < 0.0) && v + epsilon_of(layer) != 0.0, PQ_ERR_NUMERIC,
                 "variance of channel %zu is %g: its root cannot be divided by", c, v);
    }
    *out = *in;
cleanup:
    return st;
}

static void forward(const pq_layer_call *call)
{
    const size_t  n       = pq_call_items(call);
    const double *mean    = pq_call_weight(call, "mean"),
                 *var     = pq_call_weight(call, "variance");
    const double *gamma   = pq_call_weight(call, "gamma"),
                 *beta    = pq_call_weight(call, "beta");
    const size_t channels = pq_layer_weight(call->layer, "mean")->value->count;

    for (size_t i = 0; i < n; i++) {
        const size_t c = i % channels;
        const double z =
            (call->in[0][i] - mean[c]) / sqrt(var[c] + epsilon_of(call->layer));
        call->out[i] =
            (gamma != NULL ? gamma[c] * z : z) + (beta != NULL ? beta[c] : 0.0);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t  n          = pq_call_items(call);
    const double *mean       = pq_call_weight(call, "mean"),
                 *var        = pq_call_weight(call, "variance");
    const double *gamma      = pq_call_weight(call, "gamma");
    const size_t  channels   = pq_layer_weight(call->layer, "mean")->value->count;
    double       *grad_gamma = pq_call_grad(call, "gamma");
    double       *grad_beta  = pq_call_grad(call, "beta");
    double       *grad_mean  = pq_call_grad(call, "mean");
    double       *grad_var   = pq_call_grad(call, "variance");

    for (size_t i = 0; i < n; i++) {
        const size_t c     = i % channels;
        const double g     = call->grad_out[i];
        const double inv   = 1.0 / sqrt(var[c] + epsilon_of(call->layer));
        const double slope = (gamma != NULL ? gamma[c] : 1.0) * inv; /* dy/dx */
        const double z     = (call->in[0][i] - mean[c]) * inv;
        if (call->grad_in[0] != NULL) {
            call->grad_in[0][i] += g * slope;
        }
        if (grad_gamma != NULL) {
            grad_gamma[c] += g * z;
        }
        if (grad_beta != NULL) {
            grad_beta[c] += g;
        }
        if (grad_mean != NULL) {
            grad_mean[c] -= g * slope;
        }
        if (grad_var != NULL) {
            grad_var[c] -= g * slope * z * inv / 2.0;
        }
    }
}

const pq_layer_kind pq_layer_kind_batch_norm = {
    .name        = "batch_norm",
    .summary     = "normalisation of each channel by fixed (inference) statistics",
    .source      = "Ioffe & Szegedy, arXiv:1502.03167",
    .params      = params,
    .params_size = sizeof(pq_batch_norm_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .role        = role,
    .channels    = &pq_channels_vector,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .form        = PQ_FORM_NORM,
    .traits      = PQ_TRAIT_LINE,
};
