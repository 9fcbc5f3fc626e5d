#define _GNU_SOURCE
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"

enum { WAIT_S = 600 };

pq_status pq_results_lock(const char *dir, int *lock, pq_err *err)
{
    const struct timespec pause = {0, 10000000};
    const double          start = pq_clock_wall_s();
    char                 *path  = pq_path_join(dir, ".lock");
    int                   fd, got;
    pq_status             st = PQ_OK;

    *lock = -1;
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) { /* what is written next says why */
        goto cleanup;
    }
    while ((got = flock(fd, LOCK_EX | LOCK_NB)) != 0 &&
           (errno == EWOULDBLOCK || errno == EINTR) &&
           pq_clock_wall_s() - start < WAIT_S) {
        (void)nanosleep(&pause, NULL);
    }
    if (got == 0) {
        *lock = fd;
        goto cleanup;
    }
    got = errno;
    (void)close(fd);
    PQ_CHECK(got != EWOULDBLOCK, PQ_ERR_IO,
             "%s: another process has been making the tables of this folder for %d "
             "minutes",
             path, WAIT_S / 60);
cleanup:
    pq_free(path);
    return st;
}

void pq_results_unlock(int *lock)
{
    if (*lock >= 0) {
        (void)close(*lock);
        *lock = -1;
    }
}
