/**
 * @file
 * Events in the order of their scores, by a radix sort of the scores' bits.
 */
#ifndef PQ_METRICS_RANK_H
#define PQ_METRICS_RANK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** An event and its score as 64 bits that rise with it. */
typedef struct {
    uint32_t key[2]; /**< pq_rank_key, in two halves so that an entry takes 12 bytes */
    uint32_t event;
} pq_ranked;

/** Bits that order as the score does, which is no NaN; 0 and -0 are the same. */
static inline uint64_t pq_rank_key(double score)
{
    const double plain = score + 0.0; /* -0 becomes 0 */
    uint64_t     bits;

    memcpy(&bits, &plain, sizeof bits);
    return bits ^ ((0 - (bits >> 63)) | (uint64_t)1 << 63);
}

static inline uint64_t pq_ranked_key(const pq_ranked *r)
{
    uint64_t key;

    memcpy(&key, r->key, sizeof key);
    return key;
}

static inline pq_ranked pq_ranked_make(uint64_t key, size_t event)
{
    pq_ranked r = {.event = (uint32_t)event};

    memcpy(r.key, &key, sizeof key);
    return r;
}

/**
 * Sorts by score, rising; events of one score stay in their order.
 *
 * @param[in,out] list   [n]
 * @param[out]    spare  [n] scratch
 *
 * Cost: about three passes over the entries, whatever the scores are; at most eight.
 */
void pq_rank_sort(pq_ranked *list, pq_ranked *spare, size_t n);

#endif
