/**
 * @file
 * The only door to the heap. Blocks are zeroed and, unless packed, 64-byte aligned; sizes
 * are checked for overflow; the calls are counted, so that tests can make the n-th
 * allocation fail and see that nothing is left behind.
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
#define PQ_NEW(pointer, count)                                                           \
    do {                                                                                 \
        __typeof__(pointer) *const at_ = &(pointer);                                     \
        const size_t               n_  = (count);                                        \
        *at_                           = pq_calloc(n_, sizeof **at_);                    \
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
