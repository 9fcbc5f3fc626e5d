#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/text.h"

pq_status pq_folder_make(const char *path, pq_err *err)
{
    char     *copy = NULL;
    pq_status st;

    PQ_STRDUP(copy, path);
    for (char *p = copy + 1; *copy != '\0'; p++) {
        const char keep = *p;
        if (keep != '/' && keep != '\0') {
            continue;
        }
        *p = '\0';
        PQ_CHECK(mkdir(copy, 0777) == 0 || errno == EEXIST, PQ_ERR_IO,
                 "%s: cannot make the folder: %s", path, strerror(errno));
        *p = keep;
        if (keep == '\0') {
            break;
        }
    }
    PQ_CHECK(pq_folder_exists(path), PQ_ERR_IO, "%s: is there, but is not a folder",
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
    pq_status st;

    PQ_CHECK(pq_file_exists(path), PQ_ERR_NOT_FOUND, "%s: no such file or folder", path);
    PQ_CHECK(access(path, R_OK) == 0, PQ_ERR_IO, "%s: may not be read: %s", path,
             strerror(errno));
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

pq_status pq_file_read(const char *path, size_t max_bytes, char **out, size_t *n,
                       pq_err *err)
{
    FILE       *file  = fopen(path, "rb");
    char       *bytes = NULL;
    struct stat s;
    size_t      size;
    pq_status   st;

    PQ_CHECK(file != NULL, errno == ENOENT ? PQ_ERR_NOT_FOUND : PQ_ERR_IO, "%s: %s", path,
             strerror(errno));
    PQ_CHECK(fstat(fileno(file), &s) == 0 && S_ISREG(s.st_mode), PQ_ERR_FORMAT,
             "%s: is not a regular file", path);
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

char *pq_file_temporary(const char *path)
{
    char host[64] = "host";

    (void)gethostname(host, sizeof host - 1);
    return pq_format("%s.tmp.%s.%ld", path, host, (long)getpid());
}

pq_status pq_file_commit(const char *temporary, const char *path, pq_err *err)
{
    const int   fd = open(temporary, O_RDONLY);
    struct stat s;
    pq_status   st;

    PQ_CHECK(lstat(path, &s) != 0 || S_ISREG(s.st_mode), PQ_ERR_IO,
             "%s: is there and not a regular file: it is not replaced", path);
    PQ_CHECK(fd >= 0 && fsync(fd) == 0, PQ_ERR_IO, "%s: cannot be written: %s", path,
             strerror(errno));
    PQ_CHECK(rename(temporary, path) == 0, PQ_ERR_IO, "%s: cannot be written: %s", path,
             strerror(errno));
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    if (st != PQ_OK) {
        (void)unlink(temporary);
    }
    return st;
}

pq_status pq_file_write(const char *path, const void *bytes, size_t n, pq_err *err)
{
    char     *temporary = pq_file_temporary(path);
    FILE     *file      = NULL;
    pq_status st;

    PQ_CHECK(temporary != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    file = fopen(temporary, "wb");
    PQ_CHECK(file != NULL, PQ_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    PQ_CHECK(fwrite(bytes, 1, n, file) == n && fflush(file) == 0, PQ_ERR_IO,
             "%s: cannot be written: %s", path, strerror(errno));
    PQ_TRY(pq_file_commit(temporary, path, err));
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
    return pid > 0 && *end == '\0' && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
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

    PQ_CHECK(folder != NULL, errno == ENOENT ? PQ_ERR_NOT_FOUND : PQ_ERR_IO, "%s: %s",
             path, strerror(errno));
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

pq_status pq_folder_shipped(const char *checkout, const char *installed, char **out,
                            pq_err *err)
{
    char        program[PATH_MAX] = "";
    const char *name;
    char       *places[3] = {0};
    size_t      found     = 0;
    pq_status   st;

    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) {
        program[0] = '\0';
    }
    name      = pq_path_base(program);
    places[0] = pq_strdup(checkout);
    places[1] = pq_format("%.*s../../../%s", (int)(name - program), program, checkout);
    places[2] =
        pq_format("%.*s../share/pquant/%s", (int)(name - program), program, installed);
    while (found < 3 && !pq_folder_exists(places[found])) {
        found++;
    }
    PQ_CHECK(
        found < 3, PQ_ERR_NOT_FOUND,
        "%s is neither in the current folder, nor in the checkout of this program, nor "
        "installed in share/pquant/%s",
        checkout, installed);
    *out          = places[found];
    places[found] = NULL;
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_free(places[i]);
    }
    return st;
}
