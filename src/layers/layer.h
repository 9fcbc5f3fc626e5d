/**
 * @file
 * What a layer is: a kind (one file each), its attributes and its weights.
 *
 * A kind defines shapes, operation counts, and forward and backward in double
 * precision, plainly written: the mathematical definition and the oracle. What else is
 * known of it, and how it runs in float32, stands in its entry too, and nowhere else.
 *
 * Activations are batch-first; images are NHWC, one sample [height, width,
 * channels]. Dense kernels are [out, in], convolutions [out, height, width,
 * in / groups].
 */
#ifndef PQ_LAYERS_LAYER_H
#define PQ_LAYERS_LAYER_H

#include "core/param.h"
#include "kernels/kernels.h"
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

enum { PQ_LAYER_INPUTS = 8 /**< most inputs of a layer */ };

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

/** Arguments of forward and backward in float32. Shapes are of one sample. */
typedef struct {
    const pq_kernels   *kernels; /**< of the instruction set in use */
    const pq_layer     *layer;
    size_t              batch;
    size_t              n_in;
    const pq_shape     *in_shape; /**< [n_in] */
    const float *const *in;       /**< [n_in], each [batch, in_shape] */
    pq_shape            out_shape;
    float *out; /**< [batch, out_shape]; written by forward; backward may overwrite it */
    /* backward only */
    float        *grad_out; /**< [batch, out_shape]; may be overwritten */
    float *const *grad_in;  /**< [n_in]; added to; an entry may be NULL */
} pq_float_call;

/** What holds for a layer whatever its weights, as bits. */
enum {
    /** Gives its input item for item, in another shape; out of training. */
    PQ_TRAIT_ALIAS = 1 << 0,
    /** Every item is one of the inputs', or a constant, by its place alone. */
    PQ_TRAIT_MOVES = 1 << 1,
    /** Every item is one of the input's, or 0: a grid of the input is one of the output.
     */
    PQ_TRAIT_KEEPS_GRID = 1 << 2,
    /** Each item is the same function of the input's item in its place. */
    PQ_TRAIT_ITEMWISE = 1 << 3,
    /** Gives values on a grid of its own where its inputs lie on grids. */
    PQ_TRAIT_ROUNDED = 1 << 4,
    /** Limits values, and is done in one go with what gives them: one grid for both. */
    PQ_TRAIT_CLIPS = 1 << 5,
    /** f(s x) = s f(x) for s > 0, channel by channel. */
    PQ_TRAIT_HOMOGENEOUS = 1 << 6,
    /** f(x + c) = f(x) + c, channel by channel; of a relu where x is above -c. */
    PQ_TRAIT_SHIFTS = 1 << 7,
    /** A line for each channel or mean of values: what comes out of logits still ranks.
     */
    PQ_TRAIT_LINE = 1 << 8,
    /** Makes probabilities of logits. */
    PQ_TRAIT_PROBABILITY = 1 << 9,
    /** Draws random numbers in training. */
    PQ_TRAIT_RANDOM = 1 << 10,
    /** forward32 and backward32 are the plain ones: backward32 reads the inputs. */
    PQ_TRAIT_READS_IN = 1 << 11,
    /** backward32 reads or overwrites the output. */
    PQ_TRAIT_READS_OUT = 1 << 12,
    /** An item is of those under a window of its channel: params are pq_pool_params. */
    PQ_TRAIT_WINDOW = 1 << 13,
};

/** How a layer is computed where that takes weights, or is done along with others:
 * engines have code for a form, whatever kinds have it. */
typedef enum {
    PQ_FORM_PLAIN,        /**< by forward32 and backward32, or what its traits say */
    PQ_FORM_DENSE,        /**< kernel [out, in] along the last axis */
    PQ_FORM_CONVOLUTION,  /**< kernel [out, height, width, in / groups] */
    PQ_FORM_CORES,        /**< layers/tt.h, along the last axis */
    PQ_FORM_WINDOW_CORES, /**< layers/tt.h, with a window */
    PQ_FORM_NORM,         /**< gamma, beta, mean, variance */
    PQ_FORM_SUM,          /**< of its inputs */
} pq_layer_form;

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

    pq_layer_form form;
    unsigned      traits; /**< PQ_TRAIT_… */
    /** Those of the traits that the attributes of a layer take away; NULL = none. */
    unsigned (*lacks)(const pq_layer *layer);
    /** The same as forward and backward in float32, for kinds without weights; that of a
     * PQ_TRAIT_ITEMWISE kind multiplies grad_out by its slope instead. NULL: there is
     * code for the form or the traits, else forward and backward are run. */
    void (*forward32)(const pq_float_call *call);
    void (*backward32)(const pq_float_call *call);
};

/** Whether a layer has all these traits. */
static inline bool pq_layer_is(const pq_layer *layer, unsigned traits)
{
    const pq_layer_kind *kind  = layer->kind;
    const unsigned       lacks = kind->lacks != NULL ? kind->lacks(layer) : 0U;

    return (kind->traits & ~lacks & traits) == traits;
}

/** All kinds in a fixed order, NULL-terminated (from the list in layers/meson.build). */
extern const pq_layer_kind *const pq_layer_kinds[];

/** Kind of a name, or NULL. */
const pq_layer_kind *pq_layer_kind_find(const char *name);

/** Layer with default attributes and no weights. @retval PQ_ERR_UNSUPPORTED  Unknown
 * kind, with "did you mean". */
pq_status pq_layer_create(const char *kind, pq_layer **out, pq_err *err);
/** The same of a kind at hand. */
pq_status pq_layer_of_kind(const pq_layer_kind *kind, pq_layer **out, pq_err *err);
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

/** Bytes a weight takes when stored: bit-packed, with scales; a pruned one in the form of
 * least bytes (tensor/store.h). */
size_t pq_weight_stored_bytes(const pq_weight *w);

#endif
