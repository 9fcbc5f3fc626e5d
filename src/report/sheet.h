/**
 * @file
 * A small table of texts and numbers with intervals, and its prints: columns for a
 * terminal, Markdown, LaTeX, HTML, and CSV, where a number with an interval is three
 * columns, `<name>`, `<name>_lo` and `<name>_hi`, and a number that is not there is
 * empty.
 */
#ifndef PQ_REPORT_SHEET_H
#define PQ_REPORT_SHEET_H

#include "report/number.h"

/** What a column holds. */
typedef enum {
    PQ_SHEET_TEXT,
    PQ_SHEET_NUMBER,   /**< without an interval */
    PQ_SHEET_INTERVAL, /**< infinite, or in records without a value, above a finite
                           end: "> 1230"; without ends, whole
                           numbers have all their digits */
} pq_sheet_kind;

/** One column; constant, texts are borrowed. */
typedef struct {
    const char   *name;  /**< in CSV: "rejection_light" */
    const char   *title; /**< elsewhere: "light rejection" */
    pq_sheet_kind kind;
    double        scale;  /**< of numbers in all but CSV: 100 for per cent */
    int           digits; /**< as pq_number_add */
} pq_sheet_column;

/** A cell; owns its text. */
typedef struct {
    char     *text;
    pq_number number; /**< value NAN: there is none */
} pq_sheet_cell;

/** Owns its cells; {0} with columns is an empty table. */
typedef struct {
    size_t                 n_columns;
    const pq_sheet_column *columns; /**< [n_columns]; borrowed */
    size_t                 n;       /**< cells so far, row by row */
    pq_sheet_cell         *cells;
    bool                   failed; /**< out of memory once */
} pq_sheet;

/** Appends the next cell, of a column of texts. */
void pq_sheet_add_text(pq_sheet *s, const char *text);

/** Appends the next cell, of a column of numbers. */
void pq_sheet_add_number(pq_sheet *s, double value, double lo, double hi);

/** Whether any row has something in a column; the others are not printed. */
bool pq_sheet_has(const pq_sheet *s, size_t column);

/** Appends the whole table in a style; PQ_STYLE_TEXT in columns side by side. Rows that
 * begin with the text of the row above show it once in LaTeX and on a terminal. */
void pq_sheet_print(const pq_sheet *s, pq_style style, pq_text *out);

/** Appends the table as CSV (RFC 4180), all columns; infinity is "inf". */
void pq_sheet_csv(const pq_sheet *s, pq_text *out);

void pq_sheet_free(pq_sheet *s);

#endif
