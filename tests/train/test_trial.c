/* Threads are left off where a step does not get faster by them. */
#include <criterion/criterion.h>

#include "train/trial.h"

enum { ALL = PQ_TRIAL_WAKE + PQ_TRIAL_ALL, STEPS = ALL + PQ_TRIAL_ONE + 5 };

/* Runs a trial whose steps take `all` seconds on all threads and `one` on one, but much
 * longer while threads wake up and caches are others'; threads of each step are noted. */
static size_t decide(double all, double one, size_t *used)
{
    pq_trial t    = {0};
    pq_pool *pool = NULL;
    size_t   threads;

    cr_assert_eq(pq_pool_create(2, &pool, NULL), PQ_OK);
    pq_trial_start(&t, pool);
    for (size_t i = 0; i < STEPS; i++) {
        const bool late = i < PQ_TRIAL_WAKE || i == ALL;
        used[i]         = pq_pool_working(pool);
        pq_trial_step(&t, pool,
                      (used[i] == 1 ? one : all) * (late         ? 50.0
                                                    : i % 3 == 0 ? 3.0
                                                                 : 1.0));
    }
    threads = pq_pool_working(pool);
    pq_pool_free(&pool);
    return threads;
}

Test(trial, keeps_the_threads_only_where_they_help)
{
    size_t used[STEPS];

    cr_expect_eq(decide(1.0, 1.9, used), 2);
    for (size_t i = 0; i < STEPS; i++) {
        cr_expect_eq(used[i], i >= ALL && i < ALL + PQ_TRIAL_ONE ? 1 : 2, "step %zu", i);
    }
    cr_expect_eq(decide(1.0, 1.05, used), 2);
    cr_expect_eq(decide(1.0, 1.02, used), 1);
    for (size_t i = 0; i < STEPS; i++) {
        cr_expect_eq(used[i], i < ALL ? 2 : 1, "step %zu", i);
    }
    cr_expect_eq(decide(1.0, 0.5, used), 1);
}

Test(trial, of_one_thread_decides_nothing)
{
    pq_trial t    = {0};
    pq_pool *pool = NULL;

    cr_assert_eq(pq_pool_create(1, &pool, NULL), PQ_OK);
    pq_trial_start(&t, pool);
    for (size_t i = 0; i < STEPS; i++) {
        pq_trial_step(&t, pool, 1.0);
    }
    cr_expect_eq(t.step, 0);
    cr_expect_eq(pq_pool_working(pool), 1);
    pq_pool_free(&pool);
}
