#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "tensor/quant.h"

static pq_quant *integer(int bits, bool is_signed, bool narrow, int axis, size_t n)
{
    pq_quant *q = NULL;

    cr_assert_eq(
        pq_quant_create(PQ_QUANT_INTEGER, bits, is_signed, narrow, axis, n, &q, NULL),
        PQ_OK);
    return q;
}

Test(quant, code_ranges)
{
    static const struct {
        int  bits;
        bool is_signed, narrow;
        int  lo, hi;
    } cases[] = {{8, true, true, -127, 127}, {8, true, false, -128, 127},
                 {8, false, false, 0, 255},  {2, true, true, -1, 1},
                 {4, true, false, -8, 7},    {16, false, false, 0, 65535}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_quant *q = integer(cases[i].bits, cases[i].is_signed, cases[i].narrow, -1, 1);
        cr_expect_eq(pq_quant_lo(q), cases[i].lo);
        cr_expect_eq(pq_quant_hi(q), cases[i].hi);
        pq_quant_free(&q);
    }
}

Test(quant, symmetric_range_is_the_largest_magnitude_over_127)
{
    pq_quant *q = integer(8, true, true, -1, 1);

    cr_expect(pq_quant_set_range(q, 0, -2.54, 1.0, true));
    cr_expect_float_eq(q->scale[0], 0.02f, 1e-9);
    cr_expect_eq(q->zero_point[0], 0);
    cr_expect_eq(pq_quant_code(q, 0, -2.54f), -127);
    cr_expect_eq(pq_quant_code(q, 0, -9.0f), -127);
    cr_expect_eq(pq_quant_code(q, 0, 1.0f), 50);
    pq_quant_free(&q);
}

/* Jacob et al. 2018: s = (max - min) / 255, z = round(-128 - min / s). */
Test(quant, affine_range_holds_zero_exactly)
{
    pq_quant *q = integer(8, true, false, -1, 1);

    cr_expect(pq_quant_set_range(q, 0, -1.0, 4.1, false));
    cr_expect_float_eq(q->scale[0], 0.02f, 1e-9);
    cr_expect_eq(q->zero_point[0], -78);
    cr_expect_eq(pq_quant_round(q, 0, 0.0f), 0.0f);
    cr_expect(pq_quant_set_range(q, 0, 2.0, 5.1, false), "0 is forced inside");
    cr_expect_eq(q->zero_point[0], -128);
    cr_expect_float_eq(q->scale[0], 0.02f, 1e-9);
    cr_expect(pq_quant_set_range(q, 0, -5.1, -2.0, false));
    cr_expect_eq(q->zero_point[0], 127);
    cr_expect_eq(pq_quant_round(q, 0, 0.0f), 0.0f);
    pq_quant_free(&q);
}

Test(quant, unsigned_symmetric_codes_serve_positive_values)
{
    pq_quant *q = integer(8, false, false, -1, 1);

    cr_expect(pq_quant_set_range(q, 0, 0.0, 5.1, true));
    cr_expect_float_eq(q->scale[0], 0.02f, 1e-9);
    cr_expect_eq(pq_quant_code(q, 0, -1.0f), 0);
    cr_expect_eq(pq_quant_code(q, 0, 5.1f), 255);
    pq_quant_free(&q);
}

Test(quant, an_empty_range_gives_scale_one_and_says_so)
{
    pq_quant *q = integer(8, true, true, -1, 1);

    cr_expect_not(pq_quant_set_range(q, 0, 0.0, 0.0, true));
    cr_expect_eq(q->scale[0], 1.0f);
    cr_expect_eq(pq_quant_round(q, 0, 0.0f), 0.0f);
    cr_expect(pq_quant_set_range(q, 0, -1e-45, 1e-45, true), "denormal");
    cr_expect_geq(q->scale[0], FLT_MIN);
    cr_expect(pq_quant_set_range(q, 0, -FLT_MAX, FLT_MAX, false), "huge");
    cr_expect(isfinite(q->scale[0]));
    pq_quant_free(&q);
}

Test(quant, rounds_half_to_even_and_clamps_everything)
{
    pq_quant *q = integer(8, true, false, -1, 1);

    q->scale[0] = 1.0f;
    cr_expect_eq(pq_quant_code(q, 0, 0.5f), 0);
    cr_expect_eq(pq_quant_code(q, 0, 1.5f), 2);
    cr_expect_eq(pq_quant_code(q, 0, -2.5f), -2);
    cr_expect_eq(pq_quant_code(q, 0, FLT_MAX), 127);
    cr_expect_eq(pq_quant_code(q, 0, -INFINITY), -128);
    cr_expect_eq(pq_quant_code(q, 0, NAN), -128);
    pq_quant_free(&q);
}

Test(quant, values_on_the_grid_stay_there_for_every_width_and_scale)
{
    pq_rng rng = pq_rng_stream(1, "quant");

    for (int bits = 2; bits <= 16; bits++) {
        pq_quant *q = integer(bits, true, false, -1, 1);
        for (int trial = 0; trial < 20; trial++) {
            pq_quant_set_range(q, 0, -exp(3.0 * pq_rng_normal(&rng)),
                               exp(3.0 * pq_rng_normal(&rng)), trial % 2 == 0);
            for (int32_t code = pq_quant_lo(q); code <= pq_quant_hi(q); code++) {
                const float value = (float)(code - q->zero_point[0]) * q->scale[0];
                cr_assert_eq(pq_quant_code(q, 0, value), code, "%d bits", bits);
                cr_assert_eq(pq_quant_round(q, 0, value), value);
            }
        }
        pq_quant_free(&q);
    }
}

Test(quant, rounding_error_is_at_most_half_a_step_inside_the_range)
{
    pq_rng    rng = pq_rng_stream(2, "quant");
    pq_quant *q   = integer(6, false, false, -1, 1);

    pq_quant_set_range(q, 0, -1.0, 3.0, false);
    for (int i = 0; i < 1000; i++) {
        const float x = (float)(-1.0 + 4.0 * pq_rng_uniform(&rng));
        cr_expect_leq(fabsf(pq_quant_round(q, 0, x) - x),
                      0.51f * q->scale[0] +
                          0.5f * q->scale[0] * (x < -0.99f || x > 2.97f),
                      "%g", (double)x);
    }
    pq_quant_free(&q);
}

Test(quant, scales_follow_their_axis)
{
    pq_quant      *q     = integer(8, true, true, 1, 3);
    const pq_shape shape = PQ_SHAPE(2, 3, 4);
    pq_tensor     *t     = NULL;

    for (size_t i = 0; i < 24; i++) {
        cr_expect_eq(pq_quant_index(q, &shape, i), i / 4 % 3);
    }
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &t, NULL), PQ_OK);
    for (size_t c = 0; c < 3; c++) {
        q->scale[c] = (float)(c + 1);
    }
    for (size_t i = 0; i < 24; i++) {
        pq_f32(t)[i] = 5.2f;
    }
    cr_assert_eq(pq_quant_apply(q, t, NULL), PQ_OK);
    cr_expect_eq(pq_f32(t)[0], 5.0f);
    cr_expect_eq(pq_f32(t)[4], 6.0f);
    cr_expect_eq(pq_f32(t)[20], 6.0f);
    pq_tensor_free(&t);
    pq_quant_free(&q);
}

Test(quant, what_does_not_fit_is_refused)
{
    pq_quant *q   = NULL;
    pq_err    err = {0};

    cr_expect_eq(pq_quant_create(PQ_QUANT_INTEGER, 1, true, true, -1, 1, &q, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "bits = 1 is not in 2..16");
    cr_expect_eq(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 8, 1, &q, NULL),
                 PQ_ERR_RANGE);
    cr_expect_eq(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, -1, 2, &q, NULL),
                 PQ_ERR_SHAPE);
    cr_expect_eq(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, true, -1, 1, &q, NULL),
                 PQ_ERR_RANGE);
    cr_expect_null(q);

    q   = integer(8, true, true, 0, 3);
    err = (pq_err){0};
    cr_expect_eq(pq_quant_check(q, &PQ_SHAPE(4, 3), &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(
        err.message,
        "a quantizer with 3 scales along axis 0 does not fit the shape [4, 3]");
    err = (pq_err){0};
    cr_expect_eq(pq_quant_check(q, &PQ_SHAPE(3), &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "scale 0 of the quantizer is 0, not a positive number");
    q->scale[0] = q->scale[1] = q->scale[2] = 1.0f;
    q->zero_point[2]                        = -128;
    err                                     = (pq_err){0};
    cr_expect_eq(pq_quant_check(q, &PQ_SHAPE(3), &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message,
                     "zero point 2 of the quantizer is -128, not in -127..127");
    pq_quant_free(&q);
}

Test(quant, side_bytes_count_zero_points_only_if_there_are_any)
{
    pq_quant *q = integer(8, true, true, 0, 10), *copy = NULL, *half = NULL;

    cr_expect_eq(pq_quant_side_bytes(q), 40);
    q->zero_point[9] = 3;
    cr_expect_eq(pq_quant_side_bytes(q), 80);
    cr_assert_eq(pq_quant_clone(q, &copy, NULL), PQ_OK);
    cr_expect_eq(copy->zero_point[9], 3);
    cr_expect_neq(copy->scale, q->scale);
    cr_assert_eq(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0, &half, NULL),
                 PQ_OK);
    cr_expect_eq(pq_quant_side_bytes(half), 0);
    cr_expect_eq(pq_quant_round(half, 0, 1.0f + 0x1p-11f), 1.0f);
    pq_quant_free(&q);
    pq_quant_free(&copy);
    pq_quant_free(&half);
}

static pq_quant *groups(size_t n)
{
    pq_quant *q = NULL;

    cr_assert_eq(pq_quant_create_grouped(PQ_QUANT_NF4, 4, &PQ_SHAPE(n, 8), 8, &q, NULL),
                 PQ_OK);
    return q;
}

/* Each within half a step of what it was, all positive, the same from the codes again. */
Test(quant, scales_on_a_grid_of_their_own_are_the_nearest_positive_ones)
{
    for (size_t kind = 0; kind < 4; kind++) {
        const size_t n = kind == 3 ? 1 : 600;
        pq_quant    *q = groups(n), *copy = NULL;
        pq_rng       rng = pq_rng_stream(kind, "test");
        float        was[600], now[600];

        for (size_t i = 0; i < n; i++) { /* ordinary; over six decades; all equal; one */
            was[i] = q->scale[i] = kind == 0 ? 0.05F + 0.02F * (float)pq_rng_uniform(&rng)
                                   : kind == 1
                                       ? powf(10.0F, -6.0F * (float)pq_rng_uniform(&rng))
                                       : 0.3F;
        }
        cr_assert_eq(pq_quant_code_scales(q, NULL), PQ_OK);
        cr_assert_eq(pq_quant_check(q, &PQ_SHAPE(n, 8), NULL), PQ_OK);
        for (size_t i = 0; i < n; i++) {
            const double step = (double)q->scale_step[i / 256],
                         off  = (double)q->scale[i] - (double)was[i];
            cr_expect(fabs(off) <= 0.501 * step + 1e-7 * (double)was[i] ||
                          (off > 0.0 && off <= 1.01 * step && (double)was[i] < step),
                      "kind %zu scale %zu: %g was %g", kind, i, (double)q->scale[i],
                      (double)was[i]);
        }
        cr_expect_eq(pq_quant_side_bytes(q), n + 4 * ((n + 255) / 256 + 1));
        cr_assert_eq(pq_quant_clone(q, &copy, NULL), PQ_OK);
        memcpy(now, q->scale, n * sizeof *now);
        for (size_t i = 0; i < n; i++) {
            copy->scale[i] = 0.0F;
        }
        pq_quant_decode_scales(copy);
        cr_expect_arr_eq(copy->scale, now, n * sizeof *now);
        pq_quant_free(&q);
        pq_quant_free(&copy);
    }
}

Test(quant, coded_scales_survive_every_failed_allocation)
{
    const size_t live = pq_memory_live();
    pq_status    st   = PQ_ERR_NOMEM;

    for (size_t k = 0; st != PQ_OK; k++) {
        pq_quant *q = groups(3), *copy = NULL;
        for (size_t i = 0; i < 3; i++) {
            q->scale[i] = 1.0F + (float)i;
        }
        pq_memory_fail_after(k);
        st = pq_quant_code_scales(q, NULL);
        st = st == PQ_OK ? pq_quant_clone(q, &copy, NULL) : st;
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_quant_free(&q);
        pq_quant_free(&copy);
        cr_assert_eq(pq_memory_live(), live);
    }
}

/* 1.625 / 0.108333... is below 7.5 by less than a float32 can tell. */
Test(quant, codes_are_those_of_the_quotient_in_double)
{
    const float tops[] = {1.625f, 0.8125f};
    pq_quant   *q      = NULL;
    pq_rng      rng    = pq_rng_stream(3, "quotients");
    size_t      near   = 0;

    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 5, true, true, -1, 1, &q, NULL),
                 PQ_OK);
    pq_quant_set_range(q, 0, 0.0, (double)tops[0], true);
    cr_expect_eq(pq_quant_code(q, 0, tops[1]), 7);
    for (size_t i = 0; i < 200000; i++) { /* the neighbours of every tie */
        q->scale[0]       = (float)(0.01 + pq_rng_uniform(&rng));
        const int   half  = (int)pq_rng_below(&rng, 15) - 7;
        const float tie   = (float)(((double)half + 0.5) * (double)q->scale[0]);
        const float value = i % 3 == 0 ? tie : nextafterf(tie, i % 3 == 1 ? -9.0f : 9.0f);
        const double due  = rint((double)value / (double)q->scale[0]);
        near += (double)rintf(value / q->scale[0]) != due;
        cr_assert_eq(pq_quant_code(q, 0, value), (int)due);
    }
    cr_expect_gt(near, 1000, "the drawn values are no test: %zu", near);
    pq_quant_free(&q);
}
