#include "linalg/krylov.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"

enum { PANEL = 64 }; /* rows that stay in the cache between their two products */

static const double deficient = 1e-5; /* of the largest norm met: nothing but rounding */
static const double rounding  = 2e-6; /* of a residual in float32, to the largest value */

/* A search under way; vectors are rows. */
typedef struct {
    const pq_krylov_search *ask;
    const pq_tensor        *a;
    size_t                  m, n, l; /* l vectors of the basis have been multiplied */
    float  *x;       /* [largest + block, n] basis; the last block is yet to be */
    float  *y, *z;   /* [block, n] H times the block; [block, PANEL] on the way */
    float  *c;       /* [block, largest + block] coefficients */
    double *t;       /* [largest, largest] X H X^T, of which l rows are known */
    double *d;       /* [block, n] a block in double */
    double *g, *f;   /* [block, block] Gram matrix of what the basis lacks; its factor */
    double  largest; /* norm of H times a unit vector, as met so far */
    pq_rng  rng;
} search;

static void free_search(search *s)
{
    pq_free(s->x);
    pq_free(s->y);
    pq_free(s->z);
    pq_free(s->c);
    pq_free(s->t);
    pq_free(s->d);
    pq_free(s->g);
    pq_free(s->f);
}

/* y = H x for the last block. */
static void multiply(search *s)
{
    const int    b = (int)s->ask->block, n = (int)s->n;
    const float *x = s->x + s->l * s->n, *a = pq_f32(s->a);

    for (size_t i = 0; i < s->m; i += PANEL) {
        const int    rows = (int)(s->m - i < PANEL ? s->m - i : PANEL);
        const float *p    = a + i * s->n;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, b, rows, n, 1.0F, x, n, p, n,
                    0.0F, s->z, PANEL);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, b, n, rows, 1.0F, s->z,
                    PANEL, p, n, i == 0 ? 0.0F : 1.0F, s->y, n);
    }
}

/* Takes the first `have` basis vectors out of a block; coefficients stay in c. */
static void project_out(search *s, size_t have, float *block)
{
    const int b = (int)s->ask->block, n = (int)s->n, l = (int)have;

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, b, l, n, 1.0F, block, n, s->x, n,
                0.0F, s->c, l);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, b, n, l, -1.0F, s->c, l, s->x,
                n, 1.0F, block, n);
}

/* g = Gram matrix of a block, in double. */
static void gram(search *s, const float *block)
{
    const int b = (int)s->ask->block, n = (int)s->n;

    for (size_t i = 0; i < s->ask->block * s->n; i++) {
        s->d[i] = (double)block[i];
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, b, b, n, 1.0, s->d, n, s->d, n,
                0.0, s->g, b);
}

/* Lower Cholesky factor of g, row by row, with 1 on the diagonal where a vector adds
 * nothing above `floor` to those before it: that one is to be drawn anew. */
static size_t factor_gram(search *s, double floor, bool *drawn)
{
    const size_t b   = s->ask->block;
    size_t       bad = 0;

    for (size_t i = 0; i < b; i++) {
        double *row = s->f + i * b, rest = s->g[i * b + i];
        for (size_t j = 0; j < i; j++) {
            const double *other = s->f + j * b;
            double        sum   = s->g[i * b + j];
            for (size_t k = 0; k < j; k++) {
                sum -= row[k] * other[k];
            }
            row[j] = drawn[j] ? 0.0 : sum / other[j];
            rest -= row[j] * row[j];
        }
        drawn[i] = !(rest > floor * floor);
        bad += drawn[i];
        row[i] = drawn[i] ? 1.0 : sqrt(rest);
        for (size_t j = 0; drawn[i] && j < i; j++) {
            row[j] = 0.0;
        }
    }
    return bad;
}

/* Makes the rows of a block orthonormal among themselves, drawing those anew that are
 * below the floor; returns how many these are (they are then far from orthogonal). */
static size_t orthonormalise(search *s, float *block, double floor)
{
    bool   drawn[128];
    size_t b = s->ask->block, bad;

    assert(b <= 128);
    gram(s, block);
    bad = factor_gram(s, floor, drawn);
    for (size_t i = 0; i < b; i++) {
        for (size_t j = 0; drawn[i] && j < s->n; j++) {
            s->d[i * s->n + j] = pq_rng_normal(&s->rng) / sqrt((double)s->n);
        }
    }
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (int)b,
                (int)s->n, 1.0, s->f, (int)b, s->d, (int)s->n);
    for (size_t i = 0; i < b * s->n; i++) {
        block[i] = (float)s->d[i];
    }
    return bad;
}

/* The block as the next of the basis, whose first `have` vectors it is made orthogonal
 * to. What was already, and is not drawn anew, needs that once more: with unit length,
 * since rounding was relative to a longer vector. */
static void append(search *s, const float *block, size_t have, double floor)
{
    float *next = s->x + have * s->n;
    size_t bad  = 1;

    memcpy(next, block, s->ask->block * s->n * sizeof *next);
    for (int i = 0; i < 4 && bad > 0; i++) {
        bad   = orthonormalise(s, next, floor);
        floor = 1e-3; /* from now on they are of unit length */
        if (have > 0) {
            project_out(s, have, next);
        }
    }
    (void)orthonormalise(s, next, 1e-3);
}

static pq_status open_search(const pq_tensor *a, const pq_krylov_search *ask, search *s,
                             pq_err *err)
{
    const size_t b = ask->block, all = ask->largest + b;
    pq_status    st;

    *s = (search){.ask = ask,
                  .a   = a,
                  .m   = a->shape.dim[0],
                  .n   = a->shape.dim[1],
                  .rng = pq_rng_stream(0, "krylov")};
    PQ_NEW(s->x, all * s->n);
    PQ_NEW(s->y, b * s->n);
    PQ_NEW(s->z, b * PANEL);
    PQ_NEW(s->c, b * all);
    PQ_NEW(s->t, ask->largest * ask->largest);
    PQ_NEW(s->d, b * s->n);
    PQ_NEW(s->g, b * b);
    PQ_NEW(s->f, b * b);
cleanup:
    return st;
}

/* One step: the last block is multiplied, and what the basis lacks of that becomes the
 * next one. g is left as the Gram matrix of that. */
static void step(search *s)
{
    const size_t b = s->ask->block, at = s->l, have = s->l + b, ld = s->ask->largest;

    multiply(s);
    for (size_t i = 0; i < b; i++) {
        s->largest = fmax(s->largest, (double)cblas_snrm2((int)s->n, s->y + i * s->n, 1));
    }
    project_out(s, have, s->y);
    for (size_t i = 0; i < b; i++) {
        for (size_t j = 0; j < have; j++) {
            const double v          = (double)s->c[i * have + j];
            s->t[(at + i) * ld + j] = s->t[j * ld + at + i] = v;
        }
    }
    for (size_t i = at; i < have; i++) { /* the diagonal block, symmetric */
        for (size_t j = at; j < i; j++) {
            const double v   = 0.5 * ((double)s->c[(i - at) * have + j] +
                                    (double)s->c[(j - at) * have + i]);
            s->t[i * ld + j] = s->t[j * ld + i] = v;
        }
    }
    s->l = have;
}

/* Leading Ritz pairs of the l vectors: values [width], vectors [width, l] over them. */
static pq_status ritz(const search *s, pq_tensor **values, pq_tensor **vectors,
                      pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(s->l, s->l), &t, err));
    for (size_t i = 0; i < s->l; i++) {
        memcpy(pq_f64(t) + i * s->l, s->t + i * s->ask->largest, s->l * sizeof(double));
    }
    PQ_TRY(pq_eigh_top(t, s->ask->width, values, vectors, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

double pq_ritz_lack(const double *theta, const double *e, size_t rank)
{
    const double mu  = theta[rank] + e[rank];
    double       sum = 0.0;

    for (size_t i = 0; i < rank; i++) {
        const double g = theta[i] - mu, root = hypot(g, 2.0 * e[i]);
        sum += g > 0.0 ? 2.0 * e[i] * e[i] / (root + g) : 0.5 * (root - g);
    }
    return sum;
}

/* Norms of the residuals of the leading Ritz pairs: the part of H X that the basis lacks,
 * weighted by each vector's last block, and rounding. */
static void residuals(const search *s, const pq_tensor *vectors, const double *lacks,
                      double *e)
{
    const size_t b     = s->ask->block;
    const double noise = rounding * s->largest;

    for (size_t r = 0; r <= s->ask->rank; r++) {
        const double *last = pq_f64(vectors) + r * s->l + (s->l - b);
        double        sum  = noise * noise;
        for (size_t i = 0; i < b; i++) {
            for (size_t j = 0; j < b; j++) {
                sum += last[i] * lacks[i * b + j] * last[j];
            }
        }
        e[r] = sqrt(fmax(sum, noise * noise));
    }
}

/* What a look at the Ritz pairs told. */
typedef struct {
    double lack, goal; /* bound, and what it may be */
    double noise;      /* bound that rounding alone makes */
    double kept;       /* sum of the Ritz values */
    size_t l;          /* basis it was taken at */
} finding;

static pq_status look(const search *s, const double *lacks, double total,
                      const pq_tensor *values, const pq_tensor *vectors, finding *out,
                      pq_err *err)
{
    const size_t r = s->ask->rank;
    double      *e = NULL;
    pq_status    st;

    *out = (finding){.l = s->l};
    PQ_NEW(e, r + 1);
    residuals(s, vectors, lacks, e);
    out->lack = pq_ritz_lack(pq_f64(values), e, r);
    for (size_t i = 0; i <= r; i++) {
        out->kept += i < r ? pq_f64(values)[i] : 0.0;
        e[i] = rounding * s->largest;
    }
    out->noise = pq_ritz_lack(pq_f64(values), e, r);
    out->goal  = s->ask->goal * fmax(total - out->kept, 0.0);
cleanup:
    pq_free(e);
    return st;
}

/* The basis [n, width] of Ritz vectors. */
static pq_status turn(const search *s, const pq_tensor *vectors, pq_tensor **out,
                      pq_err *err)
{
    const size_t w = s->ask->width, l = vectors->shape.dim[1];
    float       *f = NULL, *v = NULL;
    pq_status    st;

    PQ_NEW(f, w * l);
    PQ_NEW(v, s->n * w);
    for (size_t i = 0; i < w * l; i++) {
        f[i] = (float)pq_f64(vectors)[i];
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasTrans, (int)s->n, (int)w, (int)l, 1.0F,
                s->x, (int)s->n, f, (int)l, 0.0F, v, (int)w);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(s->n, w), out, err));
    for (size_t i = 0; i < (*out)->count; i++) {
        pq_f64(*out)[i] = (double)v[i];
    }
cleanup:
    pq_free(f);
    pq_free(v);
    return st;
}

/* The basis size of the next look: where the bound would be good enough if it fell on as
 * between the last two, but no more than half again of this one. */
static size_t next_look(const search *s, const finding *now, const finding *before)
{
    const size_t b = s->ask->block, half = s->l / 2 > b ? s->l / 2 : b;
    double       ahead = (double)half / 2.0;

    if (before->l > 0 && now->lack < 0.5 * before->lack && now->goal > 0.0) {
        /* it falls ever faster: on noise the way left is half of what this slope tells */
        const double slope = log(before->lack / now->lack) / (double)(now->l - before->l);
        ahead              = 0.45 * log(now->lack / now->goal) / slope;
    }
    return s->l + (ahead < (double)b ? b : ahead > (double)half ? half : (size_t)ahead);
}

/* Whether a finding is as good as float32 and the goal ask for. */
static bool is_good(const finding *f)
{
    return f->lack <= f->goal || f->lack <= 2.0 * f->noise;
}

/* A block that has nothing to do with the basis. */
static void append_random(search *s)
{
    for (size_t i = 0; i < s->ask->block * s->n; i++) {
        s->y[i] = (float)pq_rng_normal(&s->rng);
    }
    append(s, s->y, s->l, 1e-3);
}

/* Whether three blocks of steps from a random one, orthogonal to the basis found, add to
 * the leading Ritz values. The vectors found hardly take part, their residuals being
 * small, so those of the new directions alone tell. */
static pq_status adds_nothing(search *s, const pq_tensor *values, double goal, bool *out,
                              pq_err *err)
{
    const size_t from = s->l, b = s->ask->block, r = s->ask->rank, most = s->ask->largest;
    pq_tensor   *t = NULL, *theta = NULL, *vectors = NULL;
    double       gain = 0.0;
    pq_status    st;

    append_random(s);
    for (int i = 0; i < 3 && s->l + b <= most; i++) {
        step(s);
        append(s, s->y, s->l, deficient * s->largest);
    }
    const size_t n = s->l - from;

    if (n < 3 * b) {
        *out = false; /* no room to tell */
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &t, err));
    for (size_t i = 0; i < n; i++) {
        memcpy(pq_f64(t) + i * n, s->t + (from + i) * most + from, n * sizeof(double));
    }
    PQ_TRY(pq_eigh_top(t, b, &theta, &vectors, err));
    for (size_t i = 0; i < b && i < r; i++) {
        gain += fmax(pq_f64(theta)[i] - pq_f64(values)[r - 1 - i], 0.0);
    }
    *out = gain <= goal;
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&theta);
    pq_tensor_free(&vectors);
    return st;
}

/*
 * Steps until the bound is good; vectors [width, out->l] are then the Ritz vectors. Where
 * the block has fewer vectors than are wanted, equal or nearly equal values may still
 * hide behind those found, so that is looked into before it is believed.
 */
static pq_status run(search *s, double total, pq_tensor **vectors, finding *out,
                     pq_err *err)
{
    const size_t b      = s->ask->block;
    pq_tensor   *values = NULL;
    double      *lacks  = NULL;
    finding      now    = {.lack = HUGE_VAL}, before;
    size_t       due    = s->ask->width + b;
    bool         done   = false;
    pq_status    st;

    PQ_NEW(lacks, b * b);
    while (!done && s->l + b <= s->ask->largest) {
        step(s);
        if (s->l < due && s->l + 2 * b <= s->ask->largest) {
            append(s, s->y, s->l, deficient * s->largest);
            continue;
        }
        gram(s, s->y);
        memcpy(lacks, s->g, b * b * sizeof *lacks);
        pq_tensor_free(&values);
        pq_tensor_free(vectors);
        PQ_TRY(ritz(s, &values, vectors, err));
        before = now;
        PQ_TRY(look(s, lacks, total, values, *vectors, &now, err));
        due  = next_look(s, &now, &before);
        done = is_good(&now) && s->ask->rank < b;
        if (is_good(&now) && !done) {
            PQ_TRY(adds_nothing(s, values, fmax(now.goal, now.noise), &done, err));
            due = s->l + b;
        } else if (!done) {
            append(s, s->y, s->l, deficient * s->largest);
        }
    }
    *out = now;
    if (!done) {
        pq_tensor_free(vectors);
    }
cleanup:
    pq_tensor_free(&values);
    pq_free(lacks);
    return st;
}

pq_status pq_krylov_leading(const pq_tensor *a, const pq_krylov_search *ask,
                            pq_tensor **basis, double *lack, pq_err *err)
{
    search     s       = {0};
    pq_tensor *vectors = NULL;
    finding    found   = {0};
    double     total   = 0.0;
    pq_status  st;

    assert(a->shape.dim[0] >= a->shape.dim[1] && ask->width > ask->rank);
    pq_blas_alone();
    PQ_TRY(open_search(a, ask, &s, err));
    append_random(&s);
    for (size_t i = 0; i < s.m; i++) {
        total += cblas_dsdot((int)s.n, pq_f32(a) + i * s.n, 1, pq_f32(a) + i * s.n, 1);
    }
    PQ_TRY(run(&s, total, &vectors, &found, err));
    if (vectors != NULL) {
        PQ_TRY(turn(&s, vectors, basis, err));
        *lack = found.lack <= found.goal ? found.lack : HUGE_VAL;
    }
cleanup:
    free_search(&s);
    pq_tensor_free(&vectors);
    return st;
}
