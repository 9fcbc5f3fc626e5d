/*
 * Operators of QONNX: Quant, BipolarQuant, Trunc.
 *
 * Source: github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops, and the Python of
 *         its version 1.0.0.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

enum { MAX_BITS = 32 };

/* Roundings of QONNX that a grid has. */
static const struct {
    const char *name;
    pq_rounding rounding;
} modes[] = {
    {"ROUND", PQ_ROUND_RND_CONV},  {"HALF_EVEN", PQ_ROUND_RND_CONV},
    {"FLOOR", PQ_ROUND_TRN},       {"DOWN", PQ_ROUND_TRN_ZERO},
    {"HALF_UP", PQ_ROUND_RND_INF}, {"HALF_DOWN", PQ_ROUND_RND_ZERO},
};

static pq_status read_mode(const pq_onnx_import *im, const char *fallback,
                           pq_rounding *out, pq_err *err)
{
    size_t    i = 0;
    char      mode[16];
    pq_status st;

    PQ_TRY(pq_onnx_text(im->node, "rounding_mode", fallback, mode, sizeof mode, err));
    while (i < sizeof modes / sizeof *modes && strcmp(modes[i].name, mode) != 0) {
        i++;
    }
    PQ_CHECK(i < sizeof modes / sizeof *modes, PQ_ERR_UNSUPPORTED,
             "rounding_mode = '%s'; ROUND, HALF_EVEN, FLOOR, DOWN, HALF_UP and HALF_DOWN "
             "are read",
             mode);
    *out = modes[i].rounding;
cleanup:
    return st;
}

/* Axis along which a list of scales lies in a constant, or -1 for one scale. */
static pq_status spread_axis(const pq_onnx_import *im, int *out, pq_err *err)
{
    const pq_shape *of, *s;
    pq_status       st;

    *out = PQ_QUANT_PER_TENSOR;
    PQ_TRY(pq_onnx_constant_shape(im, 0, &of, err));
    PQ_TRY(pq_onnx_constant_shape(im, 1, &s, err));
    PQ_CHECK(s->ndim <= of->ndim, PQ_ERR_UNSUPPORTED, "its scales have more axes");
    for (size_t d = 0; d < s->ndim; d++) {
        PQ_CHECK(s->dim[d] == 1 || *out == PQ_QUANT_PER_TENSOR, PQ_ERR_UNSUPPORTED,
                 "its scales differ along two axes");
        *out = s->dim[d] != 1 ? (int)(of->ndim - s->ndim + d) : *out;
    }
cleanup:
    return st;
}

/* Another rounding than to the nearest even: only fixed point has it. */
static pq_status set_rounding(pq_quant **q, pq_rounding rounding, pq_err *err)
{
    const pq_quant *from  = *q;
    pq_quant       *fixed = NULL;
    int             e     = 0;
    pq_status       st    = PQ_OK;

    if (rounding == PQ_ROUND_RND_CONV) {
        return PQ_OK;
    }
    PQ_TRY(pq_quant_create_fixed(from->is_signed,
                                 from->narrow ? PQ_OVERFLOW_SAT_SYM : PQ_OVERFLOW_SAT,
                                 rounding, from->axis, from->n, &fixed, err));
    for (size_t i = 0; i < from->n; i++) {
        PQ_CHECK(
            frexpf(from->scale[i], &e) == 0.5f && from->zero_point[i] == 0,
            PQ_ERR_UNSUPPORTED,
            "scale %g with zero point %d; with a rounding_mode other than ROUND only "
            "powers of two without a zero point are read",
            (double)from->scale[i], from->zero_point[i]);
        e--;
        PQ_TRY(pq_quant_set_fixed(fixed, i, from->bits - (from->is_signed ? 1 : 0) + e,
                                  -e, err));
    }
    pq_quant_free(q);
    *q    = fixed;
    fixed = NULL;
cleanup:
    pq_quant_free(&fixed);
    return st;
}

static pq_status read_bits(const pq_onnx_import *im, size_t input, int least, int *out,
                           pq_err *err)
{
    const int most = pq_onnx_is_constant(im, 0) ? MAX_BITS : 16;
    double    bits;
    pq_status st;

    PQ_TRY(pq_onnx_number(im, input, &bits, err));
    PQ_CHECK(bits == rint(bits) && bits >= least && bits <= most, PQ_ERR_UNSUPPORTED,
             "a width of %g bits is not in %d..%d", bits, least, most);
    *out = (int)bits;
cleanup:
    return st;
}

static pq_status read_codes(const pq_onnx_import *im, size_t bits, int64_t narrow,
                            pq_onnx_codes *out, pq_err *err)
{
    int64_t   is_signed;
    pq_status st;

    PQ_TRY(pq_onnx_int(im->node, "signed", 1, &is_signed, err));
    PQ_TRY(pq_onnx_int(im->node, "narrow", narrow, &narrow, err));
    PQ_TRY(read_bits(im, bits, 2, &out->bits, err));
    PQ_CHECK(narrow == 0 || is_signed != 0, PQ_ERR_UNSUPPORTED,
             "narrow codes without a sign are not read");
    out->is_signed = is_signed != 0;
    out->narrow    = narrow != 0;
cleanup:
    return st;
}

/* A constant of more bits than a grid has: its values alone. */
static pq_status wide_constant(pq_onnx_import *im, pq_onnx_codes c, pq_rounding rounding,
                               pq_tensor *t, pq_err *err)
{
    const double most = ldexp(1.0, c.bits - (c.is_signed ? 1 : 0)) - 1.0;
    double       scale, zero, least;
    pq_status    st;

    PQ_TRY(pq_onnx_number(im, 1, &scale, err));
    PQ_TRY(pq_onnx_number(im, 2, &zero, err));
    PQ_CHECK(
        rounding == PQ_ROUND_RND_CONV && zero == 0.0 && scale > 0.0, PQ_ERR_UNSUPPORTED,
        "a width of %d bits is read with rounding_mode ROUND, one positive scale and "
        "no zero point",
        c.bits);
    least = c.is_signed ? -most - (c.narrow ? 0.0 : 1.0) : 0.0;
    for (size_t i = 0; i < t->count; i++) {
        const double code = rint((double)pq_f32(t)[i] / scale);
        pq_f32(t)[i]      = (float)(fmin(fmax(code, least), most) * scale);
    }
cleanup:
    return st;
}

static pq_status quant_constant(pq_onnx_import *im, pq_onnx_codes c, pq_rounding rounding,
                                pq_err *err)
{
    pq_onnx_value out = {0};
    int           axis;
    pq_status     st;

    PQ_TRY(pq_onnx_constant(im, 0, PQ_DTYPE_F32, NULL, &out.folded, err));
    if (c.bits > 16) {
        PQ_TRY(wide_constant(im, c, rounding, out.folded, err));
    } else {
        PQ_TRY(spread_axis(im, &axis, err));
        PQ_TRY(pq_onnx_make_grid(im, c, axis, &out.quant, err));
        PQ_TRY(set_rounding(&out.quant, rounding, err));
        PQ_TRY(pq_quant_check(out.quant, &out.folded->shape, err));
        PQ_TRY(pq_quant_apply(out.quant, out.folded, err));
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&out.folded);
    pq_quant_free(&out.quant);
    return st;
}

/* Quant (IntQuant): (clip(round(x / scale + zero)) - zero) scale. */
static pq_status quant(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_quant            *q = NULL;
    pq_onnx_codes        c;
    pq_rounding          rounding;
    size_t               node;
    pq_status            st;

    PQ_TRY(read_mode(im, "ROUND", &rounding, err));
    PQ_TRY(read_codes(im, 3, 0, &c, err));
    if (pq_onnx_is_constant(im, 0)) {
        return quant_constant(im, c, rounding, err);
    }
    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_make_one(im, c, &q, err));
    PQ_TRY(set_rounding(&q, rounding, err));
    PQ_TRY(pq_onnx_put_on_grid(im, v, &q, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_quant_free(&q);
    return st;
}

/* BipolarQuant of activations: signs, times the scale, on their grid. */
static pq_status bipolar_active(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *given;
    pq_onnx_value        v;
    pq_quant            *q = NULL;
    size_t               node;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &given, err));
    v = *given;
    PQ_TRY(pq_onnx_make_one(im, (pq_onnx_codes){2, true, true}, &q, err));
    PQ_TRY(pq_onnx_add_plain(im, ".sign", "sign", "zero", 1.0, v.node, &v.node, err));
    PQ_TRY(pq_onnx_add_plain(im, ".scale", "scale", "factor", (double)q->scale[0], v.node,
                             &v.node, err));
    PQ_TRY(pq_onnx_put_on_grid(im, &v, &q, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, &v, node, err));
cleanup:
    pq_quant_free(&q);
    return st;
}

/* BipolarQuant of weights: scale where x >= 0, else -scale. */
static pq_status bipolar(pq_onnx_import *im, pq_err *err)
{
    pq_onnx_value out = {0};
    int           axis;
    pq_status     st;

    if (!pq_onnx_is_constant(im, 0)) {
        return bipolar_active(im, err);
    }
    PQ_TRY(spread_axis(im, &axis, err));
    PQ_TRY(pq_onnx_make_grid(im, (pq_onnx_codes){2, true, true}, axis, &out.quant, err));
    PQ_TRY(pq_onnx_constant(im, 0, PQ_DTYPE_F32, NULL, &out.folded, err));
    PQ_TRY(pq_quant_check(out.quant, &out.folded->shape, err));
    for (size_t i = 0; i < out.folded->count; i++) {
        const float s =
            out.quant->scale[pq_quant_index(out.quant, &out.folded->shape, i)];
        float *x = &pq_f32(out.folded)[i];
        *x       = *x >= 0.0f ? s : -s;
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&out.folded);
    pq_quant_free(&out.quant);
    return st;
}

/* What Trunc cuts: codes that are there already, of the scale and width that it says. */
static pq_status check_cut(pq_onnx_import *im, const pq_onnx_value *v, double *scale,
                           int *bits, pq_err *err)
{
    const pq_quant *q = im->graph->nodes[pq_activation_source(im->graph, v->node)].quant;
    double          zero;
    pq_status       st;

    PQ_TRY(pq_onnx_number(im, 1, scale, err));
    PQ_TRY(pq_onnx_number(im, 2, &zero, err));
    PQ_TRY(read_bits(im, 3, 1, bits, err));
    PQ_CHECK(zero == 0.0, PQ_ERR_UNSUPPORTED, "zero point %g; 0 is read", zero);
    PQ_CHECK(q != NULL && pq_quant_has_codes(q) && q->n == 1 && q->zero_point[0] == 0 &&
                 (double)q->scale[0] == *scale && q->bits <= *bits,
             PQ_ERR_UNSUPPORTED,
             "its input does not lie on the grid of scale %g and %d bits that it cuts",
             *scale, *bits);
cleanup:
    return st;
}

/* Trunc: version 1 (5 inputs) leaves round(x / (scale 2^t)) scale, t being the bits that
 * go; version 2 (6 inputs) gives the scale of its output. */
static pq_status truncate_codes(pq_onnx_import *im, pq_err *err)
{
    const bool           second = pq_onnx_given(im, 5);
    const pq_onnx_value *v;
    pq_onnx_value        like;
    pq_onnx_codes        c = {.is_signed = true};
    pq_rounding          rounding;
    pq_quant            *q = NULL;
    double               scale, out_scale;
    int                  bits;
    size_t               node;
    pq_status            st;

    PQ_TRY(read_mode(im, "FLOOR", &rounding, err));
    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(check_cut(im, v, &scale, &bits, err));
    like = *v;
    node = v->node;
    if (second) {
        PQ_TRY(pq_onnx_number(im, 4, &out_scale, err));
        PQ_TRY(read_codes(im, 5, 0, &c, err));
    } else {
        PQ_TRY(read_bits(im, 4, 1, &c.bits, err));
        PQ_CHECK(c.bits <= bits, PQ_ERR_FORMAT, "it makes %d bits of %d", c.bits, bits);
        c.is_signed =
            im->graph->nodes[pq_activation_source(im->graph, node)].quant->is_signed;
        PQ_TRY(pq_onnx_add_plain(im, ".cut", "scale", "factor", ldexp(1.0, c.bits - bits),
                                 node, &node, err));
        out_scale = scale;
    }
    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, c.bits < 2 ? 2 : c.bits, c.is_signed,
                           c.narrow, PQ_QUANT_PER_TENSOR, 1, &q, err));
    q->scale[0] = (float)out_scale;
    PQ_TRY(set_rounding(&q, rounding, err));
    like.node = node;
    if (second) {
        PQ_TRY(pq_onnx_put_on_grid(im, v, &q, &node, err));
    } else {
        PQ_TRY(pq_quant_check(q, &im->graph->nodes[node].shape, err));
        im->graph->nodes[node].quant = q;
        q                            = NULL;
    }
    PQ_TRY(pq_onnx_give_like(im, 0, &like, node, err));
cleanup:
    pq_quant_free(&q);
    return st;
}

const pq_onnx_operation pq_onnx_of_qonnx[] = {
    {"Quant", 4, 4, quant, "signed narrow rounding_mode"},
    {"IntQuant", 4, 4, quant, "signed narrow rounding_mode"},
    {"BipolarQuant", 2, 2, bipolar, ""},
    {"Trunc", 5, 6, truncate_codes, "signed narrow rounding_mode"},
    {0},
};
