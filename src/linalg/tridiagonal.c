#include "linalg/tridiagonal.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"

enum { LANES = 8 }; /* eigenvalues worked on side by side */

/* What a residual may be, in units of rounding of the norm and of sqrt(n). */
static const double slack = 8.0;

/* Factorisations of T - lambda from both ends, [n, LANES] each. */
typedef struct {
    double (*down)[LANES];       /* pivots from the top */
    double (*up)[LANES];         /* and from the bottom */
    double (*down_ratio)[LANES]; /* e[i] / down[i] */
    double (*up_ratio)[LANES];   /* e[i - 1] / up[i] */
} twisted;

/* A pivot that is not too small to divide by. */
static inline double pivot(double x, double least)
{
    return fabs(x) < least ? -least : x;
}

static void factor(const double *d, const double *e, size_t n, const double lambda[LANES],
                   double least, const twisted *t)
{
    for (size_t i = 0; i < n; i++) {
        const double right = i + 1 < n ? e[i] : 0.0;
        for (size_t l = 0; l < LANES; l++) {
            const double taken  = i > 0 ? e[i - 1] * t->down_ratio[i - 1][l] : 0.0;
            t->down[i][l]       = pivot(d[i] - lambda[l] - taken, least);
            t->down_ratio[i][l] = right / t->down[i][l];
        }
    }
    for (size_t i = n; i-- > 0;) {
        const double left = i > 0 ? e[i - 1] : 0.0;
        for (size_t l = 0; l < LANES; l++) {
            const double taken = i + 1 < n ? e[i] * t->up_ratio[i + 1][l] : 0.0;
            t->up[i][l]        = pivot(d[i] - lambda[l] - taken, least);
            t->up_ratio[i][l]  = left / t->up[i][l];
        }
    }
}

/* The vector of one lane, of unit length: solved away from where both ends meet. */
static void solve(const double *d, size_t n, double lambda, const twisted *t, size_t l,
                  double *v)
{
    double least = HUGE_VAL, sum = 1.0;
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        const double left = fabs(t->down[i][l] + t->up[i][l] - (d[i] - lambda));
        if (left < least) {
            least = left;
            k     = i;
        }
    }
    v[k] = 1.0;
    for (size_t i = k; i-- > 0;) {
        v[i] = -t->down_ratio[i][l] * v[i + 1];
        sum += v[i] * v[i];
    }
    for (size_t i = k + 1; i < n; i++) {
        v[i] = -t->up_ratio[i][l] * v[i - 1];
        sum += v[i] * v[i];
    }
    const double scale = 1.0 / sqrt(sum);

    for (size_t i = 0; i < n; i++) {
        v[i] *= scale;
    }
}

/* |T v - lambda v|. */
static double residual(const double *d, const double *e, size_t n, double lambda,
                       const double *v)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double left  = i > 0 ? e[i - 1] * v[i - 1] : 0.0;
        const double right = i + 1 < n ? e[i] * v[i + 1] : 0.0;
        const double x     = left + (d[i] - lambda) * v[i] + right;
        sum += x * x;
    }
    return sqrt(sum);
}

/* Makes rows that are nearly orthonormal so; false where they are not near enough. */
static bool orthonormalise(double *vectors, size_t top, size_t n, double *gram)
{
    pq_blas_alone();
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, (int)top, (int)n, 1.0, vectors,
                (int)n, 0.0, gram, (int)top);
    /* 'U' in column order is the lower triangle of our row order */
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)top, gram,
                            (lapack_int)top) != 0) {
        return false;
    }
    for (size_t i = 0; i < top; i++) {
        if (!(gram[i * top + i] > 0.5)) {
            return false;
        }
    }
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit,
                (int)top, (int)n, 1.0, gram, (int)top, vectors, (int)n);
    return true;
}

pq_status pq_tridiagonal_top(const double *d, const double *e, size_t n, size_t top,
                             double *values, double *vectors, bool *sound, pq_err *err)
{
    double    all_norm = 0.0, *all = NULL, *beside = NULL, *gram = NULL;
    twisted   t = {0};
    pq_status st;

    *sound = false;
    PQ_NEW(all, n);
    PQ_NEW(beside, n);
    PQ_NEW(gram, top * top);
    PQ_NEW(t.down, n);
    PQ_NEW(t.up, n);
    PQ_NEW(t.down_ratio, n);
    PQ_NEW(t.up_ratio, n);
    memcpy(all, d, n * sizeof *d);
    memcpy(beside, e, (n - 1) * sizeof *e);
    if (LAPACKE_dsterf_work((lapack_int)n, all, beside) != 0) {
        goto cleanup;
    }
    memcpy(values, all + n - top, top * sizeof *values);
    all_norm             = fmax(fabs(all[0]), fabs(all[n - 1]));
    const double allowed = slack * DBL_EPSILON * sqrt((double)n) * all_norm;

    for (size_t first = 0; first < top; first += LANES) {
        double lambda[LANES];
        for (size_t l = 0; l < LANES; l++) {
            lambda[l] = values[first + l < top ? first + l : top - 1];
        }
        factor(d, e, n, lambda, DBL_EPSILON * DBL_EPSILON * all_norm, &t);
        for (size_t l = 0; l < LANES && first + l < top; l++) {
            double *v = vectors + (first + l) * n;
            solve(d, n, lambda[l], &t, l, v);
            if (!(residual(d, e, n, lambda[l], v) <= allowed)) {
                goto cleanup;
            }
        }
    }
    *sound = orthonormalise(vectors, top, n, gram);
cleanup:
    pq_free(all);
    pq_free(beside);
    pq_free(gram);
    pq_free(t.down);
    pq_free(t.up);
    pq_free(t.down_ratio);
    pq_free(t.up_ratio);
    return st;
}
