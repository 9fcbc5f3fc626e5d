/**
 * @file
 * SHA-256 of things piece by piece (Nettle underneath). Cell keys and content
 * hashes come from here.
 */
#ifndef PQ_CORE_HASH_H
#define PQ_CORE_HASH_H

#include <nettle/sha2.h>
#include <stddef.h>

#include "core/err.h"

enum { PQ_HASH_TEXT = 65 /**< 64 hexadecimal digits and NUL */ };

typedef struct {
    struct sha256_ctx state;
} pq_hash;

void pq_hash_start(pq_hash *h);

/** Adds bytes. */
void pq_hash_bytes(pq_hash *h, const void *bytes, size_t n);

/** Adds a text with its length, so that ("ab","c") and ("a","bc") differ; NULL counts as
 * "". */
void pq_hash_text(pq_hash *h, const char *text);

/** Ends and writes 64 hexadecimal digits. */
void pq_hash_end(pq_hash *h, char out[PQ_HASH_TEXT]);

/**
 * SHA-256 of a file's bytes.
 * @retval PQ_ERR_NOT_FOUND  No such file.
 * @retval PQ_ERR_IO         It cannot be read.
 */
pq_status pq_hash_file(const char *path, char out[PQ_HASH_TEXT], pq_err *err);

#endif
