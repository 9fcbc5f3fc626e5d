/* A page while it is made: page.c and page_data.c. */
#ifndef PQ_REPORT_PAGE_INSIDE_H
#define PQ_REPORT_PAGE_INSIDE_H

#include "report/view.h"

/** Appends the skeleton (page.html) with style, body, the numbers of the rows shown, and
 * the script. */
void pq_page_fill(const pq_view *v, const pq_text *body, pq_text *out);

#endif
