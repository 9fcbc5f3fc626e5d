#define _GNU_SOURCE /* memfd_create */

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const char *pq_fuzz_file(const uint8_t *bytes, size_t n, const char *suffix)
{
    static int  fd = -1;
    static char target[64], path[128];

    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        (void)snprintf(target, sizeof target, "/proc/%ld/fd/%d", (long)getpid(), fd);
        (void)snprintf(path, sizeof path, "/tmp/pq-fuzz-%ld%s", (long)getpid(), suffix);
        (void)unlink(path);
        if (fd < 0 || symlink(target, path) != 0) {
            abort();
        }
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n) {
        abort();
    }
    return path;
}
