/**
 * @file
 * Many files that get their names together: they are written one after the other, and the
 * disk is waited for once. Until then none has its name, so that what fails in between
 * leaves nothing of them.
 */
#ifndef PQ_CORE_BATCH_H
#define PQ_CORE_BATCH_H

#include <stddef.h>

#include "core/err.h"

/** {0} is empty. Owns the names. */
typedef struct {
    size_t n, room;
    char **temporary, **path;
    char *piece; /**< what copies go through, one block for all: between the names, blocks
                    that come and go would leave holes */
} pq_batch_files;

/** Writes n bytes, to be known as `path`. @retval PQ_ERR_IO  They cannot be written. */
pq_status pq_batch_write(pq_batch_files *b, const char *path, const void *bytes, size_t n,
                         pq_err *err);

/** Copies a file, piece by piece, to be known as `path`; a pipe or a device is refused.
 */
pq_status pq_batch_copy(pq_batch_files *b, const char *from, const char *path,
                        pq_err *err);

/** Waits until all are on disk and gives them their names, in the order in which they
 * were added. Empty afterwards; on failure those without a name are gone. */
pq_status pq_batch_commit(pq_batch_files *b, pq_err *err);

/** Removes what was not committed. */
void pq_batch_free(pq_batch_files *b);

#endif
