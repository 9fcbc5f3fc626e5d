/*
 * Arrays by their names: .npy of a folder, .npz, or an HDF5 of any layout. Events are
 * [n, …], labels an index each, one 1 among 0s, or texts.
 */
#include "data/arrays.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/one_hot.h"
#include "data/text_labels.h"

enum { BLOCK = 65536, MAX_CLASSES = 100000 };

typedef struct {
    pq_arrays      all;
    pq_array_names names[PQ_SOURCE_SPLITS];
    size_t         n_names;
    pq_array       x[PQ_SOURCE_SPLITS], y[PQ_SOURCE_SPLITS], weight[PQ_SOURCE_SPLITS];
    size_t         one_hot; /* columns of y, or 0 */
    bool           texts;   /* y holds texts, which are in `labels` */
    pq_text_labels labels;
} arrays;

static bool recognises(const char *path)
{
    return pq_arrays_look(path);
}

/* One value an event. */
static pq_status check_rows(const pq_source *s, const pq_array *array, size_t n,
                            pq_err *err)
{
    size_t    items = 0;
    char      text[128];
    pq_status st;

    PQ_CHECK(pq_shape_count(&array->shape, &items) && items == n, PQ_ERR_SHAPE,
             "%s: '%s' has %zu values, but there are %zu events", s->path, array->name,
             items, n);
    PQ_CHECK(array->shape.ndim > 0 && array->shape.dim[0] == n, PQ_ERR_SHAPE,
             "%s: '%s' is %s, where one value for each of %zu events is due: [%zu]",
             s->path, array->name, pq_shape_text(&array->shape, text, sizeof text), n, n);
cleanup:
    return st;
}

static pq_status open_x(pq_source *s, size_t k, pq_err *err)
{
    arrays         *a     = s->state;
    const pq_array *x     = &a->x[k];
    pq_shape        event = {0};
    pq_status       st;

    PQ_TRY(pq_arrays_get(&a->all, a->names[k].x, &a->x[k], err));
    PQ_CHECK(!x->texts, PQ_ERR_FORMAT, "%s: '%s' holds texts, no numbers", s->path,
             x->name);
    PQ_CHECK(x->shape.ndim >= 2, PQ_ERR_SHAPE,
             "%s: '%s' has %zu dimensions; events and features need at least 2", s->path,
             x->name, x->shape.ndim);
    event.ndim = x->shape.ndim - 1;
    memcpy(event.dim, x->shape.dim + 1, event.ndim * sizeof *event.dim);
    PQ_CHECK(k == 0 || pq_shape_equal(&event, &s->sample), PQ_ERR_SHAPE,
             "%s: the events of '%s' have another shape than those of '%s'", s->path,
             x->name, a->x[0].name);
    s->sample = event;
    PQ_TRY(pq_source_add_split(s, a->names[k].split, x->shape.dim[0], err));
cleanup:
    return st;
}

static pq_status open_y(pq_source *s, size_t k, pq_err *err)
{
    arrays         *a     = s->state;
    const pq_array *y     = &a->y[k];
    char          **texts = NULL;
    size_t          n     = 0, columns;
    pq_status       st;

    PQ_TRY(pq_arrays_get(&a->all, a->names[k].y, &a->y[k], err));
    columns =
        !y->texts && y->shape.ndim == 2 && y->shape.dim[1] > 1 ? y->shape.dim[1] : 0;
    PQ_CHECK(k == 0 || (y->texts == a->texts && columns == a->one_hot), PQ_ERR_SHAPE,
             "%s: the labels '%s' are written otherwise than '%s'", s->path, y->name,
             a->y[0].name);
    a->texts   = y->texts;
    a->one_hot = columns;
    if (columns > 0) {
        PQ_CHECK(y->shape.dim[0] == s->splits[k].n, PQ_ERR_SHAPE,
                 "%s: '%s' has %zu rows, but there are %zu events", s->path, y->name,
                 y->shape.dim[0], s->splits[k].n);
    } else {
        PQ_TRY(check_rows(s, y, s->splits[k].n, err));
    }
    if (y->texts) {
        PQ_TRY(pq_array_texts(&a->all, y, &texts, &n, err));
        PQ_TRY(pq_text_labels_take(&a->labels, &texts, n, y->name, s->path,
                                   s->splits[k].n, err));
    }
cleanup:
    pq_h5_free_texts(&texts, n);
    return st;
}

static pq_status open_weight(pq_source *s, size_t k, pq_err *err)
{
    arrays   *a  = s->state;
    pq_status st = PQ_OK;

    if (a->names[k].weight != NULL) {
        PQ_TRY(pq_arrays_get(&a->all, a->names[k].weight, &a->weight[k], err));
        PQ_CHECK(!a->weight[k].texts, PQ_ERR_FORMAT, "%s: '%s' holds texts, no numbers",
                 s->path, a->weight[k].name);
        PQ_TRY(check_rows(s, &a->weight[k], s->splits[k].n, err));
    }
cleanup:
    return st;
}

/* A list of texts by one of two names, or none. */
static pq_status read_names(pq_source *s, const char *const words[2], char ***out,
                            size_t *n, pq_err *err)
{
    arrays   *a     = s->state;
    pq_array  array = {0};
    pq_status st    = PQ_OK;

    for (size_t i = 0; i < 2 && *out == NULL; i++) {
        if (pq_arrays_find(&a->all, words[i]) == SIZE_MAX) {
            continue;
        }
        pq_array_free(&array);
        PQ_TRY(pq_arrays_get(&a->all, words[i], &array, err));
        if (array.texts && array.shape.ndim == 1) {
            PQ_TRY(pq_array_texts(&a->all, &array, out, n, err));
        }
    }
cleanup:
    pq_array_free(&array);
    return st;
}

/* Labels as the file has them. */
static pq_status read_y(pq_source *s, size_t split, pq_rows rows, double *out,
                        pq_err *err)
{
    arrays   *a      = s->state;
    double   *values = NULL;
    pq_status st     = PQ_OK;

    for (size_t i = 0; a->texts && i < rows.n; i++) {
        out[i] = (double)a->labels.class[split][rows.first + i];
    }
    if (a->texts) {
        return PQ_OK;
    }
    if (a->one_hot == 0) {
        return pq_array_numbers(&a->all, &a->y[split], rows, PQ_DTYPE_F64, out, err);
    }
    PQ_NEW(values, rows.n * a->one_hot);
    PQ_TRY(pq_array_numbers(&a->all, &a->y[split], rows, PQ_DTYPE_F64, values, err));
    PQ_TRY(
        pq_one_hot_fold(values, rows, a->one_hot, a->y[split].name, s->path, out, err));
cleanup:
    pq_free(values);
    return st;
}

/* Classes of a file that names none: as many as the largest label says. */
static pq_status count_classes(pq_source *s, pq_err *err)
{
    arrays   *a    = s->state;
    double    most = (double)a->one_hot - 1.0;
    double   *y    = NULL;
    pq_status st;

    PQ_NEW(y, BLOCK);
    for (size_t k = 0; k < s->n_splits && a->one_hot == 0; k++) {
        for (size_t first = 0; first < s->splits[k].n; first += BLOCK) {
            const size_t left = s->splits[k].n - first, n = left < BLOCK ? left : BLOCK;
            PQ_TRY(read_y(s, k, (pq_rows){first, n}, y, err));
            for (size_t i = 0; i < n; i++) {
                const bool fine =
                    y[i] >= 0.0 && y[i] < MAX_CLASSES && y[i] == floor(y[i]);
                if (!fine) {
                    st = pq_err_set(
                        err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                        "%s: event %zu: its label %g in '%s' is no whole number in 0..%d",
                        s->path, first + i, y[i], a->y[k].name, MAX_CLASSES - 1);
                    pq_err_hint(err, "name the classes and their values: --labels "
                                     "signal=1,background=-1, or `labels:` in a "
                                     "configuration");
                    goto cleanup;
                }
                most = y[i] > most ? y[i] : most;
            }
        }
    }
    PQ_TRY(pq_source_number_classes(s, (size_t)most + 1, err));
cleanup:
    pq_free(y);
    return st;
}

static pq_status name_classes(pq_source *s, const pq_dataset_options *options,
                              pq_err *err)
{
    static const char *const words[2] = {"class_names", "classes"};
    arrays                  *a        = s->state;
    pq_status                st;

    PQ_TRY(read_names(s, words, &s->class_names, &s->n_classes, err));
    if (a->texts) {
        PQ_TRY(pq_text_labels_number(&a->labels, s->path, &s->class_names, &s->n_classes,
                                     err));
    }
    PQ_CHECK(s->class_names == NULL || a->one_hot == 0 || s->n_classes == a->one_hot,
             PQ_ERR_SHAPE, "%s: there are %zu class names, but '%s' has %zu columns",
             s->path, s->n_classes, a->y[0].name, a->one_hot);
    if (s->class_names == NULL && s->unlabelled == NULL &&
        (options->labels == NULL || a->one_hot > 0)) {
        PQ_TRY(count_classes(s, err));
    }
cleanup:
    return st;
}

static pq_status name_features(pq_source *s, pq_err *err)
{
    static const char *const words[2] = {"feature_names", "features"};
    size_t                   n        = 0;
    char                   **names    = NULL;
    pq_status                st;

    s->n_features = s->sample.dim[s->sample.ndim - 1];
    PQ_TRY(read_names(s, words, &names, &n, err));
    PQ_CHECK(names == NULL || n == s->n_features, PQ_ERR_SHAPE,
             "%s: there are %zu feature names, but %zu features", s->path, n,
             s->n_features);
    s->feature_names = names;
    names            = NULL;
cleanup:
    pq_h5_free_texts(&names, n);
    return st;
}

/* Files that events come from. */
static pq_status note_files(pq_source *s, pq_err *err)
{
    static const char *const words[] = {"class_names", "classes", "feature_names",
                                        "features"};
    const arrays            *a       = s->state;
    char                    *path    = NULL;
    pq_status                st      = PQ_OK;

    for (size_t k = 0; a->all.folder != NULL && k < a->n_names; k++) {
        const char *const names[] = {a->names[k].x, a->names[k].y, a->names[k].weight};
        for (size_t i = 0; i < 3; i++) {
            if (names[i] == NULL) {
                continue;
            }
            pq_free(path);
            path = pq_array_file(&a->all, names[i]);
            PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
            PQ_TRY(pq_source_note(s, path, err));
        }
    }
    for (size_t i = 0; a->all.folder != NULL && i < sizeof words / sizeof *words; i++) {
        if (pq_arrays_find(&a->all, words[i]) != SIZE_MAX) {
            pq_free(path);
            path = pq_array_file(&a->all, words[i]);
            PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
            PQ_TRY(pq_source_note(s, path, err));
        }
    }
cleanup:
    pq_free(path);
    return st;
}

/* The name of the array that the path itself is, or NULL; caller frees. */
static char *own_name(const pq_source *s, const pq_arrays *all)
{
    const char *base = pq_path_base(s->path);
    const char *dot  = strrchr(base, '.');

    return all->folder == NULL || pq_folder_exists(s->path)
               ? NULL
               : pq_format("%.*s", (int)(dot != NULL ? dot - base : (long)strlen(base)),
                           base);
}

/* Where a split has no labels, none of the others' are read. */
static pq_status note_unlabelled(pq_source *s, pq_err *err)
{
    const arrays *a  = s->state;
    pq_status     st = PQ_OK;

    for (size_t k = 0; k < a->n_names && s->unlabelled == NULL; k++) {
        if (a->names[k].y == NULL) {
            PQ_STRDUP(s->unlabelled, a->names[k].x);
        }
    }
cleanup:
    return st;
}

static pq_status open_arrays(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    arrays   *a   = NULL;
    char     *own = NULL;
    pq_status st;

    PQ_NEW(a, 1);
    s->state = a;
    PQ_TRY(pq_arrays_open(s->path, &a->all, err));
    own = own_name(s, &a->all);
    PQ_TRY(pq_array_names_find(&a->all, options, own, a->names, &a->n_names, err));
    PQ_TRY(note_unlabelled(s, err));
    for (size_t k = 0; k < a->n_names; k++) {
        PQ_TRY(open_x(s, k, err));
        PQ_TRY(s->unlabelled == NULL ? open_y(s, k, err) : PQ_OK);
        PQ_TRY(open_weight(s, k, err));
    }
    PQ_TRY(name_features(s, err));
    PQ_TRY(name_classes(s, options, err));
    PQ_TRY(note_files(s, err));
cleanup:
    pq_free(own);
    return st;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    arrays       *a        = s->state;
    const pq_rows rows     = {first, n};
    const bool    weighted = a->weight[split].name != NULL;
    pq_status     st       = PQ_OK;

    if (out->x != NULL) {
        PQ_TRY(pq_array_numbers(&a->all, &a->x[split], rows, PQ_DTYPE_F32, out->x, err));
    }
    if (out->y != NULL) {
        PQ_TRY(read_y(s, split, rows, out->y, err));
    }
    if (out->weight != NULL && weighted) {
        PQ_TRY(pq_array_numbers(&a->all, &a->weight[split], rows, PQ_DTYPE_F32,
                                out->weight, err));
    }
    for (size_t i = 0; out->weight != NULL && !weighted && i < n; i++) {
        out->weight[i] = 1.0F;
    }
cleanup:
    return st;
}

static void close_arrays(pq_source *s)
{
    arrays *a = s->state;

    if (a == NULL) {
        return;
    }
    for (size_t k = 0; k < PQ_SOURCE_SPLITS; k++) {
        pq_array_free(&a->x[k]);
        pq_array_free(&a->y[k]);
        pq_array_free(&a->weight[k]);
    }
    pq_text_labels_free(&a->labels);
    pq_array_names_free(a->names, a->n_names);
    pq_arrays_close(&a->all);
    pq_free(a);
}

const pq_layout pq_layout_arrays = {
    .name = "arrays",
    .summary =
        "arrays by their names, x, y, weight or as --x, --y, --weight say: .npy of "
        "a folder, .npz, HDF5 of any layout",
    .recognises  = recognises,
    .open        = open_arrays,
    .read        = read_events,
    .close       = close_arrays,
    .takes_names = true,
};
