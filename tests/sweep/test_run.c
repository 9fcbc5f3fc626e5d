#include "run_support.h"

Test(run, fills_the_table_and_a_second_run_computes_nothing)
{
    pq_sweep_summary s;
    pq_table         t;
    double           first_s;

    enter_inputs(300);
    s = run(PIPELINES, (pq_sweep_options){0});
    cr_expect_eq(s.cells, 7);
    cr_expect_eq(s.computed, 7);
    cr_expect_eq(s.failed + s.missing + s.cached, 0);
    cr_expect_str_eq(s.dir, "results/t");
    cr_expect_str_eq(s.table, "results/t/table.csv");
    t = table_of(s.dir);
    cr_expect_eq(t.n_rows, 7);
    cr_expect_eq(t.reference, 0);
    cr_expect_gt(value_at(&t, 0, "accuracy"), 0.6);
    cr_expect_lt(value_at(&t, 0, "accuracy_lo"), value_at(&t, 0, "accuracy"));
    cr_expect_lt(value_at(&t, 4, "stored_bytes"), value_at(&t, 0, "stored_bytes") / 2.0);
    cr_expect_str_eq(text_at(&t, 6, "label"), "both r=2");
    cr_expect_str_eq(text_at(&t, 6, "r"), "2");
    cr_expect_str_eq(text_at(&t, 6, "status"), "ok");
    cr_expect(pq_file_exists("results/t/results.sqlite"));
    first_s = s.seconds;
    pq_table_free(&t);
    cr_assert_eq(rename("results/t/table.csv", "first.csv"), 0);
    pq_sweep_summary_free(&s);
    s = run(PIPELINES, (pq_sweep_options){0});
    cr_expect_eq(s.cached, 7);
    cr_expect_eq(s.computed, 0);
    cr_expect_lt(s.seconds, first_s, "nothing was computed, but it took as long");
    expect_same_file("results/t/table.csv", "first.csv");
    pq_sweep_summary_free(&s);
}

Test(run, jobs_do_not_change_the_results)
{
    pq_sweep_summary a, b;

    enter_inputs(300);
    a = run(PIPELINES, (pq_sweep_options){.dir = "one"});
    b = run(PIPELINES, (pq_sweep_options){.dir = "two", .jobs = 2});
    cr_expect_eq(b.computed, 7);
    expect_same_file("one/table.csv", "two/table.csv");
    pq_sweep_summary_free(&a);
    pq_sweep_summary_free(&b);
}

/* What ran, and how far each layer is from the network before any stage. */
static void expect_kernels_and_errors(const json_t *record)
{
    const json_t *kernels =
        json_object_get(json_object_get(record, "provenance"), "kernels");
    const json_t *diff   = json_object_get(record, "quantization");
    const json_t *layers = json_object_get(diff, "layers"), *layer;
    size_t        i;

    cr_assert(json_is_string(kernels));
    cr_expect_not_null(strstr(json_string_value(kernels), " x float32:"));
    cr_assert_geq(json_array_size(layers), 2);
    cr_expect_gt(json_integer_value(json_object_get(diff, "events")), 0);
    json_array_foreach((json_t *)layers, i, layer)
    {
        cr_expect_gt(json_number_value(json_object_get(layer, "signal")), 0.0);
    }
}

Test(run, shared_prefixes_give_what_computing_anew_gives)
{
    pq_sweep_summary a, b;
    pq_config       *config;
    pq_cells         cells;
    char            *path;

    enter_inputs(300);
    a = run(PIPELINES, (pq_sweep_options){.dir = "shared"});
    b = run(METRICS "pipelines:\n  both: {stages: [{svd: {rank: $r}}, quantize], "
                    "sweep: {r: [1, 2]}}\n",
            (pq_sweep_options){.dir = "alone"});
    config =
        read_config(METRICS "pipelines:\n  both: {stages: [{svd: {rank: $r}}, quantize], "
                            "sweep: {r: [1, 2]}}\n",
                    NULL);
    OK(pq_cells_plan(config, "alone", &cells, ERR));
    for (size_t i = 0; i < cells.n; i++) {
        char *x   = pq_format("shared/models/%s.h5", cells.cells[i].artifact[2]);
        path      = pq_format("alone/models/%s.h5", cells.cells[i].artifact[2]);
        json_t *p = NULL, *q = NULL;
        cr_expect(pq_file_exists(x) && pq_file_exists(path));
        OK(pq_record_read("shared", cells.cells[i].eval, &p, ERR));
        OK(pq_record_read("alone", cells.cells[i].eval, &q, ERR));
        cr_expect(
            json_equal(json_object_get(p, "metrics"), json_object_get(q, "metrics")));
        cr_expect(json_equal(json_object_get(p, "layers"), json_object_get(q, "layers")));
        cr_expect_geq(json_array_size(json_object_get(p, "layers")), 4,
                      "two layers, two stages");
        expect_kernels_and_errors(p);
        json_decref(p);
        json_decref(q);
        pq_free(x);
        pq_free(path);
    }
    pq_cells_free(&cells);
    pq_config_free(&config);
    pq_sweep_summary_free(&a);
    pq_sweep_summary_free(&b);
}

Test(run, a_failed_cell_is_recorded_and_the_rest_goes_on)
{
    const char *const rest = METRICS "pipelines:\n  reference: []\n  svd: {stages: "
                                     "[{svd: {rank: $r}}], sweep: {r: [2, 100]}}\n"
                                     "  none: [svd: {rank: 1, layers: nosuch}]\n  f16: "
                                     "[quantize: {format: float16}]\n";
    pq_sweep_summary  s;
    pq_table          t;

    enter_inputs(100);
    s = run(rest, (pq_sweep_options){.jobs = 2});
    cr_expect_eq(s.computed, 3);
    cr_expect_eq(s.failed, 2);
    t = table_of(s.dir);
    cr_expect_str_eq(text_at(&t, 2, "status"), "failed");
    cr_expect(strstr(text_at(&t, 2, "error"), "100") != NULL, "%s",
              text_at(&t, 2, "error"));
    cr_expect(strstr(text_at(&t, 3, "error"), "nosuch") != NULL, "%s",
              text_at(&t, 3, "error"));
    cr_expect_str_eq(text_at(&t, 4, "status"), "ok");
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
    s = run(rest, (pq_sweep_options){0});
    cr_expect_eq(s.cached, 3);
    cr_expect_eq(s.failed, 2, "tried again: failures are never cached");
    pq_sweep_summary_free(&s);
}

Test(run, a_cell_that_takes_too_long_is_stopped)
{
    pq_sweep_summary s;
    pq_table         t;

    enter_inputs(60000);
    s = run("limits: {cell_timeout: 1ms}\n" PIPELINES,
            (pq_sweep_options){.only = "svd*"});
    cr_expect_eq(s.failed, 3);
    cr_expect_eq(s.missing, 4);
    t = table_of(s.dir);
    cr_expect_str_eq(text_at(&t, 1, "status"), "timeout");
    cr_expect_str_eq(text_at(&t, 1, "error"), "stopped after the time limit of 1 ms");
    cr_expect_str_eq(text_at(&t, 0, "status"), "missing");
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
}

/* Records there are now. */
static size_t count_records(const char *dir)
{
    char   folder[64];
    char **names = NULL;
    size_t n     = 0;

    (void)snprintf(folder, sizeof folder, "%s/cells", dir);
    if (pq_folder_list(folder, ".json", &names, &n, NULL) == PQ_OK) {
        for (size_t i = 0; i < n; i++) {
            pq_free(names[i]);
        }
        pq_free(names);
    }
    return n;
}

/* Starts a sweep in another process and sends it a signal once it has some records. */
static int stop_midway(const char *dir, size_t records, int signal_number)
{
    pid_t pid = fork();
    int   status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        pq_config       *config  = read_config(MANY, NULL);
        pq_sweep_summary summary = {0};
        pq_sweep_options options = {.dir = dir};
        pq_err           err     = {0};
        _exit(pq_status_exit_code(pq_sweep_run(config, &options, &summary, &err)));
    }
    while (count_records(dir) < records) {
        const struct timespec t = {0, 1000000};
        (void)nanosleep(&t, NULL);
    }
    (void)kill(pid, signal_number);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

Test(run, killed_and_started_again_computes_only_what_is_missing)
{
    pq_sweep_summary s;
    size_t           kept;
    int              status;

    enter_inputs(20000);
    s = run(MANY, (pq_sweep_options){.dir = "whole"});
    cr_expect_eq(s.computed, 34);
    pq_sweep_summary_free(&s);
    status = stop_midway("killed", 5, SIGKILL);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    kept = count_records("killed");
    cr_assert_lt(kept, 34, "it was killed in the middle");
    s = run(MANY, (pq_sweep_options){.dir = "killed"});
    /* a cell that was at work at the end may still have written its record */
    cr_expect_geq(s.cached, kept);
    cr_expect_leq(s.cached, kept + 1);
    cr_expect_eq(s.cached + s.computed, 34);
    expect_same_file("whole/table.csv", "killed/table.csv");
    pq_sweep_summary_free(&s);
}

Test(run, interrupted_says_so_and_resumes)
{
    pq_sweep_summary s;
    int              status;

    enter_inputs(20000);
    status = stop_midway("stopped", 3, SIGTERM);
    cr_assert(WIFEXITED(status));
    cr_expect_eq(WEXITSTATUS(status), 130);
    cr_expect(pq_file_exists("stopped/table.csv"), "what is done is in the table");
    s = run(MANY, (pq_sweep_options){.dir = "stopped"});
    cr_expect_geq(s.cached, 3);
    cr_expect_eq(s.cached + s.computed, 34);
    pq_sweep_summary_free(&s);
}

Test(run, damaged_results_are_computed_again)
{
    pq_sweep_summary s;
    char           **names = NULL;
    size_t           n     = 0;

    enter_inputs(100);
    s = run(PIPELINES, (pq_sweep_options){0});
    pq_sweep_summary_free(&s);
    cr_assert_eq(rename("results/t/table.csv", "first.csv"), 0);
    OK(pq_folder_list("results/t/cells", ".json", &names, &n, ERR));
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join("results/t/cells", names[i]);
        if (i < 2) {
            write_text(path, i == 0 ? "{\"schema\": \"pquant-rec" : "");
        }
        pq_free(path);
        pq_free(names[i]);
    }
    pq_free(names);
    OK(pq_folder_list("results/t/models", ".h5", &names, &n, ERR));
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join("results/t/models", names[i]);
        write_text(path, "not HDF5");
        pq_free(path);
        pq_free(names[i]);
    }
    pq_free(names);
    s = run(PIPELINES, (pq_sweep_options){0});
    cr_expect_eq(s.cached, 5);
    cr_expect_eq(s.computed, 2);
    expect_same_file("results/t/table.csv", "first.csv");
    pq_sweep_summary_free(&s);
}

Test(run, force_computes_everything_again)
{
    pq_sweep_summary s;

    enter_inputs(100);
    s = run(PIPELINES, (pq_sweep_options){0});
    pq_sweep_summary_free(&s);
    cr_assert_eq(rename("results/t/table.csv", "first.csv"), 0);
    s = run(PIPELINES, (pq_sweep_options){.force = true});
    cr_expect_eq(s.computed, 7);
    expect_same_file("results/t/table.csv", "first.csv");
    pq_sweep_summary_free(&s);
}

Test(run, cells_of_the_same_key_are_computed_once)
{
    pq_sweep_summary s;

    enter_inputs(100);
    s = run(
        METRICS
        "pipelines:\n  a: []\n  b: []\n  c: [svd: {rank: 2}]\n  d: [svd: {rank: 2}]\n",
        (pq_sweep_options){0});
    cr_expect_eq(s.computed, 4);
    cr_expect_eq(count_records(s.dir), 2);
    pq_sweep_summary_free(&s);
}

Test(run, a_folder_that_cannot_be_written_is_one_clear_message)
{
    pq_config       *config;
    pq_sweep_summary summary = {0};
    pq_err           err     = {0};

    enter_inputs(100);
    write_text("file", "in the way");
    config = read_config(PIPELINES, NULL);
    cr_expect_eq(
        pq_sweep_run(config, &(pq_sweep_options){.dir = "file/results"}, &summary, &err),
        PQ_ERR_ACCESS);
    cr_expect(strstr(err.message, "file/results: cannot make the folder") != NULL, "%s",
              err.message);
    pq_config_free(&config);
}

/* Files of a folder whose names hold a word. */
static size_t count_named(const char *folder, const char *word)
{
    char **names = NULL;
    size_t n = 0, found = 0;

    if (pq_folder_list(folder, "", &names, &n, NULL) != PQ_OK) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        found += strstr(names[i], word) != NULL;
        pq_free(names[i]);
    }
    pq_free(names);
    return found;
}

static void expect_nothing_half_written(const char *dir)
{
    static const char *const folders[] = {".", "cells", "models", "arrays", "cache"};
    json_t                  *records   = NULL;
    size_t                   damaged   = 0;

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *folder = pq_path_join(dir, folders[i]);
        cr_expect_eq(count_named(folder, ".tmp."), 0, "%s", folder);
        pq_free(folder);
    }
    OK(pq_records_read(dir, &records, &damaged, ERR));
    cr_expect_eq(damaged, 0);
    json_decref(records);
}

Test(run, a_full_disk_stops_the_sweep_and_leaves_nothing_half_written)
{
    const char *const rest    = METRICS "pipelines: {reference: [], int8: [quantize]}\n";
    struct rlimit     limit   = {0};
    size_t            stopped = 0;
    pq_sweep_summary  s;

    enter_inputs(100);
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (rlim_t most = 500; most < 20000; most += 500) {
        pq_config       *config  = read_config(rest, NULL);
        pq_sweep_summary summary = {0};
        pq_err           err     = {0};
        pq_status        st;
        limit.rlim_cur = most;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        st = pq_sweep_run(config, &(pq_sweep_options){.dir = "full"}, &summary, &err);
        limit.rlim_cur = limit.rlim_max;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_expect(st == PQ_OK || st == PQ_ERR_IO, "%d: %s", st, err.message);
        cr_expect(st == PQ_OK || strstr(err.message, "full/") != NULL, "%s", err.message);
        cr_expect_eq(summary.failed, 0, "a full disk is not the cell's fault");
        stopped += st != PQ_OK;
        expect_nothing_half_written("full");
        pq_sweep_summary_free(&summary);
        pq_config_free(&config);
    }
    cr_expect_gt(stopped, 3);
    s = run(rest, (pq_sweep_options){.dir = "full"});
    cr_expect_eq(s.failed + s.missing, 0);
    pq_sweep_summary_free(&s);
}
