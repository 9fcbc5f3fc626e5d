/*
 * Layers of bytes as MatMulInteger and ConvInteger: sums of codes in int32, then one
 * product to the scale of the output.
 *
 * Activations are uint8 (signed ones moved by 128), which ONNX Runtime convolves.
 */
#include <math.h>

#include "core/memory.h"
#include "formats/onnx_export.h"

/* Grid of what the node at hand reads, or NULL. */
static const pq_quant *input_grid(const pq_onnx_export *ex)
{
    const pq_node *n = &ex->graph->nodes[ex->at];

    return ex->graph->nodes[pq_activation_source(ex->graph, n->inputs[0])].quant;
}

bool pq_onnx_in_integers(const pq_onnx_export *ex, const pq_weight *w)
{
    const pq_quant *x  = input_grid(ex);
    bool            is = ex->form == PQ_ONNX_AS_INTEGERS && w != NULL &&
              pq_onnx_has_bytes(w->quant) && w->quant->is_signed &&
              pq_onnx_has_bytes(x) && x->n == 1;

    for (size_t i = 0; is && i < w->quant->n; i++) {
        is = w->quant->zero_point[i] == 0;
    }
    return is;
}

/* Codes of the input: on its grid already, so that nothing is rounded. */
static pq_status put_input_codes(pq_onnx_export *ex, int layout, char *names[2],
                                 pq_err *err)
{
    const pq_quant *x     = input_grid(ex);
    const uint8_t   zero  = (uint8_t)(x->zero_point[0] + (x->is_signed ? 128 : 0));
    char           *scale = NULL;
    const char     *in;
    pq_status       st;

    PQ_TRY(pq_onnx_input(ex, 0, layout, &in, err));
    PQ_TRY(pq_onnx_put_number(ex, "scale", x->scale[0], &scale, err));
    names[0] = pq_onnx_name(ex, "codes");
    names[1] = pq_onnx_name(ex, "zero");
    PQ_CHECK(names[0] != NULL && names[1] != NULL, PQ_ERR_NOMEM,
             "cannot allocate a name");
    pq_onnx_put_constant(ex, names[1], PQ_ONNX_UINT8, &(pq_shape){0}, &zero, 1);
    pq_onnx_begin(ex, "QuantizeLinear", 3, (const char *const[]){in, scale, names[1]},
                  names[0]);
    pq_onnx_end(ex);
cleanup:
    pq_free(scale);
    return st;
}

pq_status pq_onnx_begin_integers(pq_onnx_export *ex, const char *op, int layout,
                                 const pq_weight *w, const pq_tensor *t, size_t axis,
                                 pq_err *err)
{
    char     *in[2] = {NULL}, *kernel = NULL, *sums = NULL;
    uint8_t  *bytes = NULL;
    pq_status st;

    PQ_TRY(put_input_codes(ex, layout, in, err));
    PQ_TRY(pq_onnx_kernel_codes(w->quant, t, axis, &bytes, err));
    kernel = pq_onnx_name(ex, "kernel");
    sums   = pq_onnx_name(ex, "sums");
    PQ_CHECK(kernel != NULL && sums != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_put_constant(ex, kernel, PQ_ONNX_INT8, &t->shape, bytes, t->count);
    pq_onnx_begin(ex, op, 3, (const char *const[]){in[0], kernel, in[1]}, sums);
    pq_onnx_gives(ex, layout, sums);
    sums = NULL;
cleanup:
    pq_free(in[0]);
    pq_free(in[1]);
    pq_free(kernel);
    pq_free(sums);
    pq_free(bytes);
    return st;
}

/* One operator over what stands for the node so far, and perhaps a constant. */
static pq_status go_on(pq_onnx_export *ex, const char *op, int layout,
                       const char *constant, pq_err *err)
{
    char     *before = ex->value[ex->at][layout];
    char     *after  = pq_onnx_name(ex, "");
    pq_status st     = PQ_OK;

    PQ_CHECK(after != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, op, constant != NULL ? 2 : 1,
                  (const char *const[]){before, constant}, after);
    if (constant == NULL) {
        pq_onnx_put_int(ex, "to", PQ_ONNX_FLOAT);
    }
    pq_onnx_end(ex);
    pq_onnx_gives(ex, layout, after);
    pq_free(before);
cleanup:
    return st;
}

/* Bias of an output in whole numbers of its step: the third rule of the contract in
 * docs/quantization.md. Outputs without weights have a step of their own. */
static pq_status bias_code(const pq_weight *w, const pq_weight *bias, size_t o,
                           double *step, int32_t *code, pq_err *err)
{
    const size_t length = w->value->count / w->value->shape.dim[0];
    const double b      = bias != NULL ? (double)pq_f32(bias->value)[o] : 0.0;
    bool         zeros  = true;
    pq_status    st;

    for (size_t i = 0; i < length && zeros; i++) {
        zeros = pq_f32(w->value)[o * length + i] == 0.0f;
    }
    *step = zeros && b != 0.0 ? fabs(b) / 65536.0 : *step;
    PQ_CHECK(fabs(b / *step) < (double)INT32_MAX, PQ_ERR_UNSUPPORTED,
             "bias %zu is %g, beyond int32 in steps of %g", o, b, *step);
    *code = (int32_t)rint(b / *step);
cleanup:
    return st;
}

pq_status pq_onnx_end_integers(pq_onnx_export *ex, int layout, const pq_weight *w,
                               const pq_weight *bias, pq_err *err)
{
    const size_t   outputs = w->value->shape.dim[0];
    const double   in_step = (double)input_grid(ex)->scale[0];
    const pq_shape shape =
        layout == PQ_ONNX_IMAGE ? PQ_SHAPE(outputs, 1, 1) : PQ_SHAPE(outputs);
    pq_tensor *t        = NULL;
    int32_t   *codes    = NULL;
    char      *names[2] = {NULL};
    pq_status  st;

    pq_onnx_end(ex);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    PQ_NEW(codes, outputs);
    for (size_t o = 0; o < outputs; o++) {
        double step = in_step * (double)w->quant->scale[w->quant->n == 1 ? 0 : o];
        PQ_TRY(bias_code(w, bias, o, &step, &codes[o], err));
        pq_f32(t)[o] = (float)step;
    }
    if (bias != NULL) {
        names[0] = pq_onnx_name(ex, "bias");
        PQ_CHECK(names[0] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        pq_onnx_put_constant(ex, names[0], PQ_ONNX_INT32, &shape, codes, 4 * outputs);
        PQ_TRY(go_on(ex, "Add", layout, names[0], err));
    }
    PQ_TRY(go_on(ex, "Cast", layout, NULL, err));
    PQ_TRY(pq_onnx_put_floats(ex, "steps", t, &names[1], err));
    PQ_TRY(go_on(ex, "Mul", layout, names[1], err));
cleanup:
    pq_tensor_free(&t);
    pq_free(codes);
    pq_free(names[0]);
    pq_free(names[1]);
    return st;
}
