/**
 * @file
 * Labels of names in plots: short, drawn in the plots' font, distinct where the names
 * are.
 */
#ifndef PQ_REPORT_LABEL_H
#define PQ_REPORT_LABEL_H

#include "core/text.h"

/** Columns of a label in a plot's key, beside its bars or above its panel: what every
 * plot has room for, and so the one limit. What takes less room leaves the frame more. */
enum { PQ_LABEL_LONGEST = 40 };

/** Characters that stand side by side: accents lie on the one before. */
size_t pq_label_width(const char *text);

/** Columns of the widest of these texts, 0 of none. */
size_t pq_label_widest(char *const *texts, size_t n);

/** Appends a text without control characters; of wider ones than `longest` (>= 3) columns
 * the middle becomes "…", as names differ at their ends. Characters that the plots' font
 * lacks become "□", a text in which nothing can be seen "(blank)". */
void pq_label_cut(pq_text *out, const char *text, size_t longest);

/**
 * Labels of at most `longest` (>= 16) columns, as many as names. Those of different names
 * differ: where cutting the middle makes two the same, the places where they differ
 * are shown, "conv…rank=4…s=25%", and, should even that not do, their place in the list,
 * "conv… #12".
 *
 * @param[out] out  [n], caller frees with pq_labels_free
 */
pq_status pq_labels_make(const char *const *names, size_t n, size_t longest, char ***out,
                         pq_err *err);
void      pq_labels_free(char ***labels, size_t n);

#endif
