#include "support.h"

#include "store/record.h"
#include "sweep/merge.h"
#include "sweep/run.h"

#define PIPELINES                                                                        \
    "pipelines:\n  reference: []\n  svd: {stages: [{svd: {rank: $r}}], sweep: {r: [1, "  \
    "2, 3]}}\n"

static void run_part(const char *dir, const char *only)
{
    pq_config       *config  = read_config(PIPELINES, NULL);
    pq_sweep_summary summary = {0};

    OK(pq_sweep_run(config, &(pq_sweep_options){.dir = dir, .only = only}, &summary,
                    ERR));
    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
}

static void expect_same_file(const char *a, const char *b)
{
    char  *x = NULL, *y = NULL;
    size_t n;

    OK(pq_file_read(a, 1 << 24, &x, &n, ERR));
    OK(pq_file_read(b, 1 << 24, &y, &n, ERR));
    cr_expect_str_eq(x, y);
    pq_free(x);
    pq_free(y);
}

Test(merge, parts_make_the_whole_in_any_order)
{
    const char *const ab[] = {"a", "b"}, *const ba[] = {"b", "a"};
    size_t copied = 0;

    enter_inputs(100);
    run_part("whole", NULL);
    run_part("a", "reference,*r=1");
    run_part("b", "*r=2,*r=3,reference");
    OK(pq_sweep_merge("ab", 2, ab, &copied, NULL, NULL, ERR));
    cr_expect_eq(copied, 4);
    OK(pq_sweep_merge("ba", 2, ba, &copied, NULL, NULL, ERR));
    expect_same_file("ab/table.csv", "whole/table.csv");
    expect_same_file("ba/table.csv", "whole/table.csv");
    OK(pq_sweep_merge("ab", 2, ab, &copied, NULL, NULL, ERR));
    cr_expect_eq(copied, 0, "nothing is lacking");
}

Test(merge, two_values_of_one_key_are_a_conflict)
{
    const char *const from[]  = {"a"};
    json_t           *records = NULL, *record;
    pq_err            err     = {0};

    enter_inputs(100);
    run_part("a", "reference");
    run_part("b", "reference");
    OK(pq_records_read("b", &records, NULL, ERR));
    record = json_array_get(records, 0);
    cr_assert_eq(json_object_set_new(
                     json_object_get(json_object_get(record, "metrics"), "accuracy"),
                     "value", json_real(0.123)),
                 0);
    OK(pq_record_write("b", record, ERR));
    json_decref(records);
    cr_expect_eq(pq_sweep_merge("b", 1, from, NULL, NULL, NULL, &err), PQ_ERR_NUMERIC);
    cr_expect(strstr(err.message, "b and a differ in accuracy of cell 'reference'") !=
                  NULL,
              "%s", err.message);
}

Test(merge, a_folder_that_is_not_there_is_told)
{
    const char *const from[] = {"nowhere"};
    pq_err            err    = {0};

    enter_folder();
    cr_expect_eq(pq_sweep_merge("x", 1, from, NULL, NULL, NULL, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.message, "nowhere: there is no such folder");
}
