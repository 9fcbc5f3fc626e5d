/*
 * y_c = gamma_c z_c + beta_c, z_c = (x_c - m) / sqrt(v + epsilon), with mean m and
 * variance v of the values along the last axis, of each event and position anew:
 * dL/dx_c = (h_c - mean h - z_c mean(h z)) / sqrt(v + epsilon), h_c = g_c gamma_c.
 */
#include "layers/layer_norm.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "layers/common.h"

static const pq_param params[] = {
    {"epsilon", PQ_PARAM_REAL, offsetof(pq_layer_norm_params, epsilon), "0.001", 0, 1e30,
     NULL, PQ_UNIT_NONE, "added to the variance"},
    {0},
};

static const char *const names[] = {"gamma", "beta"};

static pq_weight_role role(const char *weight)
{
    (void)weight;
    return PQ_WEIGHT_NORM;
}

static double epsilon_of(const pq_layer *layer)
{
    return ((const pq_layer_norm_params *)layer->params)->epsilon;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    size_t    known = 0;
    pq_status st;

    PQ_CHECK(in->ndim >= 1, PQ_ERR_SHAPE, "the input has no axis to take a mean of");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (pq_layer_weight(layer, names[i]) != NULL) {
            PQ_TRY(
                pq_weight_check(layer, names[i], PQ_SHAPE(in->dim[in->ndim - 1]), err));
            known++;
        }
    }
    PQ_CHECK(layer->n_weights == known, PQ_ERR_SHAPE,
             "%zu weights are given, but only gamma and beta are known",
             layer->n_weights);
    PQ_TRY(pq_shape_same(layer, n_in, in, out, err));
cleanup:
    return st;
}

/* Mean of a row, and 1 / sqrt(variance + epsilon). */
static double moments(const double *x, size_t n, double epsilon, double *mean)
{
    double sum = 0.0, squares = 0.0;

    for (size_t c = 0; c < n; c++) {
        sum += x[c];
    }
    *mean = sum / (double)n;
    for (size_t c = 0; c < n; c++) {
        squares += (x[c] - *mean) * (x[c] - *mean);
    }
    return 1.0 / sqrt(squares / (double)n + epsilon);
}

static void forward(const pq_layer_call *call)
{
    const size_t  n     = pq_call_items(call);
    const size_t  width = call->out_shape.dim[call->out_shape.ndim - 1];
    const double *gamma = pq_call_weight(call, "gamma"),
                 *beta  = pq_call_weight(call, "beta");

    for (size_t row = 0; row < n; row += width) {
        double       mean;
        const double inv =
            moments(call->in[0] + row, width, epsilon_of(call->layer), &mean);
        for (size_t c = 0; c < width; c++) {
            const double z = (call->in[0][row + c] - mean) * inv;
            call->out[row + c] =
                (gamma != NULL ? gamma[c] * z : z) + (beta != NULL ? beta[c] : 0.0);
        }
    }
}

/* Of one row, whose values in units of their deviation are (x - mean) inv. */
static void backward_row(const pq_layer_call *call, size_t row, double mean, double inv)
{
    const size_t  width = call->out_shape.dim[call->out_shape.ndim - 1];
    const double *x = call->in[0] + row, *g = call->grad_out + row;
    const double *gamma      = pq_call_weight(call, "gamma");
    double       *grad_gamma = pq_call_grad(call, "gamma");
    double       *grad_beta  = pq_call_grad(call, "beta");
    double        sum = 0.0, along = 0.0;

    for (size_t c = 0; c < width; c++) {
        const double z = (x[c] - mean) * inv, h = g[c] * (gamma != NULL ? gamma[c] : 1.0);
        sum += h;
        along += h * z;
        if (grad_gamma != NULL) {
            grad_gamma[c] += g[c] * z;
        }
        if (grad_beta != NULL) {
            grad_beta[c] += g[c];
        }
    }
    for (size_t c = 0; call->grad_in[0] != NULL && c < width; c++) {
        const double z = (x[c] - mean) * inv, h = g[c] * (gamma != NULL ? gamma[c] : 1.0);
        call->grad_in[0][row + c] += inv * (h - (sum + z * along) / (double)width);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n     = pq_call_items(call);
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];

    for (size_t row = 0; row < n; row += width) {
        double       mean;
        const double inv =
            moments(call->in[0] + row, width, epsilon_of(call->layer), &mean);
        backward_row(call, row, mean, inv);
    }
}

static const float *floats(const pq_layer *layer, const char *name)
{
    const pq_weight *w = pq_layer_weight(layer, name);

    return w != NULL ? pq_f32(w->value) : NULL;
}

/* A row whose squares are beyond float32, or below it: in double. */
static void wide_row(const pq_float_call *call, size_t row, double mean)
{
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];
    const float *gamma = floats(call->layer, "gamma"),
                *beta = floats(call->layer, "beta"), *x = call->in[0] + row;
    float *y       = call->out + row;
    double squares = 0.0;

    for (size_t c = 0; c < width; c++) {
        squares += ((double)x[c] - mean) * ((double)x[c] - mean);
    }
    const double inv = 1.0 / sqrt(squares / (double)width + epsilon_of(call->layer));
    for (size_t c = 0; c < width; c++) {
        const float z = (float)(((double)x[c] - mean) * inv);
        y[c] = (gamma != NULL ? gamma[c] * z : z) + (beta != NULL ? beta[c] : 0.0f);
    }
}

static void forward32(const pq_float_call *call)
{
    const size_t n      = pq_float_items(call);
    const size_t width  = call->out_shape.dim[call->out_shape.ndim - 1];
    const float *gamma  = floats(call->layer, "gamma"),
                *beta   = floats(call->layer, "beta");
    const float epsilon = (float)epsilon_of(call->layer);

    for (size_t row = 0; row < n; row += width) {
        const float *x = call->in[0] + row;
        float       *y = call->out + row, squares = 0.0f;
        double       sum = 0.0; /* in float32 many alike values would miss their mean */
        for (size_t c = 0; c < width; c++) {
            sum += (double)x[c];
        }
        const float mean = (float)(sum / (double)width);
        for (size_t c = 0; c < width; c++) {
            squares += (x[c] - mean) * (x[c] - mean);
        }
        const float variance = squares / (float)width + epsilon;
        if (squares > PQ_LAYER_NORM_MOST || variance < PQ_LAYER_NORM_LEAST) {
            wide_row(call, row, (double)mean);
            continue;
        }
        const float inv = 1.0f / sqrtf(variance);
        for (size_t c = 0; c < width; c++) {
            const float z = (x[c] - mean) * inv;
            y[c] = (gamma != NULL ? gamma[c] * z : z) + (beta != NULL ? beta[c] : 0.0f);
        }
    }
}

/* Training, which moves the weights, runs the code in double. */
const pq_layer_kind pq_layer_kind_layer_norm = {
    .name        = "layer_norm",
    .summary     = "normalisation along the last axis by its own mean and variance",
    .source      = "Ba et al., arXiv:1607.06450",
    .params      = params,
    .params_size = sizeof(pq_layer_norm_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .role        = role,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ROUNDED,
    .forward32   = forward32,
};
