#include <criterion/criterion.h>
#include <math.h>

#include "core/rng.h"
#include "metrics/steps.h"

/* Levels that change at given places, with noise. */
typedef struct {
    const char *what;
    size_t      n, at[3], steps; /* steps due */
    double      level[4], noise;
    size_t      outlier; /* night of a value far off, 0 = none */
} row;

static const row rows[] = {
    {"a constant series", 30, {30, 30, 30}, 0, {1, 0, 0, 0}, 0.0, 0},
    {"noise alone", 50, {50, 50, 50}, 0, {1, 0, 0, 0}, 0.03, 0},
    {"one night far off", 50, {50, 50, 50}, 0, {1, 0, 0, 0}, 0.01, 20},
    {"a step without noise", 20, {12, 20, 20}, 1, {0.75, 0.74, 0, 0}, 0.0, 0},
    {"a step of 10 % in noise of 2 %", 60, {40, 60, 60}, 1, {1, 1.1, 0, 0}, 0.02, 0},
    {"a step three nights before the end", 40, {37, 40, 40}, 1, {1, 1.3, 0, 0}, 0.02, 0},
    {"up and down again", 90, {30, 60, 90}, 2, {1, 1.2, 1, 0}, 0.02, 0},
    {"too few nights to tell", 5, {2, 5, 5}, 0, {1, 2, 0, 0}, 0.0, 0},
};

static void fill(const row *r, double *y)
{
    pq_rng rng = pq_rng_stream(20261129, r->what);

    for (size_t i = 0; i < r->n; i++) {
        const size_t k = (i >= r->at[0]) + (i >= r->at[1]) + (i >= r->at[2]);
        y[i]           = r->level[k] + r->noise * pq_rng_normal(&rng) +
               (r->outlier != 0 && i == r->outlier ? 0.5 : 0.0);
    }
}

Test(steps, are_found_where_they_are_and_nowhere_else)
{
    for (size_t t = 0; t < sizeof rows / sizeof *rows; t++) {
        const row *r = &rows[t];
        double     y[100];
        pq_stretch s[PQ_STEPS_MAX + 1];
        size_t     k = 0, sum = 0;
        fill(r, y);
        cr_assert_eq(pq_steps_find(y, r->n, s, &k, NULL), PQ_OK);
        cr_expect_eq(k, r->steps + 1, "%s: %zu segments", r->what, k);
        for (size_t i = 0; i < k; i++) {
            cr_expect_eq(s[i].first, sum, "%s: not in order", r->what);
            sum += s[i].n;
        }
        cr_expect_eq(sum, r->n);
        for (size_t i = 0; i < r->steps && k == r->steps + 1; i++) {
            cr_expect_leq(fabs((double)s[i + 1].first - (double)r->at[i]), 1.0,
                          "%s: a step at %zu", r->what, s[i + 1].first);
            cr_expect_float_eq(s[i + 1].level, r->level[i + 1], 0.03);
        }
    }
}

Test(steps, of_fifty_series_of_noise_are_hardly_any)
{
    size_t found = 0;

    for (uint64_t t = 0; t < 50; t++) {
        pq_rng     rng = pq_rng_stream(t, "noise");
        double     y[60];
        pq_stretch s[PQ_STEPS_MAX + 1];
        size_t     k = 0;
        for (size_t i = 0; i < 60; i++) {
            y[i] = 1.0 + 0.02 * pq_rng_normal(&rng);
        }
        cr_assert_eq(pq_steps_find(y, 60, s, &k, NULL), PQ_OK);
        found += k - 1;
    }
    cr_expect_leq(found, 2, "%zu steps in noise", found);
}
