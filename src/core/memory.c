#include "core/memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static atomic_size_t live_blocks, live_bytes, peak_bytes;
static atomic_size_t allowed = SIZE_MAX;

/* Counts down to the planned failure of a test; SIZE_MAX means none is planned. */
static int may_allocate(void)
{
    size_t left = atomic_load_explicit(&allowed, memory_order_relaxed);

    if (left == SIZE_MAX) {
        return 1;
    }
    if (left == 0) {
        atomic_store(&allowed, SIZE_MAX);
        return 0;
    }
    atomic_store(&allowed, left - 1);
    return 1;
}

static void note_block(void *block)
{
    const size_t bytes = malloc_usable_size(block);
    const size_t live  = atomic_fetch_add(&live_bytes, bytes) + bytes;
    size_t       peak  = atomic_load(&peak_bytes);

    atomic_fetch_add(&live_blocks, 1);
    while (live > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, live)) {
    }
}

void *pq_calloc(size_t count, size_t size)
{
    size_t bytes;
    void  *block;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2 ||
        !may_allocate()) {
        return NULL;
    }
    bytes = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    block = aligned_alloc(ALIGNMENT, bytes);
    if (block != NULL) {
        memset(block, 0, bytes);
        note_block(block);
    }
    return block;
}

void *pq_recalloc(void *block, size_t old_count, size_t count, size_t size)
{
    void *grown = pq_calloc(count, size);

    if (grown == NULL) {
        return NULL;
    }
    if (block != NULL) {
        memcpy(grown, block, (old_count < count ? old_count : count) * size);
        pq_free(block);
    }
    return grown;
}

char *pq_strdup(const char *text)
{
    char  *copy;
    size_t n;

    if (text == NULL) {
        return NULL;
    }
    n    = strlen(text) + 1;
    copy = pq_calloc(n, 1);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

void pq_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_blocks, 1);
        atomic_fetch_sub(&live_bytes, malloc_usable_size(block));
        free(block);
    }
}

size_t pq_memory_live(void)
{
    return atomic_load(&live_blocks);
}

size_t pq_memory_bytes(void)
{
    return atomic_load(&live_bytes);
}

void pq_memory_peak_start(void)
{
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

size_t pq_memory_peak(void)
{
    return atomic_load(&peak_bytes);
}

void pq_memory_fail_after(size_t n)
{
    atomic_store(&allowed, n);
}
