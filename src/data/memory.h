/**
 * @file
 * Events that are in memory already, as a dataset: read where they are, by a call of
 * whoever has them.
 */
#ifndef PQ_DATA_MEMORY_H
#define PQ_DATA_MEMORY_H

#include "data/dataset.h"

/** One split. */
typedef struct {
    const char *name;
    size_t      n; /**< events */
} pq_memory_split;

/** Events of somebody; borrowed during pq_dataset_of_memory, but for `context`, which
 * must live as long as the dataset. */
typedef struct {
    pq_shape               sample;
    size_t                 n_splits;
    const pq_memory_split *splits;      /**< [n_splits] */
    size_t                 n_classes;   /**< at least 1 */
    const char *const     *class_names; /**< [n_classes], or NULL: "0", "1", … */
    /**
     * Gives events first .. first + n - 1 of a split; pointers may be NULL.
     * @param[out] x       [n, sample]
     * @param[out] y       [n] class
     * @param[out] weight  [n]
     */
    pq_status (*read)(void *context, size_t split, size_t first, size_t n, float *x,
                      double *y, float *weight, pq_err *err);
    void *context;
} pq_memory;

/** A dataset of them, closed with pq_dataset_close; its path is called "arrays". */
pq_status pq_dataset_of_memory(const pq_memory *memory, pq_dataset **out, pq_err *err);

#endif
