/**
 * @file
 * AdaRound: which of its two neighbours on a grid each weight goes to, learnt from what
 * the layer should give.
 */
#ifndef PQ_COMPRESS_ROUNDING_H
#define PQ_COMPRESS_ROUNDING_H

#include <stddef.h>

#include "core/err.h"

/** A layer (or one group of a grouped one) as rows; arrays borrowed. */
typedef struct {
    size_t       rows, inputs, outputs;
    float       *x;      /**< [rows, inputs] what enters it in the quantized network */
    float       *target; /**< [rows, outputs] what it should give, behind the clipping */
    const float *bias;   /**< [outputs], or NULL */
    double lo, hi; /**< what its outputs are clipped to next: a relu's 0 and HUGE_VAL;
                      without: -HUGE_VAL, HUGE_VAL */
} pq_rounding_rows;

/** The choice of each weight, [outputs, inputs]; arrays borrowed. */
typedef struct {
    const float *from;          /**< the weights as they were */
    const float *lower, *upper; /**< neighbours; equal where there is no choice */
} pq_rounding_choice;

/**
 * Minimises over v, by Adam on 256 rows at a time,
 *
 *     |f(x w^T + b) - target|^2 + 0.01 sum_i (1 - |2 h(v_i) - 1|^beta),
 *     w = lower + (upper - lower) h(v),  h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1),
 *
 * squares summed over outputs, their mean over rows, in units of the targets' mean square
 * so that the scale of events does not matter. From h = (from - lower) / (upper - lower);
 * the second term after a fifth of the steps, beta then from 20 to 2 by a cosine. Then
 * each weight goes to the neighbour its h is closer to; all stay as they came where that
 * is no better on all rows.
 *
 * Source: Nagel et al., ICML 2020, arXiv:2004.10568, section 3.3.
 *
 * @param[in]     steps  >= 1
 * @param[in,out] w      [outputs, inputs] a choice, and the one that was learnt
 * @param[out]    error  squares as above, of the weights as they came and as they are
 *                       now, both over those of the targets
 * Cost: 4 * 256 inputs outputs operations a step; three arrays of doubles and three of
 * floats as large as w. One thread, deterministic on an instruction set.
 */
pq_status pq_learn_rounding(const pq_rounding_rows   *rows,
                            const pq_rounding_choice *choice, size_t steps, float *w,
                            double error[2], pq_err *err);

#endif
