/**
 * @file
 * The state of a run between two epochs, in a file: what is needed to go on
 * as if nothing had happened.
 *
 * Layout (little-endian): "pquant-train-3\n", 64 hexadecimal digits that name
 * the run, then counts, history and arrays as they lie in memory, then the
 * SHA-256 of all that as 64 digits. It is written whole or not at all.
 */
#ifndef PQ_TRAIN_CHECKPOINT_H
#define PQ_TRAIN_CHECKPOINT_H

#include "core/hash.h"
#include "train/trainer.h"

/** Names the run: options, graphs before training, events, and the arithmetic. The
 * number of epochs is left out where no epoch depends on it. */
pq_status pq_checkpoint_name(const pq_trainer *t, const pq_train_data *data,
                             char out[PQ_HASH_TEXT], pq_err *err);

/** Writes the state after t->n_history epochs. */
pq_status pq_checkpoint_write(const pq_trainer *t, const char *name, const char *path,
                              pq_err *err);

/**
 * Restores the state. A missing file is no error: *found is false.
 * @retval PQ_ERR_FORMAT  Damaged, or of another run.
 */
pq_status pq_checkpoint_read(pq_trainer *t, const char *name, const char *path,
                             bool *found, pq_err *err);

#endif
