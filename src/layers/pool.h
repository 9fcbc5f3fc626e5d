/**
 * @file
 * What max_pool and avg_pool share; for layers only.
 */
#ifndef PQ_LAYERS_POOL_H
#define PQ_LAYERS_POOL_H

#include "layers/common.h"
#include "layers/kinds.h"

/** Rows of a pool's parameter table. */
#define PQ_POOL_ROWS                                                                     \
    {"kernel_h",                                                                         \
     PQ_PARAM_INT,                                                                       \
     offsetof(pq_pool_params, kernel_h),                                                 \
     "2",                                                                                \
     1,                                                                                  \
     PQ_WINDOW_MAX,                                                                      \
     NULL,                                                                               \
     PQ_UNIT_NONE,                                                                       \
     "rows of the window"},                                                              \
        {"kernel_w",                                                                     \
         PQ_PARAM_INT,                                                                   \
         offsetof(pq_pool_params, kernel_w),                                             \
         "2",                                                                            \
         1,                                                                              \
         PQ_WINDOW_MAX,                                                                  \
         NULL,                                                                           \
         PQ_UNIT_NONE,                                                                   \
         "columns of the window"},                                                       \
        PQ_WINDOW_ROWS(pq_pool_params, window, NULL, "; none = the window's size")

/** Output shape of a pool. */
pq_status pq_pool_shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                        pq_shape *out, pq_err *err);

/** Input cells under one position of a window, padding left out, for one sample and
 * channel. */
typedef struct {
    pq_window w;
    size_t    row, rows, column, columns; /**< first and number */
    size_t    base; /**< offset of the sample's image, plus the channel */
} pq_pool_at;

/** Where output item i of a call takes its inputs from; `at->w` must be filled. */
void pq_pool_locate(const pq_layer_call *call, size_t i, pq_pool_at *at);

/** Offset in the input of cell k (0 .. rows * columns - 1) of the located window. */
static inline size_t pq_pool_offset(const pq_pool_at *at, size_t k)
{
    const size_t row = at->row + k / at->columns, column = at->column + k % at->columns;

    return at->base + (row * at->w.in_w + column) * at->w.channels;
}

/** A pool in float32: all channels of a position together. */
typedef struct {
    pq_window w; /**< global pools have one as large as the image */
    bool      mean, count_padding;
} pq_pool_float;

/** Of a pool with a window, or over whole samples. */
pq_pool_float pq_pool_window32(const pq_float_call *call, bool mean);
pq_pool_float pq_pool_whole32(const pq_float_call *call, bool mean);

void pq_pool_forward32(const pq_float_call *call, const pq_pool_float *p);
void pq_pool_backward32(const pq_float_call *call, const pq_pool_float *p);

#endif
