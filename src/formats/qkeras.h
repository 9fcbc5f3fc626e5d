/**
 * @file
 * Quantizers of QKeras: read from a configuration, applied to weights, put on nodes.
 * For formats/keras*.c and formats/qkeras*.c only.
 *
 * Source: github.com/google/qkeras, qkeras/quantizers.py, version 0.9.0.
 */
#ifndef PQ_FORMATS_QKERAS_H
#define PQ_FORMATS_QKERAS_H

#include "formats/keras.h"

/** What a quantizer computes. */
typedef enum {
    PQ_QKERAS_BITS,
    PQ_QKERAS_BINARY,
    PQ_QKERAS_TERNARY,
    PQ_QKERAS_PO2,
    PQ_QKERAS_RELU_PO2,
    PQ_QKERAS_RELU,
    PQ_QKERAS_TANH,
    PQ_QKERAS_SIGMOID,
} pq_qkeras_class;

/** Where the scale of a quantizer comes from. */
typedef enum {
    PQ_QKERAS_ALPHA_NONE, /**< null: 1, or of a kernel auto_po2 */
    PQ_QKERAS_ALPHA_NUMBER,
    PQ_QKERAS_ALPHA_AUTO,     /**< of the weights */
    PQ_QKERAS_ALPHA_AUTO_PO2, /**< the same, the nearest power of two */
} pq_qkeras_alpha;

/** A quantizer. What its class does not have is 0. */
typedef struct {
    pq_qkeras_class kind;
    const char     *name; /**< of the class, static */
    int             bits, integer;
    bool            symmetric, keep_negative;
    pq_qkeras_alpha alpha;
    double          factor;    /**< alpha as a number */
    double          threshold; /**< ternary without auto */
    int             unrolls;   /**< ternary */
    double          most;      /**< max_value or relu_upper_bound; infinite without */
    double          slope;     /**< of negative values */
    bool            even;      /**< quadratic_approximation */
    bool            down;      /**< log2_rounding = floor */
    bool            real;      /**< use_real_tanh, use_real_sigmoid */
    bool            zero_one;  /**< binary: 0 and 1 */
    bool            limited;   /**< relu: clipped by its bits alone */
} pq_qkeras_quantizer;

/** Whether an entry of a configuration is a quantizer: its name with arguments, or an
 * object. */
bool pq_qkeras_is_quantizer(const json_t *value);

/**
 * Reads a quantizer, written as "quantized_bits(6,0,alpha=1)" or as an object.
 *
 * @param[in] key  whose value it is, for messages
 * @retval PQ_ERR_UNSUPPORTED  Unknown quantizer, argument, or value of alpha.
 * @retval PQ_ERR_RANGE        Bits that no grid here has.
 * @retval PQ_ERR_FORMAT       A text that cannot be read, or a value of a wrong type.
 */
pq_status pq_qkeras_read(const json_t *value, const char *key, pq_qkeras_quantizer *out,
                         pq_err *err);

/** Grid that weights were put on; owns its scales. */
typedef struct {
    bool   there; /**< else they lie on none of ours */
    int    bits;
    bool   is_signed, narrow;
    bool   powers; /**< each value is a power of two of its own */
    size_t n;      /**< scales: 1, one an index of the last axis, or one an item */
    float *scale;
} pq_qkeras_grid;

void pq_qkeras_grid_free(pq_qkeras_grid *grid);

/**
 * Puts weights, in the axes of Keras, on the grid of their quantizer, in float32 as
 * QKeras does.
 *
 * @param[in,out] weights  float32
 * @param[out]    grid     caller frees
 */
pq_status pq_qkeras_round(const pq_qkeras_quantizer *q, pq_tensor *weights,
                          pq_qkeras_grid *grid, pq_err *err);

/** Gives a weight of ours its grid: scales belong to axis 0, where index c of Keras's
 * last axis is every index that is c modulo their number. */
pq_status pq_qkeras_attach(const pq_qkeras_grid *grid, pq_weight *weight, pq_err *err);

/** Appends what an activation's quantizer computes, with its grid, over `last`. */
pq_status pq_qkeras_activation(const json_t *value, const char *name,
                               pq_keras_target *target, pq_err *err);

/* Converters of the classes; as pq_keras_convert. */

pq_status pq_qkeras_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_qkeras_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_qkeras_conv1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_qkeras_depthwise(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
pq_status pq_qkeras_batch_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

#endif
