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

/**
 * From sums to codes of an integer grid: for r < rows and c < n
 *
 *   code[r * pitch + c] = clamp(round(sum[r * width + c] multiplier[c] / scale) + zero,
 * lo, hi)
 *
 * in double, product and quotient rounded, halves to even. One product with `factor`, in
 * float with `near` where codes are bytes, does for both, unless it falls so close to a
 * half (`doubt`) that its own rounding could decide: then they are computed after all.
 */
typedef struct {
    size_t         rows, n, width, pitch;
    const double  *multiplier; /**< [n] */
    const double  *factor;     /**< [n] multiplier / scale, rounded */
    const float   *near;       /**< [n] factor, rounded; of bytes */
    double         scale, zero, lo, hi;
    double         doubt; /**< least distance from a whole number to be divided again */
    const int32_t *sum;
} pq_words_scale;

/** `doubt` of a scale. Where codes have at most 16 bits, factor and quotient differ by
 * less than 2^17 2^-50; where the scale is a power of two, not at all. */
double pq_words_doubt(double scale);

/** y = clamp(round((x1 a + x2 b) + c), lo, hi) in float, halves to even; lo, hi in
 * 0..255. */
typedef struct {
    float a, b, c, lo, hi;
} pq_byte_sum;

/** y = clamp(round(x / scale), lo, hi) - lo in float, halves to even, a NaN as lo; lo, hi
 * whole, less than 2^22, hi - lo <= 255. */
typedef struct {
    float scale, lo, hi;
} pq_byte_code;

/** The kernels of one instruction set. */
typedef struct {
    pq_isa          isa;
    size_t          lanes;  /**< floats of a vector */
    pq_panel_kernel narrow; /**< panels one vector wide */
    pq_panel_kernel wide;   /**< panels two vectors wide */
    pq_panel_kernel depthwise;

    pq_words_kernel words_narrow, words_wide, words_depthwise;

    void (*codes)(const pq_words_scale *s, int32_t *code);
    void (*byte_codes)(const pq_words_scale *s, uint8_t *code); /**< lo, hi in 0..255 */

    void (*add_bytes)(const pq_byte_sum *s, size_t n, const uint8_t *x1,
                      const uint8_t *x2, uint8_t *y);
    void (*to_bytes)(const pq_byte_code *c, size_t n, const float *x, uint8_t *y);

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
