#include "linalg/partial.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/krylov.h"
#include "linalg/lapack.h"
#include "linalg/qr.h"

enum {
    PANEL      = 256, /* rows converted to double at a time */
    FIRST_RUNG = 16,
    BLOCK      = 32,
    SPARE      = 8,  /* directions beyond the rank, which tell where the rest begins */
    PASSES     = 12, /* over the matrix in double, before the whole one is cheaper */
};

/* Whether it pays, measured against the whole decomposition on Gaussian matrices, whose
 * values fall slowest. */
static bool pays(size_t k, size_t rank)
{
    return k >= 512 && rank <= k / (k < 1024 ? 16 : 8);
}

/* The same of the eigenvectors of a Gram matrix. */
static bool gram_pays(size_t k, size_t rank)
{
    return k >= 256 && rank <= k / 4;
}

/* Basis of a search beyond which the whole decomposition is as cheap, or which only a
 * spectrum would need that is not met. */
static size_t largest_basis(size_t k, size_t rank)
{
    const size_t part = k / 4 * 3, most = 24 * rank + 512;

    return part < most ? part : most;
}

size_t pq_svd_rung(size_t m, size_t n, size_t rank)
{
    const size_t k = m < n ? m : n;
    size_t       r = FIRST_RUNG;

    while (r < rank) {
        r *= 2;
    }
    return pays(k, r) || gram_pays(k, r) ? r : k;
}

double pq_svd_excess(const double *s, double square, double lack, size_t r)
{
    double error = square;

    if (lack == 0.0) {
        return 0.0;
    }
    for (size_t i = 0; i < r; i++) {
        error -= s[i] * s[i];
    }
    const double best = error - lack;
    return best > 0.0 ? sqrt(error / best) - 1.0 : HUGE_VAL;
}

void pq_svd_part_free(pq_svd_part *part)
{
    pq_svd_free(&part->svd);
    *part = (pq_svd_part){0};
}

/* float32 copy of a matrix or its transpose, whichever is not wide, scaled by a power of
 * two to a size of 1. */
static pq_status tall_copy(const pq_tensor *w, double largest, pq_tensor **out,
                           pq_err *err)
{
    enum { TILE = 32 };
    const size_t m = w->shape.dim[0], n = w->shape.dim[1];
    int          power;
    pq_status    st;

    (void)frexp(largest, &power);
    const double scale = ldexp(1.0, -power);

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, m < n ? PQ_SHAPE(n, m) : PQ_SHAPE(m, n), out,
                            err));
    for (size_t i0 = 0; i0 < m; i0 += TILE) {
        for (size_t j0 = 0; j0 < n; j0 += TILE) {
            for (size_t i = i0; i < m && i < i0 + TILE; i++) {
                for (size_t j = j0; j < n && j < j0 + TILE; j++) {
                    const size_t at  = m < n ? j * m + i : i * n + j;
                    const double v   = w->dtype == PQ_DTYPE_F32
                                           ? (double)pq_f32(w)[i * n + j]
                                           : pq_f64(w)[i * n + j];
                    pq_f32(*out)[at] = (float)(v * scale);
                }
            }
        }
    }
cleanup:
    return st;
}

/* y = w x, or w^T x; in double, panel by panel where w is float32. */
static pq_status product(const pq_tensor *w, bool transposed, const pq_tensor *x,
                         pq_tensor **y, pq_err *err)
{
    const size_t m = w->shape.dim[0], n = w->shape.dim[1], p = x->shape.dim[1];
    double      *panel = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(transposed ? n : m, p), y, err));
    if (w->dtype == PQ_DTYPE_F64) {
        PQ_TRY(
            pq_gemm((pq_operand){w, transposed}, (pq_operand){x, false}, 0.0, *y, err));
        goto cleanup;
    }
    PQ_NEW(panel, PANEL * n);
    for (size_t i = 0; i < m; i += PANEL) {
        const size_t rows = m - i < PANEL ? m - i : PANEL;
        for (size_t k = 0; k < rows * n; k++) {
            panel[k] = (double)pq_f32(w)[i * n + k];
        }
        if (transposed) {
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)p,
                        (int)rows, 1.0, panel, (int)n, pq_f64(x) + i * p, (int)p, 1.0,
                        pq_f64(*y), (int)p);
        } else {
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)p,
                        (int)n, 1.0, panel, (int)n, pq_f64(x), (int)p, 0.0,
                        pq_f64(*y) + i * p, (int)p);
        }
    }
cleanup:
    pq_free(panel);
    return st;
}

/* Two sides of a matrix that is being decomposed: op(w) x = y diag(s), x and y with
 * orthonormal columns. op transposes where `flipped`. */
typedef struct {
    pq_tensor *x, *y, *s; /* x [., p], y [., p], s [p] */
    bool       flipped;
} pair;

static void free_pair(pair *f)
{
    pq_tensor_free(&f->x);
    pq_tensor_free(&f->y);
    pq_tensor_free(&f->s);
}

static pq_status turned(pq_tensor **a, pq_operand by, pq_err *err)
{
    pq_tensor *out = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, (*a)->shape, &out, err));
    PQ_TRY(pq_gemm((pq_operand){*a, false}, by, 0.0, out, err));
    pq_tensor_free(a);
    *a  = out;
    out = NULL;
cleanup:
    pq_tensor_free(&out);
    return st;
}

/* Makes a pair of an orthonormal x and y = op(w) x, whose columns are any. */
static pq_status settle(pair *f, pq_err *err)
{
    pq_tensor *q = NULL, *r = NULL;
    pq_svd     small = {0};
    pq_status  st;

    PQ_TRY(pq_qr_thin(f->y, &q, &r, err));
    PQ_TRY(pq_svd_thin(r, &small, err));
    pq_tensor_free(&f->y);
    f->y = q;
    q    = NULL;
    PQ_TRY(turned(&f->y, (pq_operand){small.u, false}, err));
    PQ_TRY(turned(&f->x, (pq_operand){small.vt, true}, err));
    pq_tensor_free(&f->s);
    f->s    = small.s;
    small.s = NULL;
cleanup:
    pq_tensor_free(&q);
    pq_tensor_free(&r);
    pq_svd_free(&small);
    return st;
}

static double kept(const pair *f, size_t rank)
{
    double sum = 0.0;

    for (size_t i = rank; i-- > 0;) {
        sum += pq_f64(f->s)[i] * pq_f64(f->s)[i];
    }
    return sum;
}

/* Bound on what a pair lacks, from z = op(w)^T y: y s^2 are Ritz pairs of op(w) op(w)^T
 * with residuals s_i |op(w)^T y_i - s_i x_i|, and so are x s^2 of the other. */
static pq_status measure(const pair *f, const pq_tensor *z, size_t rank, double *lack,
                         pq_err *err)
{
    const size_t p = f->s->count, n = z->shape.dim[0];
    double      *theta = NULL, *e = NULL;
    pq_status    st;

    PQ_NEW(theta, p);
    PQ_NEW(e, p);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < p; j++) {
            const double d =
                pq_f64(z)[i * p + j] - pq_f64(f->s)[j] * pq_f64(f->x)[i * p + j];
            e[j] += d * d;
        }
    }
    for (size_t j = 0; j < p; j++) {
        theta[j] = pq_f64(f->s)[j] * pq_f64(f->s)[j];
        e[j]     = pq_f64(f->s)[j] * sqrt(e[j]);
    }
    *lack = pq_ritz_lack(theta, e, rank);
cleanup:
    pq_free(theta);
    pq_free(e);
    return st;
}

/* What a pair may lack: the goal, but no less than rounding in double makes. */
static double allowed(const pair *f, size_t rank, double square, double lack)
{
    const size_t p    = f->s->count;
    double       rest = square - kept(f, rank) - lack, known = 0.0;

    for (size_t i = rank; i < p; i++) { /* below the true ones */
        known += pq_f64(f->s)[i] * pq_f64(f->s)[i];
    }
    return 2.0 * PQ_SVD_EXCESS * fmax(rest, known) + 1e-28 * square;
}

/* Sharpens a pair by one product after another until what it lacks is small enough:
 * *lack is the bound so far. */
static pq_status sharpen(const pq_tensor *w, size_t rank, double square, pair *f,
                         double *lack, pq_err *err)
{
    pq_tensor *z = NULL;
    double     bound;
    pq_status  st = PQ_OK;

    for (int pass = 0; pass<PASSES && * lack> allowed(f, rank, square, *lack); pass++) {
        PQ_TRY(product(w, !f->flipped, f->y, &z, err));
        PQ_TRY(measure(f, z, rank, &bound, err));
        *lack = fmin(*lack, bound); /* what follows lacks no more than this pair */
        /* the other way round: op(w)^T y = z */
        pq_tensor_free(&f->x);
        f->x       = f->y;
        f->y       = z;
        z          = NULL;
        f->flipped = !f->flipped;
        PQ_TRY(settle(f, err));
    }
cleanup:
    pq_tensor_free(&z);
    return st;
}

/* The first columns of a [n, p], transposed where asked for. */
static pq_status take(const pq_tensor *a, size_t r, bool transposed, pq_tensor **out,
                      pq_err *err)
{
    const size_t n = a->shape.dim[0], p = a->shape.dim[1];
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, transposed ? PQ_SHAPE(r, n) : PQ_SHAPE(n, r),
                            out, err));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < r; j++) {
            pq_f64(*out)[transposed ? j * n + i : i * r + j] = pq_f64(a)[i * p + j];
        }
    }
cleanup:
    return st;
}

static pq_status finish(const pair *f, size_t rank, pq_svd *out, pq_err *err)
{
    pq_status st;

    PQ_TRY(take(f->flipped ? f->x : f->y, rank, false, &out->u, err));
    PQ_TRY(take(f->flipped ? f->y : f->x, rank, true, &out->vt, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rank), &out->s, err));
    memcpy(out->s->data, f->s->data, rank * sizeof(double));
    pq_svd_fix_signs(out);
cleanup:
    return st;
}

static double square_of(const pq_tensor *w, double *largest)
{
    double lane[8] = {0.0}, top = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double v = w->dtype == PQ_DTYPE_F32 ? (double)pq_f32(w)[i] : pq_f64(w)[i];
        lane[i % 8] += v * v;
        top = fabs(v) > top ? fabs(v) : top;
    }
    *largest = top;
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* Leaves x NULL where it is given up: directions by a search in float32, and what they
 * lack. */
static pq_status searched(const pq_tensor *w, size_t rank, double largest, pq_tensor **x,
                          double *lack, pq_err *err)
{
    const size_t           m = w->shape.dim[0], n = w->shape.dim[1], k = m < n ? m : n;
    const pq_krylov_search search = {.rank  = rank,
                                     .width = rank + SPARE,
                                     .block = rank + SPARE < BLOCK ? rank + SPARE : BLOCK,
                                     .largest = largest_basis(k, rank),
                                     .goal    = PQ_SVD_EXCESS};
    pq_tensor             *a      = NULL;
    int                    power;
    pq_status              st;

    (void)frexp(largest, &power);
    PQ_TRY(tall_copy(w, largest, &a, err));
    PQ_TRY(pq_krylov_leading(a, &search, x, lack, err));
    *lack = ldexp(*lack, 2 * power);
cleanup:
    pq_tensor_free(&a);
    return st;
}

/* Gram matrix of the shorter side, in double; its upper triangle. */
static pq_status gram_of(const pq_tensor *w, pq_tensor **out, pq_err *err)
{
    const size_t m = w->shape.dim[0], n = w->shape.dim[1];
    const size_t k = m < n ? m : n, length = m < n ? n : m;
    double      *panel = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, k), out, err));
    PQ_NEW(panel, PANEL * k);
    for (size_t i = 0; i < length; i += PANEL) {
        const size_t rows = length - i < PANEL ? length - i : PANEL;
        for (size_t c = 0; c < k; c++) {
            for (size_t r = 0; r < rows; r++) {
                const size_t at = m < n ? c * n + i + r : (i + r) * n + c;
                panel[c * PANEL + r] =
                    w->dtype == PQ_DTYPE_F32 ? (double)pq_f32(w)[at] : pq_f64(w)[at];
            }
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)k, (int)rows, 1.0,
                    panel, PANEL, 1.0, pq_f64(*out), (int)k);
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < i; j++) {
            pq_f64(*out)[i * k + j] = pq_f64(*out)[j * k + i];
        }
    }
cleanup:
    pq_free(panel);
    return st;
}

/* Directions by the leading eigenvectors of the Gram matrix. */
static pq_status eigenvectors(const pq_tensor *w, size_t rank, pq_tensor **x, pq_err *err)
{
    pq_tensor *gram = NULL, *values = NULL, *vectors = NULL;
    pq_status  st;

    PQ_TRY(gram_of(w, &gram, err));
    PQ_TRY(pq_eigh_top(gram, rank + SPARE, &values, &vectors, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(vectors->shape.dim[1], rank + SPARE),
                            x, err));
    for (size_t i = 0; i < (*x)->shape.dim[0]; i++) {
        for (size_t j = 0; j < rank + SPARE; j++) {
            pq_f64(*x)[i * (rank + SPARE) + j] =
                pq_f64(vectors)[j * vectors->shape.dim[1] + i];
        }
    }
cleanup:
    pq_tensor_free(&gram);
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    return st;
}

/* Leaves out->svd empty where it is given up. */
static pq_status partial(const pq_tensor *w, size_t rank, bool by_gram, pq_svd_part *out,
                         pq_err *err)
{
    pq_tensor *x = NULL, *r = NULL;
    pair       f = {.flipped = w->shape.dim[0] < w->shape.dim[1]};
    double     largest, lack = HUGE_VAL;
    pq_status  st;

    out->square = square_of(w, &largest);
    /* fourth powers must not leave the range of a double */
    if (!(largest > 1e-70 && largest < 1e70)) {
        return PQ_OK;
    }
    PQ_TRY(by_gram ? eigenvectors(w, rank, &x, err)
                   : searched(w, rank, largest, &x, &lack, err));
    if (x == NULL) {
        goto cleanup;
    }
    PQ_TRY(pq_qr_thin(x, &f.x, &r, err));
    PQ_TRY(product(w, f.flipped, f.x, &f.y, err));
    PQ_TRY(settle(&f, err));
    lack = fmin(lack, out->square);
    PQ_TRY(sharpen(w, rank, out->square, &f, &lack, err));
    if (lack <= allowed(&f, rank, out->square, lack)) {
        PQ_TRY(finish(&f, rank, &out->svd, err));
        out->lack = lack;
    }
cleanup:
    pq_tensor_free(&x);
    pq_tensor_free(&r);
    free_pair(&f);
    return st;
}

pq_status pq_svd_leading(const pq_tensor *w, size_t rank, pq_svd_part *out, pq_err *err)
{
    pq_svd_part part = {0};
    pq_status   st;

    PQ_TRY(pq_lapack_check(w, "SVD", err));
    const size_t m = w->shape.dim[0], n = w->shape.dim[1], k = m < n ? m : n;

    PQ_CHECK(rank >= 1 && rank <= k, PQ_ERR_RANGE,
             "rank %zu is not in 1..%zu for a [%zu, %zu] matrix", rank, k, m, n);
    const bool by_gram = !pays(k, rank) && gram_pays(k, rank);
    if (by_gram || rank + SPARE + 3 * BLOCK < k / 2) {
        PQ_TRY(partial(w, rank, by_gram, &part, err));
    }
    if (part.svd.s == NULL) {
        PQ_TRY(pq_svd_thin(w, &part.svd, err));
        part.square = 0.0;
        for (size_t i = k; i-- > 0;) {
            part.square += pq_f64(part.svd.s)[i] * pq_f64(part.svd.s)[i];
        }
    }
    *out = part;
    part = (pq_svd_part){0};
cleanup:
    pq_svd_part_free(&part);
    return st;
}
