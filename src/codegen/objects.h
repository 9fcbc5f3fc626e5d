/**
 * @file
 * Compiled networks of earlier times, by content: $XDG_CACHE_HOME/pquant/compiled, or
 * ~/.cache/pquant/compiled.
 *
 * What lies there is run, so that the folder is of this user alone (mode 700; another is
 * refused, not used), and is used by its descriptor: what somebody puts in its place
 * later is not. A file is named by the hash of all it was made from, ends with the hash
 * of its own bytes, and counts as missing where it is a link, of another user, writable
 * for others, or damaged. Of more than PQ_OBJECTS_MOST those that were not used for
 * longest go. For codegen/ only.
 */
#ifndef PQ_CODEGEN_OBJECTS_H
#define PQ_CODEGEN_OBJECTS_H

#include "core/hash.h"

enum { PQ_OBJECTS_MOST = 1000 };

/** The folder while it is open. */
typedef struct {
    int   folder; /**< descriptor, or -1: none can be made, and nothing is kept */
    char *path;   /**< owned */
} pq_objects;

/** @retval PQ_ERR_ACCESS  The folder is not of this user alone. */
pq_status pq_objects_open(pq_objects *out, pq_err *err);
void      pq_objects_close(pq_objects *o);

/** Path under which the dynamic linker finds an entry that was checked; NULL where there
 * is none, or no memory; caller frees with pq_free. */
char *pq_objects_find(const pq_objects *o, const char key[PQ_HASH_TEXT]);

/** Keeps a copy of a file. Failing is no error: it is made again. */
void pq_objects_keep(const pq_objects *o, const char key[PQ_HASH_TEXT], const char *file);

#endif
