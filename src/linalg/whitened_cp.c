/* CP under the norm of the inputs' moments: whitened.h. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "linalg/cp_step.h"
#include "linalg/gemm.h"
#include "linalg/subspace.h"
#include "linalg/whitened.h"
#include "linalg/whitened_step.h"

enum { STEPS = 10 /* of conjugate gradients */ };

/* A decomposition at work; owns all but t, s and cp. */
typedef struct {
    const pq_tensor *t, *s; /* [o, n], [n, n] */
    size_t           o, n, rank, axis;
    double           size;      /* tr(W S W^T) */
    pq_cp           *cp;        /* factor[0] is the output's */
    pq_tensor       *ws;        /* W S [o, n] */
    pq_tensor       *rows;      /* [n, R] Khatri-Rao product of all but the first */
    pq_tensor       *seen;      /* S times it */
    pq_tensor       *full, *fs; /* [o, n]: W', and times S */
    pq_tensor       *back;      /* [n, R] of fs^T A */
    pq_tensor       *partial[PQ_MAX_DIMS]; /* inverse of S's part for each axis */
} work;

static void free_work(work *w)
{
    pq_tensor **all[] = {&w->ws, &w->rows, &w->seen, &w->full, &w->fs, &w->back};

    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        pq_tensor_free(all[k]);
    }
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&w->partial[k]);
    }
}

/* Items of a patch before and behind an axis. */
static void around(const work *w, size_t axis, size_t *outer, size_t *inner)
{
    *outer = *inner = 1;
    for (size_t k = 1; k < w->cp->d; k++) {
        *outer *= k < axis ? w->t->shape.dim[k] : 1;
        *inner *= k > axis ? w->t->shape.dim[k] : 1;
    }
}

static pq_status prepare(work *w, pq_err *err)
{
    pq_tensor *part = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->n), &w->ws, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->n, w->rank), &w->rows, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->n, w->rank), &w->seen, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->n, w->rank), &w->back, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->n), &w->full, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->n), &w->fs, err));
    pq_multiply(w->o, w->n, w->n, pq_f64(w->t), pq_f64(w->s), false, 0.0, pq_f64(w->ws));
    w->size = fmax(pq_dot(w->o * w->n, pq_f64(w->t), pq_f64(w->ws)), 0.0);
    for (size_t k = 1; k < w->cp->d; k++) {
        size_t outer, inner;
        around(w, k, &outer, &inner);
        pq_tensor_free(&part);
        PQ_TRY(pq_partial_moments(w->s, outer, w->t->shape.dim[k], inner, &part, err));
        PQ_TRY(pq_soft_inverse(part, &w->partial[k], err));
    }
cleanup:
    pq_tensor_free(&part);
    return st;
}

/* y [n of the axis, R] of x [n, R]: summed over the rest of the patch, weighed by the
 * other factors. */
static void gather(const work *w, const double *x, double *y)
{
    const size_t R = w->rank, d = w->cp->d, size = w->t->shape.dim[w->axis];

    memset(y, 0, size * R * sizeof *y);
    for (size_t row = 0; row < w->n; row++) {
        const double *other[PQ_MAX_DIMS];
        double       *to   = y;
        size_t        rest = row, others = 0;
        for (size_t k = d; k-- > 1;) {
            const size_t at = rest % w->t->shape.dim[k];
            rest /= w->t->shape.dim[k];
            if (k == w->axis) {
                to = y + at * R;
            } else {
                other[others++] = pq_f64(w->cp->factor[k]) + at * R;
            }
        }
        for (size_t r = 0; r < R; r++) {
            double product = x[row * R + r];
            for (size_t k = 0; k < others; k++) {
                product *= other[k][r];
            }
            to[r] += product;
        }
    }
}

/* back [n, R] = x^T A, x [o, n]. */
static void project(const work *w, const double *x)
{
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)w->n, (int)w->rank,
                (int)w->o, 1.0, x, (int)w->n, pq_f64(w->cp->factor[0]), (int)w->rank, 0.0,
                pq_f64(w->back), (int)w->rank);
}

/* The normal equations of one axis. */
static void normal(void *context, const double *x, double *y)
{
    work      *w    = context;
    pq_tensor *mine = w->cp->factor[w->axis], other = *mine;

    other.data             = (void *)(uintptr_t)x; /* read alone */
    w->cp->factor[w->axis] = &other;
    pq_cp_khatri_rao(w->cp, 1, w->cp->d, pq_f64(w->rows));
    w->cp->factor[w->axis] = mine;
    pq_multiply(w->o, w->n, w->rank, pq_f64(w->cp->factor[0]), pq_f64(w->rows), true, 0.0,
                pq_f64(w->full));
    pq_multiply(w->o, w->n, w->n, pq_f64(w->full), pq_f64(w->s), false, 0.0,
                pq_f64(w->fs));
    project(w, pq_f64(w->fs));
    gather(w, pq_f64(w->back), y);
}

/* Product of the other factors' Gram matrices. */
static pq_status plain_normal(const work *w, pq_tensor **out, pq_err *err)
{
    pq_tensor *gram = NULL, *all = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->rank, w->rank), &gram, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, gram->shape, &all, err));
    for (size_t i = 0; i < all->count; i++) {
        pq_f64(all)[i] = 1.0;
    }
    for (size_t k = 0; k < w->cp->d; k++) {
        const pq_operand f = {w->cp->factor[k], false}, ft = {w->cp->factor[k], true};
        PQ_TRY(pq_gemm(ft, f, 0.0, gram, err));
        for (size_t i = 0; k != w->axis && i < all->count; i++) {
            pq_f64(all)[i] *= pq_f64(gram)[i];
        }
    }
    *out = all;
    all  = NULL;
cleanup:
    pq_tensor_free(&gram);
    pq_tensor_free(&all);
    return st;
}

/* A better factor of one axis of the patch. */
static pq_status move_factor(work *w, size_t axis, pq_err *err)
{
    pq_tensor *mine = w->cp->factor[axis], *b = NULL, *gram = NULL, *inverse = NULL;
    pq_status  st;

    w->axis = axis;
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, mine->shape, &b, err));
    PQ_TRY(plain_normal(w, &gram, err));
    PQ_TRY(pq_soft_inverse(gram, &inverse, err));
    project(w, pq_f64(w->ws));
    gather(w, pq_f64(w->back), pq_f64(b));
    PQ_TRY(pq_conjugate(&(pq_least_squares){mine->shape.dim[0], w->rank, w->partial[axis],
                                            inverse, normal, w},
                        pq_f64(b), pq_f64(mine), STEPS, err));
cleanup:
    pq_tensor_free(&b);
    pq_tensor_free(&gram);
    pq_tensor_free(&inverse);
    return st;
}

/* The best output factor for the others, and what they leave of `size`. */
static pq_status regress(work *w, double *left, pq_err *err)
{
    pq_tensor *zsz = NULL, *goal = NULL, *a = NULL, *az = NULL;
    pq_status  st;

    pq_cp_khatri_rao(w->cp, 1, w->cp->d, pq_f64(w->rows));
    pq_multiply(w->n, w->rank, w->n, pq_f64(w->s), pq_f64(w->rows), false, 0.0,
                pq_f64(w->seen));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->rank, w->rank), &zsz, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->rank), &goal, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(w->o, w->rank), &az, err));
    PQ_TRY(pq_gemm((pq_operand){w->rows, true}, (pq_operand){w->seen, false}, 0.0, zsz,
                   err));
    for (size_t i = 0; i < w->rank; i++) {
        for (size_t j = 0; j < i; j++) {
            double *x = &pq_f64(zsz)[i * w->rank + j], *y = &pq_f64(zsz)[j * w->rank + i];
            *x = *y = 0.5 * (*x + *y);
        }
    }
    pq_multiply(w->o, w->rank, w->n, pq_f64(w->t), pq_f64(w->seen), false, 0.0,
                pq_f64(goal));
    PQ_TRY(pq_tensor_clone(goal, &a, err));
    PQ_TRY(pq_solve_right(zsz, a, err));
    pq_multiply(w->o, w->rank, w->rank, pq_f64(a), pq_f64(zsz), false, 0.0, pq_f64(az));
    *left = fmax(w->size - 2.0 * pq_dot(a->count, pq_f64(a), pq_f64(goal)) +
                     pq_dot(a->count, pq_f64(a), pq_f64(az)),
                 0.0);
    pq_tensor_free(&w->cp->factor[0]);
    w->cp->factor[0] = a;
    a                = NULL;
cleanup:
    pq_tensor_free(&zsz);
    pq_tensor_free(&goal);
    pq_tensor_free(&a);
    pq_tensor_free(&az);
    return st;
}

/* Spreads the norm of each term evenly over its factors; the sum of their squares. */
static double balance(pq_cp *cp)
{
    const size_t R   = cp->factor[0]->shape.dim[1];
    double       sum = 0.0;

    for (size_t r = 0; r < R; r++) {
        double norm[PQ_MAX_DIMS], product = 1.0;
        for (size_t k = 0; k < cp->d; k++) {
            const size_t n = cp->factor[k]->shape.dim[0];
            norm[k]        = cblas_dnrm2((int)n, pq_f64(cp->factor[k]) + r, (int)R);
            product *= norm[k];
        }
        for (size_t k = 0; k < cp->d; k++) {
            const double to = pow(product, 1.0 / (double)cp->d);
            cblas_dscal((int)cp->factor[k]->shape.dim[0],
                        norm[k] > 0.0 ? to / norm[k] : 0.0, pq_f64(cp->factor[k]) + r,
                        (int)R);
        }
        sum += product * product;
    }
    return sum;
}

static pq_status copy_factors(const pq_cp *from, pq_cp *to, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t k = 0; k < from->d; k++) {
        pq_tensor *one = NULL;
        PQ_TRY(pq_tensor_clone(from->factor[k], &one, err));
        pq_tensor_free(&to->factor[k]);
        to->factor[k] = one;
    }
cleanup:
    return st;
}

/* Sweeps while they pay and terms stay tame; the best factors are left in `best`. */
static pq_status run(work *w, const pq_cp_options *options, double norm, pq_cp *best,
                     double *least, pq_err *err)
{
    double    left, before = HUGE_VAL;
    pq_status st = PQ_OK;

    for (size_t s = 0; s < options->max_sweeps; s++) {
        for (size_t k = w->cp->d; s > 0 && k-- > 1;) {
            PQ_TRY(move_factor(w, k, err));
        }
        PQ_TRY(regress(w, &left, err));
        const double swell = balance(w->cp) / norm;
        if (!isfinite(left) || !(swell <= fmax(options->swell, best->swell))) {
            break;
        }
        if (left < *least) {
            PQ_TRY(copy_factors(w->cp, best, err));
            *least       = left;
            best->swell  = swell;
            best->sweeps = s + 1;
        }
        if (sqrt(before) - sqrt(left) <= options->tolerance * sqrt(w->size)) {
            break;
        }
        before = left;
    }
cleanup:
    return st;
}

pq_status pq_cp_whitened(const pq_tensor *t, const pq_tensor *moments,
                         const pq_cp_options *options, pq_cp *cp, pq_err *err)
{
    pq_cp        at   = {.d = cp->d};
    work         w    = {.t    = t,
                         .s    = moments,
                         .o    = t->shape.dim[0],
                         .n    = moments->shape.dim[0],
                         .rank = cp->factor[0]->shape.dim[1],
                         .cp   = &at};
    pq_tensor   *full = NULL;
    double       least;
    const double norm = pq_square_norm(t);
    pq_status    st;

    assert(t->dtype == PQ_DTYPE_F64 && t->count == w.o * w.n);
    pq_blas_alone();
    PQ_TRY(pq_cp_full(cp, &full, err));
    PQ_TRY(pq_whitened_error(t, full, moments, &cp->error, err));
    PQ_TRY(copy_factors(cp, &at, err));
    PQ_TRY(prepare(&w, err));
    if (norm == 0.0 || w.size == 0.0) {
        goto cleanup;
    }
    least = cp->error * cp->error * w.size;
    PQ_TRY(run(&w, options, norm, cp, &least, err));
    cp->error = sqrt(least / w.size);
cleanup:
    free_work(&w);
    pq_cp_free(&at);
    pq_tensor_free(&full);
    return st;
}
