/**
 * @file
 * Remembers factorisations by content, so that one SVD serves every rank of a
 * sweep, across cells and across runs.
 */
#ifndef PQ_COMPRESS_CACHE_H
#define PQ_COMPRESS_CACHE_H

#include "tensor/tensor.h"

/** May be used by several threads, and its folder by several processes. */
typedef struct pq_cache pq_cache;

enum { PQ_CACHE_ARRAYS = 8 };

/** @param[in] folder  where entries are kept (`<key>.bin`, written atomically), or NULL =
 * memory only. Made when first written. */
pq_status pq_cache_open(const char *folder, pq_cache **out, pq_err *err);
void      pq_cache_close(pq_cache **cache);

/**
 * Looks up the arrays stored under a key (a hexadecimal content hash).
 * @param[in]  due     [n] the shape of each; a length of 0 is any
 * @param[out] arrays  [n]; copies, caller frees; untouched when not found
 * @return true when found. An entry that is damaged, of other shapes or not finite counts
 * as not found: it may come from anywhere.
 */
bool pq_cache_get(pq_cache *cache, const char *key, size_t n, const pq_shape *due,
                  pq_tensor **arrays);

/** How often something was found since the cache was opened. */
size_t pq_cache_hits(pq_cache *cache);

/** Stores copies of float64 arrays under a new key; failing to write to disk is not an
 * error (the work is only done again).
 */
void pq_cache_put(pq_cache *cache, const char *key, size_t n, pq_tensor *const *arrays);

#endif
