/**
 * @file
 * Files and folders. A file appears whole or not at all: it is written under a
 * temporary name in its folder, synced, and renamed.
 */
#ifndef PQ_CORE_FILE_H
#define PQ_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** Makes a folder and its parents. @retval PQ_ERR_IO  With the path and the reason. */
pq_status pq_folder_make(const char *path, pq_err *err);

/** Whether something is there. */
bool pq_file_exists(const char *path);

/** Whether something readable is there.
 * @retval PQ_ERR_NOT_FOUND  Nothing is there.
 * @retval PQ_ERR_IO         It may not be read. */
pq_status pq_file_check(const char *path, pq_err *err);

/** Whether a folder is there. */
bool pq_folder_exists(const char *path);

/** Size in bytes, or 0 when it is not there. */
size_t pq_file_bytes(const char *path);

/**
 * Reads a whole file; caller frees with pq_free. A NUL follows the last byte.
 * @param[in] max_bytes  Larger files are refused with PQ_ERR_FORMAT.
 */
pq_status pq_file_read(const char *path, size_t max_bytes, char **out, size_t *n,
                       pq_err *err);

/** Replaces a file by n bytes, atomically. @retval PQ_ERR_IO  Nothing was changed. */
pq_status pq_file_write(const char *path, const void *bytes, size_t n, pq_err *err);

/** Temporary name beside path, "<path>.tmp.<host>.<pid>"; caller frees with pq_free; NULL
 * when out of memory. */
char *pq_file_temporary(const char *path);

/** Syncs the temporary file to disk and renames it to path; removes it on failure. */
pq_status pq_file_commit(const char *temporary, const char *path, pq_err *err);

/** "a/b/c.h5" -> "c.h5" (points into path). */
const char *pq_path_base(const char *path);

/** Joins with one slash; an absolute `name` stays as it is; caller frees with pq_free;
 * NULL when out of memory. */
char *pq_path_join(const char *folder, const char *name);

/**
 * Folder that comes with the program: `checkout` below the current folder or below the
 * checkout that the program was built in, or share/pquant/`installed` beside it.
 * @param[out] out  caller frees with pq_free
 * @retval PQ_ERR_NOT_FOUND  None of them is there.
 */
pq_status pq_folder_shipped(const char *checkout, const char *installed, char **out,
                            pq_err *err);

/** Names in a folder that end with `suffix`, sorted; caller frees each and the array with
 * pq_free. */
pq_status pq_folder_list(const char *path, const char *suffix, char ***names, size_t *n,
                         pq_err *err);

/** Removes the temporary files (pq_file_temporary) in a folder that processes of this
 * host left when they died. Those of other hosts stay: they may be at work. */
void pq_folder_tidy(const char *path);

#endif
