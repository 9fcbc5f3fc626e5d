/**
 * @file
 * Every inner loop of prediction and training, once for each instruction set and chosen
 * at run time: one table. Results depend on the instruction set (length of vectors, fused
 * multiply-add), never on threads.
 *
 * A value is always summed in one chain in the order of its products (taps, then
 * items), starting from the bias: it depends neither on how many rows are
 * computed together nor, where there is a fused multiply-add, on the width of
 * the vectors. AVX2 and AVX-512 give the same bits.
 *
 * Source: direct convolution over packed panels, Georganas et al., SC'18,
 *         arXiv:1808.05567; taps as offsets, Dukhan, arXiv:1907.02129.
 */
#ifndef PQ_KERNELS_KERNELS_H
#define PQ_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu.h"

enum {
    PQ_KERNELS_SLACK =
        64 /**< floats readable beyond every operand: whole vectors are loaded */
};

/** One run along the contracted dimension: k items, starting at these offsets in A and B.
 */
typedef struct {
    size_t a, b, k;
} pq_segment;

/** Bounds of a result; a NaN stays one. */
typedef struct {
    float lo, hi;
} pq_clip;

/** That of a relu. */
extern const pq_clip pq_clip_relu;

/**
 * C = clip(bias + A B + D), where the contraction runs over a list of segments, in one
 * chain from the bias on.
 *
 * A[i, p] is a[segment.a + i * a_row + p * a_col]; rows may overlap, so a
 * convolution over a padded image is one product. B stands in panels of
 * `panel` columns: B[p, j] is b[segment.b + (j / panel) * b_panel + p * b_row + j %
 * panel].
 */
typedef struct {
    size_t            m, n; /**< rows and columns of C */
    const float      *a;
    size_t            a_row, a_col;
    const float      *b;
    size_t            b_row, b_panel;
    size_t            panel; /**< from pq_kernels.panel(n) */
    float            *c;
    size_t            c_row;
    size_t            n_segments;
    const pq_segment *segments;
    const float      *bias; /**< [n, readable to a whole panel] or NULL */
    const float      *add;  /**< as C, added before the clip, or NULL; C itself: to it */
    const pq_clip    *clip; /**< or NULL */
} pq_matmul;

/** What one optimiser step does to n values; `scale` multiplies the gradient first
 * (clipping). */
typedef struct {
    float scale, lr, weight_decay, l1;
    float momentum; /**< SGD */
    bool  nesterov; /**< SGD */
    /** Adam: 1 - beta of both moments, taken in double: 1 - (float)beta is far off
     * near 1.
     */
    float take1, take2;
    float correct1;  /**< Adam: 1 / (1 - beta1^t) */
    float correct2;  /**< Adam: 1 / (1 - beta2^t) */
    float epsilon;   /**< Adam, added to the root */
    bool  decoupled; /**< AdamW: decay acts on the weight, not through the gradient */
} pq_update;

/**
 * Rows of a depthwise convolution: for r < rows and c < n
 *
 *   out[r * out_pitch + c] = clip(bias[c] + residual[r * out_pitch + c]
 *       + sum_{t < taps} in[r * in_pitch + tap[t] + c] weight[t][c])
 *
 * Channels of `in`, `bias` and `weight` [taps, channels] go up to n rounded up to lanes.
 */
typedef struct {
    size_t         rows, taps;
    const float   *in;
    size_t         in_pitch;
    const size_t  *tap; /**< [taps] offsets, floats */
    const float   *weight, *bias;
    const float   *residual; /**< or NULL */
    float         *out;
    size_t         out_pitch;
    size_t         n; /**< channels */
    const pq_clip *clip;
} pq_depthwise;

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

/** One event times weights of which few of every four are not 0: kernels/fours.h. */
typedef struct pq_fours pq_fours;

/** The kernels of one instruction set. */
typedef struct {
    pq_isa isa;
    size_t lanes; /**< floats of a vector */
    /** Columns of a panel that suits n columns. */
    size_t (*panel)(size_t n);
    void (*gemm)(const pq_matmul *g);
    void (*fours)(const pq_fours *f);
    void (*depthwise)(const pq_depthwise *d);
    /** dy = 0 where y <= 0. */
    void (*relu_grad)(size_t n, const float *y, float *dy);
    /** y += x. */
    void (*add)(size_t n, const float *x, float *y);
    /** out = relu?(x + y). */
    void (*add2)(size_t n, const float *x, const float *y, bool relu, float *out);
    /** dy = 0 where y <= 0, unless y is NULL; sum[j] += sum over rows of dy[., j], rows
     * in order. */
    void (*column_sum)(size_t rows, size_t columns, const float *y, float *dy,
                       float *sum);
    /** y = relu?(x * a[column] + b[column]). */
    void (*scale_shift)(size_t rows, size_t columns, const float *x, const float *a,
                        const float *b, bool relu, float *y);
    /** s1[j] += sum x; s2[j] += sum (x - shift[j])^2, in the order of rows. */
    void (*moments)(size_t rows, size_t columns, const float *x, const float *shift,
                    float *s1, float *s2);
    /** dy = 0 where y <= 0, unless y is NULL; s1[j] += sum dy; s2[j] += sum dy (x -
     * shift[j]). */
    void (*grad_moments)(size_t rows, size_t columns, const float *x, const float *y,
                         float *dy, const float *shift, float *s1, float *s2);
    /** dx (+)= a[j] dy + b[j] x + c[j]. */
    void (*norm_grad)(size_t rows, size_t columns, const float *x, const float *dy,
                      const float *const abc[3], bool accumulate, float *dx);
    /** Sum of squares, in double. */
    double (*square_sum)(size_t n, const float *x);
    /** One SGD step; v is the velocity. */
    void (*sgd)(const pq_update *u, size_t n, const float *g, float *w, float *v);
    /** One Adam or AdamW step; m and v are the moments. */
    void (*adam)(const pq_update *u, size_t n, const float *g, float *w, float *m,
                 float *v);

    pq_words_kernel words_narrow, words_wide, words_depthwise;

    void (*codes)(const pq_words_scale *s, int32_t *code);
    void (*byte_codes)(const pq_words_scale *s, uint8_t *code); /**< lo, hi in 0..255 */

    void (*add_bytes)(const pq_byte_sum *s, size_t n, const uint8_t *x1,
                      const uint8_t *x2, uint8_t *y);
    /** Gives whether a quotient was halfway between whole numbers: there alone float32
     * may round it another way than double. */
    bool (*to_bytes)(const pq_byte_code *c, size_t n, const float *x, uint8_t *y);

    /** x[i] = exp(x[i]) to 2 ulp, between exp(-87.3) and exp(88); a NaN stays one. */
    void (*exponentials)(size_t n, float *x);
} pq_kernels;

extern const pq_kernels pq_kernels_portable;
#if defined(__x86_64__)
extern const pq_kernels pq_kernels_avx2, pq_kernels_avx512;
#endif

/** Kernels for an instruction set, or NULL when this processor does not have it. */
const pq_kernels *pq_kernels_find(pq_isa isa);

/** Copies a [k, n] operand with strides into panels [n / panel][k][panel], zero beyond n.
 */
void pq_pack_panels(size_t k, size_t n, const float *src, size_t k_stride,
                    size_t n_stride, size_t panel, float *dst);

/** Floats of such panels. */
size_t pq_panel_floats(size_t k, size_t n, size_t panel);

/** Denormals cost a factor of four: makes the calling thread take them for 0. Returns
 * what pq_restore_denormals puts back. */
unsigned pq_flush_denormals(void);
void     pq_restore_denormals(unsigned state);

#endif
