/* Numbers of any type and alignment as floats. */
#include <string.h>

#include "tensor/tensor.h"

#define CONVERT(type, value_of_item)                                                     \
    for (size_t i = 0; i < n; i++) {                                                     \
        type v;                                                                          \
        memcpy(&v, bytes + i * sizeof v, sizeof v);                                      \
        if (to == PQ_DTYPE_F32) {                                                        \
            ((float *)out)[i * step] = (float)(value_of_item);                           \
        } else {                                                                         \
            ((double *)out)[i * step] = (double)(value_of_item);                         \
        }                                                                                \
    }                                                                                    \
    break

void pq_numbers_convert(pq_dtype dtype, const void *from, size_t n, pq_dtype to,
                        void *out, size_t step)
{
    const uint8_t *bytes = from;

    if (dtype == to && step == 1) {
        memcpy(out, from, n * pq_dtype_bytes(dtype));
        return;
    }
    switch (dtype) {
    case PQ_DTYPE_F32:
        CONVERT(float, v);
    case PQ_DTYPE_F64:
        CONVERT(double, v);
    case PQ_DTYPE_F16:
        CONVERT(uint16_t, pq_f32_from_f16(v));
    case PQ_DTYPE_BF16:
        CONVERT(uint16_t, pq_f32_from_bf16(v));
    case PQ_DTYPE_I8:
        CONVERT(int8_t, v);
    case PQ_DTYPE_U8:
        CONVERT(uint8_t, v);
    case PQ_DTYPE_I16:
        CONVERT(int16_t, v);
    case PQ_DTYPE_U16:
        CONVERT(uint16_t, v);
    case PQ_DTYPE_I32:
        CONVERT(int32_t, v);
    case PQ_DTYPE_U32:
        CONVERT(uint32_t, v);
    case PQ_DTYPE_I64:
        CONVERT(int64_t, v);
    case PQ_DTYPE_COUNT:
    default:
        break;
    }
}
