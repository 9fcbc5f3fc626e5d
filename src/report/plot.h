/**
 * @file
 * One plot: its data and its gnuplot commands as text. plots.h makes files of
 * them. Texts of users appear only inside single quotes, where gnuplot takes
 * nothing for a command, and with its markup switched off.
 */
#ifndef PQ_REPORT_PLOT_H
#define PQ_REPORT_PLOT_H

#include "report/view.h"

/** What a plot is made from and into. Owns the texts. */
typedef struct {
    const pq_view *v;             /**< borrowed */
    const char    *dir;           /**< results folder, for arrays */
    const char    *axis;          /**< for pq_plot_axis: name of the axis */
    char           data_name[80]; /**< name of the data file, safe inside quotes */
    pq_text        data; /**< blocks, two blank lines between: gnuplot's `index` */
    pq_text        body; /**< commands up to and with `plot`; empty = nothing to draw */
    pq_text        caption; /**< a sentence for the page, plain text */
} pq_plot;

void pq_plot_free(pq_plot *p);

/** Colours that the colour-blind can tell apart, "#0072B2", …; cyclic, black is the
 * reference's. */
const char *pq_plot_color(size_t i);

/** Appends a text without control characters; of longer ones than `longest` (>= 3)
 * characters the middle becomes "…", as labels differ at their ends. */
void pq_plot_cut(pq_text *out, const char *text, size_t longest);

/** The same as a quoted gnuplot string. */
void pq_plot_quote(pq_text *out, const char *text, size_t longest);

/** Appends `set xtics (…)` at 1, 2, 5, 10, … for a logarithmic axis, with a range that
 * holds lo .. hi. */
void pq_plot_log_axis(pq_text *out, char axis, double lo, double hi);

/* Each draws into p->data, p->body and p->caption. */

/** Accuracy against stored bytes, with the front of the best. */
pq_status pq_plot_size(pq_plot *p, pq_err *err);

/** The same for models near the reference's accuracy, where far worse ones squeeze these
 * into a line. */
pq_status pq_plot_size_near(pq_plot *p, pq_err *err);

/** Accuracy against a numeric axis of the sweep. */
pq_status pq_plot_axis(pq_plot *p, pq_err *err);

/** ROC of each class against the rest, the reference and up to two compressed models. */
pq_status pq_plot_roc(pq_plot *p, pq_err *err);

/** Speed-up of each model at the smallest batch size. */
pq_status pq_plot_latency(pq_plot *p, pq_err *err);

/** Confusion matrices of the reference and of the best compressed model. */
pq_status pq_plot_confusion(pq_plot *p, pq_err *err);

/** Whether an axis has two different numbers or more; the plan's values as numbers. */
bool pq_plot_axis_is_numeric(const pq_view *v, const char *axis);

#endif
