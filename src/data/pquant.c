/*
 * Our own layout (docs/file-formats.md): HDF5 with /<split>/x, y, weight and
 * aux/<name>, or x and y at the root as one unnamed split. What is known about
 * the data stands in attributes of the root, of the split's group, or of x and y.
 */
#include <string.h>

#include "core/memory.h"
#include "data/layout.h"
#include "data/one_hot.h"
#include "data/text_labels.h"
#include "io/hdf5.h"

typedef enum { LAYOUT_FEATURES, LAYOUT_NHWC, LAYOUT_NCHW } order;

typedef struct {
    pq_h5         *file;
    order          order;
    pq_shape       stored; /* of one event in the file */
    bool           weighted[PQ_SOURCE_SPLITS];
    size_t         one_hot;    /* columns of y, or 0: it holds indices */
    bool           texts;      /* y holds texts, which are in `labels` */
    bool           unlabelled; /* as in pq_dataset_options */
    pq_text_labels labels;
} own;

static pq_status join(const pq_source *s, size_t split, const char *name, char **out,
                      pq_err *err)
{
    const char *folder = s->splits[split].name;
    pq_status   st;

    *out = pq_format("%s%s%s", folder, folder[0] != '\0' ? "/" : "", name);
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    return st;
}

static bool recognises(const char *path)
{
    static const char *const names[] = {"x", "train/x", "test/x", "val/x",
                                        "validation/x"};
    pq_h5                   *file    = NULL;
    char                    *format  = NULL;
    bool                     yes     = false;

    if (!pq_h5_is_file(path) || pq_h5_open(path, &file, NULL) != PQ_OK) {
        return false;
    }
    if (pq_h5_attr_text(file, "/", "format", &format, NULL) == PQ_OK) {
        yes = strcmp(format, "pquant-dataset") == 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && format == NULL; i++) {
        yes = yes || pq_h5_has(file, names[i]);
    }
    pq_free(format);
    pq_h5_close(&file);
    return yes;
}

/* Where an attribute stands: the root, the first split's group, its x or its y; NULL =
 * nowhere. */
static const char *find_attr(own *o, char *const places[4], const char *name)
{
    for (size_t i = 0; i < 4; i++) {
        if (places[i] != NULL && pq_h5_has_attr(o->file, places[i], name)) {
            return places[i];
        }
    }
    return NULL;
}

/* Names of the features or classes, or none. */
static pq_status read_names(own *o, char *const places[4], const char *name, char ***out,
                            size_t *n, pq_err *err)
{
    const char *place = find_attr(o, places, name);

    *n = 0;
    return place == NULL ? PQ_OK : pq_h5_attr_texts(o->file, place, name, out, n, err);
}

static pq_status read_scaler(pq_source *s, char *const places[4], const char *name,
                             float **out, pq_err *err)
{
    own        *o      = s->state;
    const char *place  = find_attr(o, places, name);
    double     *values = NULL;
    size_t      n      = 0;
    pq_status   st     = PQ_OK;

    if (place == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_h5_attr_numbers(o->file, place, name, &values, &n, err));
    PQ_CHECK(n == s->n_features, PQ_ERR_SHAPE,
             "%s: %s has %zu values, but there are %zu features", s->path, name, n,
             s->n_features);
    PQ_NEW(*out, n);
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = (float)values[i];
    }
cleanup:
    pq_free(values);
    return st;
}

/* An attribute that is 0 or 1; unchanged where there is none. */
static pq_status read_flag(pq_source *s, char *const places[4], const char *name,
                           bool *out, pq_err *err)
{
    own        *o     = s->state;
    const char *place = find_attr(o, places, name);
    double     *value = NULL;
    size_t      n     = 0;
    pq_status   st    = PQ_OK;

    if (place != NULL) {
        PQ_TRY(pq_h5_attr_numbers(o->file, place, name, &value, &n, err));
        PQ_CHECK(n == 1 && (value[0] == 0.0 || value[0] == 1.0), PQ_ERR_FORMAT,
                 "%s: attribute '%s' is neither 0 nor 1", s->path, name);
        *out = value[0] == 1.0;
    }
cleanup:
    pq_free(value);
    return st;
}

/* `standardized`, or else a note that starts so. */
static pq_status read_standardized(pq_source *s, char *const places[4], pq_err *err)
{
    own        *o     = s->state;
    const char *place = find_attr(o, places, "note");
    char       *note  = NULL;
    pq_status   st;

    PQ_TRY(read_flag(s, places, "standardized", &s->standardized, err));
    if (find_attr(o, places, "standardized") == NULL && place != NULL) {
        PQ_TRY(pq_h5_attr_text(o->file, place, "note", &note, err));
        s->standardized = strncmp(note, "standardi", 9) == 0;
    }
cleanup:
    pq_free(note);
    return st;
}

static pq_status read_order(pq_source *s, char *const places[4], pq_err *err)
{
    own        *o     = s->state;
    const char *place = find_attr(o, places, "layout");
    char       *text  = NULL;
    pq_status   st    = PQ_OK;

    o->order = s->sample.ndim == 3 ? LAYOUT_NHWC : LAYOUT_FEATURES;
    if (place == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_h5_attr_text(o->file, place, "layout", &text, err));
    PQ_CHECK(strcmp(text, "features") == 0 || strcmp(text, "nhwc") == 0 ||
                 strcmp(text, "nchw") == 0,
             PQ_ERR_FORMAT, "%s: layout '%s' is not one of features, nhwc, nchw", s->path,
             text);
    o->order = strcmp(text, "nchw") == 0 ? LAYOUT_NCHW : o->order;
    PQ_CHECK(text[0] != 'n' || s->sample.ndim == 3, PQ_ERR_SHAPE,
             "%s: layout is '%s', but an event has %zu dimensions, not 3", s->path, text,
             s->sample.ndim);
    if (o->order == LAYOUT_NCHW) {
        s->sample = PQ_SHAPE(o->stored.dim[1], o->stored.dim[2], o->stored.dim[0]);
    }
cleanup:
    pq_free(text);
    return st;
}

static pq_status read_text(own *o, char *const places[4], const char *name, char **out,
                           pq_err *err)
{
    const char *place = find_attr(o, places, name);

    return place == NULL ? PQ_OK : pq_h5_attr_text(o->file, place, name, out, err);
}

/* Labels: an index each, one 1 among 0s, or a text. */
static pq_status read_y(pq_source *s, size_t split, pq_rows rows, double *out,
                        pq_err *err)
{
    own      *o    = s->state;
    char     *path = NULL;
    pq_status st;

    for (size_t i = 0; o->texts && i < rows.n; i++) {
        out[i] = (double)o->labels.class[split][rows.first + i];
    }
    if (o->texts) {
        return PQ_OK;
    }
    PQ_TRY(join(s, split, "y", &path, err));
    PQ_TRY(o->one_hot > 0
               ? pq_one_hot_read(o->file, path, s->path, rows, o->one_hot, out, err)
               : pq_h5_read_rows(o->file, path, rows, PQ_DTYPE_F64, out, err));
cleanup:
    pq_free(path);
    return st;
}

/* Classes of a file that names none: as many as the largest label says. */
static pq_status count_classes(pq_source *s, pq_err *err)
{
    own      *o      = s->state;
    double    most   = (double)o->one_hot - 1.0;
    double   *y      = NULL;
    size_t    events = 0;
    pq_status st;

    enum { BLOCK = 65536, MAX_CLASSES = 100000 };
    PQ_NEW(y, BLOCK);
    for (size_t k = 0; k < s->n_splits; k++) {
        events += s->splits[k].n;
        for (size_t first = 0; first < s->splits[k].n; first += BLOCK) {
            const size_t left = s->splits[k].n - first, n = left < BLOCK ? left : BLOCK;
            PQ_TRY(read_y(s, k, (pq_rows){first, n}, y, err));
            for (size_t i = 0; i < n; i++) {
                most = y[i] > most ? y[i] : most;
            }
        }
    }
    PQ_CHECK(events > 0, PQ_ERR_FORMAT, "%s: holds no events", s->path);
    PQ_CHECK(most >= 0.0 && most < MAX_CLASSES, PQ_ERR_FORMAT,
             "%s: the largest label is %g, not in 0..%d, and there are no class_names",
             s->path, most, MAX_CLASSES - 1);
    PQ_TRY(pq_source_number_classes(s, (size_t)most + 1, err));
cleanup:
    pq_free(y);
    return st;
}

/* Everything that attributes say. */
static pq_status read_about(pq_source *s, pq_err *err)
{
    own      *o         = s->state;
    char     *places[4] = {NULL};
    size_t    n         = 0;
    pq_status st;

    PQ_STRDUP(places[0], "/");
    if (s->splits[0].name[0] != '\0') {
        PQ_STRDUP(places[1], s->splits[0].name);
    }
    PQ_TRY(join(s, 0, "x", &places[2], err));
    PQ_TRY(join(s, 0, "y", &places[3], err));
    PQ_TRY(read_order(s, places, err));
    s->n_features = s->sample.dim[s->sample.ndim - 1];
    PQ_TRY(read_names(o, places, "class_names", &s->class_names, &s->n_classes, err));
    PQ_TRY(read_names(o, places, "feature_names", &s->feature_names, &n, err));
    if (s->feature_names != NULL && n != s->n_features) {
        pq_h5_free_texts(&s->feature_names, n);
        PQ_FAIL(PQ_ERR_SHAPE, "%s: there are %zu feature_names, but %zu features",
                s->path, n, s->n_features);
    }
    PQ_TRY(read_scaler(s, places, "scaler_mean", &s->mean, err));
    PQ_TRY(read_scaler(s, places, "scaler_std", &s->std, err));
    PQ_CHECK((s->mean == NULL) == (s->std == NULL), PQ_ERR_FORMAT,
             "%s: has only one of scaler_mean and scaler_std", s->path);
    PQ_TRY(read_standardized(s, places, err));
    PQ_TRY(read_flag(s, places, "padded", &s->padded, err));
    PQ_CHECK(!s->padded || s->sample.ndim == 2, PQ_ERR_FORMAT,
             "%s: attribute 'padded' is 1, but events have %zu axes, not 2", s->path,
             s->sample.ndim);
    PQ_TRY(read_text(o, places, "licence", &s->licence, err));
    PQ_TRY(read_text(o, places, "source", &s->source, err));
    if (s->unlabelled != NULL) {
        goto cleanup;
    }
    if (o->texts) {
        PQ_TRY(pq_text_labels_number(&o->labels, s->path, &s->class_names, &s->n_classes,
                                     err));
    } else if (s->n_classes == 0) {
        PQ_TRY(count_classes(s, err));
    }
cleanup:
    for (size_t i = 0; i < 4; i++) {
        pq_free(places[i]);
    }
    return st;
}

/* Labels of all splits are texts, or those of none. */
static pq_status note_texts(pq_source *s, size_t split, const char *path, bool texts,
                            pq_err *err)
{
    own      *o = s->state;
    pq_status st;

    PQ_CHECK(split == 0 || texts == o->texts, PQ_ERR_FORMAT,
             "%s: %s holds %s, but that of split '%s' %s", s->path, path,
             texts ? "texts" : "no texts", s->splits[0].name,
             texts ? "does not" : "does");
    o->texts = texts;
    st       = texts ? pq_text_labels_add(&o->labels, o->file, path, s->path,
                                          s->splits[split].n, err)
                     : PQ_OK;
cleanup:
    return st;
}

static pq_status check_rows(pq_source *s, size_t split, const char *name, bool *there,
                            pq_err *err)
{
    own       *o    = s->state;
    char      *path = NULL;
    pq_h5_info info;
    size_t     items = 0;
    pq_status  st;

    PQ_TRY(join(s, split, name, &path, err));
    *there = pq_h5_has(o->file, path);
    if (*there) {
        PQ_TRY(pq_h5_describe(o->file, path, &info, err));
        PQ_CHECK(info.kind != PQ_H5_GROUP, PQ_ERR_FORMAT,
                 "%s: %s is a group, not a dataset", s->path, path);
        if (strcmp(name, "y") == 0) {
            PQ_TRY(note_texts(s, split, path, info.kind == PQ_H5_TEXT, err));
        }
        if (strcmp(name, "y") == 0 && info.shape.ndim == 2 && info.shape.dim[1] > 1) {
            PQ_CHECK(split == 0 || o->one_hot == info.shape.dim[1], PQ_ERR_SHAPE,
                     "%s: %s has %zu columns, but that of split '%s' has %zu", s->path,
                     path, info.shape.dim[1], s->splits[0].name, o->one_hot);
            o->one_hot        = info.shape.dim[1];
            info.shape.dim[1] = 1;
        }
        PQ_CHECK(pq_shape_count(&info.shape, &items) && items == s->splits[split].n,
                 PQ_ERR_SHAPE, "%s: %s has %zu values, but there are %zu events", s->path,
                 path, items, s->splits[split].n);
    }
cleanup:
    pq_free(path);
    return st;
}

/* Adds a split: "" for x at the root. */
static pq_status add_split(pq_source *s, const char *name, pq_err *err)
{
    own         *o     = s->state;
    const size_t split = s->n_splits;
    char        *path  = NULL;
    bool         there = false;
    pq_h5_info   info;
    pq_shape     event = {0};
    pq_status    st;

    PQ_TRY(pq_source_add_split(s, name, 0, err));
    PQ_TRY(join(s, split, "x", &path, err));
    PQ_TRY(pq_h5_describe(o->file, path, &info, err));
    PQ_CHECK(info.kind == PQ_H5_INTEGER || info.kind == PQ_H5_FLOAT, PQ_ERR_FORMAT,
             "%s: %s holds no numbers", s->path, path);
    PQ_CHECK(info.shape.ndim >= 2, PQ_ERR_SHAPE,
             "%s: %s has %zu dimensions; events and features need at least 2", s->path,
             path, info.shape.ndim);
    s->splits[split].n = info.shape.dim[0];
    event.ndim         = info.shape.ndim - 1;
    memcpy(event.dim, info.shape.dim + 1, event.ndim * sizeof *event.dim);
    PQ_CHECK(split == 0 || pq_shape_equal(&event, &o->stored), PQ_ERR_SHAPE,
             "%s: the events of %s have another shape than those of %s/x", s->path, path,
             s->splits[0].name);
    o->stored = event;
    s->sample = event;
    if (s->unlabelled == NULL) { /* else labels of other splits are not read either */
        PQ_TRY(check_rows(s, split, "y", &there, err));
        PQ_CHECK(there || o->unlabelled, PQ_ERR_FORMAT,
                 "%s: %s has no y beside it: labels are needed", s->path, path);
        if (!there) {
            PQ_STRDUP(s->unlabelled, path);
        }
    }
    PQ_TRY(check_rows(s, split, "weight", &o->weighted[split], err));
cleanup:
    pq_free(path);
    return st;
}

/* Usual names first, so that the order is the same whoever wrote the file. */
static pq_status add_splits(pq_source *s, pq_err *err)
{
    static const char *const usual[] = {"train", "val", "validation", "test"};
    own                     *o       = s->state;
    char                   **names   = NULL;
    size_t                   n       = 0;
    pq_status                st;

    PQ_TRY(pq_h5_list(o->file, "/", &names, &n, err));
    for (size_t k = 0; k <= sizeof usual / sizeof *usual; k++) {
        for (size_t i = 0; i < n; i++) {
            bool  is_usual = false, wanted;
            char *path     = pq_format("%s/x", names[i]);
            PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
            for (size_t u = 0; u < sizeof usual / sizeof *usual; u++) {
                is_usual = is_usual || strcmp(names[i], usual[u]) == 0;
            }
            wanted = k < sizeof usual / sizeof *usual ? strcmp(names[i], usual[k]) == 0
                                                      : !is_usual;
            wanted = wanted && pq_h5_has(o->file, path);
            pq_free(path);
            if (wanted) {
                PQ_TRY(add_split(s, names[i], err));
            }
        }
    }
    PQ_CHECK(s->n_splits > 0, PQ_ERR_FORMAT,
             "%s: has neither x at its root nor a group with x in it", s->path);
cleanup:
    pq_h5_free_texts(&names, n);
    return st;
}

static pq_status open_own(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    own      *o = NULL;
    pq_status st;

    PQ_NEW(o, 1);
    s->state      = o;
    o->unlabelled = options->unlabelled;
    PQ_TRY(pq_h5_open(s->path, &o->file, err));
    if (pq_h5_has(o->file, "x")) {
        PQ_TRY(add_split(s, "", err));
    } else {
        PQ_TRY(add_splits(s, err));
    }
    PQ_TRY(read_about(s, err));
cleanup:
    return st;
}

static pq_status read_x(pq_source *s, size_t split, pq_rows rows, float *out, pq_err *err)
{
    own      *o     = s->state;
    float    *bytes = NULL;
    char     *path  = NULL;
    size_t    items = 0;
    pq_status st;

    PQ_TRY(join(s, split, "x", &path, err));
    if (o->order != LAYOUT_NCHW) {
        PQ_TRY(pq_h5_read_rows(o->file, path, rows, PQ_DTYPE_F32, out, err));
        goto cleanup;
    }
    (void)pq_shape_count(&s->sample, &items);
    PQ_NEW(bytes, rows.n * items);
    PQ_TRY(pq_h5_read_rows(o->file, path, rows, PQ_DTYPE_F32, bytes, err));
    pq_planes_to_pixels(bytes, rows.n, o->stored.dim[0],
                        o->stored.dim[1] * o->stored.dim[2], out);
cleanup:
    pq_free(bytes);
    pq_free(path);
    return st;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    own          *o    = s->state;
    const pq_rows rows = {first, n};
    char         *path = NULL;
    pq_status     st   = PQ_OK;

    if (out->x != NULL) {
        PQ_TRY(read_x(s, split, rows, out->x, err));
    }
    if (out->y != NULL) {
        PQ_TRY(read_y(s, split, rows, out->y, err));
    }
    if (out->weight != NULL && o->weighted[split]) {
        PQ_TRY(join(s, split, "weight", &path, err));
        PQ_TRY(pq_h5_read_rows(o->file, path, rows, PQ_DTYPE_F32, out->weight, err));
    }
    for (size_t i = 0; out->weight != NULL && !o->weighted[split] && i < n; i++) {
        out->weight[i] = 1.0F;
    }
cleanup:
    pq_free(path);
    return st;
}

/* Whether something in a folder of quantities may be one number an event: groups, texts,
 * and lists for each event are not. What cannot be told is said when it is read. */
static bool is_quantity(const own *o, const char *folder, const char *name)
{
    pq_h5_info info;
    char      *path = pq_format("%s/%s", folder, name);
    bool       yes  = true;

    if (path != NULL && pq_h5_describe(o->file, path, &info, NULL) == PQ_OK) {
        size_t items = 1;
        for (size_t i = 1; i < info.shape.ndim; i++) {
            items *= info.shape.dim[i];
        }
        yes = (info.kind == PQ_H5_INTEGER || info.kind == PQ_H5_FLOAT) &&
              (items == 1 || info.shape.dim[0] == 1);
    }
    pq_free(path);
    return yes;
}

static pq_status list_aux(pq_source *s, size_t split, char ***names, size_t *n,
                          pq_err *err)
{
    own      *o    = s->state;
    char     *path = NULL;
    size_t    kept = 0;
    pq_status st;

    PQ_TRY(join(s, split, "aux", &path, err));
    *n = 0;
    if (pq_h5_has(o->file, path)) {
        PQ_TRY(pq_h5_list(o->file, path, names, n, err));
    }
    for (size_t i = 0; i < *n; i++) {
        if (is_quantity(o, path, (*names)[i])) {
            char *name     = (*names)[i];
            (*names)[i]    = NULL;
            (*names)[kept] = name;
            kept++;
        } else {
            pq_free((*names)[i]);
            (*names)[i] = NULL;
        }
    }
    *n = kept;
cleanup:
    pq_free(path);
    return st;
}

static pq_status read_one_aux(pq_source *s, size_t split, const char *name, pq_rows rows,
                              pq_dtype dtype, uint64_t *out, pq_err *err)
{
    own      *o   = s->state;
    char     *aux = NULL, *path = NULL;
    bool      there;
    pq_status st;

    aux = pq_format("aux/%s", name);
    PQ_CHECK(aux != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(check_rows(s, split, aux, &there, err));
    PQ_TRY(join(s, split, aux, &path, err));
    PQ_TRY(pq_h5_read_rows(o->file, path, rows, dtype, out, err));
cleanup:
    pq_free(aux);
    pq_free(path);
    return st;
}

static pq_status read_aux(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                          size_t n, void *out, pq_err *err)
{
    uint64_t *one = NULL, *to = out; /* of either type: both have 8 bytes */
    pq_status st;

    PQ_NEW(one, n);
    for (size_t k = 0; k < aux->n_names; k++) {
        PQ_TRY(read_one_aux(s, split, aux->names[k], (pq_rows){first, n}, aux->dtype, one,
                            err));
        for (size_t i = 0; i < n; i++) {
            to[i * aux->n_names + k] = one[i];
        }
    }
cleanup:
    pq_free(one);
    return st;
}

static void close_own(pq_source *s)
{
    own *o = s->state;

    if (o != NULL) {
        pq_text_labels_free(&o->labels);
        pq_h5_close(&o->file);
        pq_free(o);
    }
}

const pq_layout pq_layout_pquant = {
    .name       = "pquant",
    .summary    = "own HDF5: x, y, weight and aux by split",
    .recognises = recognises,
    .open       = open_own,
    .read       = read_events,
    .read_aux   = read_aux,
    .list_aux   = list_aux,
    .close      = close_own,
};
