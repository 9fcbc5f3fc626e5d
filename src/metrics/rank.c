#include "metrics/rank.h"

enum {
    FEW       = 24,      /* sorted by insertion */
    MANY      = 1 << 12, /* worth wide digits */
    WIDE_BITS = 11,
    BITS      = 8,
};

static uint64_t key_of(const uint64_t *keys, uint64_t entry)
{
    return keys[entry & PQ_RANK_NUMBER];
}

/* Few entries, and where a new key begins. */
static void insert(const uint64_t *keys, uint64_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t moved = list[i] & PQ_RANK_NUMBER, key = keys[moved];
        size_t         k = i;
        for (; k > 0 && keys[list[k - 1]] > key; k--) {
            list[k] = list[k - 1];
        }
        list[k] = moved;
    }
    for (size_t i = n; i-- > 0;) {
        list[i] |= i == 0 || keys[list[i]] != keys[list[i - 1]] ? PQ_RANK_NEW : 0;
    }
}

/* Least and largest of the entries' keys. */
static void find_range(const uint64_t *keys, const uint64_t *list, size_t n, uint64_t *lo,
                       uint64_t *hi)
{
    *lo = UINT64_MAX;
    *hi = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = key_of(keys, list[i]);
        *lo                = key < *lo ? key : *lo;
        *hi                = key > *hi ? key : *hi;
    }
}

/* Counts become places. */
static void add_up(uint32_t *counts, size_t n)
{
    uint32_t at = 0;

    for (size_t b = 0; b < n; b++) {
        const uint32_t count = counts[b];
        counts[b]            = at;
        at += count;
    }
}

/* Two passes, the low digit first: an entry's upper half holds both above its number. */
static void sort_digits(const uint64_t *keys, uint64_t *list, uint64_t *spare, size_t n,
                        uint64_t lo, int shift, int bits)
{
    const uint64_t digit = ((uint64_t)1 << bits) - 1;
    uint32_t       counts[2][1 << WIDE_BITS];

    memset(counts[0], 0, sizeof counts[0][0] << bits);
    memset(counts[1], 0, sizeof counts[1][0] << bits);
    for (size_t i = 0; i < n; i++) {
        const uint64_t number = list[i] & PQ_RANK_NUMBER;
        const uint64_t both   = (keys[number] - lo) >> shift;
        counts[0][both & digit]++;
        counts[1][both >> bits]++;
        list[i] = both << 32 | number;
    }
    add_up(counts[0], (size_t)1 << bits);
    add_up(counts[1], (size_t)1 << bits);
    for (size_t i = 0; i < n; i++) {
        spare[counts[0][list[i] >> 32 & digit]++] = list[i];
    }
    for (size_t i = 0; i < n; i++) {
        list[counts[1][spare[i] >> (32 + bits)]++] = spare[i];
    }
}

/* By the leading bits of what differs, then those that have them in common. */
static void sort_entries(const uint64_t *keys, uint64_t *list, uint64_t *spare, size_t n)
{
    const int bits = n >= MANY ? WIDE_BITS : BITS;
    uint64_t  lo, hi;
    int       shift;

    if (n <= FEW) {
        insert(keys, list, n);
        return;
    }
    find_range(keys, list, n, &lo, &hi);
    if (lo == hi) {
        for (size_t i = 0; i < n; i++) {
            list[i] = (list[i] & PQ_RANK_NUMBER) | (i == 0 ? PQ_RANK_NEW : 0);
        }
        return;
    }
    shift = 64 - __builtin_clzll(hi - lo) - 2 * bits;
    shift = shift > 0 ? shift : 0;
    sort_digits(keys, list, spare, n, lo, shift, bits);
    for (size_t first = 0, end; first < n; first = end) {
        const uint64_t both = list[first] >> 32;
        for (end = first + 1; end < n && list[end] >> 32 == both; end++) {
        }
        if (end == first + 1) {
            list[first] = (list[first] & PQ_RANK_NUMBER) | PQ_RANK_NEW;
        } else {
            sort_entries(keys, list + first, spare, end - first);
        }
    }
}

void pq_rank_sort(const uint64_t *keys, uint64_t *list, uint64_t *spare, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        list[i] = i;
    }
    sort_entries(keys, list, spare, n);
}
