#include "exec/quantize.h"

#include <math.h>

enum { BLOCK = 256 };

/* Whether a quotient of values by a scale is halfway between whole numbers in float32:
 * there alone its rounding may not be that of the quotient in double. (A quotient is
 * rounded past no float32, and halves below 2^22 are.) */
static bool is_in_doubt(float scale, size_t n, const float *values)
{
    unsigned doubt = 0;

    for (size_t i = 0; i < n; i++) {
        const float quotient = values[i] / scale;
        doubt |= fabsf(quotient - pq_round_even(quotient)) == 0.5f;
    }
    return doubt != 0;
}

/* Up to BLOCK neighbours whose quotients are no ties. Two loops, as gcc does not
   vectorize two comparisons in a row. */
static void round_block(const pq_quant *q, size_t index, size_t n, float *values)
{
    const float lo = (float)pq_quant_lo(q), hi = (float)pq_quant_hi(q);
    const float scale = q->scale[index], zero = (float)q->zero_point[index];

    for (size_t i = 0; i < n; i++) {
        const float code = pq_round_even(values[i] / scale) + zero;
        values[i]        = code > lo ? code : lo;
    }
    for (size_t i = 0; i < n; i++) {
        const float code = values[i] < hi ? values[i] : hi;
        values[i]        = (code - zero) * scale;
    }
}

/* pq_quant_round of n neighbours with one scale. */
static void round_run(const pq_quant *q, size_t index, size_t n, float *values)
{
    for (size_t first = 0; first < n; first += BLOCK) {
        float       *block = values + first;
        const size_t count = n - first < BLOCK ? n - first : BLOCK;
        if (!is_in_doubt(q->scale[index], count, block)) {
            round_block(q, index, count, block);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            block[i] = pq_quant_round(q, index, block[i]);
        }
    }
}

/* Neighbours that share a scale: the items after the quantizer's axis. */
static size_t run_length(const pq_quant *q, const pq_shape *shape)
{
    size_t n = 1;

    for (size_t d = (size_t)q->axis + 1; d < shape->ndim; d++) {
        n *= shape->dim[d];
    }
    return n;
}

static void quantize_floats(const pq_quant *q, const pq_shape *shape, size_t total,
                            float *values)
{
    if (q->scheme != PQ_QUANT_INTEGER) {
        size_t count = 1;
        (void)pq_shape_count(shape, &count);
        for (size_t i = 0; i < total; i++) {
            values[i] = pq_quant_round(q, pq_quant_index(q, shape, i % count), values[i]);
        }
    } else if (q->axis == PQ_QUANT_PER_TENSOR) {
        round_run(q, 0, total, values);
    } else {
        const size_t run = run_length(q, shape);
        for (size_t i = 0, index = 0; i < total; i += run, index = (index + 1) % q->n) {
            round_run(q, index, run, values + i);
        }
    }
}

static void quantize_doubles(const pq_quant *q, const pq_shape *shape, size_t total,
                             double *values)
{
    size_t count = 1;

    (void)pq_shape_count(shape, &count);
    for (size_t i = 0; i < total; i++) {
        values[i] =
            pq_quant_round_real(q, pq_quant_index(q, shape, i % count), values[i]);
    }
}

void pq_quantize_values(const pq_quant *q, const pq_shape *shape, size_t n,
                        size_t item_bytes, void *values)
{
    size_t count = 0;

    (void)pq_shape_count(shape, &count);
    if (item_bytes == sizeof(float)) {
        quantize_floats(q, shape, n * count, values);
    } else {
        quantize_doubles(q, shape, n * count, values);
    }
}
