#include "compress/prune_weights.h"

#include <string.h>

/* The order weights go in: what is pruned already, then by score. For finite floats that
 * are not negative the order of the bits is the order of the values. */
static uint32_t place_of(const pq_weight_run *r, size_t i)
{
    const float *from = r->score != NULL ? r->score : pq_f32(r->w->value);
    uint32_t     bits;

    memcpy(&bits, &from[i], sizeof bits);
    return pq_weight_is_pruned(r->w, i) ? 0 : (bits & 0x7FFFFFFFu) + 1;
}

void pq_prune_item(const pq_weight_run *r, size_t i)
{
    float *x = &pq_f32(r->w->value)[i];

    *r->dropped += (double)*x * (double)*x;
    *x = 0.0f;
    r->w->pruned[i / 8] |= (uint8_t)(1u << i % 8);
}

/*
 * The place of the count-th weight, and how many of exactly that place are among
 * the first count: a radix selection, high half first.
 */
static void select_threshold(const pq_weight_run *runs, size_t n, size_t count,
                             size_t *histogram, uint32_t *threshold, size_t *ties)
{
    uint32_t high = 0;

    for (int half = 0; half < 2; half++) {
        uint32_t bin = 0;
        memset(histogram, 0, 65536 * sizeof *histogram);
        for (size_t k = 0; k < n; k++) {
            for (size_t i = runs[k].first; i < runs[k].first + runs[k].n; i++) {
                const uint32_t x = place_of(&runs[k], i);
                if (half == 0) {
                    histogram[x >> 16]++;
                } else if (x >> 16 == high) {
                    histogram[x & 0xFFFFu]++;
                }
            }
        }
        while (histogram[bin] < count) {
            count -= histogram[bin++];
        }
        if (half == 0) {
            high = bin;
        } else {
            *threshold = high << 16 | bin;
        }
    }
    *ties = count;
}

void pq_prune_least(const pq_weight_run *runs, size_t n, size_t count, size_t *histogram)
{
    uint32_t threshold = 0;
    size_t   ties      = 0;

    if (count == 0) {
        return;
    }
    select_threshold(runs, n, count, histogram, &threshold, &ties);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = runs[k].first; i < runs[k].first + runs[k].n; i++) {
            const uint32_t place = place_of(&runs[k], i);
            if (place < threshold || (place == threshold && ties > 0)) {
                ties -= place == threshold ? 1 : 0;
                pq_prune_item(&runs[k], i);
            }
        }
    }
}

/* Item of the least place of a group that has not gone, the last of equal ones. */
static size_t least_of(const pq_weight_run *r, size_t first, size_t n, uint64_t gone)
{
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        if ((gone >> i & 1) == 0 &&
            (least == SIZE_MAX || place_of(r, first + i) <= place_of(r, first + least))) {
            least = i;
        }
    }
    return least;
}

void pq_prune_pattern(const pq_weight_run *run, size_t row, size_t N, size_t M)
{
    for (size_t at = run->first; at < run->first + run->n; at += row) {
        for (size_t g = 0; g < row; g += M) {
            const size_t n    = row - g < M ? row - g : M;
            uint64_t     gone = 0;
            for (size_t k = N; k < n; k++) {
                gone |= (uint64_t)1 << least_of(run, at + g, n, gone);
            }
            for (size_t i = 0; i < n; i++) {
                if ((gone >> i & 1) != 0) {
                    pq_prune_item(run, at + g + i);
                }
            }
        }
    }
}
