#include "linalg/svd.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/lapack.h"

typedef lapack_int (*driver)(pq_tensor *a, pq_svd *out, double *work, lapack_int lwork,
                             lapack_int *iwork);

/* LAPACK is column-major: what we hold as W is W^T = V S U^T there, so its left
 * vectors land in vt and its right ones in u, both already row-major for us. */
static lapack_int divide_and_conquer(pq_tensor *a, pq_svd *out, double *work,
                                     lapack_int lwork, lapack_int *iwork)
{
    const lapack_int n = (lapack_int)a->shape.dim[1], m = (lapack_int)a->shape.dim[0];

    return LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'S', n, m, pq_f64(a), n, pq_f64(out->s),
                               pq_f64(out->vt), n, pq_f64(out->u), m < n ? m : n, work,
                               lwork, iwork);
}

static lapack_int qr_iteration(pq_tensor *a, pq_svd *out, double *work, lapack_int lwork,
                               lapack_int *iwork)
{
    const lapack_int n = (lapack_int)a->shape.dim[1], m = (lapack_int)a->shape.dim[0];

    (void)iwork;
    return LAPACKE_dgesvd_work(LAPACK_COL_MAJOR, 'S', 'S', n, m, pq_f64(a), n,
                               pq_f64(out->s), pq_f64(out->vt), n, pq_f64(out->u),
                               m < n ? m : n, work, lwork);
}

static pq_status create(size_t m, size_t n, pq_svd *out, pq_err *err)
{
    const size_t k = m < n ? m : n;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, k), &out->u, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k), &out->s, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, n), &out->vt, err));
cleanup:
    return st;
}

/* Runs one driver on a fresh copy of w; *info > 0 when it did not converge. */
static pq_status run(driver call, const pq_tensor *w, pq_svd *out, lapack_int *info,
                     pq_err *err)
{
    pq_tensor  *a    = NULL;
    double     *work = NULL, query = 0.0;
    lapack_int *iwork = NULL;
    lapack_int  lwork;
    pq_status   st;

    PQ_TRY(pq_lapack_input(w, "SVD", &a, err));
    if (out->u == NULL) {
        PQ_TRY(create(a->shape.dim[0], a->shape.dim[1], out, err));
    }
    PQ_NEW(iwork, 8 * out->s->count);
    *info = call(a, out, &query, -1, iwork);
    assert(*info == 0);
    PQ_TRY(pq_lapack_scratch(query, &work, &lwork, err));
    *info = call(a, out, work, lwork, iwork);
    assert(*info >= 0);
cleanup:
    pq_tensor_free(&a);
    pq_free(work);
    pq_free(iwork);
    return st;
}

void pq_svd_fix_signs(pq_svd *svd)
{
    const size_t m = svd->u->shape.dim[0], k = svd->s->count, n = svd->vt->shape.dim[1];

    for (size_t j = 0; j < k; j++) {
        if (pq_fix_sign(pq_f64(svd->u) + j, m, k)) {
            for (size_t i = 0; i < n; i++) {
                pq_f64(svd->vt)[j * n + i] = -pq_f64(svd->vt)[j * n + i];
            }
        }
    }
}

pq_status pq_svd_thin(const pq_tensor *w, pq_svd *out, pq_err *err)
{
    pq_svd     svd  = {0};
    lapack_int info = 0;
    pq_status  st;

    PQ_TRY(run(divide_and_conquer, w, &svd, &info, err));
    if (info > 0) {
        PQ_TRY(run(qr_iteration, w, &svd, &info, err));
    }
    PQ_CHECK(info == 0, PQ_ERR_NUMERIC,
             "SVD did not converge: %d superdiagonals are left", (int)info);
    pq_svd_fix_signs(&svd);
    *out = svd;
    svd  = (pq_svd){0};
cleanup:
    pq_svd_free(&svd);
    return st;
}

/* Rotates columns p and q of a (and of v) so that they become orthogonal; false when they
 * are. */
static bool rotate(double *a, size_t m, double *v, size_t n, size_t p, size_t q)
{
    double pp = 0.0, qq = 0.0, pq = 0.0;

    for (size_t i = 0; i < m; i++) {
        pp += a[i * n + p] * a[i * n + p];
        qq += a[i * n + q] * a[i * n + q];
        pq += a[i * n + p] * a[i * n + q];
    }
    if (fabs(pq) <= 1e-15 * sqrt(pp * qq)) {
        return false;
    }
    /* t = tan of the angle that zeroes the product: the smaller root of t^2 + 2 zeta t -
     * 1 */
    const double zeta = (qq - pp) / (2.0 * pq);
    const double t    = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1.0 + zeta * zeta));
    const double c = 1.0 / sqrt(1.0 + t * t), s = c * t;

    for (size_t i = 0; i < m; i++) {
        const double x = a[i * n + p], y = a[i * n + q];
        a[i * n + p] = c * x - s * y;
        a[i * n + q] = s * x + c * y;
    }
    for (size_t i = 0; i < n; i++) {
        const double x = v[i * n + p], y = v[i * n + q];
        v[i * n + p] = c * x - s * y;
        v[i * n + q] = s * x + c * y;
    }
    return true;
}

/* Sorts columns by norm and splits a = u s; m >= n. */
static void collect(const double *a, size_t m, const double *v, size_t n, pq_svd *out)
{
    double *s = pq_f64(out->s), *u = pq_f64(out->u), *vt = pq_f64(out->vt);

    for (size_t j = 0; j < n; j++) {
        double norm = 0.0;
        size_t at   = 0;
        for (size_t i = 0; i < m; i++) {
            norm += a[i * n + j] * a[i * n + j];
        }
        norm = sqrt(norm);
        while (at < j && s[at] >= norm) {
            at++;
        }
        for (size_t c = j; c > at; c--) { /* insertion sort, moving whole triples */
            s[c] = s[c - 1];
            memcpy(vt + c * n, vt + (c - 1) * n, n * sizeof *vt);
            for (size_t i = 0; i < m; i++) {
                u[i * n + c] = u[i * n + c - 1];
            }
        }
        s[at] = norm;
        for (size_t i = 0; i < m; i++) {
            u[i * n + at] = norm > 0.0 ? a[i * n + j] / norm : 0.0;
        }
        for (size_t i = 0; i < n; i++) {
            vt[at * n + i] = v[i * n + j];
        }
    }
}

/* SVD of a tall matrix, destroyed. */
static pq_status jacobi(pq_tensor *tall, pq_svd *out, pq_err *err)
{
    const size_t m = tall->shape.dim[0], n = tall->shape.dim[1];
    pq_tensor   *v      = NULL;
    bool         turned = true;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &v, err));
    for (size_t i = 0; i < n; i++) {
        pq_f64(v)[i * n + i] = 1.0;
    }
    for (int sweep = 0; turned && sweep < 60; sweep++) {
        turned = false;
        for (size_t p = 0; p + 1 < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                turned = rotate(pq_f64(tall), m, pq_f64(v), n, p, q) || turned;
            }
        }
    }
    PQ_CHECK(!turned, PQ_ERR_NUMERIC, "Jacobi SVD did not converge in 60 sweeps");
    PQ_TRY(create(m, n, out, err));
    collect(pq_f64(tall), m, pq_f64(v), n, out);
cleanup:
    pq_tensor_free(&v);
    return st;
}

pq_status pq_svd_thin_ref(const pq_tensor *w, pq_svd *out, pq_err *err)
{
    const size_t swap[] = {1, 0};
    pq_tensor   *a = NULL, *t = NULL;
    pq_svd       svd = {0}, flipped = {0};
    pq_status    st;

    PQ_TRY(pq_lapack_input(w, "SVD", &a, err));
    if (a->shape.dim[0] >= a->shape.dim[1]) {
        PQ_TRY(jacobi(a, &svd, err));
    } else {
        PQ_TRY(pq_tensor_permute(a, swap, &t, err));
        PQ_TRY(jacobi(t, &flipped, err));
        PQ_TRY(pq_tensor_permute(flipped.vt, swap, &svd.u, err));
        PQ_TRY(pq_tensor_permute(flipped.u, swap, &svd.vt, err));
        svd.s     = flipped.s;
        flipped.s = NULL;
    }
    pq_svd_fix_signs(&svd);
    *out = svd;
    svd  = (pq_svd){0};
cleanup:
    pq_tensor_free(&a);
    pq_tensor_free(&t);
    pq_svd_free(&svd);
    pq_svd_free(&flipped);
    return st;
}

void pq_svd_free(pq_svd *svd)
{
    pq_tensor_free(&svd->u);
    pq_tensor_free(&svd->s);
    pq_tensor_free(&svd->vt);
}

double pq_svd_tail(const pq_svd *svd, size_t rank)
{
    double sum = 0.0;

    for (size_t i = svd->s->count; i > rank; i--) { /* small ones first */
        sum += pq_f64(svd->s)[i - 1] * pq_f64(svd->s)[i - 1];
    }
    return sqrt(sum);
}
