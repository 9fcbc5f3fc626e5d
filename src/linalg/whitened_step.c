#include "linalg/whitened_step.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"

void pq_multiply(size_t m, size_t n, size_t k, const double *a, const double *b,
                 bool transposed, double beta, double *c)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans,
                (int)m, (int)n, (int)k, 1.0, a, (int)k, b, (int)(transposed ? k : n),
                beta, c, (int)n);
}

double pq_dot(size_t n, const double *a, const double *b)
{
    return cblas_ddot((int)n, a, 1, b, 1);
}

/* Q f(lambda) Q^T for a symmetric matrix: 1 / (lambda + raise), 0 at or below `least`. */
static pq_status invert(const pq_tensor *a, double raise, double least, pq_tensor **out,
                        pq_err *err)
{
    const size_t n      = a->shape.dim[0];
    pq_tensor   *values = NULL, *vectors = NULL, *scaled = NULL, *inverse = NULL;
    pq_status    st;

    PQ_TRY(pq_eigh(a, &values, &vectors, err));
    PQ_TRY(pq_tensor_clone(vectors, &scaled, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, a->shape, &inverse, err));
    for (size_t i = 0; i < n; i++) {
        const double l = fmax(pq_f64(values)[i], 0.0) + raise;
        const double f = l > least * pq_f64(values)[0] ? 1.0 / l : 0.0;
        for (size_t j = 0; j < n; j++) {
            pq_f64(scaled)[i * n + j] *= f;
        }
    }
    PQ_TRY(pq_gemm((pq_operand){vectors, true}, (pq_operand){scaled, false}, 0.0, inverse,
                   err));
    *out    = inverse;
    inverse = NULL;
cleanup:
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    pq_tensor_free(&scaled);
    pq_tensor_free(&inverse);
    return st;
}

static double mean_diagonal(const pq_tensor *a)
{
    const size_t n   = a->shape.dim[0];
    double       sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += pq_f64(a)[i * n + i];
    }
    return sum / (double)n;
}

pq_status pq_soft_inverse(const pq_tensor *a, pq_tensor **out, pq_err *err)
{
    return invert(a, 1e-6 * mean_diagonal(a), 0.0, out, err);
}

pq_status pq_solve_right(const pq_tensor *a, pq_tensor *b, pq_err *err)
{
    const size_t k = a->shape.dim[0], m = b->count / k;
    pq_tensor   *chol = NULL, *inverse = NULL, *copy = NULL;
    lapack_int   info;
    pq_status    st;

    PQ_TRY(pq_tensor_clone(a, &chol, err));
    for (size_t i = 0; i < k; i++) {
        pq_f64(chol)[i * k + i] += 1e-12 * mean_diagonal(a);
    }
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)k, pq_f64(chol),
                               (lapack_int)k);
    if (info == 0) { /* our rows are LAPACK's columns: one right-hand side a row */
        info = LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', (lapack_int)k, (lapack_int)m,
                                   pq_f64(chol), (lapack_int)k, pq_f64(b), (lapack_int)k);
        assert(info == 0);
        goto cleanup;
    }
    PQ_TRY(invert(a, 0.0, 1e-12, &inverse, err));
    PQ_TRY(pq_tensor_clone(b, &copy, err));
    pq_multiply(m, k, k, pq_f64(copy), pq_f64(inverse), false, 0.0, pq_f64(b));
cleanup:
    pq_tensor_free(&chol);
    pq_tensor_free(&inverse);
    pq_tensor_free(&copy);
    return st;
}

pq_status pq_partial_moments(const pq_tensor *s, size_t outer, size_t size, size_t inner,
                             pq_tensor **out, pq_err *err)
{
    const size_t n = outer * size * inner;
    pq_tensor   *p = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(size, size), &p, err));
    for (size_t o = 0; o < outer; o++) {
        for (size_t j = 0; j < size; j++) {
            for (size_t k = 0; k < size; k++) {
                for (size_t i = 0; i < inner; i++) {
                    pq_f64(p)[j * size + k] +=
                        pq_f64(s)[((o * size + j) * inner + i) * n +
                                  (o * size + k) * inner + i] /
                        (double)(outer * inner);
                }
            }
        }
    }
    *out = p;
cleanup:
    return st;
}

/* y = rows x columns. */
static void precondition(const pq_least_squares *p, const double *x, double *half,
                         double *y)
{
    pq_multiply(p->m, p->r, p->m, pq_f64(p->rows), x, false, 0.0, half);
    pq_multiply(p->m, p->r, p->r, half, pq_f64(p->columns), false, 0.0, y);
}

pq_status pq_conjugate(const pq_least_squares *p, const double *b, double *x, size_t most,
                       pq_err *err)
{
    const size_t n    = p->m * p->r;
    double      *left = NULL, *soft = NULL, *way = NULL, *moved = NULL;
    double       power, first, step;
    pq_status    st;

    PQ_NEW(left, n);
    PQ_NEW(soft, n);
    PQ_NEW(way, n);
    PQ_NEW(moved, n);
    p->normal(p->context, x, left);
    for (size_t i = 0; i < n; i++) {
        left[i] = b[i] - left[i];
    }
    precondition(p, left, moved, soft);
    memcpy(way, soft, n * sizeof *way);
    power = first = pq_dot(n, left, soft);
    for (size_t s = 0; s < most && power > 1e-12 * first; s++) {
        p->normal(p->context, way, moved);
        step = pq_dot(n, way, moved);
        if (!(step > 0.0)) {
            break; /* nothing left to gain in that direction */
        }
        step = power / step;
        cblas_daxpy((int)n, step, way, 1, x, 1);
        cblas_daxpy((int)n, -step, moved, 1, left, 1);
        precondition(p, left, moved, soft);
        const double next = pq_dot(n, left, soft);
        cblas_dscal((int)n, next / power, way, 1);
        cblas_daxpy((int)n, 1.0, soft, 1, way, 1);
        power = next;
    }
cleanup:
    pq_free(left);
    pq_free(soft);
    pq_free(way);
    pq_free(moved);
    return st;
}
