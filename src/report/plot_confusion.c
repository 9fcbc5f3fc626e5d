#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "report/plot.h"
#include "report/plots.h"

enum {
    CLASSES_WITH_NUMBERS = 12,
    CLASSES_WITH_LARGE   = 6,
    NAME_LONGEST         = 16,
    TITLE_WIDE           = 28
};

/* A fraction in a narrow cell: 1, .95, or nothing where it rounds to 0. */
static const char short_number[] = "$3 < 0.005 ? '' : $3 >= 0.995 ? '1' : "
                                   "substr(sprintf('%.2f', $3), 2, 4)";

static const json_t *record_of(const pq_view *v, size_t row)
{
    return row < v->n_rows ? json_object_get(v->rows[row].cell, "record") : NULL;
}

static size_t classes_of(const json_t *record)
{
    const json_t *counts = json_object_get(record, "confusion");
    const size_t  n      = json_array_size(counts);

    for (size_t i = 0; i < n; i++) {
        if (json_array_size(json_array_get(counts, i)) != n) {
            return 0;
        }
    }
    return n <= PQ_CONFUSION_CLASSES_MAX ? n : 0;
}

/* Rows as fractions of their sum: predicted, true, fraction. */
static void add_matrix(const json_t *record, size_t n, pq_text *out)
{
    const json_t *counts = json_object_get(record, "confusion");

    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(counts, i);
        double        sum = 0.0;
        for (size_t j = 0; j < n; j++) {
            sum += json_number_value(json_array_get(row, j));
        }
        for (size_t j = 0; j < n; j++) {
            const double x = json_number_value(json_array_get(row, j));
            pq_text_add(out, "%zu %zu %.6g\n", j, i, sum > 0.0 ? x / sum : 0.0);
        }
    }
}

static void add_ticks(pq_text *out, char axis, char *const *names, size_t n, bool rotate)
{
    pq_text_add(out, "set %ctics noenhanced font small %s scale 0 (", axis,
                rotate ? "rotate by 45 right" : "");
    for (size_t i = 0; i < n; i++) {
        pq_text_add(out, "%s", i == 0 ? "" : ", ");
        pq_plot_quote_tick(out, names[i]);
        pq_text_add(out, " %zu", i);
    }
    pq_text_add(out, ")\n");
}

/* Names of classes as ticks, distinct. */
static pq_status label_classes(const json_t *names, size_t n, char ***out, pq_err *err)
{
    const char **texts = NULL;
    pq_status    st;

    PQ_NEW(texts, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        texts[i]         = name != NULL ? name : "";
    }
    PQ_TRY(pq_labels_make(texts, n, NAME_LONGEST, out, err));
cleanup:
    pq_free(texts);
    return st;
}

/* Room for the names, on the left of both panels and below them. */
static void add_layout(pq_plot *p, size_t panels, char *const *names, size_t n)
{
    const size_t widest = pq_label_widest(names, n);
    const bool   rotate = widest > 3 || n > CLASSES_WITH_NUMBERS;
    const double left   = 0.01 * (double)widest;

    add_ticks(&p->body, 'x', names, n, rotate);
    add_ticks(&p->body, 'y', names, n, false);
    pq_text_add(&p->body,
                "set xlabel 'predicted class'\nset ylabel 'true class'\n"
                "set label 1 at screen 0.08, screen 0.92\n"
                "set label 2 at screen 0.08, screen 0.92\n"
                "set label 3 at screen 0.97, screen 0.92\n"
                "set multiplot layout 1,%zu margins %.3f,0.97,%.3f,0.85 spacing %.3f\n",
                panels, 0.07 + left, rotate ? 0.13 + left : 0.13, 0.09 + left);
}

static void add_panel(pq_plot *p, const char *label, const char *font, size_t n,
                      size_t block)
{
    pq_text_add(&p->body, "set title noenhanced %s ", font);
    pq_plot_quote_cut(&p->body, label, PQ_LABEL_LONGEST);
    pq_text_add(
        &p->body,
        " offset 0,-0.4\nplot '%s' index %zu using 1:2:3 with image pixels notitle",
        p->data_name, block);
    if (n <= CLASSES_WITH_NUMBERS) {
        pq_text_add(&p->body,
                    ", '' index %zu using 1:2:(%s):($3 > 0.55 ? 0xffffff : "
                    "0x202020) with labels textcolor rgb variable font %s notitle",
                    block, n <= CLASSES_WITH_LARGE ? "sprintf('%.2f', $3)" : short_number,
                    n <= CLASSES_WITH_LARGE ? "small" : "tiny");
    }
    pq_text_add(&p->body, "\n%s",
                block == 0 ? "unset label 1\nunset label 2\nunset label 3\n" : "");
}

/* The matrices as data; returns how many panels, and their classes. */
static size_t add_matrices(pq_plot *p, const size_t rows[2], size_t *n,
                           const json_t **names)
{
    size_t panels = 0;

    *n = 0;
    for (size_t i = 0; i < 2; i++) {
        const json_t *record = record_of(p->v, rows[i]);
        const size_t  mine   = classes_of(record);
        if (mine > 0 && (*n == 0 || mine == *n)) {
            pq_text_add(&p->data,
                        "%s# model %zu: predicted, true, fraction of the true class\n",
                        panels > 0 ? "\n\n" : "", rows[i]);
            add_matrix(record, mine, &p->data);
            *names = json_object_get(record, "class_names");
            *n     = mine;
            panels++;
        }
    }
    return panels;
}

pq_status pq_plot_confusion(pq_plot *p, pq_err *err)
{
    const size_t  rows[2] = {p->v->reference, p->v->best};
    const json_t *names   = NULL;
    char        **labels  = NULL;
    bool          is_wide = false;
    size_t        n, panels = add_matrices(p, rows, &n, &names);
    pq_status     st = PQ_OK;

    if (panels == 0) {
        return PQ_OK;
    }
    PQ_TRY(label_classes(names, n, &labels, err));
    pq_text_add(&p->body,
                "unset key\nunset grid\nset size ratio 1\nset tics nomirror\n"
                "set palette defined (0 '#f7fbff', 0.25 '#c6dbef', 0.5 '#6baed6', 0.75 "
                "'#2171b5', 1 '#08306b')\nset cbrange [0:1]\nunset colorbox\n"
                "set xrange [-0.5:%zu.5]\nset yrange [%zu.5:-0.5]\n",
                n - 1, n - 1);
    add_layout(p, panels, labels, n);
    for (size_t i = 0; i < 2 && rows[i] != PQ_VIEW_NONE; i++) {
        is_wide = is_wide || pq_label_width(p->v->rows[rows[i]].label) > TITLE_WIDE;
    }
    for (size_t i = 0, block = 0; i < 2 && block < panels; i++) {
        if (classes_of(record_of(p->v, rows[i])) == n) {
            add_panel(p, p->v->rows[rows[i]].label, is_wide ? "font small" : "", n,
                      block++);
        }
    }
    pq_text_add(&p->body, "unset multiplot\n");
    pq_text_add(&p->caption,
                "Confusion matrices: the fraction of each true class (rows sum "
                "to 1) that is taken for each class.%s",
                n > CLASSES_WITH_LARGE && n <= CLASSES_WITH_NUMBERS
                    ? " .95 is 0.95; what rounds to 0.00 is left out."
                    : "");
cleanup:
    pq_labels_free(&labels, n);
    return st;
}
