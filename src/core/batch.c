#define _GNU_SOURCE /* syncfs */
#include "core/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"

enum { PIECE_BYTES = 1 << 18 };

/* A new file of the batch, open to be written. */
static pq_status begin(pq_batch_files *b, const char *path, int *fd, pq_err *err)
{
    char    **names;
    pq_status st;

    if (b->n == b->room) {
        const size_t room = 2 * b->room + 64;
        names             = pq_recalloc(b->temporary, b->room, room, sizeof *names);
        PQ_CHECK(names != NULL, PQ_ERR_NOMEM, "cannot allocate a list of files");
        b->temporary = names;
        names        = pq_recalloc(b->path, b->room, room, sizeof *names);
        PQ_CHECK(names != NULL, PQ_ERR_NOMEM, "cannot allocate a list of files");
        b->path = names;
        b->room = room;
    }
    PQ_STRDUP(b->path[b->n], path);
    PQ_TRY(pq_file_temporary(path, &b->temporary[b->n], err));
    *fd = open(b->temporary[b->n], O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    b->n++;
    PQ_CHECK(*fd >= 0, pq_status_of_errno(errno), "%s: cannot be written: %s", path,
             strerror(errno));
cleanup:
    if (st != PQ_OK && b->n < b->room && b->path != NULL) {
        pq_free(b->path[b->n]);
        b->path[b->n] = NULL;
    }
    return st;
}

static pq_status put(int fd, const char *path, const char *bytes, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    while (n > 0) {
        const ssize_t some = write(fd, bytes, n);
        PQ_CHECK(some >= 0 || errno == EINTR, pq_status_of_errno(errno),
                 "%s: cannot be written: %s", path, strerror(errno));
        bytes += some > 0 ? some : 0;
        n -= some > 0 ? (size_t)some : 0;
    }
cleanup:
    return st;
}

pq_status pq_batch_write(pq_batch_files *b, const char *path, const void *bytes, size_t n,
                         pq_err *err)
{
    int       fd = -1;
    pq_status st;

    PQ_TRY(begin(b, path, &fd, err));
    PQ_TRY(put(fd, path, bytes, n, err));
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

pq_status pq_batch_copy(pq_batch_files *b, const char *from, const char *path,
                        pq_err *err)
{
    const int in  = pq_file_open(from);
    int       out = -1;
    ssize_t   n   = 1;
    pq_status st;

    PQ_CHECK(in >= 0 || errno != ENOTSUP, PQ_ERR_FORMAT, "%s: is not a regular file",
             from);
    PQ_CHECK(in >= 0, pq_status_of_errno(errno), "%s: %s", from, strerror(errno));
    if (b->piece == NULL) {
        PQ_NEW(b->piece, PIECE_BYTES);
    }
    PQ_TRY(begin(b, path, &out, err));
    while (n != 0) {
        n = read(in, b->piece, PIECE_BYTES);
        PQ_CHECK(n >= 0 || errno == EINTR, pq_status_of_errno(errno),
                 "%s: cannot be read: %s", from, strerror(errno));
        PQ_TRY(put(out, path, b->piece, n > 0 ? (size_t)n : 0, err));
    }
cleanup:
    if (in >= 0) {
        (void)close(in);
    }
    if (out >= 0) {
        (void)close(out);
    }
    return st;
}

/* Waits for one file, or for all of its file system. */
static bool sync_one(const char *path, bool all)
{
    const int  fd   = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    const bool fine = fd >= 0 && (all ? syncfs(fd) : fsync(fd)) == 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    return fine;
}

/* Whether all files are on one file system. */
static bool is_one_system(const pq_batch_files *b)
{
    struct stat first, other;
    bool        one = b->n > 0 && stat(b->temporary[0], &first) == 0;

    for (size_t i = 1; one && i < b->n; i++) {
        one = stat(b->temporary[i], &other) == 0 && other.st_dev == first.st_dev;
    }
    return one;
}

/* A few files are waited for one by one: others may be writing on the same disk. */
static pq_status sync_all(const pq_batch_files *b, pq_err *err)
{
    enum { FEW = 16 };
    pq_status st = PQ_OK;

    if (b->n > FEW && is_one_system(b) && sync_one(b->temporary[0], true)) {
        return PQ_OK;
    }
    for (size_t i = 0; i < b->n; i++) {
        PQ_CHECK(sync_one(b->temporary[i], false), pq_status_of_errno(errno),
                 "%s: cannot be written: %s", b->path[i], strerror(errno));
    }
cleanup:
    return st;
}

pq_status pq_batch_commit(pq_batch_files *b, pq_err *err)
{
    pq_status st;

    PQ_TRY(sync_all(b, err));
    for (size_t i = 0; i < b->n; i++) {
        PQ_TRY(pq_file_commit_unsynced(b->temporary[i], b->path[i], err));
        pq_free(b->temporary[i]);
        b->temporary[i] = NULL;
    }
cleanup:
    pq_batch_free(b);
    return st;
}

void pq_batch_free(pq_batch_files *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->temporary[i] != NULL) {
            (void)unlink(b->temporary[i]);
        }
        pq_free(b->temporary[i]);
        pq_free(b->path[i]);
    }
    pq_free(b->temporary);
    pq_free(b->path);
    pq_free(b->piece);
    *b = (pq_batch_files){0};
}
