#include "data.h"

#include "linalg/tt.h"

static const double TOL_EXACT = 1e-12;

/* One item of a train or ring by its definition: the trace of a product of matrices. */
static double item_of(const pq_tt *t, const size_t *index)
{
    double trace = 0.0;

    for (size_t a = 0; a < t->rank[0]; a++) {
        double row[64] = {0}, next[64];
        row[a]         = 1.0;
        for (size_t k = 0; k < t->d; k++) {
            const size_t r = t->rank[k], s = t->rank[k + 1], n = t->core[k]->shape.dim[1];
            for (size_t j = 0; j < s; j++) {
                next[j] = 0.0;
                for (size_t i = 0; i < r; i++) {
                    next[j] += row[i] * pq_f64(t->core[k])[(i * n + index[k]) * s + j];
                }
            }
            memcpy(row, next, sizeof row);
        }
        trace += row[a];
    }
    return trace;
}

Test(tt, full_is_the_product_of_the_cores_item_by_item)
{
    pq_tensor   *t = random_tensor(PQ_SHAPE(3, 4, 5, 2), 1), *full = NULL;
    const size_t ranks[] = {2, 6, 2};
    pq_tt        tt = {0}, ring = {0};
    double       error;

    OK(pq_tt_svd(t, 0.0, ranks, &tt, &err));
    OK(pq_ring_svd(t, 3, &ring, &error, &err));
    for (int which = 0; which < 2; which++) {
        const pq_tt *x = which == 0 ? &tt : &ring;
        OK(pq_tt_full(x, &full, &err));
        for (size_t i = 0; i < t->count; i++) {
            const size_t index[] = {i / 40, i / 10 % 4, i / 2 % 5, i % 2};
            cr_assert_float_eq(pq_f64(full)[i], item_of(x, index), TOL_EXACT);
        }
        pq_tensor_free(&full);
    }
    pq_tt_free(&tt);
    pq_tt_free(&ring);
    pq_tensor_free(&t);
}

Test(tt, known_ranks_are_found_and_the_tensor_comes_back)
{
    pq_tensor *t = cp_tensor(PQ_SHAPE(3, 4, 5, 6, 2, 4), 2, 2), *full = NULL;
    pq_tt      tt = {0};

    OK(pq_tt_svd(t, 1e-10, NULL, &tt, &err));
    for (size_t k = 1; k < 6; k++) {
        cr_expect_eq(tt.rank[k], 2, "rank %zu is %zu", k, tt.rank[k]);
    }
    OK(pq_tt_full(&tt, &full, &err));
    cr_expect_lt(distance(full, t), TOL_EXACT);
    cr_expect_eq(pq_tt_parameters(&tt), 2 * 3 + 4 * (4 + 5 + 6 + 2) + 2 * 4);
    pq_tt_free(&tt);
    pq_tensor_free(&full);
    pq_tensor_free(&t);
}

/* Noise of every size, so that each epsilon has something to drop. */
Test(tt, epsilon_holds_and_ranks_fall_with_it)
{
    static const double epsilons[] = {0.9, 0.5, 0.2, 0.05, 1e-3, 1e-6, 1e-10};
    pq_tensor          *t = random_tensor(PQ_SHAPE(6, 5, 7, 4), 3), *full = NULL;
    size_t              before = 0;

    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] *= exp(-0.05 * (double)(i % 140) - 0.3 * (double)(i / 140));
    }
    for (size_t e = 0; e < sizeof epsilons / sizeof epsilons[0]; e++) {
        pq_tt tt = {0}, rounded = {0};
        OK(pq_tt_svd(t, epsilons[e], NULL, &tt, &err));
        OK(pq_tt_full(&tt, &full, &err));
        cr_expect_leq(distance(full, t), epsilons[e] * (1 + 1e-9));
        cr_expect_geq(pq_tt_parameters(&tt), before);
        before = pq_tt_parameters(&tt);
        pq_tensor_free(&full);
        pq_tt_free(&tt);

        OK(pq_tt_svd(t, 0.0, NULL, &tt, &err));
        OK(pq_tt_round(&tt, epsilons[e], NULL, &rounded, &err));
        OK(pq_tt_full(&rounded, &full, &err));
        cr_expect_leq(distance(full, t), epsilons[e] * (1 + 1e-9));
        cr_expect_leq(pq_tt_parameters(&rounded), pq_tt_parameters(&tt));
        pq_tensor_free(&full);
        pq_tt_free(&rounded);
        pq_tt_free(&tt);
    }
    pq_tensor_free(&t);
}

Test(tt, two_axes_are_the_truncated_svd)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(9, 20), 4), *full = NULL;
    pq_svd     svd = {0};

    OK(pq_svd_thin_ref(t, &svd, &err));
    for (size_t r = 1; r <= 9; r++) {
        pq_tt tt = {0};
        OK(pq_tt_svd(t, 0.0, &r, &tt, &err));
        OK(pq_tt_full(&tt, &full, &err));
        cr_expect_float_eq(sqrt(pq_square_distance(full, t)), pq_svd_tail(&svd, r),
                           TOL_EXACT * pq_svd_tail(&svd, 0));
        pq_tensor_free(&full);
        pq_tt_free(&tt);
    }
    pq_svd_free(&svd);
    pq_tensor_free(&t);
}

/* t3f's example: 2x1x4x3x3 of ranks up to 15 rounds to (1, 2, 2, 8, 3, 1). */
Test(tt, rounding_takes_needless_ranks_away)
{
    const size_t n[] = {2, 1, 4, 3, 3}, due[] = {1, 2, 2, 8, 3, 1};
    pq_tt        tt = {.d = 5, .rank = {1, 15, 15, 15, 15, 1}}, rounded = {0};
    pq_tensor   *a = NULL, *b = NULL;

    for (size_t k = 0; k < 5; k++) {
        tt.core[k] = random_tensor(PQ_SHAPE(tt.rank[k], n[k], tt.rank[k + 1]), 10 + k);
    }
    OK(pq_tt_round(&tt, 0.0, NULL, &rounded, &err));
    for (size_t k = 0; k <= 5; k++) {
        cr_expect_eq(rounded.rank[k], due[k], "rank %zu is %zu", k, rounded.rank[k]);
    }
    OK(pq_tt_full(&tt, &a, &err));
    OK(pq_tt_full(&rounded, &b, &err));
    cr_expect_lt(distance(b, a), TOL_EXACT);
    pq_tensor_free(&a);
    pq_tensor_free(&b);
    pq_tt_free(&tt);
    pq_tt_free(&rounded);
}

Test(tt, a_ring_of_full_rank_is_exact_and_its_error_is_told_true)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(4, 5, 4), 5), *full = NULL;
    double     last = 1.0;

    for (size_t rank = 1; rank <= 20; rank++) {
        pq_tt  ring = {0};
        double error;
        OK(pq_ring_svd(t, rank, &ring, &error, &err));
        OK(pq_tt_full(&ring, &full, &err));
        cr_expect_eq(ring.rank[0], ring.rank[3]);
        cr_expect_float_eq(distance(full, t), error, 1e-10);
        last = error;
        pq_tensor_free(&full);
        pq_tt_free(&ring);
    }
    cr_expect_lt(last, 1e-7);
    pq_tensor_free(&t);
}

/* Sums of few products of vectors have fewer singular values than a ring asks for. */
Test(tt, a_ring_of_a_tensor_of_low_rank_is_exact)
{
    static const pq_shape shapes[] = {PQ_SHAPE(6, 3), PQ_SHAPE(3, 9), PQ_SHAPE(9, 10, 2),
                                      PQ_SHAPE(8, 9, 7, 2), PQ_SHAPE(2, 2)};

    for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
        for (size_t products = 0; products <= 7; products++) {
            pq_tensor *t = NULL, *full = NULL;
            OK(pq_tensor_create(PQ_DTYPE_F64, shapes[c], &t, &err));
            for (size_t p = 0; p < products; p++) {
                for (size_t i = 0; i < t->count; i++) {
                    double x  = 1.0;
                    size_t at = i;
                    for (size_t k = shapes[c].ndim; k-- > 0; at /= shapes[c].dim[k]) {
                        x *= cos((double)((p + 1) * (at % shapes[c].dim[k] + k)));
                    }
                    pq_f64(t)[i] += x;
                }
            }
            for (size_t rank = 1; rank <= 8; rank++) {
                pq_tt  ring = {0};
                double error;
                OK(pq_ring_svd(t, rank, &ring, &error, &err));
                OK(pq_tt_full(&ring, &full, &err));
                for (size_t k = 0; k < ring.d; k++) {
                    cr_expect_leq(ring.rank[k], rank);
                }
                cr_expect_float_eq(products > 0 ? distance(full, t) : 0.0, error, 1e-10);
                cr_expect(products > 1 || error < 1e-7, "%zu, %zu products, rank %zu: %g",
                          c, products, rank, error);
                pq_tensor_free(&full);
                pq_tt_free(&ring);
            }
            pq_tensor_free(&t);
        }
    }
}

Test(tt, epsilon_holds_where_squares_leave_the_range)
{
    static const double scales[] = {1e-170, 1e170}, epsilons[] = {0.0, 0.3};

    for (size_t i = 0; i < 4; i++) {
        const double scale = scales[i % 2], epsilon = epsilons[i / 2];
        pq_tensor   *t = random_tensor(PQ_SHAPE(3, 4, 5), 8), *full = NULL;
        pq_tt        tt   = {0};
        double       lost = 0.0;

        for (size_t j = 0; j < t->count; j++) {
            pq_f64(t)[j] *= scale;
        }
        OK(pq_tt_svd(t, epsilon, NULL, &tt, &err));
        OK(pq_tt_full(&tt, &full, &err));
        for (size_t j = 0; j < t->count; j++) {
            lost = hypot(lost, pq_f64(full)[j] - pq_f64(t)[j]);
        }
        cr_expect_leq(lost, (epsilon + TOL_EXACT) * pq_norm(t));
        cr_expect_eq(lost > 1e-3 * pq_norm(t), epsilon > 0.0);
        pq_tt_free(&tt);
        pq_tensor_free(&full);
        pq_tensor_free(&t);
    }
}

Test(tt, a_single_axis_is_its_own_core)
{
    pq_tensor *t  = random_tensor(PQ_SHAPE(5), 1);
    pq_tt      tt = {0};

    OK(pq_tt_svd(t, 0.1, NULL, &tt, &err));
    cr_expect_eq(tt.d, 1);
    cr_expect(tt.core[0]->data != t->data);
    cr_expect_eq(pq_square_distance(tt.core[0], t), 0.0);
    pq_tt_free(&tt);
    pq_tensor_free(&t);
}

Test(tt, zeros_give_rank_one_and_no_nan)
{
    pq_tensor *t = NULL, *full = NULL;
    pq_tt      tt = {0};

    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3, 4, 5), &t, &err));
    OK(pq_tt_svd(t, 0.1, NULL, &tt, &err));
    OK(pq_tt_full(&tt, &full, &err));
    cr_expect_eq(tt.rank[1], 1);
    cr_expect_eq(pq_square_norm(full), 0.0);
    pq_tt_free(&tt);
    pq_tensor_free(&full);
    pq_tensor_free(&t);
}

Test(tt, bad_input_is_refused_with_its_words)
{
    pq_tensor   *t      = random_tensor(PQ_SHAPE(3, 4, 5), 6);
    const size_t none[] = {2, 0};
    pq_tt        tt     = {0};
    double       error;
    pq_err       err = {0};

    cr_expect_eq(pq_tt_svd(t, 0.0, none, &tt, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 0 between cores 2 and 3");
    err = (pq_err){0};
    cr_expect_eq(pq_tt_svd(t, -0.5, NULL, &tt, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "epsilon -0.5 is not 0 or more");
    err = (pq_err){0};
    cr_expect_eq(pq_ring_svd(t, 0, &tt, &error, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 0 is below 1");
    pq_f64(t)[7] = NAN;
    err          = (pq_err){0};
    cr_expect_eq(pq_tt_svd(t, 0.0, NULL, &tt, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "the tensor holds nan at item 7");
    cr_expect_eq(tt.d, 0);
    pq_tensor_free(&t);
}

Test(tt, every_failed_allocation_leaves_nothing_behind)
{
    pq_tensor *t  = random_tensor(PQ_SHAPE(3, 4, 5), 7);
    pq_tt      tt = {0}, rounded = {0};
    double     error;

    SURVIVES(pq_tt_svd(t, 0.1, NULL, &tt, NULL), pq_tt_free(&tt));
    SURVIVES(pq_ring_svd(t, 3, &tt, &error, NULL), pq_tt_free(&tt));
    OK(pq_tt_svd(t, 0.0, NULL, &tt, &err));
    SURVIVES(pq_tt_round(&tt, 0.3, NULL, &rounded, NULL), pq_tt_free(&rounded));
    pq_tt_free(&tt);
    pq_tensor_free(&t);
}

/* Of a train that nothing was cut off, the values at each cut are the unfolding's. */
Test(tt, cuts_have_the_singular_values_of_the_unfoldings)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(3, 4, 5, 2), 17), *values[3] = {NULL};
    pq_tt      tt[2] = {{0}, {0}};
    size_t     left;

    OK(pq_tt_svd(t, 0.0, NULL, &tt[0], &err));
    OK(pq_tt_round(&tt[0], 0.0, NULL, &tt[1], &err));
    for (size_t i = 0; i < 2; i++) {
        OK(pq_tt_cuts(&tt[i], values, &err));
        left = 1;
        for (size_t k = 0; k < 3; k++) {
            const size_t n[] = {3, 4, 5};
            pq_svd       svd = {0};
            left *= n[k];
            OK(pq_tensor_reshape(t, PQ_SHAPE(left, 120 / left), &err));
            OK(pq_svd_thin(t, &svd, &err));
            cr_assert_eq(values[k]->count, svd.s->count);
            for (size_t j = 0; j < svd.s->count; j++) {
                cr_expect_float_eq(pq_f64(values[k])[j], pq_f64(svd.s)[j], 1e-12);
            }
            pq_svd_free(&svd);
            pq_tensor_free(&values[k]);
        }
        pq_tt_free(&tt[i]);
    }
    pq_tensor_free(&t);
}
