/*
 * JetNet: a folder of g.hdf5, q.hdf5, t.hdf5, w.hdf5, z.hdf5, a class each, with
 * `particle_features` [n, most, 4] (etarel, phirel, ptrel, mask) and
 * `jet_features` [n, …]. Classes take turns, so that any stretch of events
 * holds all of them.
 *
 * Source: Kansal et al., NeurIPS 2021, arXiv:2106.11535.
 */
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/layout.h"
#include "io/hdf5.h"

enum { N_CLASSES = 5, N_FEATURES = 4 };

static const char *const classes[N_CLASSES] = {"g", "q", "t", "w", "z"};

typedef struct {
    size_t k; /* classes that are there */
    pq_h5 *files[N_CLASSES];
    size_t n[N_CLASSES];
    float *buffer; /* of one block of a class */
    size_t room;   /* values in it */
} jetnet;

static char *file_of(const char *folder, const char *name)
{
    char *inside = pq_format("%s.hdf5", name);
    char *path   = inside == NULL ? NULL : pq_path_join(folder, inside);

    pq_free(inside);
    return path;
}

static bool recognises(const char *path)
{
    size_t n = 0;

    for (size_t c = 0; c < N_CLASSES && pq_folder_exists(path); c++) {
        char *file = file_of(path, classes[c]);
        n += pq_file_exists(file) ? 1 : 0;
        pq_free(file);
    }
    return n >= 2;
}

static pq_status add_class(pq_source *s, const char *name, pq_err *err)
{
    jetnet    *j    = s->state;
    char      *path = file_of(s->path, name);
    pq_h5_info info;
    pq_shape   event;
    pq_status  st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!pq_file_exists(path)) {
        st = PQ_OK;
        goto cleanup;
    }
    PQ_TRY(pq_source_note(s, path, err));
    PQ_TRY(pq_h5_open(path, &j->files[j->k], err));
    PQ_TRY(pq_h5_describe(j->files[j->k], "particle_features", &info, err));
    PQ_CHECK(info.shape.ndim == 3 && info.shape.dim[0] > 0 &&
                 info.shape.dim[2] == N_FEATURES,
             PQ_ERR_SHAPE, "%s: particle_features is not [jets, particles, %d]", path,
             N_FEATURES);
    event = PQ_SHAPE(info.shape.dim[1], N_FEATURES);
    PQ_CHECK(j->k == 0 || pq_shape_equal(&event, &s->sample), PQ_ERR_SHAPE,
             "%s: has another number of particles than the other classes", path);
    s->sample            = event;
    j->n[j->k]           = info.shape.dim[0];
    s->class_names[j->k] = pq_strdup(name);
    s->n_classes         = ++j->k;
    PQ_CHECK(s->class_names[j->k - 1] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    pq_free(path);
    return st;
}

static pq_status open_jetnet(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    static const char *const names[N_FEATURES] = {"etarel", "phirel", "ptrel", "mask"};
    jetnet                  *j                 = NULL;
    size_t                   total             = 0;
    pq_status                st;

    (void)options;
    PQ_NEW(j, 1);
    s->state = j;
    PQ_NEW(s->class_names, N_CLASSES);
    for (size_t c = 0; c < N_CLASSES; c++) {
        PQ_TRY(add_class(s, classes[c], err));
    }
    PQ_CHECK(j->k >= 2, PQ_ERR_FORMAT,
             "%s: holds fewer than two of g.hdf5, q.hdf5, t.hdf5, "
             "w.hdf5, z.hdf5",
             s->path);
    for (size_t c = 0; c < j->k; c++) {
        total += j->n[c];
    }
    s->n_features = N_FEATURES;
    s->padded     = true;
    PQ_TRY(pq_texts_copy(names, N_FEATURES, &s->feature_names, err));
    PQ_TRY(pq_source_add_split(s, "", total, err));
    PQ_STRDUP(s->licence, "CC-BY 4.0");
cleanup:
    return st;
}

/* Class and row of an event: classes take turns until the shorter ones end. */
static void place(const jetnet *j, size_t event, size_t *class, size_t *row)
{
    size_t from = 0, left = event;

    for (;;) { /* rounds `from` .. `to`-1 with the same classes */
        size_t to = SIZE_MAX, alive = 0;
        for (size_t c = 0; c < j->k; c++) {
            if (j->n[c] > from) {
                to = j->n[c] < to ? j->n[c] : to;
                alive++;
            }
        }
        if (left < alive * (to - from)) {
            size_t turn = left % alive;
            *row        = from + left / alive;
            for (size_t c = 0; c < j->k; c++) {
                if (j->n[c] > from && turn-- == 0) {
                    *class = c;
                    return;
                }
            }
        }
        left -= alive * (to - from);
        from = to;
    }
}

/* The stretch of rows of one class that n events need. */
static pq_rows stretch(const jetnet *j, size_t class, size_t first, size_t n)
{
    pq_rows rows = {0};
    size_t  c = 0, row = 0;

    for (size_t i = 0; i < n; i++) {
        place(j, first + i, &c, &row);
        if (c == class) {
            rows.first = rows.n == 0 ? row : rows.first;
            rows.n++;
        }
    }
    return rows;
}

/* Reads the rows of one class and puts them where its turns are. */
static pq_status read_class(pq_source *s, size_t class, size_t first, size_t n,
                            float *out, pq_err *err)
{
    jetnet       *j     = s->state;
    const size_t  items = s->sample.dim[0] * N_FEATURES;
    const pq_rows rows  = stretch(j, class, first, n);
    size_t        c = 0, row = 0;
    pq_status     st;

    if (j->room < rows.n * items) {
        pq_free(j->buffer);
        j->room = 0;
        PQ_NEW(j->buffer, rows.n * items);
        j->room = rows.n * items;
    }
    PQ_TRY(pq_h5_read_rows(j->files[class], "particle_features", rows, PQ_DTYPE_F32,
                           j->buffer, err));
    for (size_t i = 0; i < n; i++) {
        place(j, first + i, &c, &row);
        if (c == class) {
            memcpy(out + i * items, j->buffer + (row - rows.first) * items,
                   items * sizeof *out);
        }
    }
cleanup:
    return st;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const jetnet *j = s->state;
    size_t        c = 0, row = 0;
    pq_status     st = PQ_OK;

    (void)split;
    for (size_t k = 0; k < j->k && out->x != NULL; k++) {
        PQ_TRY(read_class(s, k, first, n, out->x, err));
    }
    for (size_t i = 0; i < n; i++) {
        place(j, first + i, &c, &row);
        if (out->y != NULL) {
            out->y[i] = (double)c;
        }
        if (out->weight != NULL) {
            out->weight[i] = 1.0F;
        }
    }
cleanup:
    return st;
}

static void close_jetnet(pq_source *s)
{
    jetnet *j = s->state;

    for (size_t c = 0; j != NULL && c < N_CLASSES; c++) {
        pq_h5_close(&j->files[c]);
    }
    if (j != NULL) {
        pq_free(j->buffer);
    }
    pq_free(j);
}

const pq_layout pq_layout_jetnet = {
    .name       = "jetnet",
    .summary    = "JetNet: a folder of one file a class with particle_features",
    .recognises = recognises,
    .open       = open_jetnet,
    .read       = read_events,
    .close      = close_jetnet,
};
