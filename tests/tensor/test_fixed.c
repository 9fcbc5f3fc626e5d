#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "tensor/quant.h"

static pq_quant *fixed(bool is_signed, pq_overflow overflow, pq_rounding rounding,
                       int integer_bits, int fraction_bits)
{
    pq_quant *q = NULL;

    cr_assert_eq(pq_quant_create_fixed(is_signed, overflow, rounding, PQ_QUANT_PER_TENSOR,
                                       1, &q, NULL),
                 PQ_OK);
    cr_assert_eq(pq_quant_set_fixed(q, 0, integer_bits, fraction_bits, NULL), PQ_OK);
    return q;
}

/* The modes in the words of SystemC and of calad0i/quantizers, on a value in steps. */
static double rounded(double x, pq_rounding mode)
{
    const double down = floor(x), up = ceil(x);
    const bool   tie = x - down == 0.5;

    switch (mode) {
    case PQ_ROUND_TRN:
        return down;
    case PQ_ROUND_TRN_ZERO:
        return x < 0 ? up : down;
    case PQ_ROUND_RND:
        return tie ? up : (x - down < 0.5 ? down : up);
    case PQ_ROUND_RND_MIN_INF:
        return tie ? down : (x - down < 0.5 ? down : up);
    case PQ_ROUND_RND_ZERO:
        return tie ? (x < 0 ? up : down) : (x - down < 0.5 ? down : up);
    case PQ_ROUND_RND_INF:
        return tie ? (x < 0 ? down : up) : (x - down < 0.5 ? down : up);
    case PQ_ROUND_RND_CONV:
        return tie ? (fmod(down, 2.0) == 0.0 ? down : up) : (x - down < 0.5 ? down : up);
    }
    return NAN;
}

/* One step at a time: wrapping walks around, reflection turns at the ends. */
static long overflowed(long code, long lo, long hi, pq_overflow mode)
{
    const long codes = hi - lo + 1;

    switch (mode) {
    case PQ_OVERFLOW_SAT:
        return code < lo ? lo : (code > hi ? hi : code);
    case PQ_OVERFLOW_SAT_SYM:
        lo = lo < 0 ? -hi : 0;
        return code < lo ? lo : (code > hi ? hi : code);
    case PQ_OVERFLOW_WRAP:
        while (code > hi) {
            code -= codes;
        }
        while (code < lo) {
            code += codes;
        }
        return code;
    case PQ_OVERFLOW_WRAP_SM:
        while (code > hi || code < lo) {
            code = code > hi ? 2 * hi + 1 - code : 2 * lo - 1 - code;
        }
        return code;
    }
    return 0;
}

/* All quarter steps over several times the range, each width, sign, and mode. */
Test(fixed, every_mode_is_that_of_the_plain_reference_for_every_value)
{
    static const int fractions[] = {-3, 0, 2, 20};
    size_t           cases       = 0;

    for (int width = 1; width <= 7; width++) {
        for (int k = 0; k < 2; k++) {
            for (size_t f = 0; f < 4 && width > k; f++) {
                for (int mode = 0; mode < 28; mode++) {
                    const pq_overflow overflow = (pq_overflow)(mode % 4);
                    const pq_rounding rounding = (pq_rounding)(mode / 4);
                    pq_quant         *q        = fixed(k != 0, overflow, rounding,
                                                       width - k - fractions[f], fractions[f]);
                    const long        lo       = k ? -(1L << (width - 1)) : 0;
                    const long        hi       = (1L << (width - k)) - 1;
                    const double      step     = ldexp(1.0, -fractions[f]);
                    for (long i = -(20L << width); i <= 20L << width; i++) {
                        const double x = (double)i / 4.0;
                        const long   due =
                            overflowed(lrint(rounded(x, rounding)), lo, hi, overflow);
                        cr_assert_eq(pq_quant_code_real(q, 0, x * step), due,
                                     "%d bits, f %d, %s, %s: %g steps", width,
                                     fractions[f], pq_overflow_names[overflow],
                                     pq_rounding_names[rounding], x);
                        cr_assert_eq(pq_quant_round(q, 0, (float)(x * step)),
                                     (float)((double)due * step));
                        cases++;
                    }
                    pq_quant_free(&q);
                }
            }
        }
    }
    cr_expect_gt(cases, 1000000);
}

Test(fixed, sixteen_bits_agree_with_the_reference_too)
{
    pq_rng rng = pq_rng_stream(3, "fixed");

    for (int mode = 0; mode < 28; mode++) {
        pq_quant *q =
            fixed(true, (pq_overflow)(mode % 4), (pq_rounding)(mode / 4), 5, 10);
        for (int i = 0; i < 20000; i++) {
            const double x = rint(4e5 * (pq_rng_uniform(&rng) - 0.5)) / 2.0;
            const long   due =
                overflowed(lrint(rounded(x, q->rounding)), -32768, 32767, q->overflow);
            cr_assert_eq(pq_quant_code_real(q, 0, x / 1024.0), due, "%g", x);
        }
        pq_quant_free(&q);
    }
}

/* floor(x + 0.5) gives 1 here: the sum rounds up. */
Test(fixed, what_is_just_below_a_tie_goes_down)
{
    pq_quant *q = fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND, 3, 0);

    cr_expect_eq(pq_quant_code_real(q, 0, 0.49999999999999994), 0);
    pq_quant_free(&q);
}

Test(fixed, infinities_and_nan_have_a_code)
{
    for (int mode = 0; mode < 28; mode++) {
        pq_quant *q = fixed(true, (pq_overflow)(mode % 4), (pq_rounding)(mode / 4), 3, 2);
        const int32_t least = pq_quant_least(q, 0);
        const bool    clips = pq_quant_clips(q);
        cr_expect_eq(pq_quant_code_real(q, 0, (double)NAN), least);
        cr_expect_eq(pq_quant_code_real(q, 0, -HUGE_VAL), least);
        cr_expect_eq(pq_quant_code_real(q, 0, HUGE_VAL), clips ? 31 : least);
        cr_expect_geq(pq_quant_code_real(q, 0, 1e300), least);
        pq_quant_free(&q);
    }
}

Test(fixed, what_has_no_width_is_always_zero)
{
    pq_quant *q = fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND, -4, 2);

    cr_expect_eq(q->width[0], 0);
    cr_expect_eq(pq_quant_integer_bits(q, 0), -2, "raised to -f");
    cr_expect_eq(pq_quant_round(q, 0, -100.0f), 0.0f);
    pq_quant_free(&q);
}

Test(fixed, a_width_a_value_is_packed_at_its_true_width)
{
    static const int whole[] = {2, 0, 1, -3}, fraction[] = {3, 4, -1, 3};
    pq_quant        *q = NULL, *copy = NULL;
    pq_tensor       *t = NULL, *back = NULL;
    uint8_t         *packed;
    size_t           bytes;

    cr_assert_eq(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND,
                                       PQ_QUANT_PER_ITEM, 4, &q, NULL),
                 PQ_OK);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pq_quant_set_fixed(q, i, whole[i], fraction[i], NULL), PQ_OK);
    }
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4), &t, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4), &back, NULL), PQ_OK);
    memcpy(t->data, (float[]){-1.625f, 0.3f, 9.0f, 5.0f}, 16);
    cr_assert_eq(pq_quant_apply(q, t, NULL), PQ_OK);
    cr_expect_eq(pq_f32(t)[0], -1.625f);
    cr_expect_eq(pq_f32(t)[1], 0.3125f);
    cr_expect_eq(pq_f32(t)[2], 0.0f, "no magnitude bits");
    cr_expect_eq(pq_f32(t)[3], 0.0f);
    cr_assert_eq(pq_quant_pack(q, t, false, &packed, &bytes, NULL), PQ_OK);
    cr_expect_eq(bytes, 2, "6 + 5 + 0 + 0 bits");
    cr_assert_eq(pq_quant_unpack(q, packed, bytes, false, back, NULL), PQ_OK);
    cr_expect_eq(memcmp(t->data, back->data, 16), 0);
    cr_expect_eq(pq_quant_side_bytes(q), 4 + 3, "3 bits for -3..2 and 3 for -1..4");
    pq_free(packed);
    cr_assert_eq(pq_quant_pack(q, t, true, &packed, &bytes, NULL), PQ_OK);
    cr_expect_eq(bytes, 3);
    cr_assert_eq(pq_quant_unpack(q, packed, bytes, true, back, NULL), PQ_OK);
    cr_expect_eq(memcmp(t->data, back->data, 16), 0);
    pq_free(packed);
    cr_assert_eq(pq_quant_clone(q, &copy, NULL), PQ_OK);
    cr_expect_eq(copy->width[1], 5);
    pq_quant_free(&copy);
    pq_quant_free(&q);
    pq_tensor_free(&t);
    pq_tensor_free(&back);
}

Test(fixed, packed_widths_come_back_and_damaged_ones_do_not)
{
    pq_quant *q = NULL, *back = NULL;
    pq_err    err    = {0};
    pq_rng    rng    = pq_rng_stream(7, "fixed");
    uint8_t  *packed = NULL;
    size_t    bytes;

    for (size_t trial = 0; trial < 50; trial++) {
        const size_t n = 1 + trial;
        cr_assert_eq(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND,
                                           PQ_QUANT_PER_ITEM, n, &q, NULL),
                     PQ_OK);
        cr_assert_eq(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND,
                                           PQ_QUANT_PER_ITEM, n, &back, NULL),
                     PQ_OK);
        for (size_t i = 0; i < n; i++) { /* the extremes, and widths of 0 */
            const int f     = (int)pq_rng_below(&rng, 49) - 24;
            const int w     = (int)pq_rng_below(&rng, 16);
            int       whole = w - f < -24 ? -24 : w - f;
            whole           = whole > 23 ? 23 : whole;
            cr_assert_eq(pq_quant_set_fixed(q, i, whole, f, NULL), PQ_OK);
        }
        cr_assert_eq(pq_quant_pack_widths(q, &packed, &bytes, NULL), PQ_OK);
        cr_assert_eq(pq_quant_unpack_widths(packed, bytes, back, NULL), PQ_OK);
        cr_expect_eq(memcmp(q->width, back->width, n), 0);
        cr_expect_eq(memcmp(q->scale, back->scale, n * sizeof *q->scale), 0);
        cr_expect(n == 1 || bytes == pq_quant_side_bytes(q));
        cr_expect_eq(pq_quant_unpack_widths(packed, bytes + 1, back, &err),
                     PQ_ERR_FORMAT);
        packed[1] = 7;
        err       = (pq_err){0};
        cr_expect_eq(pq_quant_unpack_widths(packed, bytes, back, &err), PQ_ERR_FORMAT);
        cr_expect_str_eq(err.message, "packed widths are damaged");
        pq_free(packed);
        pq_quant_free(&q);
        pq_quant_free(&back);
    }
}

Test(fixed, bits_out_of_range_are_refused)
{
    pq_quant *q   = fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_TRN, 3, 4);
    pq_err    err = {0};

    cr_expect_eq(pq_quant_set_fixed(q, 0, 10, 6, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "a sign of 1, 10 integer and 6 fraction bits are 17 "
                                  "bits, not in 0..16");
    err = (pq_err){0};
    cr_expect_eq(pq_quant_set_fixed(q, 0, 1, 25, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "fraction bits 25 are not in -24..24");
    cr_expect_eq(q->width[0], 8, "unchanged");
    pq_quant_free(&q);
}

static pq_quant *grouped(pq_quant_scheme scheme, int bits, const pq_shape *shape,
                         size_t group)
{
    pq_quant *q = NULL;

    cr_assert_eq(pq_quant_create_grouped(scheme, bits, shape, group, &q, NULL), PQ_OK);
    return q;
}

Test(fixed, groups_start_again_in_each_row)
{
    const pq_shape      shape = PQ_SHAPE(2, 5);
    pq_quant           *q     = grouped(PQ_QUANT_INTEGER, 4, &shape, 3);
    static const size_t due[] = {0, 0, 0, 1, 1, 2, 2, 2, 3, 3};

    cr_expect_eq(q->n, 4);
    for (size_t i = 0; i < 10; i++) {
        cr_expect_eq(pq_quant_index(q, &shape, i), due[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        q->scale[i] = 1.0f;
    }
    cr_expect_eq(pq_quant_check(q, &shape, NULL), PQ_OK);
    cr_expect_eq(pq_quant_check(q, &PQ_SHAPE(3, 5), NULL), PQ_ERR_SHAPE);
    pq_quant_free(&q);
}

Test(fixed, nf4_goes_to_the_nearest_level_and_keeps_zero_and_the_ends)
{
    const pq_shape shape = PQ_SHAPE(2, 64);
    pq_quant      *q     = grouped(PQ_QUANT_NF4, 4, &shape, 64);
    pq_tensor     *t = NULL, *back = NULL;
    pq_rng         rng = pq_rng_stream(4, "fixed");
    uint8_t       *packed;
    size_t         bytes;

    q->scale[0] = 1.0f;
    q->scale[1] = 3.7f;
    cr_expect_eq(pq_quant_round(q, 0, 0.0f), 0.0f);
    cr_expect_eq(pq_quant_round(q, 0, -5.0f), -1.0f);
    cr_expect_eq(pq_quant_round(q, 1, 3.7f), 3.7f);
    cr_expect_float_eq(pq_quant_round(q, 0, 0.7f), 0.7229568f, 1e-7);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &t, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &back, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)pq_rng_normal(&rng);
    }
    cr_assert_eq(pq_quant_apply(q, t, NULL), PQ_OK);
    cr_assert_eq(pq_quant_pack(q, t, false, &packed, &bytes, NULL), PQ_OK);
    cr_expect_eq(bytes, 64);
    cr_assert_eq(pq_quant_unpack(q, packed, bytes, false, back, NULL), PQ_OK);
    cr_expect_eq(memcmp(t->data, back->data, t->count * sizeof(float)), 0);
    pq_free(packed);
    pq_tensor_free(&t);
    pq_tensor_free(&back);
    pq_quant_free(&q);
}
