#include "data.h"

#include "linalg/cp.h"
#include "linalg/cp_step.h"

Test(cp, full_is_the_sum_of_outer_products)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(4, 3, 5), 1), *full = NULL;
    pq_cp      cp = {0};

    OK(pq_cp_als(t, 3, &pq_cp_defaults, &cp, &err));
    OK(pq_cp_full(&cp, &full, &err));
    for (size_t i = 0; i < t->count; i++) {
        double sum = 0.0;
        for (size_t r = 0; r < 3; r++) {
            sum += pq_f64(cp.factor[0])[i / 15 * 3 + r] *
                   pq_f64(cp.factor[1])[i / 5 % 3 * 3 + r] *
                   pq_f64(cp.factor[2])[i % 5 * 3 + r];
        }
        cr_assert_float_eq(pq_f64(full)[i], sum, 1e-12);
    }
    cr_expect_float_eq(distance(full, t), cp.error, 1e-12);
    pq_tensor_free(&full);
    pq_cp_free(&cp);
    pq_tensor_free(&t);
}

/* sum over all items of an axis' slice of T times the other factors' entries. */
static void check_projection(const pq_cp_als_state *a, size_t axis)
{
    const size_t R = a->rank, d = a->t->shape.ndim;
    pq_tensor   *due = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F64, a->rhs[axis]->shape, &due, &err));
    for (size_t i = 0; i < a->t->count; i++) {
        for (size_t r = 0; r < R; r++) {
            double x    = pq_f64(a->t)[i];
            size_t rest = i, row = 0;
            for (size_t k = d; k-- > 0; rest /= a->t->shape.dim[k]) {
                const size_t at = rest % a->t->shape.dim[k];
                x *= k != axis ? pq_f64(a->cp.factor[k])[at * R + r] : 1.0;
                row = k == axis ? at : row;
            }
            pq_f64(due)[row * R + r] += x;
        }
    }
    for (size_t i = 0; i < due->count; i++) {
        cr_assert_float_eq(pq_f64(a->rhs[axis])[i], pq_f64(due)[i], 1e-11);
    }
    pq_tensor_free(&due);
}

static const pq_shape shapes[] = {
    {.ndim = 2, .dim = {5, 3}},          {.ndim = 3, .dim = {4, 1, 3}},
    {.ndim = 3, .dim = {6, 6, 3}},       {.ndim = 3, .dim = {2, 3, 7}},
    {.ndim = 4, .dim = {3, 3, 3, 3}},    {.ndim = 4, .dim = {8, 2, 2, 1}},
    {.ndim = 5, .dim = {2, 3, 2, 3, 2}}, {.ndim = 6, .dim = {2, 1, 3, 2, 1, 3}},
};

Test(cp, projections_and_solutions_are_their_definitions_after_any_change)
{
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        pq_tensor      *t       = random_tensor(shapes[s], 30 + s);
        pq_rng          rng     = pq_rng_stream(s, "test");
        pq_cp_options   options = pq_cp_defaults;
        pq_cp_als_state a       = {.t = t, .options = &options, .rank = 1 + s % 3};

        options.ridge = 0.0;
        OK(pq_cp_step_prepare(&a, &err));
        for (size_t k = 0; k < t->shape.ndim; k++) {
            for (size_t i = 0; i < a.cp.factor[k]->count; i++) {
                pq_f64(a.cp.factor[k])[i] = pq_rng_normal(&rng);
            }
            OK(pq_cp_update_gram(&a, k, &err));
        }
        for (size_t turn = 0; turn < 30; turn++) {
            const size_t axis = pq_rng_below(&rng, (uint32_t)t->shape.ndim), R = a.rank;
            OK(pq_cp_project(&a, axis, &err));
            check_projection(&a, axis);
            pq_cp_multiply_grams(&a, axis);
            OK(pq_cp_solve(&a, axis, &err));
            for (size_t i = 0; i < a.rhs[axis]->count; i++) { /* factor normal = rhs */
                double sum = -pq_f64(a.rhs[axis])[i], size = fabs(sum);
                for (size_t r = 0; r < R; r++) {
                    const double x = pq_f64(a.cp.factor[axis])[i / R * R + r] *
                                     pq_f64(a.normal)[r * R + i % R];
                    sum += x;
                    size += fabs(x);
                }
                cr_assert_leq(fabs(sum), 1e-10 * size);
            }
            if (turn % 3 != 0) {
                pq_cp_normalise(&a, axis);
            }
            OK(pq_cp_update_gram(&a, axis, &err));
        }
        pq_cp_step_free(&a);
        pq_tensor_free(&t);
    }
}

Test(cp, axes_go_half_by_half_from_small_to_large)
{
    static const size_t splits[]    = {1, 1, 1, 2, 2, 1, 2, 3};
    static const size_t orders[][6] = {{1, 0},          {1, 2, 0},         {2, 1, 0},
                                       {0, 1, 2},       {0, 1, 2, 3},      {3, 1, 2, 0},
                                       {0, 1, 2, 4, 3}, {1, 0, 2, 4, 3, 5}};

    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        pq_tensor       view = {.shape = shapes[s]};
        pq_cp_als_state a    = {.t = &view, .split = pq_cp_split(&shapes[s])};
        size_t          order[PQ_MAX_DIMS];

        cr_expect_eq(a.split, splits[s], "shape %zu: %zu", s, a.split);
        pq_cp_order(&a, order);
        for (size_t k = 0; k < shapes[s].ndim; k++) {
            cr_expect_eq(order[k], orders[s][k], "shape %zu, turn %zu: %zu", s, k,
                         order[k]);
        }
    }
}

/* TensorLy's own test: 6 x 8 x 7 of rank 3, fitted with 4 terms. */
Test(cp, a_tensor_of_known_rank_comes_back)
{
    pq_cp_options options = pq_cp_defaults;
    pq_tensor    *t       = cp_tensor(PQ_SHAPE(6, 8, 7), 3, 2);
    pq_cp         cp      = {0};

    options.max_sweeps = 2000;
    options.tolerance  = 1e-10;
    OK(pq_cp_als(t, 3, &options, &cp, &err));
    cr_expect_lt(cp.error, 1e-6);
    pq_cp_free(&cp);
    OK(pq_cp_als(t, 4, &options, &cp, &err));
    cr_expect_lt(cp.error, 1e-3);
    pq_cp_free(&cp);
    pq_tensor_free(&t);
}

Test(cp, two_axes_of_full_rank_are_exact_and_errors_fall_with_the_rank)
{
    pq_tensor *t    = random_tensor(PQ_SHAPE(5, 2, 3, 4), 3);
    double     last = 1.0;

    for (size_t rank = 1; rank <= 16; rank += 5) {
        pq_cp cp = {0};
        OK(pq_cp_als(t, rank, &pq_cp_defaults, &cp, &err));
        cr_expect_lt(cp.error, last);
        last = cp.error;
        pq_cp_free(&cp);
    }
    pq_tensor_free(&t);
}

/* a o a o b + a o b o a + b o a o a has no best approximation of rank 2: the terms grow
 * without end. Corrected, they shrink while the error stays as it is. */
Test(cp, degeneracy_is_seen_and_corrected)
{
    pq_cp_options options = pq_cp_defaults;
    pq_tensor    *t       = NULL;
    pq_cp         wild = {0}, tame = {0};

    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(2, 2, 2), &t, &err));
    pq_f64(t)[1] = pq_f64(t)[2] = pq_f64(t)[4] = 1.0;
    options.starts                             = 4;
    options.max_sweeps                         = 2000;
    options.tolerance                          = 1e-9;
    options.ridge                              = 0.0;
    options.swell                              = INFINITY;
    OK(pq_cp_als(t, 2, &options, &wild, &err));
    cr_expect_gt(wild.swell, 20.0);
    cr_expect_not(wild.corrected);
    options.swell = 0.0; /* every start is corrected: the same error with smaller terms */
    OK(pq_cp_als(t, 2, &options, &tame, &err));
    cr_expect(tame.corrected);
    cr_expect_lt(tame.swell, wild.swell);
    cr_expect_lt(tame.error, wild.error * 1.01 + 1e-6);
    pq_cp_free(&wild);
    options.swell = 10.0; /* tame starts go before degenerate ones */
    OK(pq_cp_als(t, 2, &options, &wild, &err));
    cr_expect_lt(wild.swell, 10.0);
    pq_cp_free(&wild);
    pq_cp_free(&tame);
    pq_tensor_free(&t);
}

/* More terms than the tensor needs: the normal equations are singular. */
Test(cp, more_terms_than_items_give_finite_factors)
{
    pq_cp_options options = pq_cp_defaults;
    pq_tensor    *t       = cp_tensor(PQ_SHAPE(3, 3, 3), 1, 4);
    pq_cp         cp      = {0};

    options.ridge = 0.0;
    OK(pq_cp_als(t, 20, &options, &cp, &err));
    cr_expect_lt(cp.error, 1e-6);
    for (size_t k = 0; k < 3; k++) {
        cr_expect_eq(pq_tensor_first_nonfinite(cp.factor[k]), SIZE_MAX);
    }
    pq_cp_free(&cp);
    pq_tensor_free(&t);
}

Test(cp, same_seed_gives_the_same_factors)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(4, 5, 3), 5);
    pq_cp      a = {0}, b = {0};

    OK(pq_cp_als(t, 4, &pq_cp_defaults, &a, &err));
    OK(pq_cp_als(t, 4, &pq_cp_defaults, &b, &err));
    for (size_t k = 0; k < 3; k++) {
        cr_expect_arr_eq(a.factor[k]->data, b.factor[k]->data,
                         a.factor[k]->count * sizeof(double));
    }
    pq_cp_free(&a);
    pq_cp_free(&b);
    pq_tensor_free(&t);
}

Test(cp, a_tensor_of_zeros_is_a_sum_of_zeros)
{
    pq_tensor *t    = random_tensor(PQ_SHAPE(3, 4, 2), 6);
    pq_tensor *full = NULL;
    pq_cp      cp   = {0};

    memset(t->data, 0, t->count * sizeof(double));
    cr_assert_eq(pq_cp_als(t, 2, &pq_cp_defaults, &cp, NULL), PQ_OK);
    cr_expect_eq(cp.error, 0.0);
    cr_assert_eq(pq_cp_full(&cp, &full, NULL), PQ_OK);
    for (size_t i = 0; i < full->count; i++) {
        cr_expect_eq(pq_f64(full)[i], 0.0);
    }
    pq_cp_free(&cp);
    pq_tensor_free(&full);
    pq_tensor_free(&t);
}

Test(cp, bad_input_is_refused_with_its_words)
{
    pq_tensor *t   = random_tensor(PQ_SHAPE(3, 4, 2), 6);
    pq_cp      cp  = {0};
    pq_err     err = {0};

    cr_expect_eq(pq_cp_als(t, 0, &pq_cp_defaults, &cp, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 0 is not in 1..2147483647");
    pq_f64(t)[5] = NAN;
    err          = (pq_err){0};
    cr_expect_eq(pq_cp_als(t, 2, &pq_cp_defaults, &cp, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "the tensor holds nan at item 5");
    cr_expect_eq(cp.d, 0);
    pq_tensor_free(&t);
}

/* Values whose squares overflow: no start comes to finite factors. */
Test(cp, that_every_start_diverged_is_said)
{
    pq_tensor *t   = random_tensor(PQ_SHAPE(3, 4, 2), 6);
    pq_cp      cp  = {0};
    pq_err     err = {0};

    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] *= 1e200;
    }
    cr_expect_eq(pq_cp_als(t, 2, &pq_cp_defaults, &cp, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "CP of rank 2 diverged from all 5 starts");
    cr_expect_eq(cp.d, 0);
    pq_tensor_free(&t);
}

Test(cp, every_failed_allocation_leaves_nothing_behind)
{
    pq_cp_options options = pq_cp_defaults;
    pq_tensor    *t       = random_tensor(PQ_SHAPE(3, 2, 2), 7);
    pq_cp         cp      = {0};

    options.starts     = 2;
    options.max_sweeps = 2;
    options.swell      = 0.0;
    SURVIVES(pq_cp_als(t, 2, &options, &cp, NULL), pq_cp_free(&cp));
    pq_tensor_free(&t);
}
