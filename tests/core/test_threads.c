#include <criterion/criterion.h>
#include <stdatomic.h>

#include "core/threads.h"

typedef struct {
    atomic_int seen[1000];
    atomic_int most_thread;
} board;

static pq_status mark(void *context, size_t piece, size_t thread, pq_err *err)
{
    board *b = context;

    (void)err;
    atomic_fetch_add(&b->seen[piece], 1);
    if ((int)thread > atomic_load(&b->most_thread)) {
        atomic_store(&b->most_thread, (int)thread);
    }
    return PQ_OK;
}

Test(threads, every_piece_runs_exactly_once)
{
    static board b;

    cr_assert_eq(pq_threads_run(4, 1000, mark, &b, NULL), PQ_OK);
    for (int i = 0; i < 1000; i++) {
        cr_expect_eq(atomic_load(&b.seen[i]), 1);
    }
    cr_expect_lt(atomic_load(&b.most_thread), 4);
    cr_expect_eq(pq_threads_run(3, 0, mark, &b, NULL), PQ_OK);
}

static pq_status fail_at_five(void *context, size_t piece, size_t thread, pq_err *err)
{
    pq_status st;

    (void)context;
    (void)thread;
    PQ_CHECK(piece != 5, PQ_ERR_NUMERIC, "piece %zu", piece);
cleanup:
    return st;
}

Test(threads, the_first_failure_is_returned)
{
    pq_err err = {0};

    cr_expect_eq(pq_threads_run(1, 100, fail_at_five, NULL, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message, "piece 5");
    cr_expect_eq(pq_threads_run(4, 6, fail_at_five, NULL, NULL), PQ_ERR_NUMERIC);
    cr_expect_geq(pq_threads_available(), 1);
}
