/**
 * @file
 * A graph made ready for training: operations in order, weights in one flat
 * array, activations and gradients laid out once by lifetime.
 *
 * A batch is cut into chunks. A chunk runs on one thread at a time, through a
 * program of steps; steps that need sums over the whole batch (BatchNorm) end a
 * phase, at which all chunks meet. Without such steps a chunk runs through
 * undisturbed and its memory is reused by the next one of the same thread.
 */
#ifndef PQ_TRAIN_NET_H
#define PQ_TRAIN_NET_H

#include <string.h>

#include "core/pool.h"
#include "kernels/kernels.h"
#include "train/grid.h"
#include "train/train.h"

typedef struct pq_op         pq_op;
typedef struct pq_sparse_run pq_sparse_run;

enum { PQ_OP_WEIGHTS = 8 /**< most weights of a layer */ };

/** What an operation sees when it runs on one chunk. */
typedef struct {
    const pq_net *net;
    const pq_op  *op;
    size_t        rows;          /**< events of this chunk */
    size_t        chunk, chunks; /**< this one, and how many the batch has */
    size_t        batch;         /**< events of the batch */
    uint64_t      step;          /**< optimiser steps so far, for random draws */
    bool          training;      /**< else running statistics, no dropout */
    float        *slot;          /**< activations and gradients of this chunk */
    float *gradients; /**< of the weights, this chunk's share; assigned, not added to */
    void  *scratch;   /**< of this thread */
} pq_net_call;

/** How one kind of layer is trained: a row of the table in net.c. */
typedef struct {
    const char *kernel; /**< what computes it, for `model info` */
    /** Fills op->state, op->scratch_bytes; NULL = nothing. */
    pq_status (*setup)(pq_net *net, pq_op *op, pq_err *err);
    /** Brings what depends on the weights up to date (packed panels); NULL = nothing. */
    void (*prepare)(const pq_net *net, pq_op *op);
    /** Sums over the chunk that all chunks need before they go on; NULL = none. */
    void (*forward_sums)(const pq_net_call *c);
    void (*forward)(const pq_net_call *c);
    void (*backward_sums)(const pq_net_call *c);
    void (*backward)(const pq_net_call *c);
    bool needs_in, needs_out; /**< backward reads the inputs, the output */
    bool takes_relu;          /**< a following relu is done in the same pass */
} pq_op_class;

/** One operation; owns state. */
struct pq_op {
    const pq_op_class *cls;
    const pq_layer    *layer;
    const char        *name; /**< of the node, borrowed */
    size_t             n_in;
    size_t             in[PQ_NODE_INPUTS];       /**< value indices */
    pq_shape           in_shape[PQ_NODE_INPUTS]; /**< of one event */
    size_t             out;
    pq_shape           out_shape;
    bool               relu; /**< fused */
    bool               frozen;
    bool               wants[PQ_NODE_INPUTS]; /**< the input's gradient is needed */
    bool   accumulate[PQ_NODE_INPUTS]; /**< it is added to, another reader was first */
    size_t weight[PQ_OP_WEIGHTS];      /**< offsets in the flat array */
    const pq_quant *quant;             /**< for the rounding of activations */
    const pq_grid  *grid;              /**< that it belongs to in training, or NULL */
    void           *state;
    void (*free_state)(void *state);
    size_t scratch_bytes;
};

/** The output of one operation (or an input of the graph), and its gradient. */
typedef struct {
    size_t count;    /**< floats of one event */
    size_t offset;   /**< in a slot, floats */
    size_t gradient; /**< in a slot, floats; SIZE_MAX = none */
    size_t producer; /**< operation, SIZE_MAX for inputs */
    bool   pinned;   /**< read at the loss */
} pq_net_place;

/** One weight in the flat array, or the parameters of a quantizer behind them. */
typedef struct {
    size_t           node, index; /**< of the graph, of the layer or SIZE_MAX */
    size_t           offset, count;
    pq_weight_role   role;
    bool             frozen;
    const pq_weight *from; /**< of the graph, NULL for a quantizer */
    const pq_quant  *quant;
    const pq_grid   *grid;    /**< the quantizer in training, or NULL */
    bool             is_grid; /**< parameters of a quantizer: trained at qat_lr */
    pq_shape         shape;
} pq_net_weight;

/** One step of the program. */
typedef struct {
    size_t op; /**< SIZE_MAX = the loss */
    void (*run)(const pq_net_call *c);
    bool meets; /**< all chunks meet before it */
} pq_net_step;

/** Makes the loss part of the program: called once a chunk, writes the gradient of the
 * logits. */
typedef void (*pq_net_loss)(void *context, const pq_net_call *c);

struct pq_net {
    const pq_kernels *kernels;
    pq_pool          *pool; /**< borrowed */
    size_t            n_ops;
    pq_op            *ops;
    size_t            n_values; /**< as many as the graph has nodes */
    pq_net_place     *values;
    size_t           *value_of;      /**< [nodes] index into values */
    size_t            input, logits; /**< values */
    size_t            width;         /**< of the logits */
    const char       *link; /**< "softmax", "sigmoid" or "" : what followed the logits */
    size_t            n_weights, n_rows;
    pq_net_weight    *weights; /**< [n_rows]: the layers' come first */
    pq_qat_options    qat;
    size_t            n_grids;
    pq_grid          *grids; /**< of what is trained */
    size_t            n_products;
    pq_product       *products; /**< of hgq */
    size_t            n_flat;   /**< floats, padded */
    float            *flat;     /**< master weights; owned */
    float         *shaped; /**< with kernels as a pruning method uses them, else = flat */
    float         *used;   /**< rounded ones if any is quantized, else = shaped */
    pq_sparse_run *sparse; /**< pruning in training, or NULL; owned */
    size_t         batch;  /**< most events of a batch: what is called with one may hold
                                no more, whatever chunk times chunks is */
    size_t       chunk;    /**< most events of a chunk */
    size_t       chunks;   /**< most chunks of a batch */
    size_t       n_slots, slot_floats;
    float       *slots;
    float       *gradients; /**< [chunks, n_flat], or NULL when never trained */
    size_t       scratch_bytes;
    char        *scratch; /**< [threads] */
    size_t       n_train, n_infer;
    pq_net_step *train, *infer;
    double       norm_momentum; /**< weight of a new batch in moving averages */
    bool         norms_fixed;   /**< BatchNorm in training by running statistics */
    bool         meets;         /**< training has phases */
    size_t       bytes;         /**< everything allocated above */
};

typedef struct {
    size_t                batch;    /**< most events of a batch */
    bool                  training; /**< false: only pq_net_infer will be called */
    const char           *freeze;   /**< glob of layers that are not trained, or NULL */
    double                norm_momentum;
    pq_qat_options        qat;    /**< of what is quantized, when training */
    const pq_sparse_plan *sparse; /**< pruning in training, or NULL; outlives the net */
    size_t                n_pinned;
    const char *const    *pinned; /**< names of nodes that are read at the loss */
    pq_pool              *pool;
    const pq_isa         *isa; /**< NULL = the best; for tests */
} pq_net_options;

/**
 * @param[in] graph  checked; read now, and written by pq_net_store; must outlive the net.
 * @retval PQ_ERR_UNSUPPORTED  More than one input.
 */
pq_status pq_net_create(const pq_graph *graph, const pq_net_options *options,
                        pq_net **out, pq_err *err);
void      pq_net_free(pq_net **net);

/** Brings packed and rounded weights up to date after `flat` changed. */
void pq_net_prepare(pq_net *net);

/** Rounds `flat` into `used` where weights are quantized. */
void pq_net_round_weights(pq_net *net);

/** Work on one batch. */
typedef struct {
    size_t   n; /**< events, 1 .. batch */
    uint64_t step;
    /** Writes the inputs of `rows` events from `first` on; called once a chunk, from its
     * thread. */
    void (*fill)(void *context, size_t first, size_t rows, float *x);
    pq_net_loss loss;
    void       *context;
    /** Done once beside the first chunks, on whichever thread is free, e.g. to make the
     * next batch ready; NULL = nothing. */
    void (*aside)(void *context);
} pq_net_batch;

/** Forward, loss, backward; leaves the gradients of each chunk in `gradients`. */
void pq_net_train(pq_net *net, const pq_net_batch *batch);

/** Forward with running statistics, then the loss callback, which must not write
 * gradients. */
void pq_net_infer(pq_net *net, const pq_net_batch *batch);

/** Runs a batch again on one thread, as pq_net_train or pq_net_infer does, and names the
 * first layer whose output is not finite, or NULL. */
const char *pq_net_blame(pq_net *net, const pq_net_batch *batch, bool training);

/** Value (an index into net->values) that holds a node's output, by name; SIZE_MAX when
 * it is fused away or unknown. */
size_t pq_net_find(const pq_net *net, const pq_graph *graph, const char *node);

/** Writes weights, rounded where they are quantized, and quantizers into the graph the
 * net was made from. */
void pq_net_store(const pq_net *net, const float *flat, pq_graph *graph);

/** Parts of pq_net_create, one file each. */
pq_status pq_net_plan_ops(pq_net *net, const pq_graph *graph,
                          const pq_net_options *options, pq_err *err);
pq_status pq_net_plan_program(pq_net *net, pq_err *err);
pq_status pq_net_plan_weights(pq_net *net, const pq_graph *graph,
                              const pq_net_options *options, pq_err *err);
pq_status pq_net_plan_memory(pq_net *net, bool training, pq_err *err);

/** For operations: the clip of a fused relu. */
static inline const pq_clip *pq_net_clip(const pq_net_call *c)
{
    return c->op->relu ? &pq_clip_relu : NULL;
}

static inline float *pq_net_value(const pq_net_call *c, size_t value)
{
    return c->slot + c->net->values[value].offset;
}

static inline float *pq_net_gradient(const pq_net_call *c, size_t value)
{
    return c->slot + c->net->values[value].gradient;
}

/** Gradient of an input that is only added to: zeroed where nobody wrote it before. */
static inline float *pq_net_gradient_to_add(const pq_net_call *c, size_t input)
{
    float *dx = pq_net_gradient(c, c->op->in[input]);

    if (!c->op->accumulate[input]) {
        memset(dx, 0, c->rows * c->net->values[c->op->in[input]].count * sizeof *dx);
    }
    return dx;
}

/**
 * The gradient of an operation's output, zeroed where a fused relu was; its sum over rows
 * of `width` values becomes that of the bias, unless the operation is frozen.
 *
 * @param[in] bias  offset of the bias, SIZE_MAX = none
 */
float *pq_net_gradient_behind(const pq_net_call *c, size_t width, size_t bias);

/** Hands the gradient of n items on to an input: assigned or added. */
void pq_net_pass_on(const pq_net_call *c, size_t input, size_t n, const float *dy);

extern const pq_op_class pq_op_dense, pq_op_conv2d, pq_op_taps, pq_op_batch_norm,
    pq_op_add, pq_op_dropout, pq_op_moves, pq_op_plain, pq_op_plain_of_in,
    pq_op_plain_of_out, pq_op_plain_of_both, pq_op_cores, pq_op_round, pq_op_kind;

/** Code for a layer in training. */
const pq_op_class *pq_op_class_of(const pq_layer *layer);

/** Whether pq_op_conv2d can take a convolution; pq_op_taps takes all but trains. */
bool pq_op_conv2d_accepts(const pq_layer *layer);

#endif
