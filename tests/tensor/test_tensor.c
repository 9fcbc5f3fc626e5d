#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "tensor/tensor.h"

static pq_tensor *counting(pq_shape shape)
{
    pq_tensor *t = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)i;
    }
    return t;
}

static void expect_values(const pq_tensor *t, const double *due)
{
    for (size_t i = 0; i < t->count; i++) {
        cr_expect_eq(pq_tensor_get(t, i), due[i], "item %zu is %g, not %g", i,
                     pq_tensor_get(t, i), due[i]);
    }
}

Test(tensor, is_created_zeroed_and_aligned)
{
    pq_tensor *t = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(3, 5), &t, NULL), PQ_OK);
    cr_expect_eq(t->count, 15);
    cr_expect_eq((uintptr_t)t->data % 64, 0);
    for (size_t i = 0; i < 15; i++) {
        cr_expect_eq(pq_f64(t)[i], 0.0);
    }
    pq_tensor_free(&t);
    cr_expect_null(t);
    pq_tensor_free(&t);
}

Test(tensor, may_be_a_scalar_or_empty)
{
    pq_tensor *scalar = NULL, *empty = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_I8, (pq_shape){0}, &scalar, NULL), PQ_OK);
    cr_expect_eq(scalar->count, 1);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_I8, PQ_SHAPE(4, 0), &empty, NULL), PQ_OK);
    cr_expect_eq(empty->count, 0);
    pq_tensor_free(&scalar);
    pq_tensor_free(&empty);
}

Test(tensor, sizes_that_overflow_are_refused)
{
    pq_tensor *t   = NULL;
    pq_err     err = {0};

    cr_expect_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(SIZE_MAX / 4, 8), &t, &err),
                 PQ_ERR_SHAPE);
    cr_expect_str_eq(
        err.message,
        "the size of a float32 array of shape [4611686018427387903, 8] overflows");
    cr_expect_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(SIZE_MAX / 8), &t, NULL),
                 PQ_ERR_SHAPE);
    err = (pq_err){0};
    cr_expect_eq(pq_tensor_create(PQ_DTYPE_F64, (pq_shape){.ndim = 9}, &t, &err),
                 PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "9 dimensions are more than 8");
    cr_expect_null(t);
}

Test(tensor, shapes_read_well)
{
    char text[128], tiny[6];

    cr_expect_str_eq(pq_shape_text(&PQ_SHAPE(64, 3, 3, 16), text, sizeof text),
                     "[64, 3, 3, 16]");
    cr_expect_str_eq(pq_shape_text(&(pq_shape){0}, text, sizeof text), "[]");
    cr_expect_str_eq(pq_shape_text(&PQ_SHAPE(1234567), tiny, sizeof tiny), "[1234");
    cr_expect(pq_shape_equal(&PQ_SHAPE(2, 3), &PQ_SHAPE(2, 3)));
    cr_expect_not(pq_shape_equal(&PQ_SHAPE(2, 3), &PQ_SHAPE(2, 3, 1)));
    cr_expect_not(pq_shape_equal(&PQ_SHAPE(2, 3), &PQ_SHAPE(3, 2)));
}

Test(tensor, conversion_to_integers_rounds_to_even_and_saturates)
{
    static const float  values[] = {-1e30f, -129, -1.5f, -0.5f, 0.5f,
                                    1.5f,   2.5f, 300,   1e30f, NAN};
    static const double i8[]     = {-128, -128, -2, 0, 0, 2, 2, 127, 127, 0};
    static const double u8[]     = {0, 0, 0, 0, 0, 2, 2, 255, 255, 0};
    static const double i64[]    = {-0x1p63, -129, -2, 0, 0, 2, 2, 300, 0x1p63, 0};
    pq_tensor          *t = counting(PQ_SHAPE(10)), *out = NULL;

    memcpy(t->data, values, sizeof values);
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_I8, &out, NULL), PQ_OK);
    expect_values(out, i8);
    pq_tensor_free(&out);
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_U8, &out, NULL), PQ_OK);
    expect_values(out, u8);
    pq_tensor_free(&out);
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_I64, &out, NULL), PQ_OK);
    expect_values(out, i64);
    cr_expect_eq(((int64_t *)out->data)[8], INT64_MAX);
    pq_tensor_free(&out);
    pq_tensor_free(&t);
}

Test(tensor, double_to_half_rounds_once)
{
    pq_tensor *t = NULL, *out = NULL;

    /* Just above the tie 1 + 2^-11: through float it would fall on the tie and go down.
     */
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(4), &t, NULL), PQ_OK);
    pq_f64(t)[0] = 1.0 + 0x1p-11 + 0x1p-40;
    pq_f64(t)[1] = 1.0 + 0x1p-11;
    pq_f64(t)[2] = 1e300;
    pq_f64(t)[3] = -(1.0 + 3 * 0x1p-11 - 0x1p-40);
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_F16, &out, NULL), PQ_OK);
    expect_values(out, (double[]){1.0 + 0x1p-10, 1.0, INFINITY, -(1.0 + 0x1p-10)});
    pq_tensor_free(&out);
    pq_f64(t)[0] = 1.0 + 0x1p-8 + 0x1p-40;
    pq_f64(t)[1] = 1.0 + 0x1p-8;
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_BF16, &out, NULL), PQ_OK);
    expect_values(out, (double[]){1.0 + 0x1p-7, 1.0, INFINITY, -1.0});
    pq_tensor_free(&out);
    pq_tensor_free(&t);
}

Test(tensor, every_type_holds_small_numbers)
{
    pq_tensor *t = counting(PQ_SHAPE(5));

    for (int d = 0; d < PQ_DTYPE_COUNT; d++) {
        pq_tensor *out = NULL;
        cr_assert_eq(pq_tensor_convert(t, (pq_dtype)d, &out, NULL), PQ_OK);
        cr_expect_eq(out->dtype, (pq_dtype)d);
        expect_values(out, (double[]){0, 1, 2, 3, 4});
        pq_tensor_free(&out);
    }
    pq_tensor_free(&t);
}

Test(tensor, permute_moves_axes)
{
    pq_tensor *t = counting(PQ_SHAPE(2, 3, 4)), *p = NULL, *back = NULL;
    pq_err     err = {0};

    cr_assert_eq(pq_tensor_permute(t, (size_t[]){2, 0, 1}, &p, NULL), PQ_OK);
    cr_expect(pq_shape_equal(&p->shape, &PQ_SHAPE(4, 2, 3)));
    for (size_t i = 0; i < 24; i++) {
        const size_t a = i / 6, b = i / 3 % 2, c = i % 3;
        cr_expect_eq(pq_f32(p)[i], (float)(b * 12 + c * 4 + a));
    }
    cr_assert_eq(pq_tensor_permute(p, (size_t[]){1, 2, 0}, &back, NULL), PQ_OK);
    cr_expect(pq_shape_equal(&back->shape, &t->shape));
    cr_expect_arr_eq(back->data, t->data, 24 * sizeof(float));
    cr_expect_eq(pq_tensor_permute(t, (size_t[]){0, 0, 1}, &p, &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "axis 0 is named twice or is not in 0..2");
    pq_tensor_free(&p);
    pq_tensor_free(&back);
    pq_tensor_free(&t);
}

/* The tensor of Kolda & Bader 2009, example 2.4, in TensorLy's column order. */
Test(tensor, unfolding_puts_the_other_axes_in_their_order)
{
    pq_tensor *t = counting(PQ_SHAPE(2, 3, 2)), *u = NULL;

    cr_assert_eq(pq_tensor_unfold(t, 1, &u, NULL), PQ_OK);
    cr_expect(pq_shape_equal(&u->shape, &PQ_SHAPE(3, 4)));
    expect_values(u, (double[]){0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11});
    pq_tensor_free(&u);
    cr_assert_eq(pq_tensor_unfold(t, 0, &u, NULL), PQ_OK);
    cr_expect(pq_shape_equal(&u->shape, &PQ_SHAPE(2, 6)));
    cr_expect_arr_eq(u->data, t->data, 12 * sizeof(float));
    pq_tensor_free(&u);
    cr_expect_eq(pq_tensor_unfold(t, 3, &u, NULL), PQ_ERR_SHAPE);
    pq_tensor_free(&t);
}

Test(tensor, reshape_keeps_items_or_refuses)
{
    pq_tensor *t   = counting(PQ_SHAPE(2, 6));
    pq_err     err = {0};

    cr_expect_eq(pq_tensor_reshape(t, PQ_SHAPE(3, 4), NULL), PQ_OK);
    cr_expect(pq_shape_equal(&t->shape, &PQ_SHAPE(3, 4)));
    cr_expect_eq(pq_tensor_reshape(t, PQ_SHAPE(5), &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "an array of shape [3, 4] cannot become [5]");
    pq_tensor_free(&t);
}

Test(tensor, permute_moves_items_of_every_size_in_every_order)
{
    static const pq_dtype kinds[]     = {PQ_DTYPE_F64, PQ_DTYPE_F32, PQ_DTYPE_F16,
                                         PQ_DTYPE_I8};
    static const size_t   orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const size_t          dim[] = {2, 3, 4}, stride[] = {12, 4, 1};
    pq_tensor            *t = counting(PQ_SHAPE(2, 3, 4)), *of = NULL, *p = NULL;

    for (size_t k = 0; k < 4; k++) {
        cr_assert_eq(pq_tensor_convert(t, kinds[k], &of, NULL), PQ_OK);
        for (size_t o = 0; o < 6; o++) {
            const size_t *axis = orders[o], n1 = dim[axis[1]], n2 = dim[axis[2]];
            cr_assert_eq(pq_tensor_permute(of, axis, &p, NULL), PQ_OK);
            for (size_t i = 0; i < 24; i++) {
                const size_t from = i / n2 / n1 * stride[axis[0]] +
                                    i / n2 % n1 * stride[axis[1]] +
                                    i % n2 * stride[axis[2]];
                cr_assert_eq(pq_tensor_get(p, i), pq_tensor_get(t, from));
            }
            pq_tensor_free(&p);
        }
        pq_tensor_free(&of);
    }
    pq_tensor_free(&t);
}

Test(tensor, one_wild_value_among_doubles_is_found_wherever_it_is)
{
    static const double wild[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const double tame[] = {1.7976931348623157e308, -1.7976931348623157e308, 0.0,
                                  5e-324};
    pq_tensor          *t      = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(37), &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = tame[i % 4];
    }
    cr_expect_eq(pq_tensor_first_nonfinite(t), SIZE_MAX);
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = wild[i % 4];
        cr_expect_eq(pq_tensor_first_nonfinite(t), i);
        pq_f64(t)[i] = tame[i % 4];
    }
    pq_tensor_free(&t);
}

Test(tensor, finds_the_first_float32_that_is_not_finite_at_any_place)
{
    static const float wild[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const float tame[] = {3.40282347e38F, -3.40282347e38F, 0.0F, 1.4e-45F};
    pq_tensor         *t      = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(37), &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = tame[i % 4];
    }
    cr_expect_eq(pq_tensor_first_nonfinite(t), SIZE_MAX);
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = wild[i % 4];
        cr_expect_eq(pq_tensor_first_nonfinite(t), i);
        pq_f32(t)[i] = tame[i % 4];
    }
    pq_tensor_free(&t);
}

Test(tensor, finds_the_first_value_that_is_not_finite)
{
    pq_tensor *t = counting(PQ_SHAPE(6)), *half = NULL, *whole = NULL;

    cr_expect_eq(pq_tensor_first_nonfinite(t), SIZE_MAX);
    pq_f32(t)[5] = NAN;
    cr_expect_eq(pq_tensor_first_nonfinite(t), 5);
    pq_f32(t)[3] = 1e6f;
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_F16, &half, NULL), PQ_OK);
    cr_expect_eq(pq_tensor_first_nonfinite(half), 3);
    cr_assert_eq(pq_tensor_convert(t, PQ_DTYPE_I32, &whole, NULL), PQ_OK);
    cr_expect_eq(pq_tensor_first_nonfinite(whole), SIZE_MAX);
    pq_tensor_free(&half);
    pq_tensor_free(&whole);
    pq_tensor_free(&t);
}

Test(tensor, failed_allocations_leave_nothing_behind)
{
    pq_tensor   *t      = counting(PQ_SHAPE(2, 3));
    const size_t before = pq_memory_live();
    pq_status    st     = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        pq_tensor *out = NULL;
        pq_memory_fail_after(n);
        st = pq_tensor_unfold(t, 1, &out, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_expect(st == PQ_OK || (st == PQ_ERR_NOMEM && out == NULL));
        pq_tensor_free(&out);
        cr_expect_eq(pq_memory_live(), before);
        cr_assert_lt(n, 100);
    }
    pq_tensor_free(&t);
}
