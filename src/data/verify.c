#include "data/verify.h"

#include <errno.h>
#include <nettle/md5.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/file.h"
#include "core/memory.h"
#include "io/hdf5.h"

/* MD5 or Adler-32 of a file as hexadecimal text. */
static pq_status other_sum(const char *path, bool is_md5, char out[PQ_HASH_TEXT],
                           pq_err *err)
{
    struct md5_ctx md5;
    uint8_t        sum[MD5_DIGEST_SIZE];
    uLong          adler = adler32(0L, Z_NULL, 0);
    FILE          *file  = pq_file_stream(path);
    unsigned char *block = NULL;
    size_t         n;
    pq_status      st;

    enum { BLOCK = 1 << 16 };
    md5_init(&md5);
    PQ_CHECK(file != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    PQ_NEW(block, BLOCK);
    while ((n = fread(block, 1, BLOCK, file)) > 0) {
        md5_update(&md5, n, block);
        adler = adler32(adler, block, (uInt)n);
    }
    PQ_CHECK(ferror(file) == 0, pq_status_of_errno(errno), "%s: %s", path,
             strerror(errno));
    md5_digest(&md5, sizeof sum, sum);
    if (is_md5) {
        for (size_t i = 0; i < sizeof sum; i++) {
            (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
        }
    } else {
        (void)snprintf(out, PQ_HASH_TEXT, "%08lx", adler);
    }
cleanup:
    if (file != NULL) {
        (void)fclose(file);
    }
    pq_free(block);
    return st;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Reads a gzip file to its end, where it says how much there was. */
static pq_status check_gzip(const char *path, const char *from, pq_err *err)
{
    gzFile    file  = gzdopen(pq_file_open(path), "rb");
    char     *block = NULL;
    int       n, code = Z_OK;
    pq_status st;

    enum { BLOCK = 1 << 16 };
    PQ_CHECK(file != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    PQ_NEW(block, BLOCK);
    do {
        n = gzread(file, block, BLOCK);
    } while (n > 0);
    PQ_CHECK(gzdirect(file) == 0, PQ_ERR_FORMAT, "%s: is no gzip file", from);
    (void)gzerror(file, &code);
    PQ_CHECK(n == 0 && code == Z_OK, PQ_ERR_FORMAT, "%s: is truncated or damaged", from);
cleanup:
    if (file != NULL) {
        (void)gzclose(file);
    }
    pq_free(block);
    return st;
}

static pq_status check_whole(const pq_set_file *file, const char *path, const char *from,
                             pq_err *err)
{
    pq_h5    *held = NULL;
    pq_status st   = PQ_OK;

    if (ends_with(file->name, ".gz") || ends_with(file->name, ".tgz")) {
        PQ_TRY(check_gzip(path, from, err));
    }
    if (ends_with(file->name, ".h5") || ends_with(file->name, ".hdf5")) {
        PQ_CHECK(pq_h5_is_file(path), PQ_ERR_FORMAT, "%s: is no HDF5 file", from);
        PQ_CHECK(pq_h5_hold(path, &held, NULL) == PQ_OK, PQ_ERR_FORMAT,
                 "%s: is truncated or damaged", from);
    }
cleanup:
    pq_h5_close(&held);
    return st;
}

pq_status pq_set_file_verify(const pq_set_file *file, const char *path, const char *from,
                             char sum[PQ_HASH_TEXT], pq_err *err)
{
    const char *due = file->checksum == NULL ? NULL : strchr(file->checksum, ':') + 1;
    pq_status   st;

    PQ_CHECK(file->bytes == 0 || pq_file_bytes(path) == file->bytes, PQ_ERR_FORMAT,
             "%s: has %zu bytes, the manifest says %llu", from, pq_file_bytes(path),
             (unsigned long long)file->bytes);
    if (due == NULL) {
        PQ_TRY(check_whole(file, path, from, err));
    }
    if (due == NULL || strncmp(file->checksum, "sha256:", 7) == 0) {
        PQ_TRY(pq_hash_file(path, sum, err));
    } else {
        PQ_TRY(other_sum(path, strncmp(file->checksum, "md5:", 4) == 0, sum, err));
    }
    PQ_CHECK(due == NULL || strcmp(sum, due) == 0, PQ_ERR_FORMAT,
             "%s: has %.*s %s, the manifest says %s", from,
             (int)(due - file->checksum - 1), file->checksum, sum, due);
cleanup:
    return st;
}

/* ".f.bin.checked" beside "f.bin". */
static char *stamp_path(const char *path)
{
    const char *base = pq_path_base(path);

    return pq_format("%.*s.%s.checked", (int)(base - path), path, base);
}

static char *stamp_text(const pq_set_file *file, const char *path)
{
    struct stat info;

    return stat(path, &info) != 0
               ? NULL
               : pq_format("%lld bytes of %lld.%09ld, %s%s\n", (long long)info.st_size,
                           (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                           file->checksum != NULL ? file->checksum : "no checksum",
                           file->unpack ? ", unpacked" : "");
}

bool pq_set_file_stamped(const pq_set_file *file, const char *path)
{
    char  *stamp = stamp_path(path), *due = stamp_text(file, path), *have = NULL;
    size_t n = 0;
    bool   same;

    same = stamp != NULL && due != NULL &&
           pq_file_read(stamp, 4096, &have, &n, NULL) == PQ_OK && strcmp(have, due) == 0;
    pq_free(stamp);
    pq_free(due);
    pq_free(have);
    return same;
}

pq_status pq_set_file_stamp(const pq_set_file *file, const char *path, pq_err *err)
{
    char     *stamp = stamp_path(path), *text = stamp_text(file, path);
    pq_status st;

    PQ_CHECK(stamp != NULL && text != NULL, PQ_ERR_NOMEM, "cannot allocate a stamp");
    PQ_TRY(pq_file_write(stamp, text, strlen(text), err));
cleanup:
    pq_free(stamp);
    pq_free(text);
    return st;
}
