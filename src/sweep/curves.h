/**
 * @file
 * The curves of a cell in an HDF5 file beside its record.
 */
#ifndef PQ_SWEEP_CURVES_H
#define PQ_SWEEP_CURVES_H

#include "metrics/btag.h"

/**
 * Writes the ROC curve of each class that has one: /roc/<class>/signal_efficiency and
 * background_efficiency; and, of a b tagger, /btag/roc, /btag/discriminant and
 * /btag/scan, whose columns metrics/btag_curves.h names.
 * @param[in]  view  what is evaluated
 * @param[in]  roc   whether there are ROC curves
 * @param[in]  btag  keys of metric btag, or NULL: no curves of it
 * @param[in]  path  of the file
 * @param[out] err   details of a failure, or NULL
 */
pq_status pq_curves_write(const pq_evaluation *view, bool roc, const pq_btag_params *btag,
                          const char *path, pq_err *err);

#endif
