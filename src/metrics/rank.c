#include "metrics/rank.h"

enum {
    FEW       = 24,      /* sorted by insertion */
    MANY      = 1 << 14, /* worth many buckets */
    WIDE_BITS = 11,
    BITS      = 8,
};

static void insert(pq_ranked *list, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const pq_ranked moved = list[i];
        const uint64_t  key   = pq_ranked_key(&moved);
        size_t          k     = i;
        for (; k > 0 && pq_ranked_key(&list[k - 1]) > key; k--) {
            list[k] = list[k - 1];
        }
        list[k] = moved;
    }
}

static void find_range(const pq_ranked *list, size_t n, uint64_t *lo, uint64_t *hi)
{
    *lo = UINT64_MAX;
    *hi = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = pq_ranked_key(&list[i]);
        *lo                = key < *lo ? key : *lo;
        *hi                = key > *hi ? key : *hi;
    }
}

/* By the leading bits of what differs, then each bucket on its own. */
static void sort_by_bits(pq_ranked *list, pq_ranked *spare, size_t n, int bits)
{
    size_t   end[1 << WIDE_BITS];
    uint64_t lo, hi;
    int      shift;
    size_t   at = 0;

    find_range(list, n, &lo, &hi);
    if (lo == hi) {
        return;
    }
    shift = 64 - __builtin_clzll(hi - lo) - bits;
    shift = shift > 0 ? shift : 0;
    memset(end, 0, sizeof *end << bits);
    for (size_t i = 0; i < n; i++) {
        end[(pq_ranked_key(&list[i]) - lo) >> shift]++;
    }
    for (size_t b = 0; b < (size_t)1 << bits; b++) {
        const size_t count = end[b];
        end[b]             = at;
        at += count;
    }
    for (size_t i = 0; i < n; i++) {
        spare[end[(pq_ranked_key(&list[i]) - lo) >> shift]++] = list[i];
    }
    memcpy(list, spare, n * sizeof *list);
    at = 0;
    for (size_t b = 0; shift > 0 && b < (size_t)1 << bits; b++) {
        pq_rank_sort(list + at, spare, end[b] - at);
        at = end[b];
    }
}

void pq_rank_sort(pq_ranked *list, pq_ranked *spare, size_t n)
{
    if (n <= FEW) {
        insert(list, n);
    } else {
        sort_by_bits(list, spare, n, n >= MANY ? WIDE_BITS : BITS);
    }
}
