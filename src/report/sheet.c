#include "report/sheet.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "report/label.h"

enum { GAP = 2 /* columns of a terminal */ };

static pq_sheet_cell *next_cell(pq_sheet *s)
{
    pq_sheet_cell *grown = pq_recalloc(s->cells, s->n, s->n + 1, sizeof *grown);

    if (grown == NULL) {
        s->failed = true;
        return NULL;
    }
    s->cells              = grown;
    s->cells[s->n].number = (pq_number){(double)NAN, (double)NAN, (double)NAN};
    return &s->cells[s->n++];
}

void pq_sheet_add_text(pq_sheet *s, const char *text)
{
    pq_sheet_cell *cell = next_cell(s);

    if (cell != NULL) {
        cell->text = pq_format("%s", text);
        s->failed  = s->failed || cell->text == NULL;
    }
}

void pq_sheet_add_number(pq_sheet *s, double value, double lo, double hi)
{
    pq_sheet_cell *cell = next_cell(s);

    if (cell != NULL) {
        cell->number = (pq_number){value, lo, hi};
    }
}

void pq_sheet_free(pq_sheet *s)
{
    for (size_t i = 0; i < s->n; i++) {
        pq_free(s->cells[i].text);
    }
    pq_free(s->cells);
    s->cells = NULL;
    s->n     = 0;
}

static bool is_empty(const pq_sheet_cell *cell)
{
    return isnan(cell->number.value) && isnan(cell->number.lo) &&
           (cell->text == NULL || *cell->text == '\0');
}

bool pq_sheet_has(const pq_sheet *s, size_t column)
{
    bool has = false;

    for (size_t i = column; i < s->n; i += s->n_columns) {
        has = has || !is_empty(&s->cells[i]);
    }
    return has;
}

static void add_cell(const pq_sheet *s, size_t i, pq_style style, pq_text *out)
{
    const pq_sheet_column *column = &s->columns[i % s->n_columns];
    const pq_sheet_cell   *cell   = &s->cells[i];
    const pq_number        n      = cell->number;

    if (column->kind == PQ_SHEET_TEXT) {
        pq_escape_add(out, cell->text != NULL ? cell->text : "", style);
    } else if (!isfinite(n.value) && isfinite(n.lo)) {
        pq_text_add(out, style == PQ_STYLE_TEX    ? "$>$ "
                         : style == PQ_STYLE_HTML ? "&gt; "
                                                  : "> ");
        pq_number_add(out, (pq_number){n.lo, (double)NAN, (double)NAN}, column->scale, 3,
                      style);
    } else if (column->kind == PQ_SHEET_INTERVAL && isnan(n.lo) &&
               !(n.value < floor(n.value)) && !(n.value > floor(n.value)) &&
               fabs(n.value) < 1e15) {
        pq_count_add(out, n.value * column->scale, style);
    } else {
        pq_number_add(out, n, column->scale, column->digits, style);
    }
}

/* A text that stands right above, in a column that only such columns are left of. */
static bool repeats(const pq_sheet *s, size_t i)
{
    const size_t column = i % s->n_columns;

    for (size_t k = i - column; k <= i; k++) {
        if (k < s->n_columns || s->columns[k % s->n_columns].kind != PQ_SHEET_TEXT ||
            s->cells[k].text == NULL || s->cells[k - s->n_columns].text == NULL ||
            strcmp(s->cells[k].text, s->cells[k - s->n_columns].text) != 0) {
            return false;
        }
    }
    return true;
}

/* What stands before, between and behind cells; of HTML, where each has its own tags,
 * around them. */
typedef struct {
    const char *begin, *between, *end;
} frame;

static const frame frames[] = {
    [PQ_STYLE_TEXT]     = {"", "", "\n"},
    [PQ_STYLE_MARKDOWN] = {"| ", " | ", " |\n"},
    [PQ_STYLE_TEX]      = {"", " & ", " \\\\\n"},
    [PQ_STYLE_HTML]     = {"<tr>", "", "</tr>\n"},
};

/* Columns that are printed, in order; returns how many. */
static size_t shown(const pq_sheet *s, size_t *columns)
{
    size_t n = 0;

    for (size_t c = 0; c < s->n_columns; c++) {
        if (pq_sheet_has(s, c)) {
            columns[n++] = c;
        }
    }
    return n;
}

static void add_rule(const pq_sheet *s, const size_t *columns, size_t n, pq_style style,
                     pq_text *out)
{
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\midrule\n");
    }
    for (size_t c = 0; style == PQ_STYLE_MARKDOWN && c < n; c++) {
        const bool text = s->columns[columns[c]].kind == PQ_SHEET_TEXT;
        pq_text_add(out, "%s%s", text ? "| :-- " : "| --: ", c + 1 == n ? "|\n" : "");
    }
    pq_text_add(out, "%s", style == PQ_STYLE_HTML ? "</thead>\n<tbody>\n" : "");
}

static void add_begin(const pq_sheet *s, const size_t *columns, size_t n, pq_style style,
                      pq_text *out)
{
    if (style == PQ_STYLE_TEX) {
        pq_text_add(out, "\\begin{tabular}{");
        for (size_t c = 0; c < n; c++) {
            pq_text_add(out, s->columns[columns[c]].kind == PQ_SHEET_TEXT ? "l" : "r");
        }
        pq_text_add(out, "}\n\\toprule\n");
    }
    pq_text_add(out, "%s",
                style == PQ_STYLE_HTML ? "<div class=\"scroll\"><table>\n<thead>\n" : "");
}

static void add_end(pq_style style, pq_text *out)
{
    pq_text_add(out, "%s",
                style == PQ_STYLE_TEX    ? "\\bottomrule\n\\end{tabular}\n"
                : style == PQ_STYLE_HTML ? "</tbody>\n</table></div>\n"
                                         : "");
}

/* One row of a document; `row` is the head's where it is SIZE_MAX. */
static void add_row(const pq_sheet *s, size_t row, const size_t *columns, size_t n,
                    pq_style style, pq_text *out)
{
    const bool   html = style == PQ_STYLE_HTML, head = row == SIZE_MAX;
    const frame *f = &frames[style];

    pq_text_add(out, "%s", f->begin);
    for (size_t c = 0; c < n; c++) {
        const size_t i = row * s->n_columns + columns[c];
        pq_text_add(out, "%s", c == 0 ? "" : f->between);
        if (html) {
            pq_text_add(out, "<%s%s>", head ? "th scope=\"col\"" : "td",
                        s->columns[columns[c]].kind == PQ_SHEET_TEXT ? " class=\"text\""
                                                                     : "");
        }
        if (row == SIZE_MAX) {
            pq_escape_add(out, s->columns[columns[c]].title, style);
        } else if (style != PQ_STYLE_TEX || !repeats(s, i)) {
            add_cell(s, i, style, out);
        }
        pq_text_add(out, "%s", !html ? "" : head ? "</th>" : "</td>");
    }
    pq_text_add(out, "%s", f->end);
}

/* The text of a cell on a terminal; of the head where row is SIZE_MAX. */
static void terminal_cell(const pq_sheet *s, size_t row, size_t column, pq_text *out)
{
    pq_text_free(out);
    pq_text_add(out, "%s", "");
    if (row == SIZE_MAX) {
        pq_text_add(out, "%s", s->columns[column].title);
    } else if (!repeats(s, row * s->n_columns + column)) {
        add_cell(s, row * s->n_columns + column, PQ_STYLE_TEXT, out);
    }
}

/* A row on a terminal; the head where it is SIZE_MAX. */
static void terminal_row(const pq_sheet *s, size_t row, const size_t *columns,
                         const size_t *widths, size_t n, pq_text *out)
{
    pq_text cell = {0};
    size_t  due  = 0;

    for (size_t c = 0; c < n; c++) {
        const bool left = s->columns[columns[c]].kind == PQ_SHEET_TEXT;
        size_t     rest;
        terminal_cell(s, row, columns[c], &cell);
        rest = widths[c] - (cell.failed ? 0 : pq_label_width(cell.text));
        due += (c == 0 ? 0 : GAP) + (left ? 0 : rest);
        if (!cell.failed && *cell.text != '\0') {
            pq_text_add(out, "%*s%s", (int)due, "", cell.text);
            due = 0;
        }
        due += left ? rest : 0;
        out->failed = out->failed || cell.failed;
    }
    pq_text_add(out, "\n");
    pq_text_free(&cell);
}

static void print_terminal(const pq_sheet *s, const size_t *columns, size_t n,
                           size_t rows, pq_text *out)
{
    size_t *widths = pq_calloc(s->n_columns, sizeof *widths);
    pq_text cell   = {0};

    out->failed = out->failed || widths == NULL;
    for (size_t c = 0; widths != NULL && c < n; c++) {
        for (size_t r = 0; r <= rows; r++) {
            terminal_cell(s, r == 0 ? SIZE_MAX : r - 1, columns[c], &cell);
            const size_t w = cell.failed ? 0 : pq_label_width(cell.text);
            widths[c]      = w > widths[c] ? w : widths[c];
        }
    }
    pq_text_free(&cell);
    for (size_t r = 0; widths != NULL && r <= rows; r++) {
        terminal_row(s, r == 0 ? SIZE_MAX : r - 1, columns, widths, n, out);
    }
    pq_free(widths);
}

void pq_sheet_print(const pq_sheet *s, pq_style style, pq_text *out)
{
    size_t *columns = pq_calloc(s->n_columns, sizeof *columns);
    size_t  rows    = s->n_columns > 0 ? s->n / s->n_columns : 0, n;

    out->failed = out->failed || s->failed || columns == NULL;
    if (columns != NULL && rows > 0) {
        n = shown(s, columns);
        if (style == PQ_STYLE_TEXT) {
            print_terminal(s, columns, n, rows, out);
        } else {
            add_begin(s, columns, n, style, out);
            add_row(s, SIZE_MAX, columns, n, style, out);
            add_rule(s, columns, n, style, out);
            for (size_t r = 0; r < rows; r++) {
                add_row(s, r, columns, n, style, out);
            }
            add_end(style, out);
        }
    }
    pq_free(columns);
}

static void csv_number(double x, pq_text *out)
{
    char number[32];

    pq_text_add(out, "%s",
                isnan(x)   ? ""
                : isinf(x) ? (x > 0 ? "inf" : "-inf")
                           : pq_real_text(x, number, sizeof number));
}

void pq_sheet_csv(const pq_sheet *s, pq_text *out)
{
    for (size_t c = 0; c < s->n_columns; c++) {
        const char *name = s->columns[c].name;
        pq_text_add(out, "%s", c == 0 ? "" : ",");
        pq_csv_add(out, name);
        if (s->columns[c].kind == PQ_SHEET_INTERVAL) {
            pq_text_add(out, ",%s_lo,%s_hi", name, name);
        }
    }
    pq_text_add(out, "\n");
    for (size_t i = 0; i < s->n; i++) {
        const pq_sheet_cell   *cell   = &s->cells[i];
        const pq_sheet_column *column = &s->columns[i % s->n_columns];
        pq_text_add(out, "%s", i % s->n_columns == 0 ? "" : ",");
        if (column->kind == PQ_SHEET_TEXT) {
            pq_csv_add(out, cell->text != NULL ? cell->text : "");
        } else {
            csv_number(cell->number.value, out);
        }
        if (column->kind == PQ_SHEET_INTERVAL) {
            pq_text_add(out, ",");
            csv_number(cell->number.lo, out);
            pq_text_add(out, ",");
            csv_number(cell->number.hi, out);
        }
        pq_text_add(out, "%s", (i + 1) % s->n_columns == 0 ? "\n" : "");
    }
    out->failed = out->failed || s->failed;
}
