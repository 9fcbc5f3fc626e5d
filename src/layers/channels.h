/**
 * @file
 * How a kind of layer hands on channels, the indices of the last axis: which of
 * its inputs and outputs belong together, and how some are taken out of a layer.
 *
 * A rule is a property of a kind (pq_layer_kind.channels). A kind without one
 * needs all of its channels.
 *
 * Source: dependencies as in Fang et al., CVPR 2023, arXiv:2301.12900 (DepGraph).
 */
#ifndef PQ_LAYERS_CHANNELS_H
#define PQ_LAYERS_CHANNELS_H

#include "layers/layer.h"

/** Port of a layer's output; its inputs are 0, 1, … */
#define PQ_CHANNELS_OUT SIZE_MAX

/** Who is told what belongs together. */
typedef struct {
    /** Channel a of one port cannot go without channel b of another. */
    void (*tie)(void *context, size_t port_a, size_t a, size_t port_b, size_t b);
    /** No channel of a port can go; `why` continues "layer 'x'", static. */
    void (*lock)(void *context, size_t port, const char *why);
    void *context;
} pq_channel_sink;

/** Channels that stay. */
typedef struct {
    const pq_shape    *in;       /**< [n_in], before */
    const bool *const *kept_in;  /**< [n_in][channels of in] */
    pq_shape           out;      /**< before */
    const bool        *kept_out; /**< [channels of out] */
} pq_channel_cut;

typedef struct pq_channel_rule {
    /** Tells all ties and locks of a layer that fits its shapes. */
    void (*tie)(const pq_layer *layer, size_t n_in, const pq_shape *in,
                const pq_shape *out, const pq_channel_sink *to);
    /** Channels of input 0 and of the output that an item of a weight works on, SIZE_MAX
     * where it is for all; NULL: no weights. */
    void (*place)(const pq_layer *layer, const pq_weight *w, size_t item, size_t *in,
                  size_t *out);
    /** Brings attributes in line with a cut; NULL: there is nothing to change. */
    void (*cut)(pq_layer *layer, const pq_channel_cut *cut);
} pq_channel_rule;

/** Channel c of every input and of the output: elementwise kinds and pools. */
extern const pq_channel_rule pq_channels_same;
/** The same with one value a channel in every weight: batch_norm. */
extern const pq_channel_rule pq_channels_vector;
/** Items in row-major order keep their place: flatten, reshape. */
extern const pq_channel_rule pq_channels_flat, pq_channels_reshape;
/** Rules of one kind each. */
extern const pq_channel_rule pq_channels_input, pq_channels_dense, pq_channels_conv2d,
    pq_channels_concat, pq_channels_pad, pq_channels_slice;

/** Size of the last axis; 1 without axes. */
size_t pq_channels_of(const pq_shape *shape);

/** How many of n are kept. */
size_t pq_channels_kept(const bool *kept, size_t n);

/**
 * Takes channels out of a layer: items of its weights with their masks and scales, and
 * attributes. The kept channels respect the kind's ties. On failure the layer is broken.
 */
pq_status pq_channels_take_out(pq_layer *layer, const pq_channel_cut *cut, pq_err *err);

/** Drops the scales of a quantizer that serve only items that go.
 * @param[in] kept  [items of shape] */
pq_status pq_quant_keep_items(pq_quant *q, const pq_shape *shape, const bool *kept,
                              pq_err *err);

#endif
