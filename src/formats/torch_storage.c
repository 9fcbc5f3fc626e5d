#include "formats/torch_storage.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/state.h"
#include "io/zip.h"

static const uint8_t legacy_start[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                       0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool starts(const uint8_t *bytes, size_t n, const uint8_t *with, size_t length)
{
    return n >= length && memcmp(bytes, with, length) == 0;
}

bool pq_torch_looks(const uint8_t *bytes, size_t n)
{
    return pq_zip_looks(bytes, n) ||
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

/* What is behind the first slash: names are "<archive>/data/<key>". */
static bool inside(const pq_zip_member *e, const char *prefix, const char **rest,
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

static pq_status parse_zip(const uint8_t *bytes, size_t n, pq_torch_file *f, pq_err *err)
{
    pq_zip    zip     = {0};
    bool      pickled = false;
    size_t    used;
    pq_status st;

    PQ_TRY(f->mapped ? pq_zip_open_map(&(pq_map){bytes, n}, &zip, err)
                     : pq_zip_open(bytes, n, &zip, err));
    PQ_NEW(f->storages, zip.n);
    for (size_t i = 0; i < zip.n; i++) {
        const pq_zip_member *m = &zip.members[i];
        const char          *rest;
        size_t               rest_bytes;
        PQ_CHECK(!m->deflated, PQ_ERR_UNSUPPORTED,
                 "member '%.*s' is compressed; PyTorch stores them as they are",
                 m->name_bytes < 80 ? (int)m->name_bytes : 80, m->name);
        if (inside(m, "data/", &rest, &rest_bytes)) {
            f->storages[f->n_storages++] =
                (pq_torch_storage){rest, rest_bytes, m->bytes, m->n};
        } else if (inside(m, "byteorder", &rest, &rest_bytes)) {
            PQ_CHECK(m->n == 6 && memcmp(m->bytes, "little", 6) == 0, PQ_ERR_UNSUPPORTED,
                     "the numbers are big-endian");
        } else if (inside(m, "data.pkl", &rest, &rest_bytes) && rest_bytes == 0) {
            PQ_CHECK(!pickled, PQ_ERR_FORMAT, "data.pkl is there twice");
            PQ_TRY(pq_pickle_read(m->bytes, m->n, &f->pickle, &used, err));
            pickled = true;
        }
    }
    PQ_CHECK(pickled, PQ_ERR_FORMAT, "the ZIP has no data.pkl: it is no checkpoint");
cleanup:
    pq_zip_free(&zip);
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
    *f = (pq_torch_file){0};
}

pq_status pq_torch_parse(const uint8_t *bytes, size_t n, bool mapped, pq_torch_file *out,
                         pq_err *err)
{
    pq_torch_file f = {.mapped = mapped};
    pq_status     st;

    PQ_CHECK(pq_torch_looks(bytes, n), PQ_ERR_FORMAT, "is no checkpoint of PyTorch");
    PQ_TRY(pq_zip_looks(bytes, n) ? parse_zip(bytes, n, &f, err)
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

/* Whether items lie in the storage as they do in the tensor. */
static bool is_straight(const pq_shape *shape, const size_t *stride)
{
    size_t due = 1;

    for (size_t d = shape->ndim; d-- > 0;) {
        if (shape->dim[d] > 1 && stride[d] != due) {
            return false;
        }
        due *= shape->dim[d];
    }
    return true;
}

/* Copies the items a tensor shows, row-major: those alone, for many tensors may show one
 * large storage. */
static void gather(const uint8_t *storage, size_t offset, const size_t *stride,
                   const pq_shape *shape, pq_state_fill *f)
{
    const size_t size = pq_dtype_bytes(f->dtype);

    for (size_t i = 0; i < f->to->count; i++) {
        size_t at = offset, rest = i;
        for (size_t k = shape->ndim; k-- > 0;) {
            at += rest % shape->dim[k] * stride[k];
            rest /= shape->dim[k];
        }
        pq_state_fill_put(f, storage + at * size, 1);
    }
}

pq_status pq_torch_tensor(const pq_torch_file *f, const pq_pickle_value *tensor,
                          const size_t *axes, pq_tensor **out, pq_err *err)
{
    const pq_pickle        *p       = &f->pickle;
    const pq_pickle_value  *storage = &p->values[tensor->items[0]];
    const int64_t           offset  = p->values[tensor->items[1]].number;
    const pq_torch_storage *s       = find_storage(f, &p->values[storage->items[0]]);
    const pq_dtype          dtype   = (pq_dtype)storage->number;
    size_t                  stride[PQ_MAX_DIMS], count, last, reach;
    pq_shape                shape;
    pq_state_fill           fill = {0};
    size_t                  items; /* of the storage */
    pq_status               st;

    PQ_CHECK(s != NULL, PQ_ERR_FORMAT, "a tensor's storage is not in the file");
    PQ_TRY(read_geometry(p, tensor, &shape, stride, err));
    items = s->n / pq_dtype_bytes(dtype);
    PQ_CHECK(pq_shape_count(&shape, &count) && count <= items, PQ_ERR_FORMAT,
             "a tensor has more items than its storage's %zu", items);
    PQ_CHECK(offset >= 0 && (uint64_t)offset < items, PQ_ERR_FORMAT,
             "a tensor begins at item %lld of a storage of %zu", (long long)offset,
             items);
    last = (size_t)offset;
    for (size_t i = 0; i < shape.ndim; i++) {
        PQ_CHECK(!__builtin_mul_overflow(shape.dim[i] - 1, stride[i], &reach) &&
                     !__builtin_add_overflow(last, reach, &last) && last < items,
                 PQ_ERR_FORMAT, "a tensor reaches beyond its storage of %zu items",
                 items);
    }
    if (f->mapped && is_straight(&shape, stride)) {
        return pq_state_floats(dtype, &shape,
                               s->bytes + (size_t)offset * pq_dtype_bytes(dtype), axes,
                               out, err);
    }
    PQ_TRY(pq_state_fill_start(dtype, &shape, axes, &fill, err));
    gather(s->bytes, (size_t)offset, stride, &shape, &fill);
    *out = fill.to;
cleanup:
    return st;
}
