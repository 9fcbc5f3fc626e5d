/**
 * @file
 * Random changes to training images: mirrored left to right, shifted by a crop
 * from the image padded with zeros.
 */
#ifndef PQ_TRAIN_AUGMENT_H
#define PQ_TRAIN_AUGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/tensor.h"

/** Shape [height, width, channels] of an image and what may happen to it. */
typedef struct {
    size_t height, width, channels;
    bool   flip;
    size_t crop; /**< largest shift, pixels */
} pq_augment;

/** @retval PQ_ERR_CONFIG  Events of this shape are no images. */
pq_status pq_augment_init(const pq_shape *sample, bool flip, size_t crop, pq_augment *out,
                          pq_err *err);

/** Writes a changed copy; what changes is a pure function of key and event. */
void pq_augment_image(const pq_augment *a, uint64_t key, size_t event, const float *from,
                      float *to);

#endif
