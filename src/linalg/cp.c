#include "linalg/cp.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"
#include "linalg/subspace.h"

const pq_cp_options pq_cp_defaults = {
    .starts = 5, .max_sweeps = 200, .tolerance = 1e-6, .ridge = 1e-8, .swell = 100.0};

enum { CORRECTION_SWEEPS = 30 };

void pq_cp_free(pq_cp *cp)
{
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&cp->factor[k]);
    }
    *cp = (pq_cp){0};
}

/* One start at work. Columns of all factors but the one last solved are unit vectors. */
typedef struct {
    const pq_tensor     *t;
    const pq_cp_options *options;
    size_t               rank;
    double               norm; /* |T|^2 */
    pq_cp                cp;
    pq_tensor           *gram[PQ_MAX_DIMS]; /* [R, R] of each factor */
    pq_tensor           *rhs[PQ_MAX_DIMS];  /* [n, R] T times the other factors */
    pq_tensor           *normal;            /* [R, R] product of the others' Grams */
    pq_tensor           *front;             /* see update_front */
    bool                 front_valid;
    double              *work; /* [R] */
} als;

static void free_als(als *a)
{
    pq_cp_free(&a->cp);
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&a->gram[k]);
        pq_tensor_free(&a->rhs[k]);
    }
    pq_tensor_free(&a->normal);
    pq_tensor_free(&a->front);
    pq_free(a->work);
}

/* Column-wise Khatri-Rao product of the factors from .. to-1, [product of n, R]; one row
 * of ones when there are none. */
static pq_status khatri_rao(const als *a, size_t from, size_t to, pq_tensor **out,
                            pq_err *err)
{
    const size_t R     = a->rank;
    pq_tensor   *built = NULL, *grown = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(1, R), &built, err));
    for (size_t r = 0; r < R; r++) {
        pq_f64(built)[r] = 1.0;
    }
    for (size_t k = from; k < to; k++) {
        const size_t n = a->cp.factor[k]->shape.dim[0], rows = built->shape.dim[0];
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows * n, R), &grown, err));
        for (size_t i = 0; i < rows * n; i++) {
            const double *left  = pq_f64(built) + i / n * R;
            const double *right = pq_f64(a->cp.factor[k]) + i % n * R;
            for (size_t r = 0; r < R; r++) {
                pq_f64(grown)[i * R + r] = left[r] * right[r];
            }
        }
        pq_tensor_free(&built);
        built = grown;
        grown = NULL;
    }
    *out  = built;
    built = NULL;
cleanup:
    pq_tensor_free(&built);
    pq_tensor_free(&grown);
    return st;
}

/* T times the first factor, [items of the other axes, R]; it serves all other axes until
 * the first factor changes. */
static pq_status update_front(als *a, pq_err *err)
{
    const size_t n    = a->t->shape.dim[0];
    pq_tensor    view = *a->t;
    pq_status    st   = PQ_OK;

    if (a->front_valid) {
        return PQ_OK;
    }
    view.shape = PQ_SHAPE(n, view.count / n);
    PQ_TRY(pq_gemm((pq_operand){&view, true}, (pq_operand){a->cp.factor[0], false}, 0.0,
                   a->front, err));
    a->front_valid = true;
cleanup:
    return st;
}

/* Sums x [outer, n, inner, R] with weights left [outer, R] and right [inner, R]; acc has
 * room for R. */
static void contract(const double *x, const pq_tensor *left, size_t n,
                     const pq_tensor *right, double *acc, double *out)
{
    const size_t outer = left->shape.dim[0], inner = right->shape.dim[0];
    const size_t R = left->shape.dim[1];

    memset(out, 0, n * R * sizeof *out);
    for (size_t row = 0; row < outer * n; row++) {
        const double *l = pq_f64(left) + row / n * R, *w = pq_f64(right);
        double       *to = out + row % n * R;
        memset(acc, 0, R * sizeof *acc);
        for (size_t j = 0; j < inner; j++, x += R, w += R) {
            for (size_t r = 0; r < R; r++) {
                acc[r] += x[r] * w[r];
            }
        }
        for (size_t r = 0; r < R; r++) {
            to[r] += acc[r] * l[r];
        }
    }
}

/* rhs[axis] [n, R] = T_(axis) times the Khatri-Rao product of the other factors. */
static pq_status project(als *a, size_t axis, pq_err *err)
{
    const pq_shape *s    = &a->t->shape;
    pq_tensor      *left = NULL, *right = NULL;
    pq_tensor       view = *a->t;
    pq_status       st;

    PQ_TRY(khatri_rao(a, axis + 1, s->ndim, &right, err));
    if (axis == 0) {
        view.shape = PQ_SHAPE(s->dim[0], view.count / s->dim[0]);
        PQ_TRY(pq_gemm((pq_operand){&view, false}, (pq_operand){right, false}, 0.0,
                       a->rhs[0], err));
        goto cleanup;
    }
    PQ_TRY(khatri_rao(a, 1, axis, &left, err));
    PQ_TRY(update_front(a, err));
    contract(pq_f64(a->front), left, s->dim[axis], right, a->work, pq_f64(a->rhs[axis]));
cleanup:
    pq_tensor_free(&left);
    pq_tensor_free(&right);
    return st;
}

static void multiply_grams(als *a, size_t but)
{
    const size_t items = a->rank * a->rank;

    for (size_t i = 0; i < items; i++) {
        double x = 1.0;
        for (size_t k = 0; k < a->cp.d; k++) {
            x *= k != but ? pq_f64(a->gram[k])[i] : 1.0;
        }
        pq_f64(a->normal)[i] = x;
    }
}

/* To be called whenever a factor has changed. */
static pq_status update_gram(als *a, size_t axis, pq_err *err)
{
    const pq_operand f = {a->cp.factor[axis], false}, ft = {a->cp.factor[axis], true};

    a->front_valid = a->front_valid && axis != 0;
    return pq_gemm(ft, f, 0.0, a->gram[axis], err);
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
static pq_status diagonalise(als *a, size_t axis, pq_tensor **values, pq_tensor **vectors,
                             pq_tensor **rotated, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_eigh(a->normal, values, vectors, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, a->rhs[axis]->shape, rotated, err));
    PQ_TRY(pq_gemm((pq_operand){a->rhs[axis], false}, (pq_operand){*vectors, true}, 0.0,
                   *rotated, err));
cleanup:
    return st;
}

static pq_status solve_singular(als *a, size_t axis, pq_err *err)
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

/* Solves the normal equations for one factor: Cholesky with a ridge, else a
 * pseudo-inverse.
 */
static pq_status solve(als *a, size_t axis, pq_err *err)
{
    const lapack_int R     = (lapack_int)a->rank;
    const lapack_int n     = (lapack_int)a->t->shape.dim[axis];
    pq_tensor       *chol  = NULL;
    double           trace = 0.0;
    lapack_int       info;
    pq_status        st;

    PQ_TRY(pq_tensor_clone(a->normal, &chol, err));
    for (size_t r = 0; r < a->rank; r++) {
        trace += pq_f64(chol)[r * a->rank + r];
    }
    for (size_t r = 0; r < a->rank; r++) {
        pq_f64(chol)[r * a->rank + r] += a->options->ridge * trace / (double)a->rank;
    }
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', R, pq_f64(chol), R);
    if (info != 0) {
        PQ_TRY(solve_singular(a, axis, err));
        goto cleanup;
    }
    memcpy(a->cp.factor[axis]->data, a->rhs[axis]->data,
           a->rhs[axis]->count * sizeof(double));
    /* Our rows are LAPACK's columns: one right-hand side a row. */
    info = LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', R, n, pq_f64(chol), R,
                               pq_f64(a->cp.factor[axis]), R);
    assert(info == 0);
cleanup:
    pq_tensor_free(&chol);
    return st;
}

/* Makes columns unit vectors; their norms stay in a->work. */
static void normalise(als *a, size_t axis)
{
    const size_t n = a->t->shape.dim[axis], R = a->rank;
    double      *f = pq_f64(a->cp.factor[axis]);

    memset(a->work, 0, R * sizeof *a->work);
    for (size_t i = 0; i < n * R; i++) {
        a->work[i % R] += f[i] * f[i];
    }
    for (size_t r = 0; r < R; r++) {
        a->work[r] = sqrt(a->work[r]);
    }
    for (size_t i = 0; i < n * R; i++) {
        f[i] = a->work[i % R] > 0.0 ? f[i] / a->work[i % R] : 0.0;
    }
}

/* |T - T'|^2 = |T|^2 - 2 <rhs, factor> + <factor normal, factor> after the last axis was
 * solved (norms not yet taken out). */
static double squared_error(const als *a, size_t axis)
{
    const size_t  n = a->t->shape.dim[axis], R = a->rank;
    const double *f = pq_f64(a->cp.factor[axis]), *rhs = pq_f64(a->rhs[axis]);
    double        sum = a->norm;

    for (size_t i = 0; i < n * R; i++) {
        sum -= 2.0 * rhs[i] * f[i];
    }
    for (size_t r = 0; r < R; r++) { /* gram of the unnormalised factor times normal */
        for (size_t q = 0; q < R; q++) {
            sum += pq_f64(a->gram[axis])[r * R + q] * pq_f64(a->normal)[r * R + q];
        }
    }
    return fmax(sum, 0.0);
}

static double square_sum(const double *x, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

/* Puts the norms of the terms back into one factor. */
static void scale_columns(pq_tensor *factor, const double *norm)
{
    const size_t R = factor->shape.dim[1];

    for (size_t i = 0; i < factor->count; i++) {
        pq_f64(factor)[i] *= norm[i % R];
    }
}

/* Axes from small to large. */
static void order_axes(const pq_shape *s, size_t *order)
{
    for (size_t i = 0; i < s->ndim; i++) {
        size_t k = i;
        for (; k > 0 && s->dim[order[k - 1]] > s->dim[i]; k--) {
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
}

/* One pass over all axes. The last one solved keeps its norms; *left is the squared
 * error.
 */
static pq_status sweep(als *a, const size_t *order, double *left, pq_err *err)
{
    const size_t d  = a->cp.d;
    pq_status    st = PQ_OK;

    for (size_t i = 0; i < d; i++) {
        const size_t axis = order[i];
        PQ_TRY(project(a, axis, err));
        multiply_grams(a, axis);
        PQ_TRY(solve(a, axis, err));
        if (i + 1 < d) {
            normalise(a, axis);
        }
        PQ_TRY(update_gram(a, axis, err));
    }
    *left = squared_error(a, order[d - 1]);
cleanup:
    return st;
}

/* Before the next sweep the last factor gives its norms up. */
static pq_status begin_sweep(als *a, size_t last, pq_err *err)
{
    normalise(a, last);
    return update_gram(a, last, err);
}

/* Error squared of factor(mu) = rhs (normal + mu)^-1, in the eigenbasis. */
static double error_of(const als *a, const pq_tensor *values, const pq_tensor *rotated,
                       double mu)
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

/* The smallest factor whose error squared stays within `due`. */
static pq_status shrink(als *a, size_t axis, double due, pq_err *err)
{
    pq_tensor *values = NULL, *vectors = NULL, *rotated = NULL;
    double     lo = 0.0, hi;
    pq_status  st;

    PQ_TRY(project(a, axis, err));
    multiply_grams(a, axis);
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

/* Makes the terms small while the error stays within a thousandth of what it is. */
static pq_status correct(als *a, const size_t *order, double left, pq_err *err)
{
    const size_t d   = a->cp.d;
    const double due = left * 1.002 + 1e-12 * a->norm;
    pq_status    st  = PQ_OK;

    for (size_t s = 0; s < CORRECTION_SWEEPS; s++) {
        for (size_t i = 0; i < d; i++) {
            PQ_TRY(begin_sweep(a, order[(i + d - 1) % d], err));
            PQ_TRY(shrink(a, order[i], due, err));
            PQ_TRY(update_gram(a, order[i], err));
        }
    }
    a->cp.corrected = true;
cleanup:
    return st;
}

/* Leading left singular vectors of an axis, then random columns. */
static pq_status leading_vectors(als *a, size_t axis, pq_rng *rng, pq_err *err)
{
    const size_t n = a->t->shape.dim[axis], R = a->rank;
    const size_t k = a->t->count / n, most = n < k ? n : k;
    pq_tensor   *flat = NULL, *u = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_unfold(a->t, axis, &flat, err));
    PQ_TRY(pq_left_space(flat, most < R ? most : R, 0.0, &u, err));
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < R; r++) {
            pq_f64(a->cp.factor[axis])[i * R + r] =
                r < u->shape.dim[1] ? pq_f64(u)[i * u->shape.dim[1] + r]
                                    : pq_rng_normal(rng) / sqrt((double)n);
        }
    }
cleanup:
    pq_tensor_free(&flat);
    pq_tensor_free(&u);
    return st;
}

static pq_status start(als *a, size_t number, pq_err *err)
{
    pq_rng    rng = pq_rng_stream(a->options->seed + number, "cp");
    pq_status st  = PQ_OK;

    for (size_t k = 0; k < a->cp.d; k++) {
        pq_tensor *f = a->cp.factor[k];
        if (number == 0) {
            PQ_TRY(leading_vectors(a, k, &rng, err));
        }
        for (size_t i = 0; number > 0 && i < f->count; i++) {
            pq_f64(f)[i] = pq_rng_normal(&rng);
        }
        normalise(a, k);
        PQ_TRY(update_gram(a, k, err));
    }
    a->cp.sweeps    = 0;
    a->cp.corrected = false;
cleanup:
    return st;
}

/* Spreads the norms and measures the residual itself. */
static pq_status finish(als *a, size_t last, pq_err *err)
{
    pq_tensor *full = NULL;
    pq_status  st;

    normalise(a, last);
    a->cp.swell = square_sum(a->work, a->rank) / a->norm;
    for (size_t r = 0; r < a->rank; r++) {
        a->work[r] = pow(a->work[r], 1.0 / (double)a->cp.d);
    }
    for (size_t k = 0; k < a->cp.d; k++) {
        scale_columns(a->cp.factor[k], a->work);
    }
    PQ_TRY(pq_cp_full(&a->cp, &full, err));
    a->cp.error = sqrt(pq_square_distance(full, a->t) / a->norm);
cleanup:
    pq_tensor_free(&full);
    return st;
}

/* Runs one start to its end. */
static pq_status run(als *a, size_t number, pq_err *err)
{
    size_t    order[PQ_MAX_DIMS];
    double    left = HUGE_VAL, before;
    pq_status st;

    order_axes(&a->t->shape, order);
    const size_t last = order[a->cp.d - 1];

    PQ_TRY(start(a, number, err));
    do {
        before = left;
        if (a->cp.sweeps > 0) {
            PQ_TRY(begin_sweep(a, last, err));
        }
        PQ_TRY(sweep(a, order, &left, err));
        a->cp.sweeps++;
    } while (a->cp.sweeps < a->options->max_sweeps &&
             fabs(sqrt(before) - sqrt(left)) > a->options->tolerance * sqrt(a->norm));
    if (square_sum(pq_f64(a->cp.factor[last]), a->cp.factor[last]->count) >
        a->options->swell * a->norm) {
        PQ_TRY(correct(a, order, left, err));
    }
    PQ_TRY(finish(a, last, err));
cleanup:
    return st;
}

/* Whether a result is better: finite, then tame, then of smaller error. */
static bool is_better(const pq_cp *a, const pq_cp *b, double swell)
{
    if (b->d == 0) {
        return isfinite(a->error) && isfinite(a->swell);
    }
    if (!isfinite(a->error) || !isfinite(a->swell) ||
        (a->swell > swell) != (b->swell > swell)) {
        return isfinite(a->error) && isfinite(a->swell) && b->swell > swell;
    }
    return a->error < b->error;
}

static pq_status prepare(als *a, pq_err *err)
{
    const pq_shape *s = &a->t->shape;
    pq_status       st;

    a->cp.d = s->ndim;
    for (size_t k = 0; k < s->ndim; k++) {
        const pq_shape shape = PQ_SHAPE(s->dim[k], a->rank);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &a->cp.factor[k], err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &a->rhs[k], err));
        PQ_TRY(
            pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(a->rank, a->rank), &a->gram[k], err));
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(a->rank, a->rank), &a->normal, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(a->t->count / s->dim[0], a->rank),
                            &a->front, err));
    PQ_NEW(a->work, a->rank);
cleanup:
    return st;
}

static pq_status copy(const pq_cp *from, pq_cp *to, pq_err *err)
{
    pq_cp     cp = *from;
    pq_status st = PQ_OK;

    memset(cp.factor, 0, sizeof cp.factor);
    for (size_t k = 0; k < from->d; k++) {
        PQ_TRY(pq_tensor_clone(from->factor[k], &cp.factor[k], err));
    }
    pq_cp_free(to);
    *to = cp;
    cp  = (pq_cp){0};
cleanup:
    pq_cp_free(&cp);
    return st;
}

static pq_status check(const pq_tensor *t, size_t rank, pq_err *err)
{
    const size_t bad = pq_tensor_first_nonfinite(t);
    pq_status    st;

    PQ_CHECK(rank >= 1 && rank <= INT32_MAX, PQ_ERR_RANGE, "rank %zu is not in 1..%d",
             rank, INT32_MAX);
    PQ_CHECK(t->shape.ndim >= 2 && t->count > 0, PQ_ERR_SHAPE,
             "a sum of outer products needs at least two axes, and items");
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "the tensor holds %g at item %zu",
             pq_tensor_get(t, bad), bad);
cleanup:
    return st;
}

pq_status pq_cp_als(const pq_tensor *t, size_t rank, const pq_cp_options *options,
                    pq_cp *out, pq_err *err)
{
    als        a    = {.options = options, .rank = rank};
    pq_tensor *wide = NULL;
    pq_cp      best = {0};
    pq_status  st;

    PQ_TRY(check(t, rank, err));
    PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &wide, err));
    a.t    = wide;
    a.norm = pq_square_norm(wide);
    PQ_CHECK(a.norm > 0.0, PQ_ERR_NUMERIC, "the tensor is zero");
    PQ_TRY(prepare(&a, err));
    for (size_t i = 0; i < options->starts; i++) {
        st = run(&a, i, err);
        if (st == PQ_OK && is_better(&a.cp, &best, options->swell)) {
            PQ_TRY(copy(&a.cp, &best, err));
        }
        if (st != PQ_OK && st != PQ_ERR_NUMERIC) {
            goto cleanup; /* a start that diverges is no failure of the others */
        }
        st = PQ_OK;
    }
    if (err != NULL) {
        *err = (pq_err){0}; /* what a start that was given up may have left */
    }
    PQ_CHECK(best.d > 0, PQ_ERR_NUMERIC, "CP of rank %zu diverged from all %zu starts",
             rank, options->starts);
    *out = best;
    best = (pq_cp){0};
cleanup:
    free_als(&a);
    pq_cp_free(&best);
    pq_tensor_free(&wide);
    return st;
}

pq_status pq_cp_full(const pq_cp *cp, pq_tensor **out, pq_err *err)
{
    const size_t last = cp->d - 1, R = cp->factor[0]->shape.dim[1];
    als          view  = {.rank = R, .cp = *cp};
    pq_shape     shape = {.ndim = cp->d};
    pq_tensor   *left = NULL, *full = NULL;
    pq_status    st;

    for (size_t k = 0; k < cp->d; k++) {
        shape.dim[k] = cp->factor[k]->shape.dim[0];
    }
    PQ_TRY(khatri_rao(&view, 0, last, &left, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(left->shape.dim[0], shape.dim[last]),
                            &full, err));
    PQ_TRY(pq_gemm((pq_operand){left, false}, (pq_operand){cp->factor[last], true}, 0.0,
                   full, err));
    PQ_TRY(pq_tensor_reshape(full, shape, err));
    *out = full;
    full = NULL;
cleanup:
    pq_tensor_free(&left);
    pq_tensor_free(&full);
    return st;
}
