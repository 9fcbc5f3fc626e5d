/* What plots and sentences promise, of invented results. */
#include "fixture.h"

#include "report/plot.h"
#include "report/report.h"

#define NONE ((double)NAN)

enum { MANY = 60 };

static const char *const pair_of_classes[] = {"b", "light"};

static char *read_text(const char *dir, const char *name)
{
    char  *path = pq_path_join(dir, name), *text = NULL;
    size_t n   = 0;
    pq_err err = {0};

    cr_assert_eq(pq_file_read(path, 1 << 26, &text, &n, &err), PQ_OK, "%s", err.message);
    pq_free(path);
    return text;
}

static pq_report_summary make(const char *dir, const fixture *f)
{
    pq_report_summary summary = {0};
    pq_err            err     = {0};

    fixture_write(dir, f);
    cr_assert_eq(pq_report_write(dir, NULL, &summary, &err), PQ_OK, "%s", err.message);
    return summary;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    while ((text = strstr(text, what)) != NULL) {
        text += strlen(what);
        n++;
    }
    return n;
}

/* The page's summary sentence of cells. */
static char *summary_of(const fixture_cell *cells, size_t n, const char *constraints)
{
    const fixture f   = {"words", "d", pair_of_classes, 2, n, cells, false, 0, NULL};
    char         *dir = fixture_folder(), *page, *start, *out;
    pq_err        err = {0};

    fixture_write(dir, &f);
    if (constraints != NULL) {
        fixture_constrain(dir, constraints);
    }
    cr_assert_eq(pq_report_write(dir, &(pq_report_options){.no_plots = true}, NULL, &err),
                 PQ_OK, "%s", err.message);
    page  = read_text(dir, "report.html");
    start = strstr(page, "<p class=\"summary\">");
    cr_assert_not_null(start);
    *strstr(start, "</p>") = '\0';
    out                    = pq_strdup(start);
    pq_free(page);
    fixture_remove(dir);
    return out;
}

static void expect_words(const fixture_cell *cells, size_t n, const char *constraints,
                         const char *due, const char *never)
{
    char *summary = summary_of(cells, n, constraints);

    cr_expect(due == NULL || strstr(summary, due) != NULL, "'%s' lacks '%s'", summary,
              due);
    cr_expect(never == NULL || strstr(summary, never) == NULL, "'%s' says '%s'", summary,
              never);
    pq_free(summary);
}

Test(words, say_nothing_of_sizes_that_were_not_measured)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, NONE, NONE, NULL},
        {"a", "a", NULL, NULL, "ok", 0.8, NONE, NONE, NULL},
        {"b", "b", NULL, NULL, "ok", 0.7, NONE, NONE, NULL}};

    expect_words(cells, 3, NULL,
                 "Size or accuracy of 2 of 2 compressed models was not measured.",
                 "None of");
}

Test(words, say_that_no_accuracy_was_measured)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", NONE, 4000.0, NONE, NULL},
        {"a", "a", NULL, NULL, "ok", NONE, 2000.0, NONE, NULL}};

    expect_words(cells, 2, NULL, "Accuracy was not measured.", "of 1 compressed");
}

Test(words, take_the_more_accurate_of_equal_sizes)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, NONE, NULL},
        {"a", "worse", NULL, NULL, "ok", 0.792, 1000.0, NONE, NULL},
        {"b", "better", NULL, NULL, "ok", 0.798, 1000.0, NONE, NULL},
        {"c", "same", NULL, NULL, "ok", 0.798, 1000.0, NONE, NULL}};

    expect_words(cells, 4, NULL, "within 1 point is better:", "is worse:");
}

Test(words, recommend_nothing_outside_the_constraints)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, NONE, NULL},
        {"a", "small", NULL, NULL, "ok", 0.796, 1000.0, NONE, NULL},
        {"b", "large", NULL, NULL, "ok", 0.799, 2000.0, NONE, NULL}};

    expect_words(cells, 3, NULL, "Of 2 compressed models", "left aside");
    expect_words(cells, 3, "{\"accuracy\": {\"min\": 0.798}}",
                 "Of 1 compressed model the smallest that stays within 1 point is large:",
                 "is small:");
    expect_words(cells, 3, "{\"accuracy\": {\"min\": 0.798}}",
                 "1 model outside the constraints is left aside.", "goes down");
    expect_words(cells, 3, "{\"accuracy\": {\"min\": 0.7999}}",
                 "2 models outside the constraints are left aside.", "None of");
}

/* The points of the front's line as it is drawn: (x, y) of each. */
static size_t read_front(const char *dir, double points[][2])
{
    char  *data = read_text(dir, "plots/accuracy_bytes.dat");
    char  *line = strstr(data, "# front");
    size_t n    = 0;

    cr_assert_not_null(line);
    line = strchr(line, '\n') + 1;
    while (sscanf(line, "%lf %lf", &points[n][0], &points[n][1]) == 2 && *line != '\n') {
        line = strchr(line, '\n') + 1;
        n++;
    }
    pq_free(data);
    return n;
}

/* gnuplot's "steps" keep a point's height up to the next point: at no size may the line
 * be higher than the most accurate model of at most that size. */
Test(plots, front_promises_nothing_that_no_model_has)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.80, 4000.0, NONE, NULL},
        {"a", "a", NULL, NULL, "ok", 0.50, 500.0, NONE, NULL},
        {"a", "a2", NULL, NULL, "ok", 0.45, 500.0, NONE, NULL},
        {"b", "b", NULL, NULL, "ok", 0.40, 1000.0, NONE, NULL},
        {"b", "b2", NULL, NULL, "ok", 0.75, 2000.0, NONE, NULL},
        {"c", "c", NULL, NULL, "ok", 0.79, 3000.0, NONE, NULL}};
    const fixture f   = {"front", "d", pair_of_classes, 2, 6, cells, false, 0, NULL};
    char         *dir = fixture_folder(), *script;
    double        points[16][2];
    size_t        n;

    (void)make(dir, &f);
    script = read_text(dir, "plots/accuracy_bytes.gp");
    cr_expect_not_null(strstr(script, "using 1:2 with steps "));
    cr_expect_null(strstr(script, "fsteps"));
    n = read_front(dir, points);
    cr_assert_eq(n, 5, "%zu points: 500, 2000, 3000, 4000 and the end", n);
    for (double x = 400.0; x < 5000.0; x += 50.0) {
        double line = -1.0, best = -1.0;
        for (size_t i = 0; i < n; i++) {
            line = points[i][0] <= x ? points[i][1] : line;
        }
        for (size_t i = 0; i < 6; i++) {
            best = cells[i].bytes <= x ? fmax(best, 100.0 * cells[i].accuracy) : best;
        }
        cr_expect_float_eq(line, best, 1e-6, "at %g bytes: %g, not %g", x, line, best);
    }
    pq_free(script);
    fixture_remove(dir);
}

static char many_names[MANY][100];

static void fill_many(fixture_cell *cells, const char *pattern)
{
    cells[0] = (fixture_cell){"reference", "reference", NULL, NULL, "ok",
                              0.8,         40000.0,     1.0,  NULL};
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(many_names[i], sizeof many_names[i], pattern, i);
        cells[i + 1] = (fixture_cell){many_names[i],
                                      many_names[i],
                                      NULL,
                                      NULL,
                                      "ok",
                                      0.4 + 0.38 * (double)(i * 37 % MANY) / MANY,
                                      1000.0 + 500.0 * (double)i,
                                      0.5 + 0.05 * (double)i,
                                      NULL};
    }
}

/* Colour and mark of each series that has a title: no two the same. */
static size_t expect_distinct_styles(const char *script)
{
    char   styles[64][32];
    size_t n = 0;

    for (const char *s = strstr(script, "linecolor rgb '#"); s != NULL;
         s             = strstr(s + 1, "linecolor rgb '#")) {
        int mark = 0;
        if (sscanf(s + 22, "' pointtype %d title \"", &mark) != 1 || mark == 3) {
            continue;
        }
        (void)snprintf(styles[n], sizeof styles[n], "%.7s %d", s + 15, mark);
        for (size_t k = 0; k < n; k++) {
            cr_expect_str_neq(styles[k], styles[n]);
        }
        n++;
    }
    return n;
}

Test(plots, of_sixty_pipelines_name_the_front_and_say_what_they_leave_out)
{
    fixture_cell  cells[MANY + 1];
    const fixture f = {"many", "d", pair_of_classes, 2, MANY + 1, cells, false, 0, NULL};
    char         *dir = fixture_folder(), *script, *png, *page;

    fill_many(cells, "pipeline %02zu");
    (void)make(dir, &f);
    script = read_text(dir, "plots/accuracy_bytes.gp");
    png    = strstr(script, "set terminal svg");
    cr_assert_not_null(png);
    *png = '\0';
    cr_expect_eq(expect_distinct_styles(script), 14);
    cr_expect_not_null(strstr(script, "title '46 others'"));
    page = read_text(dir, "report.html");
    cr_expect_not_null(strstr(page, "Named are 14 of 60 series"));
    cr_expect_not_null(strstr(page, "the 46 others are grey"));
    pq_free(script);
    pq_free(page);
    fixture_remove(dir);
}

Test(plots, of_latency_show_every_model_on_some_page)
{
    fixture_cell  cells[MANY + 1];
    const fixture f = {"many", "d", pair_of_classes, 2, MANY + 1, cells, false, 0, NULL};
    char         *dir  = fixture_folder(), *all[3];
    size_t        bars = 0;

    fill_many(cells, "compression of the jet tagger, variant %02zu, with a name too long "
                     "for any label in a plot");
    (void)make(dir, &f);
    for (size_t page = 0; page < 3; page++) {
        char name[40];
        (void)snprintf(name, sizeof name,
                       page == 0 ? "plots/latency.dat" : "plots/latency_%zu.dat",
                       page + 1);
        all[page] = read_text(dir, name);
        bars += count(all[page], "\n") - 1;
        cr_expect_eq(count(all[page], " 1 2.1e-06"), 1, "the reference is on each page");
        pq_free(all[page]);
    }
    cr_expect_eq(bars, MANY + 3);
    fixture_remove(dir);
}

/* Each of these lost a plot, or all. */
Test(plots, of_awkward_names_are_all_drawn)
{
    static const char *const names[] = {"'x",
                                        "%99999999g 25%",
                                        "a/b",
                                        "..",
                                        "macro",
                                        "new\nline",
                                        "\"q\" `touch awkward` $(id) @x",
                                        "\xe6\x97\xa5\xe6\x9c\xac",
                                        "\xe2\x80\x8b",
                                        ""};
    enum { N = sizeof names / sizeof *names };
    fixture_cell cells[N + 1] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 40000.0, 1.0, NULL}};
    const fixture f   = {"'", "'%s", names, N, N + 1, cells, true, 0, NULL};
    char         *dir = fixture_folder(), *roc;
    char          values[N][8];

    if (system("command -v gnuplot >/dev/null") != 0) {
        cr_skip_test("skipped: gnuplot is not installed");
    }
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(values[i], sizeof values[i], "%zu", i + 1);
        cells[i + 1] = (fixture_cell){names[i],
                                      names[i],
                                      "bytes",
                                      values[i],
                                      "ok",
                                      0.79 - 0.01 * (double)i,
                                      1000.0 + 100.0 * (double)i,
                                      1.1,
                                      NULL};
    }
    const pq_report_summary summary = make(dir, &f);
    cr_expect_eq(summary.plots, 5, "%zu plots: sizes, axis, roc, latency, confusion: %s",
                 summary.plots, summary.note);
    cr_expect_str_eq(summary.note, "");
    roc = read_text(dir, "plots/roc.dat");
    cr_expect_eq(count(roc, "# curve"), 2 * N);
    pq_free(roc);
    roc = read_text(dir, "plots/accuracy_bytes_2.gp"); /* of the axis named bytes */
    pq_free(roc);
    cr_expect_neq(access("awkward", F_OK), 0);
    fixture_remove(dir);
}

Test(plots, of_narrow_ranges_have_three_ticks_or_more)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.80, 3200.0, NONE, NULL},
        {"a", "a", NULL, NULL, "ok", 0.79, 3100.0, NONE, NULL},
        {"b", "b", NULL, NULL, "ok", 0.78, 3000.0, NONE, NULL}};
    const fixture f   = {"narrow", "d", pair_of_classes, 2, 3, cells, false, 0, NULL};
    char         *dir = fixture_folder(), *script, *ticks;

    (void)make(dir, &f);
    script = read_text(dir, "plots/accuracy_bytes.gp");
    ticks  = strstr(script, "set xtics (");
    cr_assert_not_null(ticks);
    *strchr(ticks, '\n') = '\0';
    cr_expect(count(ticks, ", ") >= 2, "%s", ticks);
    pq_free(script);
    fixture_remove(dir);
}

/* Numbers of a horizontal axis stand side by side: seven have room. */
Test(plots, of_wide_ranges_have_three_to_seven_ticks)
{
    for (double lo = 1.0; lo < 10.0; lo *= 1.3) {
        for (double span = 20.0; span < 1e6; span *= 1.7) {
            pq_text out = {0};
            pq_plot_log_axis(&out, 'x', lo, span * lo, true);
            const size_t n = count(strstr(out.text, "xtics"), ", ") + 1;
            cr_expect(n >= 3 && n <= 7, "%g to %g: %zu ticks", lo, span * lo, n);
            pq_text_free(&out);
        }
    }
    for (double range = 0.01; range < 1e4; range *= 1.1) {
        const double n = floor(range / pq_plot_step(range));
        cr_expect(n >= 2.0 && n <= 6.0, "%g: %g steps", range, n);
    }
}

/* Reference, best and strongest, the latter far worse. */
/* A cell of a b tagger: stored bytes and the ratios of its rejections. */
static json_t *tagger_cell(const char *label, double bytes, double light, double c)
{
    json_t *metrics = json_object();

    fixture_metric(metrics, "stored_bytes", bytes, (double)NAN, 0.0, "byte", "lower");
    fixture_metric(metrics, "btag.77.rejection_light_ratio", light, 0.01, 9.0, "",
                   "higher");
    fixture_metric(metrics, "btag.77.rejection_c_ratio", c, 0.01, 9.0, "", "higher");
    return json_pack("{s:s, s:s, s:s, s:o}", "label", label, "pipeline", label, "status",
                     "ok", "metrics", metrics);
}

/* Three lie on each other in the first panel, the first two in the second, too. */
Test(plots, of_b_taggers_show_every_mark_of_those_at_one_point)
{
    json_t *results =
        json_pack("{s:s, s:[o, o, o, o]}", "name", "t", "cells",
                  tagger_cell("a", 5280, 0.97, 1.0), tagger_cell("b", 5280, 0.97, 1.0),
                  tagger_cell("c", 5281, 0.971, 0.7), tagger_cell("d", 900, 0.97, 1.0));
    pq_view v   = {0};
    pq_plot p   = {.v = &v, .data_name = "d.dat"};
    pq_err  err = {0};

    cr_assert_eq(pq_view_build(results, &v, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_plot_btag_degradation(&p, &err), PQ_OK, "%s", err.message);
    cr_expect_eq(count(p.body.text, "pointsize 2.6"), 1, "%s", p.body.text);
    cr_expect_eq(count(p.body.text, "pointsize 1.8"), 2, "%s", p.body.text);
    cr_expect_eq(count(p.body.text, "pointsize 1.0"), 5, "%s", p.body.text);
    pq_plot_free(&p);
    pq_view_free(&v);
    json_decref(results);
}

Test(plots, of_b_taggers_name_their_models_and_hold_what_is_lost)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 40000.0, NONE, NULL},
        {"int8", "int8", NULL, NULL, "ok", 0.799, 10000.0, NONE, NULL},
        {"prune_finetune", "prune_finetune sparsity=0.9", NULL, NULL, "ok", 0.75, 2000.0,
         NONE, NULL}};
    static const struct {
        const char *name;
        size_t      models;
    } due[]            = {{"btag_roc", 3},
                          {"btag_discriminant", 2},
                          {"btag_probability", 2},
                          {"btag_scan", 3}};
    const fixture f    = {.name      = "b",
                          .dataset   = "jets",
                          .classes   = pair_of_classes,
                          .n_classes = 2,
                          .n_cells   = 3,
                          .cells     = cells,
                          .arrays    = 2};
    char         *dir  = fixture_folder();
    const size_t  live = pq_memory_live();

    (void)make(dir, &f);
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        char *name   = pq_format("plots/%s.gp", due[i].name);
        char *script = read_text(dir, name);
        char *end    = strstr(script + 1, "\nreset\n"); /* the next format's */
        if (end != NULL && (end = strstr(end + 1, "\nreset\n")) != NULL) {
            *end = '\0';
        }
        cr_expect_geq(count(script, "title \"reference\""), 1, "%s", name);
        cr_expect_geq(count(script, "title \"int8\""), 1, "%s", name);
        cr_expect_eq(count(script, "title \"prune_finetune sparsity=0.9\"") > 0,
                     due[i].models == 3, "%s", name);
        if (i == 0) { /* a tenth of the reference's rejection is not cut off */
            cr_expect_eq(count(script, "set yrange [0:2]\n"), 2, "%s", script);
        }
        pq_free(script);
        pq_free(name);
    }
    cr_expect_eq(pq_memory_live(), live);
    fixture_remove(dir);
}

/* As long as labels are drawn whole: in a key, beside bars and above a panel alike. */
Test(plots, show_names_of_forty_columns_whole_in_all_places)
{
    static const char         longest[] = "structured_finetune_int8 sparsity=0.5625";
    static const fixture_cell cells[]   = {
          {"reference", "reference", NULL, NULL, "ok", 0.8, 40000.0, 1.0, NULL},
          {longest, longest, NULL, NULL, "ok", 0.799, 10000.0, 1.5, NULL},
          {"prune", "prune", NULL, NULL, "ok", 0.75, 2000.0, 1.2, NULL}};
    static const char *const due[] = {
        "accuracy_bytes", "roc",       "confusion",         "latency",
        "btag_roc",       "btag_scan", "btag_discriminant", "btag_probability"};
    const fixture f   = {.name      = "long",
                         .dataset   = "jets",
                         .classes   = pair_of_classes,
                         .n_classes = 2,
                         .n_cells   = 3,
                         .cells     = cells,
                         .arrays    = 2};
    char         *dir = fixture_folder();

    cr_assert_eq(strlen(longest), 40);
    (void)make(dir, &f);
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        char *name   = pq_format("plots/%s.gp", due[i]);
        char *script = read_text(dir, name);
        cr_expect_not_null(strstr(script, longest), "%s", name);
        pq_free(script);
        pq_free(name);
    }
    fixture_remove(dir);
}

/* A cell of twelve classes has no room for 0.95 beside 0.02. */
Test(plots, of_many_classes_leave_zeros_out_of_the_matrix)
{
    static const char *const  names[] = {"a", "b", "c", "d", "e", "f",
                                         "g", "h", "i", "j", "k", "l"};
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 40000.0, 1.0, NULL}};

    for (size_t n = 6; n <= 12; n += 6) {
        const fixture f   = {.name      = "many",
                             .dataset   = "jets",
                             .classes   = names,
                             .n_classes = n,
                             .n_cells   = 1,
                             .cells     = cells};
        char         *dir = fixture_folder();
        char         *script;
        (void)make(dir, &f);
        script = read_text(dir, "plots/confusion.gp");
        cr_expect_eq(strstr(script, "$3 < 0.005 ? ''") != NULL, n == 12, "%s", script);
        pq_free(script);
        fixture_remove(dir);
    }
}

/* A member of plan.json, or of the record of a file, in place of what it holds. */
static void set_member(const char *path, const char *name, json_t *value)
{
    json_t *object = json_load_file(path, 0, NULL);
    char   *text;

    cr_assert_not_null(object, "%s", path);
    json_object_set_new(object, name, value);
    text = json_dumps(object, 0);
    cr_assert_eq(pq_file_write(path, text, strlen(text), NULL), PQ_OK);
    free(text);
    json_decref(object);
}

/* Of 100 calls 90 take 700 ns, nine 840 and one 3500. */
Test(calls, are_drawn_as_the_part_that_takes_longer_with_the_target)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, 1.0, NULL},
        {"a", "a", NULL, NULL, "ok", 0.79, 1000.0, 3.0, NULL},
        {"b", "b", NULL, NULL, "failed", NONE, NONE, NONE, NULL}};
    const fixture f   = {"calls", "d", pair_of_classes, 2, 3, cells, false, 6, NULL};
    char         *dir = fixture_folder(), *plan = pq_path_join(dir, "plan.json");
    char         *data, *script, *table;
    pq_err        err = {0};

    fixture_write(dir, &f);
    set_member(plan, "constraints",
               json_pack("{s:{s:f}}", "latency.b1.call_s", "max", 1e-6));
    cr_assert_eq(pq_report_write(dir, NULL, NULL, &err), PQ_OK, "%s", err.message);
    data   = read_text(dir, "plots/latency_calls.dat");
    script = read_text(dir, "plots/latency_calls.gp");
    table  = read_text(dir, "table.md");
    cr_expect_not_null(strstr(data, "\n700 1\n700 0.1\n840 0.1\n840 0.01\n3500 0.01\n"),
                       "%s", data);
    cr_expect_not_null(strstr(data, "# target\n1000 0.01\n1000 1\n"), "%s", data);
    cr_expect_eq(count(data, "# ns, part of calls"), 2);
    cr_expect_not_null(strstr(script, "title \"target 1000 ns\""));
    cr_expect_not_null(
        strstr(table,
               "Target: 1000 ns a call of 1 event, the larger of dependent calls "
               "and of the median of single ones; 1 of 2 models answer in time, of "
               "which the most accurate is a (79.00 \xc2\xb1 0.41 %, 770 ns)."),
        "%s", table);
    pq_free(data);
    pq_free(script);
    pq_free(table);
    pq_free(plan);
    fixture_remove(dir);
}

Test(calls, that_are_not_as_they_are_written_are_not_drawn)
{
    static const fixture_cell cells[] = {
        {"reference", "reference", NULL, NULL, "ok", 0.8, 4000.0, 1.0, NULL}};
    static const char *const wrong[] = {"{\"hot\": {\"ns_calls\": []}}",
                                        "{\"hot\": {\"ns_calls\": [[700, -1]]}}",
                                        "{\"hot\": {\"ns_calls\": [[null, 1]]}}",
                                        "{\"hot\": {\"ns_calls\": [7, 1]}}",
                                        "{\"hot\": 3}",
                                        "[]"};
    const fixture f = {"calls", "d", pair_of_classes, 2, 1, cells, false, 6, NULL};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char  *dir = fixture_folder(), *folder = pq_path_join(dir, "cells");
        char  *drawn = pq_path_join(dir, "plots/latency_calls.dat"), **names = NULL;
        size_t n   = 0;
        pq_err err = {0};
        fixture_write(dir, &f);
        cr_assert_eq(pq_folder_list(folder, "", &names, &n, &err), PQ_OK);
        for (size_t k = 0; k < n; k++) {
            char   *path   = pq_path_join(folder, names[k]);
            json_t *record = json_load_file(path, 0, NULL);
            json_t *timing = json_object_get(record, "timing");
            if (timing != NULL) {
                json_object_set_new(timing, "shots", json_loads(wrong[i], 0, NULL));
                set_member(path, "timing", json_incref(timing));
            }
            json_decref(record);
            pq_free(path);
            pq_free(names[k]);
        }
        pq_free(names);
        cr_assert_eq(pq_report_write(dir, NULL, NULL, &err), PQ_OK, "%s", err.message);
        cr_expect_not(pq_file_exists(drawn), "%s", wrong[i]);
        pq_free(drawn);
        pq_free(folder);
        fixture_remove(dir);
    }
}
