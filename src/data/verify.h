/**
 * @file
 * Whether a file of a public set is what its manifest says, and a stamp that
 * remembers it. For the data room only.
 */
#ifndef PQ_DATA_VERIFY_H
#define PQ_DATA_VERIFY_H

#include "core/hash.h"
#include "data/fetch.h"

/**
 * Compares size and checksum with the manifest. Where it gives no checksum, gzip and HDF5
 * files (by their names) must at least be whole.
 *
 * @param[in]  path  the file
 * @param[in]  from  where it came from, for messages
 * @param[out] sum   the checksum compared, or the SHA-256 where the manifest has none
 * @retval PQ_ERR_FORMAT  It differs, or is not whole.
 */
pq_status pq_set_file_verify(const pq_set_file *file, const char *path, const char *from,
                             char sum[PQ_HASH_TEXT], pq_err *err);

/** Whether the file is the one that was stamped: same size, time and manifest. */
bool pq_set_file_stamped(const pq_set_file *file, const char *path);

/** Remembers that a file was checked, and unpacked where it is to be. */
pq_status pq_set_file_stamp(const pq_set_file *file, const char *path, pq_err *err);

#endif
