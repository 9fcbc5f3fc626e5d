/**
 * @file
 * The only door to the heap. Blocks are zeroed, unless unset, and 64-byte aligned, unless
 * packed; sizes are checked for overflow; the calls are counted, so that tests can make
 * the n-th allocation fail and see that nothing is left behind.
 */
#ifndef PQ_CORE_MEMORY_H
#define PQ_CORE_MEMORY_H

#include <stddef.h>

#include "core/err.h"

/** Zeroed, 64-byte aligned block of count * size bytes, or NULL. Zero bytes give a valid
 * block. */
void *pq_calloc(size_t count, size_t size);

/** The same, aligned only as malloc aligns: for texts and small objects of which there
 * are many, where 64-byte alignment would double what each takes. */
void *pq_calloc_packed(size_t count, size_t size);

/** The same, holding anything. */
void *pq_alloc_packed(size_t count, size_t size);

/** As pq_calloc but for what it holds, which is anything: for large arrays that are
 * written before they are read, so that the threads that write them are given their
 * pages. */
void *pq_alloc_unset(size_t count, size_t size);

/** Asks for large pages where a large block of pq_alloc_unset is read and written here
 * and there, before anything is. Without them it is only slower. */
void pq_advise_scattered(void *block, size_t bytes);

/** Grows or shrinks a block of pq_calloc from old_count to count items; new items are
 * zero. NULL on failure, old block kept. */
void *pq_recalloc(void *block, size_t old_count, size_t count, size_t size);

/** Copy of a string, or NULL when out of memory or text is NULL. */
char *pq_strdup(const char *text);

/** Frees a block of this module; NULL is harmless. */
void pq_free(void *block);

/** Blocks allocated and not yet freed (all threads). */
size_t pq_memory_live(void);

/** Bytes of those blocks, as the heap rounds them up. */
size_t pq_memory_bytes(void);

/** Begins a new count of the most bytes at a time; of the whole process. */
void pq_memory_peak_start(void);

/** Most bytes at a time since then. */
size_t pq_memory_peak(void);

/** Makes the allocation after the next `n` fail, once; SIZE_MAX switches this off. For
 * tests. */
void pq_memory_fail_after(size_t n);

/** Allocates `count` items for a typed pointer (evaluated once), or jumps to cleanup with
 * PQ_ERR_NOMEM. */
#define PQ_NEW(pointer, count) PQ_NEW_BY(pq_calloc, pointer, count)

/** The same by pq_alloc_unset. */
#define PQ_NEW_UNSET(pointer, count) PQ_NEW_BY(pq_alloc_unset, pointer, count)

#define PQ_NEW_BY(allocate, pointer, count)                                              \
    do {                                                                                 \
        __typeof__(pointer) *const at_ = &(pointer);                                     \
        const size_t               n_  = (count);                                        \
        *at_                           = allocate(n_, sizeof **at_);                     \
        PQ_CHECK(*at_ != NULL, PQ_ERR_NOMEM, "cannot allocate %zu items of %zu bytes",   \
                 n_, sizeof **at_);                                                      \
    } while (0)

/** Copies a string into a new block (pointer evaluated once), or jumps to cleanup with
 * PQ_ERR_NOMEM. */
#define PQ_STRDUP(pointer, text)                                                         \
    do {                                                                                 \
        char **const at_ = &(pointer);                                                   \
        *at_             = pq_strdup(text);                                              \
        PQ_CHECK(*at_ != NULL, PQ_ERR_NOMEM, "cannot allocate a string");                \
    } while (0)

#endif
