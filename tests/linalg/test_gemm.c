#include <criterion/criterion.h>
#include <math.h>

#include "core/rng.h"
#include "linalg/gemm.h"

static const double TOL_F32 = 1e-5, TOL_F64 = 1e-13;

static pq_tensor *random_matrix(pq_dtype dtype, size_t m, size_t n, uint64_t seed)
{
    pq_rng     rng = pq_rng_stream(seed, "test");
    pq_tensor *t = NULL, *out = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = pq_rng_normal(&rng);
    }
    cr_assert_eq(pq_tensor_convert(t, dtype, &out, NULL), PQ_OK);
    pq_tensor_free(&t);
    return out;
}

static double item(pq_operand a, size_t i, size_t j)
{
    const size_t columns = a.matrix->shape.dim[1];

    return pq_tensor_get(a.matrix, a.transposed ? j * columns + i : i * columns + j);
}

Test(gemm, agrees_with_three_loops_in_both_types_and_all_orders)
{
    const size_t m = 5, n = 7, k = 11;

    for (int c = 0; c < 16; c++) {
        const pq_dtype dtype = (c & 1) != 0 ? PQ_DTYPE_F32 : PQ_DTYPE_F64;
        const bool     ta = (c & 2) != 0, tb = (c & 4) != 0;
        const double   beta = (c & 8) != 0 ? 0.5 : 0.0;
        pq_tensor     *a    = random_matrix(dtype, ta ? k : m, ta ? m : k, 1);
        pq_tensor     *b    = random_matrix(dtype, tb ? n : k, tb ? k : n, 2);
        pq_tensor     *out = random_matrix(dtype, m, n, 3), *before = NULL;

        cr_assert_eq(pq_tensor_clone(out, &before, NULL), PQ_OK);
        cr_assert_eq(pq_gemm((pq_operand){a, ta}, (pq_operand){b, tb}, beta, out, NULL),
                     PQ_OK);
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < n; j++) {
                double sum = beta * pq_tensor_get(before, i * n + j);
                for (size_t l = 0; l < k; l++) {
                    sum +=
                        item((pq_operand){a, ta}, i, l) * item((pq_operand){b, tb}, l, j);
                }
                cr_expect_float_eq(pq_tensor_get(out, i * n + j), sum,
                                   dtype == PQ_DTYPE_F32 ? TOL_F32 : TOL_F64);
            }
        }
        pq_tensor_free(&a);
        pq_tensor_free(&b);
        pq_tensor_free(&out);
        pq_tensor_free(&before);
    }
}

Test(gemm, names_shapes_and_types_that_do_not_fit)
{
    pq_tensor *a   = random_matrix(PQ_DTYPE_F64, 2, 3, 1);
    pq_tensor *b   = random_matrix(PQ_DTYPE_F64, 2, 4, 1);
    pq_tensor *c   = random_matrix(PQ_DTYPE_F64, 2, 4, 1);
    pq_tensor *f   = random_matrix(PQ_DTYPE_F32, 3, 4, 1);
    pq_err     err = {0};

    cr_expect_eq(pq_gemm((pq_operand){a, false}, (pq_operand){b, false}, 0.0, c, &err),
                 PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "cannot multiply [2, 3] by [2, 4] into [2, 4]");
    err = (pq_err){0};
    cr_expect_eq(pq_gemm((pq_operand){a, false}, (pq_operand){f, false}, 0.0, c, &err),
                 PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "cannot multiply float64 by float32 into float64");
    pq_tensor_free(&a);
    pq_tensor_free(&b);
    pq_tensor_free(&c);
    pq_tensor_free(&f);
}
