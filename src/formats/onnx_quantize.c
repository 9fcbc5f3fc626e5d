/*
 * Grids of whole numbers: QuantizeLinear and DequantizeLinear.
 *
 * Source: ONNX Operators.md.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

/* Bits of the grid of a bias of int32 that needs one. */
enum { WIDE_BITS = 16 };

/* Scales of a product that were rounded to float32 one by one, relative. */
static const double near_unit = 1e-6;

static pq_status codes_of(int type, pq_onnx_codes *out, pq_err *err)
{
    pq_status st;

    PQ_CHECK(type == PQ_ONNX_INT8 || type == PQ_ONNX_UINT8 || type == PQ_ONNX_INT16 ||
                 type == PQ_ONNX_UINT16 || type == PQ_ONNX_INT4 || type == PQ_ONNX_UINT4,
             PQ_ERR_UNSUPPORTED, "codes of %s are not read", pq_onnx_type_name(type));
    out->narrow = false;
    out->is_signed =
        type == PQ_ONNX_INT8 || type == PQ_ONNX_INT16 || type == PQ_ONNX_INT4;
    out->bits = type == PQ_ONNX_INT4 || type == PQ_ONNX_UINT4   ? 4
                : type == PQ_ONNX_INT8 || type == PQ_ONNX_UINT8 ? 8
                                                                : 16;
cleanup:
    return st;
}

pq_status pq_onnx_make_grid(const pq_onnx_import *im, pq_onnx_codes c, int axis,
                            pq_quant **out, pq_err *err)
{
    pq_tensor *scale = NULL, *zero = NULL;
    pq_quant  *q = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_F32, NULL, &scale, err));
    if (pq_onnx_given(im, 2)) {
        PQ_TRY(pq_onnx_constant(im, 2, PQ_DTYPE_F64, NULL, &zero, err));
        PQ_CHECK(zero->count == scale->count || zero->count == 1, PQ_ERR_FORMAT,
                 "it has %zu scales, but %zu zero points", scale->count, zero->count);
    }
    PQ_CHECK(scale->count >= 1, PQ_ERR_FORMAT, "it has no scale");
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, c.bits, c.is_signed, c.narrow,
                           scale->count == 1 ? PQ_QUANT_PER_TENSOR : axis, scale->count,
                           &q, err));
    for (size_t i = 0; i < scale->count; i++) {
        const double z = zero == NULL ? 0.0 : pq_f64(zero)[zero->count == 1 ? 0 : i];
        PQ_CHECK(z == rint(z) && fabs(z) < 1e9, PQ_ERR_UNSUPPORTED,
                 "zero point %g is no whole number", z);
        q->scale[i]      = pq_f32(scale)[i];
        q->zero_point[i] = (int32_t)z;
    }
    *out = q;
    q    = NULL;
cleanup:
    pq_tensor_free(&scale);
    pq_tensor_free(&zero);
    pq_quant_free(&q);
    return st;
}

pq_status pq_onnx_make_one(const pq_onnx_import *im, pq_onnx_codes c, pq_quant **out,
                           pq_err *err)
{
    pq_quant *q = NULL;
    pq_status st;

    /* Several scales take any axis: they are refused here. */
    PQ_TRY(pq_onnx_make_grid(im, c, 0, &q, err));
    PQ_CHECK(q->n == 1, PQ_ERR_UNSUPPORTED,
             "activations with %zu scales; one for all is read", q->n);
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Type of the codes: of the zero point, else `output_dtype`, else uint8. */
static pq_status type_of_codes(const pq_onnx_import *im, pq_onnx_codes *out, pq_err *err)
{
    int64_t   type;
    pq_status st;

    PQ_TRY(pq_onnx_int(im->node, "output_dtype", 0, &type, err));
    type = type == 0 ? PQ_ONNX_UINT8 : type;
    if (pq_onnx_given(im, 2)) {
        const pq_onnx_value *zero = &im->values[im->node->in[2]];
        PQ_CHECK(zero->raw != NULL, PQ_ERR_UNSUPPORTED,
                 "its zero point is no constant of the file");
        type = zero->raw->type;
    }
    PQ_TRY(codes_of((int)type, out, err));
cleanup:
    return st;
}

static pq_status refuse_blocks(const pq_onnx_import *im, pq_err *err)
{
    int64_t   block;
    pq_status st;

    PQ_TRY(pq_onnx_int(im->node, "block_size", 0, &block, err));
    PQ_CHECK(block == 0, PQ_ERR_UNSUPPORTED, "scales of blocks are not read");
cleanup:
    return st;
}

/* A constant's axis that its scales belong to; one scale belongs to none. */
static pq_status scale_axis(const pq_onnx_import *im, const pq_shape *of, int *out,
                            pq_err *err)
{
    const int64_t   ndim = (int64_t)of->ndim;
    const pq_shape *scales;
    size_t          n;
    int64_t         axis;
    pq_status       st;

    *out = PQ_QUANT_PER_TENSOR;
    PQ_TRY(pq_onnx_int(im->node, "axis", 1, &axis, err));
    PQ_TRY(refuse_blocks(im, err));
    PQ_TRY(pq_onnx_constant_shape(im, 1, &scales, err));
    PQ_CHECK(pq_shape_count(scales, &n), PQ_ERR_FORMAT,
             "its scales are too many to count");
    if (n == 1) {
        return PQ_OK;
    }
    PQ_CHECK(ndim > 0, PQ_ERR_FORMAT, "it has %zu scales for one number", n);
    PQ_CHECK(axis >= -ndim && axis < ndim, PQ_ERR_FORMAT,
             "axis = %lld of its scales is not in %lld..%lld", (long long)axis,
             (long long)-ndim, (long long)ndim - 1);
    *out = (int)(axis < 0 ? axis + ndim : axis);
    PQ_CHECK(n == of->dim[*out], PQ_ERR_FORMAT,
             "it has %zu scales, but axis %d of its codes is %zu long", n, *out,
             of->dim[*out]);
cleanup:
    return st;
}

static pq_status quantize(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_quant            *q = NULL;
    pq_onnx_codes        c;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(refuse_blocks(im, err));
    PQ_TRY(type_of_codes(im, &c, err));
    PQ_TRY(pq_onnx_make_one(im, c, &q, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, v->node, err));
    im->values[im->node->out[0]].quant = q;
    q                                  = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Whether all that reads a node reads these codes; one Quantize reads the values. */
static bool only_codes(const pq_onnx_import *im, const pq_onnx_value *v)
{
    size_t readers = 0;

    for (size_t i = 0; i < im->model->names.n; i++) {
        const pq_onnx_value *o = &im->values[i];
        readers += o->active && o->node == v->node && o->quant == NULL ? o->readers : 0;
    }
    return readers == 1 &&
           pq_graph_readers(im->graph, v->node) <= (im->graph->output == v->node ? 1 : 0);
}

pq_status pq_onnx_put_on_grid(pq_onnx_import *im, const pq_onnx_value *v, pq_quant **q,
                              size_t *node, pq_err *err)
{
    pq_status st = PQ_OK;

    *node = v->node;
    if (!only_codes(im, v) || im->graph->nodes[v->node].quant != NULL) {
        PQ_TRY(pq_onnx_add_plain(im, "", "scale", NULL, 0.0, v->node, node, err));
    }
    PQ_TRY(pq_quant_check(*q, &im->graph->nodes[*node].shape, err));
    im->graph->nodes[*node].quant = *q;
    *q                            = NULL;
cleanup:
    return st;
}

static bool same_grid(const pq_quant *a, const pq_quant *b)
{
    return a->n == 1 && b->n == 1 && a->scale[0] == b->scale[0] &&
           a->zero_point[0] == b->zero_point[0] && a->bits == b->bits &&
           a->is_signed == b->is_signed;
}

static pq_status dequantize_active(pq_onnx_import *im, const pq_onnx_value *v,
                                   pq_err *err)
{
    pq_onnx_value like = *v;
    pq_quant     *q    = NULL;
    pq_onnx_codes c    = {v->quant->bits, v->quant->is_signed, false};
    size_t        node;
    pq_status     st;

    PQ_TRY(pq_onnx_make_one(im, c, &q, err));
    PQ_CHECK(same_grid(q, v->quant), PQ_ERR_UNSUPPORTED,
             "its scale or zero point are not those of the QuantizeLinear before it");
    PQ_TRY(pq_onnx_put_on_grid(im, v, &q, &node, err));
    like.quant = NULL;
    PQ_TRY(pq_onnx_give_like(im, 0, &like, node, err));
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Codes times scales, in the type that computes with them. */
static pq_status multiply_out(const pq_quant *q, pq_tensor *t, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_quant_check(q, &t->shape, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)pq_quant_value(q, pq_quant_index(q, &t->shape, i),
                                             (int32_t)pq_f32(t)[i]);
    }
cleanup:
    return st;
}

/* Biases of int32 are floats for us, in units that engines find again. */
static pq_status dequantize_bias(pq_onnx_import *im, pq_err *err)
{
    pq_tensor    *code = NULL, *scale = NULL;
    pq_onnx_value out  = {0};
    double        zero = 0.0;
    pq_status     st;

    PQ_TRY(pq_onnx_constant(im, 0, PQ_DTYPE_F64, NULL, &code, err));
    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_F64, NULL, &scale, err));
    PQ_CHECK(scale->count == 1 || scale->count == code->count, PQ_ERR_UNSUPPORTED,
             "%zu scales for %zu codes of int32", scale->count, code->count);
    if (pq_onnx_given(im, 2)) {
        pq_tensor *z = NULL;
        PQ_TRY(pq_onnx_constant(im, 2, PQ_DTYPE_F64, NULL, &z, err));
        for (size_t i = 0; i < z->count; i++) {
            zero = pq_f64(z)[i] != 0.0 ? (double)NAN : zero;
        }
        pq_tensor_free(&z);
    }
    PQ_CHECK(zero == 0.0, PQ_ERR_UNSUPPORTED, "codes of int32 have a zero point");
    for (size_t i = 0; i < code->count; i++) {
        pq_f64(code)[i] *= pq_f64(scale)[scale->count == 1 ? 0 : i];
    }
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, WIDE_BITS, true, false,
                           scale->count == 1 ? PQ_QUANT_PER_TENSOR : 0, scale->count,
                           &out.wide, err));
    for (size_t i = 0; i < scale->count; i++) {
        out.wide->scale[i] = (float)pq_f64(scale)[i];
    }
    out.folded = code;
    code       = NULL;
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&code);
    pq_tensor_free(&scale);
    pq_quant_free(&out.wide);
    return st;
}

static pq_status dequantize(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v   = &im->values[im->node->in[0]];
    pq_onnx_value        out = {0};
    pq_onnx_codes        c;
    int                  axis;
    pq_status            st;

    if (v->active && v->quant != NULL) {
        return dequantize_active(im, v, err);
    }
    PQ_CHECK(v->raw != NULL, PQ_ERR_UNSUPPORTED,
             "its input is neither codes of the file nor of QuantizeLinear");
    if (v->raw->type == PQ_ONNX_INT32) {
        return dequantize_bias(im, err);
    }
    PQ_TRY(codes_of(v->raw->type, &c, err));
    PQ_TRY(scale_axis(im, &v->raw->shape, &axis, err));
    PQ_TRY(pq_onnx_make_grid(im, c, axis, &out.quant, err));
    PQ_TRY(pq_onnx_constant(im, 0, PQ_DTYPE_F32, NULL, &out.folded, err));
    PQ_TRY(multiply_out(out.quant, out.folded, err));
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&out.folded);
    pq_quant_free(&out.quant);
    return st;
}

/* Codes of the other sign. Zero stays 0 where the negatives of all codes are codes, which
 * the lowest has none of; else all are counted from the other end. */
static void mirror(pq_quant *q, const pq_tensor *t)
{
    const int32_t ends = pq_quant_lo(q) + pq_quant_hi(q);

    for (size_t i = 0; i < q->n; i++) {
        q->zero_point[i] =
            q->is_signed && q->zero_point[i] == 0 ? 0 : ends - q->zero_point[i];
    }
    for (size_t item = 0; item < t->count; item++) {
        const size_t i = pq_quant_index(q, &t->shape, item);
        if (q->zero_point[i] == 0 &&
            rint((double)pq_f32(t)[item] / (double)q->scale[i]) > pq_quant_hi(q)) {
            q->zero_point[i] = ends;
        }
    }
}

pq_status pq_onnx_scale_grid(pq_weight *w, double factor, pq_err *err)
{
    const pq_quant *from = w->quant;
    pq_quant       *q    = NULL;
    pq_status       st   = PQ_OK;

    if (from == NULL || factor == 1.0) {
        return PQ_OK;
    }
    if (factor != 0.0) {
        PQ_TRY(pq_quant_create(
            PQ_QUANT_INTEGER, from->bits < 2 ? 2 : from->bits, from->is_signed,
            from->narrow || (from->scheme == PQ_QUANT_FIXED && from->is_signed &&
                             from->overflow == PQ_OVERFLOW_SAT_SYM),
            from->axis, from->n, &q, err));
        for (size_t i = 0; i < q->n; i++) {
            q->scale[i]      = (float)(fabs(factor) * (double)from->scale[i]);
            q->zero_point[i] = from->zero_point[i];
        }
        PQ_TRY(pq_quant_check(q, &w->value->shape, err));
        if (factor < 0.0) {
            mirror(q, w->value);
        }
        PQ_TRY(pq_quant_apply(q, w->value, err));
    }
    pq_quant_free(&w->quant);
    w->quant = q;
    q        = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Whether item o of a bias is whole in the unit of its layer's sums, s_x s_w, but for the
 * rounding of scales to float32; also where these are no whole numbers. */
static bool is_in_units(const pq_onnx_import *im, const pq_layer *layer, size_t input,
                        double scale, size_t o, double *unit)
{
    const pq_node  *from = &im->graph->nodes[pq_activation_source(im->graph, input)];
    const pq_quant *w    = pq_layer_weight(layer, "kernel")->quant;
    double          times;

    if (from->quant == NULL || from->quant->n != 1 || w == NULL ||
        !pq_quant_has_codes(from->quant) || !pq_quant_has_codes(w)) {
        return true;
    }
    *unit = (double)from->quant->scale[0] * (double)w->scale[w->n == 1 ? 0 : o];
    times = rint(scale / *unit);
    return times >= 1.0 && fabs(scale / *unit - times) <= near_unit * times;
}

/* The scales of a bias of int32 as a grid, where its units are not those of the sums. */
static pq_status need_wide(const pq_onnx_import *im, const pq_quant *q, double factor,
                           const pq_layer *layer, size_t input, bool *needed, pq_err *err)
{
    const pq_tensor *bias = pq_layer_weight(layer, "bias")->value;
    double           unit = 0.0, most = 0.0, scale = 0.0;
    pq_status        st = PQ_OK;

    *needed = false;
    for (size_t o = 0; o < bias->count; o++) {
        const double own = fabs(factor) * (double)q->scale[q->n == 1 ? 0 : o];
        const double x   = fabs((double)pq_f32(bias)[o]);
        if (x > 0.0 && !is_in_units(im, layer, input, own, o, &unit)) {
            *needed = true;
            scale   = own;
        }
        most = fmax(most, x / own);
    }
    PQ_CHECK(
        !*needed || most < ldexp(1.0, WIDE_BITS - 1) - 0.5, PQ_ERR_UNSUPPORTED,
        "its bias of int32 has the scale %g, which is no multiple of %g, the unit of "
        "its sums, and codes beyond %d bits",
        scale, unit, WIDE_BITS);
cleanup:
    return st;
}

pq_status pq_onnx_take_bias_grid(const pq_onnx_import *im, size_t k, double factor,
                                 pq_layer *layer, size_t input, pq_err *err)
{
    const pq_onnx_value *v      = &im->values[im->node->in[k]];
    pq_weight           *bias   = pq_layer_weight(layer, "bias");
    const pq_quant      *q      = v->quant;
    bool                 needed = false;
    pq_status            st     = PQ_OK;

    if (factor != 0.0 && v->wide != NULL &&
        (v->wide->n == 1 || v->wide->n == bias->value->count)) {
        PQ_TRY(need_wide(im, v->wide, factor, layer, input, &needed, err));
        q = needed ? v->wide : q;
    }
    if (q != NULL && (q->n == 1 || q->n == bias->value->count)) {
        PQ_TRY(pq_quant_clone(q, &bias->quant, err));
        bias->quant->axis = q->n == 1 ? PQ_QUANT_PER_TENSOR : 0;
        PQ_TRY(pq_quant_check(bias->quant, &bias->value->shape, err));
        PQ_TRY(pq_onnx_scale_grid(bias, factor, err));
    }
cleanup:
    return st;
}

const pq_onnx_operation pq_onnx_quantizers[] = {
    {"QuantizeLinear", 2, 3, quantize, "axis block_size output_dtype precision saturate"},
    {"DequantizeLinear", 2, 3, dequantize, "axis block_size output_dtype"},
    {0},
};
