#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"

enum { MAX_ATTR_BYTES = 64 << 20, MAX_TEXTS = 1000000 };

static herr_t read_source(pq_h5_source source, hid_t type, void *out)
{
    return source.is_attr ? H5Aread(source.id, type, out)
                          : H5Dread(source.id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);
}

/* Texts of a fixed length, padded with NULs or spaces. */
static pq_status fixed_texts(const pq_h5 *file, pq_h5_source source, hid_t type, size_t n,
                             char **out, pq_err *err)
{
    const size_t size   = H5Tget_size(type);
    const bool   spaces = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    char        *bytes  = NULL;
    size_t       total  = 0;
    pq_status    st;

    PQ_CHECK(!__builtin_mul_overflow(n, size, &total) && total <= MAX_ATTR_BYTES,
             PQ_ERR_FORMAT, "%s: %s: more than %d bytes of text", file->path, source.path,
             MAX_ATTR_BYTES);
    PQ_NEW(bytes, total);
    PQ_CHECK(read_source(source, type, bytes) >= 0, pq_h5_status(PQ_ERR_FORMAT),
             "%s: %s: its text cannot be read", file->path, source.path);
    for (size_t i = 0; i < n; i++) {
        size_t length = strnlen(bytes + i * size, size);
        while (spaces && length > 0 && bytes[i * size + length - 1] == ' ') {
            length--;
        }
        PQ_NEW(out[i], length + 1);
        memcpy(out[i], bytes + i * size, length);
    }
cleanup:
    pq_free(bytes);
    return st;
}

static pq_status variable_texts(const pq_h5 *file, pq_h5_source source, hid_t file_type,
                                hid_t space, size_t n, char **out, pq_err *err)
{
    const hid_t type  = H5Tcopy(H5T_C_S1);
    char      **list  = NULL;
    bool        taken = false;
    pq_status   st;

    PQ_NEW(list, n);
    (void)H5Tset_size(type, H5T_VARIABLE);
    (void)H5Tset_cset(type, H5Tget_cset(file_type));
    PQ_CHECK(read_source(source, type, list) >= 0, pq_h5_status(PQ_ERR_FORMAT),
             "%s: %s: its text cannot be read", file->path, source.path);
    taken = true;
    for (size_t i = 0; i < n; i++) {
        PQ_STRDUP(out[i], list[i] != NULL ? list[i] : "");
    }
cleanup:
    if (taken) {
        (void)H5Dvlen_reclaim(type, space, H5P_DEFAULT, list);
    }
    pq_free(list);
    pq_h5_drop(type);
    return st;
}

pq_status pq_h5_texts(const pq_h5 *file, pq_h5_source source, char ***out, size_t *n,
                      pq_err *err)
{
    const hid_t type = source.is_attr ? H5Aget_type(source.id) : H5Dget_type(source.id);
    const hid_t space =
        source.is_attr ? H5Aget_space(source.id) : H5Dget_space(source.id);
    char    **list = NULL;
    pq_shape  shape;
    size_t    count = 0;
    pq_status st;

    PQ_TRY(pq_h5_shape(file, source.path, space, &shape, err));
    PQ_CHECK(pq_shape_count(&shape, &count) && count <= MAX_TEXTS, PQ_ERR_FORMAT,
             "%s: %s: more than %d texts", file->path, source.path, MAX_TEXTS);
    /* An empty list has any type: Keras writes one of float64. */
    PQ_CHECK(count == 0 || H5Tget_class(type) == H5T_STRING, PQ_ERR_FORMAT,
             "%s: %s: holds no text", file->path, source.path);
    PQ_NEW(list, count);
    if (count > 0 && H5Tis_variable_str(type) > 0) {
        PQ_TRY(variable_texts(file, source, type, space, count, list, err));
    } else if (count > 0) {
        PQ_TRY(fixed_texts(file, source, type, count, list, err));
    }
    *out = list;
    *n   = count;
    list = NULL;
cleanup:
    pq_h5_free_texts(&list, count);
    pq_h5_drop(type);
    pq_h5_drop(space);
    return st;
}

pq_status pq_h5_local_read_texts(pq_h5 *file, const char *path, char ***texts, size_t *n,
                                 pq_err *err)
{
    hid_t     id;
    pq_status st;

    PQ_TRY(pq_h5_dataset(file, path, &id, err));
    PQ_TRY(pq_h5_texts(file, (pq_h5_source){path, id, false}, texts, n, err));
cleanup:
    return st;
}

pq_h5_place pq_h5_attr_place(const char *path, const char *name)
{
    pq_h5_place at;

    (void)snprintf(at.text, sizeof at.text, "attribute '%s' of %s", name, path);
    return at;
}

pq_status pq_h5_attr(const pq_h5 *file, hid_t object, const char *name,
                     const pq_h5_place *at, hid_t *out, pq_err *err)
{
    pq_status st;

    *out = H5Aopen(object, name, H5P_DEFAULT);
    PQ_CHECK(*out > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged", file->path,
             at->text);
cleanup:
    return st;
}

static pq_status open_attr(pq_h5 *file, const char *path, const char *name,
                           const pq_h5_place *at, hid_t *out, pq_err *err)
{
    hid_t     object = -1;
    pq_status st;

    PQ_TRY(pq_h5_object(file, path, &object, err));
    PQ_CHECK(H5Aexists(object, name) > 0, PQ_ERR_NOT_FOUND,
             "%s: %s has no attribute '%s'", file->path, path, name);
    PQ_TRY(pq_h5_attr(file, object, name, at, out, err));
cleanup:
    pq_h5_drop(object);
    return st;
}

pq_status pq_h5_local_attr_texts(pq_h5 *file, const char *path, const char *name,
                                 char ***out, size_t *n, pq_err *err)
{
    const pq_h5_place at = pq_h5_attr_place(path, name);
    hid_t             id = -1;
    pq_status         st;

    PQ_TRY(open_attr(file, path, name, &at, &id, err));
    PQ_TRY(pq_h5_texts(file, (pq_h5_source){at.text, id, true}, out, n, err));
cleanup:
    pq_h5_drop(id);
    return st;
}

pq_status pq_h5_numbers(const pq_h5 *file, const pq_h5_place *at, hid_t attr,
                        double **out, size_t *n, pq_err *err)
{
    const hid_t       type = H5Aget_type(attr), space = H5Aget_space(attr);
    const H5T_class_t kind   = H5Tget_class(type);
    double           *values = NULL;
    pq_shape          shape;
    size_t            count = 0;
    pq_status         st;

    PQ_CHECK(kind == H5T_INTEGER || kind == H5T_FLOAT || kind == H5T_ENUM, PQ_ERR_FORMAT,
             "%s: %s holds no numbers", file->path, at->text);
    PQ_TRY(pq_h5_shape(file, at->text, space, &shape, err));
    PQ_CHECK(pq_shape_count(&shape, &count) && count <= MAX_ATTR_BYTES / sizeof *values,
             PQ_ERR_FORMAT, "%s: %s has too many numbers", file->path, at->text);
    PQ_NEW(values, count);
    PQ_CHECK(count == 0 || H5Aread(attr, H5T_NATIVE_DOUBLE, values) >= 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: %s cannot be read", file->path, at->text);
    *out   = values;
    *n     = count;
    values = NULL;
cleanup:
    pq_free(values);
    pq_h5_drop(type);
    pq_h5_drop(space);
    return st;
}

pq_status pq_h5_local_attr_numbers(pq_h5 *file, const char *path, const char *name,
                                   double **out, size_t *n, pq_err *err)
{
    const pq_h5_place at = pq_h5_attr_place(path, name);
    hid_t             id = -1;
    pq_status         st;

    PQ_TRY(open_attr(file, path, name, &at, &id, err));
    PQ_TRY(pq_h5_numbers(file, &at, id, out, n, err));
cleanup:
    pq_h5_drop(id);
    return st;
}
