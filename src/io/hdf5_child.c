/* The process that has a foreign file open. libhdf5 1.10 crashes on some damaged files,
 * does not end on others, and trusts sizes: here that costs this process alone. It first
 * tells all that the file holds but large arrays, then answers questions for these. */
#define _GNU_SOURCE /* close_range */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"
#include "io/hdf5_wire.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

enum {
    FREE_BYTES     = 64 << 20,
    BYTES_PER_BYTE = 64,
    BLOCK_BYTES    = 4 << 20, /* of values in one frame */
};

size_t pq_h5_budget(size_t file_bytes)
{
    const size_t most = (size_t)1 << 40;

    return FREE_BYTES + BYTES_PER_BYTE * (file_bytes < most ? file_bytes : most);
}

/* What the child works with. */
typedef struct {
    pq_h5     *file;
    pq_h5_room room;
    int        fd;
    size_t     file_bytes;
    bool is_limited; /* by its own budget, and not by a smaller limit of the user's */
} server;

/* A second for each megabyte, and two to begin with, for each question: the system counts
 * whole seconds. */
static void limit_time(size_t file_bytes)
{
    struct rusage used;
    struct rlimit cpu;

    (void)getrusage(RUSAGE_SELF, &used);
    (void)getrlimit(RLIMIT_CPU, &cpu);
    cpu.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 2 +
                   (rlim_t)(file_bytes >> 20);
    if (cpu.rlim_max == RLIM_INFINITY || cpu.rlim_cur < cpu.rlim_max) {
        (void)setrlimit(RLIMIT_CPU, &cpu);
    }
}

/* Sanitizers reserve terabytes of addresses, which leaves no limit to set. */
static bool limit_memory(size_t file_bytes)
{
    FILE         *f     = SANITIZED ? NULL : fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    struct rlimit memory;
    rlim_t        most;

    if (f == NULL || fscanf(f, "%lu", &pages) != 1) {
        (void)(f != NULL && fclose(f));
        return false;
    }
    (void)fclose(f);
    most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + pq_h5_budget(file_bytes);
    if (getrlimit(RLIMIT_AS, &memory) != 0 || memory.rlim_cur < most) {
        return false;
    }
    memory.rlim_cur = most;
    return setrlimit(RLIMIT_AS, &memory) == 0;
}

static void separate(int fd)
{
    static const int    fatal[]   = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
    static const int    ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    const int           null      = open("/dev/null", O_RDWR);
    const struct rlimit none      = {0, 0};
    sigset_t            all;

    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        (void)signal(fatal[i], SIG_DFL);
    }
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        (void)signal(ignored[i], SIG_IGN); /* it ends when its parent does */
    }
    (void)sigemptyset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i <= 2; i++) { /* what a dying library prints is not for users */
        (void)dup2(null, i);
    }
    (void)close_range(3, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, ~0U, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
}

static void fail(const server *s, const pq_err *err)
{
    pq_text text = {0};

    pq_h5_put_error(&text, err);
    if (text.failed || (err->code == PQ_ERR_NOMEM && s->is_limited)) {
        (void)pq_h5_send(s->fd, PQ_H5_TOO_LARGE, NULL, 0);
    } else {
        (void)pq_h5_send(s->fd, PQ_H5_FAILED, text.text, text.length);
    }
    pq_text_free(&text);
}

static bool tell(server *s, const char *path)
{
    pq_text text = {0};
    pq_err  err  = {0};
    bool    fine = pq_h5_local_open(path, true, &s->file, &err) == PQ_OK &&
                pq_h5_walk(s->file, s->room, &text, &err) == PQ_OK;

    if (fine) {
        fine = pq_h5_send(s->fd, PQ_H5_FINE, text.text, text.length);
    } else {
        fail(s, &err);
    }
    pq_text_free(&text);
    return fine;
}

static pq_status answer_texts(server *s, pq_h5_mark mark, const char *path, pq_err *err)
{
    pq_text   text  = {0};
    char    **texts = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_TRY(mark == PQ_H5_TEXTS ? pq_h5_local_read_texts(s->file, path, &texts, &n, err)
                               : pq_h5_local_columns(s->file, path, &texts, &n, err));
    pq_h5_put_number(&text, n);
    for (size_t i = 0; i < n; i++) {
        pq_h5_put_text(&text, texts[i]);
    }
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate texts");
    (void)pq_h5_send(s->fd, PQ_H5_FINE, text.text, text.length);
cleanup:
    pq_h5_free_texts(&texts, n);
    pq_text_free(&text);
    return st;
}

/* A question for values. */
typedef struct {
    const char  *path;
    bool         has_rows;
    pq_rows      rows;
    pq_dtype     dtype;
    size_t       item_bytes; /* of one row in memory */
    const char **names;      /* of columns; NULL: the dataset holds numbers */
    size_t       n_names;
} values;

static pq_status read_block(const server *s, const values *v, const pq_rows *rows,
                            void *out, pq_err *err)
{
    return v->names == NULL
               ? pq_h5_local_read_rows(s->file, v->path, rows, v->dtype, out, err)
               : pq_h5_local_read_columns(s->file, v->path, *rows, v->names, v->n_names,
                                          v->dtype, out, err);
}

/* Values in frames of some megabytes; without rows all of them in one. */
static pq_status answer_values(server *s, const values *v, pq_err *err)
{
    const size_t most  = v->item_bytes == 0 ? v->rows.n : BLOCK_BYTES / v->item_bytes;
    const size_t block = !v->has_rows ? 1 : most > 0 ? most : 1;
    const size_t n     = v->has_rows ? v->rows.n : 1;
    char        *out   = NULL;
    size_t       bytes = 0;
    pq_status    st    = PQ_OK;

    PQ_CHECK(!__builtin_mul_overflow(block < n ? block : n, v->item_bytes, &bytes),
             PQ_ERR_NOMEM, "cannot allocate values");
    PQ_NEW(out, bytes);
    for (size_t i = 0; i == 0 || i < n; i += block) { /* of no rows, one empty frame */
        const pq_rows rows = {v->rows.first + i, n - i < block ? n - i : block};
        PQ_TRY(read_block(s, v, v->has_rows ? &rows : NULL, out, err));
        if (!pq_h5_send(s->fd, PQ_H5_FINE, out, rows.n * v->item_bytes)) {
            break;
        }
        limit_time(s->file_bytes);
    }
cleanup:
    pq_free(out);
    return st;
}

/* The parent is trusted: its numbers are right. */
static pq_status answer(server *s, pq_h5_mark mark, pq_h5_cursor *question, pq_err *err)
{
    values     v = {.path = pq_h5_take_text(question)};
    pq_h5_info info;
    pq_status  st = PQ_OK;

    if (mark == PQ_H5_WHY) {
        PQ_TRY(pq_h5_local_describe(s->file, v.path, &info, err));
        (void)pq_h5_send(s->fd, PQ_H5_FINE, NULL, 0);
        return PQ_OK;
    }
    if (mark == PQ_H5_TEXTS || mark == PQ_H5_COLUMNS) {
        return answer_texts(s, mark, v.path, err);
    }
    v.has_rows   = pq_h5_take_number(question) != 0;
    v.rows.first = (size_t)pq_h5_take_number(question);
    v.rows.n     = (size_t)pq_h5_take_number(question);
    v.dtype      = (pq_dtype)pq_h5_take_number(question);
    v.item_bytes = (size_t)pq_h5_take_number(question);
    if (mark == PQ_H5_CELLS) {
        v.n_names = (size_t)pq_h5_take_number(question);
        PQ_NEW(v.names, v.n_names);
        for (size_t i = 0; i < v.n_names; i++) {
            v.names[i] = pq_h5_take_text(question);
        }
    }
    PQ_TRY(answer_values(s, &v, err));
cleanup:
    pq_free(v.names);
    return st;
}

/* Reads a question and answers it; false when nobody asks any more. */
static bool serve_one(server *s)
{
    pq_h5_head   head;
    pq_h5_cursor question;
    char        *bytes = NULL;
    pq_err       err   = {0};

    if (!pq_h5_read_bytes(s->fd, &head, sizeof head, 0)) {
        return false;
    }
    limit_time(s->file_bytes);
    bytes = pq_calloc(head.n + 1, 1);
    if (bytes == NULL || !pq_h5_read_bytes(s->fd, bytes, head.n, 0)) {
        return false;
    }
    question = (pq_h5_cursor){bytes, head.n, false};
    if (answer(s, (pq_h5_mark)head.mark, &question, &err) != PQ_OK) {
        fail(s, &err);
    }
    pq_free(bytes);
    return true;
}

void pq_h5_serve(const char *path, size_t file_bytes, int fd, pq_h5_room room)
{
    server s = {.fd = fd, .file_bytes = file_bytes, .room = room};

    pq_h5_take_over_lock();
    separate(fd);
    limit_time(file_bytes);
    pq_memory_fail_after(SIZE_MAX); /* a test's, and its parent's: not the file's cost */
    s.is_limited = limit_memory(file_bytes);
    if (tell(&s, path)) {
        while (serve_one(&s)) {
        }
    }
    _exit(0);
}
