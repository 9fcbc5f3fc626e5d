#include "data.h"

#include "linalg/gemm.h"
#include "linalg/subspace.h"

static const double TOL = 1e-12;

/* U is orthonormal, rest is U^T A, and what is lost is what the oracle says of rank r. */
static void check(const pq_tensor *a, size_t max_rank, double tail, size_t due)
{
    const size_t m = a->shape.dim[0], n = a->shape.dim[1];
    pq_tensor   *u = NULL, *rest = NULL, *product = NULL, *gram = NULL;
    pq_svd       svd = {0};

    const double size = pq_norm(a); /* the oracle's squares need their range */
    OK((size > 1e-50 && size < 1e50 ? pq_svd_thin_ref : pq_svd_thin)(a, &svd, &err));
    OK(pq_left_split(a, max_rank, tail, &u, &rest, &err));
    const size_t r = u->shape.dim[1];

    cr_assert_eq(r, due, "rank %zu, not %zu", r, due);
    cr_assert(u->shape.dim[0] == m && rest->shape.dim[0] == r && rest->shape.dim[1] == n);
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(r, r), &gram, &err));
    OK(pq_gemm((pq_operand){u, true}, (pq_operand){u, false}, 0.0, gram, &err));
    for (size_t i = 0; i < r * r; i++) {
        cr_assert_float_eq(pq_f64(gram)[i], i / r == i % r ? 1.0 : 0.0, TOL);
    }
    for (size_t j = 0; j < r; j++) {
        double largest = 0.0;
        for (size_t i = 0; i < m; i++) {
            const double x = pq_f64(u)[i * r + j];
            largest        = fabs(x) > fabs(largest) ? x : largest;
        }
        cr_assert_gt(largest, 0.0);
    }
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(r, n), &product, &err));
    OK(pq_gemm((pq_operand){u, true}, (pq_operand){a, false}, 0.0, product, &err));
    for (size_t i = 0; i < product->count; i++) {
        cr_assert_float_eq(pq_f64(product)[i], pq_f64(rest)[i], TOL * size);
    }
    pq_tensor_free(&product);
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &product, &err));
    OK(pq_gemm((pq_operand){u, false}, (pq_operand){rest, false}, 0.0, product, &err));
    double lost = 0.0;
    for (size_t i = 0; i < m * n; i++) {
        lost = hypot(lost, pq_f64(product)[i] - pq_f64(a)[i]);
    }
    double dropped = 0.0;
    for (size_t i = r; i < svd.s->count; i++) {
        dropped = hypot(dropped, pq_f64(svd.s)[i]);
    }
    cr_assert_float_eq(lost, dropped, TOL * size);
    pq_svd_free(&svd);
    pq_tensor_free(&u);
    pq_tensor_free(&rest);
    pq_tensor_free(&product);
    pq_tensor_free(&gram);
}

/* Singular values falling by `ratio` from `first` on. */
static pq_tensor *falling(size_t m, size_t n, double first, double ratio)
{
    pq_tensor   *x = random_tensor(PQ_SHAPE(m, n), 3), *out = NULL;
    pq_svd       svd = {0};
    const size_t k   = m < n ? m : n;

    OK(pq_svd_thin_ref(x, &svd, &err));
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &out, &err));
    for (size_t j = 0; j < k; j++) {
        for (size_t i = 0; i < m; i++) {
            pq_f64(svd.u)[i * k + j] *= first * pow(ratio, (double)j);
        }
    }
    OK(pq_gemm((pq_operand){svd.u, false}, (pq_operand){svd.vt, false}, 0.0, out, &err));
    pq_svd_free(&svd);
    pq_tensor_free(&x);
    return out;
}

Test(subspace, wide_square_and_tall_splits_lose_what_the_oracle_says)
{
    static const size_t sizes[][2] = {{7, 40}, {12, 12}, {40, 7}, {1, 5}, {5, 1}};

    for (size_t s = 0; s < 5; s++) {
        pq_tensor   *a = random_tensor(PQ_SHAPE(sizes[s][0], sizes[s][1]), 5 + s);
        const size_t k = sizes[s][0] < sizes[s][1] ? sizes[s][0] : sizes[s][1];
        for (size_t r = 1; r <= k; r += 3) {
            check(a, r, 0.0, r);
        }
        check(a, SIZE_MAX, 0.0, k);
        pq_tensor_free(&a);
    }
}

Test(subspace, steep_spectra_stay_orthonormal_and_exact)
{
    static const double ratios[] = {0.7, 0.1, 0.01, 1e-4};
    static const double scales[] = {1.0, 1e-150, 1e150};

    for (size_t i = 0; i < 4; i++) {
        for (size_t s = 0; s < (i == 0 ? 3 : 1); s++) {
            pq_tensor *tall = falling(20, 6, scales[s], ratios[i]);
            pq_tensor *wide = falling(6, 20, scales[s], ratios[i]);
            for (size_t r = 1; r <= 3; r++) {
                check(tall, r, 0.0, r);
                check(wide, r, 0.0, r);
            }
            pq_tensor_free(&tall);
            pq_tensor_free(&wide);
        }
    }
}

Test(subspace, the_tail_decides_the_rank)
{
    pq_tensor *tall = falling(20, 6, 1.0, 0.1), *wide = falling(6, 20, 1.0, 0.1);

    for (size_t r = 1; r < 6; r++) { /* what is dropped is about 0.1^r */
        check(tall, SIZE_MAX, 1.5 * pow(0.1, (double)r), r);
        check(wide, SIZE_MAX, 1.5 * pow(0.1, (double)r), r);
    }
    check(wide, 2, 1.5e-4, 2);
    pq_tensor_free(&tall);
    pq_tensor_free(&wide);
}

Test(subspace, bad_input_is_refused_with_its_words)
{
    pq_tensor *a = random_tensor(PQ_SHAPE(3, 4), 1), *u = NULL, *rest = NULL;
    pq_err     err = {0};

    cr_expect_eq(pq_left_split(a, 0, 0.0, &u, &rest, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 0 is below 1");
    err          = (pq_err){0};
    pq_f64(a)[6] = NAN;
    cr_expect_eq(pq_left_split(a, 2, 0.0, &u, &rest, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "SVD: the matrix holds nan at [1, 2]");
    cr_expect_null(u);
    cr_expect_null(rest);
    pq_tensor_free(&a);
}

Test(subspace, every_failed_allocation_leaves_nothing_behind)
{
    pq_tensor *even = falling(8, 4, 1.0, 0.7), *steep = falling(8, 4, 1.0, 0.01);
    pq_tensor *u = NULL, *rest = NULL;

    SURVIVES(pq_left_split(even, 2, 0.0, &u, &rest, NULL),
             (pq_tensor_free(&u), pq_tensor_free(&rest)));
    SURVIVES(pq_left_split(steep, 3, 0.0, &u, &rest, NULL),
             (pq_tensor_free(&u), pq_tensor_free(&rest)));
    pq_tensor_free(&even);
    pq_tensor_free(&steep);
}
