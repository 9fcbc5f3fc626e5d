/*
 * HDF5 files from records. Types of items:
 *   i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8   numbers, little-endian; with a 'b' behind, big
 *   b       bool: an enumeration of one byte, as h5py writes it
 *   s<n>    text of n bytes
 *   v       text of any length; items end with a NUL
 *   o<n>    n opaque bytes
 *   r       a reference to an object
 *   c(name type,name type[3x2],…)      columns without gaps
 */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum {
    MOST_BYTES = 16 << 20, /* of a dataset whose items are stored */
    MOST_ATTR  = 1 << 18,  /* of an attribute, stored or not */
    MOST_TEXTS = 20000,
    MOST_CHUNKS =
        1 << 14, /* of a dataset whose items are stored: libhdf5 keeps them all */
    MOST_DIMS   = 8,
    MOST_FILTER = 307,  /* bzip2's number, which this libhdf5 lacks */
    LZF_FILTER  = 32000 /* h5py's own, which pquant reads */
};

/* "3x4": number of dimensions, 0 for "." and -1 for "-". */
static int dims_of(const char *text, hsize_t dim[MOST_DIMS])
{
    char *end;
    int   n = 0;

    if (text[0] == '-') {
        return -1;
    }
    while (n < MOST_DIMS && *text >= '0' && *text <= '9') {
        dim[n++] = strtoull(text, &end, 10);
        text     = *end == 'x' ? end + 1 : end;
    }
    return n;
}

static hid_t space_of(const char *text, size_t *items)
{
    hsize_t   dim[MOST_DIMS];
    const int n = dims_of(text, dim);

    *items = n < 0 ? 0 : 1;
    for (int i = 0; i < n; i++) {
        if (__builtin_mul_overflow(*items, (size_t)dim[i], items)) {
            *items = SIZE_MAX;
        }
    }
    return n < 0    ? H5Screate(H5S_NULL)
           : n == 0 ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(n, dim, NULL);
}

static hid_t half_type(void)
{
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);

    (void)H5Tset_fields(type, 15, 10, 5, 0, 10);
    (void)H5Tset_size(type, 2);
    (void)H5Tset_ebias(type, 15);
    return type;
}

static hid_t bool_type(void)
{
    const hid_t  type = H5Tenum_create(H5T_STD_I8LE);
    const int8_t no = 0, yes = 1;

    (void)H5Tenum_insert(type, "FALSE", &no);
    (void)H5Tenum_insert(type, "TRUE", &yes);
    return type;
}

static hid_t number_type(const char *text)
{
    static const char sizes[] = "1248";
    const hid_t  little[] = {H5T_STD_I8LE, H5T_STD_I16LE, H5T_STD_I32LE, H5T_STD_I64LE,
                             H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE};
    const char  *at       = text[1] != '\0' ? strchr(sizes, text[1]) : NULL;
    const size_t k        = at != NULL ? (size_t)(at - sizes) : 2;
    hid_t        type     = text[0] == 'f' ? k == 1   ? half_type()
                                             : k == 3 ? H5Tcopy(H5T_IEEE_F64LE)
                                                      : H5Tcopy(H5T_IEEE_F32LE)
                                           : H5Tcopy(little[k + (text[0] == 'u' ? 4 : 0)]);

    if (text[1] != '\0' && text[2] == 'b') {
        (void)H5Tset_order(type, H5T_ORDER_BE);
    }
    return type;
}

static hid_t text_type(size_t bytes)
{
    const hid_t type = H5Tcopy(H5T_C_S1);

    (void)H5Tset_size(type, bytes);
    (void)H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static size_t size_of(const char *text)
{
    const size_t n = strtoul(text, NULL, 10);

    return n > 0 && n < 200000 ? n : 1;
}

static hid_t simple_type(const char *text)
{
    switch (text[0]) {
    case 'b':
        return bool_type();
    case 's':
        return text_type(size_of(text + 1));
    case 'v':
        return text_type(H5T_VARIABLE);
    case 'o':
        return H5Tcreate(H5T_OPAQUE, size_of(text + 1));
    case 'r':
        return H5Tcopy(H5T_STD_REF_OBJ);
    default:
        return number_type(text);
    }
}

/* "type[3x2]": an array of it. */
static hid_t member_type(const char *text)
{
    const char *dims = strchr(text, '[');
    hsize_t     dim[MOST_DIMS];
    hid_t       type = simple_type(text[0] == 'v' ? "i4" : text), array;
    const int   n    = dims != NULL ? dims_of(dims + 1, dim) : 0;

    if (n <= 0) {
        return type;
    }
    array = H5Tarray_create2(type, (unsigned)n, dim);
    (void)H5Tclose(type);
    return array;
}

static hid_t compound_type(const char *text)
{
    char   copy[FUZZ_FIELD], *save = NULL;
    hid_t  members[64], type       = -1;
    char  *names[64];
    size_t n = 0, bytes = 0;

    (void)snprintf(copy, sizeof copy, "%s", text);
    for (char *part = strtok_r(copy, ",)", &save); part != NULL && n < 64;
         part       = strtok_r(NULL, ",)", &save)) {
        char *gap = strrchr(part, ' ');
        if (gap == NULL || gap == part) {
            continue;
        }
        *gap       = '\0';
        names[n]   = part;
        members[n] = member_type(gap + 1);
        bytes += H5Tget_size(members[n]);
        n++;
    }
    if (n > 0 && bytes < 65536) {
        type  = H5Tcreate(H5T_COMPOUND, bytes);
        bytes = 0;
        for (size_t i = 0; i < n; i++) {
            (void)H5Tinsert(type, names[i], bytes, members[i]);
            bytes += H5Tget_size(members[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        (void)H5Tclose(members[i]);
    }
    return type;
}

static hid_t type_of(const char *text)
{
    return text[0] == 'c' ? compound_type(text + (text[1] == '(' ? 2 : 1))
                          : simple_type(text);
}

/* Items as they lie in memory: n of the body, then zeros; NULL where too many. */
static void *items_of(const fuzz_record *r, hid_t type, size_t n, char **texts)
{
    const bool   text = H5Tis_variable_str(type) > 0;
    const size_t each = text ? sizeof(char *) : H5Tget_size(type);
    char        *out;

    *texts = NULL;
    if (n == 0 || each == 0 || n > (text ? MOST_TEXTS : MOST_BYTES / each)) {
        return NULL;
    }
    out = calloc(n, each);
    if (!text) {
        memcpy(out, r->body, r->n < n * each ? r->n : n * each);
        return out;
    }
    *texts = calloc(r->n + 1, 1);
    memcpy(*texts, r->body, r->n);
    for (size_t i = 0, at = 0; i < n; i++) {
        char *one = *texts + (at < r->n ? at : r->n);
        memcpy(out + i * sizeof one, &one, sizeof one);
        at += strlen(one) + 1;
    }
    return out;
}

static void write_attribute(hid_t file, const fuzz_record *r)
{
    size_t      n;
    char       *texts  = NULL;
    void       *items  = NULL;
    const hid_t type   = type_of(r->fields[2]);
    const hid_t space  = space_of(r->fields[3], &n);
    const hid_t object = H5Oopen(file, r->fields[0], H5P_DEFAULT);
    hid_t       id     = -1;

    if (object > 0 && type > 0 && n <= MOST_ATTR / H5Tget_size(type)) {
        id = H5Acreate2(object, r->fields[1], type, space, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (id > 0) {
        items = items_of(r, type, n, &texts);
    }
    if (items != NULL) {
        (void)H5Awrite(id, type, items);
    }
    free(items);
    free(texts);
    (void)(id > 0 && H5Aclose(id));
    (void)(object > 0 && H5Oclose(object));
    (void)(space > 0 && H5Sclose(space));
    (void)(type > 0 && H5Tclose(type));
}

/* Stands for a filter that is known to who writes alone. */
static size_t pass(unsigned flags, size_t n, const unsigned values[], size_t bytes,
                   size_t *size, void **buffer)
{
    (void)flags;
    (void)n;
    (void)values;
    (void)size;
    (void)buffer;
    return bytes;
}

static const H5Z_class2_t unknown_filter = {H5Z_CLASS_T_VERS, MOST_FILTER, 1,    1,
                                            "bzip2",          NULL,        NULL, pass};

static hid_t dataset_list(const char *chunks, const char *filters, hid_t type)
{
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t     dim[MOST_DIMS], bytes = H5Tget_size(type);
    const int   n = dims_of(chunks, dim);

    if (n > 0) {
        (void)H5Pset_chunk(list, n, dim);
    }
    for (int i = 0; i < n; i++) {
        bytes *= dim[i];
    }
    for (const char *f = n > 0 ? filters : ""; *f != '\0'; f++) {
        if (*f == 'g') {
            (void)H5Pset_deflate(list, 1);
        } else if (*f == 's') {
            (void)H5Pset_shuffle(list);
        } else if (*f == 'f') {
            (void)H5Pset_fletcher32(list);
        } else if (*f == 'u') {
            (void)H5Pset_filter(list, MOST_FILTER, H5Z_FLAG_MANDATORY, 0, NULL);
        } else if (*f == 'l') {
            const unsigned values[] = {4, 261, (unsigned)bytes};
            (void)H5Pset_filter(list, LZF_FILTER, H5Z_FLAG_OPTIONAL, 3, values);
        }
    }
    return list;
}

/* Groups on the way are made. */
static hid_t link_list(void)
{
    const hid_t list = H5Pcreate(H5P_LINK_CREATE);

    (void)H5Pset_create_intermediate_group(list, 1);
    return list;
}

/* Chunks that n items lie in, edges left out of account; 1 where there are none. */
static size_t chunks_of(const char *chunks, size_t n)
{
    hsize_t   dim[MOST_DIMS];
    const int n_dims = dims_of(chunks, dim);

    for (int i = 0; i < n_dims; i++) {
        n = dim[i] > 0 ? n / dim[i] : n;
    }
    return n_dims > 0 ? n : 1;
}

static void write_dataset(hid_t file, hid_t links, const fuzz_record *r)
{
    size_t      n;
    char       *texts = NULL;
    const hid_t type  = type_of(r->fields[1]);
    const hid_t space = space_of(r->fields[2], &n);
    const hid_t list  = dataset_list(r->fields[3], r->fields[4], type);
    const hid_t id =
        H5Dcreate2(file, r->fields[0], type, space, links, list, H5P_DEFAULT);
    const bool packed =
        strchr(r->fields[4], 'l') != NULL; /* the body is a chunk as stored */
    void *items =
        id > 0 && r->n > 0 && !packed && chunks_of(r->fields[3], n) <= MOST_CHUNKS
            ? items_of(r, type, n, &texts)
            : NULL;

    if (packed && id > 0 && r->n > 0) {
        const hsize_t first[MOST_DIMS] = {0};
        (void)H5Dwrite_chunk(id, H5P_DEFAULT, 0, first, r->n, r->body);
    }
    if (items != NULL) {
        (void)H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, items);
    }
    free(items);
    free(texts);
    (void)(id > 0 && H5Dclose(id));
    (void)H5Pclose(list);
    (void)(space > 0 && H5Sclose(space));
    (void)(type > 0 && H5Tclose(type));
}

static void write_link(hid_t file, hid_t links, const fuzz_record *r)
{
    const char *kind = r->fields[1];

    if (kind[0] == 'h') {
        (void)H5Lcreate_hard(file, r->fields[2], file, r->fields[0], links, H5P_DEFAULT);
    } else if (kind[0] == 's') {
        (void)H5Lcreate_soft(r->fields[2], file, r->fields[0], links, H5P_DEFAULT);
    } else {
        (void)H5Lcreate_external("other.h5", r->fields[2], file, r->fields[0], links,
                                 H5P_DEFAULT);
    }
}

static void write_record(hid_t file, hid_t links, const fuzz_record *r)
{
    hid_t id;

    if (r->kind == 'G') {
        id = H5Gcreate2(file, r->fields[0], links, H5P_DEFAULT, H5P_DEFAULT);
        (void)(id > 0 && H5Gclose(id));
    } else if (r->kind == 'D') {
        write_dataset(file, links, r);
    } else if (r->kind == 'A') {
        write_attribute(file, r);
    } else if (r->kind == 'L') {
        write_link(file, links, r);
    }
}

void fuzz_write_hdf5(const char *path, bool latest, const uint8_t *bytes, size_t n,
                     size_t *at)
{
    const hid_t list  = H5Pcreate(H5P_FILE_ACCESS);
    const hid_t links = link_list();
    hid_t       file;
    fuzz_record r;

    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (latest) {
        (void)H5Pset_libver_bounds(list, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    }
    (void)H5Zregister(&unknown_filter);
    file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, list);
    for (size_t next                                                          = *at;
         fuzz_next(bytes, n, &next, &r) && strchr("FHO", r.kind) == NULL; *at = next) {
        write_record(file, links, &r);
    }
    (void)(file > 0 && H5Fclose(file));
    (void)H5Zunregister(MOST_FILTER);
    (void)H5Pclose(links);
    (void)H5Pclose(list);
}
