/**
 * @file
 * Unpacks tar archives, plain or gzip. For the data room only.
 */
#ifndef PQ_DATA_UNTAR_H
#define PQ_DATA_UNTAR_H

#include "core/err.h"

/**
 * Unpacks the regular files of an archive into a folder, aside first: nothing shows
 * until all of it is there. Links, devices, absolute names and names with `..` are
 * refused.
 *
 * Source: POSIX.1-2017, pax, "ustar interchange format"; GNU long names.
 * @retval PQ_ERR_FORMAT  Not a tar, truncated, or one of the above.
 */
pq_status pq_untar(const char *archive, const char *folder, pq_err *err);

#endif
