/* Tucker-2 under the norm of the inputs' moments: whitened.h. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/qr.h"
#include "linalg/whitened.h"
#include "linalg/whitened_step.h"

enum { STEPS = 10 /* of conjugate gradients */ };

/* A decomposition at work; owns all but t and s. */
typedef struct {
    const pq_tensor *t, *s;         /* [o, n], [n, n] */
    size_t           o, h, i, p, q; /* h pixels of a patch; ranks p and q */
    double           size;          /* tr(W S W^T) */
    pq_tensor       *ws;            /* W S [o, n] */
    pq_tensor       *v, *u, *core;  /* [i, q], [p, o], [p, h q] */
    pq_tensor       *sz;            /* S Z [n, h q] */
    pq_tensor       *zsz;           /* Z^T S Z [h q, h q] */
    pq_tensor       *full, *fs;     /* [p, n]: C Z^T, and times S */
    pq_tensor       *part;          /* [i, i] inverse of the channels' part of S */
} work;

static void free_work(work *w)
{
    pq_tensor **all[] = {&w->ws,  &w->v,    &w->u,  &w->core, &w->sz,
                         &w->zsz, &w->full, &w->fs, &w->part};

    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        pq_tensor_free(all[k]);
    }
}

static pq_status prepare(work *w, pq_err *err)
{
    const size_t n = w->h * w->i, k = w->h * w->q;
    pq_tensor   *part = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, n), &w->ws, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->p, k), &w->core, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, k), &w->sz, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, k), &w->zsz, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->p, n), &w->full, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->p, n), &w->fs, err));
    pq_multiply(w->o, n, n, pq_f64(w->t), pq_f64(w->s), false, 0.0, pq_f64(w->ws));
    w->size = fmax(pq_dot(w->o * n, pq_f64(w->t), pq_f64(w->ws)), 0.0);
    PQ_TRY(pq_partial_moments(w->s, w->h, w->i, 1, &part, err));
    PQ_TRY(pq_soft_inverse(part, &w->part, err));
cleanup:
    pq_tensor_free(&part);
    return st;
}

/* V with orthonormal columns, from the first q columns of `from`. */
static pq_status set_basis(work *w, const pq_tensor *from, pq_err *err)
{
    const size_t width = from->shape.dim[1];
    pq_tensor   *cut = NULL, *r = NULL, *v = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->i, w->q), &cut, err));
    for (size_t k = 0; k < w->i; k++) {
        memcpy(pq_f64(cut) + k * w->q, pq_f64(from) + k * width, w->q * sizeof(double));
    }
    PQ_TRY(pq_qr_thin(cut, &v, &r, err));
    pq_tensor_free(&w->v);
    w->v = v;
    v    = NULL;
cleanup:
    pq_tensor_free(&cut);
    pq_tensor_free(&r);
    pq_tensor_free(&v);
    return st;
}

/* S Z and Z^T S Z for the V there is. */
static pq_status look_through(work *w, pq_err *err)
{
    const size_t k      = w->h * w->q;
    pq_tensor   *turned = NULL;
    pq_status    st;

    pq_multiply(w->h * w->i * w->h, w->q, w->i, pq_f64(w->s), pq_f64(w->v), false, 0.0,
                pq_f64(w->sz));
    PQ_TRY(pq_tensor_permute(w->v, (const size_t[]){1, 0}, &turned, err));
    for (size_t a = 0; a < w->h; a++) {
        pq_multiply(w->q, k, w->i, pq_f64(turned), pq_f64(w->sz) + a * w->i * k, false,
                    0.0, pq_f64(w->zsz) + a * w->q * k);
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < i; j++) {
            double *x = &pq_f64(w->zsz)[i * k + j], *y = &pq_f64(w->zsz)[j * k + i];
            *x = *y = 0.5 * (*x + *y);
        }
    }
cleanup:
    pq_tensor_free(&turned);
    return st;
}

/* The best U and C for V, and what they leave of `size`. */
static pq_status regress(work *w, double *left, pq_err *err)
{
    const size_t n = w->h * w->i, k = w->h * w->q;
    pq_tensor   *seen = NULL, *m = NULL, *mid = NULL, *values = NULL, *u = NULL;
    pq_status    st;

    PQ_TRY(look_through(w, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, k), &seen, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->o), &mid, err));
    pq_multiply(w->o, k, n, pq_f64(w->t), pq_f64(w->sz), false, 0.0, pq_f64(seen));
    PQ_TRY(pq_tensor_clone(seen, &m, err));
    PQ_TRY(pq_solve_right(w->zsz, m, err));
    pq_multiply(w->o, w->o, k, pq_f64(m), pq_f64(seen), true, 0.0, pq_f64(mid));
    for (size_t i = 0; i < w->o; i++) {
        for (size_t j = 0; j < i; j++) {
            double *x = &pq_f64(mid)[i * w->o + j], *y = &pq_f64(mid)[j * w->o + i];
            *x = *y = 0.5 * (*x + *y);
        }
    }
    PQ_TRY(pq_eigh_top(mid, w->p, &values, &u, err));
    *left = w->size;
    for (size_t i = 0; i < w->p; i++) {
        *left -= pq_f64(values)[i];
    }
    *left = fmax(*left, 0.0);
    pq_multiply(w->p, k, w->o, pq_f64(u), pq_f64(m), false, 0.0, pq_f64(w->core));
    pq_tensor_free(&w->u);
    w->u = u;
    u    = NULL;
cleanup:
    pq_tensor_free(&seen);
    pq_tensor_free(&m);
    pq_tensor_free(&mid);
    pq_tensor_free(&values);
    pq_tensor_free(&u);
    return st;
}

/* y [i, q] = sum over pixels and rows of x^T C, x [p, n]. */
static void gather(const work *w, const double *x, double *y)
{
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)w->i, (int)w->q,
                (int)(w->p * w->h), 1.0, x, (int)w->i, pq_f64(w->core), (int)w->q, 0.0, y,
                (int)w->q);
}

/* C Z^T for another V. */
static void spread(const work *w, const double *v, double *out)
{
    pq_multiply(w->p * w->h, w->i, w->q, pq_f64(w->core), v, true, 0.0, out);
}

static void normal(void *context, const double *v, double *y)
{
    work        *w = context;
    const size_t n = w->h * w->i;

    spread(w, v, pq_f64(w->full));
    pq_multiply(w->p, n, n, pq_f64(w->full), pq_f64(w->s), false, 0.0, pq_f64(w->fs));
    gather(w, pq_f64(w->fs), y);
}

/* A better V for the U and C there are. */
static pq_status move_basis(work *w, pq_err *err)
{
    const size_t n    = w->h * w->i;
    pq_tensor   *goal = NULL, *b = NULL, *v = NULL, *gram = NULL, *inverse = NULL;
    pq_tensor    flat = *w->core;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->p, n), &goal, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->i, w->q), &b, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->q, w->q), &gram, err));
    flat.shape = PQ_SHAPE(w->p * w->h, w->q);
    PQ_TRY(
        pq_gemm((pq_operand){&flat, true}, (pq_operand){&flat, false}, 0.0, gram, err));
    PQ_TRY(pq_soft_inverse(gram, &inverse, err));
    pq_multiply(w->p, n, w->o, pq_f64(w->u), pq_f64(w->ws), false, 0.0, pq_f64(goal));
    gather(w, pq_f64(goal), pq_f64(b));
    PQ_TRY(pq_tensor_clone(w->v, &v, err));
    PQ_TRY(pq_conjugate(&(pq_least_squares){w->i, w->q, w->part, inverse, normal, w},
                        pq_f64(b), pq_f64(v), STEPS, err));
    PQ_TRY(set_basis(w, v, err));
cleanup:
    pq_tensor_free(&goal);
    pq_tensor_free(&b);
    pq_tensor_free(&v);
    pq_tensor_free(&gram);
    pq_tensor_free(&inverse);
    return st;
}

/* Hands the factors over, in pq_tucker's form. */
static pq_status hand_over(work *w, const pq_shape *kernel, double left, size_t sweeps,
                           pq_tucker *out, pq_err *err)
{
    pq_tucker t = {.sweeps = sweeps, .error = w->size > 0.0 ? sqrt(left / w->size) : 0.0};
    pq_status st;

    PQ_TRY(pq_tensor_permute(w->u, (const size_t[]){1, 0}, &t.factor[0], err));
    PQ_TRY(pq_tensor_clone(w->v, &t.factor[3], err));
    PQ_TRY(pq_tensor_clone(w->core, &t.core, err));
    PQ_TRY(pq_tensor_reshape(t.core, PQ_SHAPE(w->p, kernel->dim[1], kernel->dim[2], w->q),
                             err));
    *out = t;
    t    = (pq_tucker){0};
cleanup:
    pq_tucker_free(&t);
    return st;
}

pq_status pq_tucker_whitened(const pq_tensor *t, const pq_tensor *moments,
                             const size_t *rank, const pq_tucker_options *options,
                             const pq_tensor *start, pq_tucker *out, pq_err *err)
{
    const size_t *d = t->shape.dim;
    work          w = {.t = t,
                       .s = moments,
                       .o = d[0],
                       .h = d[1] * d[2],
                       .i = d[3],
                       .p = rank[0],
                       .q = rank[3]};
    double        left, before = HUGE_VAL;
    size_t        sweeps = 0;
    pq_status     st;

    assert(t->shape.ndim == 4 && t->dtype == PQ_DTYPE_F64);
    assert(moments->shape.dim[0] == w.h * w.i && start->shape.dim[0] == w.i);
    PQ_CHECK(w.p >= 1 && w.p <= w.o && w.q >= 1 && w.q <= w.i, PQ_ERR_RANGE,
             "ranks %zu and %zu are not in 1..%zu and 1..%zu", w.p, w.q, w.o, w.i);
    pq_blas_alone();
    PQ_TRY(prepare(&w, err));
    PQ_TRY(set_basis(&w, start, err));
    PQ_TRY(regress(&w, &left, err));
    while (w.q < w.i && sweeps < options->max_sweeps &&
           sqrt(before) - sqrt(left) > options->tolerance * sqrt(w.size)) {
        before = left;
        PQ_TRY(move_basis(&w, err));
        PQ_TRY(regress(&w, &left, err));
        sweeps++;
    }
    PQ_TRY(hand_over(&w, &t->shape, left, sweeps, out, err));
cleanup:
    free_work(&w);
    return st;
}
