#include "linalg/cholesky.h"

#include "linalg/lapack.h"

enum { MOST = 32767 };

pq_status pq_inverse_factor(size_t n, double *a, pq_err *err)
{
    const lapack_int order = (lapack_int)n;
    lapack_int       info;
    pq_status        st = PQ_OK;

    PQ_CHECK(n >= 1 && n <= MOST, PQ_ERR_RANGE,
             "a matrix of %zu rows is not one of 1..%d to factor", n, MOST);
    /* Row-major upper is column-major lower. */
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', order, a, order);
    if (info == 0) {
        info = LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', order, a, order);
    }
    if (info == 0) {
        info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', order, a, order);
    }
    PQ_CHECK(info == 0, PQ_ERR_NUMERIC,
             "a matrix of %zu rows is not positive definite (row %d)", n, (int)info);
    for (size_t r = 1; r < n; r++) {
        for (size_t c = 0; c < r; c++) {
            a[r * n + c] = 0.0;
        }
    }
cleanup:
    return st;
}
