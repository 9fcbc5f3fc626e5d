/*
 * y[p, q] = x[p stride_h, q stride_w]: the parameter-free shortcut of CIFAR ResNets.
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"stride_h", PQ_PARAM_INT, offsetof(pq_subsample_params, stride_h), "2", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "rows between those kept"},
    {"stride_w", PQ_PARAM_INT, offsetof(pq_subsample_params, stride_w), "2", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "columns between those kept"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_subsample_params *p = layer->params;
    pq_status                  st;

    (void)n_in;
    PQ_TRY(pq_image_check(in, err));
    *out = PQ_SHAPE((in->dim[0] - 1) / (size_t)p->stride_h + 1,
                    (in->dim[1] - 1) / (size_t)p->stride_w + 1, in->dim[2]);
cleanup:
    return st;
}

/* Offset in the input of output item i of [batch, out_shape]. */
static size_t source(const pq_layer_call *call, size_t i)
{
    const pq_subsample_params *p  = call->layer->params;
    const size_t              *in = call->in_shape[0].dim, *out = call->out_shape.dim;
    const size_t               position = i / out[2], line = position / out[1];
    const size_t               row    = line % out[0] * (size_t)p->stride_h;
    const size_t               column = position % out[1] * (size_t)p->stride_w;

    return ((line / out[0] * in[0] + row) * in[1] + column) * in[2] + i % out[2];
}

static void forward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; i < n; i++) {
        call->out[i] = call->in[0][source(call, i)];
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        call->grad_in[0][source(call, i)] += call->grad_out[i];
    }
}

const pq_layer_kind pq_layer_kind_subsample = {
    .name        = "subsample",
    .summary     = "every stride-th row and column of an image",
    .source      = "He et al., arXiv:1512.03385 (shortcut option A)",
    .params      = params,
    .params_size = sizeof(pq_subsample_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits =
        PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS,
};
