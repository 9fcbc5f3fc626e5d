/**
 * @file
 * Numbers in the order of their scores, by a radix sort of the scores' bits.
 */
#ifndef PQ_METRICS_RANK_H
#define PQ_METRICS_RANK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** What a sorted entry holds: the number of its score, and whether the one before it has
 * another score. */
#define PQ_RANK_NUMBER ((uint64_t)UINT32_MAX)
#define PQ_RANK_NEW    ((uint64_t)1 << 63)

/** Bits that order as the score does, which is no NaN; 0 and -0 are the same. */
static inline uint64_t pq_rank_key(double score)
{
    const double plain = score + 0.0; /* -0 becomes 0 */
    uint64_t     bits;

    memcpy(&bits, &plain, sizeof bits);
    return bits ^ ((0 - (bits >> 63)) | (uint64_t)1 << 63);
}

/**
 * Sorts the numbers 0 .. n-1 by their keys, rising; those of one key stay in their order.
 *
 * @param[in]  keys   [n] pq_rank_key
 * @param[out] list   [n] entries: number, and PQ_RANK_NEW on the first of each key
 * @param[out] spare  [n] scratch
 * @param[in]  n      at most 2^32
 *
 * Cost: about four passes over the entries of eight bytes, whatever the keys are; at most
 * four times as many.
 */
void pq_rank_sort(const uint64_t *keys, uint64_t *list, uint64_t *spare, size_t n);

#endif
