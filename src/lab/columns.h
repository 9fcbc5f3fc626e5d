/**
 * @file
 * Other quantities of the events of an evaluation, from their dataset.
 */
#ifndef PQ_LAB_COLUMNS_H
#define PQ_LAB_COLUMNS_H

#include "exec/predict.h"
#include "metrics/metric.h"

/** Whose events; borrows. */
typedef struct {
    pq_dataset *dataset;
    size_t      split;
    size_t      stride; /**< of pq_predict_options */
} pq_columns_of;

/** What metrics read them by; borrows `of`, a pq_columns_of. */
pq_columns pq_columns_make(const pq_columns_of *of);

#endif
