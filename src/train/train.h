/**
 * @file
 * Trains a graph in place: from scratch, after compression, or towards a teacher.
 *
 * Float32, data-parallel over fixed chunks of each batch whose gradients are
 * summed in a fixed order: weights after training depend on the seed, the data,
 * the options and the instruction set, not on the number of threads. Pruned
 * weights stay zero. Quantized weights and activations are rounded in the
 * forward pass (Jacob et al., arXiv:1712.05877); what of their quantizers is
 * trained, and how gradients pass, says `qat`: grid.h.
 */
#ifndef PQ_TRAIN_TRAIN_H
#define PQ_TRAIN_TRAIN_H

#include <signal.h>

#include "core/param.h"
#include "core/progress.h"
#include "data/dataset.h"
#include "graph/graph.h"

enum { PQ_OPTIMIZER_SGD, PQ_OPTIMIZER_ADAM, PQ_OPTIMIZER_ADAMW };
enum {
    PQ_SCHEDULE_CONSTANT,
    PQ_SCHEDULE_STEP,
    PQ_SCHEDULE_COSINE,
    PQ_SCHEDULE_ONE_CYCLE
};
enum { PQ_LOSS_CROSS_ENTROPY, PQ_LOSS_MSE };
enum { PQ_SAMPLING_UNIFORM, PQ_SAMPLING_BALANCED };
enum { PQ_MONITOR_LOSS, PQ_MONITOR_ACCURACY };

/** What a user sets; described, with defaults and ranges, by pq_train_param_table. */
typedef struct {
    int64_t epochs, batch;
    double  validation;
    bool    standardize;
    int     loss;
    int     optimizer;
    double  lr, momentum;
    bool    nesterov;
    double  beta1, beta2, epsilon;
    double  weight_decay, l1, clip_norm;
    int     schedule;
    double  warmup_epochs;
    int64_t step_size;
    double  gamma, min_lr;
    double  label_smoothing, focal_gamma;
    double  norm_momentum;
    double  ema;
    int64_t early_stopping;
    int     monitor;
    bool    keep_best;
    int     sampling;
    char   *class_weights;
    bool    preserve_rare_classes;
    char   *min_recall;
    double  max_recall_loss;
    bool    event_weights;
    char   *freeze;
    bool    augment_flip;
    int64_t augment_crop;
    double  temperature, alpha, layer_mse;
    int     qat;             /**< pq_qat */
    int64_t fold_norm_after; /**< PQ_UNSET = never */
    double  qat_lr, hgq_beta, hgq_gamma;
    double  hgq_target_ebops, hgq_p, hgq_i; /**< NAN = not steered */
    bool    hgq_front;
    int64_t hgq_warmup;
    double  pact_decay;
    int64_t seed;
} pq_train_params;

/** One row a parameter of pq_train_params. */
extern const pq_param pq_train_param_table[];

/** Whether parameters fit each other, before any event is read. */
pq_status pq_train_check(const pq_train_params *params, pq_err *err);

/** Pruning in training: sparsify.h. */
typedef struct pq_sparse_plan pq_sparse_plan;

/** Where the events come from. */
typedef struct {
    pq_dataset *dataset;
    size_t      train;   /**< index of the split to train on */
    size_t validation;   /**< index of another split, or SIZE_MAX: part of `train` is set
                            aside */
    pq_dataset *watched; /**< whose split `validation` is, or NULL: of `dataset` */
} pq_train_data;

/** The dataset of the validation events. */
static inline pq_dataset *pq_train_watched(const pq_train_data *data)
{
    return data->watched != NULL ? data->watched : data->dataset;
}

/** What is known after each epoch. */
typedef struct {
    size_t epoch; /**< 1 .. epochs */
    double lr;    /**< at its end */
    double train_loss;
    double validation_loss; /**< NAN without validation events */
    double accuracy;        /**< on the validation events, or NAN */
    double lowest_recall;   /**< of the worst class there, or NAN */
    double shortfall;      /**< most that a class's recall lacks to its floor, 0 = held */
    const double *recall;  /**< [classes] there, NAN where a class has no events */
    double        seconds; /**< training alone */
    double        events_per_s;
    double        ebops, beta; /**< of hgq at its end, in it; else NAN */
    size_t        threads; /**< at its end: 1 where more made no step faster (trial.h) */
    bool          best;    /**< the best so far */
} pq_train_epoch;

typedef struct {
    size_t          threads; /**< 0 = all cores; never changes the result */
    const pq_graph *teacher; /**< for distillation, or NULL */
    /** What max_recall_loss compares with, or NULL; may be the graph itself. */
    const pq_graph *reference;
    const char
        *checkpoint; /**< file written after each epoch and resumed from, or NULL */
    /** Begin anew where the checkpoint is damaged or of another run. */
    bool replace_checkpoint;
    /** Stop before the next batch when this is not 0, or NULL. */
    const volatile sig_atomic_t *stop;
    /** Pruning in training, or NULL; params->epochs are those of all its stages. */
    const pq_sparse_plan *sparse;
    const pq_progress    *progress;
    /** Called after each epoch, or NULL. */
    void (*epoch_done)(void *context, const pq_train_epoch *epoch);
    void *context;
} pq_train_options;

/** What came out; owns its arrays. */
typedef struct {
    size_t          n_epochs;
    pq_train_epoch *history; /**< [n_epochs], the resumed ones included */
    size_t          first;   /**< epoch from which on networks may be kept, 1-based */
    size_t          best;    /**< epoch whose weights the graph has, 1-based; 0 = none */
    size_t          n_classes;
    double         *recalls;    /**< [n_epochs, n_classes], what history points into */
    double         *floors;     /**< [n_classes] under the recalls, or NULL */
    bool            floor_held; /**< by the best epoch; true without floors */
    bool            stopped_early;
    bool            resumed;
    size_t          events;            /**< trained on */
    size_t          validation_events; /**< watched */
    size_t          chunk;             /**< events a chunk */
    size_t peak_bytes; /**< most allocated at a time by the whole process, beyond what
                          was there before */
} pq_train_summary;

/**
 * Trains. The graph must end in softmax, sigmoids, or logits (graph/head.h).
 * A graph without scaler and class names gets those of the dataset; where that has no
 * scaler either, one is made from the training events (`standardize`).
 *
 * No epochs at all leave the graph as it is. With hgq_front the graph gets a list of
 * networks, pq_graph.front.
 *
 * @param[in,out] graph  its weights change; on failure they are those of the best epoch
 * before.
 * @param[out] out  caller frees; filled also after PQ_ERR_NUMERIC and
 * PQ_ERR_INTERRUPTED, with the epochs before.
 * @retval PQ_ERR_SHAPE    Samples or classes do not fit the graph or the teacher.
 * @retval PQ_ERR_CONFIG   Options that contradict each other, or a freeze pattern that
 * matches nothing.
 * @retval PQ_ERR_NUMERIC  A loss, a gradient or a weight is not finite; epoch, batch and
 * layer are named.
 * @retval PQ_ERR_INTERRUPTED  options->stop was set.
 * @retval PQ_ERR_FORMAT   The checkpoint belongs to another run or is damaged.
 */
pq_status pq_train(pq_graph *graph, const pq_train_data *data,
                   const pq_train_params *params, const pq_train_options *options,
                   pq_train_summary *out, pq_err *err);
void      pq_train_summary_free(pq_train_summary *s);

/**
 * The epochs as a JSON array; what is not finite is null. Caller decrefs; NULL or short
 * when out of memory.
 * @param[in] graph  the trained one, for its class names
 */
json_t *pq_train_history_json(const pq_train_summary *s, const pq_graph *graph);

/** What computes a layer in training, for messages; with the reason where that is its
 * double code; "" for inputs and what only renames its input. */
const char *pq_train_kernel(const pq_layer *layer);

#endif
