/**
 * @file
 * Shared by the files of the dataset front; nobody else includes it.
 */
#ifndef PQ_DATA_DATASET_INSIDE_H
#define PQ_DATA_DATASET_INSIDE_H

#include <pthread.h>

#include "core/hash.h"
#include "data/split.h"

enum {
    PQ_BLOCK_EVENTS = 4096,
    PQ_BLOCK_BYTES  = 8 << 20 /**< limits of one pass over a source */
};

struct pq_dataset {
    pthread_mutex_t lock;
    pq_source       source;
    pq_splits       splits;
    pq_split_info  *split_infos; /**< [splits.n] */
    size_t *columns; /**< [n_columns] features picked from the source's, or NULL = all */
    size_t  n_columns;
    size_t  items;         /**< values of one event as handed out */
    size_t  source_items;  /**< values of one event in the source */
    size_t  block;         /**< events of one pass over the source */
    size_t  features;      /**< last dimension as handed out */
    float  *mean, *std;    /**< [features] of the handed-out features, or NULL */
    char  **feature_names; /**< [features] or NULL */
    pq_nonfinite nonfinite;
    bool         unweighted;  /**< weights of the file are not read: all are 1 */
    bool      partial_labels; /**< labels that are no class are left out, not refused */
    uint8_t **met;     /**< [splits.n] one bit an event that was counted, or NULL */
    const float *fill; /**< [features] put in place of values that are not finite, or NULL
                          = the scaler's mean, or 0; borrowed */
    char (*hashes)[PQ_HASH_TEXT]; /**< [splits.n], "" = not computed yet */
    pq_dataset_info info;
};

/** An empty dataset, for a source to be put into; caller closes it, also half-built. */
pq_status pq_dataset_start(pq_dataset **out, pq_err *err);

/** Makes splits, features and description of one whose source is open. */
pq_status pq_dataset_finish(pq_dataset *d, const pq_dataset_options *o, pq_err *err);

/** Reads events without policy and scaling: picked columns, weights, labels as the file
 * says. Locked by the caller. */
pq_status pq_dataset_raw(pq_dataset *d, size_t split, size_t first, size_t n,
                         const pq_raw *out, pq_err *err);

/** Class of a label, or -1. */
int32_t pq_dataset_class(const pq_dataset *d, double label);

/** First value of a row that is not finite, or SIZE_MAX. */
size_t pq_first_nonfinite(const float *row, size_t n);

/** Leaves out what the options say: events of other labels, and, by policy, events with
 * values that are not finite. */
pq_status pq_dataset_filter(pq_dataset *d, pq_err *err);

/** As pq_dataset_read_aux, for several quantities in one pass and either type. */
pq_status pq_dataset_aux(pq_dataset *d, size_t split, const pq_aux *aux, size_t first,
                         size_t n, void *out, pq_err *err);

/** Fails when an event number is in two splits of the file. */
pq_status pq_dataset_check_leaks(pq_dataset *d, pq_err *err);

#endif
