/* Arrays by their names: where they lie, and their numbers and texts. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "data/arrays.h"

enum {
    MOST_TEXTS  = 1000000,
    DEPTH       = 4,        /* of groups in an HDF5 */
    PIECE_BYTES = 1 << 20,  /* unpacked at once */
    FINE_BYTES  = 64 << 20, /* that any member may unpack to */
    MOST_TOLD   = 12
};

static bool ends_with(const char *text, size_t n, const char *end)
{
    return n > strlen(end) && memcmp(text + n - strlen(end), end, strlen(end)) == 0;
}

static bool has_npy(const char *folder)
{
    char **names = NULL;
    size_t n     = 0;
    bool   yes   = pq_folder_list(folder, ".npy", &names, &n, NULL) == PQ_OK && n > 0;

    pq_texts_free(&names, n);
    return yes;
}

bool pq_arrays_look(const char *path)
{
    uint8_t start[8];
    size_t  n;

    if (pq_folder_exists(path)) {
        return has_npy(path);
    }
    n = pq_file_start(path, start, sizeof start);
    return pq_npy_looks(start, n) || pq_h5_is_file(path) ||
           (pq_zip_looks(start, n) && pq_foreign_zip_has(path, ".npy"));
}

static pq_status add_name(pq_arrays *a, const char *name, size_t n, pq_err *err)
{
    pq_status st;

    PQ_CHECK(a->n < PQ_ARRAYS_MOST, PQ_ERR_FORMAT, "%s: holds more than %d arrays",
             a->path, PQ_ARRAYS_MOST);
    a->names[a->n] = pq_format("%.*s", (int)n, name);
    PQ_CHECK(a->names[a->n] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    a->n++;
cleanup:
    return st;
}

/* The files of a folder. */
static pq_status list_folder(pq_arrays *a, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_TRY(pq_folder_list(a->folder, ".npy", &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(add_name(a, names[i], strlen(names[i]) - 4, err));
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

static pq_status list_zip(pq_arrays *a, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_map_open(a->path, &a->map, err));
    st = pq_zip_open_map(&a->map, &a->zip, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", a->path);
        goto cleanup;
    }
    for (size_t i = 0; i < a->zip.n; i++) {
        const pq_zip_member *m = &a->zip.members[i];
        if (ends_with(m->name, m->name_bytes, ".npy")) {
            PQ_CHECK(memchr(m->name, '\0', m->name_bytes) == NULL, PQ_ERR_FORMAT,
                     "%s: the name of member %zu holds a NUL", a->path, i);
            PQ_TRY(add_name(a, m->name, m->name_bytes - 4, err));
        }
    }
cleanup:
    return st;
}

/* Datasets of a group and of those in it. */
static pq_status list_group(pq_arrays *a, const char *group, int depth, pq_err *err)
{
    char    **names = NULL, *path = NULL;
    size_t    n = 0;
    pq_status st;

    PQ_TRY(pq_h5_list(a->h5, group[0] == '\0' ? "/" : group, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        pq_free(path);
        path = pq_format("%s%s%s", group, group[0] != '\0' ? "/" : "", names[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        if (pq_h5_kind(a->h5, path) != PQ_H5_GROUP) {
            PQ_TRY(add_name(a, path, strlen(path), err));
        } else if (depth < DEPTH) {
            PQ_TRY(list_group(a, path, depth + 1, err));
        }
    }
cleanup:
    pq_h5_free_texts(&names, n);
    pq_free(path);
    return st;
}

static int by_name(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

/* The folder that a file lies in. */
static char *folder_of(const char *path)
{
    const size_t n = (size_t)(pq_path_base(path) - path);

    return n == 0 ? pq_strdup(".") : pq_format("%.*s", (int)n, path);
}

pq_status pq_arrays_open(const char *path, pq_arrays *out, pq_err *err)
{
    pq_arrays a = {0};
    uint8_t   start[8];
    size_t    n = pq_file_start(path, start, sizeof start);
    pq_status st;

    PQ_STRDUP(a.path, path);
    PQ_NEW(a.names, PQ_ARRAYS_MOST);
    if (pq_folder_exists(path) || pq_npy_looks(start, n)) {
        a.folder = pq_folder_exists(path) ? pq_strdup(path) : folder_of(path);
        PQ_CHECK(a.folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(list_folder(&a, err));
    } else if (pq_zip_looks(start, n)) {
        PQ_TRY(list_zip(&a, err));
    } else {
        PQ_TRY(pq_h5_open(path, &a.h5, err));
        PQ_TRY(list_group(&a, "", 0, err));
    }
    qsort(a.names, a.n, sizeof *a.names, by_name);
    for (size_t i = 1; i < a.n; i++) { /* of which NumPy would take the last */
        PQ_CHECK(strcmp(a.names[i - 1], a.names[i]) != 0, PQ_ERR_FORMAT,
                 "%s: holds two arrays '%s'", path, a.names[i]);
    }
    *out = a;
    a    = (pq_arrays){0};
cleanup:
    pq_arrays_close(&a);
    return st;
}

void pq_arrays_close(pq_arrays *a)
{
    pq_texts_free(&a->names, a->n);
    pq_h5_close(&a->h5);
    pq_zip_free(&a->zip);
    pq_map_close(&a->map);
    pq_free(a->folder);
    pq_free(a->path);
    *a = (pq_arrays){0};
}

size_t pq_arrays_find(const pq_arrays *a, const char *name)
{
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->names[i], name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

char *pq_array_file(const pq_arrays *a, const char *name)
{
    char *file = a->folder != NULL ? pq_format("%s.npy", name) : NULL;
    char *path = file != NULL ? pq_path_join(a->folder, file) : NULL;

    pq_free(file);
    return path;
}

/* Writes a member, unpacked, to a file without a name, and maps that. */
static pq_status unpack(const pq_zip_member *m, pq_map *out, pq_err *err)
{
    pq_zip_stream *stream = NULL;
    FILE          *file   = pq_file_scratch();
    uint8_t       *piece  = NULL;
    pq_status      st;

    PQ_CHECK(file != NULL, PQ_ERR_IO, "a temporary file cannot be made: %s",
             strerror(errno));
    PQ_TRY(pq_zip_stream_open(m, FINE_BYTES, &stream, err));
    PQ_NEW(piece, PIECE_BYTES);
    for (size_t done = 0; done < m->n; done += PIECE_BYTES) {
        const size_t n = m->n - done < PIECE_BYTES ? m->n - done : PIECE_BYTES;
        PQ_TRY(pq_zip_stream_read(stream, piece, n, err));
        PQ_CHECK(fwrite(piece, 1, n, file) == n, PQ_ERR_IO,
                 "a temporary file of %zu bytes cannot be written: %s", m->n,
                 strerror(errno));
    }
    PQ_TRY(pq_map_stream(file, out, err));
cleanup:
    pq_zip_stream_close(&stream);
    pq_free(piece);
    if (file != NULL) {
        (void)fclose(file);
    }
    return st;
}

/* Takes the header off the n bytes of an array of NumPy. */
static pq_status take_head(const uint8_t *bytes, size_t n, pq_array *out, pq_err *err)
{
    size_t    head = 0;
    pq_status st;

    PQ_TRY(pq_npy_head(bytes, n, &head, err));
    PQ_CHECK(head <= n, PQ_ERR_FORMAT, "the header is longer than the array");
    PQ_TRY(pq_npy_read(bytes, head, n, &out->head, err));
    out->at    = bytes + out->head.data;
    out->shape = out->head.shape;
    out->texts = out->head.sort == PQ_NPY_BYTES || out->head.sort == PQ_NPY_UNICODE;
cleanup:
    return st;
}

static pq_status get_member(const pq_arrays *a, const char *name, pq_array *out,
                            pq_err *err)
{
    char                *whole = pq_format("%s.npy", name);
    const pq_zip_member *m     = whole != NULL ? pq_zip_find(&a->zip, whole) : NULL;
    pq_status            st;

    PQ_CHECK(whole != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    assert(m != NULL); /* it is listed */
    if (m->deflated) {
        PQ_TRY(unpack(m, &out->map, err));
        PQ_TRY(take_head(out->map.at, out->map.n, out, err));
    } else {
        PQ_TRY(take_head(m->bytes, m->n, out, err));
    }
cleanup:
    pq_free(whole);
    return st;
}

static pq_status get_file(const pq_arrays *a, const char *name, pq_array *out,
                          pq_err *err)
{
    char     *path = pq_array_file(a, name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_map_open(path, &out->map, err));
    PQ_TRY(take_head(out->map.at, out->map.n, out, err));
cleanup:
    pq_free(path);
    return st;
}

static pq_status get_dataset(const pq_arrays *a, const char *name, pq_array *out,
                             pq_err *err)
{
    pq_h5_info info;
    pq_status  st;

    PQ_TRY(pq_h5_describe(a->h5, name, &info, err));
    PQ_CHECK(info.kind != PQ_H5_COMPOUND, PQ_ERR_UNSUPPORTED,
             "%s: '%s' has columns of its own: write each as a dataset", a->path, name);
    PQ_CHECK(
        info.kind == PQ_H5_INTEGER || info.kind == PQ_H5_FLOAT || info.kind == PQ_H5_TEXT,
        PQ_ERR_UNSUPPORTED, "%s: '%s' holds neither numbers nor texts", a->path, name);
    out->shape = info.shape;
    out->texts = info.kind == PQ_H5_TEXT;
cleanup:
    return st;
}

pq_status pq_arrays_get(const pq_arrays *a, const char *name, pq_array *out, pq_err *err)
{
    pq_array  array = {0};
    pq_text   all   = {0};
    pq_status st;

    if (pq_arrays_find(a, name) == SIZE_MAX) {
        pq_arrays_tell(a, &all);
        PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: has no array '%s'; there are %s", a->path, name,
                all.text != NULL ? all.text : "none");
    }
    PQ_STRDUP(array.name, name);
    if (a->h5 != NULL) {
        PQ_TRY(get_dataset(a, name, &array, err));
    } else {
        st = a->folder != NULL ? get_file(a, name, &array, err)
                               : get_member(a, name, &array, err);
        if (st != PQ_OK) {
            pq_err_context(err, "%s: '%.100s'", a->path, name);
            goto cleanup;
        }
    }
    *out  = array;
    array = (pq_array){0};
cleanup:
    pq_array_free(&array);
    pq_text_free(&all);
    return st;
}

void pq_array_free(pq_array *array)
{
    pq_map_close(&array->map);
    pq_free(array->name);
    *array = (pq_array){0};
}

void pq_arrays_tell(const pq_arrays *a, pq_text *out)
{
    for (size_t i = 0; i < a->n && i < MOST_TOLD; i++) {
        pq_array array = {0};
        char     shape[128];
        pq_text_add(out, "%s%s", i == 0 ? "" : ", ", a->names[i]);
        if (pq_arrays_get(a, a->names[i], &array, NULL) == PQ_OK) {
            pq_text_add(out, " %s%s", pq_shape_text(&array.shape, shape, sizeof shape),
                        array.texts ? " of texts" : "");
        }
        pq_array_free(&array);
    }
    if (a->n > MOST_TOLD) {
        pq_text_add(out, " and %zu more", a->n - MOST_TOLD);
    }
    if (a->n == 0) {
        pq_text_add(out, "none");
    }
}

/* Numbers of rows of NumPy's, in C's order or Fortran's. */
static void convert(const pq_array *array, pq_rows rows, pq_dtype dtype, uint8_t *out)
{
    const pq_npy *h    = &array->head;
    const size_t  each = h->count / h->shape.dim[0], size = pq_dtype_bytes(dtype);

    if (!h->by_columns) {
        const uint8_t *from = array->at + rows.first * each * h->item;
        pq_npy_numbers(h, from, rows.n * each, dtype, out, 1);
        pq_map_release(from, rows.n * each * h->item);
        return;
    }
    for (size_t j = 0; j < each; j++) { /* the j-th value of all rows lies side by side */
        size_t at = 0, step = h->count, rest = j;
        for (size_t d = h->shape.ndim; d-- > 1;) {
            step /= h->shape.dim[d];
            at += rest % h->shape.dim[d] * step;
            rest /= h->shape.dim[d];
        }
        pq_npy_numbers(h, array->at + (at + rows.first) * h->item, rows.n, dtype,
                       out + j * size, each);
    }
}

pq_status pq_array_numbers(const pq_arrays *a, const pq_array *array, pq_rows rows,
                           pq_dtype dtype, void *out, pq_err *err)
{
    if (array->at == NULL) {
        return pq_h5_read_rows(a->h5, array->name, rows, dtype, out, err);
    }
    convert(array, rows, dtype, out);
    return PQ_OK;
}

pq_status pq_array_texts(const pq_arrays *a, const pq_array *array, char ***texts,
                         size_t *n, pq_err *err)
{
    char    **list = NULL;
    pq_status st;

    if (array->at == NULL) {
        return pq_h5_read_texts(a->h5, array->name, texts, n, err);
    }
    PQ_CHECK(array->head.count <= MOST_TEXTS, PQ_ERR_FORMAT,
             "%s: '%s' holds %zu texts, and at most %d are read: give numbers", a->path,
             array->name, array->head.count, MOST_TEXTS);
    PQ_NEW(list, array->head.count);
    for (size_t i = 0; i < array->head.count; i++) {
        st = pq_npy_text(&array->head, array->at + i * array->head.item, &list[i], err);
        if (st != PQ_OK) {
            pq_err_context(err, "%s: '%s': item %zu", a->path, array->name, i);
            goto cleanup;
        }
    }
    *texts = list;
    *n     = array->head.count;
    list   = NULL;
cleanup:
    pq_h5_free_texts(&list, array->head.count);
    return st;
}
