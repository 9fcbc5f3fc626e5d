/**
 * @file
 * Layers of HGQ 1 (HQuantize, HDense, HConv2D, HActivation, HAdd, with or without a
 * normalization in their kernels) and of its proxy models (FixedPointQuantizer). For
 * formats/keras*.c and formats/hgq*.c only.
 *
 * Source: github.com/calad0i/HGQ 0.2.6.
 */
#ifndef PQ_FORMATS_HGQ1_H
#define PQ_FORMATS_HGQ1_H

#include "formats/keras.h"

/* Converters of the classes; as pq_keras_convert. */

pq_status pq_hgq1_quantize(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_dense_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_conv2d_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_activation(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq1_add(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/** Gives kernel and bias, whose values lie on grids already, the least grid that holds
 * each value, where 16 bits do; else they stay floats. */
pq_status pq_hgq1_find_grids(pq_layer *layer, pq_err *err);

/** A quantizer of a proxy model, and the grids of the weights before it. */
pq_status pq_hgq1_fixed(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

#endif
