/**
 * @file
 * The float32 loops that training spends its time in, once for each
 * instruction set. Which set runs is decided once, from CPUID.
 *
 * Results depend on the instruction set (length of vectors, fused
 * multiply-add), never on threads.
 */
#ifndef PQ_TRAIN_SIMD_H
#define PQ_TRAIN_SIMD_H

#include <stdbool.h>
#include <stddef.h>

#include "exec/cpu.h"

enum {
    PQ_SIMD_SLACK =
        64 /**< floats readable beyond every operand: whole vectors are loaded */
};

/** One run along the contracted dimension: k items, starting at these offsets in A and B.
 */
typedef struct {
    size_t a, b, k;
} pq_segment;

/**
 * C = A B, C + A B or relu(bias + A B), where the contraction runs over a list of
 * segments.
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
    size_t            panel; /**< from pq_simd.panel(n) */
    float            *c;
    size_t            c_row;
    size_t            n_segments;
    const pq_segment *segments;
    const float      *bias;       /**< [n, readable to a whole panel] or NULL */
    bool              accumulate; /**< add to C; excludes bias and relu */
    bool              relu;
} pq_gemm;

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

/** The loops of one instruction set. */
typedef struct {
    pq_isa isa;
    /** Columns of a panel that suits n columns. */
    size_t (*panel)(size_t n);
    void (*gemm)(const pq_gemm *g);
    /** dy = 0 where y <= 0. */
    void (*relu_grad)(size_t n, const float *y, float *dy);
    /** y += x. */
    void (*add)(size_t n, const float *x, float *y);
    /** out = relu?(x + y). */
    void (*add2)(size_t n, const float *x, const float *y, bool relu, float *out);
    /** sum[j] += sum over rows of x[., j], rows in order. */
    void (*column_sum)(size_t rows, size_t columns, const float *x, float *sum);
    /** y = relu?(x * a[column] + b[column]). */
    void (*scale_shift)(size_t rows, size_t columns, const float *x, const float *a,
                        const float *b, bool relu, float *y);
    /** s1[j] += sum x; s2[j] += sum (x - shift[j])^2, in the order of rows. */
    void (*moments)(size_t rows, size_t columns, const float *x, const float *shift,
                    float *s1, float *s2);
    /** s1[j] += sum dy; s2[j] += sum dy (x - shift[j]). */
    void (*grad_moments)(size_t rows, size_t columns, const float *x, const float *dy,
                         const float *shift, float *s1, float *s2);
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
} pq_simd;

/** Loops for an instruction set, or NULL when this processor or build lacks it. */
const pq_simd *pq_simd_find(pq_isa isa);

/** Denormals cost a factor of four: makes the calling thread take them for 0. Returns
 * what pq_simd_restore puts back. */
unsigned pq_simd_flush_denormals(void);
void     pq_simd_restore(unsigned state);

#endif
