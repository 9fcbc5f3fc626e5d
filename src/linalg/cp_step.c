#include "linalg/cp_step.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"

/* Product of the sizes of axes from .. to-1. */
static size_t items(const pq_shape *s, size_t from, size_t to)
{
    size_t n = 1;

    for (size_t k = from; k < to; k++) {
        n *= s->dim[k];
    }
    return n;
}

size_t pq_cp_split(const pq_shape *shape)
{
    const size_t d     = shape->ndim;
    size_t       least = SIZE_MAX, split = 1;

    for (size_t s = 1; s < d; s++) {
        const size_t sum = items(shape, 0, s) + items(shape, s, d);
        if (sum < least) {
            least = sum;
            split = s;
        }
    }
    return split;
}

void pq_cp_step_free(pq_cp_als_state *a)
{
    pq_cp_free(&a->cp);
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&a->gram[k]);
        pq_tensor_free(&a->rhs[k]);
    }
    for (size_t i = 0; i < 2; i++) {
        pq_tensor_free(&a->half[i]);
        pq_tensor_free(&a->rows[i]);
    }
    pq_tensor_free(&a->normal);
    pq_tensor_free(&a->chol);
    pq_free(a->work);
    a->work = NULL;
}

pq_status pq_cp_step_prepare(pq_cp_als_state *a, pq_err *err)
{
    const pq_shape *s      = &a->t->shape;
    const pq_shape  square = PQ_SHAPE(a->rank, a->rank);
    pq_status       st;

    a->cp.d  = s->ndim;
    a->split = pq_cp_split(s);
    for (size_t k = 0; k < s->ndim; k++) {
        const pq_shape shape = PQ_SHAPE(s->dim[k], a->rank);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &a->cp.factor[k], err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &a->rhs[k], err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, square, &a->gram[k], err));
    }
    for (size_t i = 0; i < 2; i++) {
        const size_t n = i == 0 ? items(s, 0, a->split) : items(s, a->split, s->ndim);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, a->rank), &a->half[i], err));
        /* one row more: what lies left and right of an axis are two products */
        PQ_TRY(
            pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n + 1, a->rank), &a->rows[i], err));
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, square, &a->normal, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, square, &a->chol, err));
    PQ_NEW(a->work, a->rank);
cleanup:
    return st;
}

/* Puts axes from .. to-1 in order of size behind the n that are there. */
static size_t insert_axes(const pq_shape *s, size_t from, size_t to, size_t *order,
                          size_t n)
{
    for (size_t i = 0; i < to - from; i++) {
        size_t k = n + i;
        for (; k > n && s->dim[order[k - 1]] > s->dim[from + i]; k--) {
            order[k] = order[k - 1];
        }
        order[k] = from + i;
    }
    return n + to - from;
}

void pq_cp_order(const pq_cp_als_state *a, size_t *order)
{
    const pq_shape *s        = &a->t->shape;
    size_t          smallest = 0;

    for (size_t k = 1; k < s->ndim; k++) {
        smallest = s->dim[k] < s->dim[smallest] ? k : smallest;
    }
    if (smallest < a->split) {
        insert_axes(s, a->split, s->ndim, order, insert_axes(s, 0, a->split, order, 0));
    } else {
        insert_axes(s, 0, a->split, order, insert_axes(s, a->split, s->ndim, order, 0));
    }
}

void pq_cp_khatri_rao(const pq_cp *cp, size_t from, size_t to, double *out)
{
    const size_t R    = cp->factor[0]->shape.dim[1];
    size_t       rows = 1;

    for (size_t r = 0; r < R; r++) {
        out[r] = 1.0;
    }
    for (size_t k = to; k-- > from;) { /* grows to the left, in place: block 0 last */
        const size_t n = cp->factor[k]->shape.dim[0];
        for (size_t i = n; i-- > 0;) {
            const double *left = pq_f64(cp->factor[k]) + i * R;
            for (size_t j = 0; j < rows; j++) {
                const double *right  = out + j * R;
                double       *to_row = out + (i * rows + j) * R;
                for (size_t r = 0; r < R; r++) {
                    to_row[r] = left[r] * right[r];
                }
            }
        }
        rows *= n;
    }
}

/* T times all factors of the other half, [items of this half, R]. */
static pq_status update_half(pq_cp_als_state *a, size_t side, pq_err *err)
{
    const size_t other = 1 - side, d = a->t->shape.ndim;
    pq_tensor    view = *a->t, kr = *a->rows[other];
    pq_status    st = PQ_OK;

    if (a->valid[side]) {
        return PQ_OK;
    }
    kr.shape.dim[0]--;
    kr.count -= a->rank;
    pq_cp_khatri_rao(&a->cp, other == 0 ? 0 : a->split, other == 0 ? a->split : d,
                     pq_f64(&kr));
    view.shape = PQ_SHAPE(a->half[0]->shape.dim[0], a->half[1]->shape.dim[0]);
    PQ_TRY(pq_gemm((pq_operand){&view, side == 1}, (pq_operand){&kr, false}, 0.0,
                   a->half[side], err));
    a->valid[side] = true;
cleanup:
    return st;
}

/* How many items lie left, along and right of an axis within its half. */
typedef struct {
    size_t outer, n, inner;
} block;

/* Sums x [outer, n, inner, R] with weights left [outer, R] and right [inner, R]; acc has
 * room for R. */
static void contract(const double *restrict x, const block *b, size_t R,
                     const double *left, const double *right, double *restrict acc,
                     double *restrict out)
{
    memset(out, 0, b->n * R * sizeof *out);
    for (size_t row = 0; row < b->outer * b->n; row++) {
        const double *l = left + row / b->n * R, *w = right;
        double       *to = out + row % b->n * R;
        memset(acc, 0, R * sizeof *acc);
        for (size_t j = 0; j < b->inner; j++, x += R, w += R) {
            for (size_t r = 0; r < R; r++) {
                acc[r] += x[r] * w[r];
            }
        }
        for (size_t r = 0; r < R; r++) {
            to[r] += acc[r] * l[r];
        }
    }
}

pq_status pq_cp_project(pq_cp_als_state *a, size_t axis, pq_err *err)
{
    const pq_shape *s    = &a->t->shape;
    const size_t    side = axis < a->split ? 0 : 1;
    const size_t    from = side == 0 ? 0 : a->split, to = side == 0 ? a->split : s->ndim;
    const block     b    = {items(s, from, axis), s->dim[axis], items(s, axis + 1, to)};
    double         *left = pq_f64(a->rows[side]), *right = left + b.outer * a->rank;
    pq_status       st;

    PQ_TRY(update_half(a, side, err));
    if (to - from == 1) {
        memcpy(a->rhs[axis]->data, a->half[side]->data,
               a->rhs[axis]->count * sizeof(double));
        goto cleanup;
    }
    pq_cp_khatri_rao(&a->cp, from, axis, left);
    pq_cp_khatri_rao(&a->cp, axis + 1, to, right);
    contract(pq_f64(a->half[side]), &b, a->rank, left, right, a->work,
             pq_f64(a->rhs[axis]));
cleanup:
    return st;
}

void pq_cp_multiply_grams(pq_cp_als_state *a, size_t but)
{
    double *normal = pq_f64(a->normal);

    for (size_t i = 0; i < a->normal->count; i++) {
        normal[i] = 1.0;
    }
    for (size_t k = 0; k < a->cp.d; k++) {
        const double *gram = pq_f64(a->gram[k]);
        for (size_t i = 0; k != but && i < a->normal->count; i++) {
            normal[i] *= gram[i];
        }
    }
}

pq_status pq_cp_update_gram(pq_cp_als_state *a, size_t axis, pq_err *err)
{
    const pq_operand f = {a->cp.factor[axis], false}, ft = {a->cp.factor[axis], true};

    a->valid[axis < a->split ? 1 : 0] = false;
    return pq_gemm(ft, f, 0.0, a->gram[axis], err);
}

void pq_cp_normalise(pq_cp_als_state *a, size_t axis)
{
    const size_t n = a->t->shape.dim[axis], R = a->rank;
    double      *f = pq_f64(a->cp.factor[axis]), *norm = a->work;

    memset(norm, 0, R * sizeof *norm);
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < R; r++) {
            norm[r] += f[i * R + r] * f[i * R + r];
        }
    }
    for (size_t r = 0; r < R; r++) {
        norm[r] = sqrt(norm[r]);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < R; r++) {
            f[i * R + r] = norm[r] > 0.0 ? f[i * R + r] / norm[r] : 0.0;
        }
    }
}

/* factor = rhs Q diag(1 / (lambda + mu)) Q^T, where normal = Q diag(lambda) Q^T; terms
 * with lambda + mu below `least` are left out. */
static pq_status solve_by_eigen(const pq_tensor *values, const pq_tensor *vectors,
                                const pq_tensor *rotated, double mu, double least,
                                pq_tensor *factor, pq_err *err)
{
    const size_t n = rotated->shape.dim[0], R = rotated->shape.dim[1];
    pq_tensor   *scaled = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_clone(rotated, &scaled, err));
    for (size_t i = 0; i < n * R; i++) {
        const double d    = fmax(pq_f64(values)[i % R], 0.0) + mu;
        pq_f64(scaled)[i] = d > least ? pq_f64(scaled)[i] / d : 0.0;
    }
    PQ_TRY(pq_gemm((pq_operand){scaled, false}, (pq_operand){vectors, false}, 0.0, factor,
                   err));
cleanup:
    pq_tensor_free(&scaled);
    return st;
}

/* Eigenvectors of the normal matrix (as rows) and rhs in their basis. */
static pq_status diagonalise(pq_cp_als_state *a, size_t axis, pq_tensor **values,
                             pq_tensor **vectors, pq_tensor **rotated, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_eigh(a->normal, values, vectors, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, a->rhs[axis]->shape, rotated, err));
    PQ_TRY(pq_gemm((pq_operand){a->rhs[axis], false}, (pq_operand){*vectors, true}, 0.0,
                   *rotated, err));
cleanup:
    return st;
}

static pq_status solve_singular(pq_cp_als_state *a, size_t axis, pq_err *err)
{
    pq_tensor *values = NULL, *vectors = NULL, *rotated = NULL;
    pq_status  st;

    PQ_TRY(diagonalise(a, axis, &values, &vectors, &rotated, err));
    PQ_TRY(solve_by_eigen(values, vectors, rotated, 0.0, 1e-12 * pq_f64(values)[0],
                          a->cp.factor[axis], err));
cleanup:
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    pq_tensor_free(&rotated);
    return st;
}

pq_status pq_cp_solve(pq_cp_als_state *a, size_t axis, pq_err *err)
{
    const lapack_int R    = (lapack_int)a->rank;
    const lapack_int n    = (lapack_int)a->t->shape.dim[axis];
    double          *chol = pq_f64(a->chol), trace = 0.0;
    lapack_int       info;
    pq_status        st = PQ_OK;

    memcpy(chol, a->normal->data, a->normal->count * sizeof *chol);
    for (size_t r = 0; r < a->rank; r++) {
        trace += chol[r * a->rank + r];
    }
    for (size_t r = 0; r < a->rank; r++) {
        chol[r * a->rank + r] += a->options->ridge * trace / (double)a->rank;
    }
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', R, chol, R);
    if (info != 0) {
        PQ_TRY(solve_singular(a, axis, err));
        goto cleanup;
    }
    memcpy(a->cp.factor[axis]->data, a->rhs[axis]->data,
           a->rhs[axis]->count * sizeof(double));
    /* Our rows are LAPACK's columns: one right-hand side a row. */
    info = LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', R, n, chol, R,
                               pq_f64(a->cp.factor[axis]), R);
    assert(info == 0);
cleanup:
    return st;
}

/* Error squared of factor(mu) = rhs (normal + mu)^-1, in the eigenbasis. */
static double error_of(const pq_cp_als_state *a, const pq_tensor *values,
                       const pq_tensor *rotated, double mu)
{
    const size_t R   = a->rank;
    double       sum = a->norm;

    for (size_t i = 0; i < rotated->count; i++) {
        const double l = fmax(pq_f64(values)[i % R], 0.0), x = pq_f64(rotated)[i];
        if (l + mu > 0.0) {
            sum += x * x * (l / ((l + mu) * (l + mu)) - 2.0 / (l + mu));
        }
    }
    return sum;
}

pq_status pq_cp_shrink(pq_cp_als_state *a, size_t axis, double due, pq_err *err)
{
    pq_tensor *values = NULL, *vectors = NULL, *rotated = NULL;
    double     lo = 0.0, hi;
    pq_status  st;

    PQ_TRY(pq_cp_project(a, axis, err));
    pq_cp_multiply_grams(a, axis);
    PQ_TRY(diagonalise(a, axis, &values, &vectors, &rotated, err));
    hi = fmax(pq_f64(values)[0], 1e-300);
    for (int i = 0; i < 60 && error_of(a, values, rotated, hi) < due; i++) {
        lo = hi;
        hi *= 4.0;
    }
    for (int i = 0; i < 100; i++) {
        const double mid                                        = 0.5 * (lo + hi);
        *(error_of(a, values, rotated, mid) <= due ? &lo : &hi) = mid;
    }
    PQ_TRY(solve_by_eigen(values, vectors, rotated, lo, 1e-14 * pq_f64(values)[0],
                          a->cp.factor[axis], err));
cleanup:
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    pq_tensor_free(&rotated);
    return st;
}
