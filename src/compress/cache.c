#include "compress/cache.h"

#include <pthread.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "core/text.h"

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

/* "<folder>/<key>.bin", or NULL when out of memory. */
static char *entry_path(const pq_cache *cache, const char *key)
{
    return pq_format("%s/%s.bin", cache->folder, key);
}

/* An entry as a file, in whole words of this machine: MARK and the number of arrays; of
 * each array PQ_MAX_DIMS lengths, 0 behind its last axis; the items of all; their
 * SHA-256. No container format: a sweep reads a few of them for every cell, and what
 * libhdf5 needs to open one, in a process of its own, takes a hundred times longer than
 * the arrays. */
#define MARK UINT64_C(0x3165686361637170)

static size_t head_words(size_t n)
{
    return 2 + n * PQ_MAX_DIMS;
}

static void hash_bytes(const void *bytes, size_t n, char out[PQ_HASH_TEXT])
{
    pq_hash hash;

    pq_hash_start(&hash);
    pq_hash_bytes(&hash, bytes, n);
    pq_hash_end(&hash, out);
}

/* Shape of an array in the head, if it has the axes that are due, where 0 is any length;
 * takes its items off those that are left. */
static bool take_shape(const uint64_t *lengths, const pq_shape *due, size_t *left,
                       pq_shape *out)
{
    size_t count = 1;

    *out = (pq_shape){.ndim = due->ndim};
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        const uint64_t is = lengths[k];
        if (k >= due->ndim ? is != 0
                           : is == 0 || (due->dim[k] != 0 && is != due->dim[k])) {
            return false;
        }
        if (k < due->ndim) {
            if (is > *left / count) {
                return false;
            }
            out->dim[k] = (size_t)is;
            count *= (size_t)is;
        }
    }
    *left -= count;
    return true;
}

/* A hash is no trust: whoever wrote the file could compute it, so shapes and items are
 * checked as those of any other input. */
static pq_status parse(const char *bytes, size_t size, size_t n, const pq_shape *due,
                       pq_tensor **arrays, const char *path, pq_err *err)
{
    const size_t head = head_words(n) * sizeof(uint64_t), tail = PQ_HASH_TEXT - 1;
    uint64_t     words[2 + PQ_CACHE_ARRAYS * PQ_MAX_DIMS];
    pq_shape     shapes[PQ_CACHE_ARRAYS];
    char         hash[PQ_HASH_TEXT];
    size_t       left;
    bool         fine = size >= head + tail && (size - tail) % sizeof(double) == 0;
    pq_status    st;

    left = fine ? (size - head - tail) / sizeof(double) : 0;
    if (fine) {
        memcpy(words, bytes, head);
        hash_bytes(bytes, size - tail, hash);
        fine = words[0] == MARK && words[1] == n &&
               memcmp(hash, bytes + size - tail, tail) == 0;
    }
    for (size_t i = 0; i < n && fine; i++) {
        fine = take_shape(&words[2 + i * PQ_MAX_DIMS], &due[i], &left, &shapes[i]);
    }
    PQ_CHECK(fine && left == 0, PQ_ERR_FORMAT, "%s is damaged or not what is due", path);
    bytes += head;
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shapes[i], &arrays[i], err));
        memcpy(arrays[i]->data, bytes, arrays[i]->count * sizeof(double));
        bytes += arrays[i]->count * sizeof(double);
        PQ_CHECK(pq_tensor_first_nonfinite(arrays[i]) == SIZE_MAX, PQ_ERR_FORMAT,
                 "%s holds what is not finite", path);
    }
cleanup:
    return st;
}

static pq_status read_arrays(const char *path, size_t n, const pq_shape *due,
                             pq_tensor **arrays)
{
    pq_err   *err   = NULL;
    char     *bytes = NULL;
    size_t    size  = 0;
    pq_status st;

    PQ_TRY(pq_file_read(path, pq_file_bytes(path), &bytes, &size, err));
    PQ_TRY(parse(bytes, size, n, due, arrays, path, err));
cleanup:
    pq_free(bytes);
    if (st != PQ_OK) {
        free_arrays(arrays, n);
    }
    return st;
}

static pq_status write_arrays(const char *folder, const char *path, size_t n,
                              pq_tensor *const *arrays)
{
    pq_err   *err                                      = NULL;
    uint64_t  words[2 + PQ_CACHE_ARRAYS * PQ_MAX_DIMS] = {MARK, n};
    pq_text   text                                     = {0};
    char      hash[PQ_HASH_TEXT];
    pq_status st;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < arrays[i]->shape.ndim; k++) {
            words[2 + i * PQ_MAX_DIMS + k] = arrays[i]->shape.dim[k];
        }
    }
    pq_text_add_bytes(&text, (const char *)words, head_words(n) * sizeof *words);
    for (size_t i = 0; i < n; i++) {
        pq_text_add_bytes(&text, arrays[i]->data, arrays[i]->count * sizeof(double));
    }
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate an entry");
    hash_bytes(text.text, text.length, hash);
    pq_text_add_bytes(&text, hash, PQ_HASH_TEXT - 1);
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate an entry");
    PQ_TRY(pq_folder_make(folder, err));
    PQ_TRY(pq_file_write(path, text.text, text.length, err));
cleanup:
    pq_text_free(&text);
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
