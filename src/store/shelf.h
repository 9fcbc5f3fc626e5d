/**
 * @file
 * The records of a results folder, each parsed once: `<dir>/records.index` remembers what
 * was in them, by the stamps of their files. It is a cache: records are the truth, and
 * whoever deletes it loses nothing.
 *
 * What is remembered counts only while the file has the same inode, size and times of
 * change, and goes into the index only if it had been left alone for two seconds when it
 * was read, or was put there by whoever wrote it; a damaged index counts as none. Without
 * the parts that only pages of single cells show
 * (`layers`, `quantization`, `correct`): those are read from the record (store/record.h).
 */
#ifndef PQ_STORE_SHELF_H
#define PQ_STORE_SHELF_H

#include <jansson.h>
#include <stdbool.h>

#include "core/hash.h"

typedef struct pq_shelf pq_shelf;

/** Opens a folder's records; reads the index, if one is there and whole. */
pq_status pq_shelf_open(const char *dir, pq_shelf **out, pq_err *err);
void      pq_shelf_close(pq_shelf **shelf);

/**
 * The record of a key as its file is now.
 * @param[out] out  borrowed from the shelf until the same key is asked for again; shared
 *                  with other records: not to be changed
 * @retval others   As pq_record_read.
 */
pq_status pq_shelf_read(pq_shelf *shelf, const char *key, json_t **out, pq_err *err);

/** Drops of a record what the shelf does not keep. */
void pq_shelf_trim(json_t *record);

/**
 * Puts a record on the shelf that the caller, who holds the folder's lock, has just
 * written and need not parse again.
 * @param[in] record  trimmed, shared with the caller
 * @param[in] bytes   size of its file; of another size it is another's, and is not kept
 */
pq_status pq_shelf_put(pq_shelf *shelf, const char *key, json_t *record, size_t bytes,
                       pq_err *err);

/** Whether the record of a key is there, valid and ok. */
bool pq_shelf_done(pq_shelf *shelf, const char *key);

/**
 * Adds to a hash how the file of a key is now, whether or not it is there.
 * @return whether it has been left alone for two seconds; true where there is none
 */
bool pq_shelf_stamp(pq_shelf *shelf, const char *key, pq_hash *hash);

/** How many record files were parsed since the shelf was opened. */
size_t pq_shelf_parsed(const pq_shelf *shelf);

/**
 * Writes the index if anything in it is new, atomically. Its absence costs time alone, so
 * that a folder that cannot be written is no failure.
 * @retval PQ_ERR_NOMEM  Out of memory; the old index is as it was.
 */
pq_status pq_shelf_save(pq_shelf *shelf, pq_err *err);

#endif
