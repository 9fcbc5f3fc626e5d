#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/pool.h"

static void count(void *context, size_t piece, size_t thread)
{
    (void)piece;
    (void)thread;
    (void)atomic_fetch_add((atomic_int *)context, 1);
}

Test(pool, of_a_parent_runs_and_is_freed_in_a_forked_process)
{
    enum { PIECES = 100, LONG_S = 20, ASLEEP_US = 50000 };
    pq_pool   *pool = NULL;
    atomic_int done = 0;
    int        status;
    pid_t      child;

    cr_assert_eq(pq_pool_create(3, &pool, NULL), PQ_OK);
    pq_pool_run(pool, PIECES, count, &done);
    cr_assert_eq(atomic_load(&done), PIECES);
    (void)usleep(ASLEEP_US); /* the others sleep */
    child = fork();
    if (child == 0) {
        (void)alarm(LONG_S);
        atomic_store(&done, 0);
        pq_pool_run(pool, PIECES, count, &done);
        pq_pool_free(&pool);
        _exit(atomic_load(&done) == PIECES && pool == NULL ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    pq_pool_run(pool, PIECES, count, &done);
    cr_expect_eq(atomic_load(&done), 2 * PIECES);
    pq_pool_free(&pool);
}

/* Plain counts: a piece that two threads ran, or that is not done when the run returns,
 * is told by them. */
typedef struct {
    size_t seen[8];
} tally;

static void count_piece(void *context, size_t piece, size_t thread)
{
    (void)thread;
    ((tally *)context)->seen[piece]++;
}

Test(threads,
     a_pool_runs_every_piece_of_every_work_once_whether_its_threads_wake_or_sleep)
{
    enum { RUNS = 20000 };
    pq_pool *pool = NULL;

    cr_assert_eq(pq_pool_create(3, &pool, NULL), PQ_OK);
    for (size_t run = 0; run < RUNS; run++) {
        const size_t pieces = run % 9;
        tally        t      = {{0}};
        if (run % 500 == 0) {
            (void)usleep(400); /* the others sleep */
        }
        pq_pool_run(pool, pieces, count_piece, &t);
        for (size_t i = 0; i < 8; i++) {
            cr_assert_eq(t.seen[i], i < pieces ? 1 : 0, "run %zu, piece %zu", run, i);
        }
    }
    pq_pool_free(&pool);
    cr_expect_null(pool);
}
