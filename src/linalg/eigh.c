#include "linalg/eigh.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/lapack.h"
#include "linalg/tridiagonal.h"

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

/* The leading vectors by way of a tridiagonal matrix, ascending; *sound as there. The
 * matrix in `a` is lost. */
static pq_status reduce(double *a, size_t size, size_t top, double *values,
                        double *vectors, bool *sound, pq_err *err)
{
    const lapack_int n = (lapack_int)size, m = (lapack_int)top;
    double *d = NULL, *e = NULL, *tau = NULL, *work = NULL, query = 0.0, query_back = 0.0;
    lapack_int lwork, info;
    pq_status  st;

    PQ_NEW(d, size);
    PQ_NEW(e, size);
    PQ_NEW(tau, size);
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', n, a, n, d, e, tau, &query, -1);
    assert(info == 0);
    info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', n, m, a, n, tau, vectors,
                               n, &query_back, -1);
    assert(info == 0);
    PQ_TRY(pq_lapack_scratch(fmax(query, query_back), &work, &lwork, err));
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', n, a, n, d, e, tau, work, lwork);
    assert(info == 0);
    PQ_TRY(pq_tridiagonal_top(d, e, size, top, values, vectors, sound, err));
    if (*sound) {
        info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', n, m, a, n, tau,
                                   vectors, n, work, lwork);
        assert(info == 0);
    }
cleanup:
    pq_free(d);
    pq_free(e);
    pq_free(tau);
    pq_free(work);
    return st;
}

/* The first rows of a complete decomposition. */
static pq_status take_top(const pq_tensor *a, size_t top, double *values, double *vectors,
                          pq_err *err)
{
    pq_tensor *w = NULL, *v = NULL;
    pq_status  st;

    PQ_TRY(pq_eigh(a, &w, &v, err));
    memcpy(values, w->data, top * sizeof *values);
    memcpy(vectors, v->data, top * a->shape.dim[0] * sizeof *vectors);
cleanup:
    pq_tensor_free(&w);
    pq_tensor_free(&v);
    return st;
}

pq_status pq_eigh_top(const pq_tensor *a, size_t top, pq_tensor **values,
                      pq_tensor **vectors, pq_err *err)
{
    pq_tensor *copy = NULL, *v = NULL, *w = NULL;
    bool       sound = false;
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

    if (largest < 1e140 && largest > 1e-140) { /* squares that do not leave the range */
        PQ_TRY(reduce(pq_f64(copy), n, top, pq_f64(w), pq_f64(v), &sound, err));
    }
    if (sound) {
        turn_round(pq_f64(w), pq_f64(v), top, n);
    } else {
        PQ_TRY(take_top(a, top, pq_f64(w), pq_f64(v), err));
    }
    *values  = w;
    *vectors = v;
    w = v = NULL;
cleanup:
    pq_tensor_free(&copy);
    pq_tensor_free(&v);
    pq_tensor_free(&w);
    return st;
}
