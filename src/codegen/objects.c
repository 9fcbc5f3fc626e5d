#define _GNU_SOURCE
#include "codegen/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"

enum { LARGEST = 256 << 20, TAIL = PQ_HASH_TEXT - 1, NAME = PQ_HASH_TEXT + 32 };

/* Where the folder is, or NULL. */
static char *place(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (cache != NULL && cache[0] == '/') {
        return pq_format("%s/pquant/compiled", cache);
    }
    return home != NULL && home[0] == '/' ? pq_format("%s/.cache/pquant/compiled", home)
                                          : NULL;
}

static bool make_private(const char *path)
{
    char      *parent = pq_strdup(path);
    char      *slash  = parent != NULL ? strrchr(parent, '/') : NULL;
    const bool made   = slash != NULL && (*slash = '\0', true) &&
                      pq_folder_make(parent, NULL) == PQ_OK &&
                      (mkdir(path, 0700) == 0 || errno == EEXIST);

    pq_free(parent);
    return made;
}

pq_status pq_objects_open(pq_objects *out, pq_err *err)
{
    pq_objects  o    = {.folder = -1, .path = place()};
    struct stat info = {0};
    pq_status   st   = PQ_OK;

    if (o.path != NULL && make_private(o.path)) {
        o.folder = open(o.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        PQ_CHECK(o.folder >= 0 && fstat(o.folder, &info) == 0 &&
                     info.st_uid == geteuid() && (info.st_mode & 077) == 0,
                 PQ_ERR_ACCESS,
                 "%s: code from there would run, and it is not a folder of this user "
                 "alone (chmod 700), but a link, another's, or open to others",
                 o.path);
    }
    *out = o;
    o    = (pq_objects){.folder = -1};
cleanup:
    pq_objects_close(&o);
    return st;
}

void pq_objects_close(pq_objects *o)
{
    if (o->folder >= 0) {
        (void)close(o->folder);
    }
    pq_free(o->path);
    *o = (pq_objects){.folder = -1};
}

static void name_of(const char *key, char name[NAME])
{
    (void)snprintf(name, NAME, "%.*s.so", TAIL, key);
}

static void hash_of(const char *bytes, size_t n, char out[PQ_HASH_TEXT])
{
    pq_hash hash;

    pq_hash_start(&hash);
    pq_hash_bytes(&hash, bytes, n);
    pq_hash_end(&hash, out);
}

/* Whether the file is ours alone and ends with the hash of what stands before. */
static bool is_whole(int file)
{
    struct stat info;
    char       *bytes = NULL, hash[PQ_HASH_TEXT];
    size_t      n, at = 0;
    bool        fine = fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
                info.st_uid == geteuid() && (info.st_mode & 022) == 0 &&
                info.st_size > TAIL && info.st_size <= LARGEST;

    n     = fine ? (size_t)info.st_size : 0;
    bytes = fine ? pq_calloc(n, 1) : NULL;
    for (ssize_t got = 1; bytes != NULL && at < n && got > 0;) {
        got = read(file, bytes + at, n - at);
        at += got > 0 ? (size_t)got : 0;
    }
    fine = bytes != NULL && at == n;
    if (fine) {
        hash_of(bytes, n - TAIL, hash);
        fine = memcmp(hash, bytes + n - TAIL, TAIL) == 0;
    }
    pq_free(bytes);
    return fine;
}

/* By the descriptor where the system has a way: the name also tells entries apart for the
 * dynamic linker, which takes what it knows by name before it looks. */
static char *path_of(const pq_objects *o, const char *name)
{
    char *path = pq_format("/proc/self/fd/%d/%s", o->folder, name);

    if (path != NULL && access(path, R_OK) != 0) {
        pq_free(path);
        path = pq_path_join(o->path, name);
    }
    return path;
}

char *pq_objects_find(const pq_objects *o, const char key[PQ_HASH_TEXT])
{
    char  name[NAME];
    char *path = NULL;
    int   file;

    if (o->folder < 0) {
        return NULL;
    }
    name_of(key, name);
    file = openat(o->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file >= 0 && is_whole(file)) {
        (void)futimens(file, NULL); /* used now */
        path = path_of(o, name);
    } else if (file >= 0) {
        (void)unlinkat(o->folder, name, 0);
    }
    if (file >= 0) {
        (void)close(file);
    }
    return path;
}

static bool write_all(int file, const char *bytes, size_t n)
{
    for (ssize_t put; n > 0; bytes += put, n -= (size_t)put) {
        put = write(file, bytes, n);
        if (put <= 0) {
            return false;
        }
    }
    return true;
}

typedef struct {
    char           *name;
    struct timespec used;
} entry;

static int compare_ages(const void *a, const void *b)
{
    const struct timespec *x = &((const entry *)a)->used, *y = &((const entry *)b)->used;
    const time_t           s =
        x->tv_sec != y->tv_sec ? x->tv_sec - y->tv_sec : x->tv_nsec - y->tv_nsec;

    return (s > 0) - (s < 0);
}

/* Of too many the older half goes. */
static void tidy(const pq_objects *o)
{
    char      **names   = NULL;
    entry      *entries = NULL;
    size_t      n       = 0;
    struct stat info;

    if (pq_folder_list(o->path, ".so", &names, &n, NULL) == PQ_OK &&
        n > PQ_OBJECTS_MOST) {
        entries = pq_calloc(n, sizeof *entries);
    }
    for (size_t i = 0; entries != NULL && i < n; i++) {
        entries[i].name = names[i];
        if (fstatat(o->folder, names[i], &info, AT_SYMLINK_NOFOLLOW) == 0) {
            entries[i].used = info.st_mtim;
        }
    }
    if (entries != NULL) {
        qsort(entries, n, sizeof *entries, compare_ages);
    }
    for (size_t i = 0; entries != NULL && i < n - PQ_OBJECTS_MOST / 2; i++) {
        (void)unlinkat(o->folder, entries[i].name, 0);
    }
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    pq_free(entries);
}

void pq_objects_keep(const pq_objects *o, const char key[PQ_HASH_TEXT], const char *file)
{
    char   name[NAME], temporary[NAME], hash[PQ_HASH_TEXT];
    char  *bytes = NULL;
    size_t n     = 0;
    int    to;

    if (o->folder < 0 || pq_file_read(file, LARGEST - TAIL, &bytes, &n, NULL) != PQ_OK) {
        return;
    }
    name_of(key, name);
    (void)snprintf(temporary, sizeof temporary, ".%.16s.%ld.%zx", key, (long)getpid(),
                   (size_t)(uintptr_t)bytes);
    (void)unlinkat(o->folder, temporary, 0);
    to = openat(o->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    hash_of(bytes, n, hash);
    if (to >= 0) {
        const bool written = write_all(to, bytes, n) && write_all(to, hash, TAIL);
        if (close(to) != 0 || !written ||
            renameat(o->folder, temporary, o->folder, name) != 0) {
            (void)unlinkat(o->folder, temporary, 0);
        }
    }
    pq_free(bytes);
    tidy(o);
}
