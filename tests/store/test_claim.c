#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/claim.h"

static void enter(void)
{
    char dir[] = "/tmp/pq_claim_XXXXXX";

    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static bool take(pq_claims *c, const char *key)
{
    bool   taken = false;
    pq_err err   = {0};

    cr_assert_eq(pq_claim_take(c, key, &taken, &err), PQ_OK, "%s", err.message);
    return taken;
}

/* Makes a worker's file of some age, none of -1, and its claim on "k". */
static void plant(const char *worker, const char *claim, double age_s)
{
    char            path[256];
    struct timespec now, times[2];
    FILE           *file;

    cr_assert_eq(symlink(worker, claim), 0);
    if (age_s > -2.0 && age_s < 0.0) {
        return;
    }
    (void)snprintf(path, sizeof path, "claims/%s.alive", worker);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){now.tv_sec - (time_t)age_s, now.tv_nsec};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(claim, is_granted_once_until_it_is_dropped)
{
    pq_claims *c = NULL;

    enter();
    cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
    cr_expect(take(c, "k"));
    cr_expect_not(take(c, "k"));
    cr_expect(take(c, "other"));
    pq_claim_drop(c, "k");
    cr_expect(take(c, "k"));
    pq_claims_close(&c);
    cr_expect_neq(access("claims", F_OK), 0, "something is left");
}

Test(claim, of_a_worker_that_is_dead_is_taken_over_of_one_alive_not)
{
    static const struct {
        const char *worker;
        double      age_s;
        bool        taken;
    } rows[] = {
        {"far.1.1.1", 0.0, false},
        {"far.1.1.1", PQ_CLAIM_STALE_S / 2, false},
        {"far.1.1.1", PQ_CLAIM_STALE_S + 60, true},
        {"far.1.1.1", -PQ_CLAIM_STALE_S / 2, false},
        {"far.1.1.1", -PQ_CLAIM_STALE_S - 60, true},
        {"far.1.1.1", -1.0, true},
        {"../../etc/x", -1.0, true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pq_claims *c = NULL;
        enter();
        cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
        plant(rows[i].worker, "claims/k.0", rows[i].age_s);
        cr_expect_eq(take(c, "k"), rows[i].taken, "row %zu", i);
        pq_claims_close(&c);
    }
}

/* A worker that was killed, and whose parent has not waited for it. */
Test(claim, of_a_process_that_nobody_waited_for_is_taken_over)
{
    pq_claims *c = NULL;
    siginfo_t  end;
    pid_t      child;

    enter();
    child = fork();
    if (child == 0) {
        _exit(pq_claims_open(".", &c, NULL) == PQ_OK && take(c, "k") ? 0 : 1);
    }
    cr_assert_eq(waitid(P_PID, (id_t)child, &end, WEXITED | WNOWAIT), 0);
    cr_assert_eq(end.si_status, 0);
    cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
    cr_expect(take(c, "k"));
    pq_claims_close(&c);
    (void)waitid(P_PID, (id_t)child, &end, WEXITED);
}

Test(claim, of_the_last_turn_counts)
{
    pq_claims *c = NULL;

    enter();
    cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
    plant("dead.1.1.1", "claims/k.0", -1.0);
    plant("far.1.1.1", "claims/k.1", 0.0);
    cr_expect_not(take(c, "k"));
    pq_claims_tidy(c); /* the dead one's is what the next turn stands on */
    cr_expect_not(take(c, "k"));
    pq_claim_clear(c, "k");
    cr_expect(take(c, "k"));
    pq_claims_close(&c);
}

Test(claim, of_a_turn_that_nobody_counts_to_is_tidied)
{
    pq_claims *c = NULL;

    enter();
    cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
    plant("dead.1.1.1", "claims/k.9223372036854775807", -1.0);
    pq_claims_tidy(c);
    pq_claims_close(&c);
    cr_expect_neq(access("claims", F_OK), 0, "something is left");
}

Test(claim, is_refused_with_the_path_where_nothing_can_be_written)
{
    pq_claims *c   = NULL;
    pq_err     err = {0};

    enter();
    cr_assert_eq(symlink("elsewhere", "claims"), 0);
    cr_expect_neq(pq_claims_open(".", &c, &err), PQ_OK);
    cr_expect_not_null(strstr(err.message, "claims"), "%s", err.message);
}

Test(claim, of_the_dead_go_whatever_their_turns_and_the_order_of_their_names)
{
    pq_claims *c = NULL;
    char       claim[64];

    enter();
    cr_assert_eq(pq_claims_open(".", &c, NULL), PQ_OK);
    for (int k = 0; k < 5; k++) {
        for (int turn = 0; turn < 12; turn++) {
            (void)snprintf(claim, sizeof claim, "claims/k%d.%d", k, turn);
            plant("far.1.1.1", claim, -1.0);
        }
    }
    plant("near.1.1.1", "claims/k5.0", -1.0);
    plant("alive.1.1.1", "claims/k5.1", 0.0); /* who took it over and is at it */
    pq_claims_tidy(c);
    for (int k = 0; k < 5; k++) {
        for (int turn = 0; turn < 12; turn++) {
            struct stat is;
            (void)snprintf(claim, sizeof claim, "claims/k%d.%d", k, turn);
            cr_expect_neq(lstat(claim, &is), 0, "%s is left", claim);
        }
    }
    cr_expect_not(take(c, "k5"), "taken from one that is alive");
    pq_claims_close(&c);
}
