#include "data.h"

#include <string.h>

#include "linalg/tridiagonal.h"

static const double TOL = 1e-13, PI = 3.14159265358979323846;

/* d = 2, e = -1: lambda_k = 2 - 2 cos(k pi / (n + 1)), v_k[i] ~ sin(i k pi / (n + 1)). */
Test(tridiagonal, second_differences_have_sines)
{
    for (size_t n = 1; n < 50; n += n < 20 ? 1 : 13) {
        for (size_t top = 1; top <= n; top += n > 4 ? 3 : 1) {
            double d[64], e[64], values[64],
                *vectors = pq_calloc(top * n, sizeof(double));
            bool sound   = false;

            for (size_t i = 0; i < n; i++) {
                d[i] = 2.0;
                e[i] = -1.0;
            }
            OK(pq_tridiagonal_top(d, e, n, top, values, vectors, &sound, &err));
            cr_assert(sound, "n %zu top %zu", n, top);
            for (size_t k = 0; k < top; k++) {
                const double angle = PI * (double)(n - top + k + 1) / (double)(n + 1);
                double       along = 0.0;
                cr_expect_float_eq(values[k], 2.0 - 2.0 * cos(angle), TOL);
                for (size_t i = 0; i < n; i++) {
                    along += vectors[k * n + i] * sin(angle * (double)(i + 1)) *
                             sqrt(2.0 / (double)(n + 1));
                }
                cr_expect_float_eq(fabs(along), 1.0, TOL);
            }
            pq_free(vectors);
        }
    }
}

/* Whatever is called sound satisfies the equation and is orthonormal. */
static bool check(const double *d, const double *e, size_t n, size_t top)
{
    double *values = pq_calloc(top, sizeof(double)), norm = 0.0;
    double *v     = pq_calloc(top * n, sizeof(double));
    bool    sound = false;

    OK(pq_tridiagonal_top(d, e, n, top, values, v, &sound, &err));
    for (size_t i = 0; i < n; i++) {
        norm = fmax(norm, fabs(d[i]) + 2.0 * fabs(e[i]));
    }
    for (size_t k = 0; sound && k < top; k++) {
        for (size_t i = 0; i < n; i++) {
            const double av = d[i] * v[k * n + i] +
                              (i > 0 ? e[i - 1] * v[k * n + i - 1] : 0.0) +
                              (i + 1 < n ? e[i] * v[k * n + i + 1] : 0.0);
            cr_assert_float_eq(av, values[k] * v[k * n + i], TOL * norm);
        }
        for (size_t q = 0; q <= k; q++) {
            double dot = 0.0;
            for (size_t i = 0; i < n; i++) {
                dot += v[k * n + i] * v[q * n + i];
            }
            cr_assert_float_eq(dot, k == q ? 1.0 : 0.0, TOL);
        }
    }
    pq_free(values);
    pq_free(v);
    return sound;
}

Test(tridiagonal, equal_values_are_told_apart_from_sound_ones)
{
    enum { N = 21 };
    double d[N], e[N] = {0.0};

    for (size_t i = 0; i < N; i++) {
        d[i] = 1.0;
    }
    cr_expect_not(check(d, e, N, 3), "a multiple of the identity");
    for (size_t i = 0; i < N; i++) { /* Wilkinson's: pairs of values equal to rounding */
        d[i] = fabs((double)i - 10.0);
        e[i] = 1.0;
    }
    (void)check(d, e, N, 6);
    (void)check(d, e, N, N);
    for (size_t i = 0; i < N; i++) { /* graded over 200 decades */
        d[i] = pow(10.0, -10.0 * (double)i);
        e[i] = 0.1 * d[i];
    }
    (void)check(d, e, N, N);
    for (uint64_t seed = 0; seed < 20; seed++) {
        pq_rng rng = pq_rng_stream(seed, "test");
        for (size_t i = 0; i < N; i++) {
            d[i] = pq_rng_normal(&rng);
            e[i] = pq_rng_normal(&rng);
        }
        cr_expect(check(d, e, N, 1 + seed), "seed %zu", (size_t)seed);
    }
}

Test(tridiagonal, every_failed_allocation_leaves_nothing_behind)
{
    static const double d[] = {1.0, 2.0, 4.0}, e[] = {0.5, 0.25};
    double              values[2], vectors[6];
    bool                sound;

    SURVIVES(pq_tridiagonal_top(d, e, 3, 2, values, vectors, &sound, NULL), (void)0);
}
