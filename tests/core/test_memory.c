#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <time.h>

#include "core/budget.h"
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

Test(memory, unset_blocks_are_aligned_counted_and_hold_what_is_written)
{
    const size_t before = pq_memory_live(), bytes = (9U << 20) + 5;
    char        *p = pq_alloc_unset(bytes, 1);

    cr_assert_not_null(p);
    cr_expect_eq((uintptr_t)p % 64, 0);
    cr_expect_eq(pq_memory_live(), before + 1);
    pq_advise_scattered(p, bytes);
    memset(p, 7, bytes);
    cr_expect(p[0] == 7 && memcmp(p, p + 1, bytes - 1) == 0);
    pq_free(p);
    cr_expect_eq(pq_memory_live(), before);
    cr_expect_null(pq_alloc_unset(SIZE_MAX / 2, 3));
    p = pq_alloc_unset(3, 1); /* no large page lies in it */
    pq_advise_scattered(p, 3);
    pq_free(p);
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

Test(memory, a_file_costs_no_more_than_it_is_worth)
{
    char      path[] = "/tmp/pq-budget-XXXXXX";
    const int fd     = mkstemp(path);
    pq_budget budget, inner;
    pq_err    err = {0};
    void     *kept, *more;

    cr_assert_eq(write(fd, "0123456789", 10), 10);
    (void)close(fd);
    pq_budget_start(&budget, path);
    kept = pq_calloc(63, 1 << 20);
    cr_assert_not_null(kept);
    cr_expect_not(pq_budget_fits(2 << 20));
    pq_budget_start(&inner, path); /* the outer one holds */
    more = pq_calloc(2, 1 << 20);
    cr_expect_null(more);
    cr_expect_eq(pq_budget_end(&inner, path, PQ_ERR_NOMEM, &err), PQ_ERR_NOMEM);
    cr_expect_null(pq_calloc(1, 1), "what broke once does not go on");
    cr_expect_eq(pq_budget_end(&budget, path, PQ_ERR_NOMEM, &err), PQ_ERR_FORMAT);
    cr_expect(strstr(err.message, ": reading it takes more memory than its 10 bytes are "
                                  "worth (64 MB, and 64 bytes for each)") != NULL,
              "%s", err.message);
    cr_expect(strstr(err.hint, "PQUANT_READ_LIMIT=8GB") != NULL);
    more = pq_calloc(2, 1 << 20);
    cr_expect_not_null(more);
    cr_expect(pq_budget_fits((size_t)1 << 40));
    cr_assert_eq(setenv("PQUANT_READ_LIMIT", "1GB", 1), 0);
    pq_budget_start(&budget, path);
    cr_expect(pq_budget_fits(900 << 20));
    cr_expect_eq(pq_budget_end(&budget, path, PQ_OK, &err), PQ_OK);
    pq_free(more);
    pq_free(kept);
    (void)unlink(path);
}

static double thread_s(void)
{
    struct timespec now;

    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Two seconds, which sanitizers make ten times as many. */
Test(memory, a_file_takes_no_more_time_than_it_is_worth)
{
    const double start = thread_s();
    double       took;
    pq_budget    budget;
    pq_err       err = {0};
    void        *p;

    pq_budget_start(&budget, "/no/such/file");
    while ((p = pq_calloc(1, 100)) != NULL) {
        pq_free(p);
    }
    took = thread_s() - start;
    cr_expect_eq(pq_budget_end(&budget, "/no/such/file", PQ_ERR_NOMEM, &err),
                 PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message,
                              "reading it takes more time than its 0 bytes are "
                              "worth (2 s, and 1 s for each MB)"),
                       "%s", err.message);
    cr_expect(took >= 2.0 && took < 25.0, "%g s", took);
#ifndef __SANITIZE_ADDRESS__
    cr_expect_lt(took, 2.5);
#endif
}

Test(memory, budgets_of_bytes_alone_are_given_anew)
{
    pq_budget budget;
    void     *a, *b;

    pq_budget_start_bytes(&budget, 1000);
    a = pq_calloc(1, 640);
    cr_expect_not_null(a);
    cr_expect_not(pq_budget_fits(640));
    pq_budget_regive(&budget, 2000);
    cr_expect(pq_budget_fits(640));
    pq_budget_regive(&budget, 100); /* less than is in use */
    b = pq_calloc_packed(1, 1);
    cr_expect_null(b);
    cr_expect_eq(pq_budget_end(&budget, "x", PQ_OK, NULL), PQ_OK);
    cr_expect(pq_budget_out_of_bytes(&budget));
    pq_free(a);
    pq_free(b);
}
