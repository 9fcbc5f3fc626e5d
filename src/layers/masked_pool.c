/*
 * y[c] = mean, sum or maximum of x[i, c] over the rows i with mask[i] > 0; 0 where there
 * are none. The mask gets no gradient, equal largest values give theirs to the first.
 */
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
        if (mask[i] > 0.0 && (best == SIZE_MAX || x[i * channels] > x[best * channels])) {
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

const pq_layer_kind pq_layer_kind_masked_pool = {
    .name        = "masked_pool",
    .summary     = "mean, sum or maximum over those rows that a mask says are there",
    .source      = "Zaheer et al., arXiv:1703.06114 (deep sets)",
    .params      = params,
    .params_size = sizeof(pq_masked_pool_params),
    .min_inputs  = 2,
    .max_inputs  = 2,
    .channels    = &pq_channels_masked_pool,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
};
