#define _DEFAULT_SOURCE /* madvise */

#include "core/map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

static pq_status map_fd(int fd, pq_map *out)
{
    struct stat s  = {0};
    void       *at = NULL;

    if (fstat(fd, &s) != 0) {
        return pq_status_of_errno(errno);
    }
    if (s.st_size > 0) {
        at = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) {
            return pq_status_of_errno(errno);
        }
        /* Of a file that the system has in pages of 2 MB, any byte read would count as
         * all of them. */
        (void)madvise(at, (size_t)s.st_size, MADV_NOHUGEPAGE);
    }
    *out = (pq_map){at, (size_t)s.st_size};
    return PQ_OK;
}

pq_status pq_map_open(const char *path, pq_map *out, pq_err *err)
{
    const int fd = pq_file_open(path);
    pq_status st;

    PQ_CHECK(fd >= 0 || errno != ENOTSUP, PQ_ERR_FORMAT, "%s: is not a regular file",
             path);
    PQ_CHECK(fd >= 0, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    st = map_fd(fd, out);
    PQ_CHECK(st == PQ_OK, st, "%s: %s", path, strerror(errno));
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

pq_status pq_map_stream(FILE *file, pq_map *out, pq_err *err)
{
    pq_status st =
        fflush(file) == 0 ? map_fd(fileno(file), out) : pq_status_of_errno(errno);

    PQ_CHECK(st == PQ_OK, st, "a temporary file cannot be written: %s", strerror(errno));
cleanup:
    return st;
}

void pq_map_release(const uint8_t *at, size_t n)
{
    const uintptr_t page  = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = (uintptr_t)at / page * page;
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
