/**
 * @file
 * State of one training run; for the files of this room.
 */
#ifndef PQ_TRAIN_TRAINER_H
#define PQ_TRAIN_TRAINER_H

#include "train/augment.h"
#include "train/events.h"
#include "train/loss.h"
#include "train/net.h"
#include "train/optimizer.h"
#include "train/train.h"

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

/** What distillation adds; zeroed without a teacher. */
typedef struct {
    pq_net          *net;
    size_t           n_pairs;
    pq_teacher_pair *pairs;
    float           *logits; /**< [batch, width] */
} pq_teacher;

typedef struct {
    pq_graph               *graph;
    const pq_train_params  *params;
    const pq_train_options *options;
    pq_pool                *pool;
    pq_net                 *net;
    pq_loss                 loss;
    pq_optimizer            optimizer;
    size_t                  classes;

    pq_events        train_events, other_events;
    const pq_events *valid_events; /**< of the two above */
    size_t           n_train, n_valid;
    size_t          *train_index, *valid_index, *order;
    float           *class_weight; /**< [classes] */

    pq_teacher teacher;

    /* the batch at work */
    const pq_events *events;
    const size_t    *index; /**< of the batch's events */
    bool             augment;
    pq_augment       how;
    int32_t         *y;     /**< [batch] */
    float           *w;     /**< [batch], event times class weight */
    double           scale; /**< 1 / sum of w */
    uint64_t         key;   /**< of random draws in this batch */
    pq_chunk_result *results;
    size_t          *hits, *seen; /**< [chunks, classes] of the validation pass */
    float           *aside;       /**< [n_flat] */

    float          *best; /**< [n_flat] weights of the best epoch */
    pq_train_epoch *history;
    size_t          n_history, best_epoch;
    size_t          bytes;
    bool            resumed;
} pq_trainer;

/** Reads events, makes nets, optimiser and buffers. Free it also after a failure. */
pq_status pq_trainer_create(pq_trainer *t, const pq_train_data *data, pq_err *err);
void      pq_trainer_free(pq_trainer *t);

/** One epoch of training: its mean loss. */
pq_status pq_trainer_epoch(pq_trainer *t, size_t epoch, pq_train_epoch *out, pq_err *err);

/** Runs the validation events through the weights `flat`. */
void pq_trainer_validate(pq_trainer *t, const float *flat, pq_train_epoch *out);

/** Names of the layers whose outputs are compared; caller frees with pq_free. */
pq_status pq_teacher_names(const pq_graph *student, const pq_graph *teacher,
                           const char ***names, size_t *n, pq_err *err);

/** Makes the teacher's net and buffers, once t->net is there. */
pq_status pq_teacher_create(pq_trainer *t, size_t n_names, const char *const *names,
                            pq_err *err);
void      pq_teacher_free(pq_teacher *teacher);

/** Runs the teacher on the batch at work. */
void pq_teacher_run(pq_trainer *t, size_t n);

/** Adds the distance of layers: assigns their gradients, returns the chunk's loss. */
double pq_teacher_layers(const pq_trainer *t, const pq_net_call *c, size_t first);

/** Copies the inputs of events of the batch at work: pq_net_batch.fill. */
void pq_trainer_fill(void *trainer, size_t first, size_t rows, float *x);

#endif
