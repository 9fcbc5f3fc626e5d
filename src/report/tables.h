/**
 * @file
 * The results as tables: Markdown, LaTeX and HTML from one walk, and one for
 * terminals.
 */
#ifndef PQ_REPORT_TABLES_H
#define PQ_REPORT_TABLES_H

#include "report/view.h"

/** Which columns of a view. */
typedef enum {
    PQ_TABLE_MAIN,    /**< the compression table */
    PQ_TABLE_FURTHER, /**< all other metrics */
} pq_table_part;

/** Appends the rows that are done as a table; nothing where the part has no columns or no
 * rows. */
void pq_tables_add(const pq_view *v, pq_table_part part, pq_style style, pq_text *out);

/** Appends what a reader of the table must know, a sentence a line: interval levels,
 * noise, gaps. */
void pq_tables_add_notes(const pq_view *v, pq_text *out);

/** Those of them that timings need: the target, cold states, the size of code. */
void pq_notes_add_latency(const pq_view *v, pq_text *out);

/** Appends the whole of table.md: the rows of `v`, which may be `whole` shortened. */
void pq_tables_markdown(const pq_view *whole, const pq_view *v, pq_text *out);

/** Appends the whole of table.tex: a tabular for booktabs, to be \\input, and one more of
 * published numbers where there are any. */
void pq_tables_tex(const pq_view *whole, const pq_view *v, pq_text *out);

/** Appends the table for a terminal (report.h). */
pq_status pq_tables_terminal(const pq_view *whole, const pq_view *v, size_t width,
                             bool color, pq_text *out, pq_err *err);

#endif
