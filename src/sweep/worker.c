#define _GNU_SOURCE
#include "sweep/worker.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"

/* What libraries take for themselves, e.g. OpenBLAS for its buffers. */
static const double ROOM_BYTES = 128e6;

/* Address space of this process. */
static double address_space(void)
{
    FILE  *file  = fopen("/proc/self/statm", "r");
    double pages = 0.0;

    if (file != NULL && fscanf(file, "%lf", &pages) != 1) {
        pages = 0.0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return pages * (double)sysconf(_SC_PAGESIZE);
}

/* In the child: nothing of it outlives the parent, and the parent alone hears Ctrl-C. */
static void settle(pid_t parent, pq_worker_limits limits)
{
    struct rlimit core = {0};

    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGTERM, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    (void)setrlimit(RLIMIT_CORE, &core);
    if (limits.memory_bytes > 0.0) {
        const struct rlimit memory = {(rlim_t)limits.memory_bytes,
                                      (rlim_t)limits.memory_bytes};
        (void)setrlimit(RLIMIT_AS, &memory);
    }
}

/* Since Linux 5.3; without it waiting is looking again and again. */
static int open_end(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0U);
#else
    (void)pid;
    return -1;
#endif
}

static void release(pq_worker *w)
{
    if (w->ended >= 0) {
        (void)close(w->ended);
    }
    (void)munmap(w->shared, sizeof *w->shared);
    *w = (pq_worker){0};
}

pq_status pq_worker_start(pq_worker *w, pq_work run, void *context,
                          pq_worker_limits limits, pq_err *err)
{
    const pid_t parent = getpid();
    void       *shared = mmap(NULL, sizeof *w->shared, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t       pid    = -1;
    pq_status   st;

    PQ_CHECK(shared != MAP_FAILED, PQ_ERR_NOMEM, "cannot share memory with a process");
    *w  = (pq_worker){0, -1, pq_clock_wall_s(), limits, shared};
    pid = fork();
    if (pid < 0) {
        release(w);
        PQ_FAIL(pq_status_of_errno(errno), "cannot start a process: %s", strerror(errno));
    }
    if (pid == 0) {
        pq_err why            = {0};
        w->shared->base_bytes = address_space();
        settle(parent, limits);
        st = run(context, &why);
        if (st != PQ_OK) {
            why.code = st;
        }
        w->shared->why = why;
        _exit(st == PQ_OK ? 0 : 1);
    }
    w->pid   = pid;
    w->ended = open_end(pid);
cleanup:
    return st;
}

/* Libraries that find no room at all end the process instead of failing. */
static bool is_starved(const pq_worker *w)
{
    return w->limits.memory_bytes > 0.0 &&
           w->limits.memory_bytes < w->shared->base_bytes + ROOM_BYTES;
}

/* What an exit status means. */
static pq_worker_state judge(const pq_worker *w, int status, pq_err *why)
{
    char limit[32], base[32];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return PQ_WORKER_OK;
    }
    if (is_starved(w) && (WIFSIGNALED(status) || w->shared->why.code == PQ_OK)) {
        (void)pq_err_set(why, PQ_ERR_NOMEM, __FILE__, __LINE__,
                         "limits.memory = %s leaves nothing: a cell's process has %s of "
                         "address space before it begins, and libraries need some",
                         pq_bytes_text(w->limits.memory_bytes, limit, sizeof limit),
                         pq_bytes_text(w->shared->base_bytes, base, sizeof base));
        return PQ_WORKER_OOM;
    }
    if (WIFSIGNALED(status)) {
        (void)pq_err_set(why, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "crashed: signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
        return PQ_WORKER_CRASHED;
    }
    if (w->shared->why.code == PQ_OK) {
        (void)pq_err_set(why, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "crashed: exit code %d without a reason", WEXITSTATUS(status));
        return PQ_WORKER_CRASHED;
    }
    *why = w->shared->why;
    return why->code == PQ_ERR_NOMEM ? PQ_WORKER_OOM : PQ_WORKER_FAILED;
}

pq_worker_state pq_worker_poll(pq_worker *w, pq_err *why)
{
    pq_worker_state state = PQ_WORKER_RUNNING;
    char            limit[32];
    int             status = 0;
    pid_t           ended;

    if (w->pid == 0) {
        return PQ_WORKER_IDLE;
    }
    ended = waitpid(w->pid, &status, WNOHANG);
    if (ended == w->pid) {
        state = judge(w, status, why);
        release(w);
    } else if (ended < 0 && errno != EINTR) {
        (void)pq_err_set(why, PQ_ERR_NUMERIC, __FILE__, __LINE__, "crashed: %s",
                         strerror(errno));
        release(w);
        state = PQ_WORKER_CRASHED;
    } else if (w->limits.timeout_s > 0.0 &&
               pq_clock_wall_s() - w->start_s > w->limits.timeout_s) {
        (void)pq_err_set(why, PQ_ERR_RANGE, __FILE__, __LINE__,
                         "stopped after the time limit of %s",
                         pq_seconds_text(w->limits.timeout_s, limit, sizeof limit));
        pq_worker_stop(w);
        state = PQ_WORKER_TIMEOUT;
    }
    return state;
}

void pq_workers_wait(const pq_worker *const *workers, size_t n, double seconds)
{
    enum { AT_ONCE = 64 };
    struct pollfd   ends[AT_ONCE];
    nfds_t          k = 0;
    struct timespec pause;

    for (size_t i = 0; i < n; i++) {
        if (workers[i]->pid == 0) {
            continue;
        }
        if (workers[i]->ended < 0 || k == AT_ONCE) { /* of this one nothing is heard */
            seconds = fmin(seconds, 0.002);
            continue;
        }
        ends[k++] = (struct pollfd){.fd = workers[i]->ended, .events = POLLIN};
    }
    pause = (struct timespec){(time_t)seconds, (long)(fmod(seconds, 1.0) * 1e9)};
    (void)ppoll(ends, k, &pause, NULL);
}

void pq_worker_stop(pq_worker *w)
{
    int status;

    if (w->pid != 0) {
        (void)kill(w->pid, SIGKILL);
        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {
        }
        release(w);
    }
}

static void write_note(void *context, const char *what, size_t done, size_t total,
                       const char *note)
{
    pq_worker_shared *shared = ((pq_worker *)context)->shared;

    (void)atomic_fetch_add(&shared->turn, 1);
    (void)snprintf(shared->note, sizeof shared->note, "%zu/%zu %s%s%s", done, total, what,
                   note != NULL ? ", " : "", note != NULL ? note : "");
    (void)atomic_fetch_add(&shared->turn, 1);
}

pq_progress pq_worker_progress(pq_worker *w)
{
    return (pq_progress){.report = write_note, .context = w};
}

bool pq_worker_note(const pq_worker *w, char note[PQ_WORKER_NOTE])
{
    unsigned turn;

    if (w->pid == 0 || (turn = atomic_load(&w->shared->turn)) == 0 || turn % 2 == 1) {
        return false;
    }
    memcpy(note, w->shared->note, PQ_WORKER_NOTE);
    note[PQ_WORKER_NOTE - 1] = '\0';
    return atomic_load(&w->shared->turn) == turn;
}

const char *pq_worker_state_name(pq_worker_state state)
{
    static const char *const names[] = {"idle",    "running", "ok",     "failed",
                                        "timeout", "oom",     "crashed"};

    return names[state];
}
