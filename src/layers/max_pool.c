/*
 * Largest value under each window; padding is no value. The gradient goes to
 * the first of equal largest values.
 */
#include "layers/channels.h"
#include "layers/pool.h"

static const pq_param params[] = {PQ_POOL_ROWS, {0}};

/* Offset of the largest input of a located window. */
static size_t largest(const pq_pool_at *at, const double *x)
{
    size_t best = pq_pool_offset(at, 0);

    for (size_t k = 1; k < at->rows * at->columns; k++) {
        const size_t here = pq_pool_offset(at, k);
        best              = pq_is_larger(x[here], x[best]) ? here : best;
    }
    return best;
}

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);
    pq_pool_at   at;

    (void)pq_pool_window(call->layer, &call->in_shape[0], &at.w, NULL);
    for (size_t i = 0; i < n; i++) {
        pq_pool_locate(call, i, &at);
        call->out[i] = call->in[0][largest(&at, call->in[0])];
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);
    pq_pool_at   at;

    (void)pq_pool_window(call->layer, &call->in_shape[0], &at.w, NULL);
    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        pq_pool_locate(call, i, &at);
        call->grad_in[0][largest(&at, call->in[0])] += call->grad_out[i];
    }
}

static void forward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_window32(call, false);

    pq_pool_forward32(call, &p);
}

static void backward32(const pq_float_call *call)
{
    const pq_pool_float p = pq_pool_window32(call, false);

    pq_pool_backward32(call, &p);
}

const pq_layer_kind pq_layer_kind_max_pool = {
    .name        = "max_pool",
    .summary     = "largest value under a sliding window",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_pool_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_pool_shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS |
              PQ_TRAIT_READS_IN | PQ_TRAIT_WINDOW,
    .forward32  = forward32,
    .backward32 = backward32,
};
