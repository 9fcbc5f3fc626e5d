#include "formats/rebuild.h"

#include "core/memory.h"
#include "layers/tt.h"

/* [outputs, window, inputs] of the cores. */
static pq_status contract(const pq_layer *layer, pq_tt_modes *modes, pq_tensor **out,
                          pq_err *err)
{
    double      **weights = NULL, *kernel = NULL;
    pq_layer_call call = {.layer = layer};
    pq_status     st;

    PQ_TRY(pq_tt_modes_of(layer, modes, err));
    PQ_NEW(weights, layer->n_weights);
    for (size_t k = 0; k < layer->n_weights; k++) {
        const pq_tensor *t = layer->weights[k].value;
        PQ_NEW(weights[k], t->count);
        for (size_t i = 0; i < t->count; i++) {
            weights[k][i] = pq_tensor_get(t, i);
        }
    }
    call.weight = (const double *const *)weights;
    kernel      = pq_tt_rebuild(&call, modes);
    PQ_CHECK(kernel != NULL, PQ_ERR_NOMEM, "cannot allocate a kernel");
    PQ_TRY(pq_tensor_create(
        PQ_DTYPE_F32, PQ_SHAPE(modes->outputs, modes->window, modes->inputs), out, err));
    for (size_t i = 0; i < (*out)->count; i++) {
        pq_f32(*out)[i] = (float)kernel[i];
    }
cleanup:
    for (size_t k = 0; weights != NULL && k < layer->n_weights; k++) {
        pq_free(weights[k]);
    }
    pq_free(weights);
    pq_free(kernel);
    return st;
}

pq_status pq_rebuild_kernel(const pq_layer *layer, const pq_tensor **out,
                            pq_tensor **made, pq_err *err)
{
    const pq_weight *window = pq_layer_weight(layer, "window");
    pq_tensor       *t      = NULL;
    pq_tt_modes      modes;
    pq_status        st = PQ_OK;

    *made = NULL;
    if (layer->kind->form != PQ_FORM_CORES && layer->kind->form != PQ_FORM_WINDOW_CORES) {
        *out = pq_layer_weight(layer, "kernel")->value;
        return PQ_OK;
    }
    PQ_TRY(contract(layer, &modes, &t, err));
    PQ_TRY(pq_tensor_reshape(t,
                             window == NULL
                                 ? PQ_SHAPE(modes.outputs, modes.inputs)
                                 : PQ_SHAPE(modes.outputs, window->value->shape.dim[1],
                                            window->value->shape.dim[2], modes.inputs),
                             err));
    *out = *made = t;
    t            = NULL;
cleanup:
    pq_tensor_free(&t);
    return st;
}
