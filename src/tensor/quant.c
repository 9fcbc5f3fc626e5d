#include "tensor/quant.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "tensor/quant_inside.h"

const char *const pq_quant_scheme_names[] = {"integer", "float16", "bfloat16",
                                             "fixed",   "nf4",     NULL};

/* Levels of NF4 (appendix E of the paper), as its authors' code prints them. */
static const float nf4[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

static pq_status check_form(const pq_quant *q, pq_err *err)
{
    pq_status st = PQ_OK;

    if (q->scheme == PQ_QUANT_FLOAT16 || q->scheme == PQ_QUANT_BFLOAT16) {
        PQ_CHECK(q->bits == 16 && q->n == 0, PQ_ERR_RANGE,
                 "a 16-bit float quantizer cannot have %d bits and %zu scales", q->bits,
                 q->n);
        return PQ_OK;
    }
    PQ_CHECK(q->scheme != PQ_QUANT_INTEGER || (q->bits >= 2 && q->bits <= 16),
             PQ_ERR_RANGE, "bits = %d is not in 2..16", q->bits);
    PQ_CHECK(q->scheme != PQ_QUANT_NF4 || q->bits == 4, PQ_ERR_RANGE,
             "an NF4 quantizer has 4 bits, not %d", q->bits);
    PQ_CHECK((q->axis >= PQ_QUANT_PER_TENSOR && q->axis < PQ_MAX_DIMS) ||
                 (q->axis == PQ_QUANT_PER_ITEM && q->scheme == PQ_QUANT_FIXED) ||
                 (q->axis == PQ_QUANT_PER_GROUP && q->scheme != PQ_QUANT_FIXED),
             PQ_ERR_RANGE, "quantizer axis %d is not in -1..%d", q->axis,
             PQ_MAX_DIMS - 1);
    PQ_CHECK(q->axis == PQ_QUANT_PER_TENSOR ? q->n == 1 : q->n >= 1, PQ_ERR_SHAPE,
             "a quantizer along axis %d cannot have %zu scales", q->axis, q->n);
cleanup:
    return st;
}

/* A quantizer of this form with arrays of its own, zeroed. */
static pq_status create(const pq_quant *form, pq_quant **out, pq_err *err)
{
    pq_quant *q = NULL;
    pq_status st;

    PQ_TRY(check_form(form, err));
    PQ_NEW(q, 1);
    *q            = *form;
    q->scale      = NULL;
    q->zero_point = NULL;
    q->width      = NULL;
    q->scale_code = NULL;
    q->scale_step = NULL;
    PQ_NEW(q->scale, q->n);
    PQ_NEW(q->zero_point, q->n);
    if (q->scheme == PQ_QUANT_FIXED) {
        PQ_NEW(q->width, q->n);
    }
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

pq_status pq_quant_create(pq_quant_scheme scheme, int bits, bool is_signed, bool narrow,
                          int axis, size_t n, pq_quant **out, pq_err *err)
{
    const pq_quant form = {.scheme    = scheme,
                           .bits      = bits,
                           .is_signed = is_signed,
                           .narrow    = narrow,
                           .axis      = axis,
                           .n         = n};
    pq_status      st;

    PQ_CHECK(axis >= PQ_QUANT_PER_TENSOR && scheme != PQ_QUANT_FIXED, PQ_ERR_RANGE,
             "quantizer axis %d is not in -1..%d", axis, PQ_MAX_DIMS - 1);
    PQ_TRY(create(&form, out, err));
cleanup:
    return st;
}

/* Items of a row, which groups do not cross. */
static size_t row_length(const pq_shape *shape)
{
    size_t n = 1;

    for (size_t d = shape->ndim > 1 ? 1 : 0; d < shape->ndim; d++) {
        n *= shape->dim[d];
    }
    return n;
}

static size_t groups_of(const pq_shape *shape, size_t group)
{
    const size_t rows = shape->ndim > 1 ? shape->dim[0] : 1;

    return rows * ((row_length(shape) - 1) / group + 1);
}

pq_status pq_quant_create_grouped(pq_quant_scheme scheme, int bits, const pq_shape *shape,
                                  size_t group, pq_quant **out, pq_err *err)
{
    pq_quant  form = {.scheme    = scheme,
                      .bits      = bits,
                      .is_signed = true,
                      .narrow    = scheme == PQ_QUANT_INTEGER,
                      .axis      = PQ_QUANT_PER_GROUP,
                      .group     = group};
    pq_status st;

    PQ_CHECK(group >= 1, PQ_ERR_RANGE, "a group of 0 items is not at least 1");
    form.n = groups_of(shape, group);
    PQ_TRY(create(&form, out, err));
cleanup:
    return st;
}

pq_status pq_quant_create_fixed(bool is_signed, pq_overflow overflow,
                                pq_rounding rounding, int axis, size_t n, pq_quant **out,
                                pq_err *err)
{
    const pq_quant form = {.scheme    = PQ_QUANT_FIXED,
                           .is_signed = is_signed,
                           .axis      = axis,
                           .n         = n,
                           .overflow  = overflow,
                           .rounding  = rounding};
    pq_status      st;

    PQ_TRY(create(&form, out, err));
    for (size_t i = 0; i < n; i++) {
        (*out)->scale[i] = 1.0f;
    }
cleanup:
    return st;
}

void pq_quant_free(pq_quant **q)
{
    if (*q != NULL) {
        pq_free((*q)->scale);
        pq_free((*q)->zero_point);
        pq_free((*q)->width);
        pq_free((*q)->scale_code);
        pq_free((*q)->scale_step);
        pq_free(*q);
        *q = NULL;
    }
}

pq_status pq_quant_clone(const pq_quant *q, pq_quant **out, pq_err *err)
{
    pq_quant *copy = NULL;
    pq_status st;

    PQ_TRY(create(q, &copy, err));
    memcpy(copy->scale, q->scale, q->n * sizeof *q->scale);
    memcpy(copy->zero_point, q->zero_point, q->n * sizeof *q->zero_point);
    if (q->width != NULL) {
        memcpy(copy->width, q->width, q->n * sizeof *q->width);
    }
    if (q->scale_code != NULL) {
        PQ_TRY(pq_quant_expect_coded_scales(copy, err));
        memcpy(copy->scale_code, q->scale_code, q->n * sizeof *q->scale_code);
        memcpy(copy->scale_step, q->scale_step,
               pq_quant_scale_blocks(q) * sizeof *q->scale_step);
    }
    *out = copy;
    copy = NULL;
cleanup:
    pq_quant_free(&copy);
    return st;
}

bool pq_quant_has_codes(const pq_quant *q)
{
    return q->scheme == PQ_QUANT_INTEGER || q->scheme == PQ_QUANT_FIXED;
}

bool pq_quant_clips(const pq_quant *q)
{
    return pq_quant_has_codes(q) && q->overflow <= PQ_OVERFLOW_SAT_SYM;
}

/* Bits of the codes of scale index i, and whether the lowest is left out. */
static int code_bits(const pq_quant *q, size_t i)
{
    return q->scheme == PQ_QUANT_FIXED ? q->width[i] : q->bits;
}

int32_t pq_quant_least(const pq_quant *q, size_t i)
{
    const int bits = code_bits(q, i);

    if (!q->is_signed || bits == 0) {
        return 0;
    }
    return -(1 << (bits - 1)) + (q->narrow || q->overflow == PQ_OVERFLOW_SAT_SYM ? 1 : 0);
}

int32_t pq_quant_most(const pq_quant *q, size_t i)
{
    const int bits = code_bits(q, i);

    return bits == 0 ? 0 : (1 << (q->is_signed ? bits - 1 : bits)) - 1;
}

int32_t pq_quant_lo(const pq_quant *q)
{
    return pq_quant_least(q, 0);
}

int32_t pq_quant_hi(const pq_quant *q)
{
    return pq_quant_most(q, 0);
}

static pq_status check_places(const pq_quant *q, const pq_shape *shape, pq_err *err)
{
    size_t    count = 0;
    char      text[128];
    pq_status st = PQ_OK;

    if (q->axis == PQ_QUANT_PER_GROUP) {
        PQ_CHECK(q->n == groups_of(shape, q->group), PQ_ERR_SHAPE,
                 "a quantizer with %zu groups of %zu does not fit the shape %s", q->n,
                 q->group, pq_shape_text(shape, text, sizeof text));
    } else if (q->axis == PQ_QUANT_PER_ITEM) {
        PQ_CHECK(pq_shape_count(shape, &count) && count == q->n, PQ_ERR_SHAPE,
                 "a quantizer with %zu scales, one a value, does not fit the shape %s",
                 q->n, pq_shape_text(shape, text, sizeof text));
    } else if (q->axis != PQ_QUANT_PER_TENSOR) {
        PQ_CHECK((size_t)q->axis < shape->ndim && shape->dim[q->axis] == q->n,
                 PQ_ERR_SHAPE,
                 "a quantizer with %zu scales along axis %d does not fit the shape %s",
                 q->n, q->axis, pq_shape_text(shape, text, sizeof text));
    }
cleanup:
    return st;
}

pq_status pq_quant_check(const pq_quant *q, const pq_shape *shape, pq_err *err)
{
    pq_status st;

    if (q->n == 0) {
        return PQ_OK;
    }
    PQ_TRY(check_places(q, shape, err));
    for (size_t i = 0; i < q->n; i++) {
        const int32_t lo = pq_quant_least(q, i), hi = pq_quant_most(q, i);
        PQ_CHECK(isfinite(q->scale[i]) && q->scale[i] > 0.0f, PQ_ERR_NUMERIC,
                 "scale %zu of the quantizer is %g, not a positive number", i,
                 (double)q->scale[i]);
        PQ_CHECK(q->scheme == PQ_QUANT_NF4 ||
                     (q->zero_point[i] >= lo && q->zero_point[i] <= hi),
                 PQ_ERR_RANGE, "zero point %zu of the quantizer is %d, not in %d..%d", i,
                 q->zero_point[i], lo, hi);
    }
cleanup:
    return st;
}

int32_t pq_quant_code(const pq_quant *q, size_t i, float value)
{
    return pq_quant_code_real(q, i, (double)value);
}

double pq_quant_code_free(const pq_quant *q, size_t i, double value)
{
    assert(pq_quant_has_codes(q) && i < q->n);
    return q->scheme == PQ_QUANT_FIXED
               ? pq_fixed_round(value / (double)q->scale[i], q->rounding)
               : rint(value / (double)q->scale[i]) + (double)q->zero_point[i];
}

int32_t pq_quant_code_real(const pq_quant *q, size_t i, double value)
{
    const double lo = pq_quant_least(q, i), hi = pq_quant_most(q, i);
    const double code = pq_quant_code_free(q, i, value);

    if (q->scheme == PQ_QUANT_FIXED) {
        return pq_fixed_overflow(code, q->width[i], q->is_signed, q->overflow);
    }
    return (int32_t)(code > lo ? (code < hi ? code : hi) : lo);
}

double pq_quant_value(const pq_quant *q, size_t i, int32_t code)
{
    return (double)(code - q->zero_point[i]) * (double)q->scale[i];
}

unsigned pq_nf4_code(float value, float scale)
{
    const double ratio = (double)value / (double)scale;
    unsigned     code  = 0;

    while (code < 15 && ratio > ((double)nf4[code] + (double)nf4[code + 1]) / 2.0) {
        code++;
    }
    return code;
}

float pq_nf4_level(unsigned code)
{
    return nf4[code];
}

double pq_quant_round_real(const pq_quant *q, size_t i, double value)
{
    return pq_quant_has_codes(q) ? pq_quant_value(q, i, pq_quant_code_real(q, i, value))
                                 : (double)pq_quant_round(q, i, (float)value);
}

float pq_quant_round(const pq_quant *q, size_t i, float value)
{
    switch (q->scheme) {
    case PQ_QUANT_FLOAT16:
        return pq_f32_from_f16(pq_f16_from_f32(value));
    case PQ_QUANT_BFLOAT16:
        return pq_f32_from_bf16(pq_bf16_from_f32(value));
    case PQ_QUANT_NF4:
        return nf4[pq_nf4_code(value, q->scale[i])] * q->scale[i];
    case PQ_QUANT_INTEGER:
    case PQ_QUANT_FIXED:
        break;
    }
    return (float)(pq_quant_code(q, i, value) - q->zero_point[i]) * q->scale[i];
}

/* Items of an axis that share one scale lie in runs of this length. */
static size_t run_length(const pq_quant *q, const pq_shape *shape)
{
    size_t n = 1;

    for (size_t d = (size_t)q->axis + 1; d < shape->ndim; d++) {
        n *= shape->dim[d];
    }
    return n;
}

size_t pq_quant_index(const pq_quant *q, const pq_shape *shape, size_t item)
{
    if (q->n <= 1) {
        return 0;
    }
    if (q->axis == PQ_QUANT_PER_ITEM) {
        return item;
    }
    if (q->axis == PQ_QUANT_PER_GROUP) {
        const size_t row = row_length(shape), groups = (row - 1) / q->group + 1;
        return item / row * groups + item % row / q->group;
    }
    return item / run_length(q, shape) % q->n;
}

pq_status pq_quant_apply(const pq_quant *q, pq_tensor *t, pq_err *err)
{
    float    *x = pq_f32(t);
    pq_status st;

    PQ_TRY(pq_quant_check(q, &t->shape, err));
    for (size_t i = 0; i < t->count; i++) {
        x[i] = pq_quant_round(q, pq_quant_index(q, &t->shape, i), x[i]);
    }
cleanup:
    return st;
}

bool pq_quant_set_range(pq_quant *q, size_t i, double lo, double hi, bool symmetric)
{
    const int32_t least = pq_quant_lo(q), most = pq_quant_hi(q);
    double        scale;

    assert(q->scheme == PQ_QUANT_INTEGER && i < q->n && isfinite(lo) && isfinite(hi));
    lo = fmin(lo, 0.0);
    hi = fmax(hi, 0.0);
    if (symmetric) {
        scale = q->is_signed ? fmax(lo / least, hi / most) : hi / most;
    } else {
        scale = (hi - lo) / (most - least);
    }
    q->zero_point[i] = 0;
    q->scale[i]      = 1.0f;
    if (scale == 0.0) {
        return false;
    }
    /* A denormal scale would be flushed to 0 by the engines. */
    q->scale[i] = scale < (double)FLT_MIN ? FLT_MIN : (float)scale;
    while ((float)most * q->scale[i] > FLT_MAX || (float)-least * q->scale[i] > FLT_MAX) {
        q->scale[i] = nextafterf(q->scale[i], 0.0f); /* rounding went past the range */
    }
    if (!symmetric) {
        const double zero = rint(least - lo / (double)q->scale[i]);
        q->zero_point[i]  = (int32_t)fmin(fmax(zero, least), most);
    }
    return true;
}

size_t pq_quant_side_bytes(const pq_quant *q)
{
    const size_t bytes = q->n * sizeof *q->scale;

    if (q->scheme == PQ_QUANT_FIXED) {
        return pq_quant_widths_bytes(q);
    }
    if (q->scale_code != NULL) {
        return q->n + (pq_quant_scale_blocks(q) + 1) * sizeof *q->scale_step;
    }
    for (size_t i = 0; i < q->n; i++) {
        if (q->zero_point[i] != 0) {
            return bytes + q->n * sizeof *q->zero_point;
        }
    }
    return bytes;
}
