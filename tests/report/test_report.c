#include "fixture.h"

#include <sys/stat.h>

#include "report/report.h"
#include "xml.h"

#define NONE ((double)NAN)

static const char *const jets[] = {"g", "q", "w", "z", "t"};

static const fixture_cell small_cells[] = {
    {"reference", "reference", NULL, NULL, "ok", 0.76, 17556.0, 1.0, NULL},
    {"svd", "svd rank=4", "rank", "4", "ok", 0.68, 5000.0, 1.5, NULL},
    {"svd", "svd rank=8", "rank", "8", "ok", 0.752, 8800.0, 1.25,
     "cpu/wall 0.71 is below 0.9"},
    {"svd", "svd rank=99", "rank", "99", "failed", NONE, NONE, NONE, NULL},
    {"svd", "svd rank=16", "rank", "16", "missing", NONE, NONE, NONE, NULL},
};

static const fixture small = {"small", "jets", jets, 5, 5, small_cells, true, 0, NULL};

static const char *const hostile_classes[] = {"<script>alert(1)</script>", "a'b`c$(d)",
                                              "x_{y}^2 & \"z\""};

static const fixture_cell hostile_cells[] = {
    {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, 1.0, NULL},
    {"<b>'; !touch hostile; '", "<script>alert('2')</script> `id` | \\input{x} rank=2",
     "rank", "2", "ok", 0.795, 2000.0, 1.2, "</li><script>"},
    {"<b>'; !touch hostile; '", "\"><img src=x onerror=alert(3)> rank=4", "rank", "4",
     "ok", 0.798, 3000.0, 1.1, NULL},
};

static const fixture hostile = {"<img src=x>'\n system('touch hostile') &",
                                "</title><script>'",
                                hostile_classes,
                                3,
                                3,
                                hostile_cells,
                                false,
                                0,
                                NULL};

static char *read_text(const char *dir, const char *name)
{
    char  *path = pq_path_join(dir, name), *text = NULL;
    size_t n   = 0;
    pq_err err = {0};

    cr_assert_eq(pq_file_read(path, 1 << 26, &text, &n, &err), PQ_OK, "%s", err.message);
    pq_free(path);
    return text;
}

static bool there(const char *dir, const char *name)
{
    char      *path = pq_path_join(dir, name);
    const bool is   = pq_file_bytes(path) > 0;

    pq_free(path);
    return is;
}

static pq_report_summary write_report(const char *dir, const fixture *f,
                                      const pq_report_options *options)
{
    pq_report_summary summary = {0};
    pq_err            err     = {0};

    fixture_write(dir, f);
    cr_assert_eq(pq_report_write(dir, options, &summary, &err), PQ_OK, "%s", err.message);
    return summary;
}

static char *print_report(const char *dir, size_t width, bool color)
{
    json_t *results = NULL;
    pq_text text    = {0};
    char   *out     = NULL;
    pq_err  err     = {0};

    cr_assert_eq(pq_results_read(dir, &results, NULL, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_report_print(results, width, color, &text, &err), PQ_OK, "%s",
                 err.message);
    json_decref(results);
    cr_assert_eq(pq_text_take(&text, &out, &err), PQ_OK);
    return out;
}

static void skip_without_gnuplot(void)
{
    if (system("command -v gnuplot >/dev/null") != 0) {
        cr_skip_test("skipped: gnuplot is not installed");
    }
}

Test(report, markdown_table_of_small_results)
{
    static const char want[] =
        "# small\n\n"
        "| model | accuracy / % | Δ acc. / pp | AUC macro | stored / B | ratio | "
        "speed-up b=1 | time b=1 / µs | p50 / µs | p99 / µs | MACs | parameters | file / "
        "B |\n"
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: "
        "|\n"
        "| reference | 76.00 ± 0.43 | – | 0.9408 ± 0.0014 | 17\u202f556 | 1.00 | "
        "1.000 ± 0.020 | 2.100 ± 0.030 | 2.21 | 3.36 | 4281 | 4389 | 26\u202f556 |\n"
        "| svd rank=4 | 68.00 ± 0.47 | −8.00 | 0.8944 ± 0.0014 | 5000 | 3.51 | "
        "1.500 ± 0.020 | 1.400 ± 0.030 | 1.47 | 2.24 | 1219 | 1250 | 14\u202f000 |\n"
        "| svd rank=8 | 75.20 ± 0.43 | −0.80 | 0.9362 ± 0.0014 | 8800 | 2.00 | "
        "1.250 ± 0.020 | 1.680 ± 0.030 | 1.76 | 2.69 | 2146 | 2200 | 17\u202f800 |\n\n"
        "Uncertainties are 68.3 % intervals (one sigma)";
    char *dir  = fixture_folder();
    char *text = NULL;

    (void)write_report(dir, &small, &(pq_report_options){.no_plots = true});
    text = read_text(dir, "table.md");
    cr_expect_eq(strncmp(text, want, sizeof want - 1), 0, "%s", text);
    cr_expect_not_null(strstr(text,
                              "\nFailed cells:\n\n- failed: svd rank=99: layer 'fc1': "
                              "rank 99 is not in 1..32\n"));
    cr_expect_not_null(strstr(text,
                              "Noisy timing (1 of 5 cells): svd rank=8 (cpu/wall 0.71 is "
                              "below 0.9)\n"));
    cr_expect_not_null(strstr(text, "1 of 5 cells has not been run yet."));
    pq_free(text);
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(report, latex_table_of_small_results)
{
    static const char want[] =
        "% small -- needs "
        "\\usepackage{booktabs}\n\\begin{tabular}{l*{12}{r}}\n\\toprule\n"
        "model & accuracy / \\% & $\\Delta$ acc. / pp & AUC macro & stored / B & ratio & "
        "speed-up b=1 & time b=1 / $\\mu$s & p50 / $\\mu$s & p99 / $\\mu$s & MACs & "
        "parameters & file / B \\\\\n\\midrule\n"
        "reference & 76.00 $\\pm$ 0.43 & -- & 0.9408 $\\pm$ 0.0014 & 17\\,556 & 1.00 & "
        "1.000 $\\pm$ 0.020 & 2.100 $\\pm$ 0.030 & 2.21 & 3.36 & 4281 & 4389 & 26\\,556 "
        "\\\\\n"
        "svd rank=4 & 68.00 $\\pm$ 0.47 & $-$8.00 & 0.8944 $\\pm$ 0.0014 & 5000 & 3.51 & "
        "1.500 $\\pm$ 0.020 & 1.400 $\\pm$ 0.030 & 1.47 & 2.24 & 1219 & 1250 & 14\\,000 "
        "\\\\\n"
        "svd rank=8 & 75.20 $\\pm$ 0.43 & $-$0.80 & 0.9362 $\\pm$ 0.0014 & 8800 & 2.00 & "
        "1.250 $\\pm$ 0.020 & 1.680 $\\pm$ 0.030 & 1.76 & 2.69 & 2146 & 2200 & 17\\,800 "
        "\\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
        "% failed: svd rank=99: layer 'fc1': rank 99 is not in 1..32\n";
    char *dir  = fixture_folder();
    char *text = NULL;

    (void)write_report(dir, &small, &(pq_report_options){.no_plots = true});
    text = read_text(dir, "table.tex");
    cr_expect_str_eq(text, want);
    pq_free(text);
    fixture_remove(dir);
}

static size_t widest_line(const char *text)
{
    size_t widest = 0, n = 0;

    for (; *text != '\0'; text++) {
        n      = *text == '\n' ? 0 : n + (((unsigned char)*text & 0xc0) != 0x80);
        widest = n > widest ? n : widest;
    }
    return widest;
}

Test(report, terminal_table_fits_its_width_and_keeps_what_matters)
{
    static const size_t widths[] = {40, 60, 80, 100, 200};
    char               *dir      = fixture_folder();

    (void)write_report(dir, &small, &(pq_report_options){.no_plots = true});
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char *text = print_report(dir, widths[i], false);
        cr_expect_leq(widest_line(text), widths[i], "%zu columns:\n%s", widths[i], text);
        cr_expect_not_null(strstr(text, "accuracy / %"), "%s", text);
        cr_expect_not_null(
            strstr(text, "failed: svd rank=99\n    layer 'fc1': rank 99 is not"), "%s",
            text);
        cr_expect_null(strchr(text, '\x1b'));
        cr_expect_eq(strstr(text, "speed-up b=1") != NULL, true, "%s", text);
        cr_expect_eq(strstr(text, "Not shown for want of width: ") != NULL,
                     widths[i] < 200, "%s", text);
        pq_free(text);
    }
    char *narrow = print_report(dir, 10, false), *least = print_report(dir, 40, false);
    cr_expect_str_eq(narrow, least);
    pq_free(narrow);
    pq_free(least);
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}

/* A lopsided interval is wide: its column goes on without it where it does not fit. */
Test(report, terminal_table_leaves_out_an_interval_before_its_column)
{
    json_t *metrics = json_object(), *results;
    size_t  bare    = 0;
    pq_err  err     = {0};

    fixture_metric(metrics, "accuracy", 0.761, 0.002, 100.0, "", "higher");
    fixture_metric(metrics, "stored_bytes", 4389.0, (double)NAN, 0.0, "byte", "lower");
    json_object_set_new(metrics, "latency.b1.ratio",
                        json_pack("{s:f, s:f, s:f, s:s}", "value", 12.3, "lo", 12.1, "hi",
                                  14.8, "unit", ""));
    results = json_pack("{s:s, s:[{s:s, s:s, s:s, s:o}]}", "name", "t", "cells", "label",
                        "prune sparsity=0.95", "pipeline", "prune", "status", "ok",
                        "metrics", metrics);
    for (size_t width = 60; width <= 90; width++) {
        static const char note[] = "Without their intervals for want of width: speed-up";
        pq_text           text   = {0};
        cr_assert_eq(pq_report_print(results, width, false, &text, &err), PQ_OK);
        const bool without = strstr(text.text, note) != NULL;
        cr_expect_leq(widest_line(text.text), width, "%s", text.text);
        cr_expect_not_null(strstr(text.text, "speed-up b=1"), "%s", text.text);
        cr_expect_not_null(strstr(text.text, "12.3"), "%s", text.text);
        cr_expect_eq(strstr(text.text, "+2.5") == NULL, without, "%s", text.text);
        bare += without;
        pq_text_free(&text);
    }
    cr_expect(bare > 0 && bare < 31, "%zu of 31 widths without the interval", bare);
    json_decref(results);
}

static const fixture_cell long_cells[] = {
    {"reference", "reference", NULL, NULL, "ok", 0.76, 17556.0, 1.0, NULL},
    {"int8", "int8 granularity=per_channel calibration=minmax rounding=nearest", NULL,
     NULL, "ok", 0.75, 5000.0, 1.5, NULL},
    {"int8", "int8 granularity=per_channel calibration=mse rounding=nearest", NULL, NULL,
     "ok", 0.74, 5000.0, 1.5, NULL},
    {"int8", "int8 granularity=per_tensor calibration=mse rounding=adaround", NULL, NULL,
     "ok", 0.73, 5000.0, 1.5, NULL},
};

static const fixture long_names = {"long",     "jets", jets, 5,   4,
                                   long_cells, false,  0,    NULL};

Test(report, rows_of_the_terminal_differ_where_their_names_do)
{
    static const size_t widths[] = {40, 60, 80, 100, 200};
    char               *dir      = fixture_folder();

    (void)write_report(dir, &long_names, &(pq_report_options){.no_plots = true});
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char  *text = print_report(dir, widths[i], false), *rest = text, *line;
        char  *labels[4];
        size_t n = 0;
        for (size_t skipped = 0; n < 4 && (line = strsep(&rest, "\n")) != NULL;
             skipped++) {
            char *gap = strstr(line, "  ");
            if (skipped >= 2 && gap != NULL) {
                *gap        = '\0';
                labels[n++] = line;
            }
        }
        cr_assert_eq(n, 4);
        cr_expect_str_eq(labels[0], "reference");
        for (size_t a = 0; a < n; a++) {
            for (size_t b = a + 1; b < n; b++) {
                cr_expect_str_neq(labels[a], labels[b], "%zu columns: two rows '%s'",
                                  widths[i], labels[a]);
            }
        }
        pq_free(text);
    }
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(report, colors_only_mark_rows_and_change_no_text)
{
    char *dir = fixture_folder();
    (void)write_report(dir, &small, &(pq_report_options){.no_plots = true});
    char *plain = print_report(dir, 100, false), *colored = print_report(dir, 100, true);
    char *from = colored, *to = colored;

    cr_expect_not_null(strstr(colored, "\x1b[1mreference"));
    while (*from != '\0') {
        from += *from == '\x1b' ? strcspn(from, "m") + 1 : 0;
        if (*from != '\x1b') {
            *to++ = *from;
            from += *from != '\0';
        }
    }
    *to = '\0';
    cr_expect_str_eq(colored, plain);
    pq_free(plain);
    pq_free(colored);
    fixture_remove(dir);
}

Test(report, plots_are_drawn_as_png_and_well_formed_svg)
{
    static const char *const names[] = {"accuracy_bytes", "accuracy_rank", "roc",
                                        "latency", "confusion"};
    char                    *dir     = fixture_folder();

    skip_without_gnuplot();
    const pq_report_summary s =
        write_report(dir, &small, &(pq_report_options){.pdf = true});
    cr_expect_str_eq(s.note, "");
    cr_expect_eq(s.plots, 5);
    cr_expect_eq(s.cells, 5);
    cr_expect_eq(s.done, 3);
    cr_expect_eq(s.failed, 1);
    cr_expect_eq(s.missing, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        static const char *const suffixes[] = {"gp", "dat", "png", "pdf", "svg"};
        char                     name[64];
        for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
            (void)snprintf(name, sizeof name, "plots/%s.%s", names[i], suffixes[k]);
            cr_expect(there(dir, name), "no %s", name);
        }
        char *svg = read_text(dir, name);
        cr_expect(xml_is_well_formed(svg), "%s is not well-formed", name);
        pq_free(svg);
    }
    cr_expect_not(there(dir, "plots/accuracy_bytes.log"));
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}

static struct timespec changed(const char *dir, const char *name)
{
    char       *path = pq_path_join(dir, name);
    struct stat s    = {0};

    cr_assert_eq(stat(path, &s), 0, "%s", path);
    pq_free(path);
    return s.st_mtim;
}

Test(report, the_same_records_draw_nothing_again_and_new_ones_do)
{
    char        *dir     = fixture_folder();
    fixture_cell cells[] = {small_cells[0], small_cells[1], small_cells[2]};
    fixture      other   = small;

    skip_without_gnuplot();
    (void)write_report(dir, &small, NULL);
    const struct timespec first = changed(dir, "plots/accuracy_rank.png");
    char                 *page  = read_text(dir, "report.html");

    (void)write_report(dir, &small, NULL);
    const struct timespec second = changed(dir, "plots/accuracy_rank.png");
    char                 *again  = read_text(dir, "report.html");
    cr_expect(first.tv_sec == second.tv_sec && first.tv_nsec == second.tv_nsec);
    cr_expect_str_eq(page, again);

    cells[2].accuracy = 0.741;
    other.cells       = cells;
    other.n_cells     = 3;
    (void)write_report(dir, &other, NULL);
    const struct timespec third = changed(dir, "plots/accuracy_rank.png");
    cr_expect(third.tv_sec > second.tv_sec || third.tv_nsec > second.tv_nsec);
    pq_free(page);
    pq_free(again);
    fixture_remove(dir);
}

Test(report, without_gnuplot_all_but_pictures_is_there)
{
    char *dir = fixture_folder();

    cr_assert_eq(setenv("PATH", "", 1), 0);
    const pq_report_summary s = write_report(dir, &small, NULL);
    cr_expect_eq(s.plots, 0);
    cr_expect_not_null(strstr(s.note, "gnuplot is not installed"), "%s", s.note);
    cr_expect(there(dir, "table.csv") && there(dir, "table.md") &&
              there(dir, "table.tex"));
    cr_expect(there(dir, "plots/roc.gp") && there(dir, "plots/roc.dat"));
    cr_expect_not(there(dir, "plots/roc.svg"));
    char *page = read_text(dir, "report.html");
    cr_expect_not_null(strstr(page, "gnuplot is not installed"));
    cr_expect_null(strstr(page, "<img"));
    cr_expect_not_null(strstr(page, "<svg class=\"chart\""), "curves need no gnuplot");
    pq_free(page);
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(report, a_gnuplot_that_fails_is_a_note_and_leaves_no_pictures)
{
    char *dir = fixture_folder();

    const pq_report_summary s =
        write_report(dir, &small, &(pq_report_options){.gnuplot = "/bin/false"});
    cr_expect_eq(s.plots, 0);
    cr_expect_not_null(strstr(s.note, "gnuplot could not draw accuracy_bytes: see "),
                       "%s", s.note);
    cr_expect_not(there(dir, "plots/roc.png"));
    cr_expect(there(dir, "report.html"));
    fixture_remove(dir);
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;

    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        n++;
    }
    return n;
}

Test(report, hostile_names_stay_text_everywhere)
{
    char *dir = fixture_folder();

    const pq_report_summary s = write_report(dir, &hostile, NULL);
    char *page = read_text(dir, "report.html"), *markdown = read_text(dir, "table.md");
    cr_expect_eq(occurrences(page, "<script"), 2, "its own: the numbers, and the code");
    cr_expect_eq(occurrences(page, "</script"), 2);
    cr_expect_null(strstr(page, "<script>alert"));
    cr_expect_null(strstr(page, "<img src"));
    cr_expect_null(strstr(page, "</title><"));
    cr_expect_not_null(strstr(page, "&lt;script&gt;alert(&#39;2&#39;)&lt;/script&gt;"));
    cr_expect_null(strstr(markdown, "<script"));
    cr_expect_null(strstr(markdown, " | \\input"));
    cr_expect_not(there(dir, "hostile") || there(dir, "plots/hostile"));
    if (s.note[0] == '\0') {
        char *svg = read_text(dir, "plots/accuracy_bytes.svg");
        cr_expect(xml_is_well_formed(svg));
        cr_expect_null(strstr(svg, "<script"));
        cr_expect_null(strstr(svg, "<b>"));
        pq_free(svg);
        cr_expect_eq(s.plots, 4, "%zu", s.plots);
    } else {
        cr_expect_not_null(strstr(s.note, "gnuplot is not installed"), "%s", s.note);
    }
    pq_free(page);
    pq_free(markdown);
    fixture_remove(dir);
}

Test(report, one_cell_makes_a_report)
{
    static const fixture one = {"one", "", jets, 5, 1, small_cells, true, 0, NULL};
    char                *dir = fixture_folder();

    const pq_report_summary s = write_report(dir, &one, NULL);
    cr_expect_eq(s.cells, 1);
    cr_expect_eq(s.done, 1);
    char *text = print_report(dir, 100, false);
    cr_expect_not_null(strstr(text, "reference"));
    cr_expect_not_null(strstr(text, "76.00 ± 0.43"));
    pq_free(text);
    fixture_remove(dir);
}

Test(report, only_failed_cells_make_a_report_without_table)
{
    static const fixture failed = {"failed",        "jets", jets, 5,   1,
                                   &small_cells[3], false,  0,    NULL};
    char                *dir    = fixture_folder();

    const pq_report_summary s = write_report(dir, &failed, NULL);
    cr_expect_eq(s.done, 0);
    cr_expect_eq(s.failed, 1);
    cr_expect_eq(s.plots, 0);
    char *page = read_text(dir, "report.html"), *text = print_report(dir, 80, false);
    cr_expect_not_null(strstr(page, "rank 99 is not in 1..32"));
    cr_expect_not_null(strstr(text, "rank 99 is not in 1..32"));
    pq_free(page);
    pq_free(text);
    fixture_remove(dir);
}

Test(report, metrics_that_are_missing_leave_their_columns_and_plots_out)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", NONE, 4000.0, NONE, NULL},
        {"svd", "svd rank=4", "rank", "4", "ok", NONE, 2000.0, NONE, NULL},
    };
    static const fixture sizes = {"sizes", "jets", jets, 0, 2, cells, false, 0, NULL};
    char                *dir   = fixture_folder();

    (void)write_report(dir, &sizes, NULL);
    char *text = read_text(dir, "table.md");
    cr_expect_not_null(
        strstr(text, "| model | stored / B | ratio | MACs | parameters | file / B |\n"),
        "%s", text);
    cr_expect_null(strstr(text, "68.3"));
    cr_expect_not(there(dir, "plots/accuracy_bytes.gp"));
    cr_expect_not(there(dir, "plots/accuracy_rank.gp"));
    pq_free(text);
    fixture_remove(dir);
}

Test(report, models_near_the_reference_get_a_plot_of_their_own_where_others_are_far)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.75, 4000.0, NONE, NULL},
        {"svd", "svd rank=4", "rank", "4", "ok", 0.74, 2000.0, NONE, NULL},
        {"svd", "svd rank=8", "rank", "8", "ok", 0.75, 3000.0, NONE, NULL},
        {"svd", "svd rank=1", "rank", "1", "ok", 0.60, 500.0, NONE, NULL},
    };
    fixture set = {"near", "jets", jets, 0, 4, cells, false, 0, NULL};

    for (size_t far = 0; far < 2; far++) {
        char *dir   = fixture_folder();
        set.n_cells = 3 + far;
        (void)write_report(dir, &set, NULL);
        cr_expect_eq(there(dir, "plots/accuracy_bytes_near.gp"), far == 1);
        if (far == 1) {
            char *script = read_text(dir, "plots/accuracy_bytes_near.gp");
            cr_expect_not_null(strstr(script, "set yrange [7"), "%s", script);
            pq_free(script);
        }
        fixture_remove(dir);
    }
}

Test(report, arrays_that_are_damaged_are_told_with_their_file)
{
    char  *dir = fixture_folder(), *arrays = NULL, **names = NULL;
    size_t n   = 0;
    pq_err err = {0};

    fixture_write(dir, &small);
    arrays = pq_path_join(dir, "arrays");
    cr_assert_eq(pq_folder_list(arrays, ".h5", &names, &n, &err), PQ_OK);
    cr_assert_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join(arrays, names[i]);
        cr_assert_eq(truncate(path, 100), 0);
        pq_free(path);
        pq_free(names[i]);
    }
    cr_expect_eq(pq_report_write(dir, NULL, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, ".h5"), "%s", err.message);
    pq_free(names);
    pq_free(arrays);
    fixture_remove(dir);
}

Test(report, what_cannot_be_written_is_told_with_its_path)
{
    char  *dir = fixture_folder(), *plots = pq_path_join(dir, "plots");
    pq_err err = {0};

    fixture_write(dir, &small);
    cr_assert_eq(pq_file_write(plots, "x", 1, &err),
                 PQ_OK); /* a file where the folder goes */
    cr_expect_eq(pq_report_write(dir, NULL, NULL, &err), PQ_ERR_ACCESS);
    cr_expect_not_null(strstr(err.message, "plots"), "%s", err.message);
    (void)unlink(plots);
    pq_free(plots);
    fixture_remove(dir);
}

Test(report, a_damaged_plan_is_refused)
{
    char  *dir = fixture_folder(), *plan = pq_path_join(dir, "plan.json");
    pq_err err = {0};

    cr_assert_eq(pq_file_write(plan, "{\"schema\":", 10, &err), PQ_OK);
    cr_expect_eq(pq_report_write(dir, NULL, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, "plan.json"), "%s", err.message);
    pq_free(plan);
    fixture_remove(dir);
}

Test(report, a_folder_without_plan_is_refused)
{
    char             *dir = fixture_folder();
    pq_report_summary s   = {.cells = 77};
    pq_err            err = {0};

    cr_expect_eq(pq_report_write(dir, NULL, &s, &err), PQ_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.message, "plan.json"), "%s", err.message);
    cr_expect_eq(s.cells, 77, "the summary is untouched on failure");
    cr_expect_eq(pq_memory_live(), 0 + 1); /* dir */
    fixture_remove(dir);
}

Test(report, every_failed_allocation_of_the_table_is_reported_and_leaks_nothing)
{
    json_t *results = NULL;
    char   *dir     = fixture_folder();
    size_t  n       = 0;
    pq_err  err     = {0};
    bool    done    = false;

    fixture_write(dir, &small);
    cr_assert_eq(pq_results_read(dir, &results, NULL, &err), PQ_OK);
    const size_t live = pq_memory_live();
    for (; !done && n < 5000; n++) {
        pq_text   text = {0};
        pq_err    why  = {0};
        pq_status st;
        pq_memory_fail_after(n);
        st   = pq_report_print(results, 100, true, &text, &why);
        done = st == PQ_OK;
        pq_memory_fail_after(SIZE_MAX);
        pq_text_free(&text);
        cr_assert(done || st == PQ_ERR_NOMEM, "%zu: %s", n, why.message);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);
    }
    cr_expect(done && n > 50, "%zu allocations", n);
    json_decref(results);
    fixture_remove(dir);
}

Test(report, failed_allocations_of_the_files_leak_nothing)
{
    char *dir = fixture_folder();

    fixture_write(dir, &small);
    const size_t live = pq_memory_live();
    for (size_t n = 0; n < 900; n += 7) {
        pq_err    err = {0};
        pq_status st;
        pq_memory_fail_after(n);
        st = pq_report_write(dir, &(pq_report_options){.gnuplot = "/nowhere/gnuplot"},
                             NULL, &err);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "%zu: %s", n, err.message);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);
    }
    fixture_remove(dir);
}

static size_t count_lines(const char *text, const char *with)
{
    size_t n = 0;

    for (const char *at = strstr(text, with); at != NULL; at = strstr(at + 1, with)) {
        n++;
    }
    return n;
}

/* 1,000 models, of which the k-th of 25 is on the front, and 300 failures. */
static void fill_many(fixture_cell *cells, char (*labels)[32], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool   failed = i % 4 == 3;
        const double front  = i % 52 == 2 ? 0.1 : 0.0;
        (void)snprintf(labels[i], sizeof *labels, "svd rank=%zu", i);
        cells[i] = (fixture_cell){"svd",
                                  labels[i],
                                  "rank",
                                  labels[i] + 9,
                                  failed ? "failed" : "ok",
                                  failed ? (double)NAN : 0.5 + 0.0001 * (double)i + front,
                                  failed ? (double)NAN : 1000.0 + 8.0 * (double)i,
                                  (double)NAN,
                                  NULL};
    }
    cells[0] = (fixture_cell){"reference", "reference", NULL,        NULL, "ok",
                              0.76,        20000.0,     (double)NAN, NULL};
}

Test(report, of_many_models_the_front_and_the_best_are_shown_and_the_others_linked)
{
    enum { CELLS = 1300 };
    static fixture_cell cells[CELLS];
    static char         labels[CELLS][32];
    fixture             many = small;
    char               *dir = fixture_folder(), *page, *md, *tex, *csv, *shown, label[48];

    fill_many(cells, labels, CELLS);
    many.cells   = cells;
    many.n_cells = CELLS;
    many.arrays  = false;
    (void)write_report(dir, &many, NULL);
    page  = read_text(dir, "report.html");
    md    = read_text(dir, "table.md");
    tex   = read_text(dir, "table.tex");
    csv   = read_text(dir, "table.csv");
    shown = print_report(dir, 100, false);
    cr_expect_lt(strlen(page), 2000000);
    cr_expect_eq(count_lines(csv, "\n"), CELLS + 1, "all of them");
    cr_expect_eq(count_lines(md, "\n| svd") + count_lines(md, "\n| reference"), 200);
    cr_expect_eq(count_lines(shown, "\nsvd") + count_lines(shown, "\nreference"), 40);
    cr_expect_eq(count_lines(shown, "failed: "), 20);
    cr_expect_eq(count_lines(md, "\n- failed: "), 20);
    for (size_t i = 2; i < CELLS; i += 52) { /* the front, everywhere */
        (void)snprintf(label, sizeof label, "%s ", labels[i]);
        cr_expect(cells[i].accuracy < 0.5 || strstr(md, label) != NULL, "%s", label);
        cr_expect(cells[i].accuracy < 0.5 || strstr(shown, label) != NULL, "%s", label);
    }
    cr_expect_not_null(strstr(page, "Shown are 200 of 975 models: the reference, the "
                                    "Pareto front"));
    cr_expect_not_null(strstr(page, "<a href=\"table.csv\">"));
    cr_expect_not_null(strstr(md, "Shown are 200 of 975 models"));
    cr_expect_not_null(strstr(tex, "% Shown are 200 of 975 models"));
    cr_expect_not_null(strstr(shown, "Shown are 40 of 975 models"));
    cr_expect_not_null(strstr(shown, "Of the failed cells 305 more are not named"));
    pq_free(page);
    pq_free(md);
    pq_free(tex);
    pq_free(csv);
    pq_free(shown);
    fixture_remove(dir);
    cr_expect_eq(pq_memory_live(), 0);
}
