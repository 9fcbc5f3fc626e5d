#include "core/rng.h"

#include <math.h>

enum { AHEAD = 16 /* swaps whose places are fetched before the first of them */ };

static void philox(uint64_t key, uint64_t counter, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53U * c0, p1 = (uint64_t)0xCD9E8D57U * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1                = (uint32_t)p1;
        c3                = (uint32_t)p0;
        c0                = n0;
        c2                = n2;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

pq_rng pq_rng_stream(uint64_t seed, const char *purpose)
{
    uint64_t h = 0xCBF29CE484222325U; /* FNV-1a of the purpose */

    for (const char *p = purpose; *p != '\0'; p++) {
        h = (h ^ (uint8_t)*p) * 0x100000001B3U;
    }
    h ^= seed * 0x9E3779B97F4A7C15U;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
    return (pq_rng){.key = h ^ (h >> 31), .used = 4};
}

static uint32_t word(pq_rng *rng)
{
    if (rng->used >= 4) {
        philox(rng->key, rng->counter++, rng->block);
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint64_t pq_rng_bits(pq_rng *rng)
{
    const uint64_t high = word(rng);

    return high << 32 | word(rng);
}

double pq_rng_uniform(pq_rng *rng)
{
    return (double)(pq_rng_bits(rng) >> 11) * 0x1p-53;
}

double pq_rng_normal(pq_rng *rng)
{
    const double u = 1.0 - pq_rng_uniform(rng), v = pq_rng_uniform(rng);

    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

size_t pq_rng_below(pq_rng *rng, size_t n)
{
    uint64_t draw, rest;

    do {
        draw = pq_rng_bits(rng);
        rest = draw % n;
    } while (draw - rest > UINT64_MAX - n); /* above the last whole n below 2^64 - 1 */
    return (size_t)rest;
}

size_t pq_rng_shuffle_part(pq_rng *rng, size_t *index, size_t left, size_t swaps)
{
    size_t draws[AHEAD];

    while (left > 1 && swaps > 0) {
        const size_t most = left - 1 < swaps ? left - 1 : swaps;
        const size_t n    = most < AHEAD ? most : AHEAD;
        for (size_t i = 0; i < n; i++) {
            draws[i] = pq_rng_below(rng, left - i);
            __builtin_prefetch(index + draws[i], 1);
        }
        for (size_t i = 0; i < n; i++, left--, swaps--) {
            const size_t keep = index[left - 1];
            index[left - 1]   = index[draws[i]];
            index[draws[i]]   = keep;
        }
    }
    return left;
}

void pq_rng_shuffle(pq_rng *rng, size_t *index, size_t n)
{
    (void)pq_rng_shuffle_part(rng, index, n, n);
}
