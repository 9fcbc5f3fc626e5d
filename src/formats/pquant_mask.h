/**
 * @file
 * Masks in our model file: which zeros of a weight are pruned, others being rounded to 0.
 */
#ifndef PQ_FORMATS_PQUANT_MASK_H
#define PQ_FORMATS_PQUANT_MASK_H

#include "graph/graph.h"
#include "io/hdf5.h"

/** Of a pruned weight with zeros that are not pruned, which are: a bit for each zero, in
 * the dataset "<weight>.pruned"; nothing where all zeros are. */
pq_status pq_h5_save_mask(pq_h5 *file, const char *weight, const pq_weight *w,
                          pq_err *err);

/** The inverse; without a mask of its own every zero of a pruned weight is pruned.
 * @retval PQ_ERR_FORMAT  Not as many bits as there are zeros. */
pq_status pq_h5_load_mask(pq_h5 *file, const char *weight, pq_weight *w, pq_err *err);

#endif
