#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/name.h"
#include "io/hdf5.h"
#include "report/plot.h"
#include "store/json.h"

enum { CLASSES_MAX = 10, AUC_COLUMNS = 14, ARRAY_BYTES_MAX = 1 << 28 };

/* Lowest background efficiency drawn. */
static const double floor_y = 1e-3;

/* Points nearer to the last one drawn than a thousandth of the frame are left out. */
static bool far_enough(double dx, double y, double last_y)
{
    return fabs(dx) > 1e-3 || !(last_y > 0.0) || fabs(log10(y / last_y)) > 3e-3;
}

static void add_curve(const double *signal, const double *background, size_t n,
                      pq_text *out)
{
    double last_x = -1.0, last_y = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double x = signal[i], y = background[i];
        if (!isfinite(x) || !(y > floor_y / 10.0) || !isfinite(y)) {
            continue;
        }
        if (far_enough(x - last_x, y, last_y) || i + 1 == n) {
            pq_text_add(out, "%.6g %.6g\n", x, y);
            last_x = x;
            last_y = y;
        }
    }
}

/* One class of one model, if its file has it. */
static pq_status add_class(pq_h5 *file, const char *class_name, size_t *blocks,
                           pq_plot *p, pq_err *err)
{
    char      *paths[2]  = {pq_name_curve(class_name, "signal_efficiency"),
                            pq_name_curve(class_name, "background_efficiency")};
    pq_tensor *curves[2] = {NULL, NULL};
    pq_status  st;

    for (size_t i = 0; i < 2; i++) {
        PQ_CHECK(paths[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        if (!pq_h5_has(file, paths[i])) {
            goto cleanup;
        }
        PQ_TRY(
            pq_h5_read(file, paths[i], PQ_DTYPE_F64, ARRAY_BYTES_MAX, &curves[i], err));
    }
    PQ_CHECK(curves[0]->count == curves[1]->count, PQ_ERR_FORMAT,
             "%s: %s has %zu points, but %s has %zu", pq_h5_path(file), paths[0],
             curves[0]->count, paths[1], curves[1]->count);
    pq_text_add(&p->data, "%s# curve %zu: signal efficiency, background efficiency\n",
                *blocks > 0 ? "\n\n" : "", *blocks);
    add_curve(pq_f64(curves[0]), pq_f64(curves[1]), curves[0]->count, &p->data);
    ++*blocks;
cleanup:
    for (size_t i = 0; i < 2; i++) {
        pq_free(paths[i]);
        pq_tensor_free(&curves[i]);
    }
    return st;
}

static pq_status add_class_line(pq_plot *p, size_t row, size_t block, size_t c, int dash,
                                const char *label, const char *class_name, pq_err *err)
{
    const pq_view *v      = p->v;
    char          *metric = pq_name_metric("auc", class_name);
    pq_number      auc    = {(double)NAN, (double)NAN, (double)NAN};
    pq_text        title  = {0};
    pq_status      st;

    pq_text_add(&p->body,
                "%s'%s' index %zu using 1:2 with %s dashtype %d linewidth %s "
                "linecolor rgb '%s' ",
                block > 0 ? ", \\\n  " : "plot ", p->data_name, block,
                dash == 1 ? "linespoints pointnumber 9" : "lines", dash,
                dash == 1 ? "1.6" : "1.4", pq_plot_color(c));
    if (dash == 1) { /* tells classes apart without colours */
        pq_text_add(&p->body, "pointtype %zu pointsize 0.9 ", 4 + c % 10);
    }
    if (metric != NULL) {
        auc = pq_view_number(v, row, pq_view_column_of(v, metric));
    }
    pq_text_add(&title, "%s", label);
    if (isfinite(auc.value)) {
        pq_text_add(&title, ", AUC = %.4f", auc.value);
    }
    if (dash == 1) {
        pq_text_add(&p->body, "title ");
        pq_plot_quote(&p->body, title.text != NULL ? title.text : "");
    } else {
        pq_text_add(&p->body, "notitle");
    }
    p->body.failed = p->body.failed || title.failed || metric == NULL;
    if (dash > 1) { /* not in the key, but where it is pointed at */
        pq_text_add(&title, ", %s", v->rows[row].label);
    }
    st = pq_chart_add(&p->chart, title.text != NULL ? title.text : "", c, dash,
                      pq_json_get_text(v->rows[row].cell, "eval"), err);
    pq_free(metric);
    pq_text_free(&title);
    return st;
}

/* Names of the classes that are drawn, and their labels in the key, distinct. */
typedef struct {
    size_t      n;
    const char *names[CLASSES_MAX];
    char      **labels;
} class_list;

static pq_status list_classes(const json_t *record, class_list *out, pq_err *err)
{
    const json_t *classes = json_object_get(record, "class_names");
    pq_status     st;

    for (size_t c = 0; c < json_array_size(classes) && c < CLASSES_MAX; c++) {
        const char *name = json_string_value(json_array_get(classes, c));
        out->names[c]    = name != NULL ? name : "";
        out->n           = c + 1;
    }
    PQ_TRY(pq_labels_make(out->names, out->n, PQ_LABEL_LONGEST - AUC_COLUMNS,
                          &out->labels, err));
cleanup:
    return st;
}

/* All classes of one model. A file that is not there is a model without curves. */
static pq_status add_model(pq_plot *p, size_t row, int dash, size_t *blocks, pq_err *err)
{
    const json_t *record  = json_object_get(p->v->rows[row].cell, "record");
    const char   *name    = pq_json_get_text(record, "arrays_file");
    char         *path    = pq_path_join(p->dir, name);
    pq_h5        *file    = NULL;
    class_list    classes = {0};
    pq_status     st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (*name == '\0' || !pq_path_is_inside(p->dir, name) || !pq_file_exists(path)) {
        goto cleanup;
    }
    PQ_TRY(list_classes(record, &classes, err));
    PQ_TRY(pq_h5_open(path, &file, err));
    for (size_t c = 0; c < classes.n; c++) {
        const size_t block = *blocks;
        PQ_TRY(add_class(file, classes.names[c], blocks, p, err));
        if (*blocks > block) {
            PQ_TRY(add_class_line(p, row, block, c, dash, classes.labels[c],
                                  classes.names[c], err));
        }
    }
cleanup:
    pq_labels_free(&classes.labels, classes.n);
    pq_h5_close(&file);
    pq_free(path);
    return st;
}

/* Which line style is which model. */
static void add_model_key(pq_plot *p, const char *label, int dash)
{
    pq_text_add(&p->body,
                ", \\\n  keyentry with lines dashtype %d linewidth 1.4 linecolor rgb "
                "'#000000' title ",
                dash);
    pq_plot_quote(&p->body, label);
}

static pq_status add_model_keys(pq_plot *p, const size_t rows[3], const bool drawn[3],
                                pq_err *err)
{
    const char *names[3];
    char      **labels = NULL;
    pq_status   st;

    for (size_t i = 0; i < 3; i++) {
        names[i] = drawn[i] ? p->v->rows[rows[i]].label : "";
    }
    PQ_TRY(pq_labels_make(names, 3, PQ_LABEL_LONGEST, &labels, err));
    for (size_t i = 0; i < 3; i++) {
        if (drawn[i]) {
            add_model_key(p, labels[i], (int)i + 1);
        }
    }
cleanup:
    pq_labels_free(&labels, 3);
    return st;
}

pq_status pq_plot_roc(pq_plot *p, pq_err *err)
{
    const size_t rows[]  = {p->v->reference, p->v->best, p->v->strong};
    bool         drawn[] = {false, false, false};
    size_t       blocks  = 0, all;
    pq_status    st      = PQ_OK;

    pq_text_add(&p->body,
                "set xlabel 'signal efficiency'\nset ylabel 'background efficiency'\n"
                "set logscale y\nset format y '10^{%%T}'\nset xrange [0:1]\n"
                "set yrange [%g:1]\nset ytics add ('1' 1)\n",
                floor_y);
    for (size_t i = 0; i < 3; i++) {
        const size_t before = blocks;
        if (rows[i] != PQ_VIEW_NONE) {
            PQ_TRY(add_model(p, rows[i], (int)i + 1, &blocks, err));
        }
        drawn[i] = blocks > before;
    }
    if (blocks == 0) {
        pq_text_free(&p->body);
        goto cleanup;
    }
    p->chart.x_title = "signal efficiency";
    p->chart.y_title = "background efficiency";
    p->chart.log_y   = true;
    PQ_TRY(add_model_keys(p, rows, drawn, err));
    pq_text_add(&p->body, "\n");
    pq_text_add(&p->caption, "ROC of each class against all others. Solid: %s.",
                drawn[0] ? "the reference" : "no reference");
    for (size_t i = 1; i < 3; i++) {
        if (drawn[i]) {
            pq_text_add(&p->caption, " %s: %s.", i == 1 ? "Dashed" : "Dotted",
                        p->v->rows[rows[i]].label);
        }
    }
    all = json_array_size(json_object_get(json_object_get(p->v->rows[rows[drawn[0]   ? 0
                                                                          : drawn[1] ? 1
                                                                                     : 2]]
                                                              .cell,
                                                          "record"),
                                          "class_names"));
    if (all > CLASSES_MAX) {
        pq_text_add(&p->caption, " The first %d of %zu classes.", CLASSES_MAX, all);
    }
cleanup:
    return st;
}
