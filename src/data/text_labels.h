/**
 * @file
 * Labels that are texts: of variable or fixed length, one an event. For the data room
 * only.
 */
#ifndef PQ_DATA_TEXT_LABELS_H
#define PQ_DATA_TEXT_LABELS_H

#include "io/hdf5.h"

/** Labels of one split after another; zero-initialise, then free. */
typedef struct {
    size_t  n_splits;
    size_t *n;      /**< [n_splits] events */
    char ***texts;  /**< [n_splits][n], until they are numbered */
    size_t **class; /**< [n_splits][n] the class of each event, or NULL before */
} pq_text_labels;

/**
 * Reads the labels of the next split.
 * @param[in]  whose  path of the file, for messages
 * @param[in]  due    how many there must be
 * @retval PQ_ERR_FORMAT  An empty label, with its event; more than a million labels.
 * @retval PQ_ERR_SHAPE   Not as many as events.
 */
pq_status pq_text_labels_add(pq_text_labels *l, pq_h5 *file, const char *path,
                             const char *whose, size_t due, pq_err *err);

/** The same of labels that were read elsewhere. @param[in,out] labels  [n]; taken, and
 * set to NULL */
pq_status pq_text_labels_take(pq_text_labels *l, char ***labels, size_t n,
                              const char *path, const char *whose, size_t due,
                              pq_err *err);

/**
 * Numbers them by the names of classes. Where the file states no names, they are the
 * texts that there are, in the order of their bytes.
 * @param[in,out] names  [*n_names]; made where *names is NULL, the caller's to free
 * @retval PQ_ERR_FORMAT  A label that is none of the stated names, with its event.
 */
pq_status pq_text_labels_number(pq_text_labels *l, const char *whose, char ***names,
                                size_t *n_names, pq_err *err);

void pq_text_labels_free(pq_text_labels *l);

#endif
