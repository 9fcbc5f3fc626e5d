#include "sweep/stamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SETTLED_S = 2 };

static bool later(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void add_times(pq_stamp *s, const char *path, const struct stat *is)
{
    char text[192];

    (void)snprintf(text, sizeof text, "%llu %llu %lld %lld.%09ld %lld.%09ld",
                   (unsigned long long)is->st_dev, (unsigned long long)is->st_ino,
                   (long long)is->st_size, (long long)is->st_mtim.tv_sec,
                   is->st_mtim.tv_nsec, (long long)is->st_ctim.tv_sec,
                   is->st_ctim.tv_nsec);
    pq_hash_text(&s->hash, path);
    pq_hash_text(&s->hash, text);
    s->newest = later(is->st_ctim, s->newest) ? is->st_ctim : s->newest;
}

void pq_stamp_start(pq_stamp *s)
{
    *s = (pq_stamp){0};
    pq_hash_start(&s->hash);
}

void pq_stamp_add(pq_stamp *s, const char *path)
{
    char       *whole = realpath(path, NULL); /* the C library's own block */
    struct stat is;

    if (whole != NULL && stat(whole, &is) == 0) {
        add_times(s, whole, &is);
    } else {
        s->missing = true;
        pq_hash_text(&s->hash, path);
    }
    free(whole);
}

void pq_stamp_end(pq_stamp *s, char out[PQ_HASH_TEXT])
{
    pq_hash_end(&s->hash, out);
}

bool pq_stamp_settled(const pq_stamp *s)
{
    return !s->missing && time(NULL) - s->newest.tv_sec >= SETTLED_S;
}

bool pq_stamp_since(const pq_stamp *s, struct timespec start)
{
    return later(s->newest, start);
}
