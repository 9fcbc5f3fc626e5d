#include "linalg/cp.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "linalg/cp_step.h"
#include "linalg/gemm.h"
#include "linalg/subspace.h"
#include "linalg/tucker.h"

const pq_cp_options pq_cp_defaults = {
    .starts = 5, .max_sweeps = 200, .tolerance = 1e-6, .ridge = 1e-10, .swell = 100.0};

enum { CORRECTION_SWEEPS = 30 };

void pq_cp_free(pq_cp *cp)
{
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&cp->factor[k]);
    }
    *cp = (pq_cp){0};
}

/* |T - T'|^2 = |T|^2 - 2 <rhs, factor> + <factor normal, factor> after the last axis was
 * solved (norms not yet taken out). */
static double squared_error(const pq_cp_als_state *a, size_t axis)
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
    const size_t n = factor->shape.dim[0], R = factor->shape.dim[1];

    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < R; r++) {
            pq_f64(factor)[i * R + r] *= norm[r];
        }
    }
}

/* One pass over all axes. The last one solved keeps its norms; *left is the squared
 * error.
 */
static pq_status sweep(pq_cp_als_state *a, const size_t *order, double *left, pq_err *err)
{
    const size_t d  = a->cp.d;
    pq_status    st = PQ_OK;

    for (size_t i = 0; i < d; i++) {
        const size_t axis = order[i];
        PQ_TRY(pq_cp_project(a, axis, err));
        pq_cp_multiply_grams(a, axis);
        PQ_TRY(pq_cp_solve(a, axis, err));
        if (i + 1 < d) {
            pq_cp_normalise(a, axis);
        }
        PQ_TRY(pq_cp_update_gram(a, axis, err));
    }
    *left = squared_error(a, order[d - 1]);
cleanup:
    return st;
}

/* Before the next sweep the last factor gives its norms up. */
static pq_status begin_sweep(pq_cp_als_state *a, size_t last, pq_err *err)
{
    pq_cp_normalise(a, last);
    return pq_cp_update_gram(a, last, err);
}

/* Makes the terms small while the error stays within a thousandth of what it is. */
static pq_status correct(pq_cp_als_state *a, const size_t *order, double left,
                         pq_err *err)
{
    const size_t d   = a->cp.d;
    const double due = left * 1.002 + 1e-12 * a->norm;
    pq_status    st  = PQ_OK;

    for (size_t s = 0; s < CORRECTION_SWEEPS; s++) {
        for (size_t i = 0; i < d; i++) {
            PQ_TRY(begin_sweep(a, order[(i + d - 1) % d], err));
            PQ_TRY(pq_cp_shrink(a, order[i], due, err));
            PQ_TRY(pq_cp_update_gram(a, order[i], err));
        }
    }
    a->cp.corrected = true;
cleanup:
    return st;
}

/* Leading left singular vectors of an axis, then random columns. */
static pq_status leading_vectors(pq_cp_als_state *a, size_t axis, pq_rng *rng,
                                 pq_err *err)
{
    const size_t n = a->t->shape.dim[axis], R = a->rank;
    const size_t k = a->t->count / n, most = n < k ? n : k;
    const size_t known = most < R ? most : R;
    pq_tensor   *flat = NULL, *gram = NULL, *u = NULL, *rest = NULL;
    pq_status    st;

    if (n <= k) {
        PQ_TRY(pq_fibre_gram(a->t, axis, &gram, err));
        PQ_TRY(pq_left_space_of_gram(gram, known, &u, err));
    } else {
        PQ_TRY(pq_tensor_unfold(a->t, axis, &flat, err));
        PQ_TRY(pq_left_split(flat, known, 0.0, &u, &rest, err));
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < R; r++) {
            pq_f64(a->cp.factor[axis])[i * R + r] =
                r < u->shape.dim[1] ? pq_f64(u)[i * u->shape.dim[1] + r]
                                    : pq_rng_normal(rng) / sqrt((double)n);
        }
    }
cleanup:
    pq_tensor_free(&flat);
    pq_tensor_free(&gram);
    pq_tensor_free(&u);
    pq_tensor_free(&rest);
    return st;
}

static pq_status start(pq_cp_als_state *a, size_t number, pq_err *err)
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
        pq_cp_normalise(a, k);
        PQ_TRY(pq_cp_update_gram(a, k, err));
    }
    a->cp.sweeps    = 0;
    a->cp.corrected = false;
cleanup:
    return st;
}

/* Spreads the norms and measures the residual itself. */
static pq_status finish(pq_cp_als_state *a, size_t last, pq_err *err)
{
    pq_tensor *full = NULL;
    pq_status  st;

    pq_cp_normalise(a, last);
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
static pq_status run(pq_cp_als_state *a, size_t number, pq_err *err)
{
    size_t    order[PQ_MAX_DIMS];
    double    left = HUGE_VAL, before;
    pq_status st;

    pq_cp_order(a, order);
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

/* A tensor of zeros is a sum of zeros. */
static pq_status zero(const pq_tensor *t, size_t rank, pq_cp *out, pq_err *err)
{
    pq_cp     cp = {.d = t->shape.ndim};
    pq_status st = PQ_OK;

    for (size_t k = 0; k < cp.d; k++) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(t->shape.dim[k], rank),
                                &cp.factor[k], err));
    }
    *out = cp;
    cp   = (pq_cp){0};
cleanup:
    pq_cp_free(&cp);
    return st;
}

pq_status pq_cp_als(const pq_tensor *t, size_t rank, const pq_cp_options *options,
                    pq_cp *out, pq_err *err)
{
    pq_cp_als_state a    = {.options = options, .rank = rank};
    pq_tensor      *wide = NULL;
    pq_cp           best = {0};
    pq_status       st;

    PQ_TRY(check(t, rank, err));
    if (t->dtype != PQ_DTYPE_F64) {
        PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &wide, err));
    }
    a.t    = wide != NULL ? wide : t;
    a.norm = pq_square_norm(a.t);
    if (a.norm == 0.0) {
        st = zero(a.t, rank, out, err);
        goto cleanup;
    }
    PQ_TRY(pq_cp_step_prepare(&a, err));
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
    pq_cp_step_free(&a);
    pq_cp_free(&best);
    pq_tensor_free(&wide);
    return st;
}

pq_status pq_cp_full(const pq_cp *cp, pq_tensor **out, pq_err *err)
{
    const size_t R     = cp->factor[0]->shape.dim[1];
    pq_shape     shape = {.ndim = cp->d};
    pq_tensor   *front = NULL, *back = NULL, *full = NULL;
    size_t       count;
    pq_status    st;

    for (size_t k = 0; k < cp->d; k++) {
        shape.dim[k] = cp->factor[k]->shape.dim[0];
    }
    const size_t split = pq_cp_split(&shape);
    size_t       rows  = 1;

    for (size_t k = 0; k < split; k++) {
        rows *= shape.dim[k];
    }
    PQ_CHECK(pq_shape_count(&shape, &count), PQ_ERR_SHAPE,
             "the size of the sum of outer products overflows");
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, R), &front, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(count / rows, R), &back, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, count / rows), &full, err));
    pq_cp_khatri_rao(cp, 0, split, pq_f64(front));
    pq_cp_khatri_rao(cp, split, cp->d, pq_f64(back));
    PQ_TRY(pq_gemm((pq_operand){front, false}, (pq_operand){back, true}, 0.0, full, err));
    PQ_TRY(pq_tensor_reshape(full, shape, err));
    *out = full;
    full = NULL;
cleanup:
    pq_tensor_free(&front);
    pq_tensor_free(&back);
    pq_tensor_free(&full);
    return st;
}
