/**
 * @file
 * A dense or conv2d layer in whole numbers: what both the integer engine and the
 * reference compute, so that they agree bit by bit (docs/quantization.md):
 *
 *     y[o] = (sum_i x_i w_oi + b_o) m_o,   x_i = code - zero point of the input,
 *     w_oi = w / s_o,  b_o = round_half_even(bias / m_o),  m_o = s_x s_o
 *
 * s_o is the scale of output channel o (of zeros alone the one of b_o = +-2^16: the bias
 * stays as it is), of fixed point with several widths in a
 * channel the finest. The sum is exact; the product is rounded once, to double.
 *
 * Source: Jacob et al., CVPR 2018, arXiv:1712.05877, section 2.2.
 */
#ifndef PQ_EXEC_UNITS_H
#define PQ_EXEC_UNITS_H

#include "exec/engine.h"

/** Owns its arrays. */
typedef struct {
    size_t   outputs;                 /**< channels */
    size_t   length;                  /**< weights of a channel */
    int32_t *weight;                  /**< [outputs, length] w */
    int64_t *bias;                    /**< [outputs] b */
    double  *multiplier;              /**< [outputs] m */
    int64_t  bound;                   /**< no sum is larger, in magnitude */
    int32_t  most_weight, most_input; /**< largest |w|, |x| */
} pq_units;

/**
 * Whole numbers of a step's node.
 *
 * @param[out] out  NULL when the layer cannot be computed in whole numbers
 * @param[out] why  then one phrase, static; may be NULL
 */
pq_status pq_units_create(const pq_graph *graph, size_t node, pq_units **out,
                          const char **why, pq_err *err);
void      pq_units_free(pq_units **units);

/**
 * Biases of a node's layer as every engine adds them: b_o m_o where the layer can be
 * computed in whole numbers, else as they are; 0 where it has none.
 *
 * @param[in]  n    channels
 * @param[out] out  [n]
 */
pq_status pq_units_biases(const pq_graph *graph, size_t node, size_t n, double *out,
                          pq_err *err);

#endif
