#include "report/cloud.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "store/json.h"

enum { N_SHAPES = 10, ROWS_OF_WIDE_KEY = 10 };

/* A series while it is judged. */
typedef struct {
    char  *title;
    size_t place, color;
    bool   chosen; /* holds a model of the front, the best or the strongest */
    double accuracy;
} series;

void pq_cloud_free(pq_cloud *c)
{
    pq_labels_free(&c->labels, c->named);
    pq_labels_free(&c->titles, c->n_series);
    pq_free(c->colors);
    pq_free(c->points);
    *c = (pq_cloud){0};
}

double pq_axis_value(const pq_view_row *row, const char *axis)
{
    const char *text = pq_json_get_text(json_object_get(row->cell, "axes"), axis);
    double      x;

    return pq_parse_real(text, PQ_UNIT_NONE, &x) ? x : (double)NAN;
}

static int by_series(const void *a, const void *b)
{
    const pq_point *p = a, *q = b;

    if (p->series != q->series) {
        return p->series < q->series ? -1 : 1;
    }
    if (p->repeat != q->repeat) {
        return p->repeat < q->repeat ? -1 : 1;
    }
    if (p->x < q->x || p->x > q->x) {
        return p->x < q->x ? -1 : 1;
    }
    return p->row < q->row ? -1 : p->row > q->row;
}

/* Named pipelines first, then chosen ones, then the more accurate. */
static int by_merit(const void *a, const void *b)
{
    const series *x = a, *y = b;
    const bool    x_named = x->color != PQ_VIEW_NONE, y_named = y->color != PQ_VIEW_NONE;

    if (x_named != y_named) {
        return x_named ? -1 : 1;
    }
    if (x->chosen != y->chosen) {
        return x->chosen ? -1 : 1;
    }
    if (x->accuracy > y->accuracy || x->accuracy < y->accuracy) {
        return x->accuracy > y->accuracy ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

static int by_place(const void *a, const void *b)
{
    const series *x = a, *y = b;

    return x->place < y->place ? -1 : x->place > y->place;
}

/* "svd", or "svd ft=10" where the pipeline has other axes than the one drawn. */
static void add_title(const pq_view_row *row, const char *axis, pq_text *out)
{
    json_t     *axes = json_object_get(row->cell, "axes"), *value;
    const char *name;

    pq_text_add(out, "%s", row->pipeline);
    json_object_foreach(axes, name, value)
    {
        if (axis != NULL && strcmp(name, axis) != 0) {
            pq_text_add(out, " %s=%s", name, pq_json_get_text(axes, name));
        }
    }
}

static pq_status series_of(series *all, size_t *n, const pq_view_row *row,
                           const char *axis, size_t *out, pq_err *err)
{
    pq_text   title = {0};
    pq_status st;

    add_title(row, axis, &title);
    PQ_CHECK(!title.failed, PQ_ERR_NOMEM, "cannot allocate a title");
    for (*out = 0; *out < *n; ++*out) {
        if (strcmp(all[*out].title, title.text != NULL ? title.text : "") == 0) {
            break;
        }
    }
    if (*out == *n) {
        PQ_TRY(pq_text_take(&title, &all[*n].title, err));
        all[*n].place    = *n;
        all[*n].color    = row->color;
        all[*n].accuracy = -1.0;
        ++*n;
    }
cleanup:
    pq_text_free(&title);
    return st;
}

/* The points, each with the place of its series. */
static pq_status collect(const pq_view *v, size_t column, const char *axis, pq_cloud *c,
                         series *all, pq_err *err)
{
    const size_t accuracy = pq_view_column_of(v, "accuracy");
    pq_status    st       = PQ_OK;

    for (size_t r = 0; r < v->n_rows; r++) {
        const pq_view_row *row = &v->rows[r];
        const double       x =
            axis != NULL ? pq_axis_value(row, axis)
                               : pq_view_number(v, r, column).value * v->columns[column].scale;
        const pq_number y = pq_view_number(v, r, accuracy);
        size_t          s;
        if (!isfinite(x) || !isfinite(y.value) || r == v->reference ||
            (axis == NULL && x <= 0.0)) {
            continue;
        }
        PQ_TRY(series_of(all, &c->n_series, row, axis, &s, err));
        all[s].chosen   = all[s].chosen || row->front || r == v->best || r == v->strong;
        all[s].accuracy = fmax(all[s].accuracy, y.value);
        c->least_x      = fmin(c->least_x, x);
        c->largest_x    = fmax(c->largest_x, x);
        const long long repeat = json_integer_value(json_object_get(row->cell, "repeat"));
        c->repeated            = c->repeated || repeat > 0;
        c->points[c->n++]      = (pq_point){r, s, repeat, x, y};
    }
cleanup:
    return st;
}

/* Puts the named series first, each group in the plan's order, and numbers points so. */
static pq_status rank(pq_cloud *c, series *all, pq_err *err)
{
    size_t   *number = NULL;
    pq_status st;

    PQ_NEW(number, c->n_series);
    PQ_NEW(c->titles, c->n_series);
    PQ_NEW(c->colors, c->n_series);
    qsort(all, c->n_series, sizeof *all, by_merit);
    while (c->named < c->n_series && c->named < PQ_SERIES_MAX &&
           all[c->named].color != PQ_VIEW_NONE) {
        c->named++;
    }
    qsort(all, c->named, sizeof *all, by_place);
    qsort(all + c->named, c->n_series - c->named, sizeof *all, by_place);
    for (size_t s = 0; s < c->n_series; s++) {
        number[all[s].place] = s;
        c->titles[s]         = all[s].title;
        c->colors[s]         = all[s].color;
        all[s].title         = NULL;
    }
    for (size_t i = 0; i < c->n; i++) {
        c->points[i].series = number[c->points[i].series];
    }
    qsort(c->points, c->n, sizeof *c->points, by_series);
    PQ_TRY(pq_labels_make((const char *const *)c->titles, c->named, PQ_LABEL_LONGEST,
                          &c->labels, err));
cleanup:
    pq_free(number);
    return st;
}

pq_status pq_cloud_make(const pq_view *v, size_t column, const char *axis, pq_cloud *out,
                        pq_err *err)
{
    pq_cloud  c   = {.least_x = (double)INFINITY, .largest_x = -(double)INFINITY};
    series   *all = NULL;
    pq_status st;

    PQ_NEW(c.points, v->n_rows);
    PQ_NEW(all, v->n_rows);
    PQ_TRY(collect(v, column, axis, &c, all, err));
    PQ_TRY(rank(&c, all, err));
    *out = c;
    c    = (pq_cloud){0};
cleanup:
    for (size_t s = 0; all != NULL && s < v->n_rows; s++) {
        pq_free(all[s].title);
    }
    pq_free(all);
    pq_cloud_free(&c);
    return st;
}

void pq_cloud_add_point(pq_text *out, double x, pq_number y)
{
    const double lo = isfinite(y.lo) ? y.lo : y.value,
                 hi = isfinite(y.hi) ? y.hi : y.value;

    pq_text_add(out, "%.10g %.8g %.8g %.8g\n", x, 100.0 * y.value, 100.0 * lo,
                100.0 * hi);
}

void pq_cloud_add_data(const pq_cloud *c, pq_text *out)
{
    for (size_t i = 0; i < c->n; i++) {
        if (i == 0 || c->points[i].series != c->points[i - 1].series) {
            pq_text_add(out, "%s# series %zu: x, accuracy, lo, hi (%%)\n",
                        i == 0 ? "" : "\n\n", c->points[i].series);
        } else if (c->points[i].repeat != c->points[i - 1].repeat) {
            pq_text_add(out, "\n"); /* ends a line, not the series */
        }
        pq_cloud_add_point(out, c->points[i].x, c->points[i].y);
    }
}

void pq_cloud_add_reference(pq_plot *p, pq_text *before)
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

/* A mark that no earlier series of the same colour has. */
static size_t shape_of(const pq_cloud *c, size_t s, size_t *shapes)
{
    size_t shape = c->colors[s] % N_SHAPES;

    for (size_t k = 0, tried = 0; k < s && tried < N_SHAPES; k++) {
        if (pq_plot_color(c->colors[k]) == pq_plot_color(c->colors[s]) &&
            shapes[k] == shape) {
            shape = (shape + 1) % N_SHAPES;
            tried++;
            k = (size_t)-1; /* from the start again */
        }
    }
    shapes[s] = shape;
    return shape;
}

void pq_cloud_add_plot(pq_plot *p, const pq_cloud *c, const pq_text *before,
                       const char *with)
{
    static const int marks[N_SHAPES] = {7, 5, 9, 13, 11, 15, 6, 4, 8, 12};
    const bool       lines           = strcmp(with, "yerrorbars") != 0;
    const char      *bare            = lines ? "linespoints" : "points";
    size_t           shapes[PQ_SERIES_MAX];

    if (c->named > ROWS_OF_WIDE_KEY) { /* else gnuplot makes two columns of it */
        pq_text_add(&p->body, "set key spacing 0.98\n");
    }
    pq_text_add(&p->body, "plot ");
    if (c->named < c->n_series) {
        pq_text_add(&p->body,
                    "'%s' index %zu:%zu using 1:2 with %s linecolor rgb '#b4b4b4' "
                    "linewidth 0.6 pointtype 7 pointsize 0.45 title '%zu others', \\\n  ",
                    p->data_name, c->named, c->n_series - 1, bare,
                    c->n_series - c->named);
    }
    pq_text_add(&p->body, "%s", before->text != NULL ? before->text : "");
    for (size_t s = 0; s < c->named; s++) {
        const bool many = c->n > PQ_BARS_MAX;
        pq_text_add(&p->body,
                    "%s'%s' index %zu using %s with %s linecolor rgb '%s' pointtype %d "
                    "%stitle ",
                    s == 0 ? "" : ", \\\n  ", p->data_name, s, many ? "1:2" : "1:2:3:4",
                    many ? bare : with, pq_plot_color(c->colors[s]),
                    marks[shape_of(c, s, shapes)],
                    many ? "pointsize 0.4 linewidth 0.6 " : "");
        pq_plot_quote(&p->body, c->labels[s]);
    }
    pq_text_add(&p->body, "\n");
}

size_t pq_cloud_dash(const pq_cloud *c, size_t s)
{
    size_t n = 1;

    for (size_t k = 0; k < s; k++) {
        n += pq_plot_color(c->colors[k]) == pq_plot_color(c->colors[s]);
    }
    return n;
}

void pq_cloud_add_caption(pq_plot *p, const pq_cloud *c)
{
    if (c->n > PQ_BARS_MAX) {
        pq_text_add(&p->caption, " Of %zu points the intervals are in the table alone.",
                    c->n);
    }
    if (c->named < c->n_series) {
        pq_text_add(
            &p->caption,
            " Named are %zu of %zu series: those on the Pareto front, then the most "
            "accurate; the %zu others are grey.",
            c->named, c->n_series, c->n_series - c->named);
    }
}
