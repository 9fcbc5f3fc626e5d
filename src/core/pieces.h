/**
 * @file
 * Files written from pieces, so that what is large is not copied into one block first.
 */
#ifndef PQ_CORE_PIECES_H
#define PQ_CORE_PIECES_H

#include <stddef.h>

#include "core/err.h"

/** A piece of a file: n bytes, borrowed. */
typedef struct {
    const void *bytes;
    size_t      n;
} pq_file_piece;

/** Replaces a file by n pieces, one behind the other, atomically.
 * @retval PQ_ERR_IO  Nothing was changed. */
pq_status pq_file_write_pieces(const char *path, const pq_file_piece *pieces, size_t n,
                               pq_err *err);

#endif
