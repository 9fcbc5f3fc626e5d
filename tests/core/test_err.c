#include <criterion/criterion.h>
#include <string.h>

#include "core/err.h"

static pq_status fail_once(pq_err *err)
{
    pq_status st;

    PQ_CHECK(1 == 1, PQ_ERR_RANGE, "never");
    PQ_CHECK(1 == 2, PQ_ERR_RANGE, "rank %d is not in 1..%d", 80, 64);
cleanup:
    return st;
}

static pq_status pass_on(pq_err *err)
{
    pq_status st;

    PQ_TRY(fail_once(err));
cleanup:
    return st;
}

Test(err, carries_the_first_failure_with_its_place)
{
    pq_err err = {0};

    cr_assert_eq(pass_on(&err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 80 is not in 1..64");
    cr_expect_str_eq(strrchr(err.file, '/') + 1, "test_err.c");
    (void)pq_err_set(&err, PQ_ERR_IO, "x", 1, "a later failure");
    cr_expect_eq(err.code, PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "rank 80 is not in 1..64");
}

Test(err, outer_rooms_prefix_the_place)
{
    pq_err err = {0};

    (void)fail_once(&err);
    pq_err_context(&err, "layer '%s'", "fc1");
    pq_err_context(&err, "a.yaml:%d", 12);
    cr_expect_str_eq(err.message, "a.yaml:12: layer 'fc1': rank 80 is not in 1..64");
}

Test(err, a_message_longer_than_the_buffer_is_cut_not_overrun)
{
    pq_err err = {0};
    char   big[4000];

    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    (void)pq_err_set(&err, PQ_ERR_IO, __FILE__, __LINE__, "%s", big);
    pq_err_context(&err, "%s", big);
    cr_expect_eq(strlen(err.message), sizeof err.message - 1);
}

Test(err, may_be_null)
{
    cr_expect_eq(pass_on(NULL), PQ_ERR_RANGE);
    pq_err_context(NULL, "x");
    pq_err_hint(NULL, "x");
}

Test(err, every_status_has_a_text_and_an_exit_code_of_the_design)
{
    cr_expect_str_eq(pq_status_text(PQ_ERR_FORMAT), "file is not valid");
    cr_expect_eq(pq_status_exit_code(PQ_OK), 0);
    cr_expect_eq(pq_status_exit_code(PQ_ERR_CONFIG), 2);
    cr_expect_eq(pq_status_exit_code(PQ_ERR_NOMEM), 75);
    cr_expect_eq(pq_status_exit_code(PQ_ERR_INTERRUPTED), 130);
}
