/**
 * @file
 * Writes our own dataset files: imports from any layout that can be opened.
 */
#ifndef PQ_DATA_WRITE_H
#define PQ_DATA_WRITE_H

#include "core/progress.h"
#include "data/dataset.h"

/**
 * Copies a dataset into a file of our own layout, split by split in bounded
 * memory: x as in the source (pixels as bytes, else float32, not scaled), y in
 * the dataset's class order, weights, and every auxiliary quantity whose name HDF5 can
 * hold (not those with a "/"). Options the
 * dataset was opened with (inputs, labels, splits, nonfinite) are followed.
 *
 * The scaler is the source's; where it has none and events are lists of
 * features, mean and standard deviation (1 where it is 0) of the split `train`,
 * or of the first one. The file appears whole or not at all.
 *
 * @param[in] gzip  0 = not compressed, else level 1..9
 * @retval PQ_ERR_IO  The file cannot be written.
 * @retval others     As pq_dataset_read.
 */
pq_status pq_data_import(pq_dataset *dataset, const char *path, int gzip,
                         const pq_progress *progress, pq_err *err);

#endif
