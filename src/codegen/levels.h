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
 * where K and R are chosen from the levels, so that every sum gives its code. Where
 * float32 can, a line takes the place of the last two:
 *
 *     u = clamp(bits(m float(A + s + R) + C) - A),   A = bits(2^23 + 2^22).
 *
 * The sum begins at A + R: as long as it is below 2^22 in magnitude, its bits are those
 * of the float 2^23 + 2^22 + s + R. C is such that the result is near 2^23 + 2^22, too,
 * where floats are whole numbers: the one rounding of the fused product and sum rounds to
 * a code, which stands in the lowest bits. Nothing is converted. Each step does not
 * decrease in s, so that both sides of every level and both ends prove all sums.
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

enum { PQ_LINE_BITS = 0x4b400000 /**< A: of the float 2^23 + 2^22 */ };

/** m, C and R of a line; false where none is found that gives the levels. */
bool pq_levels_line(const pq_levels *l, pq_clamp clamp, float *factor, float *summand,
                    int64_t *rounding);

/** Parts h and l of a multiplier m with fma(s, h, s l), in float32, the float next to the
 * double s m for every sum up to a bound in magnitude: each is tried. False where one is
 * another float, or they are too many to try. l (2^23 + 2^22) is a float, too, so that
 * s l is that of sums that begin at A: fma(bits, l, -(2^23 + 2^22) l). */
bool pq_levels_product(double m, int64_t bound, float *high, float *low);

/** M and C in double, for u = trunc(clamp(s) M + C), whether or not the compiler makes
 * one instruction of product and sum. */
bool pq_levels_real(const pq_levels *l, double *factor, double *summand);

#endif
