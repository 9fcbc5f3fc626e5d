#define _GNU_SOURCE
#include "cli/doctor_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"
#include "metrics/tests.h"

static void read_governor(char out[64])
{
    FILE *file = pq_file_stream("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");

    out[0] = '\0';
    if (file != NULL) {
        if (fgets(out, 64, file) == NULL) {
            out[0] = '\0';
        }
        (void)fclose(file);
    }
    out[strcspn(out, "\n")] = '\0';
}

static bool can_count(void)
{
    struct perf_event_attr what = {.type           = PERF_TYPE_HARDWARE,
                                   .size           = sizeof what,
                                   .config         = PERF_COUNT_HW_INSTRUCTIONS,
                                   .exclude_kernel = 1};
    const int              fd = (int)syscall(SYS_perf_event_open, &what, 0, -1, -1, 0UL);

    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

static bool can_pin(void)
{
    cpu_set_t now, one;

    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof now, &now) != 0) {
        return false;
    }
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &now)) {
            CPU_SET(i, &one);
            break;
        }
    }
    return sched_setaffinity(0, sizeof one, &one) == 0 &&
           sched_setaffinity(0, sizeof now, &now) == 0;
}

/* Seconds of a fixed piece of work. */
static double work_s(void)
{
    enum { STEPS = 40000 };
    static volatile double sink  = 1.0;
    const double           start = pq_clock_wall_s();
    double                 x     = sink;

    for (int i = 0; i < STEPS; i++) {
        x = x * 0.999999 + 1e-6;
    }
    sink = x;
    return pq_clock_wall_s() - start;
}

/* The same work against itself, in turn, as models are timed. */
static double aa_noise(void)
{
    enum { TRIALS = 20, SAMPLES = 30 };
    double noise[TRIALS];

    for (size_t t = 0; t < TRIALS; t++) {
        double a[SAMPLES], b[SAMPLES];
        for (size_t i = 0; i < SAMPLES; i++) {
            a[i] = work_s();
            b[i] = work_s();
        }
        noise[t] = fabs(pq_median_of(a, SAMPLES) / pq_median_of(b, SAMPLES) - 1.0);
    }
    (void)pq_median_of(noise, TRIALS); /* sorts */
    return noise[TRIALS * 9 / 10];
}

void pq_doctor_host(json_t *facts)
{
    char governor[64];

    read_governor(governor);
    (void)json_object_set_new(facts, "governor", json_string(governor));
    (void)json_object_set_new(facts, "counters", json_boolean(can_count()));
    (void)json_object_set_new(facts, "pinning", json_boolean(can_pin()));
    (void)json_object_set_new(facts, "aa_noise", json_real(aa_noise()));
}

/* Whether a lock of this process keeps another out. */
static bool locks_hold(const char *path)
{
    const int fd   = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool      hold = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    int       code = 0;
    pid_t     pid  = hold ? fork() : -1;

    if (pid == 0) {
        const int other = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        _exit(other >= 0 && flock(other, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
                  ? 0
                  : 1);
    }
    hold = pid > 0 && waitpid(pid, &code, 0) == pid && WIFEXITED(code) &&
           WEXITSTATUS(code) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return hold;
}

static bool links_are_made_once(const char *path)
{
    const bool once =
        symlink("one", path) == 0 && symlink("two", path) != 0 && errno == EEXIST;

    (void)unlink(path);
    return once;
}

pq_status pq_doctor_folder(const char *dir, json_t *facts, pq_err *err)
{
    char     *path = pq_format("%s/.doctor.%ld", dir, (long)getpid());
    char     *link = pq_format("%s/.doctor.%ld.link", dir, (long)getpid());
    double    start;
    pq_status st;

    PQ_CHECK(path != NULL && link != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    start = pq_clock_wall_s();
    PQ_TRY(pq_file_write(path, "x", 1, err));
    (void)json_object_set_new(facts, "folder_sync_ms",
                              json_real(1e3 * (pq_clock_wall_s() - start)));
    (void)json_object_set_new(facts, "folder_locks", json_boolean(locks_hold(path)));
    (void)json_object_set_new(facts, "folder_links",
                              json_boolean(links_are_made_once(link)));
    (void)unlink(path);
cleanup:
    pq_free(path);
    pq_free(link);
    return st;
}
