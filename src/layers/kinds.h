/**
 * @file
 * Attributes of the layer kinds: what pq_layer.params points to. For rooms that
 * run layers with code of their own or write them to other formats. Kinds that
 * are not here have no attributes.
 */
#ifndef PQ_LAYERS_KINDS_H
#define PQ_LAYERS_KINDS_H

#include "layers/layer.h"
#include "layers/window.h"

/** input */
typedef struct {
    pq_reals shape; /**< of one sample */
} pq_input_params;

/** conv2d; the kernel [out, height, width, in / groups] gives the other sizes */
typedef struct {
    pq_window_params window;
    int64_t          dilation_h, dilation_w;
    int64_t groups; /**< divides both channel counts; = input channels: depthwise */
} pq_conv2d_params;

/** max_pool and avg_pool; padding never counts as a value of a maximum */
typedef struct {
    int64_t          kernel_h, kernel_w;
    pq_window_params window;
    bool count_padding; /**< avg_pool: padded zeros enter the mean (Keras: no) */
} pq_pool_params;

/** batch_norm */
typedef struct {
    double epsilon;
} pq_batch_norm_params;

/** leaky_relu */
typedef struct {
    double slope; /**< for x < 0 */
} pq_leaky_relu_params;

/** clip */
typedef struct {
    double lo, hi;
} pq_clip_params;

/** sign */
typedef struct {
    double threshold, zero;
} pq_sign_params;

/** elu */
typedef struct {
    double alpha;
} pq_elu_params;

typedef enum { PQ_GELU_EXACT, PQ_GELU_TANH } pq_gelu_form;

/** gelu */
typedef struct {
    int form; /**< pq_gelu_form */
} pq_gelu_params;

/** concat */
typedef struct {
    int64_t axis; /**< of the sample, from 0; negative from the end */
} pq_concat_params;

/** reshape */
typedef struct {
    pq_reals shape; /**< of one sample; one entry may be -1: what is left */
} pq_reshape_params;

/** pad */
typedef struct {
    int64_t top, bottom, left, right;
    int64_t before, after; /**< channels */
    double  value;
} pq_pad_params;

/** subsample */
typedef struct {
    int64_t stride_h, stride_w;
} pq_subsample_params;

/** slice */
typedef struct {
    int64_t from, to; /**< of the last axis; to = PQ_UNSET: its end */
} pq_slice_params;

typedef enum { PQ_MASKED_MEAN, PQ_MASKED_SUM, PQ_MASKED_MAX } pq_masked_mode;

/** masked_pool */
typedef struct {
    int mode; /**< pq_masked_mode */
} pq_masked_pool_params;

/** scale */
typedef struct {
    double factor;
} pq_scale_params;

/** dropout */
typedef struct {
    double rate;
} pq_dropout_params;

/** Window of a conv2d or tt_conv2d layer that has its weights, or of a pool. @retval
 * PQ_ERR_SHAPE  As pq_window_place. */
pq_status pq_conv2d_window(const pq_layer *layer, const pq_shape *in, pq_window *out,
                           pq_err *err);
pq_status pq_pool_window(const pq_layer *layer, const pq_shape *in, pq_window *out,
                         pq_err *err);

/** Window of a global pool: one row of all cells, whatever their axes. */
pq_window pq_pool_whole(const pq_shape *in);

/** Axis of a concat layer for samples of ndim axes, or SIZE_MAX when it has no such axis.
 */
size_t pq_concat_axis(const pq_layer *layer, size_t ndim);

#endif
