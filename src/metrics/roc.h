/**
 * @file
 * One-vs-rest ROC curve of one class: efficiencies of the cuts D >= t on the
 * class score, one point a distinct score, thinned for plotting.
 */
#ifndef PQ_METRICS_ROC_H
#define PQ_METRICS_ROC_H

#include "metrics/metric.h"

/** Curve from (0, 0) to (1, 1), both coordinates never falling where no weight is
 * negative; owns. {0} is empty. */
typedef struct {
    size_t  n;
    double *signal;     /**< [n] efficiency of the class */
    double *background; /**< [n] efficiency of the rest */
} pq_roc_curve;

/**
 * Computes the curve with event weights. Where it has more than max_points
 * points, those kept are points of the exact curve: both ends, and the first
 * one in each of equal steps of the signal efficiency and of the logarithm of
 * the background efficiency, so that plots of rejections stay sharp.
 *
 * @param[in]  class_index  0 .. classes - 1
 * @param[in]  max_points   >= 8
 * @param[out] out          caller frees; n = 0 when the class or the rest has no events
 * @retval others  As pq_evaluation_check.
 *
 * Cost: O(n log n) time, 48 n bytes of scratch.
 */
pq_status pq_roc(const pq_evaluation *e, size_t class_index, size_t max_points,
                 pq_roc_curve *out, pq_err *err);

void pq_roc_free(pq_roc_curve *curve);

#endif
