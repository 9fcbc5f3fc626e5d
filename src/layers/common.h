/**
 * @file
 * What several layer kinds share; for layers only.
 */
#ifndef PQ_LAYERS_COMMON_H
#define PQ_LAYERS_COMMON_H

#include <math.h>

#include "layers/layer.h"

/** Output shape of a layer that works item by item on inputs of one shape. */
pq_status pq_shape_same(const pq_layer *layer, size_t n_in, const pq_shape *in,
                        pq_shape *out, pq_err *err);

/** [channels] of an input [..., channels]. @retval PQ_ERR_SHAPE  It has fewer than two
 * axes. */
pq_status pq_shape_channels(const pq_shape *in, pq_shape *out, pq_err *err);

/** @retval PQ_ERR_SHAPE  Not [height, width, channels], each at least 1. */
pq_status pq_image_check(const pq_shape *in, pq_err *err);

/** Forward and backward of kinds that only give the same items another shape. */
void pq_copy_forward(const pq_layer_call *call);
void pq_copy_backward(const pq_layer_call *call);

/** Whether a weight has this shape (PQ_ERR_SHAPE, with both); NULL weights are "missing".
 */
pq_status pq_weight_check(const pq_layer *layer, const char *name, pq_shape due,
                          pq_err *err);

/** Whether x takes the place of the largest value so far; a NaN does, and stays. */
static inline bool pq_is_larger(double x, double largest)
{
    return x > largest || isnan(x);
}

/** Role of "kernel" and "bias". */
pq_weight_role pq_role_affine(const char *weight);

/** Whether there is a kernel of ndim axes, none of them empty, a bias [out] or none, and
 * nothing else. */
pq_status pq_affine_check(const pq_layer *layer, size_t ndim, pq_err *err);

/** Value and gradient array of a weight in a call, or NULL. */
const double *pq_call_weight(const pq_layer_call *call, const char *name);
double       *pq_call_grad(const pq_layer_call *call, const char *name);

/** Items of a shape known to be sound. */
size_t pq_items(const pq_shape *shape);

/** The same of a call in float32. */
size_t pq_float_items(const pq_float_call *call);

/** Items of the whole output, [batch, out_shape]. */
size_t pq_call_items(const pq_layer_call *call);

enum { PQ_DOT_ROWS = 8 };

/**
 * acc[r] += sum_i x[i] w[r * stride + i] for `rows` <= PQ_DOT_ROWS rows, each sum in
 * the order of i; independent sums keep the processor busy.
 */
static inline void pq_dot_rows(size_t n, const double *x, const double *w, size_t stride,
                               size_t rows, double *acc)
{
    if (rows == PQ_DOT_ROWS) {
        double a[PQ_DOT_ROWS];
        for (size_t r = 0; r < PQ_DOT_ROWS; r++) {
            a[r] = acc[r];
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t r = 0; r < PQ_DOT_ROWS; r++) {
                a[r] += x[i] * w[r * stride + i];
            }
        }
        for (size_t r = 0; r < PQ_DOT_ROWS; r++) {
            acc[r] = a[r];
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++) {
            acc[r] += x[i] * w[r * stride + i];
        }
    }
}

#endif
