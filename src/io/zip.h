/**
 * @file
 * ZIP archives in memory: members stored as they are or deflated, without encryption or
 * volumes; ZIP64 is read, and not written.
 *
 * What the directory says is checked before anything is used: members lie inside the
 * file and not over each other, and checksums fit.
 *
 * Source: PKWARE APPNOTE.TXT; RFC 1951.
 */
#ifndef PQ_IO_ZIP_H
#define PQ_IO_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/map.h"

/** A member; everything borrowed from the archive's bytes. */
typedef struct {
    const char    *name; /**< [name_bytes], no NUL behind it */
    size_t         name_bytes;
    const uint8_t *bytes; /**< [packed] */
    size_t         packed, n;
    bool           deflated; /**< else `bytes` is the content, packed = n */
    bool           mapped;   /**< pages that were read can be let go of */
    uint32_t       sum;      /**< CRC-32 of the content */
} pq_zip_member;

typedef struct {
    size_t         n;
    pq_zip_member *members; /**< owned; in the directory's order */
} pq_zip;

/** Whether bytes begin like a ZIP archive. */
bool pq_zip_looks(const uint8_t *bytes, size_t n);

/**
 * Reads the directory.
 * @param[in] bytes  [n], the whole archive; must outlive `out`
 * @retval PQ_ERR_FORMAT       Truncated, damaged, members over each other, two of one
 * name, a stored member whose checksum differs.
 * @retval PQ_ERR_UNSUPPORTED  Encrypted, or packed otherwise.
 */
pq_status pq_zip_open(const uint8_t *bytes, size_t n, pq_zip *out, pq_err *err);
void      pq_zip_free(pq_zip *zip);

/** The same of a mapped file: pages that were looked at are let go of, so that an archive
 * larger than memory can be read. `map` must outlive `out`. */
pq_status pq_zip_open_map(const pq_map *map, pq_zip *out, pq_err *err);

/** The member of that whole name, or NULL. */
const pq_zip_member *pq_zip_find(const pq_zip *zip, const char *name);

/**
 * Content of a member.
 *
 * @param[out] out    [member->n], followed by a NUL; caller frees with pq_free
 * @retval PQ_ERR_FORMAT  Damaged, or unpacked more than a hundred times what is stored.
 */
pq_status pq_zip_content(const pq_zip_member *member, char **out, pq_err *err);

/** A member's content from its start, piece by piece. */
typedef struct pq_zip_stream pq_zip_stream;

/**
 * Starts with the first byte.
 * @param[in] fine  bytes that any member may unpack to
 * @retval PQ_ERR_FORMAT  It would unpack to more, and more than a hundred times what is
 * stored.
 */
pq_status pq_zip_stream_open(const pq_zip_member *member, size_t fine,
                             pq_zip_stream **out, pq_err *err);

/** The next n bytes. With the last one the checksum is compared.
 * @retval PQ_ERR_FORMAT  Damaged, or the member ends before. */
pq_status pq_zip_stream_read(pq_zip_stream *s, void *out, size_t n, pq_err *err);
void      pq_zip_stream_close(pq_zip_stream **s);

/** A member to be written. */
typedef struct {
    const char *name;
    const void *bytes; /**< [n] */
    size_t      n;
} pq_zip_part;

/** Writes an archive of stored members, atomically. @retval PQ_ERR_RANGE  Beyond 4 GiB.
 */
pq_status pq_zip_write(const char *path, const pq_zip_part *parts, size_t n, pq_err *err);

#endif
