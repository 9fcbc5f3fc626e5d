#define _GNU_SOURCE
#include "store/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/process.h"
#include "core/text.h"

enum { NAME_BYTES = 200, TURNS_MAX = 1000 };

static const double BEAT_S = 5.0;

struct pq_claims {
    char  *path;              /* of the folder */
    int    folder;            /* its descriptor */
    char   place[NAME_BYTES]; /* "<host>.<PID namespace>." of this process */
    char   me[NAME_BYTES];    /* "<place><pid>.<start>" */
    double beaten_s;          /* when this process last said that it is alive */
    bool   useless;           /* no symbolic links here */
};

static void name_worker(pq_claims *c)
{
    char        host[64] = "host";
    struct stat space    = {0};

    (void)gethostname(host, sizeof host - 1);
    (void)stat("/proc/self/ns/pid", &space);
    (void)snprintf(c->place, sizeof c->place, "%s.%llu.", host,
                   (unsigned long long)space.st_ino);
    (void)snprintf(c->me, sizeof c->me, "%.120s%ld.%llu", c->place, (long)getpid(),
                   pq_process_start((long)getpid()));
}

static void name_alive(const char *worker, char out[NAME_BYTES + 8])
{
    (void)snprintf(out, NAME_BYTES + 8, "%.199s.alive", worker);
}

/* Touches this worker's file, making it if it is not there. */
static pq_status beat(pq_claims *c, pq_err *err)
{
    char      name[NAME_BYTES + 8];
    int       fd;
    pq_status st = PQ_OK;

    name_alive(c->me, name);
    fd = openat(c->folder, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    PQ_CHECK(fd >= 0 && futimens(fd, NULL) == 0, pq_status_of_errno(errno),
             "%s/%s: cannot be written: %s", c->path, name, strerror(errno));
    c->beaten_s = pq_clock_wall_s();
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

pq_status pq_claims_open(const char *dir, pq_claims **out, pq_err *err)
{
    pq_claims *c = NULL;
    pq_status  st;

    PQ_NEW(c, 1);
    c->folder = -1;
    PQ_TRY(pq_folder_make_inside(dir, "claims", &c->path, err));
    c->folder = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    PQ_CHECK(c->folder >= 0, pq_status_of_errno(errno), "%s: %s", c->path,
             strerror(errno));
    name_worker(c);
    PQ_TRY(beat(c, err));
    *out = c;
    c    = NULL;
cleanup:
    pq_claims_close(&c);
    return st;
}

void pq_claims_beat(pq_claims *c)
{
    if (fabs(pq_clock_wall_s() - c->beaten_s) > BEAT_S) {
        (void)beat(c, NULL); /* a disk that is full: told by what is written next */
    }
}

static void name_claim(const char *key, int turn, char out[NAME_BYTES])
{
    (void)snprintf(out, NAME_BYTES, "%.64s.%d", key, turn);
}

/* Who holds a claim; false where there is none. */
static bool holder(const pq_claims *c, const char *name, char worker[NAME_BYTES])
{
    const ssize_t n = readlinkat(c->folder, name, worker, NAME_BYTES - 1);

    worker[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* "<pid>.<start>" of this host. */
static bool process_gone(const char *process)
{
    char                    *end  = NULL;
    const long               pid  = strtol(process, &end, 10);
    const unsigned long long then = *end == '.' ? strtoull(end + 1, NULL, 10) : 0;

    return pid <= 0 || pq_process_gone(pid, then);
}

/* Seconds by which a worker's file is older than this one's, by the file system's clock;
 * opened, for what NFS remembers of a file is up to a minute old. */
static double silence_s(pq_claims *c, const char *worker)
{
    const char *const who[] = {c->me, worker};
    double            at[2] = {0.0, -1e18};

    pq_claims_beat(c);
    for (int i = 0; i < 2; i++) {
        char        name[NAME_BYTES + 8];
        struct stat is;
        int         fd;
        name_alive(who[i], name);
        fd = openat(c->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0 && fstat(fd, &is) == 0) {
            at[i] = (double)is.st_mtim.tv_sec;
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return at[0] - at[1];
}

static bool is_dead(pq_claims *c, const char *worker)
{
    const size_t n = strlen(c->place);

    if (strcmp(worker, c->me) == 0) {
        return false;
    }
    if (strchr(worker, '/') != NULL ||
        (strncmp(worker, c->place, n) == 0 && process_gone(worker + n))) {
        return true;
    }
    /* in the future: of a clock that was set back, and not touched since */
    return fabs(silence_s(c, worker)) > PQ_CLAIM_STALE_S;
}

pq_status pq_claim_take(pq_claims *c, const char *key, bool *taken, pq_err *err)
{
    char      name[NAME_BYTES], worker[NAME_BYTES];
    pq_status st = PQ_OK;

    *taken = c->useless;
    for (int turn = 0; !c->useless && turn < TURNS_MAX; turn++) {
        name_claim(key, turn, name);
        if (symlinkat(c->me, c->folder, name) == 0) {
            *taken = true;
            break;
        }
        if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) {
            c->useless = *taken = true;
            break;
        }
        PQ_CHECK(errno == EEXIST, pq_status_of_errno(errno),
                 "%s/%s: cannot be written: %s", c->path, name, strerror(errno));
        errno = 0;
        if (!holder(c, name, worker)) {
            turn -= errno == ENOENT; /* given back just now */
        } else if (!is_dead(c, worker)) {
            break;
        }
    }
cleanup:
    return st;
}

/* Removes claims on a key from the last turn down: only of this worker, or of all. */
static void remove_claims(pq_claims *c, const char *key, bool all)
{
    char name[NAME_BYTES], worker[NAME_BYTES];
    int  turns = 0;

    for (; turns < TURNS_MAX; turns++) {
        name_claim(key, turns, name);
        if (!holder(c, name, worker)) {
            break;
        }
    }
    while (turns-- > 0) {
        name_claim(key, turns, name);
        if (holder(c, name, worker) && (all || strcmp(worker, c->me) == 0)) {
            (void)unlinkat(c->folder, name, 0);
        }
    }
}

void pq_claim_drop(pq_claims *c, const char *key)
{
    remove_claims(c, key, false);
}

void pq_claim_clear(pq_claims *c, const char *key)
{
    remove_claims(c, key, true);
}

/* Whether a claim of the next turn is there. */
static bool has_next(const pq_claims *c, const char *name)
{
    const char *dot  = strrchr(name, '.');
    const long  turn = strtol(dot + 1, NULL, 10);
    char        next[NAME_BYTES + 16], worker[NAME_BYTES];

    (void)snprintf(next, sizeof next, "%.*s.%ld", (int)(dot - name), name,
                   turn < TURNS_MAX ? turn + 1 : 0L); /* others are nobody's turn */
    return holder(c, next, worker);
}

/* Whether a file of the folder is this worker's, or one of a dead one that nobody needs.
 */
static bool is_left(pq_claims *c, const char *name, bool dead)
{
    static const char ending[] = ".alive";
    const size_t      n = strlen(name), tail = sizeof ending - 1;
    char              worker[NAME_BYTES] = "";

    if (holder(c, name, worker)) {
        return strcmp(worker, c->me) == 0 || (dead && strchr(name, '.') != NULL &&
                                              !has_next(c, name) && is_dead(c, worker));
    }
    if (n <= tail || n - tail >= NAME_BYTES || strcmp(name + n - tail, ending) != 0) {
        return false;
    }
    memcpy(worker, name, n - tail);
    worker[n - tail] = '\0';
    return dead && is_dead(c, worker);
}

/* @return whether anything was removed */
static bool remove_left(pq_claims *c, bool dead)
{
    struct dirent *entry;
    DIR           *folder  = opendir(c->path);
    bool           removed = false;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.' && is_left(c, entry->d_name, dead)) {
            removed = unlinkat(c->folder, entry->d_name, 0) == 0 || removed;
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return removed;
}

void pq_claims_tidy(pq_claims *c)
{
    /* a claim goes after that of the next turn, in whatever order they are listed */
    for (int turn = 0; turn < TURNS_MAX && remove_left(c, true); turn++) {
    }
}

void pq_claims_close(pq_claims **claims)
{
    pq_claims *c = *claims;
    char       name[NAME_BYTES + 8];

    if (c == NULL) {
        return;
    }
    if (c->folder >= 0) {
        (void)remove_left(c, false);
        name_alive(c->me, name);
        (void)unlinkat(c->folder, name, 0);
        (void)close(c->folder);
        (void)rmdir(c->path); /* unless others are at work */
    }
    pq_free(c->path);
    pq_free(c);
    *claims = NULL;
}
