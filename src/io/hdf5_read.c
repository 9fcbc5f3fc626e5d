#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"

pq_h5_class pq_h5_class_of(hid_t type)
{
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
    case H5T_ENUM:
        return PQ_H5_INTEGER;
    case H5T_FLOAT:
        return PQ_H5_FLOAT;
    case H5T_STRING:
        return PQ_H5_TEXT;
    case H5T_COMPOUND:
        return PQ_H5_COMPOUND;
    case H5T_NO_CLASS:
    case H5T_TIME:
    case H5T_BITFIELD:
    case H5T_OPAQUE:
    case H5T_REFERENCE:
    case H5T_VLEN:
    case H5T_ARRAY:
    case H5T_NCLASSES:
        break;
    }
    return PQ_H5_OTHER;
}

const char *pq_h5_class_text(pq_h5_class kind)
{
    static const char *const text[] = {
        [PQ_H5_GROUP]    = "a group",
        [PQ_H5_INTEGER]  = "integers",
        [PQ_H5_FLOAT]    = "floats",
        [PQ_H5_TEXT]     = "texts",
        [PQ_H5_COMPOUND] = "a compound",
        [PQ_H5_OTHER]    = "values of a type that is not read",
    };

    return text[kind];
}

/* bool is an enum of integers; libhdf5 converts it, other enums too. */
bool pq_h5_is_number(pq_h5_class kind)
{
    return kind == PQ_H5_INTEGER || kind == PQ_H5_FLOAT;
}

/* IEEE half, which libhdf5 1.10 has no name for. */
static hid_t half_type(void)
{
    const hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);

    (void)H5Tset_fields(type, 15, 10, 5, 0, 10);
    (void)H5Tset_size(type, 2);
    (void)H5Tset_ebias(type, 15);
    return type;
}

pq_status pq_h5_memory_type(pq_dtype dtype, hid_t *out, pq_err *err)
{
    const hid_t native[PQ_DTYPE_COUNT] = {
        [PQ_DTYPE_F32] = H5T_NATIVE_FLOAT, [PQ_DTYPE_F64] = H5T_NATIVE_DOUBLE,
        [PQ_DTYPE_I8] = H5T_NATIVE_INT8,   [PQ_DTYPE_U8] = H5T_NATIVE_UINT8,
        [PQ_DTYPE_I16] = H5T_NATIVE_INT16, [PQ_DTYPE_U16] = H5T_NATIVE_UINT16,
        [PQ_DTYPE_I32] = H5T_NATIVE_INT32, [PQ_DTYPE_U32] = H5T_NATIVE_UINT32,
        [PQ_DTYPE_I64] = H5T_NATIVE_INT64,
    };
    pq_status st;

    PQ_CHECK(dtype != PQ_DTYPE_BF16, PQ_ERR_UNSUPPORTED, "HDF5 has no bfloat16");
    *out = dtype == PQ_DTYPE_F16 ? half_type() : H5Tcopy(native[dtype]);
    PQ_CHECK(*out > 0, PQ_ERR_NOMEM, "cannot make an HDF5 type");
cleanup:
    return st;
}

/* Type to read numbers of type `have` into. 64 bits without a sign are handed over bit by
 * bit: libhdf5 would turn all of 2^63 and more into one number. */
static pq_status type_for(hid_t have, pq_dtype dtype, hid_t *out, pq_err *err)
{
    pq_status st;

    if (dtype != PQ_DTYPE_I64 || H5Tget_class(have) != H5T_INTEGER ||
        H5Tget_sign(have) != H5T_SGN_NONE) {
        return pq_h5_memory_type(dtype, out, err);
    }
    *out = H5Tcopy(H5T_NATIVE_UINT64);
    PQ_CHECK(*out > 0, PQ_ERR_NOMEM, "cannot make an HDF5 type");
cleanup:
    return st;
}

pq_h5_class pq_h5_kind_of(hid_t object)
{
    hid_t       type;
    pq_h5_class kind;

    if (H5Iget_type(object) != H5I_DATASET) { /* or a type that has a name */
        return H5Iget_type(object) == H5I_GROUP ? PQ_H5_GROUP : PQ_H5_OTHER;
    }
    type = H5Dget_type(object);
    kind = pq_h5_class_of(type);
    pq_h5_drop(type);
    return kind;
}

pq_h5_class pq_h5_local_kind(pq_h5 *file, const char *path)
{
    hid_t       object = -1;
    pq_h5_class kind   = PQ_H5_OTHER;

    if (pq_h5_object(file, path, &object, NULL) == PQ_OK) {
        kind = pq_h5_kind_of(object);
    }
    pq_h5_drop(object);
    return kind;
}

pq_status pq_h5_local_describe(pq_h5 *file, const char *path, pq_h5_info *out,
                               pq_err *err)
{
    hid_t      id = -1, space = -1, type = -1;
    pq_h5_info info = {.kind = PQ_H5_GROUP};
    pq_status  st;

    PQ_TRY(pq_h5_object(file, path, &id, err));
    info.kind = pq_h5_kind_of(id);
    pq_h5_drop(id);
    id = -1;
    if (info.kind != PQ_H5_GROUP) {
        hid_t kept;
        PQ_TRY(pq_h5_dataset(file, path, &kept, err));
        space = H5Dget_space(kept);
        type  = H5Dget_type(kept);
        PQ_TRY(pq_h5_shape(file, path, space, &info.shape, err));
        info.item_bytes = H5Tget_size(type);
    }
    *out = info;
cleanup:
    pq_h5_drop(id);
    pq_h5_drop(space);
    pq_h5_drop(type);
    return st;
}

/* A dataset with a selection of rows; {0} is empty. */
typedef struct {
    hid_t    id; /* not ours */
    hid_t    type, space, memory_space;
    pq_shape shape;
    size_t   row_items; /* items of one row */
} selection;

static void selection_drop(selection *s)
{
    pq_h5_drop(s->type);
    pq_h5_drop(s->space);
    pq_h5_drop(s->memory_space);
}

static pq_status select_rows(pq_h5 *file, const char *path, const pq_rows *rows,
                             selection *s, pq_err *err)
{
    hsize_t   start[PQ_MAX_DIMS] = {0}, n[PQ_MAX_DIMS] = {0};
    pq_status st;

    PQ_TRY(pq_h5_dataset(file, path, &s->id, err));
    s->type  = H5Dget_type(s->id);
    s->space = H5Dget_space(s->id);
    PQ_TRY(pq_h5_shape(file, path, s->space, &s->shape, err));
    s->row_items = 1;
    for (size_t i = 0; i < s->shape.ndim; i++) {
        n[i] = s->shape.dim[i];
        s->row_items *= i == 0 ? 1 : s->shape.dim[i];
    }
    if (rows != NULL) {
        PQ_CHECK(s->shape.ndim >= 1 && rows->n <= s->shape.dim[0] &&
                     rows->first <= s->shape.dim[0] - rows->n,
                 PQ_ERR_RANGE, "%s: %s has no rows %zu..%zu; it has %zu", file->path,
                 path, rows->first, rows->first + rows->n,
                 s->shape.ndim == 0 ? 0 : s->shape.dim[0]);
        start[0] = rows->first;
        n[0]     = rows->n;
        PQ_CHECK(rows->n == 0 || H5Sselect_hyperslab(s->space, H5S_SELECT_SET, start,
                                                     NULL, n, NULL) >= 0,
                 PQ_ERR_FORMAT, "%s: %s: its rows cannot be selected", file->path, path);
    }
    s->memory_space = H5Screate_simple((int)s->shape.ndim, n, NULL);
    PQ_CHECK(s->type > 0 && s->space > 0 && s->memory_space > 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged", file->path, path);
cleanup:
    return st;
}

enum { CONVERSION_BYTES = 1 << 16 };

/* Numbers of another type than the file's go through a buffer that libhdf5 clears for
 * every call: less than the megabyte that it would take. */
static hid_t transfer_list(const selection *s, hid_t memory_type)
{
    const bool converts =
        pq_h5_class_of(s->type) != PQ_H5_COMPOUND && H5Tequal(s->type, memory_type) == 0;
    const hid_t list = converts ? H5Pcreate(H5P_DATASET_XFER) : -1;

    return list > 0 && H5Pset_buffer(list, CONVERSION_BYTES, NULL, NULL) >= 0
               ? list
               : H5P_DEFAULT;
}

static pq_status read_selected(const pq_h5 *file, const char *path, const selection *s,
                               hid_t memory_type, void *out, pq_err *err)
{
    const hid_t list = transfer_list(s, memory_type);
    char        why[256];
    pq_status   st;

    PQ_CHECK(H5Dread(s->id, memory_type, s->memory_space, s->space, list, out) >= 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: %s cannot be read: %s", file->path, path,
             pq_h5_reason(why, sizeof why));
cleanup:
    if (list != H5P_DEFAULT) {
        (void)H5Pclose(list);
    }
    return st;
}

pq_status pq_h5_local_read_rows(pq_h5 *file, const char *path, const pq_rows *rows,
                                pq_dtype dtype, void *out, pq_err *err)
{
    selection s    = {0};
    hid_t     type = -1;
    pq_status st;

    PQ_TRY(select_rows(file, path, rows, &s, err));
    PQ_CHECK(pq_h5_is_number(pq_h5_class_of(s.type)), PQ_ERR_FORMAT,
             "%s: %s holds %s, not numbers", file->path, path,
             pq_h5_class_text(pq_h5_class_of(s.type)));
    PQ_TRY(type_for(s.type, dtype, &type, err));
    if (H5Sget_simple_extent_npoints(s.memory_space) > 0) {
        PQ_TRY(read_selected(file, path, &s, type, out, err));
    }
cleanup:
    pq_h5_drop(type);
    selection_drop(&s);
    return st;
}

static pq_status member_names(const pq_h5 *file, const char *path, hid_t type,
                              char ***names, size_t *n, pq_err *err)
{
    const int count = H5Tget_nmembers(type);
    char    **list  = NULL;
    pq_status st;

    PQ_CHECK(pq_h5_class_of(type) == PQ_H5_COMPOUND && count > 0, PQ_ERR_FORMAT,
             "%s: %s holds %s, not a compound with named columns", file->path, path,
             pq_h5_class_text(pq_h5_class_of(type)));
    PQ_NEW(list, (size_t)count);
    for (int i = 0; i < count; i++) {
        char *name = H5Tget_member_name(type, (unsigned)i);
        list[i]    = pq_strdup(name);
        (void)H5free_memory(name);
        PQ_CHECK(list[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
    *names = list;
    *n     = (size_t)count;
    list   = NULL;
cleanup:
    pq_h5_free_texts(&list, (size_t)(count > 0 ? count : 0));
    return st;
}

pq_status pq_h5_local_columns(pq_h5 *file, const char *path, char ***names, size_t *n,
                              pq_err *err)
{
    hid_t     id, type = -1;
    pq_status st;

    PQ_TRY(pq_h5_dataset(file, path, &id, err));
    type = H5Dget_type(id);
    PQ_TRY(member_names(file, path, type, names, n, err));
cleanup:
    pq_h5_drop(type);
    return st;
}

static pq_status no_column(const pq_h5 *file, const char *path, hid_t type,
                           const char *name, pq_err *err)
{
    char      **names = NULL;
    size_t      n     = 0;
    const char *near;
    pq_status   st;

    PQ_TRY(member_names(file, path, type, &names, &n, err));
    near = pq_nearest(name, (const char *const *)names, n);
    PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: %s has no column '%s'%s%s%s", file->path, path, name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    pq_h5_free_texts(&names, n);
    return st;
}

/* Packed compound of the wanted columns; libhdf5 matches members by name. */
static pq_status columns_type(const pq_h5 *file, const char *path, hid_t type,
                              const char *const *names, size_t n, pq_dtype dtype,
                              hid_t *out, pq_err *err)
{
    const size_t size = pq_dtype_bytes(dtype);
    hid_t        have = -1, member = -1;
    pq_status    st = PQ_OK;

    *out = H5Tcreate(H5T_COMPOUND, n * size);
    for (size_t i = 0; i < n; i++) {
        const int at = H5Tget_member_index(type, names[i]);

        if (at < 0) {
            PQ_TRY(no_column(file, path, type, names[i], err));
        }
        pq_h5_drop(have);
        pq_h5_drop(member);
        member = -1;
        have   = H5Tget_member_type(type, (unsigned)at);
        PQ_CHECK(pq_h5_is_number(pq_h5_class_of(have)), PQ_ERR_FORMAT,
                 "%s: %s: column '%s' holds no numbers", file->path, path, names[i]);
        PQ_TRY(type_for(have, dtype, &member, err));
        PQ_CHECK(H5Tinsert(*out, names[i], i * size, member) >= 0, PQ_ERR_FORMAT,
                 "%s: %s: column '%s' is wanted twice", file->path, path, names[i]);
    }
cleanup:
    pq_h5_drop(have);
    pq_h5_drop(member);
    return st;
}

pq_status pq_h5_local_read_columns(pq_h5 *file, const char *path, pq_rows rows,
                                   const char *const *names, size_t n_names,
                                   pq_dtype dtype, void *out, pq_err *err)
{
    selection s    = {0};
    hid_t     type = -1;
    pq_status st;

    PQ_TRY(select_rows(file, path, &rows, &s, err));
    PQ_CHECK(pq_h5_class_of(s.type) == PQ_H5_COMPOUND, PQ_ERR_FORMAT,
             "%s: %s holds %s, not a compound with named columns", file->path, path,
             pq_h5_class_text(pq_h5_class_of(s.type)));
    PQ_TRY(columns_type(file, path, s.type, names, n_names, dtype, &type, err));
    if (rows.n > 0 && s.row_items > 0) {
        PQ_TRY(read_selected(file, path, &s, type, out, err));
    }
cleanup:
    pq_h5_drop(type);
    selection_drop(&s);
    return st;
}
