/*
 * A constant around an image, in rows, columns and channels. Channels are what the
 * parameter-free shortcut of CIFAR ResNets needs (option A).
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

#define ROW(field, what)                                                                 \
    {                                                                                    \
#field, PQ_PARAM_INT, offsetof(pq_pad_params, field), "0", 0, PQ_WINDOW_MAX,     \
            NULL, PQ_UNIT_NONE, what                                                     \
    }

static const pq_param params[] = {
    ROW(top, "rows added above"),
    ROW(bottom, "rows added below"),
    ROW(left, "columns added before"),
    ROW(right, "columns added after"),
    ROW(before, "channels added before"),
    ROW(after, "channels added after"),
    {"value", PQ_PARAM_REAL, offsetof(pq_pad_params, value), "0", 0, 0, NULL,
     PQ_UNIT_NONE, "what is put there"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_pad_params *p = layer->params;
    pq_status            st;

    (void)n_in;
    PQ_TRY(pq_image_check(in, err));
    *out = PQ_SHAPE(in->dim[0] + (size_t)(p->top + p->bottom),
                    in->dim[1] + (size_t)(p->left + p->right),
                    in->dim[2] + (size_t)(p->before + p->after));
cleanup:
    return st;
}

/* Offset in the output of input item i of [batch, in_shape]. */
static size_t target(const pq_layer_call *call, size_t i)
{
    const pq_pad_params *p  = call->layer->params;
    const size_t        *in = call->in_shape[0].dim, *out = call->out_shape.dim;
    const size_t         position = i / in[2], line = position / in[1];
    const size_t         row    = line % in[0] + (size_t)p->top;
    const size_t         column = position % in[1] + (size_t)p->left;
    const size_t         sample = line / in[0];

    return ((sample * out[0] + row) * out[1] + column) * out[2] + i % in[2] +
           (size_t)p->before;
}

static void forward(const pq_layer_call *call)
{
    const size_t n_in = call->batch * pq_items(&call->in_shape[0]);
    const size_t n    = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = ((const pq_pad_params *)call->layer->params)->value;
    }
    for (size_t i = 0; i < n_in; i++) {
        call->out[target(call, i)] = call->in[0][i];
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n_in = call->batch * pq_items(&call->in_shape[0]);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n_in; i++) {
        call->grad_in[0][i] += call->grad_out[target(call, i)];
    }
}

static unsigned lacks(const pq_layer *layer)
{
    return ((const pq_pad_params *)layer->params)->value != 0.0 ? PQ_TRAIT_KEEPS_GRID
                                                                : 0U;
}

const pq_layer_kind pq_layer_kind_pad = {
    .name        = "pad",
    .summary     = "constant border around an image, and extra channels",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_pad_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_pad,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID,
    .lacks       = lacks,
};
