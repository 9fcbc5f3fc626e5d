#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Drops the low `shift` bits, rounding to nearest even. */
static uint32_t shift_rounded(uint32_t x, unsigned shift)
{
    const uint32_t kept = x >> shift, rest = x & ((1u << shift) - 1),
                   half = 1u << (shift - 1);

    return kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
}

uint16_t pq_f16_from_f32(float value)
{
    const uint32_t sign = bits_of(value) >> 16 & 0x8000;
    const uint32_t x    = bits_of(value) & 0x7fffffff;
    uint32_t       half;

    if (x > 0x7f800000) {
        half = 0x7e00 | (x >> 13 & 0x3ff); /* a quiet NaN with the payload's top */
    } else if (x >= 0x477ff000) {
        half = 0x7c00; /* 65520 and above round to infinity */
    } else if (x >= 0x38800000) {
        half = shift_rounded(x - 0x38000000, 13);
    } else if (x > 0x33000000) {
        half = shift_rounded((x & 0x7fffff) | 0x800000, 126 - (x >> 23));
    } else {
        half = 0; /* up to half the smallest denormal, 2^-25 */
    }
    return (uint16_t)(sign | half);
}

float pq_f32_from_f16(uint16_t bits)
{
    const uint32_t sign     = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;

    if (exponent == 0x1f) {
        return float_of(sign | 0x7f800000 | fraction << 13);
    }
    if (exponent == 0) {
        return float_of(sign | bits_of((float)fraction * 0x1p-24f));
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t pq_bf16_from_f32(float value)
{
    const uint32_t x = bits_of(value);

    return (uint16_t)(isnan(value) ? x >> 16 | 0x40 : shift_rounded(x, 16));
}

float pq_f32_from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}
