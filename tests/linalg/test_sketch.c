#include "data.h"

#include "linalg/svd.h"

static const pq_svd_sketch usual = {10, 2, 1};

Test(sketch, a_matrix_of_low_rank_is_found_exactly)
{
    pq_tensor *w = cp_tensor(PQ_SHAPE(60, 50), 5, 1);
    pq_svd     a = {0}, b = {0};

    OK(pq_svd_randomized(w, 8, &usual, &a, &err));
    OK(pq_svd_thin(w, &b, &err));
    for (size_t i = 0; i < 8; i++) {
        cr_expect_float_eq(pq_f64(a.s)[i], pq_f64(b.s)[i], 1e-10 * pq_f64(b.s)[0]);
    }
    for (size_t i = 0; i < 60; i++) { /* signs too */
        for (size_t r = 0; r < 5; r++) {
            cr_expect_float_eq(pq_f64(a.u)[i * 8 + r], pq_f64(b.u)[i * 50 + r], 1e-9);
        }
    }
    pq_svd_free(&a);
    pq_svd_free(&b);
    pq_tensor_free(&w);
}

/* The bound of Halko et al. for noise is generous; a flat spectrum is its worst case. */
Test(sketch, noise_is_kept_nearly_as_well_as_by_the_exact_svd)
{
    pq_tensor *w = random_tensor(PQ_SHAPE(120, 90), 2);
    pq_svd     a = {0}, b = {0};
    double     kept = 0.0, best = 0.0;

    OK(pq_svd_randomized(w, 20, &usual, &a, &err));
    OK(pq_svd_thin(w, &b, &err));
    for (size_t i = 0; i < 20; i++) {
        kept += pq_f64(a.s)[i] * pq_f64(a.s)[i];
        best += pq_f64(b.s)[i] * pq_f64(b.s)[i];
    }
    cr_expect_gt(kept, 0.97 * best);
    cr_expect_leq(kept, best * (1 + 1e-12));
    pq_svd_free(&a);
    pq_svd_free(&b);
    pq_tensor_free(&w);
}

Test(sketch, full_rank_is_the_svd_and_ranks_beyond_are_refused)
{
    pq_tensor *w = random_tensor(PQ_SHAPE(9, 7), 3);
    pq_svd     a = {0}, b = {0};
    pq_err     err = {0};

    OK(pq_svd_randomized(w, 7, &usual, &a, &err));
    OK(pq_svd_thin(w, &b, &err));
    for (size_t i = 0; i < 63; i++) {
        cr_expect_float_eq(pq_f64(a.u)[i], pq_f64(b.u)[i], 1e-10);
    }
    pq_svd_free(&a);
    pq_svd_free(&b);
    cr_expect_eq(pq_svd_randomized(w, 8, &usual, &a, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 8 is not in 1..7 for a [9, 7] matrix");
    SURVIVES(pq_svd_randomized(w, 3, &usual, &a, NULL), pq_svd_free(&a));
    pq_tensor_free(&w);
}
