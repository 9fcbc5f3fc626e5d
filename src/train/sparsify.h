/**
 * @file
 * Pruning in training: kernels are used as w'(w), of which some are 0, and gradients go
 * back through that. What w' is says a method: one file each in compress.
 *
 * Three stages, as in PQuantML (arXiv:2603.26595): pretraining, in which w' = w;
 * `rounds` times `epochs` of training by the method; fine-tuning, in which what is zero
 * stays so. Before fine-tuning masks become 0 or 1: of all selected kernels together
 * exactly round(target_sparsity N) weights are 0 (of structured methods whole groups, to
 * the nearest), those of the least score; without a target, those that the method itself
 * counts as 0. What was kept is then w', so that this step changes no weight that stays.
 *
 * Masks, trained thresholds and counters lie in rows behind the weights, so that
 * checkpoints hold them and optimisers train them.
 */
#ifndef PQ_TRAIN_SPARSIFY_H
#define PQ_TRAIN_SPARSIFY_H

#include <math.h>

#include "train/train.h"

typedef struct pq_net           pq_net;
typedef struct pq_sparse_run    pq_sparse_run;
typedef struct pq_sparse_method pq_sparse_method;

enum { PQ_REWIND_NEVER, PQ_REWIND_EVERY_ROUND, PQ_REWIND_POST_TRAINING_STAGE };

typedef enum { PQ_SPARSE_PRETRAIN, PQ_SPARSE_TRAIN, PQ_SPARSE_FINETUNE } pq_sparse_phase;

/** What the parameters of every such method begin with. */
typedef struct {
    pq_train_params train; /**< epochs: of one round */
    int64_t         pretraining_epochs, rounds, fine_tuning_epochs, save_weights_epoch;
    int             rewind;
    double          target_sparsity; /**< NAN = as the method's own masks say */
} pq_sparse_params;

/** What is pruned and how; borrows all. */
struct pq_sparse_plan {
    const pq_sparse_method *method;
    const pq_sparse_params *params; /**< the method's own struct */
    size_t                  n_nodes;
    const char *const      *nodes; /**< layers whose kernels are pruned */
    const char             *key; /**< method and parameters as text: names a checkpoint */
};

/** One kernel. The views are set before every call of a method. */
typedef struct {
    size_t       weight;           /**< in net->weights */
    size_t       count, rows, row; /**< items, output channels, items of one */
    size_t       n_p, n_s;         /**< parameters, state */
    size_t       at_m, at_p, at_s; /**< in the flat array */
    bool         ends;             /**< its rows are the network's outputs */
    size_t       value;            /**< in net->values: its layer's output */
    size_t       seen;             /**< its first row in run->seen */
    const float *v;                /**< [count] master weights */
    float       *w;                /**< [count] as they are used */
    float       *m;                /**< [count] mask, kept */
    float       *p;                /**< [n_p] trained with the weights */
    float       *s;                /**< [n_s] kept */
    float       *d;                /**< [count] gradient at w, which becomes that at v */
    float       *dp;               /**< [n_p] gradient */
    float       *scratch;          /**< [2 count] */
} pq_sparse_kernel;

struct pq_sparse_run {
    const pq_sparse_method *method;
    const pq_sparse_params *params;
    pq_net                 *net;
    size_t                  n;
    pq_sparse_kernel       *kernels;
    pq_sparse_phase         phase;
    size_t                  epoch, epochs; /**< of the round: 0 .. epochs - 1 */
    size_t                  step, steps;   /**< of the training stage */
    size_t                  at_saved;      /**< in the flat array; SIZE_MAX = none */
    size_t                  n_saved;
    float                  *scratch;
    size_t                  n_seen;
    size_t                  events, chunks; /**< of the batch that was */
    float *seen; /**< [chunks, n_seen] outputs above 0 of each channel, or NULL */
};

/** Numbers of a method; each may be NULL but shape, backward and score. */
struct pq_sparse_method {
    const char *name;
    /** How many a kernel has. */
    size_t (*parameters)(const void *params, const pq_sparse_kernel *k);
    size_t (*state)(const void *params, const pq_sparse_kernel *k);
    bool needs_outputs; /**< run->seen is filled in the training stage */
    /** First values of p and s. */
    void (*start)(const pq_sparse_run *run, pq_sparse_kernel *k);
    /** Once, when the training stage begins. */
    pq_status (*begin)(pq_sparse_run *run, pq_err *err);
    /** Assigns w; called as often as need be. */
    void (*shape)(const pq_sparse_run *run, pq_sparse_kernel *k);
    /** Turns d into the gradient at v, assigns dp; both with the penalty's. */
    void (*backward)(const pq_sparse_run *run, pq_sparse_kernel *k);
    double (*penalty)(const pq_sparse_run *run, const pq_sparse_kernel *k);
    /** After each step of the training stage. */
    void (*step)(pq_sparse_run *run);
    /** Between two rounds. */
    void (*round)(const pq_sparse_run *run, pq_sparse_kernel *k);
    /** Once, before masks harden. */
    void (*finish)(pq_sparse_run *run);
    /** Items of a row that go together. NULL: 1. */
    size_t (*unit)(const void *params, const pq_sparse_kernel *k);
    /** Of each item, the same within a unit: above 0 what the method keeps. */
    void (*score)(const pq_sparse_run *run, const pq_sparse_kernel *k, float *score);
    bool own_target; /**< finish has met the target */
};

/** Epochs of all three stages. */
int64_t pq_sparse_epochs(const pq_sparse_params *params);

/** Whether the stages fit each other. */
pq_status pq_sparse_check(const pq_sparse_params *params, pq_err *err);

/** Epoch, from 1, from which on masks are hard. */
size_t pq_sparse_hard_from(const pq_sparse_params *params);
/** The first epoch whose network may be kept: before, it is not pruned yet. Without a
 * plan (NULL) the first of all. */
size_t pq_sparse_first(const pq_sparse_plan *plan);

/** Lists the kernels and adds their rows; the weights' rows are there. */
pq_status pq_sparse_plan_rows(pq_net *net, const pq_graph *graph,
                              const pq_sparse_plan *plan, pq_err *err);
/** Fills the rows. */
void pq_sparse_start(pq_net *net);
/** Finds the layers' outputs, once the operations are there. */
pq_status pq_sparse_find_outputs(pq_net *net, const pq_graph *graph, pq_err *err);
void      pq_sparse_free(pq_net *net);

/** Writes net->shaped: `flat` with kernels as they are used. */
void pq_sparse_shape(const pq_net *net, const float *flat);

/** From the gradients at w', summed into the first chunk's place, those at w. */
void pq_sparse_backward(pq_net *net);

/** What methods add to the loss. */
double pq_sparse_penalty(const pq_net *net);

/** Before a batch. */
void pq_sparse_batch(pq_net *net, size_t events);

/** After a step of the optimiser. */
void pq_sparse_step(pq_net *net);

/** Counts outputs above 0 of a chunk, whose pinned gradients are zeroed. */
void pq_sparse_look(const pq_net *net, size_t rows, size_t chunk, float *slot);

/** Before an epoch, from 1, of `batches` steps; pq_net_prepare is due then. */
pq_status pq_sparse_epoch(pq_net *net, size_t epoch, size_t batches, pq_err *err);

/**
 * After an epoch: ends rounds, rewinds, hardens masks.
 * @param[out] moved  whether weights changed: pq_net_prepare is due
 * @retval PQ_ERR_CONFIG  The target cannot be met.
 */
pq_status pq_sparse_epoch_end(pq_net *net, size_t epoch, bool *moved, pq_err *err);

/** Marks what a hard mask made 0 in the graph's kernels. */
pq_status pq_sparse_mark(const pq_net *net, const float *flat, pq_graph *graph,
                         pq_err *err);

/** Hard masks of the target, by score. */
pq_status pq_sparse_harden(pq_sparse_run *run, pq_err *err);

/** w = m v: `shape` in fine-tuning, and of methods with masks of 0 and 1. */
void pq_sparse_mask_weights(const pq_sparse_run *run, pq_sparse_kernel *k);

/** d becomes m d: their `backward`. */
void pq_sparse_mask_gradient(const pq_sparse_run *run, pq_sparse_kernel *k);

/** A unit that is kept or goes. */
typedef struct {
    size_t kernel, first, n, order;
    float  score;
} pq_sparse_unit;

/** Least score first; of equal ones those that come first. For qsort. */
int pq_sparse_compare(const void *a, const void *b);

/**
 * The k-th and (k + 1)-th largest of n values, k in 1 .. n - 1, which are moved about.
 * @param[in,out] x  [n]
 */
void pq_sparse_neighbours(float *x, size_t n, size_t k, float *upper, float *lower);

static inline float pq_sparse_sigmoid(float x)
{
    return 1.0F / (1.0F + expf(-x));
}

/** Which of a kernel's parameters an item has: one for all, one a row, one each. */
static inline size_t pq_sparse_parameter(const pq_sparse_kernel *k, size_t item)
{
    return k->n_p == k->count ? item : k->n_p == k->rows ? item / k->row : 0;
}

#endif
