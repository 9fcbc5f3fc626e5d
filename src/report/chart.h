/**
 * @file
 * A line chart as SVG that stands in the page itself: it follows the page's colours, is
 * whole without a script, and needs no other program. Each line, and each point where
 * `keys` names their cells, carries the start of the key of its cell (`data-key`), by
 * which the script lights rows.
 */
#ifndef PQ_REPORT_CHART_H
#define PQ_REPORT_CHART_H

#include <stdbool.h>

#include "core/text.h"

/** Characters of a key that a chart carries. */
enum { PQ_CHART_KEY = 16 };

/** One line; owns its title. */
typedef struct {
    char  *title;
    size_t color;                 /**< pq_plot_color; SIZE_MAX = grey, unnamed */
    int    dash;                  /**< 1 = solid, 2 = dashed, 3 = dotted, more: others */
    char   key[PQ_CHART_KEY + 1]; /**< of its cell, or "" */
} pq_chart_line;

/** {0} is an empty one. */
typedef struct {
    const char *x_title, *y_title; /**< plain text */
    bool        log_x, log_y;
    bool        steps;        /**< points are joined and drawn, too */
    bool        dashes;       /**< the key shows dashed lines, too; else the caption
                                   tells what dashes mean */
    size_t             n;     /**< lines, in the order of the data's blocks */
    pq_chart_line     *lines; /**< [n], owned */
    double             level, level_lo, level_hi; /**< a value across, where level > 0 */
    const char *const *ticks; /**< names of x = 0, 1, …, or NULL; borrowed */
    size_t             n_ticks;
    pq_text            keys; /**< of the points' cells, a line each, or empty; owned */
} pq_chart;

/** Adds a line. @retval PQ_ERR_NOMEM  Out of memory. */
pq_status pq_chart_add(pq_chart *c, const char *title, size_t color, int dash,
                       const char *key, pq_err *err);

/**
 * Appends the chart and its key; nothing where no point can be drawn.
 * @param[in] data     blocks of lines "x y [lo hi]", two blank lines between, # comments;
 *                     one blank line ends a line within its block
 * @param[in] caption  of the picture, for those who cannot see it
 */
void pq_chart_draw(const pq_chart *c, const char *data, const char *caption,
                   pq_text *out);

void pq_chart_free(pq_chart *c);

#endif
