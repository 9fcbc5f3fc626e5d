/**
 * @file
 * Who is at which piece of work in a results folder that several processes share, on
 * one host or on many: `<dir>/claims/<key>.<turn>` is a symbolic link whose text names
 * its worker; making one either succeeds or says that it is there, on NFS too. No lock,
 * no server, no clock that two hosts would have to agree about.
 *
 * A worker touches `<dir>/claims/<worker>.alive` while it is at work. A claim is stale
 * when its worker is a process of this host that is gone, or when that file is gone or
 * has not been touched for PQ_CLAIM_STALE_S before this worker touched its own, or lies
 * as far in the future, of a clock that was set back. Who finds
 * a stale claim makes that of the next turn: of several only one succeeds. Claims of dead
 * workers stay until the work is done, so that none is counted twice.
 *
 * Where a file system has no symbolic links everything is granted: work may then be done
 * twice, with the same result.
 */
#ifndef PQ_STORE_CLAIM_H
#define PQ_STORE_CLAIM_H

#include <stdbool.h>

#include "core/err.h"

/** A worker that has not been heard of for so long is taken for dead. */
enum { PQ_CLAIM_STALE_S = 120 };

typedef struct pq_claims pq_claims;

/** Makes the folder and says that this process is alive. @retval PQ_ERR_IO
 * @retval PQ_ERR_ACCESS  The folder cannot be written. */
pq_status pq_claims_open(const char *dir, pq_claims **out, pq_err *err);

/** Drops what is held. */
void pq_claims_close(pq_claims **claims);

/** Says that this process is alive, if it has not for some seconds: to be called more
 * often than PQ_CLAIM_STALE_S. */
void pq_claims_beat(pq_claims *claims);

/**
 * Claims a key, which is a file name of at most 64 characters.
 * @param[out] taken  false where another worker, or this one, holds it
 * @retval PQ_ERR_IO  It could not be written.
 */
pq_status pq_claim_take(pq_claims *claims, const char *key, bool *taken, pq_err *err);

/** Gives a key back; harmless where it is not held. */
void pq_claim_drop(pq_claims *claims, const char *key);

/** Removes the claims on a key whose work is done, whoever made them. */
void pq_claim_clear(pq_claims *claims, const char *key);

/** Removes what dead workers have left, once all work is done. */
void pq_claims_tidy(pq_claims *claims);

#endif
