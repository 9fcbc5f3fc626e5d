/**
 * @file
 * Which range of an activation a quantizer should cover, from what was seen on
 * calibration events. For compress only.
 */
#ifndef PQ_COMPRESS_CLIP_H
#define PQ_COMPRESS_CLIP_H

#include "compress/calib.h"

typedef enum {
    PQ_CLIP_MINMAX,
    PQ_CLIP_PERCENTILE,
    PQ_CLIP_MSE,
    PQ_CLIP_MOVING_AVERAGE,
    PQ_CLIP_ENTROPY
} pq_clip_rule;

/**
 * Range to cover: [max(lo, -T), min(hi, T)] with a cut T on |x|; 0 is always in it.
 *
 * minmax: T = infinity. percentile: the smallest bin edge of the histogram of
 * |x| with at least that percentage of the values below it. mse: of 100 cuts
 * T = i / 100 of the largest |x|, the one of the least sum over the histogram of
 * (x - q(x))^2, q rounding to 2^bits levels and clipping. moving_average: extremes of
 * single events, averaged with weight 0.99 for the past. entropy: of the cuts at bin
 * i = 2^(bits-1) .. 2048, the one of the least KL(P || Q), P the histogram below the cut
 * with the tail in its last bin, Q its 2^(bits-1) merged levels spread over P's occupied
 * bins; bin 0, where relu leaves its zeros, counts as bin 1.
 *
 * Source: Nagel et al., A White Paper on Neural Network Quantization (2021),
 *         arXiv:2106.08295, section 3.1; entropy: Migacz, GTC 2017 (TensorRT).
 *
 * @param[in]  percentile  in (0, 100], for that rule
 * @param[in]  bits        of the codes, 2 .. 16
 * @param[out] lo          in -infinity .. 0
 * @param[out] hi          in 0 .. infinity
 */
void pq_clip_range(const pq_calib_range *range, pq_clip_rule rule, double percentile,
                   int bits, double *lo, double *hi);

#endif
