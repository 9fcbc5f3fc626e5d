#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static float from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Nearest half by search: the definition, independent of bit tricks. */
static uint16_t nearest_half(float x)
{
    uint16_t best = 0;
    double   gap  = INFINITY;

    for (uint16_t h = 0; h < 0x7c00; h++) {
        const double d = fabs(fabs((double)x) - (double)pq_f32_from_f16(h));
        if (d < gap || (d == gap && (h & 1) == 0)) {
            gap  = d;
            best = h;
        }
    }
    if (fabs((double)x) >= 65520.0) {
        best = 0x7c00;
    }
    return best | (signbit(x) ? 0x8000 : 0);
}

Test(half, every_half_survives_the_way_to_float_and_back)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float    f    = pq_f32_from_f16((uint16_t)h);
        const uint16_t back = pq_f16_from_f32(f);
        if (isnan(f)) {
            cr_assert(isnan(pq_f32_from_f16(back)), "%04x", h);
        } else {
            cr_assert_eq(back, h, "%04x became %04x", h, back);
        }
    }
}

Test(half, known_values)
{
    cr_expect_eq(pq_f16_from_f32(1.0f), 0x3c00);
    cr_expect_eq(pq_f16_from_f32(-2.0f), 0xc000);
    cr_expect_eq(pq_f16_from_f32(65504.0f), 0x7bff);
    cr_expect_eq(pq_f16_from_f32(65519.996f), 0x7bff);
    cr_expect_eq(pq_f16_from_f32(65520.0f), 0x7c00);
    cr_expect_eq(pq_f16_from_f32(INFINITY), 0x7c00);
    cr_expect_eq(pq_f16_from_f32(-INFINITY), 0xfc00);
    cr_expect_eq(pq_f16_from_f32(-0.0f), 0x8000);
    cr_expect_eq(pq_f16_from_f32(0x1p-24f), 1);
    cr_expect_eq(pq_f16_from_f32(0x1p-25f), 0, "a tie goes to the even 0");
    cr_expect_eq(pq_f16_from_f32(0x1.000002p-25f), 1);
    cr_expect_eq(pq_f16_from_f32(0x1.8p-24f), 2, "a tie goes to the even 2");
    cr_expect_eq(pq_f16_from_f32(0x1.ff8p-15f), 0x3ff);
    cr_expect_eq(pq_f16_from_f32(0x1.ffcp-15f), 0x400, "rounds up into the normals");
    cr_expect(isnan(pq_f32_from_f16(pq_f16_from_f32(NAN))));
}

Test(half, rounds_to_the_nearest_and_ties_to_even)
{
    for (uint32_t i = 0; i < 3000; i++) { /* all exponents, ties and near-ties */
        const uint32_t exponent = 100 + i % 45,
                       low      = (uint32_t[]){0x1000, 0x0fff, 0x1001, 0}[i % 4];
        const uint32_t bits = exponent << 23 | ((i * 2654435761u >> 10) & 0x7fe000) | low;
        const float    x    = from_bits(bits | (i % 2) << 31);
        cr_assert_eq(pq_f16_from_f32(x), nearest_half(x), "%a", (double)x);
    }
}

Test(half, bfloat16_rounds_to_even_and_keeps_specials)
{
    cr_expect_eq(pq_bf16_from_f32(1.0f), 0x3f80);
    cr_expect_eq(pq_bf16_from_f32(from_bits(0x3f808000)), 0x3f80, "a tie goes to even");
    cr_expect_eq(pq_bf16_from_f32(from_bits(0x3f818000)), 0x3f82, "a tie goes to even");
    cr_expect_eq(pq_bf16_from_f32(from_bits(0x3f808001)), 0x3f81);
    cr_expect_eq(pq_bf16_from_f32(from_bits(0x7f7fffff)), 0x7f80, "rounds to infinity");
    cr_expect_eq(pq_bf16_from_f32(from_bits(0x00008001)), 1, "denormals");
    cr_expect_eq(pq_bf16_from_f32(-INFINITY), 0xff80);
    cr_expect(isnan(pq_f32_from_bf16(pq_bf16_from_f32(from_bits(0x7f800001)))));
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = pq_f32_from_bf16((uint16_t)h);
        cr_assert(isnan(f) || pq_bf16_from_f32(f) == h, "%04x", h);
    }
}
