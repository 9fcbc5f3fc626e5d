#include <math.h>
#include <string.h>

#include "graph/graph_json.h"
#include "graph/json_keys.h"

enum { SCALES_MAX = 1 << 24 };

static bool set_arrays(const pq_quant *q, json_t *json)
{
    json_t *first = json_array(), *second = json_array();
    bool    fixed = q->scheme == PQ_QUANT_FIXED;
    bool    ok    = first != NULL && second != NULL;

    for (size_t i = 0; ok && i < q->n; i++) {
        ok =
            json_array_append_new(first, fixed ? json_integer(pq_quant_integer_bits(q, i))
                                               : json_real((double)q->scale[i])) == 0 &&
            json_array_append_new(second,
                                  json_integer(fixed ? pq_quant_fraction_bits(q, i)
                                                     : q->zero_point[i])) == 0;
    }
    ok = ok && json_object_set(json, fixed ? "integer_bits" : "scale", first) == 0 &&
         json_object_set(json, fixed ? "fraction_bits" : "zero_point", second) == 0;
    json_decref(first);
    json_decref(second);
    return ok;
}

pq_status pq_quant_to_json(const pq_quant *q, json_t **out, pq_err *err)
{
    json_t   *json = json_object();
    bool      ok;
    pq_status st;

    ok = json != NULL &&
         json_object_set_new(json, "scheme",
                             json_string(pq_quant_scheme_names[q->scheme])) == 0;
    if (pq_quant_has_codes(q)) {
        ok = ok && json_object_set_new(json, "signed", json_boolean(q->is_signed)) == 0 &&
             json_object_set_new(json, "axis", json_integer(q->axis)) == 0 &&
             set_arrays(q, json);
    }
    if (q->scheme == PQ_QUANT_INTEGER) {
        ok = ok && json_object_set_new(json, "bits", json_integer(q->bits)) == 0 &&
             json_object_set_new(json, "narrow", json_boolean(q->narrow)) == 0;
    }
    if (q->scheme == PQ_QUANT_FIXED) {
        ok = ok &&
             json_object_set_new(json, "overflow",
                                 json_string(pq_overflow_names[q->overflow])) == 0 &&
             json_object_set_new(json, "rounding",
                                 json_string(pq_rounding_names[q->rounding])) == 0;
    }
    PQ_CHECK(ok, PQ_ERR_NOMEM, "cannot allocate a quantizer's description");
    *out = json_incref(json);
cleanup:
    json_decref(json);
    return st;
}

/* Scales and zero points; n was checked against both. */
static pq_status read_scales(const json_t *scale, const json_t *zero, pq_quant *q,
                             pq_err *err)
{
    const int32_t lo = pq_quant_lo(q), hi = pq_quant_hi(q);
    pq_status     st = PQ_OK;

    for (size_t i = 0; i < q->n; i++) {
        const json_t *s = json_array_get(scale, i), *z = json_array_get(zero, i);
        const double  value = json_number_value(s);
        PQ_CHECK(json_is_number(s) && (float)value > 0.0f && isfinite((float)value),
                 PQ_ERR_FORMAT, "scale %zu of a quantizer is not a positive float32", i);
        PQ_CHECK(json_is_integer(z) && json_integer_value(z) >= lo &&
                     json_integer_value(z) <= hi,
                 PQ_ERR_FORMAT,
                 "zero point %zu of a quantizer is not a whole number in %d..%d", i, lo,
                 hi);
        q->scale[i]      = (float)value;
        q->zero_point[i] = (int32_t)json_integer_value(z);
    }
cleanup:
    return st;
}

static pq_status read_integer(const json_t *json, pq_quant **out, pq_err *err)
{
    const json_t *scale = json_object_get(json, "scale");
    const json_t *zero  = json_object_get(json, "zero_point");
    const size_t  n     = json_array_size(scale);
    int64_t       bits = 0, axis = 0;
    pq_quant     *q = NULL;
    pq_status     st;

    PQ_TRY(pq_json_whole(json, "bits", 2, 16, &bits, err));
    PQ_TRY(pq_json_whole(json, "axis", PQ_QUANT_PER_TENSOR, PQ_MAX_DIMS - 1, &axis, err));
    PQ_CHECK(json_is_boolean(json_object_get(json, "signed")) &&
                 json_is_boolean(json_object_get(json, "narrow")),
             PQ_ERR_FORMAT,
             "'signed' and 'narrow' of a quantizer are not both true or false");
    PQ_CHECK(
        n >= 1 && n <= SCALES_MAX && json_array_size(zero) == n, PQ_ERR_FORMAT,
        "a quantizer has %zu scales and %zu zero points, not as many of each in 1..%d", n,
        json_array_size(zero), SCALES_MAX);
    PQ_TRY(pq_quant_create(
        PQ_QUANT_INTEGER, (int)bits, json_is_true(json_object_get(json, "signed")),
        json_is_true(json_object_get(json, "narrow")), (int)axis, n, &q, err));
    PQ_TRY(read_scales(scale, zero, q, err));
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Place of a text in a NULL-terminated list. */
static pq_status read_choice(const json_t *json, const char *key,
                             const char *const *choices, int *out, pq_err *err)
{
    const char *text = NULL;
    pq_status   st;

    PQ_TRY(pq_json_text(json, key, &text, err));
    for (*out = 0; choices[*out] != NULL && strcmp(choices[*out], text) != 0;) {
        ++*out;
    }
    PQ_CHECK(choices[*out] != NULL, PQ_ERR_FORMAT, "%s '%s' of a quantizer is not known",
             key, text);
cleanup:
    return st;
}

static pq_status read_fixed(const json_t *json, pq_quant **out, pq_err *err)
{
    const json_t *whole    = json_object_get(json, "integer_bits");
    const json_t *fraction = json_object_get(json, "fraction_bits");
    const size_t  n        = json_array_size(whole);
    int           overflow = 0, rounding = 0;
    int64_t       axis = 0;
    pq_quant     *q    = NULL;
    pq_status     st;

    PQ_TRY(pq_json_whole(json, "axis", PQ_QUANT_PER_ITEM, PQ_MAX_DIMS - 1, &axis, err));
    PQ_TRY(read_choice(json, "overflow", pq_overflow_names, &overflow, err));
    PQ_TRY(read_choice(json, "rounding", pq_rounding_names, &rounding, err));
    PQ_CHECK(json_is_boolean(json_object_get(json, "signed")), PQ_ERR_FORMAT,
             "'signed' of a quantizer is not true or false");
    PQ_CHECK(n >= 1 && n <= SCALES_MAX && json_array_size(fraction) == n, PQ_ERR_FORMAT,
             "a quantizer has %zu integer and %zu fraction bits, not as many of each in "
             "1..%d",
             n, json_array_size(fraction), SCALES_MAX);
    PQ_TRY(pq_quant_create_fixed(json_is_true(json_object_get(json, "signed")),
                                 (pq_overflow)overflow, (pq_rounding)rounding, (int)axis,
                                 n, &q, err));
    for (size_t i = 0; i < n; i++) {
        const json_int_t a = json_integer_value(json_array_get(whole, i));
        const json_int_t b = json_integer_value(json_array_get(fraction, i));
        PQ_CHECK(a >= -64 && a <= 64 && b >= -64 && b <= 64, PQ_ERR_FORMAT,
                 "bits %zu of a fixed-point quantizer are not whole numbers in -24..24",
                 i);
        PQ_TRY(pq_quant_set_fixed(q, i, (int)a, (int)b, err));
    }
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

pq_status pq_quant_from_json(const json_t *json, pq_quant **out, pq_err *err)
{
    static const char *const integer_keys[] = {"scheme", "bits",  "signed",     "narrow",
                                               "axis",   "scale", "zero_point", NULL};
    static const char *const fixed_keys[]   = {
          "scheme",        "signed",   "axis",     "integer_bits",
          "fraction_bits", "overflow", "rounding", NULL};
    static const char *const float_keys[] = {"scheme", NULL};
    const char              *scheme       = NULL;
    pq_status                st;

    PQ_CHECK(json_is_object(json), PQ_ERR_FORMAT, "a quantizer is not a JSON object");
    PQ_TRY(pq_json_text(json, "scheme", &scheme, err));
    if (strcmp(scheme, "integer") == 0) {
        PQ_TRY(pq_json_known(json, "a quantizer", integer_keys, err));
        PQ_TRY(read_integer(json, out, err));
        goto cleanup;
    }
    if (strcmp(scheme, "fixed") == 0) {
        PQ_TRY(pq_json_known(json, "a fixed-point quantizer", fixed_keys, err));
        PQ_TRY(read_fixed(json, out, err));
        goto cleanup;
    }
    PQ_CHECK(
        strcmp(scheme, "float16") == 0 || strcmp(scheme, "bfloat16") == 0, PQ_ERR_FORMAT,
        "scheme '%s' of a quantizer is not integer, fixed, float16 or bfloat16", scheme);
    PQ_TRY(pq_json_known(json, "a 16-bit float quantizer", float_keys, err));
    PQ_TRY(pq_quant_create(strcmp(scheme, "float16") == 0 ? PQ_QUANT_FLOAT16
                                                          : PQ_QUANT_BFLOAT16,
                           16, true, false, PQ_QUANT_PER_TENSOR, 0, out, err));
cleanup:
    return st;
}
