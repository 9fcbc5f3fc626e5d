#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/index.h"
#include "store/record.h"
#include "store/results.h"
#include "store/table.h"

static void enter_folder(void)
{
    char folder[] = "/tmp/pq-store-XXXXXX";

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(pq_folder_make("r/cells", NULL), PQ_OK);
}

static void write_text(const char *path, const char *text)
{
    cr_assert_eq(pq_file_write(path, text, strlen(text), NULL), PQ_OK);
}

#define CELL(order, label, axes, eval, latency, reference)                               \
    "{\"order\": " order ", \"pipeline\": \"p\", \"label\": \"" label                    \
    "\", \"axes\": " axes ", \"repeat\": 0, \"eval\": \"" eval                           \
    "\", \"latency\": [" latency "], \"reference\": " reference "}"

#define RECORD(key, phase, status, rest)                                                 \
    "{\"schema\": \"pquant-record/1\", \"key\": \"" key "\", \"phase\": \"" phase        \
    "\", \"status\": \"" status "\", " rest "}"

#define METRIC(name, value, lo, hi, better)                                              \
    "\"" name "\": {\"value\": " value ", \"lo\": " lo ", \"hi\": " hi                   \
    ", \"n\": 10, \"unit\": \"\", \"better\": \"" better "\"}"

/* Four cells: the reference, one with axes, one failed, one missing. */
static void write_results(const char *constraints)
{
    char *plan = pq_format(
        "{\"schema\": \"pquant-plan/1\", \"name\": \"t\", \"constraints\": %s, "
        "\"cells\": [\n" CELL("0", "reference", "{}", "a0", "\"b0\"", "true") ",\n" CELL(
            "1", "svd rank=8", "{\"rank\": \"8\"}", "a1", "\"b1\"",
            "false") ",\n" CELL("2", "tt ranks=[2, 4]", "{\"ranks\": \"[2, 4]\"}", "a2",
                                "\"b2\"", "false") ",\n" CELL("3", "late", "{}", "a3",
                                                              "\"b3\"", "false") "]}",
        constraints);

    write_text("r/plan.json", plan);
    write_text(
        "r/cells/a0.json",
        RECORD("a0", "eval", "ok",
               "\"metrics\": {" METRIC(
                   "accuracy", "0.75", "0.7", "0.8",
                   "higher") ", " METRIC("bytes", "1000", "null", "null",
                                         "lower") ", " METRIC("entropy", "0.5", "null",
                                                              "null", "lower") "}"));
    write_text(
        "r/cells/a1.json",
        RECORD("a1", "eval", "ok",
               "\"metrics\": {" METRIC(
                   "accuracy", "0.5", "0.4", "0.6",
                   "higher") ", " METRIC("bytes", "null", "null", "null",
                                         "lower") ", " METRIC("entropy", "0.75", "null",
                                                              "null", "lower") "}"));
    write_text("r/cells/a2.json",
               RECORD("a2", "eval", "failed",
                      "\"error\": {\"message\": \"rank 4, \\\"too large\\\"\"}"));
    write_text(
        "r/cells/b0.json",
        RECORD("b0", "latency", "ok",
               "\"timing\": {\"batch\": 1}, \"provenance\": {\"engine\": \"int8\"}, "
               "\"metrics\": {" METRIC("latency.b1.ratio", "1", "1", "1", "higher") "}"));
    write_text("r/cells/b1.json", "{\"dam");
    pq_free(plan);
}

static json_t *read_results(pq_results_count *count)
{
    json_t *results = NULL;
    pq_err  err     = {0};

    cr_assert_eq(pq_results_read("r", &results, count, &err), PQ_OK, "%s", err.message);
    return results;
}

static json_t *cell_of(const json_t *results, size_t cell)
{
    return json_array_get(json_object_get(results, "cells"), cell);
}

static const char *status_of(const json_t *results, size_t cell)
{
    return json_string_value(json_object_get(cell_of(results, cell), "status"));
}

Test(results, join_the_plan_with_its_records)
{
    pq_results_count count;
    json_t          *results, *cell;

    enter_folder();
    write_results("{}");
    results = read_results(&count);
    cr_expect_eq(count.cells, 4);
    cr_expect_eq(count.done, 2);
    cr_expect_eq(count.failed, 1);
    cr_expect_eq(count.missing, 1);
    cr_expect_eq(count.latency, 4);
    cr_expect_eq(count.latency_missing, 1, "those of cells that failed are not due");
    cr_expect_eq(count.damaged, 1);
    cell = json_array_get(json_object_get(results, "cells"), 0);
    cr_expect_eq(json_object_size(json_object_get(cell, "metrics")), 4);
    cr_expect_eq(json_array_size(json_object_get(cell, "timings")), 1);
    cr_expect_str_eq(status_of(results, 0), "ok");
    cr_expect_str_eq(status_of(results, 2), "failed");
    cr_expect_str_eq(status_of(results, 3), "missing");
    json_decref(results);
}

/* One cell timed at two batch sizes on different engines: its numbers are those of the
 * first. */
Test(results, numbers_are_those_of_the_engine_that_was_timed)
{
    json_t *results, *cell;

    enter_folder();
    write_text("r/plan.json",
               "{\"schema\": \"pquant-plan/1\", \"name\": \"t\", \"cells\": [" CELL(
                   "0", "int8", "{}", "a0", "\"b0\", \"b1\"", "true") "]}");
    write_text(
        "r/cells/a0.json",
        RECORD("a0", "eval", "ok",
               "\"engines\": {\"int8\": {\"differs\": 3, \"metrics\": {" METRIC(
                   "accuracy", "0.5", "0.4", "0.6",
                   "higher") "}}}, \"metrics\": {" METRIC("accuracy", "0.75", "0.7",
                                                          "0.8", "higher") "}"));
    write_text("r/cells/b0.json", RECORD("b0", "latency", "ok",
                                         "\"timing\": {\"batch\": 1}, \"provenance\": "
                                         "{\"engine\": \"int8\"}, \"metrics\": {}"));
    write_text("r/cells/b1.json", RECORD("b1", "latency", "ok",
                                         "\"timing\": {\"batch\": 64}, \"provenance\": "
                                         "{\"engine\": \"float32\"}, \"metrics\": {}"));
    results = read_results(NULL);
    cell    = json_array_get(json_object_get(results, "cells"), 0);
    cr_expect_eq(
        json_real_value(json_object_get(
            json_object_get(json_object_get(cell, "metrics"), "accuracy"), "value")),
        0.5);
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(cell, "engines"),
                                                       "latency.b1.engine")),
                     "int8");
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(cell, "engines"),
                                                       "latency.b64.engine")),
                     "float32");
    json_decref(results);
}

Test(results, constraints_are_judged_at_reading)
{
    pq_results_count count;
    json_t          *results;

    enter_folder();
    write_results("{\"accuracy_loss\": {\"max\": 0.1}}");
    results = read_results(NULL);
    cr_expect_str_eq(status_of(results, 0), "ok");
    cr_expect_str_eq(status_of(results, 1), "infeasible");
    cr_expect_str_eq(status_of(results, 2), "failed");
    json_decref(results);
    write_results("{\"bytes\": {\"min\": 1, \"max\": 1000}}");
    results = read_results(&count);
    cr_expect_str_eq(status_of(results, 0), "ok", "bounds are inclusive");
    cr_expect_str_eq(status_of(results, 1), "ok",
                     "what was not measured decides nothing");
    cr_expect_eq(count.undecided, 1);
    cr_expect_str_eq(json_string_value(json_array_get(
                         json_object_get(cell_of(results, 1), "undecided"), 0)),
                     "bytes");
    json_decref(results);
    /* of a metric where lower is better, to lose is to have more: log_loss_loss */
    write_results("{\"entropy_loss\": {\"max\": 0.1}}");
    results = read_results(&count);
    cr_expect_str_eq(status_of(results, 0), "ok");
    cr_expect_str_eq(status_of(results, 1), "infeasible");
    json_decref(results);
    write_results(
        "{\"entropy_loss\": {\"max\": 0.3}, \"accuracy_loss\": {\"max\": 0.25}, "
        "\"latency.b1.p50_s\": {\"max\": 1}}");
    results = read_results(&count);
    cr_expect_str_eq(status_of(results, 1), "ok");
    cr_expect_eq(count.undecided, 2, "no cell has this latency");
    json_decref(results);
}

Test(results, folders_without_a_plan_are_told)
{
    json_t *results = NULL;
    pq_err  err     = {0};

    enter_folder();
    cr_expect_eq(pq_results_read("r", &results, NULL, &err), PQ_ERR_NOT_FOUND);
    cr_expect_str_eq(err.hint, "a results folder is made by `pquant run CONFIG`");
    write_text("r/plan.json", "{\"schema\": \"pquant-plan/0\"}");
    err = (pq_err){0};
    cr_expect_eq(pq_results_read("r", &results, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "r/plan.json: is not a plan of schema pquant-plan/1");
    write_text("r/plan.json", "{\"schema\": \"pquant-plan/1\", \"cells\": [3]}");
    err = (pq_err){0};
    cr_expect_eq(pq_results_read("r", &results, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "r/plan.json: 'cells' is not a list of objects");
}

Test(results, make_a_table_of_a_row_a_cell)
{
    json_t  *results;
    pq_table t     = {0};
    char    *bytes = NULL;
    size_t   n;

    enter_folder();
    write_results("{}");
    results = read_results(NULL);
    cr_assert_eq(pq_table_build(results, &t, NULL), PQ_OK);
    cr_expect_eq(t.n_rows, 4);
    cr_expect_eq(t.reference, 0);
    cr_expect_eq(t.columns[pq_table_column(&t, "accuracy")].better, 1);
    cr_expect_eq(t.columns[pq_table_column(&t, "bytes")].better, -1);
    cr_expect_eq(pq_table_column(&t, "bytes_lo"), SIZE_MAX, "no cell has an interval");
    cr_expect_float_eq(pq_table_entry(&t, 1, "accuracy")->value, 0.5, 1e-15);
    cr_expect(isnan(pq_table_entry(&t, 1, "bytes")->value));
    cr_expect_null(pq_table_entry(&t, 3, "accuracy")->text);
    cr_expect_null(pq_table_entry(&t, 4, "accuracy"));
    cr_expect_null(pq_table_entry(&t, 0, "accurcy"));
    cr_assert_eq(pq_table_write(&t, "t.csv", NULL), PQ_OK);
    cr_assert_eq(pq_file_read("t.csv", 10000, &bytes, &n, NULL), PQ_OK);
    cr_expect_str_eq(
        bytes, "pipeline,label,rank,ranks,status,error,accuracy,accuracy_lo,accuracy_hi,"
               "bytes,entropy,latency.b1.engine,latency.b1.ratio,latency.b1.ratio_lo,"
               "latency.b1.ratio_hi\n"
               "p,reference,,,ok,,0.75,0.7,0.8,1000,0.5,int8,1,1,1\n"
               "p,svd rank=8,8,,ok,,0.5,0.4,0.6,nan,0.75,,,,\n"
               "p,\"tt ranks=[2, 4]\",,\"[2, 4]\",failed,"
               "\"rank 4, \"\"too large\"\"\",,,,,,,,,\n"
               "p,late,,,missing,,,,,,,,,,\n");
    pq_free(bytes);
    pq_table_free(&t);
    json_decref(results);
}

static double query(sqlite3 *file, const char *sql)
{
    sqlite3_stmt *s = NULL;
    double        value;

    cr_assert_eq(sqlite3_prepare_v2(file, sql, -1, &s, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(file));
    cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
    value = sqlite3_column_double(s, 0);
    (void)sqlite3_finalize(s);
    return value;
}

Test(results, make_an_index_for_queries)
{
    json_t  *results;
    sqlite3 *file = NULL;

    enter_folder();
    write_results("{}");
    results = read_results(NULL);
    cr_assert_eq(pq_index_write(results, "r.sqlite", NULL), PQ_OK);
    cr_assert_eq(pq_index_write(results, "r.sqlite", NULL), PQ_OK, "again, from scratch");
    cr_assert_eq(sqlite3_open("r.sqlite", &file), SQLITE_OK);
    cr_expect_float_eq(query(file, "SELECT count(*) FROM cells"), 4.0, 0.0);
    cr_expect_float_eq(
        query(file, "SELECT value FROM metrics JOIN cells USING (cell) WHERE name = "
                    "'accuracy' AND label = 'svd rank=8'"),
        0.5, 1e-15);
    cr_expect_float_eq(query(file, "SELECT count(*) FROM metrics WHERE value IS NULL"),
                       1.0, 0.0);
    cr_expect_float_eq(
        query(file, "SELECT count(*) FROM axes WHERE name = 'rank' AND value = '8'"), 1.0,
        0.0);
    (void)sqlite3_close(file);
    json_decref(results);
}

Test(results, an_index_that_cannot_be_written_is_told)
{
    json_t *results;
    pq_err  err = {0};

    enter_folder();
    write_results("{}");
    results = read_results(NULL);
    cr_expect_eq(pq_index_write(results, "nowhere/r.sqlite", &err), PQ_ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "nowhere/r.sqlite: cannot be written: ") != NULL, "%s",
              err.message);
    json_decref(results);
}

Test(results, running_out_of_memory_leaves_nothing)
{
    json_t *results;
    size_t  before;

    enter_folder();
    write_results("{}");
    results = read_results(NULL);
    before  = pq_memory_live();
    for (size_t n = 0;; n++) {
        pq_table  t = {0};
        pq_status st;
        pq_memory_fail_after(n);
        st = pq_table_build(results, &t, NULL);
        if (st == PQ_OK) {
            st = pq_table_write(&t, "t.csv", NULL);
        }
        pq_memory_fail_after(SIZE_MAX);
        pq_table_free(&t);
        cr_assert_eq(pq_memory_live(), before, "after failing allocation %zu", n);
        if (st == PQ_OK) {
            cr_assert_gt(n, 20);
            break;
        }
    }
    json_decref(results);
}
