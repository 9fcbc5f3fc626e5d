/**
 * @file
 * Models as points of a plot, in series: a pipeline, or one line of it where another
 * axis than the drawn one was swept.
 */
#ifndef PQ_REPORT_CLOUD_H
#define PQ_REPORT_CLOUD_H

#include "report/plot.h"

/** More points than this have no bars: they would hide each other. */
enum { PQ_BARS_MAX = 150 };

/** Series that a plot names; the others are grey. */
enum { PQ_SERIES_MAX = 14 };

/** A model in the plane. */
typedef struct {
    size_t    row, series;
    long long repeat;
    double    x;
    pq_number y;
} pq_point;

/** Points sorted by series, repeat, then x; the named series come first. Owns. */
typedef struct {
    size_t    n, n_series, named;
    pq_point *points;
    char    **titles; /**< [n_series] */
    char    **labels; /**< [named] titles as the key shows them, distinct */
    size_t   *colors; /**< [n_series] of its pipeline, the same in every plot */
    double    least_x, largest_x;
    bool      repeated; /**< some are repeats of others */
} pq_cloud;

/**
 * Models with an accuracy and an x, which is a column of the view, or an axis of the
 * sweep where that is not NULL; without the reference. Named are series of pipelines that
 * the view names, first those that hold its front, its best or its strongest model, then
 * those with the highest accuracy.
 */
pq_status pq_cloud_make(const pq_view *v, size_t column, const char *axis, pq_cloud *out,
                        pq_err *err);
void      pq_cloud_free(pq_cloud *c);

/** Text of an axis as a number, or NAN. */
double pq_axis_value(const pq_view_row *row, const char *axis);

/** Appends "x accuracy lo hi", in per cent. */
void pq_cloud_add_point(pq_text *out, double x, pq_number y);

/** Which of the named series of its colour this one is, from 1 on. */
size_t pq_cloud_dash(const pq_cloud *c, size_t s);

/** Appends a block of data for each series, a blank line between repeats: each is a line
 * of its own, since one through all of them would go up and down at the same x. */
void pq_cloud_add_data(const pq_cloud *c, pq_text *out);

/** Appends `plot`: the grey series, `before`, then the named ones, `with` lines or error
 * bars. */
void pq_cloud_add_plot(pq_plot *p, const pq_cloud *c, const pq_text *before,
                       const char *with);

/** Appends to the caption which models are named, where not all are. */
void pq_cloud_add_caption(pq_plot *p, const pq_cloud *c);

/** Accuracy of the reference: a grey band into the body, a dashed line into `before`. */
void pq_cloud_add_reference(pq_plot *p, pq_text *before);

#endif
