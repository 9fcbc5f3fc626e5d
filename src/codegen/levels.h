/**
 * @file
 * From the sum of a channel to the code of its output, exactly and without a division.
 *
 * The code u is a step function of the whole number s: u >= k from the level T_k on. It
 * is found from the definition (pq_quant_code_real of what the layers make of s m), and
 * computed as
 *
 *     u = clamp((s + R) >> S)          where scales are powers of two,
 *     u = clamp((s + 2^(S-1) - 1 + (s >> S & 1)) >> S + Z)   with ties to even, or
 *     u = (clamp(s) K + R) >> S        else, with K below 2^31,
 *
 * where K and R are chosen from the levels, so that every sum gives its code.
 * For codegen/ only.
 */
#ifndef PQ_CODEGEN_LEVELS_H
#define PQ_CODEGEN_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/** Code, from 0, of a sum; not decreasing. */
typedef int (*pq_code_of_sum)(const void *context, int64_t sum);

/** The step function of one channel. */
typedef struct {
    int64_t  bound;      /**< no sum is larger, in magnitude */
    int      most;       /**< largest code; the least is 0 */
    int      below;      /**< code of -bound: no level up to it */
    int      above;      /**< code of bound: no level behind it */
    int64_t *level;      /**< [most + 1] T_k for below < k <= above; owned */
    double   multiplier; /**< m over the scale of the output: about 1 / (T_k+1 - T_k) */
} pq_levels;

/** Finds the levels by bisection. */
pq_status pq_levels_find(pq_code_of_sum code, const void *context, int64_t bound,
                         int most, double multiplier, pq_levels *out, pq_err *err);
void      pq_levels_free(pq_levels *l);

/** Codes that a shift is clamped to. */
typedef struct {
    int least, most;
} pq_clamp;

/** R of a shift by `by`; false where none gives the levels. */
bool pq_levels_shift(const pq_levels *l, int by, pq_clamp clamp, int64_t *rounding);

/** Whether a shift with ties to even gives the levels; zero: the code of 0. */
bool pq_levels_even(const pq_levels *l, int by, pq_clamp clamp, int zero);

/** K and R of a shift by `by`, and the sums that are left of the lowest and highest;
 * false where there are none. */
bool pq_levels_scale(const pq_levels *l, int by, int32_t *factor, int64_t *rounding,
                     int32_t *lo, int32_t *hi);

/** The same in double, for u = trunc(clamp(s) M + C), whether or not the compiler makes
 * one instruction of product and sum. */
bool pq_levels_real(const pq_levels *l, double *factor, double *summand);

#endif
