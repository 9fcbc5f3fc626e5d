/* The verb history: what changed when, over many nights. */
#include <math.h>
#include <string.h>

#include "cli/history.h"
#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "report/chart.h"
#include "report/gnuplot.h"
#include "report/number.h"
#include "sweep/history.h"

enum { DRAWN_MAX = 10 };

static const pq_option options[] = {
    {"output", 'o', "DIR", false, NULL,
     "also write history.csv, history.svg, and otava.yaml for Apache Otava"},
    {"cell", 0, "GLOB", false, NULL, "only cells whose label matches"},
    {"metric", 0, "GLOB", false, NULL, "only these values, e.g. 'accuracy,latency.*'"},
    {"format", 0, "table|csv", false, "table", "steps, or all values of all nights"},
    {0},
};

static size_t count_noisy(const pq_history *h, size_t *times)
{
    size_t n = 0;

    *times = 0;
    for (size_t s = 0; s < h->n; s++) {
        for (size_t i = 0; h->series[s].timed && i < h->nights; i++) {
            *times += isfinite(h->series[s].value[i]);
            n += h->series[s].noisy[i];
        }
    }
    return n;
}

static const char *step_word(const pq_series *s, double change)
{
    return s->better == 0                    ? "changed"
           : (change > 0) == (s->better > 0) ? "better"
                                             : "worse";
}

static void print_steps(const pq_history *h)
{
    size_t       times;
    const size_t noisy = count_noisy(h, &times);

    for (size_t i = 0; i < h->n_steps; i++) {
        const pq_history_step *step   = &h->steps[i];
        const pq_series       *s      = &h->series[step->series];
        const double           change = step->after - step->before;
        const char            *word   = step_word(s, change);
        pq_say(stdout, "%s: %s: %s since %s: %.6g, was %.6g (%+.2f %%)\n", s->cell,
               s->metric, word, h->made[step->night], step->after, step->before,
               100.0 * change / fabs(step->before));
    }
    pq_say(stdout, "%zu nights, %s to %s: %zu series, %zu steps", h->nights, h->made[0],
           h->made[h->nights - 1], h->n, h->n_steps);
    if (times > 0) {
        pq_say(stdout, "; %zu of %zu times noisy", noisy, times);
    }
    pq_say(stdout, "\n");
}

/* Series to be drawn: with steps first. */
static size_t choose(const pq_history *h, size_t drawn[DRAWN_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < h->n_steps && n < DRAWN_MAX; i++) {
        if (n == 0 || drawn[n - 1] != h->steps[i].series) {
            drawn[n++] = h->steps[i].series;
        }
    }
    for (size_t s = 0; h->n_steps == 0 && s < h->n && n < DRAWN_MAX; s++) {
        drawn[n++] = s;
    }
    return n;
}

static double first_of(const pq_history *h, const pq_series *s)
{
    for (size_t i = 0; i < h->nights; i++) {
        if (isfinite(s->value[i]) && fabs(s->value[i]) > 0.0) {
            return s->value[i];
        }
    }
    return 1.0;
}

/* Data and script of the plot: each value over its first. */
static void draw(const pq_history *h, pq_text *out)
{
    size_t       drawn[DRAWN_MAX];
    const size_t n = choose(h, drawn);

    pq_text_add(out, "# Run by gnuplot 5.4 or newer in this folder.\n");
    for (size_t k = 0; k < n; k++) {
        const pq_series *s = &h->series[drawn[k]];
        pq_text_add(out, "$s%zu << END\n", k);
        for (size_t i = 0; i < h->nights; i++) {
            if (isfinite(s->value[i])) {
                pq_text_add(out, "%s %.8g\n", h->made[i], s->value[i] / first_of(h, s));
            }
        }
        pq_text_add(out, "END\n");
    }
    pq_text_add(
        out, "set terminal svg size 900,500 font 'DejaVu Sans,13' background '#ffffff'\n"
             "set output 'history.svg'\nset xdata time\n"
             "set timefmt '%%Y-%%m-%%dT%%H:%%M:%%SZ'\nset format x '%%m-%%d'\n"
             "set ylabel 'over the first night'\nset grid\n"
             "set key below noenhanced\nplot ");
    for (size_t k = 0; k < n; k++) {
        const pq_series *s = &h->series[drawn[k]];
        pq_text_add(out,
                    "%s$s%zu using 1:2 with linespoints pointtype 7 pointsize 0.5 title ",
                    k > 0 ? ", \\\n  " : "", k);
        pq_text_add(out, "'");
        for (const char *p = s->cell; *p != '\0'; p++) {
            pq_text_add(out, "%c", *p == '\'' || *p == '\\' || *p == '\n' ? ' ' : *p);
        }
        pq_text_add(out, ": %s'", s->metric);
    }
    pq_text_add(out, "\n");
}

/* Draws where gnuplot is there; the script stays in any case. */
static pq_status run_gnuplot(const char *dir, pq_err *err)
{
    static const char *const fresh[] = {"history.log", "history.svg"};
    char                    *program = NULL;
    pid_t                    process;
    pq_status                st;

    PQ_TRY(pq_gnuplot_find(NULL, &program, err));
    if (program == NULL) {
        pq_say(stdout, "note: not drawn, there is no gnuplot\n");
        goto cleanup;
    }
    for (size_t i = 0; i < sizeof fresh / sizeof *fresh;
         i++) { /* links are not followed */
        char *path = pq_path_join(dir, fresh[i]);
        st = path != NULL ? pq_file_write_unsynced(path, "", 0, err) : PQ_ERR_NOMEM;
        pq_free(path);
        PQ_TRY(st);
    }
    PQ_TRY(pq_gnuplot_start(program, dir, "history.gp", "history.log", &process, err));
    PQ_CHECK(pq_gnuplot_wait(process), PQ_ERR_IO,
             "%s/history.gp: gnuplot failed; history.log says why", dir);
    pq_say(stdout, "%s/history.svg\n", dir);
cleanup:
    pq_free(program);
    return st;
}

static pq_status write_all(const pq_history *h, const char *dir, pq_err *err)
{
    pq_text   csv = {0}, otava = {0}, script = {0};
    char     *path = pq_path_join(dir, "history.csv");
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    pq_history_csv(h, &csv);
    pq_history_otava(h, path, &otava);
    draw(h, &script);
    PQ_TRY(pq_folder_make(dir, err));
    PQ_TRY(pq_say_file(dir, "history.csv", &csv, err));
    PQ_TRY(pq_say_file(dir, "otava.yaml", &otava, err));
    PQ_TRY(pq_say_file(dir, "history.gp", &script, err));
    PQ_TRY(run_gnuplot(dir, err));
cleanup:
    pq_free(path);
    pq_text_free(&csv);
    pq_text_free(&otava);
    pq_text_free(&script);
    return st;
}

/* Each series over its first value, by the number of its night. */
static pq_status fill_chart(const pq_history *h, pq_chart *chart, pq_text *data,
                            pq_err *err)
{
    size_t       drawn[DRAWN_MAX];
    const size_t n  = choose(h, drawn);
    pq_status    st = PQ_OK;

    for (size_t k = 0; k < n; k++) {
        const pq_series *s     = &h->series[drawn[k]];
        char            *title = pq_format("%s: %s", s->cell, s->metric);
        PQ_CHECK(title != NULL, PQ_ERR_NOMEM, "cannot allocate a title");
        st = pq_chart_add(chart, title, k, 1, "", err);
        pq_free(title);
        PQ_TRY(st);
        pq_text_add(data, "%s# %zu\n", k > 0 ? "\n\n" : "", k);
        for (size_t i = 0; i < h->nights; i++) {
            if (isfinite(s->value[i])) {
                pq_text_add(data, "%zu %.8g\n", i, s->value[i] / first_of(h, s));
            }
        }
    }
cleanup:
    return st;
}

static void add_step(const pq_history *h, const pq_history_step *step, pq_text *out)
{
    const pq_series *s      = &h->series[step->series];
    const double     change = step->after - step->before;

    pq_text_add(out, "<li>");
    pq_escape_add(out, s->cell, PQ_STYLE_HTML);
    pq_text_add(out, ": ");
    pq_escape_add(out, s->metric, PQ_STYLE_HTML);
    pq_text_add(out, ": %s since ", step_word(s, change));
    pq_escape_add(out, h->made[step->night], PQ_STYLE_HTML);
    pq_text_add(out, ": %.6g, was %.6g (%+.2f %%)</li>\n", step->after, step->before,
                100.0 * change / fabs(step->before));
}

static void add_section(const pq_history *h, const char *chart, pq_text *out)
{
    pq_text_add(out,
                "<h2>History</h2>\n<figure id=\"history\">\n%s<figcaption>%zu nights; "
                "each value over its first; %s.</figcaption>\n</figure>\n",
                chart, h->nights,
                h->n_steps > 0 ? "drawn is what changed"
                               : "no value is at another level");
    pq_text_add(out, "%s", h->n_steps > 0 ? "<ul>\n" : "");
    for (size_t i = 0; i < h->n_steps; i++) {
        add_step(h, &h->steps[i], out);
    }
    pq_text_add(out, "%s", h->n_steps > 0 ? "</ul>\n" : "");
}

pq_status pq_history_section(size_t n, const char *const *paths, pq_text *out,
                             pq_err *err)
{
    pq_history h     = {0};
    pq_chart   chart = {
          .x_title = "night", .y_title = "over the first night", .steps = true};
    pq_text   data = {0}, drawn = {0};
    char    **days = NULL;
    pq_status st;

    PQ_TRY(pq_history_read(n, paths, NULL, NULL, &h, err));
    PQ_CHECK(h.n > 0, PQ_ERR_CONFIG, "no value stands in these nights");
    PQ_NEW(days, h.nights);
    for (size_t i = 0; i < h.nights; i++) {
        days[i] = pq_format("%.10s", h.made[i]);
        PQ_CHECK(days[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a date");
    }
    chart.ticks   = (const char *const *)days;
    chart.n_ticks = h.nights;
    PQ_TRY(fill_chart(&h, &chart, &data, err));
    pq_chart_draw(&chart, data.text != NULL ? data.text : "", "history", &drawn);
    add_section(&h, drawn.text != NULL ? drawn.text : "", out);
    PQ_CHECK(!out->failed && !data.failed && !drawn.failed, PQ_ERR_NOMEM,
             "cannot allocate a chart");
cleanup:
    for (size_t i = 0; days != NULL && i < h.nights; i++) {
        pq_free(days[i]);
    }
    pq_free(days);
    pq_chart_free(&chart);
    pq_text_free(&data);
    pq_text_free(&drawn);
    pq_history_free(&h);
    return st;
}

static pq_status history(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_history  h   = {0};
    pq_text     csv = {0};
    const char *format;
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table csv", &format, err));
    PQ_TRY(pq_history_read(pq_args_count(args), pq_args_rest(args, 0),
                           pq_args_value(args, "cell"), pq_args_value(args, "metric"), &h,
                           err));
    if (h.n == 0) {
        *exit_code = PQ_EXIT_NOTHING;
        PQ_FAIL(PQ_ERR_CONFIG, "no value of these nights matches");
    }
    if (strcmp(format, "csv") == 0) {
        pq_history_csv(&h, &csv);
        PQ_CHECK(!csv.failed, PQ_ERR_NOMEM, "cannot allocate a text");
        pq_say_lines(stdout, csv.text);
    } else {
        print_steps(&h);
    }
    if (pq_args_value(args, "output") != NULL) {
        PQ_TRY(write_all(&h, pq_args_value(args, "output"), err));
    }
cleanup:
    pq_text_free(&csv);
    pq_history_free(&h);
    return st;
}

const pq_verb pq_verb_history = {
    .name = "history",
    .summary =
        "the numbers of many nights (results, baselines, or folders of these), and "
        "since when each is at another level",
    .arguments = "DIR|FILE…",
    .min_args  = 1,
    .max_args  = 4096,
    .options   = options,
    .example   = "pquant history ~/nights -o results/history",
    .run       = history,
};
