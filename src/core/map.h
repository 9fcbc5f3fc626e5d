/**
 * @file
 * A file's bytes without a copy of them: for formats that hold large arrays. What has
 * been read can be let go of, so that a file and what is made of it are not both in
 * memory.
 */
#ifndef PQ_CORE_MAP_H
#define PQ_CORE_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"

/** Bytes of a file; {0} is none. */
typedef struct {
    const uint8_t *at;
    size_t         n;
} pq_map;

/**
 * Maps a regular file to read. Nobody may shorten it meanwhile (SECURITY.md).
 * @param[out] out  freed with pq_map_close; an empty file has n = 0
 * @retval PQ_ERR_FORMAT  A pipe or device.
 */
pq_status pq_map_open(const char *path, pq_map *out, pq_err *err);

/** Maps what was written to a file (pq_file_scratch), which may be closed then. */
pq_status pq_map_stream(FILE *file, pq_map *out, pq_err *err);

/** Lets go of the page of `at` and those behind it that end within n bytes, so that
 * pieces read one after the other leave nothing behind; they can still be read. */
void pq_map_release(const uint8_t *at, size_t n);

/** Unmaps and zeroes. */
void pq_map_close(pq_map *map);

#endif
