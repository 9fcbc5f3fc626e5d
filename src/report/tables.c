#include "report/tables.h"

#include <math.h>
#include <string.h>

/* What surrounds cells; NULL-free, indexed by style (terminals are drawn elsewhere). */
typedef struct {
    const char *row_begin, *row_end;
    const char *first_begin, *cell_begin, *cell_end, *between;
} frame;

static const frame frames[] = {
    [PQ_STYLE_MARKDOWN] = {"| ", " |\n", "", "", "", " | "},
    [PQ_STYLE_TEX]      = {"", " \\\\\n", "", "", "", " & "},
    [PQ_STYLE_HTML]     = {"<tr>", "</tr>\n", "<th scope=\"row\">", "<td>", "</td>", ""},
};

static bool in_part(const pq_view_column *c, pq_table_part part)
{
    return (c->rank > 0) == (part == PQ_TABLE_MAIN);
}

static size_t count_columns(const pq_view *v, pq_table_part part)
{
    size_t n = 0;

    for (size_t c = 0; c < v->n_columns; c++) {
        n += in_part(&v->columns[c], part);
    }
    return n;
}

static void add_head(const pq_view *v, pq_table_part part, pq_style style, pq_text *out)
{
    const bool html = style == PQ_STYLE_HTML;

    pq_text_add(out, "%s%s", frames[style].row_begin,
                html ? "<th scope=\"col\">model</th>" : "model");
    for (size_t c = 0; c < v->n_columns; c++) {
        if (in_part(&v->columns[c], part)) {
            pq_text_add(out, "%s%s", frames[style].between,
                        html ? "<th scope=\"col\">" : "");
            pq_view_add_head(&v->columns[c], style, out);
            pq_text_add(out, "%s", html ? "</th>" : "");
        }
    }
    if (v->timed && part == PQ_TABLE_MAIN) {
        pq_text_add(out, "%s%s", frames[style].between,
                    html ? "<th scope=\"col\">engine</th>" : "engine");
    }
    pq_text_add(out, "%s", frames[style].row_end);
}

static void add_row(const pq_view *v, size_t row, pq_table_part part, pq_style style,
                    pq_text *out)
{
    const frame *f    = &frames[style];
    const bool   html = style == PQ_STYLE_HTML;

    if (html && (row == v->reference || row == v->best)) {
        pq_text_add(out, "<tr class=\"%s\">", row == v->reference ? "reference" : "best");
    } else {
        pq_text_add(out, "%s", f->row_begin);
    }
    pq_text_add(out, "%s", f->first_begin);
    pq_escape_add(out, v->rows[row].label, style);
    pq_text_add(out, "%s", html ? "</th>" : "");
    for (size_t c = 0; c < v->n_columns; c++) {
        if (in_part(&v->columns[c], part)) {
            pq_text_add(out, "%s%s", f->between, f->cell_begin);
            pq_view_add(v, row, c, style, out);
            pq_text_add(out, "%s", f->cell_end);
        }
    }
    if (v->timed && part == PQ_TABLE_MAIN) {
        pq_text_add(out, "%s%s", f->between, f->cell_begin);
        pq_escape_add(out, v->rows[row].engine, style);
        pq_text_add(out, "%s", f->cell_end);
    }
    pq_text_add(out, "%s", f->row_end);
}

static void add_rule(size_t n, pq_style style, pq_text *out)
{
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\midrule\n");
    } else if (style == PQ_STYLE_HTML) {
        pq_text_add(out, "</thead>\n<tbody>\n");
    } else {
        pq_text_add(out, "| :-- |");
        for (size_t i = 0; i < n; i++) {
            pq_text_add(out, " --: |");
        }
        pq_text_add(out, "\n");
    }
}

void pq_tables_add(const pq_view *v, pq_table_part part, pq_style style, pq_text *out)
{
    const size_t numbers = count_columns(v, part);
    const size_t n       = numbers + (v->timed && part == PQ_TABLE_MAIN ? 1 : 0);
    size_t       done    = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        done += v->rows[r].done;
    }
    if (numbers == 0 || done == 0) {
        return;
    }
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\begin{tabular}{l*{%zu}{r}}\n\\toprule\n", n);
    } else if (style == PQ_STYLE_HTML) {
        pq_text_add(out, "<div class=\"scroll\"><table>\n<thead>\n");
    }
    add_head(v, part, style, out);
    add_rule(n, style, out);
    for (size_t r = 0; r < v->n_rows; r++) {
        if (v->rows[r].done) {
            add_row(v, r, part, style, out);
        }
    }
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\bottomrule\n\\end{tabular}\n");
    } else if (style == PQ_STYLE_HTML) {
        pq_text_add(out, "</tbody>\n</table></div>\n");
    }
}

static bool has_latency(const pq_view *v)
{
    for (size_t c = 0; c < v->n_columns; c++) {
        if (strncmp(v->columns[c].name, "latency.", strlen("latency.")) == 0) {
            return true;
        }
    }
    return false;
}

static size_t count_status(const pq_view *v, const char *status)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        n += strcmp(v->rows[r].status, status) == 0;
    }
    return n;
}

/* Names the rows that `picked` holds for, the first three of them. */
static void add_list(const pq_view *v, const char                 *what,
                     bool (*picked)(const pq_view_row *), pq_text *out)
{
    size_t n = 0, named = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        n += picked(&v->rows[r]);
    }
    if (n == 0) {
        return;
    }
    pq_text_add(out, "%s (%zu of %zu cells): ", what, n, v->n_rows);
    for (size_t r = 0; r < v->n_rows && named < 3; r++) {
        const pq_view_row *row = &v->rows[r];
        if (!picked(row)) {
            continue;
        }
        pq_text_add(out, "%s", named++ == 0 ? "" : "; ");
        pq_escape_add(out, row->label, PQ_STYLE_TEXT);
        if (row->noise != NULL && *row->noise != '\0') {
            pq_text_add(out, " (");
            pq_escape_add(out, row->noise, PQ_STYLE_TEXT);
            pq_text_add(out, ")");
        }
    }
    pq_text_add(out, n > named ? "; \xe2\x80\xa6\n" : "\n");
}

static bool is_noisy(const pq_view_row *row)
{
    return row->noise != NULL;
}

static bool is_infeasible(const pq_view_row *row)
{
    return strcmp(row->status, "infeasible") == 0;
}

static bool is_undecided(const pq_view_row *row)
{
    return json_array_size(json_object_get(row->cell, "undecided")) > 0;
}

/* Layers that an engine of whole numbers computed in double; the reference has no grids.
 */
static void add_fallbacks(const pq_view *v, pq_text *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *record     = json_object_get(v->rows[r].cell, "record");
        const json_t *provenance = json_object_get(record, "provenance");
        const json_t *lines      = json_object_get(provenance, "fallbacks"), *line;
        size_t        i;

        if (r == v->reference || json_array_size(lines) == 0) {
            continue;
        }
        pq_text_add(out, "In double, not in whole numbers: ");
        pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEXT);
        json_array_foreach((json_t *)lines, i, line)
        {
            pq_text_add(out, "; ");
            pq_escape_add(out, json_is_string(line) ? json_string_value(line) : "",
                          PQ_STYLE_TEXT);
        }
        pq_text_add(out, "\n");
    }
}

/* What a record says under two keys, or NULL. */
static const json_t *said(const pq_view_row *row, const char *block, const char *key)
{
    const json_t *record = json_object_get(row->cell, "record");

    return json_object_get(json_object_get(record, block), key);
}

/* A sentence of the records, once for all cells that say the same. */
static void add_said(const pq_view *v, const char *title, const char *block,
                     const char *key, pq_text *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const char *text = json_string_value(said(&v->rows[r], block, key));
        size_t      same = 0, first = r;
        for (size_t k = 0; text != NULL && k < v->n_rows; k++) {
            const char *other = json_string_value(said(&v->rows[k], block, key));
            const bool  equal = other != NULL && strcmp(text, other) == 0;
            first             = equal && k < first ? k : first;
            same += equal ? 1 : 0;
        }
        if (text == NULL || first < r) {
            continue;
        }
        pq_text_add(out, "%s: ", title);
        pq_escape_add(out, text, PQ_STYLE_TEXT);
        if (same < v->n_rows) {
            pq_text_add(out, " (");
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEXT);
            pq_text_add(out, same > 1 ? ", \xe2\x80\xa6)" : ")");
        }
        pq_text_add(out, "\n");
    }
}

/* Metrics that the outputs have no value of: of the first cell that says so. */
static void add_refused(const pq_view *v, pq_text *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *lines = said(&v->rows[r], "outputs", "refused"), *line;
        size_t        i;

        json_array_foreach((json_t *)lines, i, line)
        {
            pq_text_add(out, "Not computed: ");
            pq_escape_add(out, json_is_string(line) ? json_string_value(line) : "",
                          PQ_STYLE_TEXT);
            pq_text_add(out, "\n");
        }
        if (json_array_size(lines) > 0) {
            return;
        }
    }
}

/* Where batch sizes were timed on different engines: what the second decides otherwise.
 */
static void add_other_decisions(const pq_view *v, pq_text *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *record = json_object_get(v->rows[r].cell, "record");
        json_t       *others = json_object_get(record, "engines"), *other;
        const char   *name;
        if (strchr(v->rows[r].engine, '/') == NULL) {
            continue;
        }
        json_object_foreach(others, name, other)
        {
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEXT);
            pq_text_add(out, ": blas and %s decide %lld events differently.\n", name,
                        (long long)json_integer_value(json_object_get(other, "differs")));
        }
    }
}

void pq_tables_add_notes(const pq_view *v, pq_text *out)
{
    const size_t missing = count_status(v, "missing") + count_status(v, "interrupted");

    if (pq_view_column_of(v, "accuracy") != PQ_VIEW_NONE) {
        pq_text_add(out, "Uncertainties are 68.3 %% intervals (one sigma)%s.\n",
                    has_latency(v) ? "; those of times and speed-ups are 95 %" : "");
    }
    if (pq_view_column_of(v, "delta_accuracy") != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "\xce\x94 acc.: difference to the reference in percentage points, on "
                    "the same "
                    "events; the two are correlated, so their intervals do not add in "
                    "quadrature.\n");
    }
    if (pq_view_column_of(v, "size_ratio") != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "ratio: stored bytes of the reference over those of the model.\n");
    }
    if (has_latency(v)) {
        pq_text_add(out, "Times hold for this host and this run only; the speed-up is "
                         "against the reference in the same rounds (b = batch size).\n");
    }
    add_said(v, "Outputs", "outputs", "meaning", out);
    add_refused(v, out);
    if (v->timed) {
        pq_text_add(out, "engine: what was timed, and what gave the other numbers; blas "
                         "computes in float32, onednn in int8 where a layer has both "
                         "weights and activations of at most 8 bits; of two, by batch "
                         "size, the first gave the other numbers.\n");
    }
    add_other_decisions(v, out);
    add_list(v, "Noisy timing", is_noisy, out);
    add_list(v, "Outside the constraints", is_infeasible, out);
    add_list(v, "Not judged by every constraint, for want of a value", is_undecided, out);
    add_fallbacks(v, out);
    if (missing > 0) {
        pq_text_add(out, "%zu of %zu cells have not been run yet.\n", missing, v->n_rows);
    }
}

void pq_tables_markdown(const pq_view *v, pq_text *out)
{
    pq_text notes = {0};
    char   *rest, *line;
    size_t  failed = 0;

    pq_text_add(out, "# ");
    pq_escape_add(out, v->name, PQ_STYLE_MARKDOWN);
    pq_text_add(out, "\n\n");
    pq_tables_add(v, PQ_TABLE_MAIN, PQ_STYLE_MARKDOWN, out);
    pq_tables_add_notes(v, &notes);
    rest = notes.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_text_add(out, "\n");
        pq_escape_add(out, line, PQ_STYLE_MARKDOWN);
        pq_text_add(out, "\n");
    }
    for (size_t r = 0; r < v->n_rows; r++) {
        if (pq_view_failed(&v->rows[r])) {
            pq_text_add(out, failed++ == 0 ? "\nFailed cells:\n\n- " : "- ");
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_MARKDOWN);
            pq_text_add(out, " (%s): ", v->rows[r].status);
            pq_escape_add(out, pq_view_reason(&v->rows[r]), PQ_STYLE_MARKDOWN);
            pq_text_add(out, "\n");
        }
    }
    out->failed = out->failed || notes.failed;
    pq_text_free(&notes);
}

void pq_tables_tex(const pq_view *v, pq_text *out)
{
    pq_text_add(out, "%% ");
    pq_escape_add(out, v->name, PQ_STYLE_TEX);
    pq_text_add(out, " -- needs \\usepackage{booktabs}\n");
    pq_tables_add(v, PQ_TABLE_MAIN, PQ_STYLE_TEX, out);
    for (size_t r = 0; r < v->n_rows; r++) {
        if (pq_view_failed(&v->rows[r])) {
            pq_text_add(out, "%% failed: ");
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEX);
            pq_text_add(out, ": ");
            pq_escape_add(out, pq_view_reason(&v->rows[r]), PQ_STYLE_TEX);
            pq_text_add(out, "\n");
        }
    }
}
