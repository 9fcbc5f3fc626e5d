/**
 * @file
 * What was found, in a few sentences.
 */
#ifndef PQ_REPORT_WORDS_H
#define PQ_REPORT_WORDS_H

#include "report/view.h"

/** Appends the summary as plain text: the reference, the best and the strongest
 * compressed model, and gaps. */
void pq_words_summary(const pq_view *v, pq_text *out);

#endif
