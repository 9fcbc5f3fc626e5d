#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "linalg/eigh.h"

static const double TOL = 1e-12; /* relative to the largest eigenvalue */

static pq_tensor *random_symmetric(size_t n, uint64_t seed)
{
    pq_rng     rng = pq_rng_stream(seed, "test");
    pq_tensor *t   = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &t, NULL), PQ_OK);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            pq_f64(t)[i * n + j] = pq_f64(t)[j * n + i] = pq_rng_normal(&rng);
        }
    }
    return t;
}

Test(eigh, known_two_by_two)
{
    static const double a[] = {2.0, 1.0, 1.0, 2.0};
    pq_tensor          *t = NULL, *values = NULL, *vectors = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(2, 2), &t, NULL), PQ_OK);
    memcpy(t->data, a, sizeof a);
    cr_assert_eq(pq_eigh(t, &values, &vectors, NULL), PQ_OK);
    cr_expect_float_eq(pq_f64(values)[0], 3.0, 1e-14);
    cr_expect_float_eq(pq_f64(values)[1], 1.0, 1e-14);
    cr_expect_float_eq(pq_f64(vectors)[0], sqrt(0.5), 1e-14);
    cr_expect_float_eq(pq_f64(vectors)[1], sqrt(0.5), 1e-14);
    pq_tensor_free(&t);
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
}

Test(eigh, vectors_satisfy_the_equation_in_descending_order)
{
    for (size_t n = 1; n < 40; n += 6) {
        pq_tensor *a = random_symmetric(n, n), *values = NULL, *vectors = NULL;

        cr_assert_eq(pq_eigh(a, &values, &vectors, NULL), PQ_OK);
        for (size_t i = 0; i < n; i++) {
            const double *v = pq_f64(vectors) + i * n, lambda = pq_f64(values)[i];
            double        norm = 0.0;
            for (size_t r = 0; r < n; r++) {
                double sum = 0.0;
                for (size_t c = 0; c < n; c++) {
                    sum += pq_f64(a)[r * n + c] * v[c];
                }
                cr_expect_float_eq(sum, lambda * v[r], TOL * (double)n);
                norm += v[r] * v[r];
            }
            cr_expect_float_eq(norm, 1.0, TOL);
            cr_expect(i == 0 || pq_f64(values)[i - 1] >= lambda);
        }
        pq_tensor_free(&a);
        pq_tensor_free(&values);
        pq_tensor_free(&vectors);
    }
}

Test(eigh, refuses_what_is_not_symmetric)
{
    pq_tensor *a = random_symmetric(3, 1), *values = NULL, *vectors = NULL;
    pq_err     err = {0};

    pq_f64(a)[1] = 1.0;
    pq_f64(a)[3] = 2.0;
    cr_expect_eq(pq_eigh(a, &values, &vectors, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(
        err.message,
        "eigenproblem: the matrix is not symmetric: 1 at [0, 1] but 2 across");
    pq_tensor_free(&a);
}

Test(eigh, survives_every_failed_allocation)
{
    pq_tensor *a  = random_symmetric(5, 1);
    pq_status  st = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live   = pq_memory_live();
        pq_tensor   *values = NULL, *vectors = NULL;

        pq_memory_fail_after(n);
        st = pq_eigh(a, &values, &vectors, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_tensor_free(&values);
        pq_tensor_free(&vectors);
        cr_assert_eq(pq_memory_live(), live);
    }
    pq_tensor_free(&a);
}

Test(eigh, leading_ones_alone_are_those_of_the_whole)
{
    enum { N = 12, TOP = 3 };
    pq_tensor *a = NULL, *values = NULL, *vectors = NULL, *few = NULL, *rows = NULL;
    pq_err     err = {0};

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(N, N), &a, &err), PQ_OK);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            pq_f64(a)[i * N + j] = 1.0 / (double)(i + j + 1) + (i == j ? (double)i : 0.0);
        }
    }
    cr_assert_eq(pq_eigh(a, &values, &vectors, &err), PQ_OK);
    cr_assert_eq(pq_eigh_top(a, TOP, &few, &rows, &err), PQ_OK, "%s", err.message);
    for (size_t i = 0; i < TOP; i++) {
        cr_expect_float_eq(pq_f64(few)[i], pq_f64(values)[i], 1e-12);
        for (size_t j = 0; j < N; j++) {
            cr_expect_float_eq(pq_f64(rows)[i * N + j], pq_f64(vectors)[i * N + j],
                               1e-10);
        }
    }
    pq_tensor_free(&few);
    pq_tensor_free(&rows);
    cr_expect_eq(pq_eigh_top(a, N + 1, &few, &rows, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "13 eigenvalues are not in 1..12");
    pq_tensor_free(&a);
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
}

static pq_tensor *copy_scaled(const pq_tensor *a, double scale)
{
    pq_tensor *t = NULL;

    cr_assert_eq(pq_tensor_clone(a, &t, NULL), PQ_OK);
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] *= scale;
    }
    return t;
}

/* Equal eigenvalues and sizes whose squares leave the range take the way round. */
Test(eigh, leading_ones_agree_with_the_whole_at_any_size_and_scale)
{
    static const double scales[] = {1.0, 1e-200, 1e200};

    for (size_t n = 1; n < 80; n = n * 2 + 1) {
        for (size_t kind = 0; kind < 3; kind++) {
            pq_tensor *random = random_symmetric(n, n);
            for (size_t i = 0; i < n * n && kind > 0; i++) { /* identity; two blocks */
                pq_f64(random)[i] = kind == 1 ? (i / n == i % n ? 1.0 : 0.0)
                                              : (i / n % 2 == i % n % 2 ? 1.0 : 0.0);
            }
            for (size_t s = 0; s < 3; s++) {
                const size_t top = n / 2 + 1;
                pq_tensor   *a   = copy_scaled(random, scales[s]);
                pq_tensor   *all = NULL, *vectors = NULL, *some = NULL, *rows = NULL;

                cr_assert_eq(pq_eigh(a, &all, &vectors, NULL), PQ_OK);
                cr_assert_eq(pq_eigh_top(a, top, &some, &rows, NULL), PQ_OK);
                for (size_t i = 0; i < top; i++) {
                    const double *v = pq_f64(rows) + i * n, scale = (double)n * scales[s];
                    cr_assert_float_eq(pq_f64(some)[i], pq_f64(all)[i], TOL * scale);
                    for (size_t r = 0; r < n; r++) {
                        double sum = 0.0;
                        for (size_t c = 0; c < n; c++) {
                            sum += pq_f64(a)[r * n + c] * v[c];
                        }
                        cr_assert_float_eq(sum, pq_f64(some)[i] * v[r], TOL * scale);
                    }
                    for (size_t q = 0; q <= i; q++) {
                        double dot = 0.0;
                        for (size_t c = 0; c < n; c++) {
                            dot += v[c] * pq_f64(rows)[q * n + c];
                        }
                        cr_assert_float_eq(dot, q == i ? 1.0 : 0.0, TOL);
                    }
                }
                pq_tensor_free(&a);
                pq_tensor_free(&all);
                pq_tensor_free(&vectors);
                pq_tensor_free(&some);
                pq_tensor_free(&rows);
            }
            pq_tensor_free(&random);
        }
    }
}

Test(eigh, leading_ones_survive_every_failed_allocation)
{
    for (size_t kind = 0; kind < 2; kind++) {
        pq_tensor *a  = random_symmetric(5, 1);
        pq_status  st = PQ_ERR_NOMEM;

        for (size_t i = 0; i < 25 && kind == 1; i++) {
            pq_f64(a)[i] = i / 5 == i % 5 ? 1.0 : 0.0;
        }
        for (size_t n = 0; st != PQ_OK; n++) {
            const size_t live   = pq_memory_live();
            pq_tensor   *values = NULL, *vectors = NULL;

            pq_memory_fail_after(n);
            st = pq_eigh_top(a, 2, &values, &vectors, NULL);
            pq_memory_fail_after(SIZE_MAX);
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
            pq_tensor_free(&values);
            pq_tensor_free(&vectors);
            cr_assert_eq(pq_memory_live(), live);
        }
        pq_tensor_free(&a);
    }
}
