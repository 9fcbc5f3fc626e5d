/* Tucker-2 and CP under the norm of the inputs' moments: closed forms, stationary points
 * by finite differences, and the plain methods where the norm is theirs. */
#include "data.h"

#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/whitened.h"
#include "linalg/whitened_step.h"

static const double TOL_EXACT = 1e-10, TOL_PLAIN = 1e-4, TOL_SLOPE = 1e-4;

static const pq_tucker_options long_run = {2000, 1e-14, NULL};

/* Moments of `n` inputs of which `live` directions occur, far from white. */
static pq_tensor *moments_of(size_t n, size_t live, uint64_t seed)
{
    pq_tensor *x = random_tensor(PQ_SHAPE(live, n), seed), *s = NULL;

    for (size_t i = 0; i < x->count; i++) {
        pq_f64(x)[i] *= exp(-0.3 * (double)(i % n)) + 0.05;
    }
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &s, &err));
    OK(pq_gemm((pq_operand){x, true}, (pq_operand){x, false}, 0.0, s, &err));
    pq_tensor_free(&x);
    return s;
}

static pq_tensor *identity(size_t n)
{
    pq_tensor *s = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &s, &err));
    for (size_t i = 0; i < n; i++) {
        pq_f64(s)[i * n + i] = 1.0;
    }
    return s;
}

/* tr(E S E^T) / tr(W S W^T) by its definition. */
static double part_lost(const pq_tensor *w, const pq_tensor *other, const pq_tensor *s)
{
    const size_t n    = s->shape.dim[0];
    double       lost = 0.0, all = 0.0;

    for (size_t o = 0; o < w->count / n; o++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                const double a = pq_f64(w)[o * n + i], b = pq_f64(w)[o * n + j];
                const double d = a - pq_f64(other)[o * n + i];
                const double e = b - pq_f64(other)[o * n + j];
                lost += d * e * pq_f64(s)[i * n + j];
                all += a * b * pq_f64(s)[i * n + j];
            }
        }
    }
    return lost / all;
}

static pq_tucker tucker_at(const pq_tensor *t, const pq_tensor *s, size_t p, size_t q)
{
    const size_t rank[4] = {p, 0, 0, q};
    pq_tensor   *out_s = NULL, *in_s = NULL, *start = NULL;
    pq_tucker    tucker = {0};

    OK(pq_whitened_sides(t, s, &out_s, &in_s, &start, &err));
    OK(pq_tucker_whitened(t, s, rank, &long_run, start, &tucker, &err));
    pq_tensor_free(&out_s);
    pq_tensor_free(&in_s);
    pq_tensor_free(&start);
    return tucker;
}

static double lost_by_tucker(const pq_tensor *t, const pq_tucker *tucker,
                             const pq_tensor *s)
{
    pq_tensor *full = NULL;
    double     lost;

    OK(pq_tucker_full(tucker, &full, &err));
    lost = part_lost(t, full, s);
    pq_tensor_free(&full);
    return lost;
}

static double lost_by_cp(const pq_tensor *t, const pq_cp *cp, const pq_tensor *s)
{
    pq_tensor *full = NULL;
    double     lost;

    OK(pq_cp_full(cp, &full, &err));
    lost = part_lost(t, full, s);
    pq_tensor_free(&full);
    return lost;
}

Test(whitened, error_is_what_is_lost_of_the_outputs)
{
    pq_tensor *a = random_tensor(PQ_SHAPE(5, 2, 3, 4), 1);
    pq_tensor *b = random_tensor(PQ_SHAPE(5, 2, 3, 4), 2), *s = moments_of(24, 40, 3);
    double     error;

    OK(pq_whitened_error(a, b, s, &error, &err));
    cr_expect_float_eq(error * error, part_lost(a, b, s), TOL_EXACT);
    OK(pq_whitened_error(a, a, s, &error, &err));
    cr_expect_float_eq(error, 0.0, 0.0);
    pq_tensor_free(&a);
    pq_tensor_free(&b);
    pq_tensor_free(&s);
}

/* With all input channels Tucker-2 is a regression of reduced rank; with all outputs and
 * moments that are the same at each pixel, one of the inputs: both have closed forms. */
Test(whitened, tucker_of_one_side_has_the_error_of_its_spectrum)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(6, 2, 2, 5), 4), *s = moments_of(20, 60, 5);
    pq_tensor *part = NULL, *out_s = NULL, *in_s = NULL, *u = NULL;

    for (int side = 0; side < 2; side++) {
        if (side == 1) {
            OK(pq_partial_moments(s, 4, 5, 1, &part, &err));
            for (size_t i = 0; i < 400; i++) {
                const size_t row = i / 20, column = i % 20;
                pq_f64(s)[i] =
                    row / 5 == column / 5 ? pq_f64(part)[row % 5 * 5 + column % 5] : 0.0;
            }
        }
        OK(pq_whitened_sides(t, s, &out_s, &in_s, &u, &err));
        for (size_t r = 1; r <= 5; r++) {
            pq_tucker        k    = tucker_at(t, s, side == 0 ? r : 6, side == 0 ? 5 : r);
            const double     lost = k.error * k.error;
            const pq_tensor *values = side == 0 ? out_s : in_s;
            double           tail = 0.0, all = 0.0;
            for (size_t i = 0; i < values->count; i++) {
                const double square = pq_f64(values)[i] * pq_f64(values)[i];
                all += square;
                tail += i < r ? 0.0 : square;
            }
            cr_expect_float_eq(lost, tail / all, 1e-8, "side %d rank %zu: %g, %g", side,
                               r, lost, tail / all);
            cr_expect_float_eq(lost, lost_by_tucker(t, &k, s), 1e-8);
            pq_tucker_free(&k);
        }
        pq_tensor_free(&out_s);
        pq_tensor_free(&in_s);
        pq_tensor_free(&u);
    }
    pq_tensor_free(&part);
    pq_tensor_free(&t);
    pq_tensor_free(&s);
}

/* Slope of what is lost along each value of a factor, by central differences. */
static double steepest(const pq_tensor *factor, double (*lost)(void *context),
                       void            *context)
{
    double most = 0.0;

    for (size_t i = 0; i < factor->count; i++) {
        double      *x  = &pq_f64(factor)[i];
        const double at = *x, h = 1e-4;
        double       up, down;
        *x   = at + h;
        up   = lost(context);
        *x   = at - h;
        down = lost(context);
        *x   = at;
        most = fmax(most, fabs(up - down) / (2.0 * h));
    }
    return most;
}

typedef struct {
    const pq_tensor *t, *s;
    const pq_tucker *tucker;
    const pq_cp     *cp;
} at;

static double lost_at(void *context)
{
    const at *a = context;

    return a->tucker != NULL ? lost_by_tucker(a->t, a->tucker, a->s)
                             : lost_by_cp(a->t, a->cp, a->s);
}

Test(whitened, tucker_ends_where_no_factor_can_be_bettered_and_below_the_plain_one)
{
    pq_tensor   *t       = random_tensor(PQ_SHAPE(6, 2, 3, 5), 6), *s;
    const size_t rank[4] = {3, 0, 0, 2};

    for (size_t live = 8; live <= 64; live *= 2) { /* 8: moments are singular */
        pq_tucker plain = {0}, white;
        s               = moments_of(30, live, live);
        white           = tucker_at(t, s, 3, 2);
        OK(pq_tucker_decompose(t, rank, &long_run, &plain, &err));
        at a = {t, s, &white, NULL};
        cr_expect_float_eq(white.error * white.error, lost_at(&a), 1e-7);
        cr_expect_lt(lost_at(&a), lost_by_tucker(t, &plain, s));
        cr_expect_lt(steepest(white.core, lost_at, &a), TOL_SLOPE, "live %zu", live);
        cr_expect_lt(steepest(white.factor[0], lost_at, &a), TOL_SLOPE, "live %zu", live);
        cr_expect_lt(steepest(white.factor[3], lost_at, &a), TOL_SLOPE, "live %zu", live);
        pq_tucker_free(&plain);
        pq_tucker_free(&white);
        pq_tensor_free(&s);
    }
    pq_tensor_free(&t);
}

Test(whitened, white_inputs_give_the_plain_methods)
{
    pq_tensor    *t = random_tensor(PQ_SHAPE(6, 2, 3, 5), 7), *s = identity(30);
    pq_cp_options options = pq_cp_defaults;
    const size_t  rank[4] = {4, 0, 0, 3};
    pq_tucker     plain = {0}, white = tucker_at(t, s, 4, 3);
    pq_cp         cp = {0};
    double        before;

    OK(pq_tucker_decompose(t, rank, &long_run, &plain, &err));
    cr_expect_float_eq(white.error, plain.error, TOL_PLAIN);
    options.max_sweeps = 2000;
    options.tolerance  = 1e-12;
    OK(pq_cp_als(t, 4, &options, &cp, &err));
    before = cp.error;
    OK(pq_cp_whitened(t, s, &options, &cp, &err));
    cr_expect_float_eq(cp.error, before, TOL_PLAIN);
    cr_expect_leq(cp.error, before + 1e-12);
    pq_cp_free(&cp);
    pq_tucker_free(&plain);
    pq_tucker_free(&white);
    pq_tensor_free(&t);
    pq_tensor_free(&s);
}

Test(whitened, cp_ends_where_no_factor_can_be_bettered_and_below_where_it_began)
{
    const pq_shape shapes[] = {PQ_SHAPE(6, 4, 5), PQ_SHAPE(5, 2, 3, 4)};

    for (size_t k = 0; k < 2; k++) {
        pq_tensor    *t = random_tensor(shapes[k], 8), *s = NULL;
        pq_cp_options options = pq_cp_defaults;
        pq_cp         cp      = {0};
        s                     = moments_of(t->count / t->shape.dim[0], 60, 9);
        options.max_sweeps    = 20000;
        options.tolerance     = 1e-14;
        options.swell         = 1e6;
        OK(pq_cp_als(t, 3, &options, &cp, &err));
        at           a      = {t, s, NULL, &cp};
        const double before = lost_at(&a);
        OK(pq_cp_whitened(t, s, &options, &cp, &err));
        cr_expect_lt(lost_at(&a), before);
        cr_expect_float_eq(lost_at(&a), cp.error * cp.error, 1e-8);
        for (size_t f = 0; f < cp.d; f++) {
            cr_expect_lt(steepest(cp.factor[f], lost_at, &a), TOL_SLOPE,
                         "%zu axes: %zu: %g", cp.d, f,
                         steepest(cp.factor[f], lost_at, &a));
        }
        pq_cp_free(&cp);
        pq_tensor_free(&s);
        pq_tensor_free(&t);
    }
}

/* A kernel of two terms, and noise that no input ever meets. */
Test(whitened, what_no_input_meets_is_left_out)
{
    pq_tensor    *t = cp_tensor(PQ_SHAPE(6, 4, 5), 2, 10), *s = moments_of(20, 60, 11);
    pq_tensor    *noise   = random_tensor(t->shape, 12);
    pq_cp_options options = pq_cp_defaults;
    pq_cp         cp      = {0};
    pq_tucker     tucker;

    options.max_sweeps = 2000;
    options.tolerance  = 1e-12;
    for (size_t i = 0; i < 400; i++) { /* channel 4 of each pixel is dead */
        pq_f64(s)[i] = i / 20 % 5 == 4 || i % 20 % 5 == 4 ? 0.0 : pq_f64(s)[i];
    }
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] += i % 5 == 4 ? 5.0 * pq_f64(noise)[i] : 0.0;
    }
    OK(pq_cp_als(t, 2, &options, &cp, &err));
    cr_expect_gt(cp.error, 0.3);
    OK(pq_cp_whitened(t, s, &options, &cp, &err));
    cr_expect_lt(cp.error, 1e-4);
    OK(pq_tensor_reshape(t, PQ_SHAPE(6, 2, 2, 5), &err));
    tucker = tucker_at(t, s, 2, 2);
    cr_expect_lt(tucker.error, 1e-5, "%g", tucker.error);
    pq_tucker_free(&tucker);
    pq_cp_free(&cp);
    pq_tensor_free(&t);
    pq_tensor_free(&s);
    pq_tensor_free(&noise);
}

static void times(void *context, const double *x, double *y)
{
    const pq_tensor *h = context;

    pq_multiply(1, h->shape.dim[0], h->shape.dim[0], x, pq_f64(h), false, 0.0, y);
}

Test(whitened, gradients_reach_the_solution_that_a_factorisation_gives)
{
    pq_tensor *h = moments_of(12, 30, 13), *b = random_tensor(PQ_SHAPE(1, 12), 14);
    pq_tensor *rows = identity(4), *columns = identity(3), *direct = NULL;
    double     x[12] = {0.0};

    OK(pq_tensor_clone(b, &direct, &err));
    OK(pq_solve_right(h, direct, &err));
    OK(pq_conjugate(&(pq_least_squares){4, 3, rows, columns, times, h}, pq_f64(b), x, 500,
                    &err));
    for (size_t i = 0; i < 12; i++) {
        cr_expect_float_eq(x[i], pq_f64(direct)[i],
                           1e-4 * (1.0 + fabs(pq_f64(direct)[i])));
    }
    pq_tensor_free(&h);
    pq_tensor_free(&b);
    pq_tensor_free(&rows);
    pq_tensor_free(&columns);
    pq_tensor_free(&direct);
}

static pq_status all_of_it(const pq_tensor *t, const pq_tensor *s, pq_err *err)
{
    const size_t            rank[4] = {2, 0, 0, 2};
    const pq_tucker_options few     = {2, 0.0, NULL};
    pq_cp_options           options = pq_cp_defaults;
    pq_tensor              *out_s = NULL, *in_s = NULL, *start = NULL;
    pq_tucker               tucker = {0};
    pq_cp                   cp     = {0};
    pq_status               st;

    options.max_sweeps = 2;
    options.starts     = 1;
    PQ_TRY(pq_whitened_sides(t, s, &out_s, &in_s, &start, err));
    PQ_TRY(pq_tucker_whitened(t, s, rank, &few, start, &tucker, err));
    PQ_TRY(pq_cp_als(t, 2, &options, &cp, err));
    PQ_TRY(pq_cp_whitened(t, s, &options, &cp, err));
cleanup:
    pq_tensor_free(&out_s);
    pq_tensor_free(&in_s);
    pq_tensor_free(&start);
    pq_tucker_free(&tucker);
    pq_cp_free(&cp);
    return st;
}

Test(whitened, every_failed_allocation_is_told_and_leaves_nothing)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(3, 2, 1, 3), 15), *s = moments_of(6, 20, 16);

    SURVIVES(all_of_it(t, s, NULL), (void)0);
    pq_tensor_free(&t);
    pq_tensor_free(&s);
}

Test(whitened, ranks_beyond_their_axes_are_refused)
{
    pq_tensor   *t = random_tensor(PQ_SHAPE(3, 2, 1, 3), 17), *s = moments_of(6, 20, 18);
    pq_tensor   *start   = identity(3);
    const size_t rank[4] = {4, 0, 0, 2};
    pq_tucker    tucker  = {0};
    pq_err       err     = {0};

    cr_expect_eq(pq_tucker_whitened(t, s, rank, &long_run, start, &tucker, &err),
                 PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "ranks 4 and 2 are not in 1..3 and 1..3");
    pq_tensor_free(&t);
    pq_tensor_free(&s);
    pq_tensor_free(&start);
}
