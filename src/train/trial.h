/**
 * @file
 * On how many threads steps are run: a few on all, a few on one, then on the faster. What
 * they compute is the same to the bit. For the files of this room.
 */
#ifndef PQ_TRAIN_TRIAL_H
#define PQ_TRAIN_TRIAL_H

#include "core/pool.h"

enum {
    PQ_TRIAL_WAKE  = 4,   /**< steps on all threads that are not timed: some sleep yet */
    PQ_TRIAL_ALL   = 8,   /**< steps after them that are */
    PQ_TRIAL_ONE   = 5,   /**< steps on one; the first of them is not timed */
    PQ_TRIAL_AGAIN = 128, /**< epochs of so many batches try again: machines get busy */
};

/** {0} begins. */
typedef struct {
    size_t step;     /**< that were run, until it is decided */
    double least[2]; /**< seconds of the fastest on all threads, and on one */
} pq_trial;

/** Begins, on all threads. */
void pq_trial_start(pq_trial *t, pq_pool *pool);

/** Takes the time of a step, and sets on what the next one runs. */
void pq_trial_step(pq_trial *t, pq_pool *pool, double seconds);

#endif
