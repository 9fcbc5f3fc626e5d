/**
 * @file
 * The kernels under dense layers, convolutions (float32, and whole numbers) and
 * exponentials, once for each instruction set, chosen at run time.
 *
 * A value is always summed in one chain in the order of its products (taps, then
 * items), starting from the bias: it depends neither on how many rows are
 * computed together nor, where there is a fused multiply-add, on the width of
 * the vectors. AVX2 and AVX-512 give the same bits.
 *
 * Source: direct convolution over packed panels, Georganas et al., SC'18,
 *         arXiv:1808.05567; taps as offsets, Dukhan, arXiv:1907.02129.
 */
#ifndef PQ_EXEC_KERNELS_H
#define PQ_EXEC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "exec/cpu.h"

/**
 * Rows of a product with one panel of weights: for r < rows and c < n
 *
 *   out[r * out_pitch + c] = clip(bias[c] + residual[r * out_pitch + c]
 *       + sum_{t < taps, i < length} in[r * in_pitch + tap[t] + i] weight[t][i][c])
 *
 * A dense layer has one tap; a convolution one for each row of its kernel.
 */
typedef struct {
    size_t        rows, taps, length;
    const float  *in;
    size_t        in_pitch;
    const size_t *tap;      /**< [taps] offsets, floats */
    const float  *weight;   /**< [taps, length, panel width], zero beyond n */
    const float  *bias;     /**< [panel width] */
    const float  *residual; /**< or NULL */
    float        *out;
    size_t        out_pitch;
    size_t        n;      /**< channels that are stored, <= panel width */
    float         lo, hi; /**< the clip; infinite = none */
} pq_panel;

/**
 * Rows of a depthwise convolution: for r < rows and c < n
 *
 *   out[r * out_pitch + c] = clip(bias[c] + residual[r * out_pitch + c]
 *       + sum_{t < taps} in[r * in_pitch + tap[t] + c] weight[t][c])
 *
 * Channels of `in`, `bias` and `weight` [taps, channels] go up to n rounded up to lanes;
 * length is not used.
 */
typedef void (*pq_panel_kernel)(const pq_panel *p);

/**
 * Rows of a product of 16-bit words with one panel, summed in 32 bits: for r < rows and
 * every channel c of the panel
 *
 *   sum[r * width + c] = bias[c] + sum_{t < taps, i < length} in[r * in_pitch + tap[t] +
 * i] weight[t][i][c]
 *
 * exact where no partial sum leaves 32 bits. An odd tap reads one item more, of weight 0.
 */
typedef struct {
    size_t         rows, taps, length;
    const int16_t *in;
    size_t         in_pitch;
    const size_t  *tap; /**< [taps] offsets, items */
    const int16_t
        *weight;         /**< [taps, (length + 1) / 2, width, 2]; depthwise: [taps, width]
                          */
    const int32_t *bias; /**< [width] */
    size_t         width; /**< of the panel */
    int32_t       *sum;   /**< [rows, width] */
} pq_words_panel;

typedef void (*pq_words_kernel)(const pq_words_panel *p);

/** From sums to codes of an integer grid: clamp(round(sum m / scale) + zero, lo, hi). */
typedef struct {
    const double *multiplier; /**< [n] m */
    double        scale, zero, lo, hi;
} pq_words_scale;

/** The kernels of one instruction set. */
typedef struct {
    pq_isa          isa;
    size_t          lanes;  /**< floats of a vector */
    pq_panel_kernel narrow; /**< panels one vector wide */
    pq_panel_kernel wide;   /**< panels two vectors wide */
    pq_panel_kernel depthwise;

    pq_words_kernel words_narrow, words_wide, words_depthwise;

    /** code[i] of sum[i] for i < n, in double, halves to even. */
    void (*codes)(const pq_words_scale *s, size_t n, const int32_t *sum, int32_t *code);

    /** x[i] = exp(x[i]) to 2 ulp, between exp(-87.3) and exp(88); a NaN stays one. */
    void (*exponentials)(size_t n, float *x);
} pq_kernels;

extern const pq_kernels pq_kernels_portable;
#if defined(__x86_64__)
extern const pq_kernels pq_kernels_avx2, pq_kernels_avx512;
#endif

/** Kernels for an instruction set, or NULL when this processor does not have it. */
const pq_kernels *pq_kernels_find(pq_isa isa);

#endif
