/**
 * @file
 * The report as one HTML page, nothing of it loaded from elsewhere. Skeleton, style and
 * script are page.html, page.css and page.js, which the build embeds; without its script
 * the page is complete, with it tables are sorted, filtered and drawn.
 */
#ifndef PQ_REPORT_PAGE_H
#define PQ_REPORT_PAGE_H

#include "report/plots.h"

/**
 * Appends the page.
 * @param[in] whole  what the words and notes are about
 * @param[in] v      the rows that are shown: `whole`, or it shortened
 * @param[in] dir    results folder: the pictures are read from its plots/
 * @param[in] plots  may be empty
 * @param[in] section  HTML to stand behind the plots, or NULL
 */
pq_status pq_page_add(const pq_view *whole, const pq_view *v, const char *dir,
                      const pq_plots *plots, const char *section, pq_text *out,
                      pq_err *err);

#endif
