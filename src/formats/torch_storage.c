#include "formats/torch_storage.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* Sizes of ZIP's records without names and extras. */
enum { LOCAL_BYTES = 30, ENTRY_BYTES = 46, END_BYTES = 22, COMMENT_MAX = 65535 };

static const uint8_t legacy_start[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                       0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
static const uint8_t zip_start[]    = {'P', 'K', 3, 4};

static bool starts(const uint8_t *bytes, size_t n, const uint8_t *with, size_t length)
{
    return n >= length && memcmp(bytes, with, length) == 0;
}

bool pq_torch_looks(const uint8_t *bytes, size_t n)
{
    return starts(bytes, n, zip_start, sizeof zip_start) ||
           (n > 2 && bytes[0] == 0x80 &&
            starts(bytes + 2, n - 2, legacy_start, sizeof legacy_start));
}

static uint64_t little(const uint8_t *b, size_t count)
{
    uint64_t value = 0;

    for (size_t i = count; i-- > 0;) {
        value = value << 8 | b[i];
    }
    return value;
}

/* CRC-32 of ISO 3309, as ZIP has it; four bits a step. */
static uint32_t checksum(const uint8_t *b, size_t n)
{
    uint32_t table[256], crc = UINT32_MAX;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) {
            table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? 0xedb88320U : 0);
        }
    }
    for (size_t i = 0; i < n; i++) {
        crc = crc >> 8 ^ table[(crc ^ b[i]) & 255];
    }
    return ~crc;
}

/* A fuzzer's entries never have their checksums, and would all end there. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
static const bool checked = false;
#else
static const bool checked = true;
#endif

/* One entry of the ZIP's directory. */
typedef struct {
    const char    *name;
    size_t         name_bytes;
    const uint8_t *bytes;
    size_t         n;
} zip_entry;

/* Reads the entry whose record is at `at`, and moves on to the next. */
static pq_status read_entry(const uint8_t *zip, size_t n, size_t *at, zip_entry *out,
                            pq_err *err)
{
    const uint8_t *r = zip + *at;
    size_t         size, local, length, skip;
    pq_status      st;

    PQ_CHECK(*at <= n && n - *at >= ENTRY_BYTES && little(r, 4) == 0x02014b50,
             PQ_ERR_FORMAT, "the ZIP's directory is damaged at byte %zu", *at);
    length = (size_t)little(r + 28, 2);
    skip   = length + (size_t)little(r + 30, 2) + (size_t)little(r + 32, 2);
    PQ_CHECK(skip <= n - *at - ENTRY_BYTES, PQ_ERR_FORMAT,
             "the ZIP's directory is truncated at byte %zu", *at);
    *out  = (zip_entry){.name = (const char *)r + ENTRY_BYTES, .name_bytes = length};
    size  = (size_t)little(r + 20, 4);
    local = (size_t)little(r + 42, 4);
    PQ_CHECK(little(r + 10, 2) == 0, PQ_ERR_UNSUPPORTED,
             "entry '%.*s' is compressed; PyTorch stores them as they are",
             length < 80 ? (int)length : 80, out->name);
    PQ_CHECK(size != UINT32_MAX && local != UINT32_MAX, PQ_ERR_UNSUPPORTED,
             "entry '%.*s' is beyond 4 GiB", length < 80 ? (int)length : 80, out->name);
    PQ_CHECK(local <= n && n - local >= LOCAL_BYTES &&
                 little(zip + local, 4) == 0x04034b50,
             PQ_ERR_FORMAT, "entry '%.*s' is not where the ZIP's directory says",
             length < 80 ? (int)length : 80, out->name);
    local += LOCAL_BYTES + (size_t)little(zip + local + 26, 2) +
             (size_t)little(zip + local + 28, 2);
    PQ_CHECK(local <= n && size <= n - local, PQ_ERR_FORMAT,
             "entry '%.*s' reaches beyond the end of the file",
             length < 80 ? (int)length : 80, out->name);
    out->bytes = zip + local;
    out->n     = size;
    PQ_CHECK(!checked || checksum(out->bytes, size) == (uint32_t)little(r + 16, 4),
             PQ_ERR_FORMAT, "entry '%.*s' is damaged: its checksum differs",
             length < 80 ? (int)length : 80, out->name);
    *at += ENTRY_BYTES + skip;
cleanup:
    return st;
}

/* The record at the end, behind which only a comment may stand. */
static pq_status find_directory(const uint8_t *zip, size_t n, size_t *at, size_t *count,
                                pq_err *err)
{
    const size_t reach = (size_t)END_BYTES + COMMENT_MAX;
    const size_t first = n > reach ? n - reach : 0;
    pq_status    st    = PQ_OK;

    for (size_t i = n < END_BYTES ? 0 : n - END_BYTES + 1; i-- > first;) {
        if (little(zip + i, 4) == 0x06054b50) {
            *count = (size_t)little(zip + i + 10, 2);
            *at    = (size_t)little(zip + i + 16, 4);
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_FORMAT, "the ZIP has no directory at its end: it is truncated");
cleanup:
    return st;
}

/* What is behind the first slash: names are "<archive>/data/<key>". */
static bool inside(const zip_entry *e, const char *prefix, const char **rest,
                   size_t *rest_bytes)
{
    const char  *slash  = memchr(e->name, '/', e->name_bytes);
    const size_t length = strlen(prefix);

    if (slash == NULL) {
        return false;
    }
    *rest       = slash + 1;
    *rest_bytes = e->name_bytes - (size_t)(*rest - e->name);
    if (*rest_bytes < length || memcmp(*rest, prefix, length) != 0) {
        return false;
    }
    *rest += length;
    *rest_bytes -= length;
    return true;
}

/* By key, then by place in the file: the first of equal keys is found. */
static int by_key(const void *a, const void *b)
{
    const pq_torch_storage *x = a, *y = b;
    const size_t            n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    const int               c = n > 0 ? memcmp(x->key, y->key, n) : 0;

    return c != 0                         ? c
           : x->key_bytes != y->key_bytes ? (x->key_bytes > y->key_bytes ? 1 : -1)
                                          : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void sort_storages(pq_torch_file *f)
{
    if (f->n_storages > 1) {
        qsort(f->storages, f->n_storages, sizeof *f->storages, by_key);
    }
}

static pq_status parse_zip(const uint8_t *zip, size_t n, pq_torch_file *f, pq_err *err)
{
    size_t    at = 0, count = 0, total = 0, used, rest_bytes;
    bool      pickled = false;
    pq_status st;

    PQ_TRY(find_directory(zip, n, &at, &count, err));
    PQ_NEW(f->storages, count);
    for (size_t i = 0; i < count; i++) {
        zip_entry   e;
        const char *rest;
        PQ_TRY(read_entry(zip, n, &at, &e, err));
        total += e.n;
        PQ_CHECK(
            total <= n, PQ_ERR_FORMAT,
            "the ZIP's entries lie over each other: %zu bytes are in its directory up "
            "to here, but it has %zu",
            total, n);
        if (inside(&e, "data/", &rest, &rest_bytes)) {
            f->storages[f->n_storages++] =
                (pq_torch_storage){rest, rest_bytes, e.bytes, e.n};
        } else if (inside(&e, "byteorder", &rest, &rest_bytes)) {
            PQ_CHECK(e.n == 6 && memcmp(e.bytes, "little", 6) == 0, PQ_ERR_UNSUPPORTED,
                     "the numbers are big-endian");
        } else if (inside(&e, "data.pkl", &rest, &rest_bytes) && rest_bytes == 0) {
            PQ_CHECK(!pickled, PQ_ERR_FORMAT, "data.pkl is there twice");
            PQ_TRY(pq_pickle_read(e.bytes, e.n, &f->pickle, &used, err));
            pickled = true;
        }
    }
    PQ_CHECK(pickled, PQ_ERR_FORMAT, "the ZIP has no data.pkl: it is no checkpoint");
cleanup:
    return st;
}

/* A storage that the pickle describes. */
typedef struct {
    const char            *key;
    size_t                 key_bytes;
    const pq_pickle_value *value;
} description;

static int by_description(const void *a, const void *b)
{
    const description *x = a, *y = b;
    const size_t       n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    const int          c = n > 0 ? memcmp(x->key, y->key, n) : 0;

    return c != 0                         ? c
           : x->key_bytes != y->key_bytes ? (x->key_bytes > y->key_bytes ? 1 : -1)
                                          : 0;
}

/* All of them by key, so that each record is found without looking at all. */
static pq_status list_described(const pq_pickle *p, description **out, size_t *n,
                                pq_err *err)
{
    description *all = NULL;
    pq_status    st;

    PQ_NEW(all, p->n);
    *n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const pq_pickle_value *v = &p->values[i];
        if (v->type == PQ_PICKLE_STORAGE) {
            const pq_pickle_value *k = &p->values[v->items[0]];
            all[(*n)++]              = (description){k->text, k->text_bytes, v};
        }
    }
    if (*n > 1) {
        qsort(all, *n, sizeof *all, by_description);
    }
    *out = all;
cleanup:
    return st;
}

/* Behind the list of keys: number of items and items, for each key. */
static pq_status read_storages(const uint8_t *bytes, size_t n, size_t at,
                               const pq_pickle *keys, pq_torch_file *f, pq_err *err)
{
    const pq_pickle_value *list  = &keys->values[keys->root];
    description           *known = NULL;
    size_t                 n_known;
    pq_status              st;

    PQ_CHECK(list->type == PQ_PICKLE_LIST, PQ_ERR_FORMAT,
             "the list of storages is missing");
    PQ_NEW(f->storages, list->n);
    PQ_TRY(list_described(&f->pickle, &known, &n_known, err));
    for (size_t i = 0; i < list->n; i++) {
        const pq_pickle_value *key = &keys->values[list->items[i]];
        const pq_pickle_value *storage;
        size_t                 size;

        PQ_CHECK(key->type == PQ_PICKLE_TEXT, PQ_ERR_FORMAT,
                 "key %zu of the storages is no text", i);
        const description  wanted = {key->text, key->text_bytes, NULL};
        const description *found =
            n_known > 0 ? bsearch(&wanted, known, n_known, sizeof *known, by_description)
                        : NULL;
        storage = found != NULL ? found->value : NULL;
        PQ_CHECK(storage != NULL, PQ_ERR_FORMAT, "storage '%.*s' belongs to no tensor",
                 key->text_bytes < 80 ? (int)key->text_bytes : 80, key->text);
        size = pq_dtype_bytes((pq_dtype)storage->number);
        PQ_CHECK(n - at >= 8 && little(bytes + at, 8) <= (n - at - 8) / size,
                 PQ_ERR_FORMAT, "the file is truncated in storage %zu of %zu", i + 1,
                 list->n);
        f->storages[f->n_storages++] =
            (pq_torch_storage){key->text, key->text_bytes, bytes + at + 8,
                               (size_t)little(bytes + at, 8) * size};
        at += 8 + f->storages[i].n;
    }
cleanup:
    pq_free(known);
    return st;
}

/* Pickles of a magic number, the protocol, the system, the object and the keys. */
static pq_status parse_legacy(const uint8_t *bytes, size_t n, pq_torch_file *f,
                              pq_err *err)
{
    pq_pickle              part = {0};
    const pq_pickle_value *endian;
    size_t                 at = 0, used;
    pq_status              st;

    for (int i = 0; i < 3; i++) {
        PQ_TRY(pq_pickle_read(bytes + at, n - at, &part, &used, err));
        at += used;
        endian = pq_pickle_get(&part, &part.values[part.root], "little_endian");
        PQ_CHECK(endian == NULL || endian->number == 1, PQ_ERR_UNSUPPORTED,
                 "the numbers are big-endian");
        pq_pickle_free(&part);
    }
    PQ_TRY(pq_pickle_read(bytes + at, n - at, &f->pickle, &used, err));
    at += used;
    PQ_TRY(pq_pickle_read(bytes + at, n - at, &part, &used, err));
    PQ_TRY(read_storages(bytes, n, at + used, &part, f, err));
cleanup:
    pq_pickle_free(&part);
    return st;
}

void pq_torch_free(pq_torch_file *f)
{
    pq_pickle_free(&f->pickle);
    pq_free(f->storages);
    pq_free(f->bytes);
    *f = (pq_torch_file){0};
}

pq_status pq_torch_parse(uint8_t *bytes, size_t n, pq_torch_file *out, pq_err *err)
{
    pq_torch_file f = {.bytes = bytes};
    pq_status     st;

    PQ_CHECK(pq_torch_looks(bytes, n), PQ_ERR_FORMAT, "is no checkpoint of PyTorch");
    PQ_TRY(starts(bytes, n, zip_start, sizeof zip_start)
               ? parse_zip(bytes, n, &f, err)
               : parse_legacy(bytes, n, &f, err));
    sort_storages(&f);
    *out = f;
    f    = (pq_torch_file){0};
cleanup:
    pq_torch_free(&f);
    return st;
}

/* Shape and strides of a tensor's value. */
static pq_status read_geometry(const pq_pickle *p, const pq_pickle_value *tensor,
                               pq_shape *shape, size_t stride[PQ_MAX_DIMS], pq_err *err)
{
    const pq_pickle_value *dims  = &p->values[tensor->items[2]];
    const pq_pickle_value *steps = &p->values[tensor->items[3]];
    pq_status              st;

    PQ_CHECK(dims->n <= PQ_MAX_DIMS && steps->n == dims->n, PQ_ERR_FORMAT,
             "a tensor has %zu axes and %zu strides; at most %d are read", dims->n,
             steps->n, PQ_MAX_DIMS);
    *shape = (pq_shape){.ndim = dims->n};
    for (size_t i = 0; i < dims->n; i++) {
        const pq_pickle_value *d = &p->values[dims->items[i]];
        const pq_pickle_value *s = &p->values[steps->items[i]];
        PQ_CHECK(d->type == PQ_PICKLE_INT && s->type == PQ_PICKLE_INT && d->number > 0 &&
                     s->number >= 0,
                 PQ_ERR_FORMAT, "axis %zu of a tensor has no proper size and stride", i);
        shape->dim[i] = (size_t)d->number;
        stride[i]     = (size_t)s->number;
    }
cleanup:
    return st;
}

static const pq_torch_storage *find_storage(const pq_torch_file   *f,
                                            const pq_pickle_value *key)
{
    size_t first = 0, last = f->n_storages;

    while (first < last) {
        const size_t            mid = (first + last) / 2;
        const pq_torch_storage *s   = &f->storages[mid];
        const pq_torch_storage  due = {key->text, key->text_bytes, NULL, 0};
        if (by_key(s, &due) < 0) {
            first = mid + 1;
        } else {
            last = mid;
        }
    }
    return first < f->n_storages && f->storages[first].key_bytes == key->text_bytes &&
                   memcmp(f->storages[first].key, key->text, key->text_bytes) == 0
               ? &f->storages[first]
               : NULL;
}

/* Copies the items a tensor shows, row-major: those alone, for many tensors may show one
 * large storage. */
static void gather(const uint8_t *storage, size_t offset, const size_t *stride,
                   pq_tensor *t)
{
    const size_t size = pq_dtype_bytes(t->dtype);

    for (size_t i = 0; i < t->count; i++) {
        size_t at = offset, rest = i;
        for (size_t k = t->shape.ndim; k-- > 0;) {
            at += rest % t->shape.dim[k] * stride[k];
            rest /= t->shape.dim[k];
        }
        memcpy((uint8_t *)t->data + i * size, storage + at * size, size);
    }
}

pq_status pq_torch_tensor(const pq_torch_file *f, const pq_pickle_value *tensor,
                          pq_tensor **out, pq_err *err)
{
    const pq_pickle        *p       = &f->pickle;
    const pq_pickle_value  *storage = &p->values[tensor->items[0]];
    const int64_t           offset  = p->values[tensor->items[1]].number;
    const pq_torch_storage *s       = find_storage(f, &p->values[storage->items[0]]);
    const pq_dtype          dtype   = (pq_dtype)storage->number;
    size_t                  stride[PQ_MAX_DIMS], count, last, reach;
    pq_shape                shape;
    pq_tensor               source = {.dtype = dtype}, *t = NULL;
    pq_status               st;

    PQ_CHECK(s != NULL, PQ_ERR_FORMAT, "a tensor's storage is not in the file");
    PQ_TRY(read_geometry(p, tensor, &shape, stride, err));
    source.count = s->n / pq_dtype_bytes(dtype);
    PQ_CHECK(pq_shape_count(&shape, &count) && count <= source.count, PQ_ERR_FORMAT,
             "a tensor has more items than its storage's %zu", source.count);
    PQ_CHECK(offset >= 0 && (uint64_t)offset < source.count, PQ_ERR_FORMAT,
             "a tensor begins at item %lld of a storage of %zu", (long long)offset,
             source.count);
    last = (size_t)offset;
    for (size_t i = 0; i < shape.ndim; i++) {
        PQ_CHECK(!__builtin_mul_overflow(shape.dim[i] - 1, stride[i], &reach) &&
                     !__builtin_add_overflow(last, reach, &last) && last < source.count,
                 PQ_ERR_FORMAT, "a tensor reaches beyond its storage of %zu items",
                 source.count);
    }
    /* Storages are not aligned in the file. */
    PQ_TRY(pq_tensor_create(dtype, shape, &t, err));
    gather(s->bytes, (size_t)offset, stride, t);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, out, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(*out)[i] = (float)pq_tensor_get(t, i);
    }
cleanup:
    pq_tensor_free(&t);
    return st;
}
