/**
 * @file
 * One plot: its data and its gnuplot commands as text. plots.h makes files of
 * them. Texts of users appear only through pq_plot_quote and with gnuplot's markup
 * switched off; names of files hold letters, digits, _ and - alone.
 */
#ifndef PQ_REPORT_PLOT_H
#define PQ_REPORT_PLOT_H

#include <jansson.h>

#include "report/chart.h"
#include "report/label.h"
#include "report/view.h"

/** What a plot is made from and into. Owns the texts. */
typedef struct {
    const pq_view *v;             /**< borrowed */
    const char    *dir;           /**< results folder, for arrays */
    const char    *axis;          /**< for pq_plot_axis: name of the axis */
    size_t         page;          /**< 0 is the first, of plots with several */
    char           data_name[80]; /**< name of the data file, safe inside quotes */
    pq_text        data; /**< blocks, two blank lines between: gnuplot's `index` */
    pq_text        body; /**< commands up to and with `plot`; empty = nothing to draw */
    pq_text        caption; /**< a sentence for the page, plain text */
    pq_chart       chart;   /**< the same as lines of the page itself, where it has any */
} pq_plot;

void pq_plot_free(pq_plot *p);

/** Colours that the colour-blind can tell apart, "#0072B2", …; cyclic, black is the
 * reference's. */
const char *pq_plot_color(size_t i);

/** Appends a text as a quoted gnuplot string, whatever it holds. */
void pq_plot_quote(pq_text *out, const char *text);

/** The same for labels of ticks, which gnuplot takes for number formats: "25 %". */
void pq_plot_quote_tick(pq_text *out, const char *text);

/** The same as pq_plot_quote, of at most `longest` (>= 3) columns (label.h). */
void pq_plot_quote_cut(pq_text *out, const char *text, size_t longest);

/** A step of 1, 2 or 5 times a power of ten that gives three to six ticks in a range
 * above 0. */
double pq_plot_step(double range);

/** Appends `set xtics (…)` at 1, 2, 5, 10, … for a logarithmic axis (of many decades at
 * 1, 3, 10 or 1, 10), or at even steps where that gives fewer than three, with a range
 * that holds lo .. hi. Ticks of a panel above another are not numbered. */
void pq_plot_log_axis(pq_text *out, char axis, double lo, double hi, bool numbered);

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

/** Pages that pq_plot_latency fills at most. */
enum { PQ_LATENCY_PAGES = 10 };

/** Speed-up of each model at the smallest batch size, some 30 a page; nothing where the
 * page has none. */
pq_status pq_plot_latency(pq_plot *p, pq_err *err);

/** Distribution of single calls at the smallest batch size, of up to eight models, with
 * the target where the constraints have one; nothing where no calls were kept. */
pq_status pq_plot_calls(pq_plot *p, pq_err *err);

/** Single calls of models that were timed, the reference first. Borrows all. */
typedef struct {
    size_t             n;     /**< at most PQ_CALLS_MOST */
    const char *const *names; /**< [n] */
    const json_t     **pairs; /**< [n] of [[ns, calls], …], ascending */
    long long          batch;
    double             target; /**< s, or NAN */
} pq_calls;

enum { PQ_CALLS_MOST = 8 };

/** The same of these calls; the plot's view has no rows. */
pq_status pq_plot_calls_of(pq_plot *p, const pq_calls *calls, pq_err *err);

/* Of b taggers, the reference and up to two compressed models; nothing of others. */

/** Rejections against b efficiency, and their ratios. */
pq_status pq_plot_btag_roc(pq_plot *p, pq_err *err);

/** Discriminant by flavour, with working points. */
pq_status pq_plot_btag_discriminant(pq_plot *p, pq_err *err);

/** b efficiency in bins of the first column that has any, and its ratio. */
pq_status pq_plot_btag_bins(pq_plot *p, pq_err *err);

/** Rejections at one efficiency as f_c runs. */
pq_status pq_plot_btag_scan(pq_plot *p, pq_err *err);

/** Probabilities of b, c and light by flavour, of the reference and the best. */
pq_status pq_plot_btag_probability(pq_plot *p, pq_err *err);

/** Rejections over the reference's against stored bytes. */
pq_status pq_plot_btag_degradation(pq_plot *p, pq_err *err);

/** Confusion matrices of the reference and of the best compressed model. */
pq_status pq_plot_confusion(pq_plot *p, pq_err *err);

/** Whether an axis has two different numbers or more; the plan's values as numbers. */
bool pq_plot_axis_is_numeric(const pq_view *v, const char *axis);

#endif
