#define _XOPEN_SOURCE 700 /* nftw */

#include "data/untar.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"

enum {
    BLOCK     = 512,
    NAME_AT   = 0,
    SIZE_AT   = 124,
    CHECK_AT  = 148,
    TYPE_AT   = 156,
    PREFIX_AT = 345
};

/* What an archive of n bytes may become: as every other file (SECURITY.md). */
enum { FILES_MAX = 100000 };

#define BYTES_FREE       ((uint64_t)64 << 20)
#define BYTES_FOR_A_BYTE 64u

typedef struct {
    gzFile      file;
    uint64_t    left; /* bytes that may still be unpacked */
    size_t      members;
    const char *path;
    const char *folder;
    char        block[BLOCK];
    char       *long_name; /* of the next member, from a GNU or pax header */
} tar;

static pq_status read_block(tar *t, pq_err *err)
{
    pq_status st;

    PQ_CHECK(t->left >= BLOCK, PQ_ERR_FORMAT,
             "%s: unpacks to more than %u bytes for each of its own and %llu: it is not "
             "unpacked",
             t->path, BYTES_FOR_A_BYTE, (unsigned long long)BYTES_FREE);
    t->left -= BLOCK;
    PQ_CHECK(gzread(t->file, t->block, BLOCK) == BLOCK, PQ_ERR_FORMAT,
             "%s: is truncated or no tar archive", t->path);
cleanup:
    return st;
}

static uint64_t octal(const char *field, size_t n)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n && field[i] != '\0'; i++) {
        if (field[i] >= '0' && field[i] <= '7' && value < (UINT64_MAX >> 3)) {
            value = 8 * value + (uint64_t)(field[i] - '0');
        }
    }
    return value;
}

static bool checksum_fits(const char *block)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < BLOCK; i++) {
        sum += i >= CHECK_AT && i < CHECK_AT + 8 ? ' ' : (unsigned char)block[i];
    }
    return sum == octal(block + CHECK_AT, 8);
}

static bool is_zero(const char *block)
{
    for (size_t i = 0; i < BLOCK; i++) {
        if (block[i] != '\0') {
            return false;
        }
    }
    return true;
}

static bool is_safe(const char *name)
{
    const char *p = name;

    if (name[0] == '/' || name[0] == '\0') {
        return false;
    }
    for (;;) {
        const size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            return false;
        }
        if (p[n] == '\0') {
            return true;
        }
        p += n + 1;
    }
}

/* Copies the contents of a member into a file, or skips them where that is NULL. */
static pq_status copy(tar *t, uint64_t size, FILE *out, pq_err *err)
{
    pq_status st = PQ_OK;

    while (size > 0) {
        const size_t n = size < BLOCK ? (size_t)size : BLOCK;
        PQ_TRY(read_block(t, err));
        PQ_CHECK(out == NULL || fwrite(t->block, 1, n, out) == n,
                 pq_status_of_errno(errno), "%s: cannot be unpacked: %s", t->path,
                 strerror(errno));
        size -= n;
    }
cleanup:
    return st;
}

static pq_status make_parents(char *path, pq_err *err)
{
    char     *slash = strrchr(path, '/');
    pq_status st;

    *slash = '\0';
    st     = pq_folder_make(path, err);
    *slash = '/';
    return st;
}

static pq_status write_file(tar *t, const char *name, uint64_t size, pq_err *err)
{
    char     *path = pq_format("%s/%s", t->folder, name);
    FILE     *out  = NULL;
    int       fd;
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(make_parents(path, err));
    fd  = pq_file_new(path);
    out = fd >= 0 ? fdopen(fd, "wb") : NULL;
    PQ_CHECK(out != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    PQ_TRY(copy(t, size, out, err));
    st  = fflush(out) == 0 && fsync(fileno(out)) == 0 ? PQ_OK : PQ_ERR_IO;
    st  = fclose(out) == 0 ? st : PQ_ERR_IO;
    out = NULL;
    PQ_CHECK(st == PQ_OK, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
cleanup:
    if (out != NULL) {
        (void)fclose(out);
    }
    pq_free(path);
    return st;
}

/* Name of the member whose header is the current block; caller frees. */
static char *member_name(tar *t)
{
    char *name;

    if (t->long_name != NULL) {
        name         = t->long_name;
        t->long_name = NULL;
        return name;
    }
    if (memcmp(t->block + 257, "ustar\0", 6) == 0 && t->block[PREFIX_AT] != '\0') {
        return pq_format("%.155s/%.100s", t->block + PREFIX_AT, t->block + NAME_AT);
    }
    return pq_format("%.100s", t->block + NAME_AT);
}

/* GNU 'L': the contents are the next member's name. */
static pq_status read_long_name(tar *t, uint64_t size, pq_err *err)
{
    enum { MAX_NAME = 4096 };
    char     *name = NULL;
    pq_status st;

    PQ_CHECK(size < MAX_NAME, PQ_ERR_FORMAT, "%s: a name in it has %llu bytes", t->path,
             (unsigned long long)size);
    PQ_NEW(name, MAX_NAME + BLOCK);
    for (size_t at = 0; at < size; at += BLOCK) {
        PQ_TRY(read_block(t, err));
        memcpy(name + at, t->block, BLOCK);
    }
    name[size] = '\0';
    pq_free(t->long_name);
    t->long_name = name;
    name         = NULL;
cleanup:
    pq_free(name);
    return st;
}

static pq_status unpack_member(tar *t, pq_err *err)
{
    const uint64_t size = octal(t->block + SIZE_AT, 12);
    const char     type = t->block[TYPE_AT];
    char          *name = NULL;
    pq_status      st;

    PQ_CHECK(++t->members <= FILES_MAX, PQ_ERR_FORMAT,
             "%s: holds more than %d files: it is not unpacked", t->path, FILES_MAX);
    PQ_CHECK(checksum_fits(t->block), PQ_ERR_FORMAT, "%s: is damaged or no tar archive",
             t->path);
    if (type == 'L') {
        return read_long_name(t, size, err);
    }
    name = member_name(t);
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_CHECK(is_safe(name), PQ_ERR_FORMAT, "%s: would unpack '%s' outside its folder",
             t->path, name);
    PQ_CHECK(type == '0' || type == '\0' || type == '5' || type == 'x' || type == 'g',
             PQ_ERR_UNSUPPORTED,
             "%s: '%s' is a link or a device; only files are unpacked", t->path, name);
    if (type == '0' || type == '\0') {
        PQ_TRY(write_file(t, name, size, err));
    } else {
        PQ_TRY(copy(t, size, NULL, err));
    }
cleanup:
    pq_free(name);
    return st;
}

static pq_status unpack_all(const char *archive, const char *folder, pq_err *err)
{
    tar       t = {.path   = archive,
                   .folder = folder,
                   .left = BYTES_FREE + BYTES_FOR_A_BYTE * (uint64_t)pq_file_bytes(archive)};
    pq_status st;

    t.file = gzdopen(pq_file_open(archive), "rb");
    PQ_CHECK(t.file != NULL, pq_status_of_errno(errno), "%s: %s", archive,
             strerror(errno));
    for (;;) {
        PQ_TRY(read_block(&t, err));
        if (is_zero(t.block)) { /* ends the archive */
            break;
        }
        PQ_TRY(unpack_member(&t, err));
    }
cleanup:
    if (t.file != NULL) {
        (void)gzclose(t.file);
    }
    pq_free(t.long_name);
    return st;
}

static int remove_one(const char *path, const struct stat *info, int kind,
                      struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Moves what is in `from` to where nothing is, or into the folder that is there. */
static pq_status move_into(const char *from, const char *to, pq_err *err)
{
    char    **names = NULL;
    char     *a = NULL, *b = NULL;
    size_t    n = 0;
    pq_status st;

    if (!pq_folder_exists(from) || !pq_folder_exists(to)) {
        PQ_CHECK(rename(from, to) == 0, pq_status_of_errno(errno),
                 "%s: cannot be replaced: %s", to, strerror(errno));
        return PQ_OK;
    }
    PQ_TRY(pq_folder_list(from, "", &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        pq_free(a);
        pq_free(b);
        a = pq_path_join(from, names[i]);
        b = pq_path_join(to, names[i]);
        PQ_CHECK(a != NULL && b != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(move_into(a, b, err));
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    pq_free(a);
    pq_free(b);
    return st;
}

pq_status pq_untar(const char *archive, const char *folder, pq_err *err)
{
    char     *aside = pq_path_join(folder, ".unpacking");
    pq_status st;

    PQ_CHECK(aside != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    remove_tree(aside);
    PQ_TRY(pq_folder_make(aside, err));
    PQ_TRY(unpack_all(archive, aside, err));
    PQ_TRY(move_into(aside, folder, err));
cleanup:
    if (aside != NULL) {
        remove_tree(aside);
    }
    pq_free(aside);
    return st;
}
