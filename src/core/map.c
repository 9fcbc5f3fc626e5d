#define _DEFAULT_SOURCE /* madvise */

#include "core/map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

pq_status pq_map_open(const char *path, pq_map *out, pq_err *err)
{
    const int   fd = pq_file_open(path);
    struct stat s  = {0};
    void       *at = NULL;
    pq_status   st;

    PQ_CHECK(fd >= 0 || errno != ENOTSUP, PQ_ERR_FORMAT, "%s: is not a regular file",
             path);
    PQ_CHECK(fd >= 0 && fstat(fd, &s) == 0, pq_status_of_errno(errno), "%s: %s", path,
             strerror(errno));
    if (s.st_size > 0) {
        at = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        PQ_CHECK(at != MAP_FAILED, pq_status_of_errno(errno), "%s: %s", path,
                 strerror(errno));
    }
    *out = (pq_map){at, (size_t)s.st_size};
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

void pq_map_release(const uint8_t *at, size_t n)
{
    const uintptr_t page  = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)at + page - 1) / page * page;
    const uintptr_t end   = ((uintptr_t)at + n) / page * page;

    if (end > first) {
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
    }
}

void pq_map_close(pq_map *map)
{
    if (map->n > 0) {
        (void)munmap((void *)(uintptr_t)map->at, map->n);
    }
    *map = (pq_map){0};
}
