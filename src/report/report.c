#include "report/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "report/btag_table.h"
#include "report/page.h"
#include "report/published.h"
#include "report/tables.h"
#include "store/results.h"
#include "store/table.h"

/* Text of the plan's `output`, or NULL where an older plan says nothing: then all is
 * made. */
static const char *output_of(const json_t *results, const char *name)
{
    return json_string_value(json_object_get(json_object_get(results, "output"), name));
}

static bool wants_table(const json_t *results, const char *kind)
{
    const char *wanted = output_of(results, "tables");

    return wanted == NULL || pq_glob_match(wanted, kind);
}

static bool wants_page(const json_t *results)
{
    bool wanted = true;

    (void)pq_parse_bool(output_of(results, "html"), &wanted);
    return wanted;
}

static pq_status write_text(const char *dir, const char *name, pq_text *text, pq_err *err)
{
    char     *path = pq_path_join(dir, name);
    pq_status st;

    PQ_CHECK(path != NULL && !text->failed, PQ_ERR_NOMEM, "cannot allocate %s", name);
    PQ_TRY(pq_file_write(path, text->text, text->length, err));
cleanup:
    pq_free(path);
    pq_text_free(text);
    return st;
}

static pq_status write_csv(const char *dir, const json_t *results, pq_err *err)
{
    pq_table  table = {0};
    char     *path  = pq_path_join(dir, "table.csv");
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    st = pq_table_build(results, &table, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    PQ_TRY(pq_table_write(&table, path, err));
cleanup:
    pq_table_free(&table);
    pq_free(path);
    return st;
}

/* What is no longer asked for would show an older run. */
static void remove_file(const char *dir, const char *name)
{
    char *path = pq_path_join(dir, name);

    if (path != NULL) {
        (void)unlink(path);
    }
    pq_free(path);
}

/* Removes a plot of an earlier run: its script, data and pictures. */
static void remove_plot(const char *folder, const char *name)
{
    static const char *const suffixes[] = {"gp",  "dat",     "png",     "svg",    "pdf",
                                           "log", "png.tmp", "svg.tmp", "pdf.tmp"};

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *file = pq_format("%s.%s", name, suffixes[i]);
        if (file != NULL) {
            remove_file(folder, file);
        }
        pq_free(file);
    }
}

/* Every script in the folder that is none of these plots is of an earlier run. */
static void remove_old_plots(const char *dir, const pq_plots *plots)
{
    char  *folder = pq_path_join(dir, "plots");
    char **names  = NULL;
    size_t n      = 0;

    if (folder != NULL && pq_folder_list(folder, ".gp", &names, &n, NULL) == PQ_OK) {
        for (size_t i = 0; i < n; i++) {
            bool made                                  = false;
            names[i][strlen(names[i]) - strlen(".gp")] = '\0';
            for (size_t k = 0; k < plots->n; k++) {
                made = made || strcmp(plots->files[k].name, names[i]) == 0;
            }
            if (!made) {
                remove_plot(folder, names[i]);
            }
            pq_free(names[i]);
        }
    }
    pq_free(names);
    pq_free(folder);
}

/* btag.csv, btag.md, btag.tex, of those that are wanted where there is a tagger. */
static pq_status write_btag(const pq_view *whole, const pq_view *v, const char *dir,
                            pq_err *err)
{
    static const char *const kinds[] = {"csv", "md", "tex"};
    pq_sheet                 sheet   = {0};
    pq_text                  text    = {0};
    char                     name[16];
    pq_status                st = PQ_OK;

    for (size_t k = 0; k < 3; k++) {
        pq_tagging_table(k == 0 ? whole : v, &sheet);
        (void)snprintf(name, sizeof name, "btag.%s", kinds[k]);
        if (sheet.n == 0 || !wants_table(v->results, kinds[k])) {
            remove_file(dir, name);
        } else {
            if (k == 0) {
                pq_sheet_csv(&sheet, &text);
            } else {
                pq_text_add(&text, "%s",
                            k == 2 ? "% needs \\usepackage{booktabs}\n" : "");
                pq_sheet_print(&sheet, k == 1 ? PQ_STYLE_MARKDOWN : PQ_STYLE_TEX, &text);
            }
            PQ_TRY(write_text(dir, name, &text, err));
        }
        pq_sheet_free(&sheet);
    }
cleanup:
    pq_sheet_free(&sheet);
    return st;
}

static pq_status write_tables(const pq_view *whole, const pq_view *v, const char *dir,
                              pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    if (wants_table(v->results, "md")) {
        pq_tables_markdown(whole, v, &text);
        PQ_TRY(write_text(dir, "table.md", &text, err));
    } else {
        remove_file(dir, "table.md");
    }
    if (wants_table(v->results, "tex")) {
        pq_tables_tex(whole, v, &text);
        PQ_TRY(write_text(dir, "table.tex", &text, err));
    } else {
        remove_file(dir, "table.tex");
    }
    if (pq_published_any(whole)) {
        pq_published_csv(whole, &text);
        PQ_TRY(write_text(dir, "published.csv", &text, err));
    } else {
        remove_file(dir, "published.csv");
    }
cleanup:
    return st;
}

static pq_status write_page(const pq_view *whole, const pq_view *v, const char *dir,
                            const pq_plots *plots, const char *section, pq_err *err)
{
    pq_text   page = {0};
    pq_status st;

    PQ_TRY(pq_page_add(whole, v, dir, plots, section, &page, err));
    PQ_TRY(write_text(dir, "report.html", &page, err));
cleanup:
    pq_text_free(&page);
    return st;
}

static pq_status print(const pq_view *v, size_t width, bool color, pq_text *out,
                       pq_err *err)
{
    pq_view   shown = {0};
    pq_status st;

    PQ_TRY(pq_view_shorten(v, PQ_TERMINAL_ROWS_MAX, &shown, err));
    PQ_TRY(pq_tables_terminal(v, &shown, width, color, out, err));
    pq_published_add(v, PQ_STYLE_TEXT, out);
    PQ_CHECK(!out->failed, PQ_ERR_NOMEM, "cannot allocate the table");
cleanup:
    pq_view_free(&shown);
    return st;
}

pq_status pq_report_make(const char *dir, const json_t *results,
                         const pq_results_count *count, const pq_report_options *options,
                         pq_report_summary *summary, pq_err *err)
{
    const pq_report_options chosen = options != NULL ? *options : (pq_report_options){0};
    pq_view                 v = {0}, shown = {0};
    pq_plots                plots = {0};
    pq_status               st;

    PQ_TRY(pq_view_build(results, &v, err));
    PQ_TRY(pq_view_shorten(&v, PQ_VIEW_ROWS_MAX, &shown, err));
    PQ_TRY(write_tables(&v, &shown, dir, err));
    PQ_TRY(write_btag(&v, &shown, dir, err));
    if (!chosen.no_plots) {
        PQ_TRY(pq_plots_make(&v, dir, &chosen, &plots, err));
        remove_old_plots(dir, &plots);
    }
    if (!chosen.no_html && wants_page(results)) {
        PQ_TRY(write_page(&v, &shown, dir, &plots, chosen.section, err));
    } else if (!chosen.no_html) {
        remove_file(dir, "report.html");
    }
    if (chosen.table != NULL) {
        PQ_TRY(print(&v, chosen.width, chosen.color, chosen.table, err));
    }
    if (summary != NULL) {
        *summary = (pq_report_summary){.cells   = count->cells,
                                       .done    = count->done,
                                       .failed  = count->failed,
                                       .missing = count->missing,
                                       .damaged = count->damaged,
                                       .plots   = plots.drawn,
                                       .page    = !chosen.no_html && wants_page(results)};
        (void)snprintf(summary->note, sizeof summary->note, "%s", plots.note);
    }
cleanup:
    pq_plots_free(&plots);
    pq_view_free(&shown);
    pq_view_free(&v);
    return st;
}

pq_status pq_report_write(const char *dir, const pq_report_options *options,
                          pq_report_summary *summary, pq_err *err)
{
    json_t          *results = NULL;
    pq_results_count count   = {0};
    pq_status        st;

    PQ_TRY(pq_results_read(dir, &results, &count, err));
    PQ_TRY(write_csv(dir, results, err));
    PQ_TRY(pq_report_make(dir, results, &count, options, summary, err));
cleanup:
    json_decref(results);
    return st;
}

pq_status pq_report_print(const json_t *results, size_t width, bool color, pq_text *out,
                          pq_err *err)
{
    pq_view   v = {0};
    pq_status st;

    PQ_TRY(pq_view_build(results, &v, err));
    PQ_TRY(print(&v, width, color, out, err));
cleanup:
    pq_view_free(&v);
    return st;
}
