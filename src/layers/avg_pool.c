/*
 * Mean under each window: over the inputs there (count_padding false, as
 * Keras), or over the whole kernel with zeros in the padding (as PyTorch).
 */
#include "layers/channels.h"
#include "layers/pool.h"

static const pq_param params[] = {
    PQ_POOL_ROWS,
    {"count_padding", PQ_PARAM_BOOL, offsetof(pq_pool_params, count_padding), "false", 0,
     0, NULL, PQ_UNIT_NONE, "whether padded zeros count in the mean"},
    {0},
};

/* What the sum is divided by. */
static double divisor(const pq_layer_call *call, const pq_pool_at *at)
{
    const pq_pool_params *p = call->layer->params;

    return (double)(p->count_padding ? at->w.kernel_h * at->w.kernel_w
                                     : at->rows * at->columns);
}

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);
    pq_pool_at   at;

    (void)pq_pool_window(call->layer, &call->in_shape[0], &at.w, NULL);
    for (size_t i = 0; i < n; i++) {
        double sum = 0.0;
        pq_pool_locate(call, i, &at);
        for (size_t k = 0; k < at.rows * at.columns; k++) {
            sum += call->in[0][pq_pool_offset(&at, k)];
        }
        call->out[i] = sum / divisor(call, &at);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);
    pq_pool_at   at;

    (void)pq_pool_window(call->layer, &call->in_shape[0], &at.w, NULL);
    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        pq_pool_locate(call, i, &at);
        for (size_t k = 0; k < at.rows * at.columns; k++) {
            call->grad_in[0][pq_pool_offset(&at, k)] +=
                call->grad_out[i] / divisor(call, &at);
        }
    }
}

/* Padded zeros that count are not shifted. */
static unsigned lacks(const pq_layer *layer)
{
    return ((const pq_pool_params *)layer->params)->count_padding ? PQ_TRAIT_SHIFTS : 0U;
}

static void forward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_window32(call, true);

    pq_pool_forward32(call, &p);
}

static void backward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_window32(call, true);

    pq_pool_backward32(call, &p);
}

const pq_layer_kind pq_layer_kind_avg_pool = {
    .name        = "avg_pool",
    .summary     = "mean under a sliding window",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_pool_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_pool_shape,
    .forward     = forward,
    .backward    = backward,
    .traits = PQ_TRAIT_ROUNDED | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS | PQ_TRAIT_LINE |
              PQ_TRAIT_WINDOW,
    .lacks      = lacks,
    .forward32  = forward32,
    .backward32 = backward32,
};
