/**
 * @file
 * Weights of classes that follow their floors: for the files of this room.
 *
 * The most accurate network whose recalls r_k hold floors f_k is a saddle point of the
 * loss plus a price for what each r_k lacks. Here the price is a class's weight in the
 * loss, exp(u_k) times that of `class_weights`, since a recall itself has no gradient.
 * After every batch
 *
 *     u_k = u_k + 5 (a_k seen_k - hits_k) / (N_k a_k (1 - a_k)), in 0 .. log(N / N_k),
 *
 * with N_k of the N training events in the class, of which the batch has seen_k and
 * decides hits_k right: over an epoch u_k moves by five times what the recall lacks, in
 * units of its logit. A class that holds its floor without help keeps its weight, so that
 * the others lose as little as can be. So that events other than those for validation
 * find a floor held, too, it is raised by one standard deviation of a recall on as many
 * events, to 1 at most; a_k is another one above that, and what the recall in training
 * was above that in validation.
 *
 * Source: Cotter et al., ALT 2019, arXiv:1804.06500 (a constraint without a gradient
 * sets the price, another with one is trained).
 */
#ifndef PQ_TRAIN_HOLD_H
#define PQ_TRAIN_HOLD_H

#include "train/trainer.h"

/**
 * Fills t->hold and raises t->floors where preserve_rare_classes asks for it and classes
 * have floors; after pq_classes_weigh() and pq_classes_floors().
 */
pq_status pq_hold_create(pq_trainer *t, pq_err *err);
void      pq_hold_free(pq_hold *h);

/** Takes up weights of classes once a checkpoint has filled u. */
void pq_hold_resume(pq_trainer *t);

/** Counts decisions of one chunk of the batch at work; does nothing without floors. */
void pq_hold_look(pq_trainer *t, size_t chunk, size_t first, size_t rows,
                  const float *logits);

/** Moves the weights of classes after a batch of n events, the first of which is event
 * `at` of the epoch. */
void pq_hold_step(pq_trainer *t, size_t at, size_t n);

/** Moves the aims after an epoch, by its recalls on the validation events. */
void pq_hold_epoch(pq_trainer *t, const pq_train_epoch *e);

#endif
