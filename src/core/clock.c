#include "core/clock.h"

#include <time.h>

static double seconds(clockid_t id)
{
    struct timespec t = {0};

    (void)clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double pq_clock_wall_s(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double pq_clock_thread_s(void)
{
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

char *pq_clock_date(char *buffer, size_t size)
{
    const time_t now = time(NULL);
    struct tm    utc = {0};

    (void)gmtime_r(&now, &utc);
    if (strftime(buffer, size, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        buffer[0] = '\0';
    }
    return buffer;
}
