#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/plot.h"

enum { TITLES_MAX = 14, TITLE_LONGEST = 30, TICKS_MAX = 12 };

/* The second plot of sizes shows what lies at most so far below the reference, where
 * others lie so much lower that they squeeze it into a line. Points are per cent. */
static const double near_points = 3.0, far_points = 10.0;

/* A model in the plane. */
typedef struct {
    size_t    row, series;
    double    x;
    pq_number y;
} point;

/* Points of a plot in their series, sorted by series, then x. Owns. */
typedef struct {
    size_t  n, n_series;
    point  *points;
    char  **titles;    /* [n_series] */
    size_t *pipelines; /* [n_series] number of its pipeline: its colour in every plot */
    double  least_x, largest_x;
} cloud;

static void free_cloud(cloud *c)
{
    for (size_t s = 0; c->titles != NULL && s < c->n_series; s++) {
        pq_free(c->titles[s]);
    }
    pq_free(c->titles);
    pq_free(c->pipelines);
    pq_free(c->points);
    *c = (cloud){0};
}

static int by_series(const void *a, const void *b)
{
    const point *p = a, *q = b;

    if (p->series != q->series) {
        return p->series < q->series ? -1 : 1;
    }
    if (p->x < q->x || p->x > q->x) {
        return p->x < q->x ? -1 : 1;
    }
    return p->row < q->row ? -1 : p->row > q->row;
}

static double axis_value(const pq_view_row *row, const char *axis)
{
    const char *text = pq_view_text(json_object_get(row->cell, "axes"), axis);
    double      x;

    return pq_parse_real(text, PQ_UNIT_NONE, &x) ? x : (double)NAN;
}

/* "svd", or "svd ft=10" where the pipeline has other axes than the one drawn. */
static void add_series_title(const pq_view_row *row, const char *axis, pq_text *out)
{
    json_t     *axes = json_object_get(row->cell, "axes"), *value;
    const char *name;

    pq_text_add(out, "%s", row->pipeline);
    json_object_foreach(axes, name, value)
    {
        if (axis != NULL && strcmp(name, axis) != 0) {
            pq_text_add(out, " %s=%s", name, pq_view_text(axes, name));
        }
    }
}

/* How many other pipelines come first, the reference's aside. */
static size_t pipeline_number(const pq_view *v, const char *pipeline)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows && strcmp(v->rows[r].pipeline, pipeline) != 0; r++) {
        const bool first =
            r == 0 || strcmp(v->rows[r].pipeline, v->rows[r - 1].pipeline) != 0;
        n += first && r != v->reference;
    }
    return n;
}

static pq_status series_of(cloud *c, const pq_view_row *row, const char *axis,
                           size_t *out, pq_err *err)
{
    pq_text   title = {0};
    pq_status st;

    add_series_title(row, axis, &title);
    PQ_CHECK(!title.failed, PQ_ERR_NOMEM, "cannot allocate a title");
    for (*out = 0; *out < c->n_series; ++*out) {
        if (strcmp(c->titles[*out], title.text != NULL ? title.text : "") == 0) {
            break;
        }
    }
    if (*out == c->n_series) {
        PQ_TRY(pq_text_take(&title, &c->titles[c->n_series], err));
        c->n_series++;
    }
cleanup:
    pq_text_free(&title);
    return st;
}

/* Models with an accuracy and an x: a column, or an axis where that is not NULL. */
static pq_status make_cloud(const pq_view *v, size_t column, const char *axis, cloud *out,
                            pq_err *err)
{
    const size_t accuracy = pq_view_column_of(v, "accuracy");
    cloud        c        = {.least_x = (double)INFINITY, .largest_x = -(double)INFINITY};
    pq_status    st;

    PQ_NEW(c.points, v->n_rows);
    PQ_NEW(c.titles, v->n_rows);
    PQ_NEW(c.pipelines, v->n_rows);
    for (size_t r = 0; r < v->n_rows; r++) {
        const double x =
            axis != NULL ? axis_value(&v->rows[r], axis)
                         : pq_view_number(v, r, column).value * v->columns[column].scale;
        point *p = &c.points[c.n];
        p->row   = r;
        p->x     = x;
        p->y     = pq_view_number(v, r, accuracy);
        if (!isfinite(x) || !isfinite(p->y.value) || r == v->reference ||
            (axis == NULL && x <= 0.0)) {
            continue;
        }
        c.least_x   = fmin(c.least_x, x);
        c.largest_x = fmax(c.largest_x, x);
        PQ_TRY(series_of(&c, &v->rows[r], axis, &p->series, err));
        c.pipelines[p->series] = pipeline_number(v, v->rows[r].pipeline);
        c.n++;
    }
    qsort(c.points, c.n, sizeof *c.points, by_series);
    *out = c;
    c    = (cloud){0};
cleanup:
    free_cloud(&c);
    return st;
}

static void add_data(pq_text *out, double x, pq_number y)
{
    const double lo = isfinite(y.lo) ? y.lo : y.value,
                 hi = isfinite(y.hi) ? y.hi : y.value;

    pq_text_add(out, "%.10g %.8g %.8g %.8g\n", x, 100.0 * y.value, 100.0 * lo,
                100.0 * hi);
}

static void add_series_data(const cloud *c, pq_text *out)
{
    for (size_t i = 0; i < c->n; i++) {
        if (i == 0 || c->points[i].series != c->points[i - 1].series) {
            pq_text_add(out, "%s# series %zu: x, accuracy, lo, hi (%%)\n",
                        i == 0 ? "" : "\n\n", c->points[i].series);
        }
        add_data(out, c->points[i].x, c->points[i].y);
    }
}

/* Accuracy of the reference: a grey band and a dashed line across the plot. */
static void add_reference(pq_plot *p, pq_text *before)
{
    const pq_number y =
        pq_view_number(p->v, p->v->reference, pq_view_column_of(p->v, "accuracy"));

    if (!isfinite(y.value)) {
        return;
    }
    if (isfinite(y.lo) && isfinite(y.hi)) {
        pq_text_add(&p->body,
                    "set object 1 rectangle from graph 0, first %.8g to graph 1, first "
                    "%.8g behind fillcolor rgb '#e4e4e4' fillstyle solid noborder\n",
                    100.0 * y.lo, 100.0 * y.hi);
    }
    pq_text_add(before,
                "%.8g with lines dashtype 2 linewidth 1.5 linecolor rgb '#000000' "
                "title 'reference', \\\n  ",
                100.0 * y.value);
}

/* `plot`: what comes first, then a line for each series. */
static void add_plot(pq_plot *p, const cloud *c, const pq_text *before, const char *with)
{
    static const int shapes[] = {7, 5, 9, 13, 11, 15, 6, 4, 8, 12};

    pq_text_add(&p->body, "plot %s", before->text != NULL ? before->text : "");
    for (size_t s = 0; s < c->n_series; s++) {
        size_t shape = c->pipelines[s];
        for (size_t k = 0; k < s; k++) {
            shape += c->pipelines[k] == c->pipelines[s]; /* same colour, other shape */
        }
        pq_text_add(
            &p->body,
            "%s'%s' index %zu using 1:2:3:4 with %s linecolor rgb '%s' pointtype %d ",
            s == 0 ? "" : ", \\\n  ", p->data_name, s, with,
            pq_plot_color(c->pipelines[s]),
            shapes[shape % (sizeof shapes / sizeof *shapes)]);
        if (s < TITLES_MAX) {
            pq_text_add(&p->body, "title ");
            pq_plot_quote(&p->body, c->titles[s], TITLE_LONGEST);
        } else {
            pq_text_add(&p->body, "notitle");
        }
    }
    pq_text_add(&p->body, "\n");
}

/* Marks the rows that no other row beats in both: x small, y large. */
static void find_front(const pq_view *v, size_t x, size_t y, bool *front)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const double rx = pq_view_number(v, r, x).value,
                     ry = pq_view_number(v, r, y).value;
        front[r]        = isfinite(rx) && isfinite(ry);
        for (size_t o = 0; o < v->n_rows && front[r]; o++) {
            const double ox = pq_view_number(v, o, x).value,
                         oy = pq_view_number(v, o, y).value;
            front[r]        = !(ox <= rx && oy >= ry && (ox < rx || oy > ry));
        }
    }
}

static void add_front(pq_plot *p, const cloud *c, size_t column, const bool *front,
                      pq_text *before)
{
    const pq_view *v = p->v;
    const double far = fmax(c->largest_x, pq_view_number(v, v->reference, column).value *
                                              v->columns[column].scale) *
                       1.5;
    double    x    = 0.0;
    pq_number best = {(double)NAN, (double)NAN, (double)NAN};
    size_t    n    = 0;

    pq_text_add(&p->data, "\n\n# front: no model is smaller and better\n");
    for (;;) { /* in order of x */
        size_t next = PQ_VIEW_NONE;
        for (size_t r = 0; r < v->n_rows; r++) {
            const double rx = pq_view_number(v, r, column).value;
            if (front[r] && rx > x &&
                (next == PQ_VIEW_NONE || rx < pq_view_number(v, next, column).value)) {
                next = r;
            }
        }
        if (next == PQ_VIEW_NONE) {
            break;
        }
        x    = pq_view_number(v, next, column).value;
        best = pq_view_number(v, next, pq_view_column_of(v, "accuracy"));
        add_data(&p->data, x * v->columns[column].scale, best);
        n++;
    }
    if (n > 1) {
        add_data(&p->data, isfinite(far) ? far : c->largest_x * 1.5, best);
        pq_text_add(before,
                    "'%s' index %zu using 1:2 with fsteps linewidth 1.2 linecolor rgb "
                    "'#888888' title 'Pareto front', \\\n  ",
                    p->data_name, c->n_series);
    }
}

/* The reference as a point of its own, after the front. */
static void add_reference_point(pq_plot *p, const cloud *c, size_t column,
                                pq_text *before)
{
    const pq_view  *v = p->v;
    const double    x = pq_view_number(v, v->reference, column).value;
    const pq_number y = pq_view_number(v, v->reference, pq_view_column_of(v, "accuracy"));

    if (isfinite(x) && isfinite(y.value)) {
        pq_text_add(&p->data, "\n\n# reference\n");
        add_data(&p->data, x * v->columns[column].scale, y);
        pq_text_add(
            before,
            "'%s' index %zu using 1:2:3:4 with yerrorbars linecolor rgb '#000000' "
            "pointtype 3 notitle, \\\n  ",
            p->data_name, c->n_series + 1);
    }
}

/* All that is drawn of accuracy against bytes once the axes stand. */
static pq_status draw_sizes(pq_plot *p, const cloud *c, size_t column, pq_err *err)
{
    const pq_view *v      = p->v;
    pq_text        before = {0};
    bool          *front  = NULL;
    pq_status      st;

    PQ_NEW(front, v->n_rows);
    find_front(v, column, pq_view_column_of(v, "accuracy"), front);
    pq_text_add(&p->body, "set xlabel 'stored size / %s'\nset ylabel 'accuracy / %%'\n",
                v->columns[column].unit);
    add_series_data(c, &p->data);
    add_front(p, c, column, front, &before);
    add_reference(p, &before);
    add_reference_point(p, c, column, &before);
    add_plot(p, c, &before, "yerrorbars");
    p->body.failed = p->body.failed || before.failed;
cleanup:
    pq_free(front);
    pq_text_free(&before);
    return st;
}

static double scaled_reference(const pq_view *v, size_t column)
{
    return pq_view_number(v, v->reference, column).value * v->columns[column].scale;
}

/* Ranges that hold all points and the reference; false where there are none. */
static bool add_whole_ranges(pq_plot *p, const cloud *c, size_t column)
{
    const double reference = scaled_reference(p->v, column);

    if (c->n == 0) {
        return false;
    }
    pq_plot_log_axis(&p->body, 'x', fmin(c->least_x, reference),
                     fmax(c->largest_x, reference));
    return true;
}

/* Ranges that hold the reference and the points near its accuracy, with their bars; false
 * where that would show nothing new. */
static bool add_near_ranges(pq_plot *p, const cloud *c, size_t column)
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
    pq_plot_log_axis(&p->body, 'x', left, right);
    pq_text_add(&p->body, "set yrange [%.8g:%.8g]\n", 100.0 * (low - 0.1 * (top - low)),
                100.0 * (top + 0.1 * (top - low)));
    return true;
}

/* Accuracy against bytes within ranges, where these find something to show. */
static pq_status plot_sizes(pq_plot *p,
                            bool (*add_ranges)(pq_plot *p, const cloud *c, size_t column),
                            pq_err *err)
{
    const size_t column = pq_view_column_of(p->v, "stored_bytes");
    cloud        c      = {0};
    pq_status    st     = PQ_OK;

    if (column == PQ_VIEW_NONE || pq_view_column_of(p->v, "accuracy") == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    PQ_TRY(make_cloud(p->v, column, NULL, &c, err));
    if (add_ranges(p, &c, column)) {
        PQ_TRY(draw_sizes(p, &c, column, err));
    }
cleanup:
    free_cloud(&c);
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

bool pq_plot_axis_is_numeric(const pq_view *v, const char *axis)
{
    double first = (double)NAN;

    for (size_t r = 0; r < v->n_rows; r++) {
        const double x = axis_value(&v->rows[r], axis);
        if (isfinite(first) && isfinite(x) && (x < first || x > first)) {
            return true;
        }
        first = isfinite(x) ? x : first;
    }
    return false;
}

/* Ticks at the values that were swept, where they are few. */
static void add_axis_ticks(const cloud *c, pq_text *out)
{
    double ticks[TICKS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        size_t k = 0;
        while (k < n && (ticks[k] < c->points[i].x || ticks[k] > c->points[i].x)) {
            k++;
        }
        if (k == n && n == TICKS_MAX) {
            return;
        }
        if (k == n) {
            ticks[n++] = c->points[i].x;
        }
    }
    pq_text_add(out, "set xtics (");
    for (size_t k = 0; k < n; k++) {
        pq_text_add(out, "%s'%g' %.10g", k == 0 ? "" : ", ", ticks[k], ticks[k]);
    }
    pq_text_add(out, ")\n");
}

pq_status pq_plot_axis(pq_plot *p, pq_err *err)
{
    pq_text   before = {0};
    cloud     c      = {0};
    pq_status st     = PQ_OK;

    if (pq_view_column_of(p->v, "accuracy") == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    PQ_TRY(make_cloud(p->v, PQ_VIEW_NONE, p->axis, &c, err));
    if (c.n < 2 || !(c.largest_x > c.least_x)) {
        goto cleanup;
    }
    pq_text_add(&p->body, "set ylabel 'accuracy / %%'\nset xlabel noenhanced ");
    pq_plot_quote(&p->body, p->axis, TITLE_LONGEST);
    if (c.least_x > 0.0 && c.largest_x / c.least_x >= 16.0) {
        pq_text_add(&p->body, "\nset logscale x 2\nset xrange [%.10g:%.10g]\n",
                    c.least_x / 1.3, c.largest_x * 1.3);
    } else {
        const double margin = 0.05 * (c.largest_x - c.least_x);
        pq_text_add(&p->body, "\nset xrange [%.10g:%.10g]\n", c.least_x - margin,
                    c.largest_x + margin);
    }
    add_axis_ticks(&c, &p->body);
    add_series_data(&c, &p->data);
    add_reference(p, &before);
    add_plot(p, &c, &before, "yerrorlines");
    pq_text_add(&p->caption,
                "Accuracy against %s. Dashed line and band: the reference and "
                "its 68.3 %% interval.",
                p->axis);
    p->body.failed = p->body.failed || before.failed;
cleanup:
    free_cloud(&c);
    pq_text_free(&before);
    return st;
}
