#include "exec/tt_conv.h"

#include "core/memory.h"
#include "layers/tt.h"

/* The weights in double, each in a block of its own, for pq_tt_rebuild. */
static pq_status widen(const pq_layer *layer, double **weights, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t w = 0; w < layer->n_weights; w++) {
        const pq_tensor *t = layer->weights[w].value;
        PQ_NEW(weights[w], t->count);
        for (size_t i = 0; i < t->count; i++) {
            weights[w][i] = pq_tensor_get(t, i);
        }
    }
cleanup:
    return st;
}

static pq_status rebuild_kernel(const pq_layer *layer, pq_tensor **out, pq_err *err)
{
    const size_t *window = pq_layer_weight(layer, "window")->value->shape.dim;
    double       *weights[PQ_MAX_DIMS + 1] = {NULL}, *kernel = NULL;
    pq_layer_call call = {.layer = layer, .weight = (const double *const *)weights};
    pq_tt_modes   t;
    pq_status     st;

    PQ_TRY(pq_tt_modes_of(layer, &t, err));
    PQ_TRY(widen(layer, weights, err));
    kernel = pq_tt_rebuild(&call, &t);
    PQ_CHECK(kernel != NULL, PQ_ERR_NOMEM, "cannot allocate a kernel");
    PQ_TRY(pq_tensor_create(
        PQ_DTYPE_F32, PQ_SHAPE(t.outputs, window[1], window[2], t.inputs), out, err));
    for (size_t i = 0; i < (*out)->count; i++) {
        pq_f32(*out)[i] = (float)kernel[i];
    }
cleanup:
    for (size_t w = 0; w <= PQ_MAX_DIMS; w++) {
        pq_free(weights[w]);
    }
    pq_free(kernel);
    return st;
}

pq_status pq_tt_conv_rebuild(const pq_layer *layer, pq_layer **out, pq_err *err)
{
    const pq_weight *bias = pq_layer_weight(layer, "bias");
    pq_layer        *made = NULL;
    pq_tensor       *t    = NULL;
    pq_status        st;

    PQ_TRY(pq_layer_create("conv2d", &made, err));
    *(pq_conv2d_params *)made->params = *(const pq_conv2d_params *)layer->params;
    PQ_TRY(rebuild_kernel(layer, &t, err));
    PQ_TRY(pq_layer_add_weight(made, "kernel", t, err));
    if (bias != NULL) {
        PQ_TRY(pq_tensor_clone(bias->value, &t, err));
        PQ_TRY(pq_layer_add_weight(made, "bias", t, err));
    }
    *out = made;
    made = NULL;
cleanup:
    pq_layer_free(&made);
    return st;
}
