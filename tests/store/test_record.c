#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/record.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void enter_folder(void)
{
    char folder[] = "/tmp/pq-store-XXXXXX";

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static json_t *make_record(const char *key, int order, const char *status)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:{s:{s:f, s:n}}}", "schema",
                     PQ_RECORD_SCHEMA, "key", key, "phase", "eval", "label", "svd rank=8",
                     "order", order, "status", status, "metrics", "accuracy", "value",
                     0.1 + 0.2, "lo");
}

static void write_record(const char *key, int order, const char *status)
{
    json_t *record = make_record(key, order, status);

    cr_assert_eq(pq_record_write("r", record, NULL), PQ_OK);
    json_decref(record);
}

static void write_text(const char *path, const char *text)
{
    cr_assert_eq(pq_file_write(path, text, strlen(text), NULL), PQ_OK);
}

Test(record, comes_back_as_it_was)
{
    json_t *record = make_record(KEY, 3, "ok"), *back = NULL;

    enter_folder();
    cr_assert_eq(pq_record_write("r", record, NULL), PQ_OK);
    cr_expect(pq_file_exists("r/cells/" KEY ".json"));
    cr_assert_eq(pq_record_read("r", KEY, &back, NULL), PQ_OK);
    cr_expect(json_equal(record, back), "every bit of every number");
    cr_expect(pq_record_done("r", KEY));
    json_decref(record);
    json_decref(back);
}

Test(record, only_ok_ones_are_done)
{
    enter_folder();
    cr_expect_not(pq_record_done("r", KEY));
    write_record(KEY, 0, "failed");
    cr_expect_not(pq_record_done("r", KEY));
    write_record(KEY, 0, "ok");
    cr_expect(pq_record_done("r", KEY));
}

/* Contents of a record file, and what reading it says. */
static const char *const damaged[][2] = {
    {"", "r/cells/ab.json:1:0: is not valid JSON: '[' or '{' expected near end of file"},
    {"{\"schema\": \"pquant-record/1\"", "r/cells/ab.json:1:28: is not valid JSON: "},
    {"[]", "r/cells/ab.json: is not a record of schema pquant-record/1"},
    {"{\"schema\": \"pquant-record/9\", \"key\": \"ab\"}",
     "r/cells/ab.json: is not a record of schema pquant-record/1"},
    {"{\"schema\": \"pquant-record/1\", \"key\": \"cd\"}",
     "r/cells/ab.json: holds the record of another key, 'cd'"},
    {"{\"schema\": \"pquant-record/1\", \"key\": \"ab\", \"status\": \"ok\", \"phase\": "
     "\"eval\"}",
     "r/cells/ab.json: status, phase or metrics are missing"},
    {"{\"schema\": 3, \"key\": \"ab\", \"key\": \"ab\"}",
     "r/cells/ab.json:1:32: is not valid JSON: duplicate object key"},
};

Test(record, damaged_files_are_told)
{
    enter_folder();
    cr_assert_eq(pq_folder_make("r/cells", NULL), PQ_OK);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        json_t *record = NULL;
        pq_err  err    = {0};
        write_text("r/cells/ab.json", damaged[i][0]);
        cr_expect_eq(pq_record_read("r", "ab", &record, &err), PQ_ERR_FORMAT);
        cr_expect_eq(strncmp(err.message, damaged[i][1], strlen(damaged[i][1])), 0, "%s",
                     err.message);
        cr_expect_null(record);
        cr_expect_not(pq_record_done("r", "ab"));
    }
}

Test(record, keys_that_are_no_hashes_never_become_paths)
{
    static const char *const keys[] = {"", "../../etc/passwd", "ABCDEF", "a/b", KEY "0"};

    enter_folder();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *record = make_record(keys[i], 0, "ok"), *back = NULL;
        cr_expect_eq(pq_record_write("r", record, NULL), PQ_ERR_FORMAT, "%s", keys[i]);
        cr_expect_eq(pq_record_read("r", keys[i], &back, NULL), PQ_ERR_FORMAT, "%s",
                     keys[i]);
        json_decref(record);
    }
    cr_expect_not(pq_folder_exists("r"));
}

Test(record, all_are_read_in_order_and_damaged_ones_counted)
{
    json_t *all = NULL;
    size_t  bad = 7;

    enter_folder();
    cr_assert_eq(pq_records_read("r", &all, &bad, NULL), PQ_OK);
    cr_expect_eq(json_array_size(all) + bad, 0, "no folder is no records");
    json_decref(all);
    write_record("cc", 1, "ok");
    write_record("aa", 2, "ok");
    write_record("bb", 1, "failed");
    write_text("r/cells/dd.json", "{\"half");
    write_text("r/cells/ee.json.tmp.host.1", "{\"half");
    cr_assert_eq(pq_records_read("r", &all, &bad, NULL), PQ_OK);
    cr_assert_eq(json_array_size(all), 3);
    cr_expect_eq(bad, 1);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(all, 0), "key")),
                     "bb");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(all, 1), "key")),
                     "cc");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(all, 2), "key")),
                     "aa");
    json_decref(all);
}

Test(record, a_folder_that_cannot_be_written_is_told)
{
    json_t *record = make_record("ab", 0, "ok");
    pq_err  err    = {0};

    enter_folder();
    write_text("r", "in the way");
    cr_expect_eq(pq_record_write("r", record, &err), PQ_ERR_ACCESS);
    cr_expect(strstr(err.message, "r/cells: ") != NULL, "%s", err.message);
    json_decref(record);
}

Test(record, running_out_of_memory_leaves_nothing)
{
    const size_t before = pq_memory_live();
    json_t      *all    = NULL;

    enter_folder();
    write_record("aa", 0, "ok");
    write_record("bb", 1, "ok");
    for (size_t n = 0;; n++) {
        pq_status st;
        pq_memory_fail_after(n);
        st = pq_records_read("r", &all, NULL, NULL);
        pq_memory_fail_after(SIZE_MAX);
        if (st == PQ_OK) {
            json_decref(all);
            cr_assert_eq(pq_memory_live(), before);
            if (n > 10) {
                break;
            }
        }
        cr_assert_eq(pq_memory_live(), before, "after failing allocation %zu", n);
    }
}
