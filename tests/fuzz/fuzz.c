#define _GNU_SOURCE /* memfd_create */

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the memory file of a name, and the link to it in the folder. */
static int make(const char *name, const char *path)
{
    const int fd = memfd_create("fuzz", 0);
    char      folder[192], target[64];

    (void)snprintf(folder, sizeof folder, "/tmp/pq-fuzz-%ld.d", (long)getpid());
    (void)mkdir(folder, 0700);
    if (strchr(name, '/') != NULL) {
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path),
                       path);
        (void)mkdir(folder, 0700);
    }
    (void)snprintf(target, sizeof target, "/proc/%ld/fd/%d", (long)getpid(), fd);
    (void)unlink(path);
    if (fd < 0 || symlink(target, path) != 0) {
        abort();
    }
    return fd;
}

const char *pq_fuzz_put(const char *name, const uint8_t *bytes, size_t n)
{
    enum { FILES = 32 };
    static struct {
        const char *name;
        int         fd;
    } files[FILES];
    static char path[192];
    size_t      k = 0;

    (void)snprintf(path, sizeof path, "/tmp/pq-fuzz-%ld.d/%s", (long)getpid(), name);
    while (k < FILES && files[k].name != NULL && strcmp(files[k].name, name) != 0) {
        k++;
    }
    if (k == FILES) {
        abort();
    }
    if (files[k].name == NULL) {
        files[k].name = name;
        files[k].fd   = make(name, path);
    }
    if (ftruncate(files[k].fd, 0) != 0 ||
        pwrite(files[k].fd, bytes, n, 0) != (ssize_t)n) {
        abort();
    }
    return path;
}
