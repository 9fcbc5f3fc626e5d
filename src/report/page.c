#include "report/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "report/btag_table.h"
#include "report/page_inside.h"
#include "report/published.h"
#include "report/tables.h"
#include "report/words.h"
#include "store/json.h"
#include "store/record.h"

enum { PICTURE_BYTES_MAX = 1 << 26, VALUES_SHOWN = 3, PATH_BYTES_MAX = 128 };

/* A page stays below 2 MB: vectors only where they are small, pictures and what changed
 * in each layer only as long as there is room; the rest is linked. */
enum { VECTOR_BYTES_MAX = 200000, PICTURES_END = 1100000, LAYERS_END = 1600000 };
enum { WORKING_POINTS_BYTES_MAX = 200000 };

static void add_escaped(pq_text *out, const char *text)
{
    pq_escape_add(out, text, PQ_STYLE_HTML);
}

static void add_header(const pq_view *v, pq_text *out)
{
    pq_text words = {0};

    pq_text_add(out, "<header>\n<p class=\"brand\">pQuant</p>\n<h1>");
    add_escaped(out, v->name);
    pq_text_add(out, "</h1>\n<p class=\"sub\">");
    add_escaped(out, v->dataset);
    if (isfinite(v->events)) {
        pq_text_add(out, "%sn = ", *v->dataset != '\0' ? ", " : "");
        pq_count_add(out, v->events, PQ_STYLE_HTML);
        pq_text_add(out, " events");
    }
    pq_text_add(out, "</p>\n</header>\n<p class=\"summary\">");
    pq_words_summary(v, &words);
    add_escaped(out, words.text != NULL ? words.text : "");
    pq_text_add(out, "</p>\n");
    out->failed = out->failed || words.failed;
    pq_text_free(&words);
}

/* Where the data of the page lies, beside it. */
static void add_data(const pq_view *v, pq_text *out)
{
    pq_text left_out = {0};
    char   *rest, *line;

    pq_view_add_left_out(v, &left_out);
    rest = left_out.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_text_add(out, "<p class=\"notes\">%s</p>\n", line);
    }
    pq_text_add(out, "<p class=\"notes\">All numbers, beside this page: "
                     "<a href=\"table.csv\">table.csv</a>, "
                     "<a href=\"results.sqlite\">results.sqlite</a>, "
                     "<a href=\"cells/\">a JSON record of each cell</a>, "
                     "<a href=\"plots/\">data and scripts of the plots</a>.</p>\n");
    out->failed = out->failed || left_out.failed;
    pq_text_free(&left_out);
}

static void add_notes(const pq_view *v, const char *plots_note, pq_text *out)
{
    pq_text notes = {0};
    char   *rest, *line;

    pq_tables_add_notes(v, &notes);
    pq_text_add(&notes, "%s\n", plots_note);
    pq_text_add(out, "<ul class=\"notes\">\n");
    rest = notes.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_text_add(out, "<li>");
        add_escaped(out, line);
        pq_text_add(out, "</li>\n");
    }
    pq_text_add(out, "</ul>\n");
    out->failed = out->failed || notes.failed;
    pq_text_free(&notes);
}

static void add_failed(const pq_view *v, pq_text *out)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const pq_view_row *row = &v->rows[r];
        const json_t      *error =
            json_object_get(json_object_get(row->cell, "record"), "error");
        if (!pq_view_failed(row)) {
            continue;
        }
        pq_text_add(out, "%s<li><span class=\"failed\">",
                    n++ == 0 ? "<h2>Failed cells</h2>\n<ul>\n" : "");
        add_escaped(out, row->status);
        pq_text_add(out, "</span> ");
        add_escaped(out, row->label);
        pq_text_add(out, ": ");
        add_escaped(out, pq_view_reason(row));
        pq_text_add(out, " ");
        add_escaped(out, pq_json_get_text(error, "hint"));
        pq_text_add(out, "</li>\n");
    }
    pq_text_add(out, "%s", n > 0 ? "</ul>\n" : "");
}

/* The picture as an image: a browser runs nothing that stands in one and loads nothing
 * for it, whoever wrote the file (SVG Integration, "secure static mode"). */
static pq_status add_picture(const char *dir, const pq_plot_file *file, pq_text *out,
                             pq_err *err)
{
    char     *path  = pq_format("%s/plots/%s.svg", dir, file->name);
    char     *plain = pq_format("%s/plots/%s.png", dir, file->name), *bytes = NULL;
    size_t    n = 0;
    bool      vector;
    pq_status st;

    PQ_CHECK(path != NULL && plain != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    vector = pq_file_bytes(path) <= VECTOR_BYTES_MAX || !pq_file_exists(plain);
    PQ_TRY(pq_file_read(vector ? path : plain, PICTURE_BYTES_MAX, &bytes, &n, err));
    PQ_CHECK(!vector || strstr(bytes, "<svg") != NULL, PQ_ERR_FORMAT,
             "%s: is not an SVG picture", path);
    if (out->length + 4 * n / 3 > PICTURES_END) {
        pq_text_add(out,
                    "<p>Too large for this page: <a href=\"plots/%s.svg\">SVG</a>, "
                    "<a href=\"plots/%s.png\">PNG</a></p>\n",
                    file->name, file->name);
        goto cleanup;
    }
    pq_text_add(out, "<img alt=\"");
    add_escaped(out, file->caption);
    pq_text_add(out, "\" src=\"data:image/%s;base64,", vector ? "svg+xml" : "png");
    pq_base64_add(out, bytes, n);
    pq_text_add(out, "\">\n");
cleanup:
    pq_free(path);
    pq_free(plain);
    pq_free(bytes);
    return st;
}

static pq_status add_plots(const char *dir, const pq_plots *plots, pq_text *out,
                           pq_err *err)
{
    size_t    shown = 0;
    pq_status st    = PQ_OK;

    for (size_t i = 0; i < plots->n; i++) {
        const pq_plot_file *file = &plots->files[i];
        const bool          chart =
            file->chart != NULL && out->length + strlen(file->chart) <= PICTURES_END;
        if (!file->drawn && !chart) {
            continue;
        }
        pq_text_add(out, "%s<figure>\n", shown++ == 0 ? "<div class=\"plots\">\n" : "");
        if (chart) { /* in the page's own colours, and its script knows the lines */
            pq_text_add_bytes(out, file->chart, strlen(file->chart));
        } else {
            PQ_TRY(add_picture(dir, file, out, err));
        }
        pq_text_add(out, "<figcaption>");
        add_escaped(out, file->caption);
        pq_text_add(out, "</figcaption>\n</figure>\n");
    }
    pq_text_add(out, "%s", shown > 0 ? "</div>\n" : "");
cleanup:
    return st;
}

static void add_cell(pq_text *out, const json_t *layer, const char *name)
{
    const json_t *value = json_object_get(layer, name);

    pq_text_add(out, "<td>");
    if (json_is_integer(value)) {
        pq_count_add(out, (double)json_integer_value(value), PQ_STYLE_HTML);
    } else {
        pq_number_add(
            out,
            (pq_number){json_is_number(value) ? json_number_value(value) : (double)NAN,
                        (double)NAN, (double)NAN},
            1.0, 3, PQ_STYLE_HTML);
    }
    pq_text_add(out, "</td>");
}

static void add_layers(const pq_view_row *row, const json_t *record, pq_text *out)
{
    const json_t *layers = json_object_get(record, "layers");
    const json_t *layer;
    size_t        i;

    if (!row->done || json_array_size(layers) == 0) {
        return;
    }
    pq_text_add(out, "<details><summary>");
    add_escaped(out, row->label);
    pq_text_add(out, "</summary><div class=\"scroll\"><table>\n<thead><tr><th>layer</th>"
                     "<th>stage</th><th>change</th><th>error</th><th>bytes "
                     "before</th><th>bytes after</th>"
                     "<th>MACs before</th><th>MACs after</th></tr></thead>\n<tbody>\n");
    json_array_foreach((json_t *)layers, i, layer)
    {
        pq_text_add(out, "<tr><th scope=\"row\">");
        add_escaped(out, pq_json_get_text(layer, "layer"));
        pq_text_add(out, "</th><td class=\"text\">");
        add_escaped(out, pq_json_get_text(layer, "stage"));
        pq_text_add(out, "</td><td class=\"text\">");
        add_escaped(out, pq_json_get_text(layer, "what"));
        pq_text_add(out, "</td>");
        add_cell(out, layer, "error");
        add_cell(out, layer, "bytes_before");
        add_cell(out, layer, "bytes_after");
        add_cell(out, layer, "macs_before");
        add_cell(out, layer, "macs_after");
        pq_text_add(out, "</tr>\n");
    }
    pq_text_add(out, "</tbody>\n</table></div></details>\n");
}

/* Which layer broke it: values against those of the network before any stage. */
static void add_errors(const pq_view_row *row, const json_t *record, pq_text *out)
{
    const json_t *diff   = json_object_get(record, "quantization"), *layer;
    const json_t *layers = json_object_get(diff, "layers");
    size_t        i;

    if (!row->done || json_array_size(layers) == 0) {
        return;
    }
    pq_text_add(out, "<details><summary>");
    add_escaped(out, row->label);
    pq_text_add(out, ": quantized against float, %lld events</summary>",
                (long long)json_integer_value(json_object_get(diff, "events")));
    pq_text_add(out, "<div class=\"scroll\"><table>\n<thead><tr><th>layer</th>"
                     "<th>relative error</th><th>largest error</th><th>size of "
                     "values</th></tr></thead>\n<tbody>\n");
    json_array_foreach((json_t *)layers, i, layer)
    {
        pq_text_add(out, "<tr><th scope=\"row\">");
        add_escaped(out, pq_json_get_text(layer, "layer"));
        pq_text_add(out, "</th>");
        add_cell(out, layer, "error");
        add_cell(out, layer, "largest");
        add_cell(out, layer, "signal");
        pq_text_add(out, "</tr>\n");
    }
    pq_text_add(out, "</tbody>\n</table></div></details>\n");
}

/* What changed in each layer of the models shown: their whole records are read for it. */
static void add_changes(const pq_view *v, const char *dir, pq_text *out)
{
    size_t n = 0, left_out = 0;

    pq_text_add(out, "<h2>What changed in each layer</h2>\n<details><summary>Layers of "
                     "each model</summary><div>\n");
    for (size_t r = 0; r < v->n_rows; r++) {
        json_t *record = NULL;
        if (!v->rows[r].done || n++ == 0 || out->length < LAYERS_END) {
            (void)pq_record_read(dir, pq_json_get_text(v->rows[r].cell, "eval"), &record,
                                 NULL);
            add_layers(&v->rows[r], record, out);
            add_errors(&v->rows[r], record, out);
            json_decref(record);
        } else {
            left_out++;
        }
    }
    if (left_out > 0) {
        pq_text_add(out,
                    "<p>Of %zu models more: in their records, "
                    "<a href=\"cells/\">cells/</a>.</p>\n",
                    left_out);
    }
    pq_text_add(out, "</div></details>\n");
}

/* Flattens JSON into {"a.b": {value: null, …}}: every value that any record has. */
static void collect(json_t *into, const char *path, const json_t *value)
{
    const char *name;
    json_t     *inner;
    char       *text;

    if (json_is_object(value) && strlen(path) <= PATH_BYTES_MAX) {
        json_object_foreach((json_t *)value, name, inner)
        {
            char *longer = pq_format("%s%s%s", path, *path != '\0' ? "." : "", name);
            if (longer != NULL) {
                collect(into, longer, inner);
            }
            pq_free(longer);
        }
        return;
    }
    text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (json_object_get(into, path) == NULL) {
        json_object_set_new(into, path, json_object());
    }
    json_object_set_new(json_object_get(into, path),
                        text != NULL            ? text
                        : json_is_string(value) ? json_string_value(value)
                                                : "",
                        json_null());
    free(text);
}

static void add_values(const json_t *values, pq_text *out)
{
    size_t      n = 0;
    const char *value;
    json_t     *ignored;

    json_object_foreach((json_t *)values, value, ignored)
    {
        if (n++ < VALUES_SHOWN) {
            pq_text_add(out, "%s", n > 1 ? "; " : "");
            add_escaped(out, value);
        }
    }
    if (n > VALUES_SHOWN) {
        pq_text_add(out, "; and %zu more", n - VALUES_SHOWN);
    }
}

static pq_status add_provenance(const pq_view *v, pq_text *out, pq_err *err)
{
    json_t     *all = json_object(), *values;
    const char *name;
    pq_status   st;

    PQ_CHECK(all != NULL, PQ_ERR_NOMEM, "cannot allocate the provenance");
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *cell = v->rows[r].cell, *timing;
        size_t        i;
        collect(all, "", json_object_get(json_object_get(cell, "record"), "provenance"));
        collect(all, "seeds", json_object_get(json_object_get(cell, "record"), "seeds"));
        json_array_foreach(json_object_get(cell, "timings"), i, timing)
        {
            collect(all, "latency", json_object_get(timing, "provenance"));
        }
    }
    pq_text_add(out,
                "<h2>Provenance</h2>\n<details><summary>Versions, processor, hashes, "
                "seeds</summary><div class=\"scroll\"><table>\n<tbody>\n");
    json_object_foreach(all, name, values)
    {
        if (*name != '\0') {
            pq_text_add(out, "<tr><th scope=\"row\">");
            add_escaped(out, name);
            pq_text_add(out, "</th><td class=\"text\">");
            add_values(values, out);
            pq_text_add(out, "</td></tr>\n");
        }
    }
    pq_text_add(out, "</tbody>\n</table></div></details>\n");
cleanup:
    json_decref(all);
    return st;
}

static void add_stages(const pq_view_row *row, pq_text *out)
{
    const json_t *record = json_object_get(row->cell, "record"), *stage;
    size_t        i;

    pq_text_add(out, "<details><summary>");
    add_escaped(out, row->label);
    pq_text_add(out, "</summary><ul>\n");
    json_array_foreach(json_object_get(record, "stages"), i, stage)
    {
        pq_text_add(out, "<li>");
        add_escaped(out, json_is_string(stage) ? json_string_value(stage) : "");
        pq_text_add(out, "</li>\n");
    }
    pq_text_add(out, "<li>key ");
    add_escaped(out, pq_json_get_text(row->cell, "eval"));
    pq_text_add(out, "</li></ul></details>\n");
}

static void add_configuration(const pq_view *v, pq_text *out)
{
    const char *path     = pq_json_get_text(v->results, "config");
    const char *resolved = pq_json_get_text(v->results, "resolved");

    pq_text_add(out, "<h2>Configuration</h2>\n<p class=\"sub\">");
    add_escaped(out, path);
    pq_text_add(out, "</p>\n");
    if (*resolved != '\0') {
        pq_text_add(out, "<details><summary>Resolved, with every default</summary><pre>");
        for (const char *s = resolved; *s != '\0';) {
            const size_t n    = strcspn(s, "\n");
            char        *line = pq_format("%.*s", (int)n, s);
            add_escaped(out, line != NULL ? line : "");
            pq_text_add(out, "\n");
            out->failed = out->failed || line == NULL;
            pq_free(line);
            s += n + (s[n] == '\n');
        }
        pq_text_add(out, "</pre></details>\n");
    }
    pq_text_add(out, "<details><summary>Stages of each cell, with every "
                     "default</summary><div>\n");
    for (size_t r = 0; r < v->n_rows; r++) {
        add_stages(&v->rows[r], out);
    }
    pq_text_add(out, "</div></details>\n");
}

static void add_further(const pq_view *v, pq_text *out)
{
    pq_text table = {0};

    pq_tables_add(v, PQ_TABLE_FURTHER, PQ_STYLE_HTML, &table);
    if (table.length > 0) {
        pq_text_add(out, "<details><summary>Further metrics</summary>");
        pq_text_add_bytes(out, table.text, table.length);
        pq_text_add(out, "</details>\n");
    }
    out->failed = out->failed || table.failed;
    pq_text_free(&table);
}

/* Working points of b taggers, where there are any and they are not too many. */
static void add_working_points(const pq_view *v, pq_text *out)
{
    pq_sheet sheet = {0};
    pq_text  table = {0};

    pq_tagging_table(v, &sheet);
    if (sheet.n > 0) {
        pq_sheet_print(&sheet, PQ_STYLE_HTML, &table);
        pq_text_add(out, "<details><summary>Working points of the b taggers</summary>");
        if (table.text != NULL && table.length <= WORKING_POINTS_BYTES_MAX) {
            pq_text_add_bytes(out, table.text, table.length);
        } else {
            pq_text_add(out, "<div>Too many for this page: "
                             "<a href=\"btag.csv\">btag.csv</a></div>\n");
        }
        pq_text_add(out, "</details>\n");
    }
    out->failed = out->failed || sheet.failed || table.failed;
    pq_text_free(&table);
    pq_sheet_free(&sheet);
}

pq_status pq_page_add(const pq_view *whole, const pq_view *v, const char *dir,
                      const pq_plots *plots, const char *section, pq_text *out,
                      pq_err *err)
{
    pq_text   body = {0};
    pq_status st;

    add_header(whole, &body);
    add_failed(v, &body);
    pq_text_add(&body, "<h2>Results</h2>\n<div id=\"tools\" class=\"tools\" "
                       "hidden></div>\n");
    pq_tables_add(v, PQ_TABLE_MAIN, PQ_STYLE_HTML, &body);
    pq_text_add(&body, "<div id=\"explore\" hidden></div>\n");
    pq_published_add(whole, PQ_STYLE_HTML, &body);
    add_data(v, &body);
    add_notes(whole, plots->note, &body);
    add_working_points(v, &body);
    add_further(v, &body);
    pq_text_add(&body, "<h2>Plots</h2>\n");
    PQ_TRY(add_plots(dir, plots, &body, err));
    pq_text_add(&body, "%s", section != NULL ? section : "");
    add_changes(v, dir, &body);
    add_configuration(v, &body);
    PQ_TRY(add_provenance(whole, &body, err));
    PQ_CHECK(!body.failed, PQ_ERR_NOMEM, "cannot allocate the page");
    pq_page_fill(v, &body, out);
    PQ_CHECK(!out->failed, PQ_ERR_NOMEM, "cannot allocate the page");
cleanup:
    pq_text_free(&body);
    return st;
}
