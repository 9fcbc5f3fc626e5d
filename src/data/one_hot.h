/**
 * @file
 * Labels as rows of 0 and one 1. For the data room only.
 */
#ifndef PQ_DATA_ONE_HOT_H
#define PQ_DATA_ONE_HOT_H

#include "io/hdf5.h"

/**
 * Reads rows of `columns` values and says where the 1 of each stands.
 * @param[in]  whose  path of the file, for messages
 * @param[out] out    [rows.n]
 * @retval PQ_ERR_FORMAT  A row is not one 1 among 0s, with the event.
 */
pq_status pq_one_hot_read(pq_h5 *file, const char *path, const char *whose, pq_rows rows,
                          size_t columns, double *out, pq_err *err);

/** The same of rows that were read. @param[in] values  [rows.n, columns] */
pq_status pq_one_hot_fold(const double *values, pq_rows rows, size_t columns,
                          const char *name, const char *whose, double *out, pq_err *err);

#endif
