/**
 * @file
 * Numbers that others have printed (`published:` of the configuration, in the plan)
 * beside ours: equal to the digits printed, within our interval, or by how much they
 * differ and why.
 */
#ifndef PQ_REPORT_PUBLISHED_H
#define PQ_REPORT_PUBLISHED_H

#include "report/view.h"

/** Whether the results have such numbers. */
bool pq_published_any(const pq_view *v);

/** Appends them as a table in Markdown, LaTeX, HTML or text, a row a number of a cell;
 * nothing where there are none. */
void pq_published_add(const pq_view *v, pq_style style, pq_text *out);

/** Appends the same as CSV: cell, metric, published, ours, lo, hi, agreement, why,
 * source. */
void pq_published_csv(const pq_view *v, pq_text *out);

#endif
