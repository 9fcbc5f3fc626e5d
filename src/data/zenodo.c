/*
 * The LHC jets of Zenodo 3602260, 3602254, 3601443 and 3601436: HDF5 with `jets`
 * [n, 59] and `jetFeatureNames`. A file, a folder of such files (one split), or
 * a folder with train and val folders. Features are the 16 of the five-class
 * benchmark unless named; "constituents" gives jetConstituentList instead.
 *
 * Source: doi:10.5281/zenodo.3602260; columns as in the anchors of the set.
 */
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/layout.h"
#include "io/hdf5.h"

enum { N_HLF = 16, N_CLASSES = 5, MAX_COLUMNS = 256, MAX_FILES = 4096 };

/* A file of a split. */
typedef struct {
    char  *path;
    size_t split, first, n; /* its events in the split */
} part;

typedef struct {
    part    *parts;
    size_t   n_parts;
    size_t   open; /* part that `file` is */
    pq_h5   *file;
    char   **columns; /* names without j_ */
    size_t   n_columns;
    size_t   labels[N_CLASSES]; /* columns of the classes */
    size_t  *inputs;            /* [n_inputs] columns, or NULL: constituents */
    size_t   n_inputs;
    pq_shape constituents; /* [most, features] */
} zenodo;

static const char *const classes[N_CLASSES] = {"g", "q", "w", "z", "t"};

static const char *const hlf[N_HLF] = {
    "zlogz",         "c1_b0_mmdt",    "c1_b1_mmdt", "c1_b2_mmdt",
    "c2_b1_mmdt",    "c2_b2_mmdt",    "d2_b1_mmdt", "d2_b2_mmdt",
    "d2_a1_b1_mmdt", "d2_a1_b2_mmdt", "m2_b1_mmdt", "m2_b2_mmdt",
    "n2_b1_mmdt",    "n2_b2_mmdt",    "mass_mmdt",  "multiplicity"};

static bool is_file(const char *path)
{
    pq_h5 *file = NULL;
    bool   yes;

    yes = pq_h5_is_file(path) && pq_h5_open(path, &file, NULL) == PQ_OK &&
          pq_h5_has(file, "jets") && pq_h5_has(file, "jetFeatureNames");
    pq_h5_close(&file);
    return yes;
}

/* Whether the first .h5 of a folder is one of these. */
static bool is_folder(const char *path)
{
    char **names = NULL;
    size_t n     = 0;
    bool   yes   = false;

    if (pq_folder_exists(path) &&
        pq_folder_list(path, ".h5", &names, &n, NULL) == PQ_OK && n > 0) {
        char *first = pq_path_join(path, names[0]);
        yes         = first != NULL && is_file(first);
        pq_free(first);
    }
    pq_texts_free(&names, n);
    return yes;
}

static bool has_folder(const char *path, const char *name)
{
    char *inner = pq_path_join(path, name);
    bool  yes   = inner != NULL && is_folder(inner);

    pq_free(inner);
    return yes;
}

static bool recognises(const char *path)
{
    return pq_folder_exists(path)
               ? is_folder(path) || has_folder(path, "train") || has_folder(path, "val")
               : is_file(path);
}

static size_t find_column(const zenodo *z, const char *name)
{
    for (size_t i = 0; i < z->n_columns; i++) {
        if (strcmp(z->columns[i], name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Names of the columns, without the j_ in front. */
static pq_status read_names(pq_source *s, pq_err *err)
{
    zenodo   *z = s->state;
    pq_status st;

    PQ_TRY(pq_h5_read_texts(z->file, "jetFeatureNames", &z->columns, &z->n_columns, err));
    PQ_CHECK(z->n_columns <= MAX_COLUMNS, PQ_ERR_FORMAT,
             "%s: jetFeatureNames has %zu names", pq_h5_path(z->file), z->n_columns);
    for (size_t i = 0; i < z->n_columns; i++) {
        char        *name = z->columns[i];
        const size_t n    = strlen(name);
        if (strncmp(name, "j_", 2) == 0) {
            memmove(name, name + 2, n - 1);
        }
    }
    for (size_t k = 0; k < N_CLASSES; k++) {
        z->labels[k] = find_column(z, classes[k]);
        PQ_CHECK(z->labels[k] != SIZE_MAX, PQ_ERR_FORMAT,
                 "%s: jetFeatureNames has no 'j_%s': the label is missing",
                 pq_h5_path(z->file), classes[k]);
    }
cleanup:
    return st;
}

static pq_status open_part(zenodo *z, size_t p, pq_err *err)
{
    pq_status st = PQ_OK;

    if (z->file != NULL && z->open == p) {
        return PQ_OK;
    }
    pq_h5_close(&z->file);
    PQ_TRY(pq_h5_open(z->parts[p].path, &z->file, err));
    z->open = p;
cleanup:
    return st;
}

/* Adds a file at the end of the last split. */
static pq_status add_file(pq_source *s, char *path, pq_err *err)
{
    zenodo    *z = s->state;
    part      *p = &z->parts[z->n_parts];
    pq_h5_info info;
    pq_status  st;

    if (z->n_parts == MAX_FILES) {
        pq_free(path);
        PQ_FAIL(PQ_ERR_FORMAT, "%s: has more than %d files", s->path, MAX_FILES);
    }
    *p = (part){
        .path = path, .split = s->n_splits - 1, .first = s->splits[s->n_splits - 1].n};
    z->n_parts++;
    PQ_TRY(pq_source_note(s, path, err));
    PQ_TRY(open_part(z, z->n_parts - 1, err));
    if (z->columns == NULL) {
        PQ_TRY(read_names(s, err));
    }
    PQ_TRY(pq_h5_describe(z->file, "jets", &info, err));
    PQ_CHECK(info.kind == PQ_H5_FLOAT && info.shape.ndim == 2 &&
                 info.shape.dim[1] == z->n_columns,
             PQ_ERR_SHAPE, "%s: jets is not a table of the %zu columns that are named",
             path, z->n_columns);
    p->n = info.shape.dim[0];
    s->splits[p->split].n += p->n;
cleanup:
    return st;
}

static pq_status add_folder(pq_source *s, const char *folder, const char *split,
                            pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_TRY(pq_source_add_split(s, split, 0, err));
    PQ_TRY(pq_folder_list(folder, ".h5", &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join(folder, names[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(add_file(s, path, err));
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

static pq_status add_files(pq_source *s, pq_err *err)
{
    static const char *const splits[] = {"train", "val", "test"};
    char                    *path     = NULL;
    pq_status                st       = PQ_OK;

    if (!pq_folder_exists(s->path)) {
        PQ_TRY(pq_source_add_split(s, "", 0, err));
        PQ_STRDUP(path, s->path);
        st   = add_file(s, path, err);
        path = NULL;
        goto cleanup;
    }
    if (is_folder(s->path)) {
        PQ_TRY(add_folder(s, s->path, "", err));
        goto cleanup;
    }
    for (size_t i = 0; i < 3; i++) {
        pq_free(path);
        path = pq_path_join(s->path, splits[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        if (is_folder(path)) {
            PQ_TRY(add_folder(s, path, splits[i], err));
        }
    }
    PQ_CHECK(s->n_splits > 0, PQ_ERR_FORMAT, "%s: holds no .h5 files", s->path);
cleanup:
    pq_free(path);
    return st;
}

/* Every file's list of constituents must be as long as the first one's. */
static pq_status choose_constituents(pq_source *s, pq_err *err)
{
    zenodo    *z = s->state;
    pq_h5_info info;
    pq_status  st = PQ_OK;

    for (size_t p = 0; p < z->n_parts; p++) {
        PQ_TRY(open_part(z, p, err));
        PQ_TRY(pq_h5_describe(z->file, "jetConstituentList", &info, err));
        PQ_CHECK(info.shape.ndim == 3 && info.shape.dim[0] == z->parts[p].n &&
                     (p == 0 || (info.shape.dim[1] == z->constituents.dim[0] &&
                                 info.shape.dim[2] == z->constituents.dim[1])),
                 PQ_ERR_SHAPE,
                 "%s: jetConstituentList does not fit jets or the other files",
                 z->parts[p].path);
        z->constituents = PQ_SHAPE(info.shape.dim[1], info.shape.dim[2]);
    }
    s->sample = z->constituents;
cleanup:
    return st;
}

static pq_status choose_inputs(pq_source *s, const char *inputs, pq_err *err)
{
    zenodo     *z     = s->state;
    char      **names = NULL;
    size_t      n     = 0;
    const char *near;
    pq_status   st;

    if (inputs != NULL && strcmp(inputs, "constituents") == 0) {
        return choose_constituents(s, err);
    }
    if (inputs == NULL) {
        PQ_TRY(pq_texts_copy(hlf, N_HLF, &names, err));
        n = N_HLF;
    } else {
        PQ_TRY(pq_texts_split(inputs, &names, &n, err));
    }
    PQ_NEW(z->inputs, n);
    z->n_inputs = n;
    for (size_t i = 0; i < n; i++) {
        const char *name = strncmp(names[i], "j_", 2) == 0 ? names[i] + 2 : names[i];
        z->inputs[i]     = find_column(z, name);
        near = pq_nearest(name, (const char *const *)z->columns, z->n_columns);
        PQ_CHECK(z->inputs[i] != SIZE_MAX, PQ_ERR_NOT_FOUND,
                 "%s: has no column '%s'%s%s%s", s->path, name,
                 near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                 near != NULL ? "'?" : "");
    }
    s->sample        = PQ_SHAPE(n);
    s->n_features    = n;
    s->feature_names = names;
    names            = NULL;
cleanup:
    pq_texts_free(&names, n);
    return st;
}

static pq_status open_zenodo(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    zenodo   *z = NULL;
    pq_status st;

    PQ_NEW(z, 1);
    s->state = z;
    PQ_NEW(z->parts, MAX_FILES);
    PQ_TRY(add_files(s, err));
    PQ_TRY(choose_inputs(s, options->inputs, err));
    PQ_TRY(pq_texts_copy(classes, N_CLASSES, &s->class_names, err));
    s->n_classes = N_CLASSES;
    PQ_STRDUP(s->licence, "CC-BY 4.0");
cleanup:
    return st;
}

/* One-hot columns to a class; -1 where not exactly one is set. */
static double label_of(const zenodo *z, const float *row)
{
    double label = -1.0;

    for (size_t k = 0; k < N_CLASSES; k++) {
        if (row[z->labels[k]] != 0.0F) {
            if (label >= 0.0) {
                return -1.0;
            }
            label = (double)k;
        }
    }
    return label;
}

static pq_status read_part(pq_source *s, size_t p, pq_rows rows, const pq_raw *out,
                           pq_err *err)
{
    zenodo   *z     = s->state;
    float    *table = NULL;
    pq_status st;

    PQ_TRY(open_part(z, p, err));
    PQ_NEW(table, rows.n * z->n_columns);
    PQ_TRY(pq_h5_read_rows(z->file, "jets", rows, PQ_DTYPE_F32, table, err));
    for (size_t i = 0; i < rows.n; i++) {
        const float *row = table + i * z->n_columns;
        for (size_t k = 0; out->x != NULL && k < z->n_inputs; k++) {
            out->x[i * z->n_inputs + k] = row[z->inputs[k]];
        }
        if (out->y != NULL) {
            out->y[i] = label_of(z, row);
        }
        if (out->weight != NULL) {
            out->weight[i] = 1.0F;
        }
    }
    if (out->x != NULL && z->inputs == NULL) {
        PQ_TRY(pq_h5_read_rows(z->file, "jetConstituentList", rows, PQ_DTYPE_F32, out->x,
                               err));
    }
cleanup:
    pq_free(table);
    return st;
}

/* Rows of a part that lie in a range of its split. */
static bool overlap(const part *p, size_t split, size_t first, size_t n, pq_rows *rows,
                    size_t *at)
{
    const size_t from = first > p->first ? first : p->first;
    const size_t end  = first + n < p->first + p->n ? first + n : p->first + p->n;

    if (p->split != split || from >= end) {
        return false;
    }
    *rows = (pq_rows){from - p->first, end - from};
    *at   = from - first;
    return true;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const zenodo *z     = s->state;
    size_t        items = 1, at;
    pq_rows       rows;
    pq_status     st = PQ_OK;

    (void)pq_shape_count(&s->sample, &items);
    for (size_t p = 0; p < z->n_parts; p++) {
        if (overlap(&z->parts[p], split, first, n, &rows, &at)) {
            const pq_raw to = {.x      = out->x == NULL ? NULL : out->x + at * items,
                               .y      = out->y == NULL ? NULL : out->y + at,
                               .weight = out->weight == NULL ? NULL : out->weight + at};
            PQ_TRY(read_part(s, p, rows, &to, err));
        }
    }
cleanup:
    return st;
}

static pq_status list_aux(pq_source *s, size_t split, char ***names, size_t *n,
                          pq_err *err)
{
    const zenodo *z = s->state;

    (void)split;
    *n = z->n_columns;
    return pq_texts_copy((const char *const *)z->columns, z->n_columns, names, err);
}

static pq_status read_aux(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                          size_t n, void *out, pq_err *err)
{
    zenodo   *z     = s->state;
    uint64_t *table = NULL, *to = out; /* of either type: both have 8 bytes */
    pq_rows   rows;
    size_t    at;
    pq_status st;

    PQ_NEW(table, n * z->n_columns);
    for (size_t p = 0; p < z->n_parts; p++) {
        if (overlap(&z->parts[p], split, first, n, &rows, &at)) {
            PQ_TRY(open_part(z, p, err));
            PQ_TRY(pq_h5_read_rows(z->file, "jets", rows, aux->dtype, table, err));
            for (size_t i = 0; i < rows.n * aux->n_names; i++) {
                const size_t row = i / aux->n_names, k = i % aux->n_names;
                to[at * aux->n_names + i] =
                    table[row * z->n_columns + find_column(z, aux->names[k])];
            }
        }
    }
cleanup:
    pq_free(table);
    return st;
}

static void close_zenodo(pq_source *s)
{
    zenodo *z = s->state;

    if (z != NULL) {
        pq_h5_close(&z->file);
        for (size_t p = 0; p < z->n_parts; p++) {
            pq_free(z->parts[p].path);
        }
        pq_free(z->parts);
        pq_texts_free(&z->columns, z->n_columns);
        pq_free(z->inputs);
        pq_free(z);
    }
}

const pq_layout pq_layout_zenodo = {
    .name = "zenodo",
    .summary =
        "LHC jets of Zenodo (30p to 150p): 16 features, any columns, or constituents",
    .recognises   = recognises,
    .open         = open_zenodo,
    .read         = read_events,
    .read_aux     = read_aux,
    .list_aux     = list_aux,
    .close        = close_zenodo,
    .takes_inputs = true,
};
