/* Layers with kernels as rows of weights, and what dense and conv2d write alike. */
#include "codegen/rows.h"

#include <string.h>

#include "core/memory.h"
#include "exec/fold.h"
#include "layers/tt.h"

void pq_rows_free(pq_rows *a)
{
    pq_free(a->weight);
    pq_free(a->bias);
    *a = (pq_rows){0};
}

/* The kernel of a train or ring. */
static pq_status rebuild(const pq_layer *layer, pq_rows *out, pq_err *err)
{
    double    **weights = NULL;
    pq_tt_modes t;
    pq_status   st;

    PQ_TRY(pq_tt_modes_of(layer, &t, err));
    PQ_NEW(weights, layer->n_weights);
    for (size_t k = 0; k < layer->n_weights; k++) {
        const pq_weight *w = &layer->weights[k];
        PQ_NEW(weights[k], w->value->count);
        for (size_t i = 0; i < w->value->count; i++) {
            weights[k][i] = (double)pq_f32(w->value)[i];
        }
    }
    const double *const *arrays = (const double *const *)weights;
    out->outputs                = t.outputs;
    out->length                 = t.window * t.inputs;
    out->weight = pq_tt_rebuild(&(pq_layer_call){.layer = layer, .weight = arrays}, &t);
    PQ_CHECK(out->weight != NULL, PQ_ERR_NOMEM, "cannot allocate a kernel");
cleanup:
    for (size_t k = 0; weights != NULL && k < layer->n_weights; k++) {
        pq_free(weights[k]);
    }
    pq_free(weights);
    return st;
}

/* Kernel of a layer as [outputs, length] in double. */
static pq_status read_kernel(const pq_layer *layer, pq_rows *out, pq_err *err)
{
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    pq_status        st     = PQ_OK;

    if (kernel == NULL) {
        return rebuild(layer, out, err);
    }
    out->outputs = kernel->value->shape.dim[0];
    out->length  = kernel->value->count / out->outputs;
    PQ_NEW(out->weight, kernel->value->count);
    for (size_t i = 0; i < kernel->value->count; i++) {
        out->weight[i] = (double)pq_f32(kernel->value)[i];
    }
cleanup:
    return st;
}

/* Reads kernel and bias and folds the BatchNorm layers that follow. */
pq_status pq_rows_of(const pq_emitter *e, const pq_emit_step *s, pq_rows *out,
                     pq_err *err)
{
    const pq_layer  *layer = e->graph->nodes[s->node].layer;
    const pq_weight *bias  = pq_layer_weight(layer, "bias");
    pq_affine        norm  = {0};
    pq_status        st;

    PQ_TRY(read_kernel(layer, out, err));
    PQ_TRY(pq_affine_create(out->outputs, &norm, err));
    out->after = s->node;
    for (size_t o = 0; bias != NULL && o < out->outputs; o++) {
        norm.shift[o] = (double)pq_f32(bias->value)[o];
    }
    while (out->after != s->last) {
        const pq_layer *next = e->graph->nodes[pq_emit_next(e, out->after)].layer;
        if (pq_emit_is_function(next)) {
            break;
        }
        pq_affine_normalise(&norm, next);
        out->after = pq_emit_next(e, out->after);
    }
    for (size_t i = 0; i < out->outputs * out->length; i++) {
        out->weight[i] *= norm.scale[i / out->length];
    }
    out->bias  = norm.shift;
    norm.shift = NULL;
cleanup:
    pq_affine_free(&norm);
    return st;
}

pq_panels pq_panels_at(size_t outputs, size_t first, size_t most_panels)
{
    const size_t left = outputs - first;
    const size_t n    = left < most_panels * PQ_LANES ? left : most_panels * PQ_LANES;

    return (pq_panels){first, n, (n + PQ_LANES - 1) / PQ_LANES};
}

static double weight_at(const pq_rows *a, size_t output, size_t item)
{
    return output < a->outputs ? a->weight[output * a->length + item] : 0.0;
}

bool pq_block_is_zero(const pq_rows *a, size_t output, size_t item)
{
    bool zero = true;

    for (size_t lane = 0; lane < PQ_LANES; lane++) {
        zero = zero && (float)weight_at(a, output + lane, item) == 0.0f;
    }
    return zero;
}

void pq_block_put(const pq_rows *a, size_t output, size_t item, double *to)
{
    for (size_t lane = 0; lane < PQ_LANES; lane++) {
        to[lane] = weight_at(a, output + lane, item);
    }
}

/* Table of the biases, in whole panels. */
pq_status pq_rows_biases(pq_emitter *e, const pq_rows *a, size_t *number, pq_err *err)
{
    const size_t n      = (a->outputs + PQ_LANES - 1) / PQ_LANES * PQ_LANES;
    double      *padded = NULL;
    pq_status    st;

    PQ_NEW(padded, n);
    memcpy(padded, a->bias, a->outputs * sizeof *padded);
    PQ_TRY(pq_emit_table(e, n, padded, number, err));
cleanup:
    pq_free(padded);
    return st;
}

/* Functions on the sums, then the store: whole vectors, and what is there of the last. */
void pq_panel_store(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                    const char *sum, const char *to, size_t lanes)
{
    pq_text_add(&e->body, "       ");
    if (pq_emit_vectors(e, s, a->after)) {
        pq_emit_functions(e, s, a->after, sum, true);
    }
    if (lanes == PQ_LANES) {
        pq_text_add(&e->body, " PUT(%s, %s)\n", to, sum);
    } else {
        pq_text_add(&e->body, " SOME(%s, %s, %zu)\n", to, sum, lanes);
    }
}
