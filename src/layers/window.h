/**
 * @file
 * Geometry of a window that slides over an image: strides and padding of
 * convolutions and pooling.
 *
 * `same` pads as TensorFlow does: out = ceil(in / stride), total padding
 * max((out - 1) stride + (kernel - 1) dilation + 1 - in, 0), the smaller half
 * first. `valid` pads nothing, `explicit` what is given.
 */
#ifndef PQ_LAYERS_WINDOW_H
#define PQ_LAYERS_WINDOW_H

#include "core/param.h"
#include "tensor/tensor.h"

typedef enum { PQ_PADDING_SAME, PQ_PADDING_VALID, PQ_PADDING_EXPLICIT } pq_padding;

/** Names of pq_padding, NULL-terminated. */
extern const char *const pq_padding_names[];

/** Attributes that conv2d and the pools share. */
typedef struct {
    int64_t stride_h, stride_w; /**< PQ_UNSET (pools only) = the kernel's size */
    int     padding;            /**< pq_padding */
    int64_t pad_top, pad_bottom, pad_left, pad_right; /**< for `explicit` */
} pq_window_params;

enum {
    PQ_WINDOW_MAX = 65535 /**< largest size of a kernel, stride, dilation or padding */
};

/** Rows of a parameter table for member `m`, a pq_window_params, of struct `type`. */
#define PQ_WINDOW_ROWS(type, m, stride_default, stride_note)                              \
    {"stride_h",                                                                          \
     PQ_PARAM_INT,                                                                        \
     offsetof(type, m.stride_h),                                                          \
     stride_default,                                                                      \
     1,                                                                                   \
     PQ_WINDOW_MAX,                                                                       \
     NULL,                                                                                \
     PQ_UNIT_NONE,                                                                        \
     "rows between windows" stride_note},                                                 \
        {"stride_w",                                                                      \
         PQ_PARAM_INT,                                                                    \
         offsetof(type, m.stride_w),                                                      \
         stride_default,                                                                  \
         1,                                                                               \
         PQ_WINDOW_MAX,                                                                   \
         NULL,                                                                            \
         PQ_UNIT_NONE,                                                                    \
         "columns between windows" stride_note},                                          \
        {"padding",                                                                       \
         PQ_PARAM_CHOICE,                                                                 \
         offsetof(type, m.padding),                                                       \
         "valid",                                                                         \
         0,                                                                               \
         0,                                                                               \
         pq_padding_names,                                                                \
         PQ_UNIT_NONE,                                                                    \
         "same as TensorFlow, valid (none), or explicit by pad_*"},                       \
        {"pad_top", PQ_PARAM_INT, offsetof(type, m.pad_top),       "0", 0, PQ_WINDOW_MAX, \
         NULL,      PQ_UNIT_NONE, "rows added above, for explicit"},                      \
        {"pad_bottom",                                                                    \
         PQ_PARAM_INT,                                                                    \
         offsetof(type, m.pad_bottom),                                                    \
         "0",                                                                             \
         0,                                                                               \
         PQ_WINDOW_MAX,                                                                   \
         NULL,                                                                            \
         PQ_UNIT_NONE,                                                                    \
         "rows added below, for explicit"},                                               \
        {"pad_left",                                                                      \
         PQ_PARAM_INT,                                                                    \
         offsetof(type, m.pad_left),                                                      \
         "0",                                                                             \
         0,                                                                               \
         PQ_WINDOW_MAX,                                                                   \
         NULL,                                                                            \
         PQ_UNIT_NONE,                                                                    \
         "columns added before, for explicit"},                                           \
    {                                                                                     \
        "pad_right", PQ_PARAM_INT, offsetof(type, m.pad_right), "0", 0, PQ_WINDOW_MAX,    \
            NULL, PQ_UNIT_NONE, "columns added after, for explicit"                       \
    }

/** A window placed on one image. */
typedef struct {
    size_t kernel_h, kernel_w, dilation_h, dilation_w;
    size_t stride_h, stride_w, pad_top, pad_left;
    size_t in_h, in_w, channels; /**< of the input */
    size_t out_h, out_w;         /**< positions of the window, >= 1 */
} pq_window;

/**
 * Places a window whose kernel and dilation are set on an input.
 *
 * @param[in]     in  [height, width, channels]
 * @param[in,out] w   kernel and dilation are read, the rest is filled
 * @retval PQ_ERR_SHAPE  The input is no image, or the window is larger than the padded
 * input.
 */
pq_status pq_window_place(const pq_window_params *p, const pq_shape *in, pq_window *w,
                          pq_err *err);

/** Values under the window at one position (rows first) of an image [in_h, in_w,
 * channels]: `count` channels from `first` on, [kernel_h, kernel_w, count]; padding is 0.
 */
void pq_window_patch(const pq_window *w, const float *image, size_t position,
                     size_t first, size_t count, float *patch);

/** Input row (column) under kernel row k of the window at `out`; false when that is
 * padding. */
static inline bool pq_window_row(const pq_window *w, size_t out, size_t k, size_t *row)
{
    const size_t at = out * w->stride_h + k * w->dilation_h;

    *row = at - w->pad_top;
    return at >= w->pad_top && *row < w->in_h;
}

static inline bool pq_window_column(const pq_window *w, size_t out, size_t k,
                                    size_t *column)
{
    const size_t at = out * w->stride_w + k * w->dilation_w;

    *column = at - w->pad_left;
    return at >= w->pad_left && *column < w->in_w;
}

#endif
