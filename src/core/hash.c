#include "core/hash.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"

void pq_hash_start(pq_hash *h)
{
    sha256_init(&h->state);
}

void pq_hash_bytes(pq_hash *h, const void *bytes, size_t n)
{
    sha256_update(&h->state, n, bytes);
}

void pq_hash_text(pq_hash *h, const char *text)
{
    const uint64_t n = text == NULL ? 0 : strlen(text);

    pq_hash_bytes(h, &n, sizeof n);
    if (n > 0) {
        pq_hash_bytes(h, text, n);
    }
}

void pq_hash_end(pq_hash *h, char out[PQ_HASH_TEXT])
{
    static const char digit[] = "0123456789abcdef";
    uint8_t           sum[SHA256_DIGEST_SIZE];

    sha256_digest(&h->state, sizeof sum, sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        out[2 * i]     = digit[sum[i] >> 4];
        out[2 * i + 1] = digit[sum[i] & 15];
    }
    out[PQ_HASH_TEXT - 1] = '\0';
}

pq_status pq_hash_file(const char *path, char out[PQ_HASH_TEXT], pq_err *err)
{
    FILE     *file = pq_file_stream(path);
    char      buffer[1 << 16];
    pq_hash   h;
    size_t    n;
    pq_status st;

    PQ_CHECK(file != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    pq_hash_start(&h);
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0) {
        pq_hash_bytes(&h, buffer, n);
    }
    PQ_CHECK(ferror(file) == 0, pq_status_of_errno(errno), "%s: %s", path,
             strerror(errno));
    pq_hash_end(&h, out);
cleanup:
    if (file != NULL) {
        (void)fclose(file);
    }
    return st;
}
