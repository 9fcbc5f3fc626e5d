#define _GNU_SOURCE
#include "report/plots.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "report/gnuplot.h"
#include "report/plot.h"
#include "report/script.h"

enum { NAME_LONGEST = 48, SCRIPT_BYTES_MAX = 1 << 26, TAIL_BYTES = 32 };

/* A kind of plot, with as many pages as have something to show; `word` is its name in the
 * configuration's output.plots, NULL where it is drawn with whatever else is. */
typedef struct {
    const char *name, *word;
    pq_status (*draw)(pq_plot *p, pq_err *err);
    size_t pages; /* at most */
} kind;

static const kind kinds[] = {
    {"accuracy_bytes", "pareto", pq_plot_size, 1},
    {"accuracy_bytes_near", "pareto", pq_plot_size_near, 1},
    {"accuracy", "rank_curve", pq_plot_axis, 1}, /* for each axis: "accuracy_rank" */
    {"roc", "roc", pq_plot_roc, 1},
    {"btag_roc", "btag", pq_plot_btag_roc, 1},
    {"btag_discriminant", "btag", pq_plot_btag_discriminant, 1},
    {"btag_bins", "btag", pq_plot_btag_bins, 1},
    {"btag_scan", "btag", pq_plot_btag_scan, 1},
    {"btag_probability", "btag", pq_plot_btag_probability, 1},
    {"btag_degradation", "btag", pq_plot_btag_degradation, 1},
    {"latency", NULL, pq_plot_latency, PQ_LATENCY_PAGES},
    {"latency_calls", NULL, pq_plot_calls, 1},
    {"confusion", NULL, pq_plot_confusion, 1},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* Work on all plots of one call. Owns program and folder; processes are waited for. */
typedef struct {
    const pq_view *v;
    const char    *dir;
    char          *folder;  /* <dir>/plots */
    char          *program; /* or NULL */
    size_t         n_formats;
    pid_t         *processes; /* [n] of plots, 0 = nothing runs */
    size_t         room;      /* plots that fit */
    pq_plots       plots;
} work;

static pq_status path_of(const work *w, const char *name, const char *suffix, char **out,
                         pq_err *err)
{
    pq_status st;

    *out = pq_format("%s/%s%s", w->folder, name, suffix);
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    return st;
}

/* Whether a file holds exactly this text. */
static bool holds(const char *path, const pq_text *text)
{
    char  *bytes = NULL;
    size_t n     = 0;
    bool   same;

    if (pq_file_read(path, SCRIPT_BYTES_MAX, &bytes, &n, NULL) != PQ_OK) {
        return false;
    }
    same = n == text->length && memcmp(bytes, text->text, n) == 0;
    pq_free(bytes);
    return same;
}

static pq_status remove_file(const work *w, const char *name, const char *suffix,
                             pq_err *err)
{
    char     *path = NULL;
    pq_status st;

    PQ_TRY(path_of(w, name, suffix, &path, err));
    (void)unlink(path);
cleanup:
    pq_free(path);
    return st;
}

static pq_status remove_pictures(const work *w, const char *name, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t f = 0; f < PQ_N_FORMATS; f++) {
        char suffix[12];
        (void)snprintf(suffix, sizeof suffix, ".%s", pq_picture_formats[f].suffix);
        PQ_TRY(remove_file(w, name, suffix, err));
        (void)snprintf(suffix, sizeof suffix, ".%s.tmp", pq_picture_formats[f].suffix);
        PQ_TRY(remove_file(w, name, suffix, err));
    }
cleanup:
    return st;
}

static bool is_whole(const char *path, const pq_picture_format *form)
{
    char   tail[TAIL_BYTES + 1] = {0};
    FILE  *file                 = pq_file_stream(path);
    size_t n                    = 0;

    if (file != NULL) {
        (void)fseek(file, -(long)TAIL_BYTES, SEEK_END);
        n = fread(tail, 1, TAIL_BYTES, file);
        (void)fclose(file);
    }
    return memmem(tail, n, form->end, strlen(form->end)) != NULL;
}

static pq_status has_pictures(const work *w, const char *name, bool *out, pq_err *err)
{
    char     *path = NULL;
    pq_status st   = PQ_OK;

    *out = true;
    for (size_t f = 0; f < w->n_formats && *out; f++) {
        char suffix[8];
        (void)snprintf(suffix, sizeof suffix, ".%s", pq_picture_formats[f].suffix);
        PQ_TRY(path_of(w, name, suffix, &path, err));
        *out = is_whole(path, &pq_picture_formats[f]);
        pq_free(path);
        path = NULL;
    }
cleanup:
    return st;
}

/* Writes a text unless it is there already; says whether it had to. */
static pq_status put(const work *w, const char *name, const char *suffix,
                     const pq_text *text, bool *changed, pq_err *err)
{
    char     *path = NULL;
    pq_status st;

    PQ_CHECK(!text->failed, PQ_ERR_NOMEM, "cannot allocate a plot");
    PQ_TRY(path_of(w, name, suffix, &path, err));
    if (holds(path, text)) {
        goto cleanup;
    }
    if (!*changed) {
        PQ_TRY(remove_pictures(w, name, err)); /* they would show other data */
    }
    *changed = true;
    PQ_TRY(pq_file_write(path, text->text, text->length, err));
cleanup:
    pq_free(path);
    return st;
}

/* Makes what gnuplot will write into anew, so that it writes through no link. */
static pq_status renew(const work *w, const char *name, const char *suffix, pq_err *err)
{
    char     *path = NULL;
    int       fd;
    pq_status st;

    PQ_TRY(path_of(w, name, suffix, &path, err));
    fd = pq_file_new(path);
    PQ_CHECK(fd >= 0 && close(fd) == 0, pq_status_of_errno(errno),
             "%s: cannot be written: %s", path, strerror(errno));
cleanup:
    pq_free(path);
    return st;
}

static pq_status start(work *w, const char *name, pid_t *process, pq_err *err)
{
    char     *script = pq_format("%s.gp", name), *log = pq_format("%s.log", name);
    pq_status st;

    PQ_CHECK(script != NULL && log != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(renew(w, name, ".log", err));
    for (size_t f = 0; f < w->n_formats; f++) {
        char suffix[12];
        (void)snprintf(suffix, sizeof suffix, ".%s.tmp", pq_picture_formats[f].suffix);
        PQ_TRY(renew(w, name, suffix, err));
    }
    PQ_TRY(pq_gnuplot_start(w->program, w->folder, script, log, process, err));
cleanup:
    pq_free(script);
    pq_free(log);
    return st;
}

/* Writes data and script of a plot and starts what must be drawn anew. */
static pq_status make_files(work *w, pq_plot *p, const char *name, pq_err *err)
{
    pq_plot_file *file    = &w->plots.files[w->plots.n];
    pq_text       script  = {0};
    bool          changed = false;
    pq_status     st;

    PQ_CHECK(!p->body.failed, PQ_ERR_NOMEM, "cannot allocate a plot");
    pq_script_add(p, w->n_formats, name, &script);
    w->plots.n++;
    PQ_STRDUP(file->name, name);
    PQ_TRY(pq_text_take(&p->caption, &file->caption, err));
    if (p->chart.n > 0) {
        pq_text chart = {0};
        pq_chart_draw(&p->chart, p->data.text != NULL ? p->data.text : "", file->caption,
                      &chart);
        st = chart.length > 0 ? pq_text_take(&chart, &file->chart, err) : PQ_OK;
        pq_text_free(&chart);
        PQ_TRY(st);
    }
    PQ_TRY(put(w, name, ".dat", &p->data, &changed, err));
    PQ_TRY(put(w, name, ".gp", &script, &changed, err));
    PQ_TRY(has_pictures(w, name, &file->drawn, err));
    if (!file->drawn && w->program != NULL) {
        PQ_TRY(start(w, name, &w->processes[w->plots.n - 1], err));
    }
cleanup:
    pq_text_free(&script);
    return st;
}

/* Makes room for one more plot. */
static pq_status grow(work *w, pq_err *err)
{
    const size_t  room = 2 * w->room + 16;
    pq_plot_file *files;
    pid_t        *processes;
    pq_status     st = PQ_OK;

    if (w->plots.n < w->room) {
        return PQ_OK;
    }
    files = pq_recalloc(w->plots.files, w->room, room, sizeof *files);
    PQ_CHECK(files != NULL, PQ_ERR_NOMEM, "cannot allocate plots");
    w->plots.files = files;
    processes      = pq_recalloc(w->processes, w->room, room, sizeof *processes);
    PQ_CHECK(processes != NULL, PQ_ERR_NOMEM, "cannot allocate plots");
    w->processes = processes;
    w->room      = room;
cleanup:
    return st;
}

/* Whether no plot of this call has the name; file systems may take "A" for "a". */
static bool is_free(const work *w, const char *name)
{
    for (size_t i = 0; i < w->plots.n; i++) {
        if (strcasecmp(w->plots.files[i].name, name) == 0) {
            return false;
        }
    }
    for (size_t k = 0; k < N_KINDS; k++) {
        if (strcasecmp(kinds[k].name, name) == 0) {
            return false;
        }
    }
    return true;
}

/* "accuracy_rank" of an axis, in letters that every file system and gnuplot take; with a
 * number where that is another plot's name. */
static pq_status name_of(const work *w, const kind *k, const char *axis, char **out,
                         pq_err *err)
{
    pq_text   plain = {0};
    pq_status st    = PQ_OK;

    *out = NULL;
    for (const char *s = axis; *s != '\0' && plain.length < NAME_LONGEST; s++) {
        const bool kept = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789_-",
                                 *s) != NULL;
        pq_text_add_bytes(&plain, kept ? s : "_", 1);
    }
    PQ_CHECK(!plain.failed, PQ_ERR_NOMEM, "cannot allocate a name");
    for (size_t i = 1; *out == NULL; i++) {
        char *name = i == 1 ? pq_format("%s_%s", k->name, plain.text)
                            : pq_format("%s_%s_%zu", k->name, plain.text, i);
        PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        if (is_free(w, name)) {
            *out = name;
        } else {
            pq_free(name);
        }
    }
cleanup:
    pq_text_free(&plain);
    return st;
}

/* One page under its name. */
static pq_status make_page(work *w, const kind *k, pq_plot p, const char *name,
                           pq_err *err)
{
    pq_status st;

    (void)snprintf(p.data_name, sizeof p.data_name, "%s.dat", name);
    PQ_TRY(grow(w, err));
    PQ_TRY(k->draw(&p, err));
    if (p.body.length > 0) {
        PQ_TRY(make_files(w, &p, name, err));
    } else {
        PQ_TRY(remove_pictures(w, name, err)); /* of an older plan */
    }
cleanup:
    pq_plot_free(&p);
    return st;
}

static pq_status make_plot(work *w, const kind *k, const char *axis, pq_err *err)
{
    char     *name = NULL, *paged = NULL;
    pq_status st = PQ_OK;

    if (axis != NULL) {
        PQ_TRY(name_of(w, k, axis, &name, err));
    } else {
        PQ_STRDUP(name, k->name);
    }
    for (size_t page = 0; page < k->pages; page++) {
        paged = page == 0 ? pq_strdup(name) : pq_format("%s_%zu", name, page + 1);
        PQ_CHECK(paged != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        PQ_TRY(make_page(w, k,
                         (pq_plot){.v = w->v, .dir = w->dir, .axis = axis, .page = page},
                         paged, err));
        pq_free(paged);
        paged = NULL;
    }
cleanup:
    pq_free(name);
    pq_free(paged);
    return st;
}

/* All axes with numbers, in the order of the plan. */
static pq_status make_axis_plots(work *w, const kind *k, pq_err *err)
{
    json_t   *seen = json_object();
    pq_status st   = PQ_OK;

    for (size_t r = 0; r < w->v->n_rows; r++) {
        json_t     *axes = json_object_get(w->v->rows[r].cell, "axes"), *value;
        const char *name;
        json_object_foreach(axes, name, value)
        {
            if (json_object_get(seen, name) != NULL) {
                continue;
            }
            PQ_CHECK(json_object_set_new(seen, name, json_true()) == 0, PQ_ERR_NOMEM,
                     "cannot allocate a list of axes");
            if (pq_plot_axis_is_numeric(w->v, name)) {
                PQ_TRY(make_plot(w, k, name, err));
            }
        }
    }
cleanup:
    json_decref(seen);
    return st;
}

static pq_status make_all(work *w, pq_err *err)
{
    const char *wanted = json_string_value(
        json_object_get(json_object_get(w->v->results, "output"), "plots"));
    pq_status st = PQ_OK;

    if (wanted != NULL && (*wanted == '\0' || strcmp(wanted, "none") == 0)) {
        return PQ_OK;
    }
    for (size_t k = 0; k < N_KINDS; k++) {
        if (wanted != NULL && kinds[k].word != NULL &&
            !pq_glob_match(wanted, kinds[k].word)) {
            continue;
        }
        if (kinds[k].draw == pq_plot_axis) {
            PQ_TRY(make_axis_plots(w, &kinds[k], err));
        } else {
            PQ_TRY(make_plot(w, &kinds[k], NULL, err));
        }
    }
cleanup:
    return st;
}

/* Gives the pictures of a plot their names. */
static pq_status rename_pictures(const work *w, const char *name, pq_err *err)
{
    char     *from = NULL, *to = NULL;
    pq_status st = PQ_OK;

    for (size_t f = 0; f < w->n_formats; f++) {
        char suffix[8];
        (void)snprintf(suffix, sizeof suffix, ".%s", pq_picture_formats[f].suffix);
        PQ_TRY(path_of(w, name, suffix, &to, err));
        from = pq_format("%s.tmp", to);
        PQ_CHECK(from != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_CHECK(is_whole(from, &pq_picture_formats[f]), PQ_ERR_IO,
                 "%s: was not written whole", to);
        PQ_TRY(pq_file_commit(from, to, err));
        pq_free(from);
        pq_free(to);
        from = to = NULL;
    }
cleanup:
    pq_free(from);
    pq_free(to);
    return st;
}

static void note_failure(work *w, const char *name, const char *why)
{
    if (w->plots.note[0] == '\0') {
        (void)snprintf(w->plots.note, sizeof w->plots.note,
                       "gnuplot could not draw %s: see %s/%s.log%s%.300s", name,
                       w->folder, name, *why != '\0' ? "; " : "", why);
    }
}

/* Waits for all that was started, also after a failure. */
static void finish(work *w)
{
    for (size_t i = 0; i < w->plots.n; i++) {
        pq_plot_file *file = &w->plots.files[i];
        if (w->processes[i] > 0) {
            pq_err err  = {0};
            file->drawn = pq_gnuplot_wait(w->processes[i]) &&
                          rename_pictures(w, file->name, &err) == PQ_OK;
            w->processes[i] = 0;
            if (!file->drawn) {
                note_failure(w, file->name, err.message);
                (void)remove_pictures(w, file->name, NULL);
            } else {
                (void)remove_file(w, file->name, ".log", NULL);
            }
        }
        w->plots.drawn += file->drawn;
    }
}

pq_status pq_plots_make(const pq_view *v, const char *dir,
                        const pq_report_options *options, pq_plots *out, pq_err *err)
{
    work      w = {.v = v, .dir = dir, .n_formats = options->pdf ? 3 : 2};
    pq_status st;

    PQ_TRY(pq_folder_make_inside(dir, "plots", &w.folder, err));
    PQ_TRY(pq_gnuplot_find(options->gnuplot, &w.program, err));
    st = make_all(&w, err);
    finish(&w);
    PQ_TRY(st);
    if (w.program == NULL && w.plots.drawn < w.plots.n) {
        (void)snprintf(
            w.plots.note, sizeof w.plots.note,
            "gnuplot is not installed, so plots were not drawn (apt install "
            "gnuplot-nox, then run the report again); scripts and data are in %s",
            w.folder);
    }
    *out    = w.plots;
    w.plots = (pq_plots){0};
cleanup:
    pq_plots_free(&w.plots);
    pq_free(w.processes);
    pq_free(w.program);
    pq_free(w.folder);
    return st;
}

void pq_plots_free(pq_plots *p)
{
    for (size_t i = 0; i < p->n; i++) {
        pq_free(p->files[i].name);
        pq_free(p->files[i].caption);
        pq_free(p->files[i].chart);
    }
    pq_free(p->files);
    *p = (pq_plots){0};
}
