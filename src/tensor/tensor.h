/**
 * @file
 * Dense row-major arrays: shape, type, and a block of memory they own.
 */
#ifndef PQ_TENSOR_TENSOR_H
#define PQ_TENSOR_TENSOR_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/text.h"

enum { PQ_MAX_DIMS = 8 };

/** A shape by value; for layers it is the shape of one sample, without the batch. */
typedef struct {
    size_t ndim; /**< 0 (scalar) .. PQ_MAX_DIMS */
    size_t dim[PQ_MAX_DIMS];
} pq_shape;

/* X(NAME, name, bytes) */
#define PQ_DTYPE_MAP(X)                                                                  \
    X(F32, "float32", 4)                                                                 \
    X(F64, "float64", 8)                                                                 \
    X(F16, "float16", 2)                                                                 \
    X(BF16, "bfloat16", 2)                                                               \
    X(I8, "int8", 1)                                                                     \
    X(U8, "uint8", 1)                                                                    \
    X(I16, "int16", 2)                                                                   \
    X(U16, "uint16", 2)                                                                  \
    X(I32, "int32", 4)                                                                   \
    X(U32, "uint32", 4)                                                                  \
    X(I64, "int64", 8)

typedef enum {
#define PQ_DTYPE_ENUM(NAME, name, bytes) PQ_DTYPE_##NAME,
    PQ_DTYPE_MAP(PQ_DTYPE_ENUM)
#undef PQ_DTYPE_ENUM
        PQ_DTYPE_COUNT
} pq_dtype;

/** Array; owns `data`. */
typedef struct {
    pq_dtype dtype;
    pq_shape shape;
    size_t   count; /**< product of the dimensions */
    void    *data;  /**< count items, row-major, 64-byte aligned */
} pq_tensor;

/** Name of a type ("float32") and the bytes of one item. */
const char *pq_dtype_name(pq_dtype dtype);
size_t      pq_dtype_bytes(pq_dtype dtype);

/** Shape from a list: PQ_SHAPE(64, 16). */
#define PQ_SHAPE(...)                                                                    \
    ((pq_shape){sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), {__VA_ARGS__}})

/** Items of a shape; false on overflow. */
bool pq_shape_count(const pq_shape *shape, size_t *count);

/** Same number of dimensions and the same dimensions. */
bool pq_shape_equal(const pq_shape *a, const pq_shape *b);

/** "[64, 3, 3, 16]"; buffer of at least 128 bytes; returns buffer. */
char *pq_shape_text(const pq_shape *shape, char *buffer, size_t size);

/**
 * Zeroed array.
 * @retval PQ_ERR_SHAPE  Too many dimensions, or the size overflows.
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_tensor_create(pq_dtype dtype, pq_shape shape, pq_tensor **out, pq_err *err);

/** Frees and sets NULL; NULL is harmless. */
void pq_tensor_free(pq_tensor **t);

/** Deep copy. */
pq_status pq_tensor_clone(const pq_tensor *t, pq_tensor **out, pq_err *err);

/** Copy in another type: floats to floats round to nearest even, integers saturate. */
pq_status pq_tensor_convert(const pq_tensor *t, pq_dtype dtype, pq_tensor **out,
                            pq_err *err);

/**
 * Numbers that lie side by side, of any alignment, as floats.
 *
 * @param[in]  dtype  of the numbers
 * @param[in]  n      how many
 * @param[in]  to     PQ_DTYPE_F32 or PQ_DTYPE_F64
 * @param[out] out    each goes to every `step`-th place
 */
void pq_numbers_convert(pq_dtype dtype, const void *from, size_t n, pq_dtype to,
                        void *out, size_t step);

/** Copy with axes reordered: out.dim[i] = t.dim[axis[i]]. */
pq_status pq_tensor_permute(const pq_tensor *t, const size_t *axis, pq_tensor **out,
                            pq_err *err);

/** Same items under another shape, in place. @retval PQ_ERR_SHAPE  Counts differ. */
pq_status pq_tensor_reshape(pq_tensor *t, pq_shape shape, pq_err *err);

/**
 * Mode-n unfolding as TensorLy defines it: axis `mode` first, the others in
 * their order, row-major; result is a matrix [dim[mode], count / dim[mode]].
 */
pq_status pq_tensor_unfold(const pq_tensor *t, size_t mode, pq_tensor **out, pq_err *err);

/** First item that is NaN or infinite, or SIZE_MAX; for float types. */
size_t pq_tensor_first_nonfinite(const pq_tensor *t);

/** One item as a double, whatever the type. */
double pq_tensor_get(const pq_tensor *t, size_t i);

/** Typed access, asserted. */
static inline float *pq_f32(const pq_tensor *t)
{
    assert(t->dtype == PQ_DTYPE_F32);
    return t->data;
}

static inline double *pq_f64(const pq_tensor *t)
{
    assert(t->dtype == PQ_DTYPE_F64);
    return t->data;
}

/** IEEE half and bfloat16 conversions, round to nearest even. */
uint16_t pq_f16_from_f32(float value);
float    pq_f32_from_f16(uint16_t bits);
uint16_t pq_bf16_from_f32(float value);
float    pq_f32_from_bf16(uint16_t bits);

#endif
