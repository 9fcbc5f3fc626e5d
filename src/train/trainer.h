/**
 * @file
 * State of one training run; for the files of this room.
 */
#ifndef PQ_TRAIN_TRAINER_H
#define PQ_TRAIN_TRAINER_H

#include "exec/rescale.h"
#include "train/augment.h"
#include "train/events.h"
#include "train/loss.h"
#include "train/net.h"
#include "train/optimizer.h"
#include "train/train.h"
#include "train/trial.h"

/** What one chunk contributes; one a chunk, so that nothing is shared. */
typedef struct {
    double loss;
    size_t correct;
} pq_chunk_result;

/** A layer that student and teacher both have: values in both nets, and the teacher's
 * output. */
typedef struct {
    size_t student, teacher, count;
    float *target; /**< [batch, count] */
} pq_teacher_pair;

/** Another network on the same events; zeroed without one. */
typedef struct {
    pq_net          *net;
    pq_rescale       scale; /**< from the events' scale to its own */
    size_t          *place; /**< [classes] its class for each of the graph's */
    size_t           n_pairs;
    pq_teacher_pair *pairs;
    float           *logits; /**< [batch, width], in the graph's class order */
} pq_teacher;

/** Networks that no other epoch beats: front.h. */
typedef struct {
    size_t  n, room;
    float  *weights; /**< [n, n_flat] */
    size_t *epochs;  /**< [n], counted from 1, ascending */
} pq_front;

/** Weights of classes at work for their floors (hold.h); arrays are [classes]. */
typedef struct {
    bool    on;
    float  *base;        /**< weights without it */
    double *u;           /**< logarithm of what they are multiplied by, >= 0 */
    double *aim;         /**< recall in training that is aimed at */
    double *margin;      /**< one standard deviation of a recall in validation */
    double *events;      /**< weights of the training events */
    double  total;       /**< of all of them */
    double *hits, *seen; /**< in the second half of the epoch */
} pq_hold;

typedef struct {
    pq_graph               *graph;
    const pq_train_params  *params;
    const pq_train_options *options;
    const pq_dataset_info  *info;
    pq_pool                *pool;
    pq_trial                trial; /**< of threads */
    pq_net                 *net;
    pq_loss                 loss;
    pq_optimizer            optimizer;
    size_t                  classes;

    pq_events        train_events, other_events;
    const pq_events *valid_events; /**< of the two above */
    size_t           n_train, n_valid;
    size_t          *train_index, *valid_index, *order;
    size_t          *next_order; /**< of the next epoch, in the making beside this one */
    pq_order         ordering;
    size_t           swaps;        /**< of it, in each batch */
    float           *class_weight; /**< [classes] */
    double          *floors;       /**< [classes] under the recalls, or NULL */
    pq_hold          hold;

    pq_teacher teacher;

    /* the batch at work */
    const pq_events *events;
    const size_t    *index; /**< of the batch's events */
    bool             augment;
    pq_augment       how;
    int32_t         *y;      /**< [batch] */
    float           *w;      /**< [batch], event times class weight */
    double           weight; /**< sum of w */
    /* the one after it, gathered beside it */
    const size_t    *next_index;
    size_t           next_n; /**< 0 = none */
    int32_t         *next_y;
    float           *next_w;
    double           next_weight;
    double           scale; /**< 1 / weight, 0 where that is 0 */
    uint64_t         key;   /**< of random draws in this batch */
    pq_chunk_result *results;
    double          *hits, *seen; /**< [chunks, classes] weights of events */
    float           *aside;       /**< [n_flat] */

    float          *best; /**< [n_flat] weights of the best epoch */
    pq_front        front;
    pq_train_epoch *history;
    double         *recalls; /**< [epochs, classes] */
    size_t          n_history, best_epoch;
    double          told_s; /**< when progress was told of last, across epochs */
    bool            resumed;
} pq_trainer;

/**
 * What turns a net's logits into probabilities: as the graph's head says.
 * @param[in] squared  by loss = mse
 * @retval PQ_ERR_CONFIG       The outputs are no probabilities.
 * @retval PQ_ERR_UNSUPPORTED  They are, but not by the last layer's doing (the head was
 *                             named): there are no logits to train on.
 */
pq_status pq_net_link_of(const pq_graph *graph, const pq_net *net, bool squared,
                         pq_link *out, pq_err *err);

/** Reads events, makes nets, optimiser and buffers. Free it also after a failure. */
pq_status pq_trainer_create(pq_trainer *t, const pq_train_data *data, pq_err *err);
void      pq_trainer_free(pq_trainer *t);

/** Says which events the next batch has. */
void pq_batch_announce(pq_trainer *t, const size_t *index, size_t n);

/** Labels and weights of the next batch: they lie anywhere in memory.
 * @param[in] class_weight  or NULL */
void pq_batch_gather(pq_trainer *t, const pq_events *events, const float *class_weight);

/** The next batch becomes the one at work; its loss is divided by its weight. */
void pq_batch_take(pq_trainer *t, const pq_events *events);

/** All three, for a batch that nothing was done for before. */
void pq_batch_start(pq_trainer *t, const pq_events *events, const size_t *index,
                    size_t n);

/** One epoch of training: its mean loss. */
pq_status pq_trainer_epoch(pq_trainer *t, size_t epoch, pq_train_epoch *out, pq_err *err);

/**
 * Runs the validation events through the weights `flat`.
 * @retval PQ_ERR_NUMERIC  The loss or a weight is not finite; epoch and layer are named.
 */
pq_status pq_trainer_validate(pq_trainer *t, const float *flat, pq_train_epoch *out,
                              pq_err *err);

/** Names of the layers whose outputs are compared; caller frees with pq_free. */
pq_status pq_teacher_names(const pq_graph *student, const pq_graph *teacher,
                           const char ***names, size_t *n, pq_err *err);

/**
 * Makes a teacher's net and buffers, once t->net is there; free it also after a failure.
 *
 * @retval PQ_ERR_SHAPE   Inputs or outputs are not as many as the graph's.
 * @retval PQ_ERR_CONFIG  Its classes are not those of the graph.
 */
pq_status pq_teacher_create(const pq_trainer *t, const pq_graph *graph, size_t n_names,
                            const char *const *names, pq_teacher *out, pq_err *err);

/** The same of a network that gets events of its own, as it takes them: of so many
 * values. */
pq_status pq_teacher_apart(const pq_trainer *t, const pq_graph *graph, size_t inputs,
                           pq_teacher *out, pq_err *err);
void      pq_teacher_free(pq_teacher *teacher);

/** Runs a teacher on the batch at work; without one, nothing happens. */
void pq_teacher_run(pq_trainer *t, pq_teacher *teacher, size_t n);

/** Adds the distance of layers: assigns their gradients, returns the chunk's loss. */
double pq_teacher_layers(const pq_trainer *t, const pq_net_call *c, size_t first);

/** Copies the inputs of events of the batch at work: pq_net_batch.fill. */
void pq_trainer_fill(void *trainer, size_t first, size_t rows, float *x);

#endif
