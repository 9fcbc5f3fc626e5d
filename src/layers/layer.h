/**
 * @file
 * What a layer is: a kind (one file each), its attributes and its weights.
 *
 * A kind defines shapes, operation counts, and forward and backward in double
 * precision, plainly written: the mathematical definition and the oracle. Fast
 * float32 kernels live in exec.
 *
 * Activations are batch-first; images are NHWC, one sample [height, width,
 * channels]. Dense kernels are [out, in], convolutions [out, height, width,
 * in / groups].
 */
#ifndef PQ_LAYERS_LAYER_H
#define PQ_LAYERS_LAYER_H

#include "core/param.h"
#include "tensor/quant.h"
#include "tensor/tensor.h"

/** One weight of a layer; owns all it points to, unless borrowed. */
typedef struct {
    char *name; /**< "kernel", "bias", "gamma", …; unique in the layer */
    pq_tensor
        *value; /**< float32, always what is computed with (on the grid if quantized) */
    pq_quant *quant;  /**< how it is stored, or NULL = float32 */
    uint8_t  *pruned; /**< bit i is 1 where item i is 0 for good, through training too;
                         NULL = not pruned; zeros of the others are rounded ones */
    bool borrowed;    /**< all but the name are another layer's: pq_layer_share */
} pq_weight;

typedef struct pq_layer_kind pq_layer_kind;

/** A layer without its place in a graph; owns params and weights. */
typedef struct {
    const pq_layer_kind *kind;
    void                *params; /**< struct of kind->params_size */
    size_t               n_weights;
    pq_weight           *weights;
} pq_layer;

/** Arguments of forward and backward, all in double. Shapes are of one sample. */
typedef struct {
    const pq_layer      *layer;
    size_t               batch;
    size_t               n_in;
    const pq_shape      *in_shape; /**< [n_in] */
    const double *const *in;       /**< [n_in], each [batch, in_shape] */
    pq_shape             out_shape;
    double *out; /**< [batch, out_shape]; written by forward, read by backward */
    const double *const *weight; /**< [n_weights], in the order of layer->weights */
    /* backward only */
    const double  *grad_out;    /**< [batch, out_shape] */
    double *const *grad_in;     /**< [n_in]; added to; an entry may be NULL */
    double *const *grad_weight; /**< [n_weights]; added to; an entry may be NULL */
} pq_layer_call;

/** What a weight is for; decides which methods may touch it and which papers count it. */
typedef enum {
    PQ_WEIGHT_KERNEL,    /**< multiplies activations: compressed by methods */
    PQ_WEIGHT_BIAS,      /**< added */
    PQ_WEIGHT_NORM,      /**< BatchNorm gamma, beta */
    PQ_WEIGHT_STATISTIC, /**< BatchNorm moving mean and variance: not trained */
} pq_weight_role;

struct pq_layer_kind {
    const char     *name;        /**< "conv2d" */
    const char     *summary;     /**< one line */
    const char     *source;      /**< paper, or "" */
    const pq_param *params;      /**< attribute table, or NULL */
    size_t          params_size; /**< bytes of the attribute struct, 0 if none */
    size_t          min_inputs, max_inputs;

    /** Role of a weight name, e.g. "kernel" -> PQ_WEIGHT_KERNEL; NULL when the kind has
     * no weights. */
    pq_weight_role (*role)(const char *weight);

    /**
     * Output shape of one sample; also checks that attributes, weights and inputs fit
     * together.
     * @retval PQ_ERR_SHAPE  One sentence with the shapes (the caller adds the layer's
     * name).
     */
    pq_status (*shape)(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err);

    /** How it hands on channels (layers/channels.h); NULL = it needs all of them. */
    const struct pq_channel_rule *channels;

    /** Multiply-accumulates for one sample; NULL = 0. */
    uint64_t (*macs)(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out);

    /** Called with shapes that `shape` accepted; NULL for "input", whose values come from
     * outside. */
    void (*forward)(const pq_layer_call *call);
    void (*backward)(const pq_layer_call *call);
};

/** All kinds in a fixed order, NULL-terminated (from the list in layers/meson.build). */
extern const pq_layer_kind *const pq_layer_kinds[];

/** Kind of a name, or NULL. */
const pq_layer_kind *pq_layer_kind_find(const char *name);

/** Layer with default attributes and no weights. @retval PQ_ERR_UNSUPPORTED  Unknown
 * kind, with "did you mean". */
pq_status pq_layer_create(const char *kind, pq_layer **out, pq_err *err);
void      pq_layer_free(pq_layer **layer);
pq_status pq_layer_clone(const pq_layer *layer, pq_layer **out, pq_err *err);

/** A copy whose weights are the layer's own, which must outlive it and stay as they are;
 * nor may those of the copy be changed. */
pq_status pq_layer_share(const pq_layer *layer, pq_layer **out, pq_err *err);

/** Sets an attribute from text (pq_params_set). */
pq_status pq_layer_set(pq_layer *layer, const char *attribute, const char *text,
                       pq_err *err);

/** Adds a weight; takes the tensor, also on failure. @retval PQ_ERR_FORMAT  The name is
 * there already, or the kind has no weights. */
pq_status pq_layer_add_weight(pq_layer *layer, const char *name, pq_tensor *value,
                              pq_err *err);

/** Weight of a name, or NULL. */
pq_weight *pq_layer_weight(const pq_layer *layer, const char *name);

/** Index of a weight in layer->weights, or SIZE_MAX. */
size_t pq_layer_weight_index(const pq_layer *layer, const char *name);

/** Bytes of a mask of so many bits. */
static inline size_t pq_mask_bytes(size_t bits)
{
    return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

/** Whether an item is 0 for good. */
static inline bool pq_weight_is_pruned(const pq_weight *w, size_t item)
{
    return w->pruned != NULL && (w->pruned[item / 8] >> item % 8 & 1) != 0;
}

/** Marks all zeros as pruned, also where there are none. */
pq_status pq_weight_prune_zeros(pq_weight *w, pq_err *err);

/** Forgets what was pruned. */
void pq_weight_unprune(pq_weight *w);

/** Number of zeros, and how many of them are not pruned. */
size_t pq_weight_zeros(const pq_weight *w, size_t *rounded);

/** Bytes a weight takes when stored: bit-packed, with scales, and as bitmap plus kept
 * items when pruned and that is smaller. */
size_t pq_weight_stored_bytes(const pq_weight *w);

/** Whether the bitmap form is the smaller one (only for pruned weights). */
bool pq_weight_is_sparse(const pq_weight *w);

#endif
