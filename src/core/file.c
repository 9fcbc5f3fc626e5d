#include "core/file.h"
#include "core/pieces.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/process.h"
#include "core/text.h"
#include "core/visible.h"

pq_status pq_folder_make(const char *path, pq_err *err)
{
    char     *copy = NULL;
    pq_status st;

    PQ_CHECK(path[0] != '\0', PQ_ERR_CONFIG, "the name of a folder is empty");
    PQ_STRDUP(copy, path);
    for (char *p = copy + 1; *copy != '\0'; p++) {
        const char keep = *p;
        if (keep != '/' && keep != '\0') {
            continue;
        }
        *p = '\0';
        PQ_CHECK(mkdir(copy, 0777) == 0 || errno == EEXIST, pq_status_of_errno(errno),
                 "%s: cannot make the folder: %s", path, strerror(errno));
        *p = keep;
        if (keep == '\0') {
            break;
        }
    }
    PQ_CHECK(pq_folder_exists(path), PQ_ERR_ACCESS, "%s: is there, but is not a folder",
             path);
cleanup:
    pq_free(copy);
    return st;
}

bool pq_file_exists(const char *path)
{
    return path != NULL && access(path, F_OK) == 0;
}

pq_status pq_file_check(const char *path, pq_err *err)
{
    struct stat s;
    pq_status   st;

    PQ_CHECK(pq_file_exists(path), PQ_ERR_NOT_FOUND, "%s: no such file or folder", path);
    PQ_CHECK(access(path, R_OK) == 0, pq_status_of_errno(errno),
             "%s: may not be read: %s", path, strerror(errno));
    PQ_CHECK(stat(path, &s) == 0 && (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)),
             PQ_ERR_FORMAT, "%s: is a pipe, a device or a socket, not a file", path);
cleanup:
    return st;
}

bool pq_folder_exists(const char *path)
{
    struct stat s;

    return path != NULL && stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

size_t pq_file_bytes(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && s.st_size > 0 ? (size_t)s.st_size : 0;
}

int pq_file_open(const char *path)
{
    const int   fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    struct stat s;

    if (fd >= 0 && (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))) {
        (void)close(fd);
        errno = ENOTSUP;
        return -1;
    }
    return fd;
}

FILE *pq_file_stream(const char *path)
{
    const int fd = pq_file_open(path);

    return fd >= 0 ? fdopen(fd, "rb") : NULL;
}

FILE *pq_file_scratch(void)
{
    return tmpfile();
}

size_t pq_file_start(const char *path, void *out, size_t n)
{
    FILE  *f    = pq_file_stream(path);
    size_t have = 0;

    memset(out, 0, n);
    if (f != NULL) {
        have = fread(out, 1, n, f);
        (void)fclose(f);
    }
    return have;
}

int pq_file_new(const char *path)
{
    struct stat s;

    if (lstat(path, &s) == 0 && !S_ISDIR(s.st_mode)) {
        (void)unlink(path);
    }
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

pq_status pq_file_read(const char *path, size_t max_bytes, char **out, size_t *n,
                       pq_err *err)
{
    const int   fd    = pq_file_open(path);
    FILE       *file  = fd >= 0 ? fdopen(fd, "rb") : NULL;
    char       *bytes = NULL;
    struct stat s     = {0};
    size_t      size;
    pq_status   st;

    PQ_CHECK(fd >= 0 || errno != ENOTSUP, PQ_ERR_FORMAT, "%s: is not a regular file",
             path);
    PQ_CHECK(file != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    PQ_CHECK(fstat(fd, &s) == 0, pq_status_of_errno(errno), "%s: %s", path,
             strerror(errno));
    size = (size_t)s.st_size;
    PQ_CHECK(size <= max_bytes, PQ_ERR_FORMAT, "%s: has %zu bytes; at most %zu are read",
             path, size, max_bytes);
    PQ_NEW(bytes, size + 1);
    PQ_CHECK(fread(bytes, 1, size, file) == size, PQ_ERR_IO, "%s: cannot be read whole",
             path);
    *out  = bytes;
    *n    = size;
    bytes = NULL;
cleanup:
    if (file != NULL) {
        (void)fclose(file);
    }
    pq_free(bytes);
    return st;
}

pq_status pq_file_temporary(const char *path, char **out, pq_err *err)
{
    char      host[64] = "host";
    char     *name     = NULL;
    int       fd       = -1;
    pq_status st;

    (void)gethostname(host, sizeof host - 1);
    name = pq_format("%s.tmp.%s.%ld", path, host, (long)getpid());
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    fd = pq_file_new(name);
    PQ_CHECK(fd >= 0, pq_status_of_errno(errno), "%s: cannot be written: %s", path,
             strerror(errno));
    (void)close(fd);
    *out = name;
    name = NULL;
cleanup:
    pq_free(name);
    return st;
}

bool pq_is_file_name(const char *name)
{
    uint32_t code;
    size_t   n;

    if (*name == '\0' || *name == '.' || *name == '-' || strlen(name) > NAME_MAX ||
        strpbrk(name, "/\\") != NULL) {
        return false;
    }
    for (; *name != '\0'; name += n) {
        n = pq_utf8_read(name, &code);
        if (n == 0 || pq_is_hidden(code)) {
            return false;
        }
    }
    return true;
}

bool pq_path_is_inside(const char *folder, const char *name)
{
    char       *path = pq_format("%s/%s", folder, name), *end;
    struct stat s;
    bool        inside = path != NULL && *name != '/' && *name != '\0';

    for (end = path != NULL ? path + strlen(folder) + 1 : NULL; inside && *end != '\0';) {
        char        *part = end;
        const size_t n    = strcspn(part, "/");
        const char   keep = part[n];
        part[n]           = '\0';
        inside            = n > 0 && strcmp(part, ".") != 0 && strcmp(part, "..") != 0 &&
                 !(lstat(path, &s) == 0 && S_ISLNK(s.st_mode));
        part[n] = keep;
        end     = part + n + (keep == '/' ? 1 : 0);
    }
    pq_free(path);
    return inside;
}

pq_status pq_folder_make_inside(const char *folder, const char *name, char **out,
                                pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(pq_path_is_inside(folder, name), PQ_ERR_ACCESS,
             "%s: is a link; a folder of results is written in itself alone", path);
    PQ_TRY(pq_folder_make(path, err));
    if (out != NULL) {
        *out = path;
        path = NULL;
    }
cleanup:
    pq_free(path);
    return st;
}

/* Gives a temporary file its name, once it is on disk if it has to be. */
static pq_status commit(const char *temporary, const char *path, bool sync, pq_err *err)
{
    int         fd = -1;
    struct stat s;
    pq_status   st;

    PQ_CHECK(lstat(path, &s) != 0 || S_ISREG(s.st_mode), PQ_ERR_ACCESS,
             "%s: is there and not a regular file: it is not replaced", path);
    if (sync) {
        fd = open(temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        PQ_CHECK(fd >= 0 && fsync(fd) == 0, pq_status_of_errno(errno),
                 "%s: cannot be written: %s", path, strerror(errno));
    }
    PQ_CHECK(rename(temporary, path) == 0, pq_status_of_errno(errno),
             "%s: cannot be written: %s", path, strerror(errno));
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    if (st != PQ_OK) {
        (void)unlink(temporary);
    }
    return st;
}

pq_status pq_file_commit(const char *temporary, const char *path, pq_err *err)
{
    return commit(temporary, path, true, err);
}

pq_status pq_file_commit_unsynced(const char *temporary, const char *path, pq_err *err)
{
    return commit(temporary, path, false, err);
}

static pq_status write_whole(const char *path, const pq_file_piece *pieces, size_t n,
                             bool sync, pq_err *err)
{
    char     *temporary = NULL;
    FILE     *file      = NULL;
    pq_status st;

    PQ_TRY(pq_file_temporary(path, &temporary, err));
    file = fopen(temporary, "wb");
    PQ_CHECK(file != NULL, pq_status_of_errno(errno), "%s: cannot be written: %s", path,
             strerror(errno));
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(fwrite(pieces[i].bytes, 1, pieces[i].n, file) == pieces[i].n,
                 pq_status_of_errno(errno), "%s: cannot be written: %s", path,
                 strerror(errno));
    }
    PQ_CHECK(fflush(file) == 0, pq_status_of_errno(errno), "%s: cannot be written: %s",
             path, strerror(errno));
    PQ_TRY(commit(temporary, path, sync, err));
cleanup:
    if (file != NULL) {
        (void)fclose(file);
    }
    if (st != PQ_OK && temporary != NULL) {
        (void)unlink(temporary);
    }
    pq_free(temporary);
    return st;
}

pq_status pq_file_write(const char *path, const void *bytes, size_t n, pq_err *err)
{
    return write_whole(path, &(pq_file_piece){bytes, n}, 1, true, err);
}

pq_status pq_file_write_pieces(const char *path, const pq_file_piece *pieces, size_t n,
                               pq_err *err)
{
    return write_whole(path, pieces, n, true, err);
}

pq_status pq_file_write_unsynced(const char *path, const void *bytes, size_t n,
                                 pq_err *err)
{
    return write_whole(path, &(pq_file_piece){bytes, n}, 1, false, err);
}

const char *pq_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

char *pq_path_join(const char *folder, const char *name)
{
    const size_t n = folder == NULL ? 0 : strlen(folder);

    if (n == 0 || name[0] == '/') {
        return pq_strdup(name);
    }
    return pq_format("%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
}

/* Whether a name ends in ".tmp.<this host>.<a process that is gone>". */
static bool is_orphan(const char *name, const char *host)
{
    const char  *mark = strstr(name, ".tmp.");
    const size_t n    = strlen(host);
    char        *end  = NULL;
    long         pid;

    for (const char *next; mark != NULL && (next = strstr(mark + 1, ".tmp.")) != NULL;) {
        mark = next;
    }
    if (mark == NULL || strncmp(mark + 5, host, n) != 0 || mark[5 + n] != '.') {
        return false;
    }
    pid = strtol(mark + 6 + n, &end, 10);
    return pid > 0 && *end == '\0' && pq_process_gone(pid, 0);
}

void pq_folder_tidy(const char *path)
{
    char           host[64] = "host";
    DIR           *folder   = opendir(path);
    struct dirent *entry;

    (void)gethostname(host, sizeof host - 1);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (is_orphan(entry->d_name, host)) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

pq_status pq_folder_list(const char *path, const char *suffix, char ***names, size_t *n,
                         pq_err *err)
{
    DIR           *folder = opendir(path);
    struct dirent *entry;
    char         **list  = NULL;
    size_t         count = 0, room = 0;
    pq_status      st;

    PQ_CHECK(folder != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    PQ_NEW(list, 1);
    while ((entry = readdir(folder)) != NULL) {
        const size_t have = strlen(entry->d_name), want = strlen(suffix);
        if (entry->d_name[0] == '.' || have < want ||
            strcmp(entry->d_name + have - want, suffix) != 0) {
            continue;
        }
        if (count == room) {
            char **grown;
            room  = room == 0 ? 64 : 2 * room;
            grown = pq_recalloc(list, count, room, sizeof *list);
            PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a list of files");
            list = grown;
        }
        PQ_STRDUP(list[count], entry->d_name);
        count++;
    }
    qsort(list, count, sizeof *list, by_name);
    *names = list;
    *n     = count;
    list   = NULL;
cleanup:
    for (size_t i = 0; list != NULL && i < count; i++) {
        pq_free(list[i]);
    }
    pq_free(list);
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return st;
}

/* The folder that a program in "<checkout>/<build>/src/cli" or "<checkout>/<build>/tests"
 * was built in, or NULL: only a build folder of meson's has meson-private. */
static char *find_checkout(const char *program)
{
    static const char *const up[] = {"..", "../.."};
    const int                n    = (int)(pq_path_base(program) - program);

    for (size_t i = 0; n > 0 && i < 2; i++) {
        char      *mark  = pq_format("%.*s%s/meson-private", n, program, up[i]);
        const bool built = mark != NULL && pq_folder_exists(mark);
        pq_free(mark);
        if (built) {
            return pq_format("%.*s%s/..", n, program, up[i]);
        }
    }
    return NULL;
}

pq_status pq_folder_shipped(const char *checkout, const char *installed, char **out,
                            pq_err *err)
{
    char        program[PATH_MAX] = "";
    const char *name;
    char       *root      = NULL;
    char       *places[2] = {0};
    size_t      found     = 0;
    pq_status   st;

    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) {
        program[0] = '\0';
    }
    name      = pq_path_base(program);
    root      = find_checkout(program);
    places[0] = root != NULL ? pq_format("%s/%s", root, checkout) : NULL;
    places[1] =
        pq_format("%.*s../share/pquant/%s", (int)(name - program), program, installed);
    while (found < 2 && !pq_folder_exists(places[found])) {
        found++;
    }
    PQ_CHECK(found < 2, PQ_ERR_NOT_FOUND,
             "%s is neither in the checkout of this program, nor installed in "
             "share/pquant/%s",
             checkout, installed);
    *out          = places[found];
    places[found] = NULL;
cleanup:
    pq_free(root);
    for (size_t i = 0; i < 2; i++) {
        pq_free(places[i]);
    }
    return st;
}
