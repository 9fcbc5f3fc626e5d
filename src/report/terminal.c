#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/memory.h"
#include "core/visible.h"
#include "report/label.h"
#include "report/tables.h"

enum { WIDTH_MIN = 40, LABEL_MAX = 40, GAP = 2 };

/* ANSI colours; all "" where they are not wanted. */
typedef struct {
    const char *bold, *good, *bad, *dim, *off;
} palette;

static const palette colors = {"\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"};
static const palette plain  = {"", "", "", "", ""};

/* A column with its cells as texts: head first, then a text a row. */
typedef struct {
    char **texts; /* [n_rows + 1], owned */
    size_t width;
    bool   shown;
    bool   bare; /* of values without their intervals */
} column;

static void add_spaces(pq_text *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_text_add_bytes(out, " ", 1);
    }
}

/* Words of a text in lines of `width`, each after `indent` spaces. */
static void add_wrapped(pq_text *out, const char *text, size_t indent, size_t width)
{
    size_t at = 0;

    while (*text != '\0') {
        const size_t bytes = strcspn(text, " \n");
        size_t       n     = 0, one;
        for (size_t i = 0; i < bytes; i += one) {
            uint32_t code;
            one = pq_utf8_read(text + i, &code);
            n += one > 0 ? pq_char_columns(code) : 1;
            one = one > 0 ? one : 1;
        }
        if (at > 0 && indent + at + 1 + n > width) {
            pq_text_add(out, "\n");
            at = 0;
        }
        if (at == 0) {
            add_spaces(out, indent);
        } else {
            pq_text_add(out, " ");
            at++;
        }
        pq_text_add_bytes(out, text, bytes);
        at += n;
        text += bytes;
        text += strspn(text, " \n");
    }
    pq_text_add(out, "\n");
}

static pq_status take(pq_text *text, char **out, size_t *width, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_text_take(text, out, err));
    *width = pq_label_width(*out) > *width ? pq_label_width(*out) : *width;
cleanup:
    pq_text_free(text);
    return st;
}

/* A value without its interval. */
static void add_bare(const pq_view *v, size_t row, size_t c, pq_text *out)
{
    const pq_view_column *of = &v->columns[c];
    const pq_number bare = {pq_view_number(v, row, c).value, (double)NAN, (double)NAN};

    pq_number_add(out, bare, of->scale, of->digits, PQ_STYLE_TEXT);
}

static pq_status fill_column(const pq_view *v, size_t c, bool bare, column *out,
                             pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    out->bare = bare;
    PQ_NEW(out->texts, v->n_rows + 1);
    pq_view_add_head(&v->columns[c], PQ_STYLE_TEXT, &text);
    PQ_TRY(take(&text, &out->texts[0], &out->width, err));
    for (size_t r = 0; r < v->n_rows; r++) {
        if (v->rows[r].done) {
            if (bare && !v->columns[c].count) {
                add_bare(v, r, c, &text);
            } else {
                pq_view_add(v, r, c, PQ_STYLE_TEXT, &text);
            }
            PQ_TRY(take(&text, &out->texts[r + 1], &out->width, err));
        }
    }
cleanup:
    return st;
}

static pq_status fill_labels(const pq_view *v, column *out, pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    PQ_NEW(out->texts, v->n_rows + 1);
    pq_text_add(&text, "model");
    PQ_TRY(take(&text, &out->texts[0], &out->width, err));
    for (size_t r = 0; r < v->n_rows; r++) {
        size_t ignored = 0;
        pq_escape_add(&text, v->rows[r].label, PQ_STYLE_TEXT);
        PQ_TRY(take(&text, &out->texts[r + 1], v->rows[r].done ? &out->width : &ignored,
                    err));
    }
cleanup:
    return st;
}

/* Cuts the labels of the table's rows to the column's width so that they still differ. */
static pq_status shorten_labels(const pq_view *v, column *labels, pq_err *err)
{
    char    **shorter = NULL;
    pq_status st;

    PQ_TRY(pq_labels_make((const char *const *)labels->texts + 1, v->n_rows,
                          labels->width, &shorter, err));
    for (size_t r = 0; r < v->n_rows; r++) {
        char **text = &labels->texts[r + 1];
        if (v->rows[r].done && pq_label_width(*text) > labels->width) {
            pq_free(*text);
            *text      = shorter[r];
            shorter[r] = NULL;
        }
    }
cleanup:
    pq_labels_free(&shorter, v->n_rows);
    return st;
}

static pq_status fill_engines(const pq_view *v, column *out, pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    PQ_NEW(out->texts, v->n_rows + 1);
    pq_text_add(&text, "engine");
    PQ_TRY(take(&text, &out->texts[0], &out->width, err));
    for (size_t r = 0; r < v->n_rows; r++) {
        pq_escape_add(&text, v->rows[r].engine, PQ_STYLE_TEXT);
        PQ_TRY(take(&text, &out->texts[r + 1], &out->width, err));
    }
    out->shown = v->timed;
cleanup:
    return st;
}

/* Shows the most important columns that fit, without intervals where they do not fit with
 * them; returns the table's width. */
static size_t choose_columns(const pq_view *v, column *columns, column *bare, size_t used,
                             size_t width)
{
    int rank = 0;

    for (;;) {
        size_t next = PQ_VIEW_NONE;
        for (size_t c = 0; c < v->n_columns; c++) {
            if (v->columns[c].rank > rank &&
                (next == PQ_VIEW_NONE || v->columns[c].rank < v->columns[next].rank)) {
                next = c;
            }
        }
        if (next == PQ_VIEW_NONE) {
            return used;
        }
        rank = v->columns[next].rank;
        for (size_t c = 0; c < v->n_columns; c++) {
            if (v->columns[c].rank != rank) {
                continue;
            }
            if (used + GAP + columns[c].width > width) {
                const column whole = columns[c];
                columns[c]         = bare[c];
                bare[c]            = whole;
            }
            if (used + GAP + columns[c].width <= width) {
                columns[c].shown = true;
                used += GAP + columns[c].width;
            }
        }
    }
}

static void add_line(const pq_view *v, const column *labels, const column *columns,
                     size_t line, pq_text *out)
{
    const column *engines = &columns[v->n_columns];

    pq_text_add(out, "%s", labels->texts[line]);
    add_spaces(out, labels->width - pq_label_width(labels->texts[line]));
    for (size_t c = 0; c < v->n_columns; c++) {
        if (columns[c].shown) {
            const char *text = columns[c].texts[line];
            add_spaces(out, GAP + columns[c].width - pq_label_width(text));
            pq_text_add(out, "%s", text);
        }
    }
    if (engines->shown) {
        add_spaces(out, GAP);
        pq_text_add(out, "%s", engines->texts[line]);
    }
}

static void add_table(const pq_view *v, const column *labels, const column *columns,
                      size_t width, const palette *p, pq_text *out)
{
    pq_text_add(out, "%s", p->bold);
    add_line(v, labels, columns, 0, out);
    pq_text_add(out, "%s\n", p->off);
    for (size_t i = 0; i < width; i++) {
        pq_text_add(out, "\xe2\x94\x80");
    }
    pq_text_add(out, "\n");
    for (size_t r = 0; r < v->n_rows; r++) {
        if (v->rows[r].done) {
            pq_text_add(out, "%s",
                        r == v->reference ? p->bold
                        : r == v->best    ? p->good
                                          : "");
            add_line(v, labels, columns, r + 1, out);
            pq_text_add(out, "%s\n", r == v->reference || r == v->best ? p->off : "");
        }
    }
}

static void add_failed(const pq_view *v, const column *labels, size_t width,
                       const palette *p, pq_text *out)
{
    pq_text reason = {0};

    for (size_t r = 0; r < v->n_rows; r++) {
        const pq_view_row *row = &v->rows[r];
        if (!pq_view_failed(row)) {
            continue;
        }
        pq_text_add(out, "%s", p->bad);
        pq_escape_add(out, row->status, PQ_STYLE_TEXT);
        pq_text_add(out, "%s: %s\n", p->off, labels->texts[r + 1]);
        pq_escape_add(&reason, pq_view_reason(row), PQ_STYLE_TEXT);
        add_wrapped(out, reason.text != NULL ? reason.text : "", 4, width);
        out->failed = out->failed || reason.failed;
        pq_text_free(&reason);
    }
}

/* Names the columns of the main table that did not fit, or not with their intervals. */
static void add_narrowed(const pq_view *v, const column *columns, bool shown,
                         const char *what, pq_text *out)
{
    size_t n = 0;

    for (size_t c = 0; c < v->n_columns; c++) {
        if (v->columns[c].rank > 0 && columns[c].bare && columns[c].shown == shown) {
            pq_text_add(out, "%s%s", n++ == 0 ? what : ", ", v->columns[c].title);
        }
    }
    if (n > 0) {
        pq_text_add(out, "; the tables in the results folder have them.\n");
    }
}

static void add_notes(const pq_view *whole, const pq_view *v, const column *columns,
                      size_t width, const palette *p, pq_text *out)
{
    pq_text notes = {0}, clean = {0};
    char   *rest, *line;

    pq_view_add_left_out(v, &notes);
    add_narrowed(v, columns, true, "Without their intervals for want of width: ", &notes);
    add_narrowed(v, columns, false, "Not shown for want of width: ", &notes);
    pq_tables_add_notes(whole, &notes);
    pq_text_add(out, "%s", p->dim);
    rest = notes.text;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        pq_escape_add(&clean, line, PQ_STYLE_TEXT);
        add_wrapped(out, clean.text != NULL ? clean.text : "", 0, width);
        out->failed = out->failed || clean.failed;
        pq_text_free(&clean);
    }
    pq_text_add(out, "%s", p->off);
    out->failed = out->failed || notes.failed;
    pq_text_free(&notes);
}

static void free_column(const pq_view *v, column *c)
{
    for (size_t r = 0; c->texts != NULL && r <= v->n_rows; r++) {
        pq_free(c->texts[r]);
    }
    pq_free(c->texts);
}

pq_status pq_tables_terminal(const pq_view *whole, const pq_view *v, size_t width,
                             bool color, pq_text *out, pq_err *err)
{
    const palette *p       = color ? &colors : &plain;
    const size_t   limit   = width < WIDTH_MIN ? WIDTH_MIN : width;
    column         labels  = {0};
    column        *columns = NULL, *bare = NULL;
    size_t         longest, used, engines;
    pq_status      st;

    PQ_NEW(columns, v->n_columns + 1); /* the last: engines */
    PQ_NEW(bare, v->n_columns);
    PQ_TRY(fill_labels(v, &labels, err));
    for (size_t c = 0; c < v->n_columns; c++) {
        PQ_TRY(fill_column(v, c, false, &columns[c], err));
        PQ_TRY(fill_column(v, c, true, &bare[c], err));
    }
    PQ_TRY(fill_engines(v, &columns[v->n_columns], err));
    longest = limit / 2 < LABEL_MAX ? limit / 2 : LABEL_MAX;
    if (labels.width > longest) {
        labels.width = longest;
        PQ_TRY(shorten_labels(v, &labels, err));
    }
    engines = v->timed ? GAP + columns[v->n_columns].width : 0;
    used    = choose_columns(v, columns, bare, labels.width + engines, limit);
    if (used > labels.width + engines) {
        add_table(v, &labels, columns, used, p, out);
    }
    add_failed(v, &labels, limit, p, out);
    add_notes(whole, v, columns, limit, p, out);
cleanup:
    for (size_t c = 0; columns != NULL && c <= v->n_columns; c++) {
        free_column(v, &columns[c]);
    }
    for (size_t c = 0; bare != NULL && c < v->n_columns; c++) {
        free_column(v, &bare[c]);
    }
    free_column(v, &labels);
    pq_free(columns);
    pq_free(bare);
    return st;
}
