/**
 * @file
 * How often each class is taken for which: the confusion matrix.
 */
#ifndef PQ_METRICS_CONFUSION_H
#define PQ_METRICS_CONFUSION_H

#include "metrics/metric.h"

enum { PQ_CONFUSION_CLASSES_MOST = 1024 /**< of a matrix that is kept in a record */ };

/**
 * Sums of weights by true class and decision (pq_evaluation_decision).
 *
 * @param[in]  e       passed pq_evaluation_check()
 * @param[out] counts  [classes, classes], row = true class
 */
void pq_confusion(const pq_evaluation *e, double *counts);

#endif
