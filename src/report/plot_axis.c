#include <math.h>
#include <stdlib.h>

#include "report/cloud.h"
#include "store/json.h"

enum { TICKS_MAX = 12 };

/* Of the axis' length: a character of a label, and what is free between two. */
static const double character_width = 0.02, label_gap = 0.015;

bool pq_plot_axis_is_numeric(const pq_view *v, const char *axis)
{
    double first = (double)NAN;

    for (size_t r = 0; r < v->n_rows; r++) {
        const double x = pq_axis_value(&v->rows[r], axis);
        if (isfinite(first) && isfinite(x) && (x < first || x > first)) {
            return true;
        }
        first = isfinite(x) ? x : first;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The values that were swept, ascending; 0 where they are too many for ticks. */
static size_t list_values(const pq_cloud *c, double *values)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        size_t k = 0;
        while (k < n && (values[k] < c->points[i].x || values[k] > c->points[i].x)) {
            k++;
        }
        if (k == n && n == TICKS_MAX) {
            return 0;
        }
        if (k == n) {
            values[n++] = c->points[i].x;
        }
    }
    qsort(values, n, sizeof *values, compare);
    return n;
}

/* Ticks at the values that were swept, where they are few; those whose labels would lie
 * on the last one's are left out. */
static void add_axis_ticks(const pq_cloud *c, bool is_log, pq_text *out)
{
    const double low   = is_log ? log(c->least_x) : c->least_x;
    const double range = (is_log ? log(c->largest_x) : c->largest_x) - low;
    double       values[TICKS_MAX], end = -1.0; /* of the last label */
    const size_t n     = list_values(c, values);
    size_t       kept  = 0;
    pq_text      ticks = {0};

    for (size_t k = 0; k < n; k++) {
        char         label[32];
        const double at = ((is_log ? log(values[k]) : values[k]) - low) / range;
        const double half =
            0.5 * character_width * pq_snprintf(label, sizeof label, "%.10g", values[k]);
        if (at - half >= end + label_gap) {
            pq_text_add(&ticks, "%s'%s' %s", kept++ == 0 ? "set xtics (" : ", ", label,
                        label);
            end = at + half;
        }
    }
    if (2 * kept >
        n) { /* else the values crowd at some places, and even ticks are better */
        pq_text_add(out, "%s)\n", ticks.text != NULL ? ticks.text : "");
    }
    out->failed = out->failed || ticks.failed;
    pq_text_free(&ticks);
}

/* The same for the page: a line a series, each point with its cell. */
static pq_status fill_chart(pq_plot *p, const pq_cloud *c, bool is_log, pq_err *err)
{
    const pq_number level =
        pq_view_number(p->v, p->v->reference, pq_view_column_of(p->v, "accuracy"));
    pq_status st = PQ_OK;

    p->chart.x_title = p->axis;
    p->chart.y_title = "accuracy / %";
    p->chart.log_x   = is_log;
    p->chart.steps   = true;
    p->chart.dashes  = true;
    if (isfinite(level.value)) {
        p->chart.level    = 100.0 * level.value;
        p->chart.level_lo = 100.0 * level.lo;
        p->chart.level_hi = 100.0 * level.hi;
    }
    for (size_t s = 0; s < c->n_series; s++) {
        PQ_TRY(pq_chart_add(&p->chart, c->titles[s],
                            s < c->named ? c->colors[s] : SIZE_MAX,
                            s < c->named ? (int)pq_cloud_dash(c, s) : 1, "", err));
    }
    for (size_t i = 0; i < c->n; i++) {
        pq_text_add(&p->chart.keys, "%.*s\n", PQ_CHART_KEY,
                    pq_json_get_text(p->v->rows[c->points[i].row].cell, "eval"));
    }
    PQ_CHECK(!p->chart.keys.failed, PQ_ERR_NOMEM, "cannot allocate a chart");
cleanup:
    return st;
}

pq_status pq_plot_axis(pq_plot *p, pq_err *err)
{
    pq_text   before = {0};
    pq_cloud  c      = {0};
    pq_status st     = PQ_OK;

    if (pq_view_column_of(p->v, "accuracy") == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    PQ_TRY(pq_cloud_make(p->v, PQ_VIEW_NONE, p->axis, &c, err));
    if (c.n < 2 || !(c.largest_x > c.least_x)) {
        goto cleanup;
    }
    pq_text_add(&p->body, "set ylabel 'accuracy / %%'\nset xlabel noenhanced ");
    pq_plot_quote_cut(&p->body, p->axis, 30);
    const bool is_log = c.least_x > 0.0 && c.largest_x / c.least_x >= 10.0;
    if (is_log) {
        pq_text_add(&p->body, "\nset logscale x 2\nset xrange [%.10g:%.10g]\n",
                    c.least_x / 1.3, c.largest_x * 1.3);
    } else {
        const double margin = 0.05 * (c.largest_x - c.least_x);
        pq_text_add(&p->body, "\nset xrange [%.10g:%.10g]\n", c.least_x - margin,
                    c.largest_x + margin);
    }
    add_axis_ticks(&c, is_log, &p->body);
    pq_cloud_add_data(&c, &p->data);
    pq_cloud_add_reference(p, &before);
    pq_cloud_add_plot(p, &c, &before, "yerrorlines");
    pq_text_add(&p->caption,
                "Accuracy against %s. Dashed level and band: the reference and "
                "its 68.3 %% interval.%s",
                p->axis, c.repeated ? " Each repeat has a line of its own." : "");
    pq_cloud_add_caption(p, &c);
    PQ_TRY(fill_chart(p, &c, is_log, err));
    p->body.failed = p->body.failed || before.failed;
cleanup:
    pq_cloud_free(&c);
    pq_text_free(&before);
    return st;
}
