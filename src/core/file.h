/**
 * @file
 * Files and folders. A file appears whole or not at all: it is written under a
 * temporary name in its folder, synced, and renamed.
 */
#ifndef PQ_CORE_FILE_H
#define PQ_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/err.h"

/** Makes a folder and its parents. @retval PQ_ERR_IO  With the path and the reason. */
pq_status pq_folder_make(const char *path, pq_err *err);

/** Whether something is there. */
bool pq_file_exists(const char *path);

/** Whether a file or folder that can be read is there.
 * @retval PQ_ERR_NOT_FOUND  Nothing is there.
 * @retval PQ_ERR_IO         It may not be read.
 * @retval PQ_ERR_FORMAT     It is a pipe, a device or a socket: reading one may hang. */
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

/** The same without waiting for the disk: whatever happens to this process the file is
 * whole, but when the machine fails parts of it may be missing or zero. For what whoever
 * reads it sees then, as in JSON, and can do without. */
pq_status pq_file_write_unsynced(const char *path, const void *bytes, size_t n,
                                 pq_err *err);

/** Opens a file to read: its descriptor, or -1 with errno. Pipes and devices are refused
 * without waiting for them (ENOTSUP). Everything that reads a file opens it so. */
int pq_file_open(const char *path);

/** The same as a stream, or NULL with errno. */
FILE *pq_file_stream(const char *path);

/** A new file without a name, which is gone once it is closed; or NULL with errno. */
FILE *pq_file_scratch(void);

/** Reads the first n bytes of a file, for a look at what it is; zeros follow what it has.
 * @return how many there were; 0 where it cannot be read */
size_t pq_file_start(const char *path, void *out, size_t n);

/**
 * Opens a new, empty file to write. What lay there, a link too, is removed first and
 * never written through: no path of a foreign folder leads out of it.
 * @return its descriptor, or -1 with errno
 */
int pq_file_new(const char *path);

/** Makes an empty temporary file beside path (pq_file_new), "<path>.tmp.<host>.<pid>".
 * @param[out] out  its name; caller frees with pq_free */
pq_status pq_file_temporary(const char *path, char **out, pq_err *err);

/** Whether a text is the name of one file: no path, not hidden, nothing that a terminal
 * or a shell takes for something else. What a file or manifest names becomes a path only
 * so. */
bool pq_is_file_name(const char *name);

/** Whether `name`, a path below `folder`, stays there: no "..", not absolute, and no part
 * of it is a link. */
bool pq_path_is_inside(const char *folder, const char *name);

/** Makes a folder in a folder of results. @retval PQ_ERR_IO  It is a link, which would
 * lead elsewhere. */
pq_status pq_folder_make_inside(const char *folder, const char *name, char **out,
                                pq_err *err);

/** Syncs the temporary file to disk and renames it to path; removes it on failure. */
pq_status pq_file_commit(const char *temporary, const char *path, pq_err *err);

/** The same of one that is on disk already, or need not be. */
pq_status pq_file_commit_unsynced(const char *temporary, const char *path, pq_err *err);

/** "a/b/c.h5" -> "c.h5" (points into path). */
const char *pq_path_base(const char *path);

/** Joins with one slash; an absolute `name` stays as it is; caller frees with pq_free;
 * NULL when out of memory. */
char *pq_path_join(const char *folder, const char *name);

/**
 * Folder that comes with the program: `checkout` below the checkout that the program was
 * built in, or share/pquant/`installed` beside it. Never the current folder: what lies
 * there may be anybody's, and code of it would run.
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
