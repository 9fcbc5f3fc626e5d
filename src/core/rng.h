/**
 * @file
 * Counter-based random numbers: the i-th draw of a stream is a pure function of
 * (seed, purpose, i), so results do not depend on threads, order or history.
 *
 * Source: Philox-4x32-10, Salmon et al., SC'11, doi:10.1145/2063384.2063405.
 */
#ifndef PQ_CORE_RNG_H
#define PQ_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/** A stream; copy it to fork the same future. */
typedef struct {
    uint64_t key;     /**< seed and purpose, mixed */
    uint64_t counter; /**< block of the next draw */
    uint32_t block[4];
    unsigned used; /**< words of the block already given out; 4 = none left */
} pq_rng;

/** Stream of a seed for one purpose, e.g. "init", "shuffle", "calibration", "order". */
pq_rng pq_rng_stream(uint64_t seed, const char *purpose);

/** 64 random bits. */
uint64_t pq_rng_bits(pq_rng *rng);

/** Uniform in [0, 1), 53 bits. */
double pq_rng_uniform(pq_rng *rng);

/** Standard normal (Box-Muller, one draw a call). */
double pq_rng_normal(pq_rng *rng);

/** Uniform integer in 0 .. n-1 without bias; n >= 1. */
size_t pq_rng_below(pq_rng *rng, size_t n);

/** Fisher-Yates shuffle of n indices. */
void pq_rng_shuffle(pq_rng *rng, size_t *index, size_t n);

/** The same, some swaps at a time: of n indices the first `left` are still to be
 * shuffled, n at first. Returns how many are left then; done at 1 or 0. */
size_t pq_rng_shuffle_part(pq_rng *rng, size_t *index, size_t left, size_t swaps);

#endif
