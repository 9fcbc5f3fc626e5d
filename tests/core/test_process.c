#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/process.h"

Test(process, is_gone_once_it_has_ended_whether_or_not_it_was_waited_for)
{
    int       hold[2];
    siginfo_t end;
    pid_t     child;

    cr_assert_eq(pipe(hold), 0);
    child = fork();
    if (child == 0) {
        char byte;
        (void)close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    cr_expect_not(pq_process_gone(child, 0));
    (void)close(hold[1]);
    cr_assert_eq(waitid(P_PID, (id_t)child, &end, WEXITED | WNOWAIT), 0);
    cr_expect(pq_process_gone(child, 0));
    cr_assert_eq(waitid(P_PID, (id_t)child, &end, WEXITED), 0);
    cr_expect(pq_process_gone(child, 0));
    cr_expect_eq(pq_process_start(child), 0);
}

Test(process, of_the_same_number_started_at_another_time_is_another)
{
    const long               me    = (long)getpid();
    const unsigned long long start = pq_process_start(me);

    cr_assert_gt(start, 0);
    cr_expect_not(pq_process_gone(me, start));
    cr_expect(pq_process_gone(me, start + 1));
}
