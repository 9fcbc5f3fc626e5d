#include "linalg/eigh.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/lapack.h"

static double largest_magnitude(const double *a, size_t count)
{
    double largest = 0.0;

    for (size_t i = 0; i < count; i++) {
        const double x = fabs(a[i]);
        largest        = x > largest ? x : largest;
    }
    return largest;
}

static pq_status check_symmetric(const double *a, size_t n, pq_err *err)
{
    const double largest = largest_magnitude(a, n * n);
    pq_status    st      = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            PQ_CHECK(fabs(a[i * n + j] - a[j * n + i]) <= 1e-6 * largest, PQ_ERR_NUMERIC,
                     "eigenproblem: the matrix is not symmetric: %g at [%zu, %zu] but %g "
                     "across",
                     a[i * n + j], i, j, a[j * n + i]);
        }
    }
cleanup:
    return st;
}

/* LAPACK leaves k ascending values and vector i in our row i: turns both round and fixes
 * signs. */
static void turn_round(double *values, double *vectors, size_t k, size_t n)
{
    for (size_t i = 0; i < k / 2; i++) {
        const size_t mirror = k - 1 - i;
        const double value  = values[i];
        values[i]           = values[mirror];
        values[mirror]      = value;
        for (size_t j = 0; j < n; j++) {
            const double item       = vectors[i * n + j];
            vectors[i * n + j]      = vectors[mirror * n + j];
            vectors[mirror * n + j] = item;
        }
    }
    for (size_t i = 0; i < k; i++) {
        pq_fix_sign(vectors + i * n, n, 1);
    }
}

pq_status pq_eigh(const pq_tensor *a, pq_tensor **values, pq_tensor **vectors,
                  pq_err *err)
{
    pq_tensor  *v = NULL, *w = NULL;
    double     *work = NULL, query = 0.0;
    lapack_int *iwork = NULL, lwork, liwork = 0, info;
    pq_status   st;

    PQ_TRY(pq_lapack_input(a, "eigenproblem", &v, err));
    const size_t     size = a->shape.dim[0];
    const lapack_int n    = (lapack_int)size;

    PQ_CHECK(a->shape.dim[1] == size, PQ_ERR_SHAPE,
             "eigenproblem needs a square matrix, not [%zu, %zu]", size, a->shape.dim[1]);
    PQ_TRY(check_symmetric(pq_f64(v), size, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(size), &w, err));
    /* 'L' in column order is the upper triangle of our row order */
    info = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', n, pq_f64(v), n, pq_f64(w),
                               &query, -1, &liwork, -1);
    assert(info == 0);
    PQ_TRY(pq_lapack_scratch(query, &work, &lwork, err));
    PQ_NEW(iwork, (size_t)liwork);
    info = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', n, pq_f64(v), n, pq_f64(w),
                               work, lwork, iwork, liwork);
    PQ_CHECK(info == 0, PQ_ERR_NUMERIC, "eigenproblem did not converge (LAPACK info %d)",
             (int)info);
    turn_round(pq_f64(w), pq_f64(v), size, size);
    *values  = w;
    *vectors = v;
    w = v = NULL;
cleanup:
    pq_tensor_free(&v);
    pq_tensor_free(&w);
    pq_free(work);
    pq_free(iwork);
    return st;
}

/* Up to one in so many eigenvectors alone are quicker by bisection and inverse iteration
 * than by divide and conquer, which finds all of the tridiagonal matrix. */
static const size_t few = 6;

/* By LAPACK's dsyevr, of the matrix in `a`, which is lost. */
static pq_status top_by_bisection(double *a, size_t size, size_t top, double *values,
                                  double *vectors, pq_err *err)
{
    const lapack_int n = (lapack_int)size, first = n - (lapack_int)top + 1;
    double          *work = NULL, *all = NULL, query = 0.0;
    lapack_int      *iwork = NULL, *support = NULL, lwork, liwork = 0, info, found = 0;
    pq_status        st;

    PQ_NEW(all, size);
    PQ_NEW(support, 2 * size);
    info = LAPACKE_dsyevr_work(LAPACK_COL_MAJOR, 'V', 'I', 'L', n, a, n, 0.0, 0.0, first,
                               n, 0.0, &found, all, vectors, n, support, &query, -1,
                               &liwork, -1);
    assert(info == 0);
    PQ_TRY(pq_lapack_scratch(query, &work, &lwork, err));
    PQ_NEW(iwork, (size_t)liwork);
    info = LAPACKE_dsyevr_work(LAPACK_COL_MAJOR, 'V', 'I', 'L', n, a, n, 0.0, 0.0, first,
                               n, 0.0, &found, all, vectors, n, support, work, lwork,
                               iwork, liwork);
    PQ_CHECK(info == 0 && (size_t)found == top, PQ_ERR_NUMERIC,
             "eigenproblem did not converge (LAPACK info %d)", (int)info);
    memcpy(values, all, top * sizeof *all);
cleanup:
    pq_free(work);
    pq_free(all);
    pq_free(iwork);
    pq_free(support);
    return st;
}

/* What dsyevd does, but only the wanted vectors are turned back from those of the
 * tridiagonal matrix. */
static pq_status top_by_division(double *a, size_t size, size_t top, double *values,
                                 double *vectors, pq_err *err)
{
    const size_t     skip = size - top; /* ascending: the wanted ones come last */
    const lapack_int n    = (lapack_int)size;
    double          *d = NULL, *e = NULL, *tau = NULL, *z = NULL, *work = NULL;
    double           query[3] = {0.0};
    lapack_int      *iwork = NULL, lwork, liwork = 0, info;
    pq_status        st;

    PQ_NEW(d, size);
    PQ_NEW(e, size);
    PQ_NEW(tau, size);
    PQ_NEW(z, size * size);
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', n, a, n, d, e, tau, query, -1);
    assert(info == 0);
    info = LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', n, d, e, z, n, query + 1, -1,
                               &liwork, -1);
    assert(info == 0);
    info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', n, (lapack_int)top, a, n,
                               tau, z, n, query + 2, -1);
    assert(info == 0);
    PQ_TRY(
        pq_lapack_scratch(fmax(query[0], fmax(query[1], query[2])), &work, &lwork, err));
    PQ_NEW(iwork, (size_t)liwork);
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', n, a, n, d, e, tau, work, lwork);
    assert(info == 0);
    info = LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', n, d, e, z, n, work, lwork, iwork,
                               liwork);
    PQ_CHECK(info == 0, PQ_ERR_NUMERIC, "eigenproblem did not converge (LAPACK info %d)",
             (int)info);
    info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', n, (lapack_int)top, a, n,
                               tau, z + skip * size, n, work, lwork);
    assert(info == 0);
    memcpy(values, d + skip, top * sizeof *d);
    memcpy(vectors, z + skip * size, top * size * sizeof *z);
cleanup:
    pq_free(d);
    pq_free(e);
    pq_free(tau);
    pq_free(z);
    pq_free(work);
    pq_free(iwork);
    return st;
}

pq_status pq_eigh_top(const pq_tensor *a, size_t top, pq_tensor **values,
                      pq_tensor **vectors, pq_err *err)
{
    pq_tensor *copy = NULL, *v = NULL, *w = NULL;
    pq_status  st;

    PQ_TRY(pq_lapack_input(a, "eigenproblem", &copy, err));
    const size_t n = a->shape.dim[0];

    PQ_CHECK(a->shape.dim[1] == n, PQ_ERR_SHAPE,
             "eigenproblem needs a square matrix, not [%zu, %zu]", n, a->shape.dim[1]);
    PQ_CHECK(top >= 1 && top <= n, PQ_ERR_RANGE, "%zu eigenvalues are not in 1..%zu", top,
             n);
    PQ_TRY(check_symmetric(pq_f64(copy), n, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(top), &w, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(top, n), &v, err));
    const double largest = largest_magnitude(pq_f64(copy), n * n);
    const bool   tame = largest < 1e140 && largest > 1e-140; /* dsyevr scales, we not */

    PQ_TRY((few * top <= n || !tame ? top_by_bisection : top_by_division)(
        pq_f64(copy), n, top, pq_f64(w), pq_f64(v), err));
    turn_round(pq_f64(w), pq_f64(v), top, n);
    *values  = w;
    *vectors = v;
    w = v = NULL;
cleanup:
    pq_tensor_free(&copy);
    pq_tensor_free(&v);
    pq_tensor_free(&w);
    return st;
}
