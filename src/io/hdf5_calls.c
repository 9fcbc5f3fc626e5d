/* The public functions: under the lock, in this process or through a reader. */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"

enum { MAX_PARTS = 10000 };

/* One call under the lock. */
#define LOCKED(type, call)                                                               \
    do {                                                                                 \
        type got;                                                                        \
        pq_h5_enter();                                                                   \
        got = (call);                                                                    \
        pq_h5_leave();                                                                   \
        return got;                                                                      \
    } while (0)

bool pq_h5_has(pq_h5 *f, const char *path)
{
    LOCKED(bool, f->reader != NULL ? pq_h5_reader_has(f->reader, path)
                                   : pq_h5_check_links(f, path, NULL) == PQ_OK);
}

pq_status pq_h5_list(pq_h5 *f, const char *group, char ***names, size_t *n, pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL
                          ? pq_h5_reader_list(f->reader, group, names, n, err)
                          : pq_h5_local_list(f, group, names, n, err));
}

pq_h5_class pq_h5_kind(pq_h5 *f, const char *path)
{
    LOCKED(pq_h5_class, f->reader != NULL ? pq_h5_reader_kind(f->reader, path)
                                          : pq_h5_local_kind(f, path));
}

pq_status pq_h5_describe(pq_h5 *f, const char *path, pq_h5_info *out, pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL ? pq_h5_reader_describe(f->reader, path, out, err)
                                        : pq_h5_local_describe(f, path, out, err));
}

static pq_status read_rows(pq_h5 *f, const char *path, const pq_rows *rows,
                           pq_dtype dtype, void *out, pq_err *err)
{
    LOCKED(pq_status,
           f->reader != NULL
               ? pq_h5_reader_rows(f->reader, path, rows, NULL, 0, dtype, out, err)
               : pq_h5_local_read_rows(f, path, rows, dtype, out, err));
}

pq_status pq_h5_read_rows(pq_h5 *f, const char *path, pq_rows rows, pq_dtype dtype,
                          void *out, pq_err *err)
{
    return read_rows(f, path, &rows, dtype, out, err);
}

pq_status pq_h5_read(pq_h5 *f, const char *path, pq_dtype dtype, size_t max_bytes,
                     pq_tensor **out, pq_err *err)
{
    pq_h5_info info;
    pq_tensor *t     = NULL;
    pq_rows    all   = {0};
    size_t     count = 0;
    pq_status  st;

    PQ_TRY(pq_h5_describe(f, path, &info, err));
    PQ_CHECK(info.kind != PQ_H5_GROUP, PQ_ERR_FORMAT, "%s: %s is a group, not a dataset",
             f->path, path);
    PQ_CHECK(pq_h5_is_number(info.kind), PQ_ERR_FORMAT, "%s: %s holds %s, not numbers",
             f->path, path, pq_h5_class_text(info.kind));
    PQ_CHECK(pq_shape_count(&info.shape, &count) &&
                 count <= max_bytes / pq_dtype_bytes(dtype),
             PQ_ERR_FORMAT, "%s: %s has more than the %zu bytes that are read", f->path,
             path, max_bytes);
    PQ_TRY(pq_tensor_create(dtype, info.shape, &t, err));
    all.n = info.shape.ndim > 0 ? info.shape.dim[0] : 0; /* rows come in pieces */
    PQ_TRY(read_rows(f, path, info.shape.ndim > 0 ? &all : NULL, dtype, t->data, err));
    *out = t;
    t    = NULL;
cleanup:
    pq_tensor_free(&t);
    return st;
}

pq_status pq_h5_columns(pq_h5 *f, const char *path, char ***names, size_t *n, pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL
                          ? pq_h5_reader_names(f->reader, path, true, names, n, err)
                          : pq_h5_local_columns(f, path, names, n, err));
}

pq_status pq_h5_read_columns(pq_h5 *f, const char *path, pq_rows rows,
                             const char *const *names, size_t n_names, pq_dtype dtype,
                             void *out, pq_err *err)
{
    LOCKED(
        pq_status,
        f->reader != NULL
            ? pq_h5_reader_rows(f->reader, path, &rows, names, n_names, dtype, out, err)
            : pq_h5_local_read_columns(f, path, rows, names, n_names, dtype, out, err));
}

pq_status pq_h5_read_texts(pq_h5 *f, const char *path, char ***texts, size_t *n,
                           pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL
                          ? pq_h5_reader_names(f->reader, path, false, texts, n, err)
                          : pq_h5_local_read_texts(f, path, texts, n, err));
}

static bool has_attr(pq_h5 *f, const char *path, const char *name)
{
    hid_t object = -1;
    bool  yes;

    if (f->reader != NULL) {
        return pq_h5_reader_has_attr(f->reader, path, name);
    }
    yes = pq_h5_object(f, path, &object, NULL) == PQ_OK && H5Aexists(object, name) > 0;
    pq_h5_drop(object);
    return yes;
}

bool pq_h5_has_attr(pq_h5 *f, const char *path, const char *name)
{
    LOCKED(bool, has_attr(f, path, name));
}

pq_status pq_h5_attr_numbers(pq_h5 *f, const char *path, const char *name, double **out,
                             size_t *n, pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL
                          ? pq_h5_reader_attr_numbers(f->reader, path, name, out, n, err)
                          : pq_h5_local_attr_numbers(f, path, name, out, n, err));
}

/* One attribute as it is, whole. */
static pq_status attr_list(pq_h5 *f, const char *path, const char *name, char ***out,
                           size_t *n, pq_err *err)
{
    LOCKED(pq_status, f->reader != NULL
                          ? pq_h5_reader_attr_texts(f->reader, path, name, out, n, err)
                          : pq_h5_local_attr_texts(f, path, name, out, n, err));
}

pq_status pq_h5_attr_text(pq_h5 *file, const char *path, const char *name, char **out,
                          pq_err *err)
{
    char    **list = NULL;
    size_t    n    = 0;
    pq_status st;

    PQ_TRY(attr_list(file, path, name, &list, &n, err));
    PQ_CHECK(n == 1, PQ_ERR_FORMAT, "%s: attribute '%s' of %s holds %zu texts, not one",
             file->path, name, path, n);
    *out    = list[0];
    list[0] = NULL;
cleanup:
    pq_h5_free_texts(&list, n);
    return st;
}

/* Appends the texts of `part` to `all`. */
static pq_status join(char ***all, size_t *n, char ***part, size_t n_part, pq_err *err)
{
    char    **grown = pq_recalloc(*all, *n, *n + n_part, sizeof **all);
    pq_status st;

    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a list of texts");
    *all = grown;
    memcpy(grown + *n, *part, n_part * sizeof **part);
    *n += n_part;
    pq_free(*part);
    *part = NULL;
cleanup:
    return st;
}

pq_status pq_h5_attr_texts(pq_h5 *file, const char *path, const char *name, char ***out,
                           size_t *n, pq_err *err)
{
    char    **all = NULL, **part = NULL;
    size_t    n_all = 0, n_part = 0;
    char      numbered[160];
    pq_status st;

    (void)snprintf(numbered, sizeof numbered, "%s0", name);
    if (pq_h5_has_attr(file, path, name) || !pq_h5_has_attr(file, path, numbered)) {
        PQ_TRY(attr_list(file, path, name, out, n, err));
        goto cleanup;
    }
    for (int i = 0; i < MAX_PARTS; i++) {
        (void)snprintf(numbered, sizeof numbered, "%s%d", name, i);
        if (!pq_h5_has_attr(file, path, numbered)) {
            break;
        }
        PQ_TRY(attr_list(file, path, numbered, &part, &n_part, err));
        PQ_TRY(join(&all, &n_all, &part, n_part, err));
    }
    *out = all;
    *n   = n_all;
    all  = NULL;
cleanup:
    pq_h5_free_texts(&part, n_part);
    pq_h5_free_texts(&all, n_all);
    return st;
}
