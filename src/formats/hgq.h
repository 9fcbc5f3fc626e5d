/**
 * @file
 * Quantizers of HGQ 2: fixed point of a width a value, whose bits are weights of the
 * file. For formats/keras*.c and formats/hgq*.c only.
 *
 * Source: github.com/calad0i/HGQ2 0.2.0, hgq/quantizer and hgq/layers/core; the
 * arithmetic: github.com/calad0i/quantizers 1.2.2, fixed_point/_fixed_point_ops.py.
 */
#ifndef PQ_FORMATS_HGQ_H
#define PQ_FORMATS_HGQ_H

#include "formats/keras.h"

/** A quantizer with its bits; owns the tensors. */
typedef struct {
    pq_rounding rounding;
    pq_overflow overflow;
    bool        wraps_not; /**< rounds only: weights that wrap are never beyond */
    pq_tensor  *k, *i, *f; /**< float32, of one shape: sign, integer, fraction bits */
} pq_hgq_quantizer;

/**
 * Reads a quantizer of a layer: `part` (iq, kq, bq, oq) of its configuration and weights.
 *
 * @param[out] out  caller frees, also on failure
 * @retval PQ_ERR_UNSUPPORTED  It is no fixed point, or scales, or rounds as nothing here.
 * @retval PQ_ERR_FORMAT       The file does not hold its bits.
 */
pq_status pq_hgq_read(const pq_keras_layer *layer, const char *part,
                      pq_hgq_quantizer *out, pq_err *err);

void pq_hgq_free(pq_hgq_quantizer *q);

/**
 * Puts weights on their grids.
 *
 * @param[in,out] weights  float32, in the axes of Keras
 * @param[out]    f        fraction bits of each; caller frees
 */
pq_status pq_hgq_round(const pq_hgq_quantizer *q, pq_tensor *weights, pq_tensor **f,
                       pq_err *err);

/** Gives a weight of ours its grid, each value with the fraction bits given and as many
 * integer bits as it needs. @param[in] f  in the weight's axes */
pq_status pq_hgq_attach(const pq_hgq_quantizer *q, const pq_tensor *f, pq_weight *weight,
                        pq_err *err);

/** Appends the grid of activations as a node over `last`. */
pq_status pq_hgq_put(const pq_hgq_quantizer *q, const char *name, pq_keras_target *target,
                     pq_err *err);

/* Converters of the classes; as pq_keras_convert. */

pq_status pq_hgq_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq_batch_norm_dense(pq_keras_layer *k, pq_keras_target *target,
                                  pq_err *err);
pq_status pq_hgq_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_hgq_quantize(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

#endif
