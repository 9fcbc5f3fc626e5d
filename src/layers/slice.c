/*
 * y[..., k] = x[..., from + k]: some features of the last axis, side by side.
 */
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"from", PQ_PARAM_INT, offsetof(pq_slice_params, from), "0", 0, INT32_MAX, NULL,
     PQ_UNIT_NONE, "first feature taken"},
    {"to", PQ_PARAM_INT, offsetof(pq_slice_params, to), NULL, 1, INT32_MAX, NULL,
     PQ_UNIT_NONE, "one past the last; none = to the end"},
    {0},
};

static size_t end_of(const pq_layer *layer, size_t width)
{
    const pq_slice_params *p = layer->params;

    return p->to == PQ_UNSET ? width : (size_t)p->to;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const size_t from  = (size_t)((const pq_slice_params *)layer->params)->from;
    const size_t width = in->ndim == 0 ? 0 : in->dim[in->ndim - 1];
    const size_t to    = end_of(layer, width);
    char         text[128];
    pq_status    st;

    (void)n_in;
    PQ_CHECK(from < to && to <= width, PQ_ERR_SHAPE,
             "features %zu to %zu are not a part of the last axis of %s", from, to,
             pq_shape_text(in, text, sizeof text));
    *out                    = *in;
    out->dim[out->ndim - 1] = to - from;
cleanup:
    return st;
}

static void forward(const pq_layer_call *call)
{
    const size_t width = call->in_shape[0].dim[call->in_shape[0].ndim - 1];
    const size_t part  = call->out_shape.dim[call->out_shape.ndim - 1];
    const size_t from  = (size_t)((const pq_slice_params *)call->layer->params)->from;
    const size_t rows  = pq_call_items(call) / part;

    for (size_t r = 0; r < rows; r++) {
        memcpy(call->out + r * part, call->in[0] + r * width + from,
               part * sizeof *call->out);
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t width = call->in_shape[0].dim[call->in_shape[0].ndim - 1];
    const size_t part  = call->out_shape.dim[call->out_shape.ndim - 1];
    const size_t from  = (size_t)((const pq_slice_params *)call->layer->params)->from;
    const size_t n     = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        call->grad_in[0][i / part * width + from + i % part] += call->grad_out[i];
    }
}

const pq_layer_kind pq_layer_kind_slice = {
    .name        = "slice",
    .summary     = "some features of the last axis",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_slice_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_slice,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID,
};
