/**
 * @file
 * The curves of a cell in an HDF5 file beside its record.
 */
#ifndef PQ_SWEEP_CURVES_H
#define PQ_SWEEP_CURVES_H

#include "metrics/metric.h"

/** Writes the ROC curve of each class that has one: /roc/<class>/signal_efficiency and
 * background_efficiency. */
pq_status pq_curves_write(const pq_evaluation *view, const char *path, pq_err *err);

#endif
