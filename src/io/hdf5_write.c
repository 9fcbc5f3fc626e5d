#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"

/* A compact dataset lives in its object header, whose messages end at 64 KiB. */
enum { COMPACT_BYTES = 60000, CHUNK_BYTES = 1 << 20, MAX_COMPACT_ATTRS = 64 };

static hid_t object_list(hid_t kind)
{
    const hid_t list = H5Pcreate(kind);

    (void)H5Pset_obj_track_times(list, false);
    (void)H5Pset_attr_phase_change(list, MAX_COMPACT_ATTRS, 0);
    return list;
}

static pq_status fail_write(const pq_h5 *file, const char *path, pq_err *err)
{
    char why[256];

    return pq_err_set(err, pq_h5_status(PQ_ERR_IO), __FILE__, __LINE__,
                      "%s: %s cannot be written: %s", file->path, path,
                      pq_h5_reason(why, sizeof why));
}

/* Makes the groups of the first n characters of a path, one by one: those that libhdf5
 * makes by itself carry times. */
static pq_status make_groups(pq_h5 *file, const char *path, size_t n, pq_err *err)
{
    const hid_t list = object_list(H5P_GROUP_CREATE);
    char       *part = NULL;
    pq_status   st;

    PQ_STRDUP(part, path);
    part[n] = '\0';
    for (size_t i = 0; i <= n; i++) {
        const char keep = part[i];
        if (i == 0 || (keep != '/' && keep != '\0')) {
            continue;
        }
        part[i] = '\0';
        if (!pq_h5_has(file, part)) {
            const hid_t id = H5Gcreate2(file->id, part, H5P_DEFAULT, list, H5P_DEFAULT);
            if (id <= 0) {
                PQ_TRY(fail_write(file, part, err));
            }
            pq_h5_drop(id);
        }
        part[i] = keep;
    }
cleanup:
    pq_free(part);
    pq_h5_drop(list);
    return st;
}

pq_status pq_h5_make_group(pq_h5 *file, const char *path, pq_err *err)
{
    pq_status st;

    pq_h5_enter();
    st = make_groups(file, path, strlen(path), err);
    pq_h5_leave();
    return st;
}

/* What a new dataset is made of. */
typedef struct {
    hid_t    type;
    pq_shape shape;
    pq_shape chunk; /* ndim 0 = not chunked */
    bool     grows;
    int      gzip;
} recipe;

static hid_t create_list(const recipe *r)
{
    const hid_t list = object_list(H5P_DATASET_CREATE);
    hsize_t     chunk[PQ_MAX_DIMS];
    size_t      count = 0;

    if (r->chunk.ndim > 0) {
        for (size_t i = 0; i < r->chunk.ndim; i++) {
            chunk[i] = r->chunk.dim[i];
        }
        (void)H5Pset_chunk(list, (int)r->chunk.ndim, chunk);
        if (r->gzip > 0) {
            (void)H5Pset_shuffle(list);
            (void)H5Pset_deflate(list, (unsigned)r->gzip);
        }
    } else if (pq_shape_count(&r->shape, &count) &&
               count <= COMPACT_BYTES / H5Tget_size(r->type)) {
        (void)H5Pset_layout(list, H5D_COMPACT);
    }
    return list;
}

static hid_t make_space(const recipe *r)
{
    hsize_t dim[PQ_MAX_DIMS], most[PQ_MAX_DIMS];

    for (size_t i = 0; i < r->shape.ndim; i++) {
        dim[i]  = r->shape.dim[i];
        most[i] = r->grows && i == 0 ? H5S_UNLIMITED : dim[i];
    }
    return r->shape.ndim == 0 ? H5Screate(H5S_SCALAR)
                              : H5Screate_simple((int)r->shape.ndim, dim, most);
}

/* Makes a dataset and, where there are any, writes all its values. */
static pq_status make_dataset(pq_h5 *file, const char *path, const recipe *r,
                              const void *data, pq_err *err)
{
    const char *name = strrchr(path, '/');
    const hid_t list = create_list(r), space = make_space(r);
    hid_t       id = -1;
    pq_status   st = PQ_OK;

    if (name != NULL) {
        PQ_TRY(make_groups(file, path, (size_t)(name - path), err));
    }
    id = H5Dcreate2(file->id, path, r->type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (id <= 0 || (data != NULL &&
                    H5Dwrite(id, r->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)) {
        PQ_TRY(fail_write(file, path, err));
    }
cleanup:
    if (!pq_h5_drop(id) && st == PQ_OK) { /* chunks are written when it is closed */
        st = fail_write(file, path, err);
    }
    pq_h5_drop(space);
    pq_h5_drop(list);
    return st;
}

/* Rows of about 1 MB. */
static size_t rows_of_chunk(pq_dtype dtype, const pq_shape *row)
{
    size_t items = 1;

    (void)pq_shape_count(row, &items);
    items *= pq_dtype_bytes(dtype);
    return items == 0 ? CHUNK_BYTES : items >= CHUNK_BYTES ? 1 : CHUNK_BYTES / items;
}

static pq_shape with_rows(size_t n, const pq_shape *row)
{
    pq_shape shape = {.ndim = row->ndim + 1, .dim = {n}};

    memcpy(shape.dim + 1, row->dim, row->ndim * sizeof *row->dim);
    return shape;
}

pq_status pq_h5_write(pq_h5 *file, const char *path, const pq_tensor *t, int gzip,
                      pq_err *err)
{
    recipe    r = {.shape = t->shape, .gzip = gzip};
    pq_status st;

    pq_h5_enter();
    PQ_TRY(pq_h5_memory_type(t->dtype, &r.type, err));
    if (gzip > 0 && t->count > 0 && t->shape.ndim > 0) {
        pq_shape row  = {.ndim = t->shape.ndim - 1};
        size_t   rows = 0;
        memcpy(row.dim, t->shape.dim + 1, row.ndim * sizeof *row.dim);
        rows    = rows_of_chunk(t->dtype, &row);
        r.chunk = with_rows(rows < t->shape.dim[0] ? rows : t->shape.dim[0], &row);
    }
    PQ_TRY(make_dataset(file, path, &r, t->count > 0 ? t->data : NULL, err));
cleanup:
    pq_h5_drop(r.type);
    pq_h5_leave();
    return st;
}

/* Fixed-length UTF-8, NUL-padded: small, and the same bytes every time. */
static hid_t text_type(size_t length)
{
    const hid_t type = H5Tcopy(H5T_C_S1);

    (void)H5Tset_size(type, length == 0 ? 1 : length);
    (void)H5Tset_strpad(type, H5T_STR_NULLPAD);
    (void)H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

pq_status pq_h5_write_text(pq_h5 *file, const char *path, const char *text, pq_err *err)
{
    recipe    r = {0};
    pq_status st;

    pq_h5_enter();
    r.type = text_type(strlen(text));
    st     = make_dataset(file, path, &r, text, err);
    pq_h5_drop(r.type);
    pq_h5_leave();
    return st;
}

pq_status pq_h5_make_rows(pq_h5 *file, const char *path, pq_dtype dtype, pq_shape row,
                          int gzip, pq_err *err)
{
    recipe    r = {.grows = true, .gzip = gzip};
    pq_status st;

    pq_h5_enter();
    PQ_CHECK(row.ndim < PQ_MAX_DIMS, PQ_ERR_SHAPE,
             "%s: %s: a row has %zu dimensions, at most %d", file->path, path, row.ndim,
             PQ_MAX_DIMS - 1);
    PQ_TRY(pq_h5_memory_type(dtype, &r.type, err));
    r.shape = with_rows(0, &row);
    r.chunk = with_rows(rows_of_chunk(dtype, &row), &row);
    PQ_TRY(make_dataset(file, path, &r, NULL, err));
cleanup:
    pq_h5_drop(r.type);
    pq_h5_leave();
    return st;
}

pq_status pq_h5_write_rows(pq_h5 *file, const char *path, pq_rows rows, pq_dtype dtype,
                           const void *data, pq_err *err)
{
    hid_t     id, space = -1, memory = -1, type = -1;
    hsize_t   dim[PQ_MAX_DIMS] = {0}, start[PQ_MAX_DIMS] = {0};
    pq_shape  shape;
    pq_status st;

    pq_h5_enter();
    PQ_TRY(pq_h5_dataset(file, path, &id, err));
    PQ_TRY(pq_h5_memory_type(dtype, &type, err));
    space = H5Dget_space(id);
    PQ_TRY(pq_h5_shape(file, path, space, &shape, err));
    for (size_t i = 0; i < shape.ndim; i++) {
        dim[i] = shape.dim[i];
    }
    if (rows.first + rows.n > shape.dim[0]) {
        dim[0] = rows.first + rows.n;
        if (H5Dset_extent(id, dim) < 0) {
            PQ_TRY(fail_write(file, path, err));
        }
        pq_h5_drop(space);
        space = H5Dget_space(id);
    }
    start[0] = rows.first;
    dim[0]   = rows.n;
    memory   = H5Screate_simple((int)shape.ndim, dim, NULL);
    if (rows.n > 0 &&
        (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, dim, NULL) < 0 ||
         H5Dwrite(id, type, memory, space, H5P_DEFAULT, data) < 0)) {
        PQ_TRY(fail_write(file, path, err));
    }
cleanup:
    pq_h5_drop(space);
    pq_h5_drop(memory);
    pq_h5_drop(type);
    pq_h5_leave();
    return st;
}

/* Writes one attribute in place of one that is there. */
static pq_status write_attr(pq_h5 *file, const char *path, const char *name, hid_t type,
                            hid_t space, const void *values, pq_err *err)
{
    hid_t     object = -1, id = -1;
    pq_status st;

    PQ_TRY(pq_h5_object(file, path, &object, err));
    if (H5Aexists(object, name) > 0) {
        (void)H5Adelete(object, name);
    }
    id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (id <= 0 || H5Awrite(id, type, values) < 0) {
        PQ_TRY(fail_write(file, path, err));
    }
cleanup:
    pq_h5_drop(id);
    pq_h5_drop(object);
    return st;
}

pq_status pq_h5_set_text(pq_h5 *file, const char *path, const char *name,
                         const char *text, pq_err *err)
{
    hid_t     type, space;
    pq_status st;

    pq_h5_enter();
    type  = text_type(strlen(text));
    space = H5Screate(H5S_SCALAR);
    st    = write_attr(file, path, name, type, space, text, err);
    pq_h5_drop(type);
    pq_h5_drop(space);
    pq_h5_leave();
    return st;
}

pq_status pq_h5_set_texts(pq_h5 *file, const char *path, const char *name,
                          const char *const *texts, size_t n, pq_err *err)
{
    const hsize_t dim  = n;
    hid_t         type = -1, space = -1;
    char         *bytes = NULL;
    size_t        size  = 1;
    pq_status     st;

    pq_h5_enter();
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(texts[i]);
        size                = length > size ? length : size;
    }
    PQ_NEW(bytes, n * size);
    for (size_t i = 0; i < n; i++) {
        memcpy(bytes + i * size, texts[i], strlen(texts[i]));
    }
    type  = text_type(size);
    space = H5Screate_simple(1, &dim, NULL);
    PQ_TRY(write_attr(file, path, name, type, space, bytes, err));
cleanup:
    pq_free(bytes);
    pq_h5_drop(type);
    pq_h5_drop(space);
    pq_h5_leave();
    return st;
}

pq_status pq_h5_set_numbers(pq_h5 *file, const char *path, const char *name,
                            pq_dtype dtype, const void *values, size_t n, pq_err *err)
{
    const hsize_t dim  = n;
    hid_t         type = -1, space = -1;
    pq_status     st;

    pq_h5_enter();
    PQ_TRY(pq_h5_memory_type(dtype, &type, err));
    space = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, NULL);
    PQ_TRY(write_attr(file, path, name, type, space, values, err));
cleanup:
    pq_h5_drop(type);
    pq_h5_drop(space);
    pq_h5_leave();
    return st;
}
