/**
 * @file
 * Files of others that are not read: what they are, and how to get their contents in.
 */
#ifndef PQ_CORE_FOREIGN_H
#define PQ_CORE_FOREIGN_H

#include <stdbool.h>

/** Way in for a file of a known kind (NumPy, ROOT, Parquet, ZIP, HDF5), by its first
 * bytes; NULL for others. `model`: it was to be a model, else events. */
const char *pq_foreign_way(const char *path, bool model);

/** Whether a ZIP archive lists a member whose name ends so. */
bool pq_foreign_zip_has(const char *path, const char *end);

#endif
