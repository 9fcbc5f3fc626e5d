/**
 * @file
 * Images with a frame of zeros, so that a window never meets an edge; for convolutions.
 */
#ifndef PQ_TRAIN_FRAME_H
#define PQ_TRAIN_FRAME_H

#include <string.h>

#include "kernels/kernels.h"

typedef struct {
    size_t height, width, channels; /**< inside */
    size_t top, left;
    size_t rows, columns; /**< all */
} pq_frame;

/** Floats of a framed image; operands may be read a little beyond their end. */
static inline size_t pq_frame_floats(const pq_frame *f)
{
    return f->rows * f->columns * f->channels + PQ_KERNELS_SLACK;
}

/** Floats of the image inside. */
static inline size_t pq_frame_inside(const pq_frame *f)
{
    return f->height * f->width * f->channels;
}

static inline void pq_frame_put(const pq_frame *f, const float *image, float *to)
{
    const size_t row = f->columns * f->channels, inside = f->width * f->channels;
    const size_t left = f->left * f->channels;

    memset(to, 0, f->top * row * sizeof *to);
    to += f->top * row;
    for (size_t y = 0; y < f->height; y++, to += row, image += inside) {
        memset(to, 0, left * sizeof *to);
        memcpy(to + left, image, inside * sizeof *to);
        memset(to + left + inside, 0, (row - left - inside) * sizeof *to);
    }
    memset(to, 0, (f->rows - f->top - f->height) * row * sizeof *to);
}

/** The image with its frame: copied to scratch memory if it needs one. */
static inline const float *pq_framed(const pq_frame *f, const float *image,
                                     float *scratch)
{
    if (f->rows == f->height && f->columns == f->width) {
        return image;
    }
    pq_frame_put(f, image, scratch);
    return scratch;
}

#endif
