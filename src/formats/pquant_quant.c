/* Quantizers in attributes of a packed weight (docs/file-formats.md). */
#include "formats/pquant_quant.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

enum { MAX_SCALES = 1 << 24 };

pq_status pq_h5_set_flag(pq_h5 *file, const char *path, const char *name, int value,
                         pq_err *err)
{
    const int8_t v = (int8_t)value;

    return pq_h5_set_numbers(file, path, name, PQ_DTYPE_I8, &v, 1, err);
}

/* One width as it is, several packed. */
static pq_status save_fixed(pq_h5 *file, const char *path, const pq_quant *q, pq_err *err)
{
    uint8_t  *packed = NULL;
    size_t    bytes  = 0;
    pq_status st;

    if (q->n == 1) {
        PQ_TRY(
            pq_h5_set_flag(file, path, "integer_bits", pq_quant_integer_bits(q, 0), err));
        PQ_TRY(pq_h5_set_flag(file, path, "fraction_bits", pq_quant_fraction_bits(q, 0),
                              err));
    } else {
        PQ_TRY(pq_quant_pack_widths(q, &packed, &bytes, err));
        PQ_TRY(pq_h5_set_numbers(file, path, "widths", PQ_DTYPE_U8, packed, bytes, err));
    }
    PQ_TRY(pq_h5_set_flag(file, path, "overflow", (int)q->overflow, err));
    PQ_TRY(pq_h5_set_flag(file, path, "rounding", (int)q->rounding, err));
cleanup:
    pq_free(packed);
    return st;
}

static pq_status save_scales(pq_h5 *file, const char *path, const pq_quant *q,
                             pq_err *err)
{
    pq_status st;

    if (q->scale_code == NULL) {
        return pq_h5_set_numbers(file, path, "scale", PQ_DTYPE_F32, q->scale, q->n, err);
    }
    PQ_TRY(pq_h5_set_numbers(file, path, "scale_code", PQ_DTYPE_I8, q->scale_code, q->n,
                             err));
    PQ_TRY(pq_h5_set_numbers(file, path, "scale_step", PQ_DTYPE_F32, q->scale_step,
                             pq_quant_scale_blocks(q), err));
    PQ_TRY(pq_h5_set_numbers(file, path, "scale_mean", PQ_DTYPE_F32, &q->scale_mean, 1,
                             err));
cleanup:
    return st;
}

/* Attributes that are 0 when absent are left out. */
pq_status pq_h5_save_quantizer(pq_h5 *file, const char *path, const pq_quant *q,
                               pq_err *err)
{
    bool      affine = false;
    pq_status st     = PQ_OK;

    if (q->n == 0) {
        return PQ_OK;
    }
    for (size_t i = 0; i < q->n; i++) {
        affine = affine || q->zero_point[i] != 0;
    }
    PQ_TRY(pq_h5_set_flag(file, path, "signed", q->is_signed, err));
    PQ_TRY(pq_h5_set_flag(file, path, "axis", q->axis, err));
    if (q->scheme == PQ_QUANT_FIXED) {
        PQ_TRY(save_fixed(file, path, q, err));
        goto cleanup;
    }
    PQ_TRY(pq_h5_set_flag(file, path, "bits", q->bits, err));
    PQ_TRY(pq_h5_set_flag(file, path, "narrow", q->narrow, err));
    if (q->group > 0) {
        const int64_t group = (int64_t)q->group;
        PQ_TRY(pq_h5_set_numbers(file, path, "group", PQ_DTYPE_I64, &group, 1, err));
    }
    PQ_TRY(save_scales(file, path, q, err));
    if (affine) {
        PQ_TRY(pq_h5_set_numbers(file, path, "zero_point", PQ_DTYPE_I32, q->zero_point,
                                 q->n, err));
    }
cleanup:
    return st;
}

/* A whole number in lo..hi; `fallback` where the attribute is absent. */
pq_status pq_h5_whole(pq_h5 *file, const char *path, const char *name, int fallback,
                      int lo, int hi, int *out, pq_err *err)
{
    double   *values = NULL;
    size_t    n      = 0;
    pq_status st     = PQ_OK;

    *out = fallback;
    if (!pq_h5_has_attr(file, path, name)) {
        return PQ_OK;
    }
    PQ_TRY(pq_h5_attr_numbers(file, path, name, &values, &n, err));
    PQ_CHECK(n == 1 && values[0] >= lo && values[0] <= hi && values[0] == (int)values[0],
             PQ_ERR_FORMAT, "%s: attribute '%s' of %s is not a whole number in %d..%d",
             pq_h5_path(file), name, path, lo, hi);
    *out = (int)values[0];
cleanup:
    pq_free(values);
    return st;
}

/* Fills scales and zero points from their attributes. */
static pq_status load_scales(pq_h5 *file, const char *path, pq_quant *q,
                             const double *scale, pq_err *err)
{
    double   *zero = NULL;
    size_t    n    = 0;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < q->n; i++) {
        q->scale[i] = (float)scale[i];
    }
    if (pq_h5_has_attr(file, path, "zero_point")) {
        PQ_TRY(pq_h5_attr_numbers(file, path, "zero_point", &zero, &n, err));
        PQ_CHECK(n == q->n, PQ_ERR_FORMAT, "%s: %s has %zu scales but %zu zero points",
                 pq_h5_path(file), path, q->n, n);
        for (size_t i = 0; i < n; i++) {
            PQ_CHECK(zero[i] >= INT32_MIN && zero[i] <= INT32_MAX, PQ_ERR_FORMAT,
                     "%s: %s: zero point %g is out of range", pq_h5_path(file), path,
                     zero[i]);
            q->zero_point[i] = (int32_t)zero[i];
        }
    }
cleanup:
    pq_free(zero);
    return st;
}

/* A list of numbers, one a scale. */
static pq_status load_list(pq_h5 *file, const char *path, const char *name, double **out,
                           size_t *n, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_h5_attr_numbers(file, path, name, out, n, err));
    PQ_CHECK(*n <= MAX_SCALES, PQ_ERR_FORMAT,
             "%s: %s has %zu values of '%s'; at most %d are read", pq_h5_path(file), path,
             *n, name, MAX_SCALES);
cleanup:
    return st;
}

/* Scales that are codes, of which `code` are read already. */
static pq_status load_coded(pq_h5 *file, const char *path, pq_quant *q,
                            const double *code, pq_err *err)
{
    double   *step = NULL, *mean = NULL;
    size_t    steps = 0, means = 0;
    pq_status st;

    PQ_TRY(load_list(file, path, "scale_step", &step, &steps, err));
    PQ_TRY(load_list(file, path, "scale_mean", &mean, &means, err));
    PQ_CHECK(steps == pq_quant_scale_blocks(q) && means == 1, PQ_ERR_FORMAT,
             "%s: %s has %zu steps and %zu means of scales where %zu and 1 are due",
             pq_h5_path(file), path, steps, means, pq_quant_scale_blocks(q));
    PQ_TRY(pq_quant_expect_coded_scales(q, err));
    q->scale_mean = (float)mean[0];
    for (size_t b = 0; b < steps; b++) {
        PQ_CHECK(step[b] >= 0.0 && isfinite(step[b]), PQ_ERR_FORMAT,
                 "%s: %s: step %g of scales is not 0 or more", pq_h5_path(file), path,
                 step[b]);
        q->scale_step[b] = (float)step[b];
    }
    for (size_t i = 0; i < q->n; i++) {
        PQ_CHECK(code[i] >= -128.0 && code[i] <= 127.0, PQ_ERR_FORMAT,
                 "%s: %s: code %g of a scale is not in -128..127", pq_h5_path(file), path,
                 code[i]);
        q->scale_code[i] = (int8_t)code[i];
    }
    pq_quant_decode_scales(q);
cleanup:
    pq_free(step);
    pq_free(mean);
    return st;
}

/* Integers and NF4; `shape` is what groups divide. */
static pq_status load_scaled(pq_h5 *file, const char *path, const pq_shape *shape,
                             pq_quant_scheme scheme, pq_quant **out, pq_err *err)
{
    const bool coded = scheme == PQ_QUANT_NF4 && pq_h5_has_attr(file, path, "scale_code");
    pq_quant  *q     = NULL;
    double    *scale = NULL;
    size_t     n     = 0;
    int        bits, is_signed, narrow, axis, group;
    pq_status  st;

    PQ_TRY(pq_h5_whole(file, path, "bits", 0, 2, 16, &bits, err));
    PQ_TRY(pq_h5_whole(file, path, "signed", 0, 0, 1, &is_signed, err));
    PQ_TRY(pq_h5_whole(file, path, "narrow", 0, 0, 1, &narrow, err));
    PQ_TRY(pq_h5_whole(file, path, "group", 0, 1, INT32_MAX, &group, err));
    PQ_TRY(pq_h5_whole(file, path, "axis", PQ_QUANT_PER_TENSOR, PQ_QUANT_PER_GROUP,
                       PQ_MAX_DIMS - 1, &axis, err));
    PQ_TRY(load_list(file, path, coded ? "scale_code" : "scale", &scale, &n, err));
    st = axis == PQ_QUANT_PER_GROUP
             ? pq_quant_create_grouped(scheme, bits, shape, (size_t)group, &q, err)
             : pq_quant_create(scheme, bits, is_signed == 1, narrow == 1, axis, n, &q,
                               err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s: %s", pq_h5_path(file), path);
        goto cleanup;
    }
    PQ_CHECK(q->n == n, PQ_ERR_FORMAT, "%s: %s has %zu scales where %zu are due",
             pq_h5_path(file), path, n, q->n);
    q->is_signed = is_signed == 1; /* of groups too, whose zero points need them */
    q->narrow    = narrow == 1;
    PQ_TRY((coded ? load_coded : load_scales)(file, path, q, scale, err));
    *out = q;
    q    = NULL;
cleanup:
    pq_free(scale);
    pq_quant_free(&q);
    return st;
}

static pq_status set_widths(pq_quant *q, const double *whole, const double *fraction,
                            pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < q->n; i++) {
        PQ_CHECK(fabs(whole[i]) <= 64.0 && fabs(fraction[i]) <= 64.0, PQ_ERR_FORMAT,
                 "%g integer and %g fraction bits are not in -24..24", whole[i],
                 fraction[i]);
        PQ_TRY(pq_quant_set_fixed(q, i, (int)whole[i], (int)fraction[i], err));
    }
cleanup:
    return st;
}

/* Widths as lists, one entry an index. */
static pq_status load_lists(pq_h5 *file, const char *path, const pq_quant *like,
                            pq_quant **out, pq_err *err)
{
    double   *whole = NULL, *fraction = NULL;
    size_t    n = 0, m = 0;
    pq_status st;

    PQ_TRY(load_list(file, path, "integer_bits", &whole, &n, err));
    PQ_TRY(load_list(file, path, "fraction_bits", &fraction, &m, err));
    PQ_CHECK(n == m, PQ_ERR_FORMAT, "%s: %s has %zu integer and %zu fraction bits",
             pq_h5_path(file), path, n, m);
    PQ_TRY(pq_quant_create_fixed(like->is_signed, like->overflow, like->rounding,
                                 like->axis, n, out, err));
    PQ_TRY(set_widths(*out, whole, fraction, err));
cleanup:
    pq_free(whole);
    pq_free(fraction);
    return st;
}

/* Widths packed; as many indices as the shape has items, or its axis. */
static pq_status load_packed(pq_h5 *file, const char *path, const pq_quant *like,
                             const pq_shape *shape, pq_quant **out, pq_err *err)
{
    double   *values = NULL;
    uint8_t  *packed = NULL;
    size_t    n = 0, bytes = 0;
    pq_status st;

    PQ_TRY(load_list(file, path, "widths", &values, &bytes, err));
    PQ_CHECK(like->axis < (int)shape->ndim && pq_shape_count(shape, &n), PQ_ERR_FORMAT,
             "%s: %s has no axis %d", pq_h5_path(file), path, like->axis);
    n = like->axis >= 0 ? shape->dim[like->axis] : n;
    PQ_NEW(packed, bytes);
    for (size_t i = 0; i < bytes; i++) {
        PQ_CHECK(values[i] >= 0.0 && values[i] <= 255.0, PQ_ERR_FORMAT,
                 "%g among the packed widths is no byte", values[i]);
        packed[i] = (uint8_t)values[i];
    }
    PQ_TRY(pq_quant_create_fixed(like->is_signed, like->overflow, like->rounding,
                                 like->axis, n, out, err));
    PQ_TRY(pq_quant_unpack_widths(packed, bytes, *out, err));
cleanup:
    pq_free(values);
    pq_free(packed);
    return st;
}

static pq_status load_fixed(pq_h5 *file, const char *path, const pq_shape *shape,
                            pq_quant **out, pq_err *err)
{
    pq_quant *q = NULL;
    int       is_signed, axis, overflow, rounding;
    pq_status st;

    PQ_TRY(pq_h5_whole(file, path, "signed", 0, 0, 1, &is_signed, err));
    PQ_TRY(
        pq_h5_whole(file, path, "overflow", 0, 0, PQ_OVERFLOW_WRAP_SM, &overflow, err));
    PQ_TRY(pq_h5_whole(file, path, "rounding", 0, 0, PQ_ROUND_TRN_ZERO, &rounding, err));
    PQ_TRY(pq_h5_whole(file, path, "axis", PQ_QUANT_PER_TENSOR, PQ_QUANT_PER_ITEM,
                       PQ_MAX_DIMS - 1, &axis, err));
    const pq_quant like = {.is_signed = is_signed == 1,
                           .overflow  = (pq_overflow)overflow,
                           .rounding  = (pq_rounding)rounding,
                           .axis      = axis};
    st                  = pq_h5_has_attr(file, path, "widths")
                              ? load_packed(file, path, &like, shape, &q, err)
                              : load_lists(file, path, &like, &q, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s: %s", pq_h5_path(file), path);
        goto cleanup;
    }
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Quantizer of a packed weight; NULL for float32. */
pq_status pq_h5_load_quantizer(pq_h5 *file, const char *path, const pq_shape *shape,
                               pq_quant **out, pq_err *err)
{
    char     *scheme = NULL;
    size_t    kind   = 0;
    pq_status st;

    PQ_TRY(pq_h5_attr_text(file, path, "scheme", &scheme, err));
    while (pq_quant_scheme_names[kind] != NULL &&
           strcmp(scheme, pq_quant_scheme_names[kind]) != 0) {
        kind++;
    }
    if (strcmp(scheme, PQ_H5_PLAIN) == 0) {
        goto cleanup;
    }
    PQ_CHECK(pq_quant_scheme_names[kind] != NULL, PQ_ERR_UNSUPPORTED,
             "%s: %s has scheme '%s', not one of integer, fixed, nf4, float16, bfloat16, "
             "float32",
             pq_h5_path(file), path, scheme);
    switch ((pq_quant_scheme)kind) {
    case PQ_QUANT_INTEGER:
    case PQ_QUANT_NF4:
        st = load_scaled(file, path, shape, (pq_quant_scheme)kind, out, err);
        break;
    case PQ_QUANT_FIXED:
        st = load_fixed(file, path, shape, out, err);
        break;
    case PQ_QUANT_FLOAT16:
    case PQ_QUANT_BFLOAT16:
        st = pq_quant_create((pq_quant_scheme)kind, 16, true, false, PQ_QUANT_PER_TENSOR,
                             0, out, err);
        break;
    }
cleanup:
    pq_free(scheme);
    return st;
}
