/**
 * @file
 * Products of bfloat16: rows of a dense layer or a convolution with one panel of weights,
 * summed in float32. For l < lines, r < rows, c < n and o = (l * rows + r) * out_pitch +
 * c
 *
 *   out[o] = clip(bias[c] + residual[o] + sum_{t < taps, i < length}
 *       in[l * in_line + r * in_pitch + tap[t] + i] weight[t][i][c])
 *
 * Products are exact; two at a time are added to the sum, so that its last bits depend on
 * the instruction, never on how many rows are computed together.
 */
#ifndef PQ_KERNELS_BF16_H
#define PQ_KERNELS_BF16_H

#include "kernels/kernels.h"

enum {
    PQ_BF16_LANES = 16, /**< width of a panel is a multiple */
    PQ_BF16_PANEL = 64, /**< at most */
};

typedef struct {
    size_t          lines, rows, taps, length;
    const uint16_t *in; /**< read in pairs: one item more where length is odd */
    size_t          in_line, in_pitch;
    const size_t   *tap;    /**< [taps] offsets, items */
    const uint16_t *weight; /**< [taps, (length + 1) / 2, width, 2], 0 beyond */
    const float    *bias;   /**< [width] */
    size_t          width, n;
    const float    *residual; /**< or NULL */
    float          *out;
    size_t          out_pitch;
    pq_clip         clip;
} pq_bf16_panel;

/** The kernels of a processor. */
typedef struct {
    const char *name;
    void (*panel)(const pq_bf16_panel *p);
    /** The nearest bfloat16, ties to even; what is below the least normal number is 0. */
    void (*round)(size_t n, const float *x, uint16_t *y);
} pq_bf16_kernels;

/** What is meant, plainly written; for tests. */
extern const pq_bf16_kernels pq_bf16_plain;

/** Kernels for this processor (and PQUANT_ISA), the best it has, or NULL where it has no
 * AVX-512 BF16. */
const pq_bf16_kernels *pq_bf16_find(void);

#if defined(__x86_64__)
extern const pq_bf16_kernels pq_bf16_avx512;

/** Those of AMX, or NULL where processor or system has none. */
const pq_bf16_kernels *pq_bf16_amx(void);
#endif

#endif
