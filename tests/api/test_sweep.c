#include <criterion/criterion.h>
#include <pquant.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two cells on the jets, small enough for a test. */
static const char text[] =
    "schema: pquant/1\n"
    "name: of_a_text\n"
    "model: {weights: " PQ_TEST_SOURCE_ROOT "/datasets/models/jsc-mlp.h5}\n"
    "dataset: {file: " PQ_TEST_SOURCE_ROOT "/datasets/jets-hlf.h5}\n"
    "pipelines:\n"
    "  reference: []\n"
    "  svd: [{svd: {rank: 4, clip_rank: true}}]\n"
    "metrics: [accuracy, size]\n";

/* Lines of a file. */
static size_t lines_of(const char *dir, const char *name)
{
    char   path[256];
    size_t n = 0;
    FILE  *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    for (int c = getc(file); c != EOF; c = getc(file)) {
        n += c == '\n';
    }
    fclose(file);
    return n;
}

/* Counts progress of cells. */
static int on_progress(void *context, const char *what, size_t done, size_t total,
                       const char *note)
{
    (void)note;
    cr_assert(done <= total);
    *(size_t *)context += strcmp(what, "cells") == 0;
    return 0;
}

Test(sweep, of_a_text_leaves_a_row_a_cell_and_computes_none_twice)
{
    char           base[] = "/tmp/pquant-sweep-XXXXXX", dir[64];
    size_t         cells  = 0;
    pquant_options o      = {
             .size = sizeof o, .threads = 2, .progress = on_progress, .context = &cells};

    cr_assert_not_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/out", base);
    for (int i = 0; i < 2; i++) {
        char *out = pquant_sweep(text, dir, &o);
        cr_assert_not_null(out, "%s", pquant_error());
        cr_expect_str_eq(out, dir);
        cr_expect_eq(lines_of(out, "table.csv"), 3);
        cr_expect_gt(lines_of(out, "report.html"), 0);
        pquant_text_free(out);
        if (i == 0) {
            cr_expect_gt(cells, 0);
        }
    }
    snprintf(dir, sizeof dir, "rm -rf %s", base);
    cr_expect_eq(system(dir), 0);
}

/* Whatever program this is, it is not started again to measure. */
Test(sweep, measures_in_one_process_and_says_so)
{
    char        base[] = "/tmp/pquant-sweep-XXXXXX", command[256], yaml[2048];
    char       *out;
    const char *latency = "latency: {batch: [1], processes: 4, single_shots: 5,\n"
                          "  warmup: {seconds: 1ms}, samples: {count: 8, sample_time: "
                          "100us, rounds: 1}}\n";

    cr_assert_not_null(mkdtemp(base));
    snprintf(yaml, sizeof yaml, "%s%s", text, latency);
    out = pquant_sweep(yaml, base, NULL);
    cr_assert_not_null(out, "%s", pquant_error());
    snprintf(command, sizeof command, "grep -q 'Times are of one process' %s/table.md",
             base);
    cr_expect_eq(system(command), 0);
    pquant_text_free(out);
    snprintf(command, sizeof command, "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}
