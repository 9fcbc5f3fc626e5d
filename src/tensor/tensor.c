#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

static const struct {
    const char *name;
    size_t      bytes;
} dtypes[PQ_DTYPE_COUNT] = {
#define PQ_DTYPE_ROW(NAME, name, bytes) {name, bytes},
    PQ_DTYPE_MAP(PQ_DTYPE_ROW)
#undef PQ_DTYPE_ROW
};

const char *pq_dtype_name(pq_dtype dtype)
{
    assert(dtype < PQ_DTYPE_COUNT);
    return dtypes[dtype].name;
}

size_t pq_dtype_bytes(pq_dtype dtype)
{
    assert(dtype < PQ_DTYPE_COUNT);
    return dtypes[dtype].bytes;
}

bool pq_shape_count(const pq_shape *shape, size_t *count)
{
    size_t n = 1;

    for (size_t i = 0; i < shape->ndim; i++) {
        if (__builtin_mul_overflow(n, shape->dim[i], &n)) {
            return false;
        }
    }
    *count = n;
    return true;
}

bool pq_shape_equal(const pq_shape *a, const pq_shape *b)
{
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, a->ndim * sizeof *a->dim) == 0;
}

char *pq_shape_text(const pq_shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "[");

    for (size_t i = 0; i < shape->ndim && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%zu", i == 0 ? "" : ", ",
                                 shape->dim[i]);
    }
    if (used < size) {
        (void)snprintf(buffer + used, size - used, "]");
    }
    return buffer;
}

pq_status pq_tensor_create(pq_dtype dtype, pq_shape shape, pq_tensor **out, pq_err *err)
{
    pq_tensor *t = NULL;
    size_t     count;
    char       text[128];
    pq_status  st;

    PQ_CHECK(shape.ndim <= PQ_MAX_DIMS, PQ_ERR_SHAPE, "%zu dimensions are more than %d",
             shape.ndim, PQ_MAX_DIMS);
    PQ_CHECK(pq_shape_count(&shape, &count) &&
                 count <= SIZE_MAX / 2 / pq_dtype_bytes(dtype),
             PQ_ERR_SHAPE, "the size of a %s array of shape %s overflows",
             pq_dtype_name(dtype), pq_shape_text(&shape, text, sizeof text));
    PQ_NEW(t, 1);
    t->dtype = dtype;
    t->shape = shape;
    t->count = count;
    t->data  = pq_calloc(count, pq_dtype_bytes(dtype));
    PQ_CHECK(t->data != NULL, PQ_ERR_NOMEM, "cannot allocate a %s array of shape %s",
             pq_dtype_name(dtype), pq_shape_text(&shape, text, sizeof text));
    *out = t;
    t    = NULL;
cleanup:
    pq_tensor_free(&t);
    return st;
}

void pq_tensor_free(pq_tensor **t)
{
    if (*t != NULL) {
        pq_free((*t)->data);
        pq_free(*t);
        *t = NULL;
    }
}

pq_status pq_tensor_clone(const pq_tensor *t, pq_tensor **out, pq_err *err)
{
    pq_tensor *copy = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(t->dtype, t->shape, &copy, err));
    memcpy(copy->data, t->data, t->count * pq_dtype_bytes(t->dtype));
    *out = copy;
cleanup:
    return st;
}

double pq_tensor_get(const pq_tensor *t, size_t i)
{
    assert(i < t->count);
    switch (t->dtype) {
    case PQ_DTYPE_F32:
        return (double)((const float *)t->data)[i];
    case PQ_DTYPE_F64:
        return ((const double *)t->data)[i];
    case PQ_DTYPE_F16:
        return (double)pq_f32_from_f16(((const uint16_t *)t->data)[i]);
    case PQ_DTYPE_BF16:
        return (double)pq_f32_from_bf16(((const uint16_t *)t->data)[i]);
    case PQ_DTYPE_I8:
        return ((const int8_t *)t->data)[i];
    case PQ_DTYPE_U8:
        return ((const uint8_t *)t->data)[i];
    case PQ_DTYPE_I16:
        return ((const int16_t *)t->data)[i];
    case PQ_DTYPE_U16:
        return ((const uint16_t *)t->data)[i];
    case PQ_DTYPE_I32:
        return ((const int32_t *)t->data)[i];
    case PQ_DTYPE_U32:
        return ((const uint32_t *)t->data)[i];
    case PQ_DTYPE_I64:
        return (double)((const int64_t *)t->data)[i];
    case PQ_DTYPE_COUNT:
        break;
    }
    assert(false);
    return 0.0;
}

/*
 * Float with its last bit set when the value was not exact ("round to odd"):
 * rounding that again to a narrower type gives what one rounding would.
 */
static float narrow_to_odd(double value)
{
    float f = (float)value;

    if (isfinite(value) && (double)f != value) {
        uint32_t bits;
        if (fabs((double)f) > fabs(value)) {
            f = nextafterf(f, 0.0f);
        }
        memcpy(&bits, &f, sizeof bits);
        bits |= 1;
        memcpy(&f, &bits, sizeof f);
    }
    return f;
}

/* Nearest whole number inside lo .. hi; NaN gives 0. hi may be 2^63, one above INT64_MAX.
 */
static int64_t saturate(double value, double lo, double hi)
{
    const double rounded = rint(value);

    if (isnan(value)) {
        return 0;
    }
    if (rounded >= 0x1p63) {
        return hi >= 0x1p63 ? INT64_MAX : (int64_t)hi;
    }
    return (int64_t)(rounded < lo ? lo : rounded > hi ? hi : rounded);
}

static void put(const pq_tensor *t, size_t i, double value)
{
    switch (t->dtype) {
    case PQ_DTYPE_F32:
        ((float *)t->data)[i] = (float)value;
        break;
    case PQ_DTYPE_F64:
        ((double *)t->data)[i] = value;
        break;
    case PQ_DTYPE_F16:
        ((uint16_t *)t->data)[i] = pq_f16_from_f32(narrow_to_odd(value));
        break;
    case PQ_DTYPE_BF16:
        ((uint16_t *)t->data)[i] = pq_bf16_from_f32(narrow_to_odd(value));
        break;
    case PQ_DTYPE_I8:
        ((int8_t *)t->data)[i] = (int8_t)saturate(value, INT8_MIN, INT8_MAX);
        break;
    case PQ_DTYPE_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)saturate(value, 0, UINT8_MAX);
        break;
    case PQ_DTYPE_I16:
        ((int16_t *)t->data)[i] = (int16_t)saturate(value, INT16_MIN, INT16_MAX);
        break;
    case PQ_DTYPE_U16:
        ((uint16_t *)t->data)[i] = (uint16_t)saturate(value, 0, UINT16_MAX);
        break;
    case PQ_DTYPE_I32:
        ((int32_t *)t->data)[i] = (int32_t)saturate(value, INT32_MIN, INT32_MAX);
        break;
    case PQ_DTYPE_U32:
        ((uint32_t *)t->data)[i] = (uint32_t)saturate(value, 0, UINT32_MAX);
        break;
    case PQ_DTYPE_I64:
        ((int64_t *)t->data)[i] = saturate(value, -0x1p63, 0x1p63);
        break;
    case PQ_DTYPE_COUNT:
        break;
    }
}

pq_status pq_tensor_convert(const pq_tensor *t, pq_dtype dtype, pq_tensor **out,
                            pq_err *err)
{
    pq_tensor *copy = NULL;
    pq_status  st;

    if (dtype == t->dtype) {
        return pq_tensor_clone(t, out, err);
    }
    PQ_TRY(pq_tensor_create(dtype, t->shape, &copy, err));
    for (size_t i = 0; i < t->count; i++) {
        put(copy, i, pq_tensor_get(t, i));
    }
    *out = copy;
cleanup:
    return st;
}

/* n items that lie `step` items apart, to a row. */
static void copy_strided(char *restrict to, const char *restrict from, size_t bytes,
                         size_t n, size_t step)
{
    if (step == 1) {
        memcpy(to, from, n * bytes);
        return;
    }
    for (size_t i = 0; i < n; i++) { /* a size that is known is one move, not a call */
        if (bytes == sizeof(double)) {
            memcpy(to + i * sizeof(double), from + i * step * sizeof(double),
                   sizeof(double));
        } else if (bytes == sizeof(float)) {
            memcpy(to + i * sizeof(float), from + i * step * sizeof(float),
                   sizeof(float));
        } else {
            memcpy(to + i * bytes, from + i * step * bytes, bytes);
        }
    }
}

pq_status pq_tensor_permute(const pq_tensor *t, const size_t *axis, pq_tensor **out,
                            pq_err *err)
{
    const size_t ndim = t->shape.ndim, bytes = pq_dtype_bytes(t->dtype);
    size_t       stride[PQ_MAX_DIMS] = {0}, index[PQ_MAX_DIMS] = {0}, from = 0;
    unsigned     seen  = 0;
    pq_shape     shape = t->shape;
    pq_tensor   *copy  = NULL;
    pq_status    st;

    for (size_t i = ndim, step = 1; i-- > 0; step *= t->shape.dim[i]) {
        stride[i] = step;
    }
    for (size_t i = 0; i < ndim; i++) {
        PQ_CHECK(axis[i] < ndim && (seen >> axis[i] & 1) == 0, PQ_ERR_SHAPE,
                 "axis %zu is named twice or is not in 0..%zu", axis[i], ndim - 1);
        seen |= 1u << axis[i];
        shape.dim[i] = t->shape.dim[axis[i]];
    }
    PQ_TRY(pq_tensor_create(t->dtype, shape, &copy, err));
    const size_t run  = ndim > 0 ? shape.dim[ndim - 1] : 1;
    const size_t step = ndim > 0 ? stride[axis[ndim - 1]] : 1;

    for (size_t i = 0; i < t->count; i += run) {
        copy_strided((char *)copy->data + i * bytes, (const char *)t->data + from * bytes,
                     bytes, run, step);
        for (size_t d = ndim - 1; ndim > 1 && d-- > 0;) { /* an odometer over the rest */
            from += stride[axis[d]];
            if (++index[d] < shape.dim[d]) {
                break;
            }
            from -= stride[axis[d]] * shape.dim[d];
            index[d] = 0;
        }
    }
    *out = copy;
cleanup:
    return st;
}

pq_status pq_tensor_reshape(pq_tensor *t, pq_shape shape, pq_err *err)
{
    size_t    count;
    char      from[128], to[128];
    pq_status st;

    PQ_CHECK(shape.ndim <= PQ_MAX_DIMS && pq_shape_count(&shape, &count) &&
                 count == t->count,
             PQ_ERR_SHAPE, "an array of shape %s cannot become %s",
             pq_shape_text(&t->shape, from, sizeof from),
             pq_shape_text(&shape, to, sizeof to));
    t->shape = shape;
cleanup:
    return st;
}

pq_status pq_tensor_unfold(const pq_tensor *t, size_t mode, pq_tensor **out, pq_err *err)
{
    size_t     axis[PQ_MAX_DIMS], n = 1;
    pq_tensor *copy = NULL;
    pq_status  st;

    PQ_CHECK(mode < t->shape.ndim, PQ_ERR_SHAPE, "mode %zu is not an axis of %zu", mode,
             t->shape.ndim);
    axis[0] = mode;
    for (size_t i = 0; i < t->shape.ndim; i++) {
        if (i != mode) {
            axis[n++] = i;
        }
    }
    PQ_TRY(pq_tensor_permute(t, axis, &copy, err));
    copy->shape = PQ_SHAPE(t->shape.dim[mode],
                           t->shape.dim[mode] == 0 ? 0 : t->count / t->shape.dim[mode]);
    *out        = copy;
cleanup:
    return st;
}

/* Whether all n items are finite: adding one to the exponent carries into the sign only
 * where it was all ones. Without branches, so that it runs at the speed of memory. */
static bool all_finite_f64(const double *x, size_t n)
{
    const uint64_t exponent = UINT64_C(0x7ff) << 52, one = UINT64_C(1) << 52;
    uint64_t       carry = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i, sizeof bits);
        carry |= (bits & exponent) + one;
    }
    return carry >> 63 == 0;
}

static bool all_finite_f32(const float *x, size_t n)
{
    const uint32_t exponent = UINT32_C(0xff) << 23, one = UINT32_C(1) << 23;
    uint32_t       carry = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        carry |= (bits & exponent) + one;
    }
    return carry >> 31 == 0;
}

size_t pq_tensor_first_nonfinite(const pq_tensor *t)
{
    if (t->dtype > PQ_DTYPE_BF16 || /* integers */
        (t->dtype == PQ_DTYPE_F64 && all_finite_f64(t->data, t->count)) ||
        (t->dtype == PQ_DTYPE_F32 && all_finite_f32(t->data, t->count))) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (!isfinite(pq_tensor_get(t, i))) {
            return i;
        }
    }
    return SIZE_MAX;
}
