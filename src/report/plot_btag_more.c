/* Plots of b taggers: probabilities by flavour, and rejection lost against bytes. */
#include <math.h>
#include <string.h>

#include "report/plot_btag.h"

enum { OUTPUTS = 3, NAMED = PQ_NAMED_MAX };

pq_status pq_plot_btag_probability(pq_plot *p, pq_err *err)
{
    pq_taggers m = {0};
    pq_status  st;

    PQ_TRY(pq_taggers_find(p, "/btag/probability", 1 + PQ_TAG_FLAVOURS * PQ_TAG_FLAVOURS,
                           2, &m, err));
    if (m.n == 0) {
        goto cleanup;
    }
    pq_taggers_add_blocks(&m, false, &p->data);
    pq_tag_begin(&p->body, 0.25, PQ_TAG_FLAVOURS + m.n, m.labels, m.n);
    pq_text_add(&p->body, "set logscale y\nset xrange [0:1]\nset yrange [1e-5:3]\n"
                          "set format y '10^{%%T}'\nunset xlabel\n");
    for (size_t o = 0; o < OUTPUTS; o++) { /* b, c, light */
        const double top  = 0.92 - 0.27 * (double)o;
        const bool   last = o + 1 == OUTPUTS;
        pq_tag_panel(&p->body, top - 0.25, top, last);
        pq_text_add(&p->body,
                    "%s%sset ylabel 'part of jets'\nset label 9 'p_%s' at graph "
                    "0.5, graph 0.87 center\nplot ",
                    o > 0 ? "unset label\nset key off\n" : "",
                    last ? "set xlabel 'probability'\n" : "",
                    o == 2 ? "{light}" : pq_tag_flavours[o]);
        pq_tag_add_steps(p, &m, 2 + o * PQ_TAG_FLAVOURS);
    }
    pq_text_add(&p->body, "unset multiplot\n");
    pq_text_add(
        &p->caption,
        "Probabilities of b, c and light by the flavour of the jets, in 40 bins.");
cleanup:
    pq_taggers_free(&m);
    return st;
}

/* "btag.77.rejection_<background>_ratio" of the first of these working points that any
 * row has. */
static size_t find_ratio(const pq_view *v, const char *background, const char **point)
{
    static const char *const points[] = {"77", "70", "85", "65", "60", "90"};
    char                     name[64];

    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        (void)pq_snprintf(name, sizeof name, "btag.%s.rejection_%s_ratio", points[i],
                          background);
        if (pq_view_column_of(v, name) != PQ_VIEW_NONE) {
            *point = points[i];
            return pq_view_column_of(v, name);
        }
    }
    return PQ_VIEW_NONE;
}

/* A model in both panels. */
typedef struct {
    size_t row;
    double x, y[2];
} point_of;

/* A block for each model that has a ratio: bytes, then light and c with their ends.
 * Returns how many there are; the first NAMED are drawn, and in `points`. */
static size_t add_ratios(const pq_view *v, size_t bytes, const size_t columns[2],
                         point_of points[NAMED], double range[2], pq_text *out)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const double    x     = pq_view_number(v, r, bytes).value;
        const pq_number light = pq_view_number(v, r, columns[0]);
        if (!(x > 0.0) || !isfinite(light.value) || n++ >= NAMED) {
            continue;
        }
        points[n - 1] = (point_of){.row = r, .x = x};
        pq_text_add(out, "%s%.10g", n > 1 ? "\n\n" : "", x);
        for (size_t c = 0; c < 2; c++) {
            const pq_number y  = pq_view_number(v, r, columns[c]);
            points[n - 1].y[c] = y.value;
            pq_text_add(out, isfinite(y.value) ? " %.7g %.7g %.7g" : " NaN NaN NaN",
                        y.value, isfinite(y.lo) ? y.lo : y.value,
                        isfinite(y.hi) ? y.hi : y.value);
        }
        pq_text_add(out, "\n");
        range[0] = fmin(range[0], x);
        range[1] = fmax(range[1], x);
    }
    return n;
}

/* Size of a mark: of those that lie on each other the first is the largest, so that all
 * are seen. */
static double size_of(const point_of *points, size_t n, size_t k, size_t panel,
                      const double range[2])
{
    const double wide = log(range[1] / range[0]);
    double       most = 0.0, size = 1.0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, points[i].y[panel]); /* a NaN is no point */
    }
    for (size_t i = k + 1; i < n; i++) {
        if (fabs(log(points[i].x / points[k].x)) <= 0.015 * wide &&
            fabs(points[i].y[panel] - points[k].y[panel]) <= 0.03 * most) {
            size += 0.8;
        }
    }
    return size;
}

pq_status pq_plot_btag_degradation(pq_plot *p, pq_err *err)
{
    const size_t bytes      = pq_view_column_of(p->v, "stored_bytes");
    const char  *point      = "";
    const size_t columns[2] = {find_ratio(p->v, "light", &point),
                               find_ratio(p->v, "c", &point)};
    point_of     points[NAMED];
    size_t       n, all;
    double       range[2] = {(double)INFINITY, 0.0};
    const char  *names[NAMED];
    char       **labels = NULL;
    pq_status    st     = PQ_OK;

    if (bytes == PQ_VIEW_NONE || columns[0] == PQ_VIEW_NONE ||
        columns[1] == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    all = add_ratios(p->v, bytes, columns, points, range, &p->data);
    n   = all < NAMED ? all : NAMED;
    if (n == 0) {
        pq_text_free(&p->data);
        return PQ_OK;
    }
    for (size_t k = 0; k < n; k++) {
        names[k] = p->v->rows[points[k].row].label;
    }
    PQ_TRY(pq_labels_make(names, n, PQ_LABEL_LONGEST, &labels, err));
    pq_tag_begin(&p->body, 0.37, n, labels, n);
    pq_text_add(&p->body, "unset xlabel\nset offsets 0, 0, graph 0.08, 0\n");
    for (size_t panel = 0; panel < 2; panel++) {
        const bool last = panel == 1;
        pq_plot_log_axis(&p->body, 'x', range[0], range[1], last);
        pq_tag_panel(&p->body, last ? 0.13 : 0.55, last ? 0.50 : 0.92, last);
        pq_text_add(&p->body,
                    "%sset ylabel '%s / reference'\nset yrange [0:*]\nplot 1 with "
                    "lines linecolor rgb '#909090' linewidth 0.8 notitle",
                    last ? "unset label\nset key off\nset xlabel 'stored size / B'\n"
                         : "",
                    last ? "c" : "light");
        for (size_t k = 0; k < n; k++) {
            const size_t c = 2 + 3 * panel, color = p->v->rows[points[k].row].color;
            pq_text_add(&p->body,
                        ", \\\n  '%s' index %zu using 1:%zu:%zu:%zu with yerrorbars "
                        "pointtype %zu pointsize %.1f linewidth 1.3 linecolor rgb '%s' "
                        "title ",
                        p->data_name, k, c, c + 1, c + 2, 4 + k % 10,
                        size_of(points, n, k, panel, range),
                        color == PQ_VIEW_NONE ? "#777777" : pq_plot_color(color));
            pq_plot_quote(&p->body, labels[k]);
        }
        pq_text_add(&p->body, "\n");
    }
    pq_text_add(&p->body, "unset multiplot\n");
    pq_text_add(&p->caption,
                "Rejection of light and of c jets at %s %% b efficiency over the "
                "reference's on the same jets, against stored bytes; paired 68.3 %% "
                "intervals.",
                point);
    if (all > n) {
        pq_text_add(&p->caption, " The first %zu of %zu models; btag.csv has them all.",
                    n, all);
    }
cleanup:
    pq_labels_free(&labels, n);
    return st;
}
