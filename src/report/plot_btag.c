/* Plots of b taggers: rejections, discriminants, efficiencies in bins, the scan of f_c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "io/hdf5.h"
#include "report/plot_btag.h"
#include "store/json.h"

enum { ARRAY_BYTES_MAX = 1 << 24 };

const char *const pq_tag_colors[]   = {"#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd"};
const char *const pq_tag_flavours[] = {"b", "c", "light", "tau"};

void pq_taggers_free(pq_taggers *m)
{
    for (size_t i = 0; i < PQ_TAGGERS; i++) {
        pq_tensor_free(&m->arrays[i]);
    }
    pq_labels_free(&m->labels, m->n);
}

/* An array of a model's file, or NULL where there is none. */
static pq_status read_array(const pq_plot *p, size_t row, const char *name,
                            size_t columns, pq_tensor **out, pq_err *err)
{
    const json_t *record = json_object_get(p->v->rows[row].cell, "record");
    const char   *file   = pq_json_get_text(record, "arrays_file");
    char         *path   = pq_path_join(p->dir, file);
    pq_h5        *h5     = NULL;
    pq_status     st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (*file == '\0' || !pq_path_is_inside(p->dir, file) || !pq_file_exists(path)) {
        goto cleanup;
    }
    PQ_TRY(pq_h5_open(path, &h5, err));
    if (pq_h5_has(h5, name)) {
        PQ_TRY(pq_h5_read(h5, name, PQ_DTYPE_F64, ARRAY_BYTES_MAX, out, err));
        PQ_CHECK((*out)->shape.ndim == 2 && (*out)->shape.dim[1] == columns,
                 PQ_ERR_FORMAT, "%s: %s has not %zu columns", path, name, columns);
    }
cleanup:
    pq_h5_close(&h5);
    pq_free(path);
    return st;
}

pq_status pq_taggers_find(const pq_plot *p, const char *array, size_t columns,
                          size_t most, pq_taggers *out, pq_err *err)
{
    const size_t rows[PQ_TAGGERS] = {p->v->reference, p->v->best, p->v->strong};
    pq_taggers   m                = {0};
    pq_status    st               = PQ_OK;

    for (size_t i = 0; i < PQ_TAGGERS && m.n < most; i++) {
        if (rows[i] == PQ_VIEW_NONE || (i == 2 && rows[2] == rows[1])) {
            continue;
        }
        PQ_TRY(read_array(p, rows[i], array, columns, &m.arrays[m.n], err));
        if (m.arrays[m.n] != NULL) {
            m.rows[m.n]  = rows[i];
            m.names[m.n] = p->v->rows[rows[i]].label;
            m.n++;
        }
    }
    PQ_TRY(pq_labels_make(m.names, m.n, PQ_LABEL_LONGEST, &m.labels, err));
    *out = m;
    m    = (pq_taggers){0};
cleanup:
    pq_taggers_free(&m);
    return st;
}

static void add_number(pq_text *out, double x)
{
    pq_text_add(out, isfinite(x) ? " %.7g" : " NaN", x);
}

/* Blocks of the arrays, with the ratio of columns 1 and 4 to the first model's. */
void pq_taggers_add_blocks(const pq_taggers *m, bool ratios, pq_text *out)
{
    for (size_t k = 0; k < m->n; k++) {
        const pq_tensor *t = m->arrays[k];
        const double    *x = pq_f64(t), *first = pq_f64(m->arrays[0]);
        const size_t     columns = t->shape.dim[1];
        const bool       same    = t->count == m->arrays[0]->count;
        pq_text_add(out, "%s# %s\n", k > 0 ? "\n\n" : "", m->labels[k]);
        for (size_t i = 0; i < t->shape.dim[0]; i++) {
            for (size_t c = 0; c < columns; c++) {
                add_number(out, x[i * columns + c]);
            }
            for (size_t c = 1; ratios && c < columns; c += 3) {
                add_number(out, same ? x[i * columns + c] / first[i * columns + c]
                                     : (double)NAN);
            }
            pq_text_add(out, "\n");
        }
    }
}

/* A panel of several below each other, from `bottom` to `top` of the screen. */
void pq_tag_panel(pq_text *out, double bottom, double top, bool last)
{
    pq_text_add(
        out,
        "set bmargin at screen %g\nset tmargin at screen %g\nset lmargin at screen "
        "0.12\nset rmargin at screen right\nset format x '%s'\n",
        bottom, top, last ? "%g" : "");
    pq_text_add(out,
                "set label 1 at graph 0, screen 0.95\nset label 2 at graph 0, screen "
                "0.95\nset label 3 at screen 0.98, screen 0.95 right\n");
}

void pq_tag_begin(pq_text *out, double height, size_t entries, char *const *labels,
                  size_t n)
{
    const double line = 0.0395, column = 0.0098; /* of the screen, at a spacing of 1 */
    const double key = 0.075 + column * (double)pq_label_widest(labels, n);

    pq_text_add(out,
                "set multiplot\nright = %.3f\n"
                "set key at screen right + 0.01, screen 0.93 left top spacing %.3g\n",
                fmin(0.75, 1.0 - key), fmin(1.25, height / (line * (double)entries)));
}

/* Marks in some bins of the first model, and what stands in the key: flavours are told
 * apart without colours. */
static void add_marks(pq_plot *p, const pq_taggers *m, size_t column, size_t flavour)
{
    static const int marks[] = {7, 5, 9, 13};
    const double    *edges   = pq_f64(m->arrays[0]);
    const double     width   = edges[m->arrays[0]->shape.dim[1]] - edges[0];
    const char      *color   = pq_tag_colors[flavour];

    pq_text_add(&p->body,
                ", \\\n  '' index 0 every 5::%zu using ($1+%g):($%zu>0?$%zu:NaN) with "
                "points pointtype %d pointsize 0.8 linecolor rgb '%s' notitle, \\\n  "
                "keyentry with linespoints pointtype %d pointsize 0.8 linewidth 1.6 "
                "linecolor rgb '%s' title '%s jets'",
                flavour, 0.5 * width, column, column, marks[flavour], color,
                marks[flavour], color, pq_tag_flavours[flavour]);
}

void pq_tag_add_steps(pq_plot *p, const pq_taggers *m, size_t column)
{
    for (size_t k = 0; k < m->n; k++) {
        for (size_t f = 0; f < PQ_TAG_FLAVOURS; f++) {
            pq_text_add(&p->body,
                        "%s'%s' index %zu using 1:($%zu>0?$%zu:1e-9) with steps dashtype "
                        "%zu linewidth 1.6 linecolor rgb '%s' notitle",
                        k + f > 0 ? ", \\\n  " : "", p->data_name, k, column + f,
                        column + f, k + 1, pq_tag_colors[f]);
            if (k == 0) {
                add_marks(p, m, column + f, f);
            }
        }
    }
    for (size_t k = 0; k < m->n; k++) {
        pq_text_add(
            &p->body,
            ", \\\n  keyentry with lines dashtype %zu linewidth 1.6 linecolor rgb "
            "'#000000' title ",
            k + 1);
        pq_plot_quote(&p->body, m->labels[k]);
    }
    pq_text_add(&p->body, "\n");
}

static void add_model_keys(pq_text *out, const pq_taggers *m)
{
    for (size_t k = 0; k < m->n; k++) {
        pq_text_add(out,
                    ", \\\n  keyentry with lines linewidth 1.6 linecolor rgb '%s' title ",
                    k == 0 ? "#000000" : pq_plot_color(k));
        pq_plot_quote(out, m->labels[k]);
    }
    pq_text_add(out, ", \\\n  keyentry with lines dashtype 1 linewidth 1.6 linecolor rgb "
                     "'#606060' title 'light jets', \\\n  keyentry with lines dashtype 2 "
                     "linewidth 1.6 linecolor rgb '#606060' title 'c jets'");
}

/* Range and three ticks of a panel of ratios that are at most so far from 1, but wild. */
static void add_ratio_range(double far, pq_text *out)
{
    static const double steps[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5};
    size_t              k       = 0;

    while (k + 1 < sizeof steps / sizeof *steps && 1.3 * steps[k] < far) {
        k++;
    }
    const double half =
        steps[k] * (far > 1.5 * steps[k] ? 2.0 : 1.5); /* 0 .. 2 at most */
    pq_text_add(out, "set yrange [%g:%g]\nset ytics (%g, 1, %g)\n", 1.0 - half,
                1.0 + half, 1.0 - steps[k], 1.0 + steps[k]);
}

static void add_ratio_axis(const pq_taggers *m, size_t column, pq_text *out)
{
    const double *first = pq_f64(m->arrays[0]);
    double        far   = 0.0;

    for (size_t a = 1; a < m->n; a++) {
        const double *x    = pq_f64(m->arrays[a]);
        const bool    same = m->arrays[a]->count == m->arrays[0]->count;
        for (size_t i = column; same && i < m->arrays[a]->count; i += 7) {
            const double off = fabs(x[i] / first[i] - 1.0);
            far              = off > far ? off : far;
        }
    }
    add_ratio_range(far, out);
}

static void add_ratio_panel(pq_plot *p, const pq_taggers *m, size_t column,
                            const char *what, double bottom, double top, bool last)
{
    pq_tag_panel(&p->body, bottom, top, last);
    pq_text_add(&p->body, "unset label\nunset logscale y\nset format y '%%g'\n");
    add_ratio_axis(m, column == 8 ? 1 : 4, &p->body);
    pq_text_add(&p->body,
                "set ylabel '%s ratio'\n%splot 1 with lines "
                "linecolor rgb '#909090' linewidth 0.8 notitle",
                what, last ? "set xlabel 'b-jet efficiency'\n" : "");
    for (size_t k = 1; k < m->n; k++) {
        pq_text_add(
            &p->body,
            ", \\\n  '%s' index %zu using 1:%zu with lines dashtype %d linewidth 1.6 "
            "linecolor rgb '%s' notitle",
            p->data_name, k, column, column == 8 ? 1 : 2, pq_plot_color(k));
    }
    pq_text_add(&p->body, "\n");
}

pq_status pq_plot_btag_roc(pq_plot *p, pq_err *err)
{
    pq_taggers m = {0};
    pq_status  st;

    PQ_TRY(pq_taggers_find(p, "/btag/roc", 7, PQ_TAGGERS, &m, err));
    if (m.n == 0) {
        goto cleanup;
    }
    pq_taggers_add_blocks(&m, true, &p->data);
    pq_tag_begin(&p->body, 0.45, m.n + 2, m.labels, m.n);
    pq_tag_panel(&p->body, m.n > 1 ? 0.47 : 0.13, 0.92, m.n == 1);
    pq_text_add(&p->body,
                "set xrange [0.5:1]\nset logscale y\nset format y '10^{%%T}'\n"
                "set ylabel 'background rejection'\n%splot ",
                m.n == 1 ? "set xlabel 'b-jet efficiency'\n" : "unset xlabel\n");
    for (size_t k = 0; k < m.n; k++) {
        const char *color = k == 0 ? "#000000" : pq_plot_color(k);
        for (size_t b = 0; b < 2; b++) {
            const size_t c = b == 0 ? 2 : 5;
            pq_text_add(
                &p->body,
                "%s'%s' index %zu using 1:%zu:%zu with filledcurves fillstyle "
                "transparent solid 0.2 noborder fillcolor rgb '%s' notitle, \\\n  '' "
                "index %zu using 1:%zu with lines dashtype %zu linewidth 1.6 "
                "linecolor rgb '%s' notitle",
                k + b > 0 ? ", \\\n  " : "", p->data_name, k, c + 1, c + 2, color, k, c,
                b + 1, color);
        }
    }
    add_model_keys(&p->body, &m);
    pq_text_add(&p->body, "\n");
    if (m.n > 1) {
        add_ratio_panel(p, &m, 8, "light", 0.30, 0.46, false);
        add_ratio_panel(p, &m, 9, "c", 0.13, 0.29, true);
    }
    pq_text_add(&p->body, "unset multiplot\n");
    pq_text_add(
        &p->caption,
        "Rejection of light and c jets against b efficiency, with 68.3 %% bands, and "
        "its ratio to that of %s.",
        p->v->rows[m.rows[0]].label);
cleanup:
    pq_taggers_free(&m);
    return st;
}

/* Lines at the working points of a model. */
static void add_point_lines(pq_plot *p, size_t row)
{
    static const char *const points[] = {"60", "70", "77", "85"};
    char                     name[32];

    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        (void)snprintf(name, sizeof name, "btag.%s.cut", points[i]);
        const double cut = pq_view_number(p->v, row, pq_view_column_of(p->v, name)).value;
        if (isfinite(cut)) {
            pq_text_add(
                &p->body,
                "set arrow from first %.6g, graph 0 to first %.6g, graph 0.9 nohead "
                "dashtype 3 linewidth 1.2 linecolor rgb '#505050'\nset label '%s %%' "
                "at first %.6g, graph %g center font small\n",
                cut, cut, points[i], cut, i % 2 == 0 ? 0.97 : 0.93);
        }
    }
}

pq_status pq_plot_btag_discriminant(pq_plot *p, pq_err *err)
{
    pq_taggers m = {0};
    pq_status  st;

    PQ_TRY(pq_taggers_find(p, "/btag/discriminant", 5, 2, &m, err));
    if (m.n == 0) {
        goto cleanup;
    }
    pq_taggers_add_blocks(&m, false, &p->data);
    add_point_lines(p, m.rows[0]);
    pq_text_add(
        &p->body,
        "set xlabel 'D_b'\nset ylabel 'normalised number of jets'\nset logscale y\n"
        "set format y '10^{%%T}'\nset yrange [1e-5:2]\nset xrange [-10:15]\nplot ");
    pq_tag_add_steps(p, &m, 2);
    pq_text_add(
        &p->caption,
        "The b discriminant by flavour, with the cuts of the working points of %s. "
        "What is beyond the axis is in the outermost bins.",
        p->v->rows[m.rows[0]].label);
cleanup:
    pq_taggers_free(&m);
    return st;
}

pq_status pq_plot_btag_scan(pq_plot *p, pq_err *err)
{
    pq_taggers m = {0};
    pq_status  st;

    PQ_TRY(pq_taggers_find(p, "/btag/scan", 3, PQ_TAGGERS, &m, err));
    if (m.n == 0) {
        goto cleanup;
    }
    pq_taggers_add_blocks(&m, false, &p->data);
    pq_text_add(&p->body,
                "set xlabel 'c-jet rejection'\nset ylabel 'light-jet rejection'\n"
                "set offsets graph 0.05, graph 0.05, graph 0.1, graph 0.05\n"
                "set xrange [0<*:*]\nset yrange [0<*:*]\nplot ");
    for (size_t k = 0; k < m.n; k++) {
        pq_text_add(&p->body,
                    "%s'%s' index %zu every ::0::%d using 3:2 with linespoints pointtype "
                    "7 pointsize 0.5 "
                    "dashtype %zu linewidth 1.4 linecolor rgb '%s' title ",
                    k > 0 ? ", \\\n  " : "", p->data_name, k,
                    (int)m.arrays[k]->shape.dim[0] - 2, k + 1,
                    k == 0 ? "#000000" : pq_plot_color(k));
        pq_plot_quote(&p->body, m.labels[k]);
        pq_text_add(&p->body,
                    ", \\\n  '' index %zu every ::%d using 3:2 with points pointtype 3 "
                    "pointsize 2.2 linewidth 1.6 linecolor rgb '%s' notitle",
                    k, (int)m.arrays[k]->shape.dim[0] - 1,
                    k == 0 ? "#000000" : pq_plot_color(k));
    }
    pq_text_add(&p->body,
                ", \\\n  '' index 0 every 4::28::40 using 3:2:(sprintf('%%.2g', "
                "column(1))) with labels left font tiny offset 0.8,0.4 notitle");
    pq_text_add(&p->body, "\n");
    pq_text_add(&p->caption,
                "Rejections at one b efficiency as f_c runs from 0 to 1: small "
                "numbers are f_c of the first, stars what was chosen.");
cleanup:
    pq_taggers_free(&m);
    return st;
}

/* A bin of a metric's name, "btag.70.pt.20_30.efficiency"; `column` gets "pt". */
static bool read_bin(const char *name, char column[32], double edges[2])
{
    static const char end[] = ".efficiency";
    const char       *at = name + strcspn(name, "."), *stop = strrchr(name, '.');
    const char       *dot, *line;

    if (strncmp(name, "btag.", 5) != 0 || stop == NULL || strcmp(stop, end) != 0) {
        return false;
    }
    at += 1 + strspn(at + 1, "0123456789."); /* behind the working point */
    dot  = at < stop ? strchr(at, '.') : NULL;
    line = dot != NULL ? strchr(dot, '_') : NULL;
    if (line == NULL || dot >= stop || dot == at || dot - at > 31) {
        return false;
    }
    (void)snprintf(column, 32, "%.*s", (int)(dot - at), at);
    edges[0] = strtod(dot + 1, NULL);
    edges[1] = strtod(line + 1, NULL);
    return edges[1] > edges[0];
}

pq_status pq_plot_btag_bins(pq_plot *p, pq_err *err)
{
    const size_t rows[PQ_TAGGERS] = {p->v->reference, p->v->best, p->v->strong};
    char         column[32] = "", first[32] = "", **labels = NULL;
    const char  *names[PQ_TAGGERS];
    double       edges[2];
    size_t       n   = 0, drawn[PQ_TAGGERS];
    double       far = 0.0;
    pq_status    st  = PQ_OK;

    for (size_t i = 0; i < PQ_TAGGERS; i++) {
        if (rows[i] != PQ_VIEW_NONE && !(i == 2 && rows[2] == rows[1])) {
            names[n]   = p->v->rows[rows[i]].label;
            drawn[n++] = rows[i];
        }
    }
    PQ_TRY(pq_labels_make(names, n, PQ_LABEL_LONGEST, &labels, err));
    for (size_t k = 0; k < n; k++) {
        pq_text_add(&p->data, "%s# %s\n", k > 0 ? "\n\n" : "", labels[k]);
        for (size_t c = 0; c < p->v->n_columns; c++) {
            if (!read_bin(p->v->columns[c].name, column, edges) ||
                (*first != '\0' && strcmp(first, column) != 0)) {
                continue;
            }
            (void)snprintf(first, sizeof first, "%s", column);
            const pq_number v = pq_view_number(p->v, drawn[k], c);
            const pq_number r = pq_view_number(p->v, drawn[0], c);
            pq_text_add(&p->data, "%.10g %.10g", edges[0], edges[1]);
            add_number(&p->data, v.value);
            add_number(&p->data, v.lo);
            add_number(&p->data, v.hi);
            add_number(&p->data, v.value / r.value);
            far =
                fabs(v.value / r.value - 1.0) > far ? fabs(v.value / r.value - 1.0) : far;
            pq_text_add(&p->data, "\n");
        }
    }
    if (*first == '\0') {
        pq_text_free(&p->data);
        goto cleanup;
    }
    pq_tag_begin(&p->body, 0.54, n, labels, n);
    pq_tag_panel(&p->body, n > 1 ? 0.38 : 0.13, 0.92, n == 1);
    pq_text_add(&p->body,
                "unset xlabel\nset ylabel 'b-jet efficiency'\nset yrange [0.01:1]\n");
    for (size_t panel = 0; panel < (n > 1 ? 2 : 1); panel++) {
        if (panel == 1) {
            pq_tag_panel(&p->body, 0.13, 0.37, true);
            pq_text_add(&p->body, "unset label\nset ylabel 'ratio'\n");
            add_ratio_range(far, &p->body);
        }
        if (panel + 1 == (n > 1 ? 2U : 1U)) {
            pq_text_add(&p->body, "set xlabel noenhanced ");
            pq_plot_quote(&p->body, first);
            pq_text_add(&p->body, "\n");
        }
        for (size_t k = 0; k < n; k++) {
            pq_text_add(&p->body, "%s'%s' index %zu using (($1+$2)/2):%s with ",
                        k > 0 ? ", \\\n  " : "plot ", p->data_name, k,
                        panel == 0 ? "3:1:2:4:5" : "6:1:2");
            pq_text_add(&p->body, "%s pointtype %zu linewidth 1.3 linecolor rgb '%s' ",
                        panel == 0 ? "xyerrorbars" : "xerrorbars", 2 * k + 5,
                        k == 0 ? "#000000" : pq_plot_color(k));
            if (panel == 0) {
                pq_text_add(&p->body, "title ");
                pq_plot_quote(&p->body, labels[k]);
            } else {
                pq_text_add(&p->body, "notitle");
            }
        }
        pq_text_add(&p->body, "\n");
    }
    pq_text_add(&p->body, "unset multiplot\n");
    pq_text_add(
        &p->caption,
        "b efficiency in bins of %s, with 68.3 %% intervals, and its ratio to that of "
        "%s.",
        first, names[0]);
cleanup:
    pq_labels_free(&labels, n);
    return st;
}
