#include "data.h"

#include "linalg/svd.h"
#include "linalg/tucker.h"

static const double TOL_EXACT = 1e-12;

static const pq_tucker_options hosvd = {0, 0.0, NULL}, hooi = {50, 1e-10, NULL};

Test(tucker, mode_product_is_its_definition)
{
    pq_tensor *t = random_tensor(PQ_SHAPE(3, 4, 5), 1), *out = NULL;

    for (size_t axis = 0; axis < 3; axis++) {
        const size_t n    = t->shape.dim[axis];
        pq_tensor   *f    = random_tensor(PQ_SHAPE(n, 2), 9);
        size_t       step = 1;

        for (size_t k = axis + 1; k < 3; k++) {
            step *= t->shape.dim[k];
        }
        OK(pq_mode_product(t, axis, f, true, &out, &err));
        cr_assert_eq(out->shape.dim[axis], 2);
        for (size_t i = 0; i < out->count; i++) {
            const size_t inner = i % step, r = i / step % 2, outer = i / step / 2;
            double       sum = 0.0;
            for (size_t j = 0; j < n; j++) {
                sum += pq_f64(t)[(outer * n + j) * step + inner] * pq_f64(f)[j * 2 + r];
            }
            cr_assert_float_eq(pq_f64(out)[i], sum, TOL_EXACT);
        }
        pq_tensor_free(&out);
        pq_tensor_free(&f);
    }
    pq_tensor_free(&t);
}

Test(tucker, full_ranks_are_exact_and_low_rank_tensors_come_back)
{
    pq_tensor   *t = random_tensor(PQ_SHAPE(4, 5, 3), 2), *low, *full = NULL;
    const size_t whole[] = {4, 5, 3}, two[] = {2, 2, 0};
    pq_tucker    tucker = {0};

    OK(pq_tucker_decompose(t, whole, &hosvd, &tucker, &err));
    cr_expect_lt(tucker.error, TOL_EXACT);
    pq_tucker_free(&tucker);
    low = cp_tensor(PQ_SHAPE(6, 7, 3), 2, 3);
    OK(pq_tucker_decompose(low, two, &hosvd, &tucker, &err));
    cr_expect_lt(tucker.error, 1e-7); /* through Gram matrices */
    cr_expect_null(tucker.factor[2]);
    OK(pq_tucker_full(&tucker, &full, &err));
    cr_expect_float_eq(distance(full, low), tucker.error, TOL_EXACT);
    pq_tensor_free(&full);
    pq_tucker_free(&tucker);
    pq_tensor_free(&low);
    pq_tensor_free(&t);
}

/* HOOI as it is written: every axis from T times all other factors, by Jacobi's SVD. */
static double plain(const pq_tensor *t, const size_t *rank, size_t sweeps)
{
    pq_tensor   *u[4] = {NULL}, *at = NULL, *next = NULL, *flat = NULL;
    const size_t d    = t->shape.ndim;
    double       left = 0.0;

    for (size_t s = 0; s <= sweeps; s++) {
        for (size_t k = 0; k <= d; k++) { /* k = d: the core */
            if (k < d ? rank[k] == 0 : s < sweeps) {
                continue;
            }
            OK(pq_tensor_clone(t, &at, &err));
            for (size_t j = 0; j < d; j++) {
                if (j != k && rank[j] > 0 && s > 0) {
                    OK(pq_mode_product(at, j, u[j], true, &next, &err));
                    pq_tensor_free(&at);
                    at   = next;
                    next = NULL;
                }
            }
            if (k < d) {
                pq_svd       svd = {0};
                const size_t n   = t->shape.dim[k];
                OK(pq_tensor_unfold(at, k, &flat, &err));
                OK(pq_svd_thin_ref(flat, &svd, &err));
                pq_tensor_free(&u[k]);
                OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, rank[k]), &u[k], &err));
                for (size_t i = 0; i < u[k]->count; i++) {
                    pq_f64(u[k])[i] =
                        pq_f64(svd.u)[i / rank[k] * svd.u->shape.dim[1] + i % rank[k]];
                }
                pq_svd_free(&svd);
                pq_tensor_free(&flat);
            } else {
                left = pq_square_norm(at);
            }
            pq_tensor_free(&at);
        }
    }
    for (size_t k = 0; k < d; k++) {
        pq_tensor_free(&u[k]);
    }
    return sqrt(1.0 - left / pq_square_norm(t));
}

Test(tucker, sweeps_are_those_of_the_plain_iteration_whatever_axes_are_whole)
{
    static const size_t shapes[][4] = {{6, 5, 3, 4}, {3, 7, 6, 2}};
    static const size_t ranks[][4]  = {{2, 3, 0, 0}, {0, 2, 3, 0}, {0, 0, 2, 2},
                                       {2, 0, 0, 2}, {2, 0, 2, 1}, {2, 2, 2, 2},
                                       {0, 3, 0, 0}, {0, 2, 2, 2}};

    for (size_t s = 0; s < 2; s++) {
        const size_t *n = shapes[s];
        pq_tensor    *t = random_tensor(PQ_SHAPE(n[0], n[1], n[2], n[3]), 20 + s);
        for (size_t i = 0; i < 8; i++) {
            pq_tensor *full   = NULL;
            pq_tucker  tucker = {0};

            OK(pq_tucker_decompose(t, ranks[i], &(pq_tucker_options){3, -1.0, NULL},
                                   &tucker, &err));
            cr_expect_float_eq(tucker.error, plain(t, ranks[i], 3), 1e-10);
            for (size_t k = 0; k < 4; k++) {
                cr_expect_eq(tucker.factor[k] != NULL, ranks[i][k] > 0);
                cr_expect_eq(tucker.core->shape.dim[k],
                             ranks[i][k] > 0 ? ranks[i][k] : n[k]);
            }
            OK(pq_tucker_full(&tucker, &full, &err));
            cr_expect_float_eq(distance(full, t), tucker.error, TOL_EXACT);
            pq_tensor_free(&full);
            pq_tucker_free(&tucker);
        }
        pq_tensor_free(&t);
    }
}

Test(tucker, without_any_axis_to_decompose_the_core_is_the_tensor)
{
    const size_t none[] = {0, 0};
    pq_tensor   *t      = random_tensor(PQ_SHAPE(3, 4), 1);
    pq_tucker    tucker = {0};

    OK(pq_tucker_decompose(t, none, &hooi, &tucker, &err));
    cr_expect_eq(tucker.sweeps, 0);
    cr_expect_eq(tucker.error, 0.0);
    cr_expect_eq(pq_square_distance(tucker.core, t), 0.0);
    pq_tucker_free(&tucker);
    pq_tensor_free(&t);
}

/* The residual of an orthogonal projection: error^2 = 1 - |core|^2 / |T|^2. */
Test(tucker, iteration_never_makes_it_worse_and_the_error_is_that_of_the_core)
{
    pq_tensor   *t       = random_tensor(PQ_SHAPE(12, 3, 3, 10), 4);
    const size_t ranks[] = {4, 0, 0, 3};
    pq_tucker    a = {0}, b = {0};

    OK(pq_tucker_decompose(t, ranks, &hosvd, &a, &err));
    OK(pq_tucker_decompose(t, ranks, &hooi, &b, &err));
    cr_expect_lt(b.error, a.error);
    cr_expect_gt(b.sweeps, 1);
    cr_expect_float_eq(b.error, sqrt(1.0 - pq_square_norm(b.core) / pq_square_norm(t)),
                       1e-9);
    for (size_t i = 0; i < 4; i++) { /* orthonormal */
        for (size_t j = 0; j < 4; j++) {
            double sum = 0.0;
            for (size_t k = 0; k < 12; k++) {
                sum += pq_f64(b.factor[0])[k * 4 + i] * pq_f64(b.factor[0])[k * 4 + j];
            }
            cr_expect_float_eq(sum, i == j ? 1.0 : 0.0, TOL_EXACT);
        }
    }
    pq_tucker_free(&a);
    pq_tucker_free(&b);
    pq_tensor_free(&t);
}

Test(tucker, bad_input_is_refused_with_its_words)
{
    pq_tensor   *t      = random_tensor(PQ_SHAPE(3, 4), 5);
    const size_t high[] = {3, 5}, good[] = {2, 2};
    pq_tucker    tucker = {0};
    pq_err       err    = {0};

    cr_expect_eq(pq_tucker_decompose(t, high, &hooi, &tucker, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 5 of axis 1 is not in 1..4");
    pq_f64(t)[2] = INFINITY;
    err          = (pq_err){0};
    cr_expect_eq(pq_tucker_decompose(t, good, &hooi, &tucker, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "the tensor holds inf at item 2");
    pq_tensor_free(&t);
}

Test(tucker, every_failed_allocation_leaves_nothing_behind)
{
    pq_tensor   *t       = random_tensor(PQ_SHAPE(3, 4, 5), 6);
    const size_t ranks[] = {2, 2, 2};
    pq_tucker    tucker  = {0};

    SURVIVES(pq_tucker_decompose(t, ranks, &hooi, &tucker, NULL),
             pq_tucker_free(&tucker));
    pq_tensor_free(&t);
}
