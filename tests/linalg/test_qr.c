#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/gemm.h"
#include "linalg/qr.h"

static const double TOL = 1e-13;

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

static const size_t shapes[][2] = {{1, 1}, {5, 5}, {20, 7}, {7, 20}, {1, 9}, {9, 1}};

Test(qr, factors_multiply_to_the_matrix_and_q_is_orthonormal)
{
    for (size_t c = 0; c < sizeof shapes / sizeof shapes[0]; c++) {
        const size_t m = shapes[c][0], n = shapes[c][1], k = m < n ? m : n;
        pq_tensor   *a = random_matrix(m, n, c), *q = NULL, *r = NULL, *gram = NULL;

        cr_assert_eq(pq_qr_thin(a, &q, &r, NULL), PQ_OK);
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < n; j++) {
                double sum = 0.0;
                for (size_t l = 0; l < k; l++) {
                    sum += pq_f64(q)[i * k + l] * pq_f64(r)[l * n + j];
                }
                cr_expect_float_eq(sum, pq_f64(a)[i * n + j], TOL * 100.0);
            }
        }
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, k), &gram, NULL), PQ_OK);
        cr_assert_eq(
            pq_gemm((pq_operand){q, true}, (pq_operand){q, false}, 0.0, gram, NULL),
            PQ_OK);
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < k; j++) {
                cr_expect_float_eq(pq_f64(gram)[i * k + j], i == j ? 1.0 : 0.0, TOL);
            }
            for (size_t j = 0; j < i; j++) {
                cr_expect_eq(pq_f64(r)[i * n + j], 0.0);
            }
            cr_expect_geq(pq_f64(r)[i * n + i], 0.0);
        }
        pq_tensor_free(&a);
        pq_tensor_free(&q);
        pq_tensor_free(&r);
        pq_tensor_free(&gram);
    }
}

Test(qr, refuses_infinity_with_its_place)
{
    pq_tensor *a = random_matrix(3, 2, 1), *q = NULL, *r = NULL;
    pq_err     err = {0};

    pq_f64(a)[3] = INFINITY;
    cr_expect_eq(pq_qr_thin(a, &q, &r, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "QR: the matrix holds inf at [1, 1]");
    pq_tensor_free(&a);
}

Test(qr, survives_every_failed_allocation)
{
    pq_tensor *a  = random_matrix(6, 4, 1);
    pq_status  st = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live = pq_memory_live();
        pq_tensor   *q = NULL, *r = NULL;

        pq_memory_fail_after(n);
        st = pq_qr_thin(a, &q, &r, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_tensor_free(&q);
        pq_tensor_free(&r);
        cr_assert_eq(pq_memory_live(), live);
    }
    pq_tensor_free(&a);
}
