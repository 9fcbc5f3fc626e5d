/*
 * Inputs one after the other along one axis.
 */
#include <string.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"axis", PQ_PARAM_INT, offsetof(pq_concat_params, axis), "-1", -PQ_MAX_DIMS,
     PQ_MAX_DIMS - 1, NULL, PQ_UNIT_NONE,
     "axis of the sample, from 0; negative from the end"},
    {0},
};

size_t pq_concat_axis(const pq_layer *layer, size_t ndim)
{
    const int64_t given = ((const pq_concat_params *)layer->params)->axis;
    const int64_t axis  = given < 0 ? given + (int64_t)ndim : given;

    return axis >= 0 && axis < (int64_t)ndim ? (size_t)axis : SIZE_MAX;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const size_t axis = pq_concat_axis(layer, in[0].ndim);
    pq_shape     sum  = in[0];
    char         first[128], other[128];
    pq_status    st;

    (void)pq_shape_text(&in[0], first, sizeof first);
    PQ_CHECK(axis != SIZE_MAX, PQ_ERR_SHAPE, "axis %lld is not an axis of %s",
             (long long)((const pq_concat_params *)layer->params)->axis, first);
    for (size_t i = 1; i < n_in; i++) {
        pq_shape same = in[i];
        if (axis < same.ndim) {
            same.dim[axis] = in[0].dim[axis];
        }
        PQ_CHECK(pq_shape_equal(&same, &in[0]), PQ_ERR_SHAPE,
                 "input 0 is %s but input %zu is %s: they differ off axis %zu", first, i,
                 pq_shape_text(&in[i], other, sizeof other), axis);
        PQ_CHECK(!__builtin_add_overflow(sum.dim[axis], in[i].dim[axis], &sum.dim[axis]),
                 PQ_ERR_SHAPE, "the inputs are too long to join");
    }
    *out = sum;
cleanup:
    return st;
}

/* Items that lie together in a shape from the axis on. */
static size_t run_length(const pq_shape *shape, size_t axis)
{
    size_t n = 1;

    for (size_t i = axis; i < shape->ndim; i++) {
        n *= shape->dim[i];
    }
    return n;
}

static void forward(const pq_layer_call *call)
{
    const size_t axis  = pq_concat_axis(call->layer, call->out_shape.ndim);
    const size_t whole = run_length(&call->out_shape, axis);
    const size_t rows  = pq_call_items(call) / whole;
    size_t       at    = 0;

    for (size_t k = 0; k < call->n_in; k++) {
        const size_t part = run_length(&call->in_shape[k], axis);
        for (size_t row = 0; row < rows; row++) {
            memcpy(call->out + row * whole + at, call->in[k] + row * part,
                   part * sizeof *call->out);
        }
        at += part;
    }
}

static void backward(const pq_layer_call *call)
{
    const size_t axis  = pq_concat_axis(call->layer, call->out_shape.ndim);
    const size_t whole = run_length(&call->out_shape, axis);
    const size_t rows  = pq_call_items(call) / whole;
    size_t       at    = 0;

    for (size_t k = 0; k < call->n_in; k++) {
        const size_t part = run_length(&call->in_shape[k], axis);
        for (size_t i = 0; call->grad_in[k] != NULL && i < rows * part; i++) {
            call->grad_in[k][i] += call->grad_out[i / part * whole + at + i % part];
        }
        at += part;
    }
}

const pq_layer_kind pq_layer_kind_concat = {
    .name        = "concat",
    .summary     = "inputs side by side along one axis",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_concat_params),
    .min_inputs  = 1,
    .max_inputs  = 8,
    .channels    = &pq_channels_concat,
    .shape       = shape,
    .forward     = forward,
    .backward    = backward,
    .traits      = PQ_TRAIT_MOVES | PQ_TRAIT_ROUNDED,
};
