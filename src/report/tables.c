#include "report/tables.h"

#include <math.h>
#include <string.h>

#include "report/published.h"

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
            pq_text_add(out, "%s", frames[style].between);
            if (html) {
                pq_text_add(out, "<th scope=\"col\" data-col=\"%zu\">", c);
            }
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

static void add_row(const pq_view *v, size_t row, size_t number, pq_table_part part,
                    pq_style style, pq_text *out)
{
    const frame *f    = &frames[style];
    const bool   html = style == PQ_STYLE_HTML;

    if (html && (row == v->reference || row == v->best)) {
        pq_text_add(out, "<tr class=\"%s\" data-row=\"%zu\">",
                    row == v->reference ? "reference" : "best", number);
    } else if (html) {
        pq_text_add(out, "<tr data-row=\"%zu\">", number);
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
    size_t       done = 0, number = 0;

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
            add_row(v, r, number++, part, style, out);
        }
    }
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\bottomrule\n\\end{tabular}\n");
    } else if (style == PQ_STYLE_HTML) {
        pq_text_add(out, "</tbody>\n</table></div>\n");
    }
}

void pq_tables_markdown(const pq_view *whole, const pq_view *v, pq_text *out)
{
    pq_text notes = {0};
    char   *rest, *line;
    size_t  failed = 0;

    pq_text_add(out, "# ");
    pq_escape_add(out, v->name, PQ_STYLE_MARKDOWN);
    pq_text_add(out, "\n\n");
    pq_tables_add(v, PQ_TABLE_MAIN, PQ_STYLE_MARKDOWN, out);
    pq_view_add_left_out(v, &notes);
    pq_tables_add_notes(whole, &notes);
    rest = notes.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_text_add(out, "\n");
        pq_escape_add(out, line, PQ_STYLE_MARKDOWN);
        pq_text_add(out, "\n");
    }
    pq_published_add(whole, PQ_STYLE_MARKDOWN, out);
    for (size_t r = 0; r < v->n_rows; r++) {
        if (pq_view_failed(&v->rows[r])) {
            pq_text_add(out, failed++ == 0 ? "\nFailed cells:\n\n- " : "- ");
            pq_escape_add(out, v->rows[r].status, PQ_STYLE_MARKDOWN);
            pq_text_add(out, ": ");
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_MARKDOWN);
            pq_text_add(out, ": ");
            pq_escape_add(out, pq_view_reason(&v->rows[r]), PQ_STYLE_MARKDOWN);
            pq_text_add(out, "\n");
        }
    }
    out->failed = out->failed || notes.failed;
    pq_text_free(&notes);
}

/* \pqchar{4E2D}: what pdflatex does not know; XeLaTeX and LuaLaTeX print it. */
static void add_tex_macros(const pq_text *table, pq_text *out)
{
    if (table->text != NULL && strstr(table->text, "\\pqchar{") != NULL) {
        pq_text_add(out, "\\providecommand{\\pqchar}[1]{\\ifx\\XeTeXversion\\undefined"
                         "\\ifx\\luatexversion\\undefined U+#1\\else\\char\"#1\\fi"
                         "\\else\\char\"#1\\fi}\n");
    }
}

void pq_tables_tex(const pq_view *whole, const pq_view *v, pq_text *out)
{
    pq_text table = {0}, left_out = {0};
    char   *rest, *line;

    pq_text_add(out, "%% ");
    pq_escape_add(out, v->name, PQ_STYLE_TEX);
    pq_text_add(out, " -- needs \\usepackage{booktabs}\n");
    pq_view_add_left_out(v, &left_out);
    rest = left_out.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_text_add(out, "%% %s\n", line);
    }
    pq_text_free(&left_out);
    pq_tables_add(v, PQ_TABLE_MAIN, PQ_STYLE_TEX, &table);
    pq_published_add(whole, PQ_STYLE_TEX, &table);
    add_tex_macros(&table, out);
    if (table.length > 0) {
        pq_text_add_bytes(out, table.text, table.length);
    }
    out->failed = out->failed || table.failed;
    pq_text_free(&table);
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
