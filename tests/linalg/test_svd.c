#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/gemm.h"
#include "linalg/svd.h"

static const double TOL_FACTORS = 1e-12; /* relative to the largest singular value */
static const double TOL_REF     = 1e-10; /* between two algorithms */

static pq_tensor *random_matrix(size_t m, size_t n, uint64_t seed)
{
    pq_rng     rng = pq_rng_stream(seed, "test");
    pq_tensor *t   = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = pq_rng_normal(&rng);
    }
    return t;
}

static double largest_difference(const pq_tensor *a, const pq_tensor *b)
{
    double largest = 0.0;

    cr_assert(pq_shape_equal(&a->shape, &b->shape));
    for (size_t i = 0; i < a->count; i++) {
        largest = fmax(largest, fabs(pq_f64(a)[i] - pq_f64(b)[i]));
    }
    return largest;
}

/* U diag(s) V^T from the first `rank` values. */
static pq_tensor *rebuild(const pq_svd *svd, size_t rank)
{
    const size_t m = svd->u->shape.dim[0], k = svd->s->count, n = svd->vt->shape.dim[1];
    pq_tensor   *w = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &w, NULL), PQ_OK);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            for (size_t r = 0; r < rank; r++) {
                pq_f64(w)[i * n + j] += pq_f64(svd->u)[i * k + r] * pq_f64(svd->s)[r] *
                                        pq_f64(svd->vt)[r * n + j];
            }
        }
    }
    return w;
}

static const size_t shapes[][2] = {{1, 1},   {1, 7},   {7, 1},    {5, 5},   {16, 64},
                                   {64, 16}, {33, 31}, {64, 144}, {200, 20}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

Test(svd, factors_rebuild_the_matrix_and_are_orthonormal)
{
    for (size_t c = 0; c < SHAPES; c++) {
        const size_t m = shapes[c][0], n = shapes[c][1], k = m < n ? m : n;
        pq_tensor   *w = random_matrix(m, n, c), *gram = NULL, *back;
        pq_svd       svd = {0};

        cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
        back = rebuild(&svd, k);
        cr_expect_lt(largest_difference(w, back), TOL_FACTORS * pq_f64(svd.s)[0]);
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, k), &gram, NULL), PQ_OK);
        for (int side = 0; side < 2; side++) {
            const pq_tensor *f = side == 0 ? svd.u : svd.vt;
            cr_assert_eq(pq_gemm((pq_operand){f, side == 0}, (pq_operand){f, side == 1},
                                 0.0, gram, NULL),
                         PQ_OK);
            for (size_t i = 0; i < k * k; i++) {
                cr_expect_float_eq(pq_f64(gram)[i], i / k == i % k ? 1.0 : 0.0,
                                   TOL_FACTORS);
            }
        }
        for (size_t i = 1; i < k; i++) {
            cr_expect_geq(pq_f64(svd.s)[i - 1], pq_f64(svd.s)[i]);
        }
        pq_tensor_free(&w);
        pq_tensor_free(&gram);
        pq_tensor_free(&back);
        pq_svd_free(&svd);
    }
}

Test(svd, agrees_with_jacobi_rotations)
{
    for (size_t c = 0; c < SHAPES; c++) {
        pq_tensor *w   = random_matrix(shapes[c][0], shapes[c][1], 100 + c);
        pq_svd     svd = {0}, ref = {0};

        cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
        cr_assert_eq(pq_svd_thin_ref(w, &ref, NULL), PQ_OK);
        cr_expect_lt(largest_difference(svd.s, ref.s), TOL_REF * pq_f64(svd.s)[0]);
        cr_expect_lt(largest_difference(svd.u, ref.u), TOL_REF);
        cr_expect_lt(largest_difference(svd.vt, ref.vt), TOL_REF);
        pq_tensor_free(&w);
        pq_svd_free(&svd);
        pq_svd_free(&ref);
    }
}

/* A^T A = [[25, 20], [20, 25]] has eigenvalues 45 and 5 with vectors (1, 1), (1, -1) over
 * sqrt 2. */
Test(svd, known_two_by_two)
{
    static const double w[] = {3.0, 0.0, 4.0, 5.0};
    pq_tensor          *t   = NULL;
    pq_svd              svd = {0};

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(2, 2), &t, NULL), PQ_OK);
    memcpy(t->data, w, sizeof w);
    cr_assert_eq(pq_svd_thin(t, &svd, NULL), PQ_OK);
    cr_expect_float_eq(pq_f64(svd.s)[0], 3.0 * sqrt(5.0), 1e-14);
    cr_expect_float_eq(pq_f64(svd.s)[1], sqrt(5.0), 1e-14);
    cr_expect_float_eq(pq_f64(svd.u)[0], 1.0 / sqrt(10.0), 1e-14);
    cr_expect_float_eq(pq_f64(svd.u)[2], 3.0 / sqrt(10.0), 1e-14);
    cr_expect_float_eq(pq_f64(svd.u)[1], 3.0 / sqrt(10.0), 1e-14);
    cr_expect_float_eq(pq_f64(svd.u)[3], -1.0 / sqrt(10.0), 1e-14);
    pq_tensor_free(&t);
    pq_svd_free(&svd);
}

Test(svd, largest_entry_of_each_left_vector_is_positive)
{
    pq_tensor *w   = random_matrix(40, 24, 5);
    pq_svd     svd = {0};

    cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
    for (size_t j = 0; j < 24; j++) {
        double largest = 0.0;
        for (size_t i = 0; i < 40; i++) {
            const double x = pq_f64(svd.u)[i * 24 + j];
            largest        = fabs(x) > fabs(largest) ? x : largest;
        }
        cr_expect_gt(largest, 0.0);
    }
    pq_tensor_free(&w);
    pq_svd_free(&svd);
}

Test(svd, truncation_error_is_the_norm_of_the_dropped_values)
{
    pq_tensor *w   = random_matrix(30, 50, 6);
    pq_svd     svd = {0};

    cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
    for (size_t rank = 1; rank <= 30; rank++) {
        pq_tensor *back = rebuild(&svd, rank);
        double     sum  = 0.0;
        for (size_t i = 0; i < w->count; i++) {
            const double d = pq_f64(w)[i] - pq_f64(back)[i];
            sum += d * d;
        }
        cr_expect_float_eq(sqrt(sum), pq_svd_tail(&svd, rank),
                           1e-6 * pq_svd_tail(&svd, rank) + 1e-12);
        pq_tensor_free(&back);
    }
    pq_tensor_free(&w);
    pq_svd_free(&svd);
}

Test(svd, zero_and_rank_one_matrices_are_fine)
{
    pq_tensor *w   = NULL;
    pq_svd     svd = {0};

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 3), &w, NULL), PQ_OK);
    cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
    cr_expect_eq(pq_f64(svd.s)[0], 0.0);
    pq_svd_free(&svd);
    for (size_t i = 0; i < 12; i++) {
        pq_f32(w)[i] = (float)((i / 3 + 1) * (i % 3 + 1));
    }
    cr_assert_eq(pq_svd_thin(w, &svd, NULL), PQ_OK);
    cr_expect_float_eq(pq_f64(svd.s)[0], sqrt(30.0 * 14.0), 1e-12);
    cr_expect_lt(pq_f64(svd.s)[1], 1e-12);
    pq_svd_free(&svd);
    pq_tensor_free(&w);
}

Test(svd, refuses_nan_with_its_place)
{
    pq_tensor *w   = random_matrix(4, 6, 1);
    pq_svd     svd = {0};
    pq_err     err = {0};

    pq_f64(w)[2 * 6 + 5] = NAN;
    cr_expect_eq(pq_svd_thin(w, &svd, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "SVD: the matrix holds nan at [2, 5]");
    cr_expect_null(svd.u);
    pq_tensor_free(&w);
}

Test(svd, refuses_what_is_not_a_matrix)
{
    pq_tensor *w   = NULL;
    pq_svd     svd = {0};
    pq_err     err = {0};

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 3, 2), &w, NULL), PQ_OK);
    cr_expect_eq(pq_svd_thin(w, &svd, &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "SVD needs a matrix, not [4, 3, 2]");
    pq_tensor_free(&w);
    err = (pq_err){0};
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 0), &w, NULL), PQ_OK);
    cr_expect_eq(pq_svd_thin(w, &svd, &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "SVD needs a matrix that is not empty, not [4, 0]");
    pq_tensor_free(&w);
}

Test(svd, survives_every_failed_allocation)
{
    pq_tensor *w  = random_matrix(6, 4, 1);
    pq_status  st = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live = pq_memory_live();
        pq_svd       svd = {0}, ref = {0};

        pq_memory_fail_after(n);
        st = pq_svd_thin(w, &svd, NULL);
        st = st == PQ_OK ? pq_svd_thin_ref(w, &ref, NULL) : st;
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_svd_free(&svd);
        pq_svd_free(&ref);
        cr_assert_eq(pq_memory_live(), live);
    }
    pq_tensor_free(&w);
}
