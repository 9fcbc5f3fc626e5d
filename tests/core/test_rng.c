#include <criterion/criterion.h>
#include <math.h>

#include "core/rng.h"

Test(rng, streams_of_a_purpose_repeat_and_differ_from_others)
{
    pq_rng a = pq_rng_stream(42, "init"), b = pq_rng_stream(42, "init");
    pq_rng c = pq_rng_stream(42, "shuffle"), d = pq_rng_stream(43, "init");

    for (int i = 0; i < 100; i++) {
        const uint64_t x = pq_rng_bits(&a);
        cr_expect_eq(x, pq_rng_bits(&b));
        cr_expect_neq(x, pq_rng_bits(&c));
        cr_expect_neq(x, pq_rng_bits(&d));
    }
}

/* Known answers of Philox-4x32-10 (Random123's kat_vectors: zero counter, zero key). */
Test(rng, is_philox_4x32_10)
{
    pq_rng rng = {.key = 0, .counter = 0, .used = 4};

    cr_expect_eq(pq_rng_bits(&rng), UINT64_C(0x6627e8d5e169c58d));
    cr_expect_eq(pq_rng_bits(&rng), UINT64_C(0xbc57ac4c9b00dbd8));
}

Test(rng, moments_are_those_of_the_distributions)
{
    enum { N = 200000 };
    pq_rng rng = pq_rng_stream(1, "test");
    double u = 0.0, u2 = 0.0, g = 0.0, g2 = 0.0, g4 = 0.0;

    for (int i = 0; i < N; i++) {
        const double x = pq_rng_uniform(&rng), z = pq_rng_normal(&rng);
        cr_assert(x >= 0.0 && x < 1.0);
        u += x / N;
        u2 += x * x / N;
        g += z / N;
        g2 += z * z / N;
        g4 += z * z * z * z / N;
    }
    cr_expect_float_eq(u, 0.5, 4 * sqrt(1.0 / 12 / N));
    cr_expect_float_eq(u2, 1.0 / 3, 4 * sqrt(4.0 / 45 / N));
    cr_expect_float_eq(g, 0.0, 4 * sqrt(1.0 / N));
    cr_expect_float_eq(g2, 1.0, 4 * sqrt(2.0 / N));
    cr_expect_float_eq(g4, 3.0, 4 * sqrt(96.0 / N));
}

Test(rng, a_shuffle_is_a_permutation_and_below_stays_below)
{
    pq_rng rng         = pq_rng_stream(7, "shuffle");
    size_t index[1000] = {0}, seen[1000] = {0}, moved = 0;

    for (size_t i = 0; i < 1000; i++) {
        index[i] = i;
    }
    pq_rng_shuffle(&rng, index, 1000);
    for (size_t i = 0; i < 1000; i++) {
        seen[index[i]]++;
        moved += index[i] != i;
        cr_expect_lt(pq_rng_below(&rng, 3), 3);
    }
    for (size_t i = 0; i < 1000; i++) {
        cr_expect_eq(seen[i], 1);
    }
    cr_expect_gt(moved, 900);
}

Test(rng, a_shuffle_in_parts_is_that_of_plain_swaps)
{
    enum { N = 1000 };
    pq_rng plain = pq_rng_stream(5, "shuffle"), parts = plain;
    size_t due[N], index[N];

    for (size_t i = 0; i < N; i++) {
        due[i] = index[i] = i;
    }
    for (size_t left = N; left > 1; left--) {
        const size_t j = pq_rng_below(&plain, left), keep = due[left - 1];
        due[left - 1] = due[j];
        due[j]        = keep;
    }
    for (size_t left = N, swaps = 1; left > 1; swaps = swaps * 2 + 3) {
        left = pq_rng_shuffle_part(&parts, index, left, swaps);
    }
    cr_expect_arr_eq(index, due, sizeof due);
    cr_expect_eq(pq_rng_bits(&parts), pq_rng_bits(&plain));
}
