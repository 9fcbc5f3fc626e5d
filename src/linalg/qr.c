#include "linalg/qr.h"

#include "core/memory.h"
#include "linalg/lapack.h"

/* Copies the upper triangle of a [m, n] into r [k, n]. */
static void take_r(const double *a, size_t k, size_t n, double *r)
{
    for (size_t i = 0; i < k; i++) {
        for (size_t j = i; j < n; j++) {
            r[i * n + j] = a[i * n + j];
        }
    }
}

/* Copies the first k columns of a [m, n] into q [m, k]. */
static void take_q(const double *a, size_t m, size_t n, size_t k, double *q)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < k; j++) {
            q[i * k + j] = a[i * n + j];
        }
    }
}

static void make_diagonal_positive(double *q, double *r, size_t m, size_t n, size_t k)
{
    for (size_t j = 0; j < k; j++) {
        if (r[j * n + j] >= 0.0) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            r[j * n + i] = -r[j * n + i];
        }
        for (size_t i = 0; i < m; i++) {
            q[i * k + j] = -q[i * k + j];
        }
    }
}

pq_status pq_qr_thin(const pq_tensor *a, pq_tensor **q, pq_tensor **r, pq_err *err)
{
    pq_tensor *copy = NULL, *qq = NULL, *rr = NULL;
    double    *tau = NULL, *work = NULL, query = 0.0, query_q = 0.0;
    lapack_int lwork, info;
    pq_status  st;

    PQ_TRY(pq_lapack_input(a, "QR", &copy, err));
    const size_t     rows = a->shape.dim[0], cols = a->shape.dim[1];
    const lapack_int m = (lapack_int)rows, n = (lapack_int)cols, k = m < n ? m : n;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, (size_t)k), &qq, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE((size_t)k, cols), &rr, err));
    PQ_NEW(tau, (size_t)k);
    /* In LAPACK's column order our A is A^T, and A^T = L Q' gives A = Q'^T L^T. */
    info = LAPACKE_dgelqf_work(LAPACK_COL_MAJOR, n, m, pq_f64(copy), n, tau, &query, -1);
    assert(info == 0);
    info = LAPACKE_dorglq_work(LAPACK_COL_MAJOR, k, m, k, pq_f64(copy), n, tau, &query_q,
                               -1);
    assert(info == 0);
    PQ_TRY(pq_lapack_scratch(query > query_q ? query : query_q, &work, &lwork, err));
    info = LAPACKE_dgelqf_work(LAPACK_COL_MAJOR, n, m, pq_f64(copy), n, tau, work, lwork);
    assert(info == 0);
    take_r(pq_f64(copy), (size_t)k, cols, pq_f64(rr));
    info =
        LAPACKE_dorglq_work(LAPACK_COL_MAJOR, k, m, k, pq_f64(copy), n, tau, work, lwork);
    assert(info == 0);
    take_q(pq_f64(copy), rows, cols, (size_t)k, pq_f64(qq));
    make_diagonal_positive(pq_f64(qq), pq_f64(rr), rows, cols, (size_t)k);
    *q = qq;
    *r = rr;
    qq = rr = NULL;
cleanup:
    pq_tensor_free(&copy);
    pq_tensor_free(&qq);
    pq_tensor_free(&rr);
    pq_free(tau);
    pq_free(work);
    return st;
}
