#define _DEFAULT_SOURCE /* madvise */
#include "core/memory.h"

#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "core/budget.h"
#include "core/file.h"
#include "core/text.h"

enum { ALIGNMENT = 64, LARGE_PAGE = 1 << 21 };

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

/* The budget that this thread reads a file under, or NULL. */
static _Thread_local pq_budget *budget;

enum { OUT_OF_BYTES = 1, OUT_OF_TIME = 2, CALLS_A_CLOCK = 64 };

static double thread_s(void)
{
    struct timespec now;

    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0
               ? (double)now.tv_sec + 1e-9 * (double)now.tv_nsec
               : 0.0;
}

static int fits(size_t bytes)
{
    pq_budget *b = budget;

    if (b == NULL) {
        return 1;
    }
    if (bytes > b->bytes) {
        b->broken = OUT_OF_BYTES;
    } else if (++b->calls % CALLS_A_CLOCK == 0 && thread_s() > b->until_s) {
        b->broken = OUT_OF_TIME;
    }
    return b->broken == 0; /* what failed once goes on failing: nothing tries for long */
}

static void give_back(size_t bytes)
{
    if (budget != NULL) {
        budget->bytes += bytes;
    }
}

void pq_advise_scattered(void *block, size_t bytes)
{
    const uintptr_t at    = (uintptr_t)block;
    const uintptr_t first = (at + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    const uintptr_t end   = (at + bytes) / LARGE_PAGE * LARGE_PAGE;

    if (first < end) {
        (void)madvise((char *)block + (first - at), end - first, MADV_HUGEPAGE);
    }
}

/* A block; alignment 0: as malloc aligns. */
static void *allocate(size_t count, size_t size, size_t alignment, bool zeroed)
{
    const size_t unit = alignment > 0 ? alignment : 1;
    size_t       bytes;
    void        *block;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2 ||
        !may_allocate()) {
        return NULL;
    }
    bytes = bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
    if (!fits(bytes)) {
        return NULL;
    }
    block = alignment > 0 ? aligned_alloc(alignment, bytes) : malloc(bytes);
    if (block != NULL) {
        if (zeroed) {
            memset(block, 0, bytes);
        }
        note_block(block);
        if (budget != NULL) {
            const size_t usable = malloc_usable_size(block);
            budget->bytes -= usable < budget->bytes ? usable : budget->bytes;
        }
    }
    return block;
}

void *pq_calloc(size_t count, size_t size)
{
    return allocate(count, size, ALIGNMENT, true);
}

void *pq_alloc_unset(size_t count, size_t size)
{
    return allocate(count, size, ALIGNMENT, false);
}

void *pq_alloc_packed(size_t count, size_t size)
{
    return allocate(count, size, 0, false);
}

void *pq_calloc_packed(size_t count, size_t size)
{
    return allocate(count, size, 0, true);
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
    copy = pq_calloc_packed(n, 1);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

void pq_free(void *block)
{
    if (block != NULL) {
        give_back(malloc_usable_size(block));
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

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 10.0 /* than without sanitizers */
#else
#define SLOWER 1.0
#endif
#define FREE_S 2.0 /* as in io/hdf5_child.c */

/* PQUANT_READ_LIMIT, e.g. 8GB, or 0. */
static size_t wanted_limit(void)
{
    double bytes = 0.0;

    return pq_parse_real(getenv("PQUANT_READ_LIMIT"), PQ_UNIT_BYTES, &bytes) &&
                   bytes > 0.0 && bytes < 1e18
               ? (size_t)bytes
               : 0;
}

/* Size of a file, or of the files of a folder without those of folders in it. */
static size_t bytes_of(const char *path)
{
    DIR           *folder = pq_folder_exists(path) ? opendir(path) : NULL;
    size_t         bytes  = folder == NULL ? pq_file_bytes(path) : 0;
    struct dirent *entry;
    struct stat    s;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (fstatat(dirfd(folder), entry->d_name, &s, 0) == 0 && S_ISREG(s.st_mode)) {
            bytes += (size_t)s.st_size;
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return bytes;
}

void pq_budget_start(pq_budget *b, const char *path)
{
    const size_t n     = bytes_of(path);
    const size_t least = (size_t)64 << 20, wanted = wanted_limit();
    const size_t usual  = n < (SIZE_MAX >> 7) ? least + 64 * n : SIZE_MAX >> 1;
    const double most_s = SLOWER * (FREE_S + (double)n / 1e6);

    pq_budget_start_bytes(b, wanted > usual ? wanted : usual);
    b->until_s = thread_s() + (wanted > usual ? 100.0 : 1.0) * most_s;
    b->n       = n;
}

void pq_budget_start_bytes(pq_budget *b, size_t bytes)
{
    *b = (pq_budget){.bytes   = bytes,
                     .given   = bytes,
                     .until_s = (double)INFINITY,
                     .inner   = budget != NULL};
    if (!b->inner) {
        budget = b;
    }
}

void pq_budget_regive(pq_budget *b, size_t bytes)
{
    const size_t used = b->given - (b->bytes < b->given ? b->bytes : b->given);

    b->given = bytes;
    b->bytes = bytes > used ? bytes - used : 0;
}

bool pq_budget_out_of_bytes(const pq_budget *b)
{
    return b->broken == OUT_OF_BYTES && !b->inner;
}

pq_status pq_budget_end(pq_budget *b, const char *path, pq_status st, pq_err *err)
{
    if (b->inner) {
        return st;
    }
    budget = NULL;
    if (st == PQ_OK || b->broken == 0) {
        return st;
    }
    if (err != NULL) {
        *err = (pq_err){0};
    }
    (void)pq_err_set(
        err, PQ_ERR_FORMAT, __FILE__, __LINE__,
        b->broken == OUT_OF_BYTES
            ? "%s: reading it takes more memory than its %zu bytes are worth "
              "(64 MB, and 64 bytes for each)"
            : "%s: reading it takes more time than its %zu bytes are worth "
              "(2 s, and 1 s for each MB)",
        path, b->n);
    pq_err_hint(err, "if you trust it, PQUANT_READ_LIMIT=8GB lets it have so much");
    return PQ_ERR_FORMAT;
}

void pq_budget_add(size_t n)
{
    if (budget != NULL && n < (SIZE_MAX >> 8) && budget->bytes < SIZE_MAX >> 1) {
        budget->bytes += 64 * n;
        budget->until_s += (double)n / 1e6;
    }
}

bool pq_budget_fits(size_t bytes)
{
    return budget == NULL || bytes <= budget->bytes;
}
