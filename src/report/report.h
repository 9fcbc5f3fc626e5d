/**
 * @file
 * Tables, plots and one page from the records of a results folder; nothing is
 * computed again. Called again on the same records it redraws nothing.
 *
 * In `<dir>`: table.csv, table.md, table.tex, of b taggers btag.csv, btag.md, btag.tex,
 * report.html, and in plots/ for
 * each plot its data (.dat), its gnuplot script (.gp), .png, .svg and, if asked
 * for, .pdf. A plot is made only where there is something to draw.
 */
#ifndef PQ_REPORT_REPORT_H
#define PQ_REPORT_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/text.h"
#include "store/results.h"

/** {0} makes everything but PDF. */
typedef struct {
    bool        pdf;      /**< plots as PDF too */
    bool        no_plots; /**< leave plots/ as it is */
    bool        no_html;  /**< no report.html */
    const char *section;  /**< HTML for the page to hold, or NULL */
    const char *gnuplot;  /**< program; NULL = `gnuplot` of PATH */
    pq_text    *table; /**< the table for a terminal is appended, as by pq_report_print;
                          or NULL */
    size_t width;      /**< columns of the terminal */
    bool   color;      /**< use ANSI colours there */
} pq_report_options;

/** What was made. */
typedef struct {
    size_t cells;      /**< of the plan */
    size_t done;       /**< with numbers */
    size_t failed;     /**< failed, timeout, oom, crashed */
    size_t missing;    /**< not run yet */
    size_t damaged;    /**< record files that could not be read */
    size_t plots;      /**< plots that lie in plots/ now, each in its formats */
    bool   page;       /**< report.html was asked for and made */
    char   note[1024]; /**< why plots are missing, or "" */
} pq_report_summary;

/**
 * Writes all files, each atomically.
 *
 * @param[in]  dir      results folder
 * @param[in]  options  NULL = {0}
 * @param[out] summary  may be NULL
 *
 * @retval PQ_ERR_NOT_FOUND  No plan in the folder: nothing was run there.
 * @retval PQ_ERR_FORMAT     plan.json is damaged.
 * @retval PQ_ERR_IO         The folder cannot be written.
 *
 * gnuplot missing or failing is no failure: see summary->note.
 */
pq_status pq_report_write(const char *dir, const pq_report_options *options,
                          pq_report_summary *summary, pq_err *err);

/** The same from results that were read before, the answer of pq_results_read();
 * table.csv is left out (sweep/merge.h makes it). */
pq_status pq_report_make(const char *dir, const json_t *results,
                         const pq_results_count *count, const pq_report_options *options,
                         pq_report_summary *summary, pq_err *err);

/**
 * Appends the table for a terminal, UTF-8: the columns that fit, failed cells
 * with their reason and notes on noise below.
 *
 * @param[in] results  answer of pq_results_read()
 * @param[in] width    columns of the terminal; below 40 counts as 40
 * @param[in] color    use ANSI colours
 */
pq_status pq_report_print(const json_t *results, size_t width, bool color, pq_text *out,
                          pq_err *err);

#endif
