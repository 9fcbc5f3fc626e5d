/*
 * y_i = exp(x_i - m) / sum_j exp(x_j - m), m = max x, along the last axis;
 * dL/dx_i = y_i (g_i - sum_j g_j y_j).
 */
#include <math.h>

#include "layers/common.h"

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    pq_status st;

    PQ_CHECK(in->ndim >= 1, PQ_ERR_SHAPE, "the input has no axis to sum over");
    PQ_TRY(pq_shape_same(layer, n_in, in, out, err));
cleanup:
    return st;
}

static void forward(const pq_layer_call *call)
{
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];
    const size_t rows  = pq_call_items(call) / width;

    for (size_t row = 0; row < rows; row++) {
        const double *x = call->in[0] + row * width;
        double       *y = call->out + row * width, most = x[0], sum = 0.0;
        for (size_t i = 1; i < width; i++) {
            most = x[i] > most ? x[i] : most;
        }
        for (size_t i = 0; i < width; i++) {
            y[i] = exp(x[i] - most);
            sum += y[i];
        }
        for (size_t i = 0; i < width; i++) {
            y[i] /= sum;
        }
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];
    const size_t rows  = pq_call_items(call) / width;

    for (size_t row = 0; call->grad_in[0] != NULL && row < rows; row++) {
        const double *y = call->out + row * width, *g = call->grad_out + row * width;
        double        mean = 0.0;
        for (size_t i = 0; i < width; i++) {
            mean += g[i] * y[i];
        }
        for (size_t i = 0; i < width; i++) {
            call->grad_in[0][row * width + i] += y[i] * (g[i] - mean);
        }
    }
}

/* Exponentials of the whole batch in one go: rows are often shorter than a vector. */
static void forward32(const pq_float_call *call)
{
    const size_t n     = pq_float_items(call);
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];
    float       *y     = call->out;

    for (size_t row = 0; row < n; row += width) {
        const float *x    = call->in[0] + row;
        float        most = x[0];
        for (size_t i = 1; i < width; i++) {
            most = x[i] > most ? x[i] : most;
        }
        for (size_t i = 0; i < width; i++) {
            y[row + i] = x[i] - most;
        }
    }
    call->kernels->exponentials(n, y);
    for (size_t row = 0; row < n; row += width) {
        float sum = 0.0f;
        for (size_t i = 0; i < width; i++) {
            sum += y[row + i];
        }
        sum = 1.0f / sum;
        for (size_t i = 0; i < width; i++) {
            y[row + i] *= sum;
        }
    }
}

static void backward32(const pq_float_call *call)
{
    const size_t n     = pq_float_items(call);
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];

    for (size_t row = 0; call->grad_in[0] != NULL && row < n; row += width) {
        const float *y = call->out + row, *g = call->grad_out + row;
        float        mean = 0.0f;
        for (size_t i = 0; i < width; i++) {
            mean += g[i] * y[i];
        }
        for (size_t i = 0; i < width; i++) {
            call->grad_in[0][row + i] += y[i] * (g[i] - mean);
        }
    }
}

const pq_layer_kind pq_layer_kind_softmax = {
    .name       = "softmax",
    .summary    = "exponentials that sum to 1 along the last axis",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .shape      = shape,
    .forward    = forward,
    .backward   = backward,
    .traits     = PQ_TRAIT_PROBABILITY | PQ_TRAIT_READS_OUT,
    .forward32  = forward32,
    .backward32 = backward32,
};
