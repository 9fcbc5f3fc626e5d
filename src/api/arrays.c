/* Arrays of the caller: read where they lie, whatever their strides. */
#include "api/inside.h"

#include <string.h>

static size_t item_bytes(pquant_dtype dtype)
{
    static const size_t bytes[] = {4, 8, 1, 1, 2, 2, 4, 4, 8};

    return (size_t)dtype < sizeof bytes / sizeof *bytes ? bytes[dtype] : 0;
}

size_t pq_api_row(const pquant_array *a)
{
    size_t n = 1;

    for (size_t d = 1; d < a->ndim && d < PQUANT_AXES; d++) {
        if (__builtin_mul_overflow(n, a->shape[d], &n)) {
            return SIZE_MAX;
        }
    }
    return n;
}

/* Strides in bytes, those of a row-major array where none are given. */
static void strides_of(const pquant_array *a, ptrdiff_t out[PQUANT_AXES])
{
    ptrdiff_t step  = (ptrdiff_t)item_bytes(a->dtype);
    bool      given = false;

    for (size_t d = 0; d < a->ndim; d++) {
        given = given || a->strides[d] != 0;
    }
    for (size_t d = a->ndim; d-- > 0;) {
        out[d] = given ? a->strides[d] : step;
        step *= d > 0 ? (ptrdiff_t)a->shape[d] : 1;
    }
}

bool pq_api_is_plain(const pquant_array *a)
{
    ptrdiff_t strides[PQUANT_AXES] = {0}, step = sizeof(float);

    strides_of(a, strides);
    for (size_t d = a->ndim; d-- > 0;) {
        if (a->shape[d] != 1 && strides[d] != step) {
            return false;
        }
        step *= d > 0 ? (ptrdiff_t)a->shape[d] : 1;
    }
    return a->dtype == PQUANT_FLOAT32;
}

static double item(const char *at, pquant_dtype dtype)
{
    switch (dtype) {
#define READ(NAME, type)                                                                 \
    case PQUANT_##NAME: {                                                                \
        type value;                                                                      \
        memcpy(&value, at, sizeof value);                                                \
        return (double)value;                                                            \
    }
        READ(FLOAT32, float)
        READ(FLOAT64, double)
        READ(INT8, int8_t)
        READ(UINT8, uint8_t)
        READ(INT16, int16_t)
        READ(UINT16, uint16_t)
        READ(INT32, int32_t)
        READ(UINT32, uint32_t)
        READ(INT64, int64_t)
#undef READ
    }
    return 0.0;
}

/* Told of items one after the other. */
typedef void (*sink)(void *to, size_t at, double value);

static void put_float(void *to, size_t at, double value)
{
    ((float *)to)[at] = (float)value;
}

static void put_double(void *to, size_t at, double value)
{
    ((double *)to)[at] = value;
}

static pq_status gather(const pquant_array *a, size_t first, size_t n, sink put, void *to,
                        pq_err *err)
{
    const size_t row                  = pq_api_row(a);
    ptrdiff_t    strides[PQUANT_AXES] = {0};
    pq_status    st;

    PQ_CHECK(item_bytes(a->dtype) > 0, PQ_ERR_UNSUPPORTED, "array type %d is not known",
             (int)a->dtype);
    strides_of(a, strides);
    for (size_t i = 0; i < n; i++) {
        const char *start = (const char *)a->data + (ptrdiff_t)(first + i) * strides[0];
        for (size_t k = 0; k < row; k++) {
            const char *at   = start;
            size_t      rest = k;
            for (size_t d = a->ndim; d-- > 1;) {
                at += (ptrdiff_t)(rest % a->shape[d]) * strides[d];
                rest /= a->shape[d];
            }
            put(to, i * row + k, item(at, a->dtype));
        }
    }
cleanup:
    return st;
}

pq_status pq_api_gather(const pquant_array *a, size_t first, size_t n, float *out,
                        pq_err *err)
{
    if (pq_api_is_plain(a)) {
        const size_t row = pq_api_row(a);
        memcpy(out, (const float *)a->data + first * row, n * row * sizeof *out);
        return PQ_OK;
    }
    return gather(a, first, n, put_float, out, err);
}

pq_status pq_api_gather_double(const pquant_array *a, size_t first, size_t n, double *out,
                               pq_err *err)
{
    return gather(a, first, n, put_double, out, err);
}
