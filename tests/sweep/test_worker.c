#include "support.h"

#include <signal.h>
#include <time.h>

#include "core/clock.h"
#include "sweep/worker.h"

/* AddressSanitizer needs more address space than any limit allows. */
#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

static pq_worker_state end_of(pq_work run, pq_worker_limits limits, pq_err *why)
{
    pq_worker       w = {0};
    pq_worker_state state;

    OK(pq_worker_start(&w, run, NULL, limits, ERR));
    while ((state = pq_worker_poll(&w, why)) == PQ_WORKER_RUNNING) {
        pause_ms(1);
    }
    cr_expect_eq(w.pid, 0);
    cr_expect_eq(pq_worker_poll(&w, why), PQ_WORKER_IDLE);
    return state;
}

static pq_status succeed(void *context, pq_err *err)
{
    (void)context;
    (void)err;
    return PQ_OK;
}

static pq_status refuse(void *context, pq_err *err)
{
    (void)context;
    return pq_err_set(err, PQ_ERR_RANGE, __FILE__, __LINE__, "rank 80 is not in 1..64");
}

static pq_status starve(void *context, pq_err *err)
{
    char     *block = NULL;
    pq_status st;

    (void)context;
    PQ_NEW(block, (size_t)1 << 32);
cleanup:
    pq_free(block);
    return st;
}

static pq_status crash(void *context, pq_err *err)
{
    (void)context;
    (void)err;
    (void)signal(SIGSEGV, SIG_DFL);
    (void)raise(SIGSEGV);
    return PQ_OK;
}

static pq_status leave(void *context, pq_err *err)
{
    (void)context;
    (void)err;
    _exit(7);
}

static pq_status dawdle(void *context, pq_err *err)
{
    (void)context;
    (void)err;
    pause_ms(20000);
    return PQ_OK;
}

Test(worker, success_says_nothing)
{
    pq_err why = {0};

    cr_expect_eq(end_of(succeed, (pq_worker_limits){0}, &why), PQ_WORKER_OK);
    cr_expect_eq(why.code, PQ_OK);
}

Test(worker, a_failure_comes_with_its_reason)
{
    pq_err why = {0};

    cr_expect_eq(end_of(refuse, (pq_worker_limits){0}, &why), PQ_WORKER_FAILED);
    cr_expect_eq(why.code, PQ_ERR_RANGE);
    cr_expect_str_eq(why.message, "rank 80 is not in 1..64");
}

Test(worker, a_crash_is_told_from_a_failure)
{
    pq_err why = {0};

    cr_expect_eq(end_of(crash, (pq_worker_limits){0}, &why), PQ_WORKER_CRASHED);
    cr_expect_str_eq(why.message, "crashed: signal 11 (Segmentation fault)");
    why = (pq_err){0};
    cr_expect_eq(end_of(leave, (pq_worker_limits){0}, &why), PQ_WORKER_CRASHED);
    cr_expect_str_eq(why.message, "crashed: exit code 7 without a reason");
}

Test(worker, the_time_limit_ends_it)
{
    pq_err why = {0};

    cr_expect_eq(end_of(dawdle, (pq_worker_limits){.timeout_s = 0.05}, &why),
                 PQ_WORKER_TIMEOUT);
    cr_expect_str_eq(why.message, "stopped after the time limit of 50 ms");
}

Test(worker, the_memory_limit_makes_allocation_fail)
{
    pq_err why = {0};

#ifdef ADDRESS_SANITIZER
    cr_skip_test("skipped: no memory limits under AddressSanitizer");
#endif
    cr_expect_eq(end_of(starve, (pq_worker_limits){.memory_bytes = 1e9}, &why),
                 PQ_WORKER_OOM);
    cr_expect_eq(why.code, PQ_ERR_NOMEM);
}

static pq_status crash_or_not(void *context, pq_err *err)
{
    (void)err;
    if (context != NULL) {
        return PQ_OK;
    }
    (void)raise(SIGSEGV);
    return PQ_OK;
}

Test(worker, a_crash_for_want_of_any_memory_is_no_crash)
{
    pq_err why = {0};

#ifdef ADDRESS_SANITIZER
    cr_skip_test("skipped: no memory limits under AddressSanitizer");
#endif
    for (double limit = 1e6; limit < 2e8; limit *= 4.0) {
        why = (pq_err){0};
        cr_expect_eq(
            end_of(crash_or_not, (pq_worker_limits){.memory_bytes = limit}, &why),
            PQ_WORKER_OOM, "%g: %s", limit, why.message);
        cr_expect_eq(why.code, PQ_ERR_NOMEM);
        cr_expect_eq(strncmp(why.message, "limits.memory = ", 16), 0, "%s", why.message);
    }
    cr_expect_eq(end_of(crash_or_not, (pq_worker_limits){.memory_bytes = 64e9}, &why),
                 PQ_WORKER_CRASHED);
    cr_expect_eq(end_of(refuse, (pq_worker_limits){.memory_bytes = 1e6}, &why),
                 PQ_WORKER_FAILED, "what has a reason keeps it");
}

static pq_status last_a_while(void *context, pq_err *err)
{
    (void)context;
    (void)err;
    pause_ms(150);
    return PQ_OK;
}

Test(worker, waiting_ends_with_the_first_that_ends_or_the_time)
{
    pq_worker              w[3]  = {0}; /* the second idle */
    const pq_worker *const all[] = {&w[0], &w[1], &w[2]};
    pq_err                 why   = {0};
    double                 start;

    OK(pq_worker_start(&w[0], dawdle, NULL, (pq_worker_limits){0}, ERR));
    OK(pq_worker_start(&w[2], last_a_while, NULL, (pq_worker_limits){0}, ERR));
    start = pq_clock_wall_s();
    while (pq_worker_poll(&w[2], &why) == PQ_WORKER_RUNNING &&
           pq_clock_wall_s() - start < 20.0) {
        pq_workers_wait(all, 3, 20.0); /* short where the system cannot tell */
    }
    cr_expect_eq(w[2].pid, 0, "it has ended while the other goes on");
    cr_expect_lt(pq_clock_wall_s() - start, 15.0);
    start = pq_clock_wall_s();
    pq_workers_wait(all, 1, 0.01);
    cr_expect_lt(pq_clock_wall_s() - start, 15.0, "the first runs for much longer");
    cr_expect_eq(pq_worker_poll(&w[0], &why), PQ_WORKER_RUNNING);
    pq_worker_stop(&w[0]);
}

Test(worker, can_be_stopped_at_any_time)
{
    pq_worker w = {0};
    pid_t     pid;

    OK(pq_worker_start(&w, dawdle, NULL, (pq_worker_limits){0}, ERR));
    pid = w.pid;
    pq_worker_stop(&w);
    cr_expect_eq(w.pid, 0);
    cr_expect_eq(kill(pid, 0), -1, "it is gone, and waited for");
    pq_worker_stop(&w);
}
