/**
 * @file
 * Puts the activations of a node on the grid of its quantizer, as
 * pq_quant_round defines it, item by item the same values.
 */
#ifndef PQ_EXEC_QUANTIZE_H
#define PQ_EXEC_QUANTIZE_H

#include "tensor/quant.h"

/**
 * @param[in]     shape       of one sample, which the quantizer fits
 * @param[in]     n           samples
 * @param[in]     item_bytes  4: float, 8: double
 * @param[in,out] values      [n, shape]
 */
void pq_quantize_values(const pq_quant *q, const pq_shape *shape, size_t n,
                        size_t item_bytes, void *values);

/** rint() of |x| < 2^22 by adding and taking away 1.5 * 2^23; what is larger stays large,
 * for a clamp. Unlike a call of rintf it vectorizes. */
static inline float pq_round_even(float x)
{
    const float magic = 12582912.0f;

    return (x + magic) - magic;
}

#endif
