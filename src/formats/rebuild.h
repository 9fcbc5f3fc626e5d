/**
 * @file
 * Layers of cores as ordinary ones, for formats that have no trains and rings.
 */
#ifndef PQ_FORMATS_REBUILD_H
#define PQ_FORMATS_REBUILD_H

#include "layers/layer.h"

/**
 * The kernel of a layer: its own, or what the cores of a train or ring make.
 *
 * @param[out] out    float32, [outputs, inputs] of dense layers, [outputs, height, width,
 * inputs / groups] of convolutions; borrowed from the layer, or `made`
 * @param[out] made   what caller frees, or NULL
 */
pq_status pq_rebuild_kernel(const pq_layer *layer, const pq_tensor **out,
                            pq_tensor **made, pq_err *err);

#endif
