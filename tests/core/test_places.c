#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/places.h"
#include "core/rng.h"

enum { NAMES = 300 };

static char names[NAMES][16];

static void make_names(void)
{
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(names[i], sizeof names[i], "layer.%d", i * i);
    }
}

TestSuite(places, .init = make_names);

Test(places, finds_each_name_and_no_other)
{
    pq_places p = {0};

    cr_expect_eq(pq_places_find(&p, "layer.0"), SIZE_MAX);
    for (size_t i = 0; i < NAMES; i++) {
        char same[16];
        cr_assert_eq(pq_places_reserve(&p, i + 1, NULL), PQ_OK);
        pq_places_add(&p, names[i], 2 * i);
        (void)snprintf(same, sizeof same, "%s", names[i]); /* other bytes, same text */
        cr_assert_eq(pq_places_find(&p, same), 2 * i);
    }
    for (size_t i = 0; i < NAMES; i++) {
        cr_expect_eq(pq_places_find(&p, names[i]), 2 * i);
    }
    cr_expect_eq(p.n, NAMES);
    cr_expect_eq(pq_places_find(&p, "layer.2"), SIZE_MAX);
    cr_expect_eq(pq_places_find(&p, ""), SIZE_MAX);
    pq_places_free(&p);
    pq_places_remove(&p, "layer.0");
    cr_expect_eq(pq_memory_live(), 0);
}

/* Names come and go in any order, beside a plain list of who is there. */
Test(places, are_as_a_list_says_whatever_comes_and_goes)
{
    pq_rng    rng = pq_rng_stream(1, "places");
    pq_places p   = {0};
    size_t    due[NAMES];
    size_t    n = 0;

    memset(due, 0xff, sizeof due);
    for (int step = 0; step < 20000; step++) {
        const size_t i = pq_rng_below(&rng, NAMES);
        if (due[i] == SIZE_MAX) {
            cr_assert_eq(pq_places_reserve(&p, n + 1, NULL), PQ_OK);
            due[i] = pq_rng_below(&rng, 1000);
            pq_places_add(&p, names[i], due[i]);
            n++;
        } else {
            pq_places_remove(&p, names[i]);
            due[i] = SIZE_MAX;
            n--;
        }
        if (step % 100 == 0) {
            for (size_t k = 0; k < NAMES; k++) {
                cr_assert_eq(pq_places_find(&p, names[k]), due[k], "step %d", step);
            }
            cr_assert_eq(p.n, n);
        }
    }
    pq_places_free(&p);
}

Test(places, move_from_one_on)
{
    pq_places p = {0};

    cr_assert_eq(pq_places_reserve(&p, NAMES, NULL), PQ_OK);
    for (size_t i = 0; i < NAMES; i++) {
        pq_places_add(&p, names[i], i);
    }
    pq_places_shift(&p, 100, 5);
    cr_expect_eq(pq_places_find(&p, names[99]), 99);
    cr_expect_eq(pq_places_find(&p, names[100]), 105);
    pq_places_shift(&p, 105, -5);
    for (size_t i = 0; i < NAMES; i++) {
        cr_expect_eq(pq_places_find(&p, names[i]), i);
    }
    pq_places_free(&p);
}

Test(places, stay_as_they_are_when_memory_runs_out)
{
    pq_places p = {0};

    cr_assert_eq(pq_places_reserve(&p, 8, NULL), PQ_OK);
    pq_places_add(&p, names[3], 3);
    pq_memory_fail_after(0);
    cr_expect_eq(pq_places_reserve(&p, 1000, NULL), PQ_ERR_NOMEM);
    pq_memory_fail_after(SIZE_MAX);
    cr_expect_eq(pq_places_find(&p, names[3]), 3);
    pq_places_free(&p);
    cr_expect_eq(pq_memory_live(), 0);
}
