/**
 * @file
 * The plots of a results folder as files: `<dir>/plots/<name>.dat`, `.gp`,
 * `.png`, `.svg` and, if asked for, `.pdf`.
 */
#ifndef PQ_REPORT_PLOTS_H
#define PQ_REPORT_PLOTS_H

#include "report/report.h"
#include "report/view.h"

/** Confusion matrices of more classes are not drawn. */
enum { PQ_CONFUSION_CLASSES_MAX = 32 };

/** One plot that was made. Owns its texts. */
typedef struct {
    char *name;    /**< "accuracy_bytes", "accuracy_rank", "roc", … */
    char *caption; /**< plain text */
    bool  drawn;   /**< its pictures are there */
    char *chart;   /**< the same as SVG of the page, or NULL */
} pq_plot_file;

/** Owns; {0} is empty. */
typedef struct {
    size_t        n, drawn;
    pq_plot_file *files;      /**< [n], in the order of the page */
    char          note[1024]; /**< why pictures are missing, or "" */
} pq_plots;

/**
 * Makes all plots that have something to show. Those whose data and script did
 * not change are left as they are; the others are drawn at the same time, one
 * gnuplot each.
 *
 * @retval PQ_ERR_IO      The folder cannot be written.
 * @retval PQ_ERR_FORMAT  An arrays file of a record is damaged.
 */
pq_status pq_plots_make(const pq_view *v, const char *dir,
                        const pq_report_options *options, pq_plots *out, pq_err *err);
void      pq_plots_free(pq_plots *p);

#endif
