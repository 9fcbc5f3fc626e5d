/**
 * @file
 * Which events of a source a split hands out: all rows, a range, or a list.
 * For the data room only.
 */
#ifndef PQ_DATA_SPLIT_H
#define PQ_DATA_SPLIT_H

#include "data/layout.h"

/** A split of a dataset over one split of its source; owns name and rows. */
typedef struct {
    char     *name;
    size_t    base;  /**< split of the source */
    size_t    first; /**< row of event 0, when rows is NULL */
    size_t    n;     /**< events */
    uint32_t *rows;  /**< [n] rising rows of the source, or NULL: first .. first+n-1 */
} pq_split;

/** The splits of a dataset; {0} is empty. */
typedef struct {
    size_t    n;
    pq_split *items;
} pq_splits;

void pq_splits_free(pq_splits *splits);

/**
 * The source's own splits, or those that `text` asks for, e.g.
 * "train=0:0.8,test=0.8:1". Where the source has event numbers, an event
 * belongs to the part its number falls into, read backwards as decimal digits (2718 is
 * 0.8172), so that jets of one event never part and tenths are the number modulo 10. Else
 * parts are ranges of rows.
 *
 * @retval PQ_ERR_CONFIG  Malformed, overlapping or empty parts.
 * @retval PQ_ERR_FORMAT  The source has several splits already.
 */
pq_status pq_splits_create(pq_source *source, const char *text, pq_splits *out,
                           pq_err *err);

/** Keeps those events of a split for which keep[i] is true. */
pq_status pq_split_keep(pq_split *split, const bool *keep, pq_err *err);

/** Whether a column or quantity of that name numbers the events. */
bool pq_is_event_name(const char *name);

/** Name of the source's event numbers, or NULL; caller frees with pq_free. */
pq_status pq_source_event_name(pq_source *source, size_t split, char **out, pq_err *err);

#endif
