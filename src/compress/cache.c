#include "compress/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "io/hdf5.h"

/* One stored set of arrays, in memory. */
typedef struct entry {
    struct entry *next;
    char         *key;
    size_t        n;
    pq_tensor    *arrays[PQ_CACHE_ARRAYS];
} entry;

struct pq_cache {
    char           *folder;  /* NULL = memory */
    entry          *entries; /* memory only */
    size_t          hits;
    pthread_mutex_t lock; /* of entries and hits */
};

pq_status pq_cache_open(const char *folder, pq_cache **out, pq_err *err)
{
    pq_cache *cache = NULL;
    pq_status st;

    PQ_NEW(cache, 1);
    if (folder != NULL) {
        PQ_STRDUP(cache->folder, folder);
    }
    (void)pthread_mutex_init(&cache->lock, NULL); /* cannot fail on Linux */
    *out  = cache;
    cache = NULL;
cleanup:
    pq_free(cache);
    return st;
}

static void free_arrays(pq_tensor **arrays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_tensor_free(&arrays[i]);
    }
}

static void free_entry(entry *e)
{
    if (e != NULL) {
        free_arrays(e->arrays, PQ_CACHE_ARRAYS);
        pq_free(e->key);
        pq_free(e);
    }
}

void pq_cache_close(pq_cache **cache)
{
    if (*cache == NULL) {
        return;
    }
    for (entry *e = (*cache)->entries, *next; e != NULL; e = next) {
        next = e->next;
        free_entry(e);
    }
    (void)pthread_mutex_destroy(&(*cache)->lock);
    pq_free((*cache)->folder);
    pq_free(*cache);
    *cache = NULL;
}

static pq_status copy_arrays(pq_tensor *const *from, size_t n, pq_tensor **to)
{
    pq_err   *err = NULL;
    pq_status st  = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_tensor_clone(from[i], &to[i], err));
    }
cleanup:
    if (st != PQ_OK) {
        free_arrays(to, n);
    }
    return st;
}

static entry *find(const pq_cache *cache, const char *key)
{
    entry *e = cache->entries;

    while (e != NULL && strcmp(e->key, key) != 0) {
        e = e->next;
    }
    return e;
}

/* "<folder>/<key>.h5", or NULL when out of memory. */
static char *entry_path(const pq_cache *cache, const char *key)
{
    return pq_format("%s/%s.h5", cache->folder, key);
}

static void hash_arrays(pq_tensor *const *arrays, size_t n, char out[PQ_HASH_TEXT])
{
    pq_hash hash;

    pq_hash_start(&hash);
    for (size_t i = 0; i < n; i++) {
        pq_hash_bytes(&hash, &arrays[i]->shape, sizeof arrays[i]->shape);
        pq_hash_bytes(&hash, arrays[i]->data, arrays[i]->count * sizeof(double));
    }
    pq_hash_end(&hash, out);
}

/* Whether an array has the axes that are due, where 0 is any length, and finite items. */
static bool fits(const pq_tensor *t, const pq_shape *due)
{
    bool same = t->shape.ndim == due->ndim && t->count > 0;

    for (size_t k = 0; same && k < due->ndim; k++) {
        same = due->dim[k] == 0 || due->dim[k] == t->shape.dim[k];
    }
    return same && pq_tensor_first_nonfinite(t) == SIZE_MAX;
}

/* Arrays are "/0", "/1", …; the attribute "content" is their hash, so that damage is
 * seen. A hash is no trust: whoever wrote the file could compute it, so shapes and items
 * are checked as those of any other input. */
static pq_status read_arrays(const char *path, size_t n, const pq_shape *due,
                             pq_tensor **arrays)
{
    const size_t most    = pq_file_bytes(path); /* nothing is stored compressed */
    pq_err      *err     = NULL;
    pq_h5       *file    = NULL;
    char        *content = NULL, name[16], hash[PQ_HASH_TEXT];
    pq_status    st;

    PQ_TRY(pq_h5_open(path, &file, err));
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "/%zu", i);
        PQ_TRY(pq_h5_read(file, name, PQ_DTYPE_F64, most, &arrays[i], err));
        PQ_CHECK(fits(arrays[i], &due[i]), PQ_ERR_FORMAT, "%s is not what is due", path);
    }
    PQ_TRY(pq_h5_attr_text(file, "/", "content", &content, err));
    hash_arrays(arrays, n, hash);
    PQ_CHECK(strcmp(content, hash) == 0, PQ_ERR_FORMAT, "%s is damaged", path);
cleanup:
    pq_h5_close(&file);
    pq_free(content);
    if (st != PQ_OK) {
        free_arrays(arrays, n);
    }
    return st;
}

static pq_status write_arrays(const char *folder, const char *path, size_t n,
                              pq_tensor *const *arrays)
{
    pq_err   *err  = NULL;
    pq_h5    *file = NULL;
    char      name[16], hash[PQ_HASH_TEXT];
    pq_status st;

    PQ_TRY(pq_folder_make(folder, err));
    PQ_TRY(pq_h5_create(path, &file, err));
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "/%zu", i);
        PQ_TRY(pq_h5_write(file, name, arrays[i], 0, err));
    }
    hash_arrays(arrays, n, hash);
    PQ_TRY(pq_h5_set_text(file, "/", "content", hash, err));
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_h5_close(&file);
    return st;
}

static bool get_from_memory(pq_cache *cache, const char *key, size_t n,
                            pq_tensor **arrays)
{
    const entry *e;
    bool         found;

    (void)pthread_mutex_lock(&cache->lock);
    e     = find(cache, key);
    found = e != NULL && e->n == n && copy_arrays(e->arrays, n, arrays) == PQ_OK;
    (void)pthread_mutex_unlock(&cache->lock);
    return found;
}

bool pq_cache_get(pq_cache *cache, const char *key, size_t n, const pq_shape *due,
                  pq_tensor **arrays)
{
    pq_tensor *copies[PQ_CACHE_ARRAYS] = {NULL};
    char      *path;
    bool       found;

    assert(n <= PQ_CACHE_ARRAYS);
    if (cache->folder == NULL) {
        found = get_from_memory(cache, key, n, copies);
    } else {
        path  = entry_path(cache, key);
        found = path != NULL && pq_file_exists(path) &&
                read_arrays(path, n, due, copies) == PQ_OK;
        pq_free(path);
    }
    if (found) {
        memcpy(arrays, copies, n * sizeof *arrays);
        (void)pthread_mutex_lock(&cache->lock);
        cache->hits++;
        (void)pthread_mutex_unlock(&cache->lock);
    }
    return found;
}

size_t pq_cache_hits(pq_cache *cache)
{
    size_t hits;

    (void)pthread_mutex_lock(&cache->lock);
    hits = cache->hits;
    (void)pthread_mutex_unlock(&cache->lock);
    return hits;
}

static void put_into_memory(pq_cache *cache, const char *key, size_t n,
                            pq_tensor *const *arrays)
{
    entry *e = pq_calloc(1, sizeof *e);

    if (e != NULL) {
        e->n   = n;
        e->key = pq_strdup(key);
    }
    if (e == NULL || e->key == NULL || copy_arrays(arrays, n, e->arrays) != PQ_OK) {
        free_entry(e);
        return;
    }
    (void)pthread_mutex_lock(&cache->lock);
    if (find(cache, key) == NULL) {
        e->next        = cache->entries;
        cache->entries = e;
        e              = NULL;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    free_entry(e); /* another thread was first */
}

void pq_cache_put(pq_cache *cache, const char *key, size_t n, pq_tensor *const *arrays)
{
    char *path;

    assert(n <= PQ_CACHE_ARRAYS);
    for (size_t i = 0; i < n; i++) {
        assert(arrays[i]->dtype == PQ_DTYPE_F64);
    }
    if (cache->folder == NULL) {
        put_into_memory(cache, key, n, arrays);
        return;
    }
    path = entry_path(cache, key);
    if (path != NULL) {
        (void)write_arrays(cache->folder, path, n, arrays);
    }
    pq_free(path);
}
