#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "core/memory.h"

Test(memory, blocks_are_zeroed_and_aligned)
{
    unsigned char *p = pq_calloc(100, 3);

    cr_assert_not_null(p);
    cr_expect_eq((uintptr_t)p % 64, 0);
    for (size_t i = 0; i < 300; i++) {
        cr_expect_eq(p[i], 0);
    }
    pq_free(p);
}

Test(memory, sizes_that_overflow_are_refused)
{
    cr_expect_null(pq_calloc(SIZE_MAX / 2, 3));
    cr_expect_null(pq_calloc(SIZE_MAX, 1));
}

Test(memory, counts_what_is_alive)
{
    const size_t before = pq_memory_live();
    void        *a      = pq_calloc(1, 1);
    char        *b      = pq_strdup("text");

    cr_expect_eq(pq_memory_live(), before + 2);
    pq_free(a);
    pq_free(b);
    pq_free(NULL);
    cr_expect_eq(pq_memory_live(), before);
}

Test(memory, the_planned_allocation_fails_once)
{
    void *p;

    pq_memory_fail_after(1);
    p = pq_calloc(1, 1);
    cr_expect_not_null(p);
    cr_expect_null(pq_calloc(1, 1));
    pq_free(p);
    p = pq_calloc(1, 1);
    cr_expect_not_null(p);
    pq_free(p);
}

Test(memory, growing_keeps_items_and_zeroes_the_rest)
{
    int *p = pq_calloc(2, sizeof *p);

    p[0] = 7;
    p[1] = 8;
    p    = pq_recalloc(p, 2, 5, sizeof *p);
    cr_assert_not_null(p);
    cr_expect_eq(p[0], 7);
    cr_expect_eq(p[1], 8);
    cr_expect_eq(p[4], 0);
    pq_free(p);
}
