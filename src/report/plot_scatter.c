#include <math.h>

#include "report/cloud.h"

/* The second plot of sizes shows what lies at most so far below the reference, where
 * others lie so much lower that they squeeze it into a line. Points are per cent. */
static const double near_points = 3.0, far_points = 10.0;

/* A model of the front holds from its size on, until the next, larger one is better. */
static void add_front(pq_plot *p, const pq_cloud *c, size_t column, pq_text *before)
{
    const pq_view *v = p->v;
    const double   reference =
        pq_view_number(v, v->reference, column).value * v->columns[column].scale;
    double    x    = 0.0;
    pq_number best = {(double)NAN, (double)NAN, (double)NAN};
    size_t    n    = 0;

    pq_text_add(&p->data, "\n\n# front: no model is smaller and better\n");
    for (;;) { /* in order of x */
        size_t next = PQ_VIEW_NONE;
        for (size_t r = 0; r < v->n_rows; r++) {
            const double rx = pq_view_number(v, r, column).value;
            if (v->rows[r].front && rx > x &&
                (next == PQ_VIEW_NONE || rx < pq_view_number(v, next, column).value)) {
                next = r;
            }
        }
        if (next == PQ_VIEW_NONE) {
            break;
        }
        x    = pq_view_number(v, next, column).value;
        best = pq_view_number(v, next, pq_view_column_of(v, "accuracy"));
        pq_cloud_add_point(&p->data, x * v->columns[column].scale, best);
        n++;
    }
    if (n > 1) {
        pq_cloud_add_point(&p->data, fmax(c->largest_x, reference) * 1.5, best);
        pq_text_add(before,
                    "'%s' index %zu using 1:2 with steps linewidth 1.2 linecolor rgb "
                    "'#888888' title 'Pareto front', \\\n  ",
                    p->data_name, c->n_series);
    }
    if (n > 1 && c->n > PQ_BARS_MAX) { /* the last point only ends the line */
        pq_text_add(before,
                    "'%s' index %zu every ::0::%zu using 1:2:3:4 with yerrorbars "
                    "linecolor rgb '#444444' pointtype 7 pointsize 0.7 notitle, \\\n  ",
                    p->data_name, c->n_series, n - 1);
    }
}

/* The reference as a point of its own, after the front. */
static void add_reference_point(pq_plot *p, const pq_cloud *c, size_t column,
                                pq_text *before)
{
    const pq_view  *v = p->v;
    const double    x = pq_view_number(v, v->reference, column).value;
    const pq_number y = pq_view_number(v, v->reference, pq_view_column_of(v, "accuracy"));

    if (isfinite(x) && isfinite(y.value)) {
        pq_text_add(&p->data, "\n\n# reference\n");
        pq_cloud_add_point(&p->data, x * v->columns[column].scale, y);
        pq_text_add(
            before,
            "'%s' index %zu using 1:2:3:4 with yerrorbars linecolor rgb '#000000' "
            "pointtype 3 notitle, \\\n  ",
            p->data_name, c->n_series + 1);
    }
}

/* All that is drawn of accuracy against bytes once the axes stand. */
static void draw_sizes(pq_plot *p, const pq_cloud *c, size_t column)
{
    const pq_view *v      = p->v;
    pq_text        before = {0};

    pq_text_add(&p->body, "set xlabel 'stored size / %s'\nset ylabel 'accuracy / %%'\n",
                v->columns[column].unit);
    pq_cloud_add_data(c, &p->data);
    add_front(p, c, column, &before);
    pq_cloud_add_reference(p, &before);
    add_reference_point(p, c, column, &before);
    pq_cloud_add_plot(p, c, &before, "yerrorbars");
    pq_cloud_add_caption(p, c);
    p->body.failed = p->body.failed || before.failed;
    pq_text_free(&before);
}

static double scaled_reference(const pq_view *v, size_t column)
{
    return pq_view_number(v, v->reference, column).value * v->columns[column].scale;
}

/* Ranges that hold all points and the reference; false where there are none. */
static bool add_whole_ranges(pq_plot *p, const pq_cloud *c, size_t column)
{
    const double reference = scaled_reference(p->v, column);

    if (c->n == 0) {
        return false;
    }
    pq_plot_log_axis(&p->body, 'x', fmin(c->least_x, reference),
                     fmax(c->largest_x, reference), true);
    return true;
}

/* Ranges that hold the reference and the points near its accuracy, with their bars; false
 * where that would show nothing new. */
static bool add_near_ranges(pq_plot *p, const pq_cloud *c, size_t column)
{
    const pq_view  *v = p->v;
    const pq_number y = pq_view_number(v, v->reference, pq_view_column_of(v, "accuracy"));
    double          left = scaled_reference(v, column), right = left;
    double low = isfinite(y.lo) ? y.lo : y.value, top = isfinite(y.hi) ? y.hi : y.value;
    size_t n      = 0;
    bool   is_far = false;

    for (size_t i = 0; i < c->n; i++) {
        const pq_number at    = c->points[i].y;
        const double    below = 100.0 * (y.value - at.value);
        is_far                = is_far || below > far_points;
        if (below <= near_points) {
            left  = fmin(left, c->points[i].x);
            right = fmax(right, c->points[i].x);
            low   = fmin(low, isfinite(at.lo) ? at.lo : at.value);
            top   = fmax(top, isfinite(at.hi) ? at.hi : at.value);
            n++;
        }
    }
    if (!is_far || n < 2 || !isfinite(left) || !(top > low)) {
        return false;
    }
    pq_plot_log_axis(&p->body, 'x', left, right, true);
    pq_text_add(&p->body, "set yrange [%.8g:%.8g]\n", 100.0 * (low - 0.1 * (top - low)),
                100.0 * (top + 0.1 * (top - low)));
    return true;
}

/* Accuracy against bytes within ranges, where these find something to show. */
static pq_status
plot_sizes(pq_plot *p, bool (*add_ranges)(pq_plot *p, const pq_cloud *c, size_t column),
           pq_err  *err)
{
    const size_t column = pq_view_column_of(p->v, "stored_bytes");
    pq_cloud     c      = {0};
    pq_status    st     = PQ_OK;

    if (column == PQ_VIEW_NONE || pq_view_column_of(p->v, "accuracy") == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    PQ_TRY(pq_cloud_make(p->v, column, NULL, &c, err));
    if (add_ranges(p, &c, column)) {
        draw_sizes(p, &c, column);
    }
cleanup:
    pq_cloud_free(&c);
    return st;
}

pq_status pq_plot_size(pq_plot *p, pq_err *err)
{
    pq_text_add(
        &p->caption,
        "Accuracy against stored bytes (weights at their bit width, with scales and "
        "indices). Dashed line and band: the reference and its 68.3 %% interval.");
    return plot_sizes(p, add_whole_ranges, err);
}

pq_status pq_plot_size_near(pq_plot *p, pq_err *err)
{
    pq_text_add(&p->caption,
                "The same, models within %g points of the reference's accuracy.",
                near_points);
    return plot_sizes(p, add_near_ranges, err);
}
