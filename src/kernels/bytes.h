/**
 * @file
 * A dense layer or a convolution on bytes, from codes to codes in one go: products of
 * unsigned activations with signed weights, sums in 32 bits, and the rounding of
 * pq_kernels.byte_codes while the sums are in registers.
 *
 * For l < lines, r < rows, c < scale.n, and the output l * rows + r, with
 *
 *   sum = bias[c] + sum_{t < taps, i < length}
 *       in[l * in_line + r * in_pitch + tap[t] + i] weight[t][i][c]
 *
 * exact where no partial sum leaves 32 bits (nor, of codes, sum near[c] 30), `code` gets
 * what byte_codes makes of sum, or `real` gets (float)(sum multiplier[c]), in double and
 * then rounded, 0 for a negative one where `relu`.
 */
#ifndef PQ_KERNELS_BYTES_H
#define PQ_KERNELS_BYTES_H

#include <stdbool.h>

#include "kernels/kernels.h"

enum {
    PQ_BYTES_LANES = 16 /**< channels of a panel are rounded up to a multiple */
};

typedef struct {
    size_t         lines, rows, taps, length;
    const uint8_t *in;
    size_t         in_line, in_pitch;
    const size_t  *tap;    /**< [taps] offsets */
    const int8_t  *weight; /**< [taps, (length + 3) / 4, width, 4], 0 beyond length, n */
    const int32_t *bias;   /**< [width] */
    size_t         width;  /**< n rounded up */
    pq_words_scale scale;  /**< n, pitch, and of codes all but rows, width and sum; its
                              arrays have [width] items, 0 beyond n */
    uint8_t *code;         /**< [lines, rows, pitch], or NULL */
    float   *real;         /**< otherwise */
    bool     relu;         /**< of reals */
} pq_bytes_panel;

/** The kernel of a processor. */
typedef struct {
    const char *name; /**< in records, ", native" at its end: products by instruction */
    void (*panel)(const pq_bytes_panel *p);
} pq_bytes_kernel;

/** What is meant, plainly written; for tests. */
void pq_bytes_plain(const pq_bytes_panel *p);

/** Its kernel for this processor (and PQUANT_ISA), the best it has, or NULL where
 * products of bytes have no instruction: AVX-512 VNNI. */
const pq_bytes_kernel *pq_bytes_find(void);

#if defined(__x86_64__)
extern const pq_bytes_kernel pq_bytes_vnni;

/** That of AMX, or NULL where processor or system has none. */
const pq_bytes_kernel *pq_bytes_amx(void);
#endif

#endif
