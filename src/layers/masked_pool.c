/*
 * y[c] = mean, sum or maximum of x[i, c] over the rows i with mask[i] > 0; 0 where there
 * are none. The mask gets no gradient, equal largest values give theirs to the first.
 */
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const char *const modes[] = {"mean", "sum", "max", NULL};

static const pq_param params[] = {
    {"mode", PQ_PARAM_CHOICE, offsetof(pq_masked_pool_params, mode), "sum", 0, 0, modes,
     PQ_UNIT_NONE, "what is taken over the rows"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    char      x[128], mask[128];
    pq_status st;

    (void)layer;
    (void)n_in;
    PQ_CHECK(in[0].ndim == 2 && in[0].dim[0] >= 1 && in[0].dim[1] >= 1, PQ_ERR_SHAPE,
             "input 0 is %s, not [rows, channels]", pq_shape_text(&in[0], x, sizeof x));
    PQ_CHECK(pq_shape_equal(&in[1], &PQ_SHAPE(in[0].dim[0], 1)), PQ_ERR_SHAPE,
             "input 0 is %s but the mask is %s, not [%zu, 1]",
             pq_shape_text(&in[0], x, sizeof x), pq_shape_text(&in[1], mask, sizeof mask),
             in[0].dim[0]);
    *out = PQ_SHAPE(in[0].dim[1]);
cleanup:
    return st;
}

static int mode_of(const pq_layer_call *call)
{
    return ((const pq_masked_pool_params *)call->layer->params)->mode;
}

/* What one row of the sample counts, by the number of rows there are. */
static double share(const pq_layer_call *call, const double *mask)
{
    size_t n = 0;

    for (size_t i = 0; i < call->in_shape[0].dim[0]; i++) {
        n += mask[i] > 0.0 ? 1 : 0;
    }
    return mode_of(call) == PQ_MASKED_MEAN && n > 0 ? 1.0 / (double)n : 1.0;
}

/* Row of the largest value of a channel, or SIZE_MAX. */
static size_t largest(const pq_layer_call *call, const double *x, const double *mask)
{
    const size_t channels = call->in_shape[0].dim[1];
    size_t       best     = SIZE_MAX;

    for (size_t i = 0; i < call->in_shape[0].dim[0]; i++) {
        if (mask[i] > 0.0 &&
            (best == SIZE_MAX || pq_is_larger(x[i * channels], x[best * channels]))) {
            best = i;
        }
    }
    return best;
}

static void forward(const pq_layer_call *call)
{
    const size_t rows = call->in_shape[0].dim[0], channels = call->in_shape[0].dim[1];

    for (size_t o = 0; o < call->batch * channels; o++) {
        const size_t  sample = o / channels;
        const double *x      = call->in[0] + sample * rows * channels + o % channels;
        const double *mask   = call->in[1] + sample * rows;
        double        sum    = 0.0;
        if (mode_of(call) == PQ_MASKED_MAX) {
            const size_t best = largest(call, x, mask);
            call->out[o]      = best == SIZE_MAX ? 0.0 : x[best * channels];
            continue;
        }
        for (size_t i = 0; i < rows; i++) {
            sum += mask[i] > 0.0 ? x[i * channels] : 0.0;
        }
        call->out[o] = sum * share(call, mask);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t rows = call->in_shape[0].dim[0], channels = call->in_shape[0].dim[1];

    for (size_t o = 0; call->grad_in[0] != NULL && o < call->batch * channels; o++) {
        const size_t  sample = o / channels, at = sample * rows * channels + o % channels;
        const double *mask = call->in[1] + sample * rows;
        double       *grad = call->grad_in[0] + at;
        if (mode_of(call) == PQ_MASKED_MAX) {
            const size_t best = largest(call, call->in[0] + at, mask);
            if (best != SIZE_MAX) {
                grad[best * channels] += call->grad_out[o];
            }
            continue;
        }
        const double part = call->grad_out[o] * share(call, mask);
        for (size_t i = 0; i < rows; i++) {
            grad[i * channels] += mask[i] > 0.0 ? part : 0.0;
        }
    }
}

/* One more row of a sample; the first is copied. */
static void take32(int mode, size_t channels, const float *x, bool first, float *y)
{
    if (first) {
        memcpy(y, x, channels * sizeof *y);
    } else if (mode == PQ_MASKED_MAX) {
        for (size_t c = 0; c < channels; c++) {
            y[c] = ((x[c] > y[c]) | (x[c] != x[c])) ? x[c] : y[c]; /* a NaN stays */
        }
    } else {
        for (size_t c = 0; c < channels; c++) {
            y[c] += x[c];
        }
    }
}

static void forward32(const pq_float_call *call)
{
    const int    mode = ((const pq_masked_pool_params *)call->layer->params)->mode;
    const size_t rows = call->in_shape[0].dim[0], channels = call->in_shape[0].dim[1];
    const float *x = call->in[0], *mask = call->in[1];
    float       *y = call->out;

    for (size_t s = 0; s < call->batch; s++, y += channels, mask += rows) {
        size_t taken = 0;
        memset(y, 0, channels * sizeof *y);
        for (size_t i = 0; i < rows; i++, x += channels) {
            if (mask[i] > 0.0f) {
                take32(mode, channels, x, taken == 0, y);
                taken++;
            }
        }
        for (size_t c = 0; mode == PQ_MASKED_MEAN && taken > 1 && c < channels; c++) {
            y[c] /= (float)taken;
        }
    }
}

/* Row of the largest value of a channel, or SIZE_MAX. */
static size_t largest32(const pq_shape *in, const float *x, const float *mask)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < in->dim[0]; i++) {
        if (mask[i] > 0.0f &&
            (best == SIZE_MAX || x[i * in->dim[1]] > x[best * in->dim[1]])) {
            best = i;
        }
    }
    return best;
}

static void spread32(const pq_float_call *call, size_t sample)
{
    const int    mode = ((const pq_masked_pool_params *)call->layer->params)->mode;
    const size_t rows = call->in_shape[0].dim[0], channels = call->in_shape[0].dim[1];
    const size_t at = sample * rows * channels;
    const float *x = call->in[0] + at, *mask = call->in[1] + sample * rows;
    const float *dy = call->grad_out + sample * channels;
    float       *dx = call->grad_in[0] + at;
    size_t       n  = 0;

    for (size_t c = 0; mode == PQ_MASKED_MAX && c < channels; c++) {
        const size_t best = largest32(&call->in_shape[0], x + c, mask);
        if (best != SIZE_MAX) {
            dx[best * channels + c] += dy[c];
        }
    }
    for (size_t i = 0; i < rows; i++) {
        n += mask[i] > 0.0f ? 1 : 0;
    }
    const float part = mode == PQ_MASKED_MEAN && n > 0 ? 1.0f / (float)n : 1.0f;
    for (size_t i = 0; mode != PQ_MASKED_MAX && i < rows; i++) {
        for (size_t c = 0; mask[i] > 0.0f && c < channels; c++) {
            dx[i * channels + c] += dy[c] * part;
        }
    }
}

static void backward32(const pq_float_call *call)
{
    for (size_t s = 0; call->grad_in[0] != NULL && s < call->batch; s++) {
        spread32(call, s);
    }
}

static void tie(const pq_layer *layer, size_t n_in, const pq_shape *in,
                const pq_shape *out, const pq_channel_sink *to)
{
    (void)n_in;
    pq_channels_same.tie(layer, 1, in, out, to);
    to->lock(to->context, 1, "takes it as a mask");
}

static const pq_channel_rule channels = {.tie = tie};

const pq_layer_kind pq_layer_kind_masked_pool = {
    .name        = "masked_pool",
    .summary     = "mean, sum or maximum over those rows that a mask says are there",
    .source      = "Zaheer et al., arXiv:1703.06114 (deep sets)",
    .params      = params,
    .params_size = sizeof(pq_masked_pool_params),
    .min_inputs  = 2,
    .max_inputs  = 2,
    .channels    = &channels,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN,
    .forward32   = forward32,
    .backward32  = backward32,
};
