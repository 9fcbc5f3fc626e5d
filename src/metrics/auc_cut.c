/*
 * Events of a class into slices between quantiles of their scores: every so many-th event
 * says where to cut, then each block of events lists its own slice by slice.
 */
#include "core/memory.h"
#include "metrics/auc_sliced.h"
#include "metrics/blocks.h"

/* Area of the sample, a half where it lacks a side; only near the area, so without
 * weights. */
static double area_of_sample(const pq_sliced *j, const uint64_t *list, size_t n,
                             size_t stride)
{
    double below[2] = {0.0, 0.0}, won = 0.0;

    for (size_t first = 0, end; first < n; first = end) {
        double tied[2] = {0.0, 0.0};
        end            = first;
        do {
            tied[pq_sliced_side(j, (list[end] & PQ_RANK_NUMBER) * stride)] += 1.0;
            end++;
        } while (end < n && (list[end] & PQ_RANK_NEW) == 0);
        won += tied[1] * (below[0] + tied[0] / 2.0);
        below[0] += tied[0];
        below[1] += tied[1];
    }
    return below[0] > 0.0 && below[1] > 0.0 ? won / (below[0] * below[1]) : 0.5;
}

/* How many of n cuts from `at` on are at or below a key; n >= 1. Without a branch that
 * depends on the key. */
static size_t count_cuts(const uint64_t *cuts, size_t n, uint64_t key)
{
    const uint64_t *at = cuts;

    while (n > 1) {
        const size_t half = n / 2;
        at += half & (0 - (size_t)(at[half - 1] <= key));
        n -= half;
    }
    return (size_t)(at - cuts) + (*at <= key ? 1 : 0);
}

/* Which of equal cells between the first cut and the last a key lies in. */
static size_t cell_of(const pq_sliced *j, uint64_t key)
{
    const uint64_t lo = j->cuts[0], hi = j->cuts[j->n_slices - 2];

    key = key < lo ? lo : key > hi ? hi : key;
    return (size_t)((key - lo) >> j->cell_shift);
}

/* How many cuts lie before each cell. */
static void make_cells(pq_sliced *j)
{
    const size_t   n    = j->n_slices - 1;
    const uint64_t span = j->cuts[n - 1] - j->cuts[0];
    const int      bits = span == 0 ? 0 : 64 - __builtin_clzll(span);
    size_t         s    = 0;

    j->cell_shift = bits > PQ_SLICED_CELL_BITS ? bits - PQ_SLICED_CELL_BITS : 0;
    for (size_t cell = 0; cell <= PQ_SLICED_CELLS; cell++) {
        while (s < n && cell_of(j, j->cuts[s]) < cell) {
            s++;
        }
        j->before[cell] = (uint8_t)s;
    }
}

/* How many of the cuts are at or below a key. */
static size_t find_slice(const pq_sliced *j, uint64_t key)
{
    const size_t cell = cell_of(j, key), first = j->before[cell];
    const size_t n = j->before[cell + 1] - first;

    return first + (n > 0 ? count_cuts(j->cuts + first, n, key) : 0);
}

/* Slices between quantiles of every so many-th event's score. */
static pq_status choose_cuts(pq_sliced *j, pq_err *err)
{
    const size_t n = j->n_slices * PQ_SLICED_SAMPLES, stride = j->e->n / n;
    uint64_t    *keys = NULL, *list = NULL, *spare = NULL;
    pq_status    st;

    PQ_NEW(keys, n);
    PQ_NEW(list, n);
    PQ_NEW(spare, n);
    for (size_t i = 0; i < n; i++) {
        keys[i] = pq_sliced_key(j, i * stride);
    }
    pq_rank_sort(keys, list, spare, n);
    for (size_t s = 1; s < j->n_slices; s++) {
        j->cuts[s - 1] = keys[list[s * PQ_SLICED_SAMPLES] & PQ_RANK_NUMBER];
    }
    make_cells(j);
    j->shift = area_of_sample(j, list, n, stride);
cleanup:
    pq_free(keys);
    pq_free(list);
    pq_free(spare);
    return st;
}

uint64_t pq_sliced_start(const pq_sliced *j, size_t s, int *shift)
{
    const uint64_t lo   = s == 0 ? 0 : j->cuts[s - 1];
    const uint64_t hi   = s + 1 == j->n_slices ? UINT64_MAX : j->cuts[s];
    const int      bits = hi == lo ? 0 : 64 - __builtin_clzll(hi - lo);

    *shift = bits > 32 ? bits - 32 : 0;
    return lo;
}

/* Keys of a block, and which slices they belong to. The first class finds `total` unset.
 */
static void find_slices(const pq_sliced *j, size_t first, size_t n, pq_slice_buffers *b,
                        uint32_t *counts)
{
    if (j->nothing_yet) {
        memset(j->total + first, 0, n * sizeof *j->total);
    }
    for (size_t i = 0; i < n; i++) {
        b->block_keys[i] = pq_sliced_key(j, first + i);
    }
    for (size_t i = 0; i < n; i++) {
        b->place[i] = (uint8_t)find_slice(j, b->block_keys[i]);
        counts[b->place[i]]++;
    }
}

/* Lists the events of a block slice by slice. */
static pq_status place_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    pq_sliced   *j     = context;
    const size_t first = piece * PQ_SLICED_BLOCK;
    const size_t n =
        j->e->n - first < PQ_SLICED_BLOCK ? j->e->n - first : PQ_SLICED_BLOCK;
    uint32_t         *ends = j->ends + piece * j->n_slices, at = 0;
    double           *weights = j->weights + piece * j->n_slices * 2;
    pq_slice_buffers *b       = &j->of[thread];
    uint32_t          counts[PQ_SLICED_MOST_SLICES] = {0};
    uint64_t          lo[PQ_SLICED_MOST_SLICES];
    int               shift[PQ_SLICED_MOST_SLICES];
    pq_status         st = PQ_OK;

    if (b->block_keys == NULL) {
        pq_free(b->place);
        PQ_NEW(b->place, PQ_SLICED_BLOCK);
        PQ_NEW(b->block_keys, PQ_SLICED_BLOCK);
    }
    find_slices(j, first, n, b, counts);
    for (size_t s = 0; s < j->n_slices; s++) {
        lo[s]   = pq_sliced_start(j, s, &shift[s]);
        ends[s] = at; /* where they begin, until they are there */
        at += counts[s];
    }
    memset(weights, 0, j->n_slices * 2 * sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        const size_t s = b->place[i], side = pq_sliced_side(j, first + i),
                     to = first + ends[s]++;
        j->numbers[to]  = (uint16_t)(i | (side == 1 ? PQ_SLICED_OF_CLASS : 0));
        j->leads[to]    = (uint32_t)((b->block_keys[i] - lo[s]) >> shift[s]);
        weights[2 * s + side] += pq_evaluation_weight(j->e, first + i);
    }
cleanup:
    return st;
}

pq_status pq_sliced_cut(pq_sliced *j, pq_err *err)
{
    double    below[2] = {0.0, 0.0};
    pq_status st;

    PQ_TRY(choose_cuts(j, err));
    PQ_TRY(pq_threads_run(pq_evaluation_threads(j->e), j->n_blocks, place_block, j, err));
    for (size_t s = 0; s < j->n_slices; s++) {
        pq_slice *of = &j->slices[s];
        *of          = (pq_slice){.below = {below[0], below[1]}};
        for (size_t b = 0; b < j->n_blocks; b++) {
            const uint32_t *ends = j->ends + b * j->n_slices;
            of->n += ends[s] - (s == 0 ? 0 : ends[s - 1]);
            below[0] += j->weights[(b * j->n_slices + s) * 2];
            below[1] += j->weights[(b * j->n_slices + s) * 2 + 1];
        }
    }
cleanup:
    return st;
}
