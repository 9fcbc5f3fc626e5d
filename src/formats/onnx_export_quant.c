/* Quantizers as QuantizeLinear and DequantizeLinear. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_export.h"

bool pq_onnx_has_bytes(const pq_quant *q)
{
    return q != NULL && pq_quant_has_codes(q) && q->bits >= 1 && q->bits <= 8 &&
           (q->axis == PQ_QUANT_PER_TENSOR || q->axis == 0);
}

/* Whether QuantizeLinear rounds and limits as a grid of activations does. */
static bool rounds_alike(const pq_quant *q)
{
    return q->n == 1 && pq_quant_clips(q) && q->rounding == PQ_ROUND_RND_CONV;
}

/* Scales and zero points as constants. */
static pq_status put_steps(pq_onnx_export *ex, const pq_quant *q, bool single,
                           char *names[2], pq_err *err)
{
    const pq_shape shape = single ? (pq_shape){0} : PQ_SHAPE(q->n);
    int8_t        *zero  = NULL;
    pq_status      st;

    PQ_NEW(zero, q->n);
    for (size_t i = 0; i < q->n; i++) { /* of unsigned ones the same bits */
        zero[i] = (int8_t)(uint8_t)(uint32_t)q->zero_point[i];
    }
    names[0] = pq_onnx_name(ex, "scale");
    names[1] = pq_onnx_name(ex, "zero");
    PQ_CHECK(names[0] != NULL && names[1] != NULL, PQ_ERR_NOMEM,
             "cannot allocate a name");
    pq_onnx_put_constant(ex, names[0], PQ_ONNX_FLOAT, &shape, q->scale, 4 * q->n);
    pq_onnx_put_constant(ex, names[1], q->is_signed ? PQ_ONNX_INT8 : PQ_ONNX_UINT8,
                         &shape, zero, q->n);
cleanup:
    pq_free(zero);
    return st;
}

/* Scale of item i where index of the outputs' axis is found in it. */
static size_t scale_index(const pq_quant *q, const pq_shape *s, size_t axis, size_t i)
{
    size_t after = 1;

    for (size_t d = axis + 1; d < s->ndim; d++) {
        after *= s->dim[d];
    }
    return q->axis == PQ_QUANT_PER_TENSOR ? 0 : i / after % s->dim[axis];
}

pq_status pq_onnx_kernel_codes(const pq_quant *q, const pq_tensor *t, size_t axis,
                               uint8_t **out, pq_err *err)
{
    uint8_t  *bytes = NULL;
    pq_status st;

    PQ_NEW(bytes, t->count);
    for (size_t i = 0; i < t->count; i++) {
        bytes[i] = (uint8_t)(uint32_t)pq_quant_code(q, scale_index(q, &t->shape, axis, i),
                                                    pq_f32(t)[i]);
    }
    *out = bytes;
cleanup:
    return st;
}

pq_status pq_onnx_put_bias(pq_onnx_export *ex, const pq_weight *kernel,
                           const pq_weight *bias, char **name, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    if (ex->form == PQ_ONNX_AS_QONNX && kernel != NULL && pq_onnx_has_codes(bias)) {
        return pq_onnx_quant_weight(ex, bias->quant, bias->value, 0, name, err);
    }
    PQ_TRY(pq_tensor_clone(bias->value, &t, err));
    for (size_t o = 0; o < t->count; o++) {
        pq_f32(t)[o] = (float)pq_bias_value(ex->graph, ex->at, o);
    }
    PQ_TRY(ex->form == PQ_ONNX_AS_QONNX && kernel != NULL
               ? pq_onnx_quant_bias(ex, kernel, t, name, err)
               : pq_onnx_put_floats(ex, "bias", t, name, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

pq_status pq_onnx_put_kernel(pq_onnx_export *ex, const pq_weight *w, const pq_tensor *t,
                             size_t axis, char **name, pq_err *err)
{
    const pq_quant *q        = w != NULL ? w->quant : NULL;
    char           *steps[2] = {NULL}, *codes = NULL;
    uint8_t        *bytes = NULL;
    pq_status       st;

    if (ex->form == PQ_ONNX_AS_QONNX && pq_onnx_has_codes(w)) {
        return pq_onnx_quant_weight(ex, q, t, axis, name, err);
    }
    if (!pq_onnx_has_bytes(q)) { /* the values lie on their grid all the same */
        return pq_onnx_put_floats(ex, "kernel", t, name, err);
    }
    PQ_TRY(pq_onnx_kernel_codes(q, t, axis, &bytes, err));
    PQ_TRY(put_steps(ex, q, q->axis == PQ_QUANT_PER_TENSOR, steps, err));
    codes = pq_onnx_name(ex, "codes");
    *name = pq_onnx_name(ex, "kernel");
    PQ_CHECK(codes != NULL && *name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_put_constant(ex, codes, q->is_signed ? PQ_ONNX_INT8 : PQ_ONNX_UINT8,
                         &t->shape, bytes, t->count);
    pq_onnx_begin(ex, "DequantizeLinear", 3,
                  (const char *const[]){codes, steps[0], steps[1]}, *name);
    pq_onnx_put_int(ex, "axis", (int64_t)axis);
    pq_onnx_end(ex);
cleanup:
    pq_free(bytes);
    pq_free(codes);
    pq_free(steps[0]);
    pq_free(steps[1]);
    return st;
}

/* Fewer codes than a byte has: values beyond them are limited before. */
static pq_status put_limits(pq_onnx_export *ex, const pq_quant *q, const char **value,
                            char **made, pq_err *err)
{
    char     *limits[2] = {NULL};
    pq_status st;

    PQ_TRY(pq_onnx_put_number(ex, "least", (float)pq_quant_value(q, 0, pq_quant_lo(q)),
                              &limits[0], err));
    PQ_TRY(pq_onnx_put_number(ex, "most", (float)pq_quant_value(q, 0, pq_quant_hi(q)),
                              &limits[1], err));
    *made = pq_onnx_name(ex, "limited");
    PQ_CHECK(*made != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, "Clip", 3, (const char *const[]){*value, limits[0], limits[1]},
                  *made);
    pq_onnx_end(ex);
    *value = *made;
cleanup:
    pq_free(limits[0]);
    pq_free(limits[1]);
    return st;
}

/* QuantizeLinear and DequantizeLinear. */
static pq_status put_codes(pq_onnx_export *ex, const pq_quant *q, const char *value,
                           const char *out, pq_err *err)
{
    char     *steps[2] = {NULL}, *limited = NULL, *codes = NULL;
    pq_status st;

    PQ_CHECK(
        pq_onnx_has_bytes(q) && rounds_alike(q), PQ_ERR_UNSUPPORTED,
        "its activations are %s of %d bits%s; whole numbers of up to 8 bits with one "
        "scale, rounded half to even, are written",
        pq_quant_scheme_names[q->scheme], q->bits,
        rounds_alike(q) ? "" : " that round or overflow otherwise");
    if (q->bits < 8 || q->narrow || q->overflow == PQ_OVERFLOW_SAT_SYM) {
        PQ_TRY(put_limits(ex, q, &value, &limited, err));
    }
    PQ_TRY(put_steps(ex, q, true, steps, err));
    codes = pq_onnx_name(ex, "codes");
    PQ_CHECK(codes != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, "QuantizeLinear", 3,
                  (const char *const[]){value, steps[0], steps[1]}, codes);
    pq_onnx_end(ex);
    pq_onnx_begin(ex, "DequantizeLinear", 3,
                  (const char *const[]){codes, steps[0], steps[1]}, out);
    pq_onnx_end(ex);
cleanup:
    pq_free(steps[0]);
    pq_free(steps[1]);
    pq_free(limited);
    pq_free(codes);
    return st;
}

pq_status pq_onnx_put_grid(pq_onnx_export *ex, pq_err *err)
{
    const pq_quant *q      = ex->graph->nodes[ex->at].quant;
    char          **have   = ex->value[ex->at];
    const int       layout = have[PQ_ONNX_OURS] != NULL ? PQ_ONNX_OURS : PQ_ONNX_IMAGE;
    char           *out    = pq_onnx_name(ex, "");
    pq_status       st;

    PQ_CHECK(out != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(ex->form == PQ_ONNX_AS_QONNX
               ? pq_onnx_quant_value(ex, q, have[layout], out, err)
               : put_codes(ex, q, have[layout], out, err));
    pq_free(have[layout]);
    have[layout] = out;
    out          = NULL;
cleanup:
    pq_free(out);
    return st;
}
