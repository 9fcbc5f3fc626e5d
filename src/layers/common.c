#include "layers/common.h"

#include <string.h>

pq_status pq_shape_same(const pq_layer *layer, size_t n_in, const pq_shape *in,
                        pq_shape *out, pq_err *err)
{
    char      first[128], other[128];
    pq_status st = PQ_OK;

    (void)layer;
    for (size_t i = 1; i < n_in; i++) {
        PQ_CHECK(pq_shape_equal(&in[0], &in[i]), PQ_ERR_SHAPE,
                 "input 0 is %s but input %zu is %s",
                 pq_shape_text(&in[0], first, sizeof first), i,
                 pq_shape_text(&in[i], other, sizeof other));
    }
    *out = in[0];
cleanup:
    return st;
}

pq_status pq_shape_channels(const pq_shape *in, pq_shape *out, pq_err *err)
{
    char      text[128];
    pq_status st;

    PQ_CHECK(in->ndim >= 2, PQ_ERR_SHAPE, "the input is %s, not [positions, channels]",
             pq_shape_text(in, text, sizeof text));
    *out = PQ_SHAPE(in->dim[in->ndim - 1]);
cleanup:
    return st;
}

pq_status pq_image_check(const pq_shape *in, pq_err *err)
{
    char      text[128];
    pq_status st;

    PQ_CHECK(in->ndim == 3 && in->dim[0] >= 1 && in->dim[1] >= 1 && in->dim[2] >= 1,
             PQ_ERR_SHAPE, "the input is %s, not an image [height, width, channels]",
             pq_shape_text(in, text, sizeof text));
cleanup:
    return st;
}

void pq_copy_forward(const pq_layer_call *call)
{
    memcpy(call->out, call->in[0], pq_call_items(call) * sizeof *call->out);
}

void pq_copy_backward(const pq_layer_call *call)
{
    const size_t n = pq_call_items(call);

    for (size_t i = 0; call->grad_in[0] != NULL && i < n; i++) {
        call->grad_in[0][i] += call->grad_out[i];
    }
}

pq_status pq_weight_check(const pq_layer *layer, const char *name, pq_shape due,
                          pq_err *err)
{
    const pq_weight *w = pq_layer_weight(layer, name);
    char             got[128], want[128];
    pq_status        st;

    PQ_CHECK(w != NULL, PQ_ERR_SHAPE, "the weight '%s' is missing", name);
    PQ_CHECK(pq_shape_equal(&w->value->shape, &due), PQ_ERR_SHAPE, "%s is %s, not %s",
             name, pq_shape_text(&w->value->shape, got, sizeof got),
             pq_shape_text(&due, want, sizeof want));
cleanup:
    return st;
}

pq_weight_role pq_role_affine(const char *weight)
{
    return strcmp(weight, "bias") == 0 ? PQ_WEIGHT_BIAS : PQ_WEIGHT_KERNEL;
}

pq_status pq_affine_check(const pq_layer *layer, size_t ndim, pq_err *err)
{
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const bool       biased = pq_layer_weight(layer, "bias") != NULL;
    char             text[128];
    pq_status        st;

    PQ_CHECK(kernel != NULL, PQ_ERR_SHAPE, "the weight 'kernel' is missing");
    PQ_CHECK(layer->n_weights == (biased ? 2 : 1), PQ_ERR_SHAPE,
             "%zu weights are given, but only 'kernel' and 'bias' are known",
             layer->n_weights);
    PQ_CHECK(kernel->value->shape.ndim == ndim && kernel->value->count > 0, PQ_ERR_SHAPE,
             "kernel is %s, not %zu axes of at least 1",
             pq_shape_text(&kernel->value->shape, text, sizeof text), ndim);
    if (biased) {
        PQ_TRY(
            pq_weight_check(layer, "bias", PQ_SHAPE(kernel->value->shape.dim[0]), err));
    }
cleanup:
    return st;
}

const double *pq_call_weight(const pq_layer_call *call, const char *name)
{
    const size_t i = pq_layer_weight_index(call->layer, name);

    return i == SIZE_MAX ? NULL : call->weight[i];
}

double *pq_call_grad(const pq_layer_call *call, const char *name)
{
    const size_t i = pq_layer_weight_index(call->layer, name);

    return i == SIZE_MAX ? NULL : call->grad_weight[i];
}

size_t pq_items(const pq_shape *shape)
{
    size_t n = 1;

    for (size_t i = 0; i < shape->ndim; i++) {
        n *= shape->dim[i];
    }
    return n;
}

size_t pq_float_items(const pq_float_call *call)
{
    return call->batch * pq_items(&call->out_shape);
}

size_t pq_call_items(const pq_layer_call *call)
{
    return call->batch * pq_items(&call->out_shape);
}
