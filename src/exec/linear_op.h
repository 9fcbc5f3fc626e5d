/**
 * @file
 * A prepared dense layer or convolution, and how it runs. For linear.c and linear_run.c
 * only.
 */
#ifndef PQ_EXEC_LINEAR_OP_H
#define PQ_EXEC_LINEAR_OP_H

#include "exec/fold.h"
#include "exec/regions.h"
#include "exec/skips.h"
#include "kernels/fours.h"

/** A product whose weights stay in the first cache: one panel of a group. */
typedef struct {
    pq_matmul call;    /**< all but m, a, c, add and what a region gives */
    size_t    in_at;   /**< first input channel of its group */
    size_t    channel; /**< first output channel */
} pq_linear_product;

/** What weights are packed from. */
typedef struct {
    const pq_kernels *kernels;
    const pq_layer   *layer; /**< the step's, or what stands in for it */
    const pq_tensor  *kernel;
    pq_affine         affine; /**< [outputs]: y = scale (kernel x) + shift */
} pq_linear_recipe;

typedef struct {
    pq_op              op;
    size_t             residual;            /**< which input is added, 0 = none */
    size_t             in_count, out_count; /**< floats of a sample */
    const pq_kernels  *kernels;
    pq_geometry        at;
    pq_regions         regions; /**< of products */
    pq_skips           skips;   /**< runs of each of them without zeros */
    pq_fours           fours;  /**< one event, few weights of every four; few 0: not so */
    bool               framed; /**< images are */
    size_t             n_products;
    pq_linear_product *products; /**< NULL: depthwise */
    float             *weight;   /**< NULL where each run packs its own … */
    float             *bias;
    pq_clip            clip;
    pq_linear_recipe   recipe;      /**< … of this */
    size_t             frame_bytes; /**< of scratch, before what is packed */
} pq_linear_op;

/** Rows of flat samples, or lines of an image: all of n samples. */
pq_range pq_linear_rows(const pq_linear_op *l, size_t n);

/** One product, for such rows or lines, along the longer side of each region. */
void pq_linear_multiply(const pq_linear_op *l, const pq_linear_product *p,
                        const float *weight, pq_range rows, const float *in,
                        const float *residual, float *out);

/** Image s, in its frame where it is read in one. */
const float *pq_linear_image(const pq_linear_op *l, const float *values, size_t s,
                             void *scratch);

/** Hooks of the operation: weights packed ahead, and few of every four. */
void pq_linear_run(const pq_op *op, size_t n, const void *const *in, void *out,
                   void *scratch);
void pq_linear_run_part(const pq_op *op, pq_part part, size_t n, const void *const *in,
                        void *out, void *scratch);
void pq_linear_run_fours(const pq_op *op, size_t n, const void *const *in, void *out,
                         void *scratch);

#endif
