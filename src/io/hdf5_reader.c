/* A file that a child process has open: what the child told is kept (hdf5_told.c), values
 * of large arrays are asked for. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "io/hdf5_reader.h"
#include "io/hdf5_wire.h"

static pq_h5_reader *readers; /* under the lock of HDF5 */

static pq_status is_gone(pq_h5_reader *r, pq_err *err)
{
    return pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                      "%s: is damaged: libhdf5 crashes or does not end in reading it",
                      r->path);
}

/* Starts of frames: FINE leaves n bytes to be read, anything else is an error. Longest
 * wait: ten times the seconds of the processor that the child has. */
static pq_status hear(pq_h5_reader *r, size_t *n, pq_err *err)
{
    const size_t seconds = 20 + 10 * (r->file_bytes >> 20);
    pq_h5_head   head    = {0};
    char        *bytes   = NULL;
    pq_h5_cursor from;
    pq_status    st;

    if (!pq_h5_read_bytes(r->fd, &head, sizeof head, seconds)) {
        return is_gone(r, err);
    }
    PQ_CHECK(head.mark != PQ_H5_TOO_LARGE, PQ_ERR_FORMAT,
             "%s: is damaged: reading it takes more than the %zu MB that a file of %zu "
             "bytes may cost",
             r->path, pq_h5_budget(r->file_bytes) >> 20, r->file_bytes);
    PQ_CHECK((head.mark == PQ_H5_FINE && head.n <= pq_h5_budget(r->file_bytes)) ||
                 (head.mark == PQ_H5_FAILED && head.n < 1 << 16),
             PQ_ERR_FORMAT, "%s: is damaged: libhdf5 goes astray in it", r->path);
    *n = (size_t)head.n;
    if (head.mark == PQ_H5_FAILED) {
        PQ_NEW(bytes, head.n);
        if (!pq_h5_read_bytes(r->fd, bytes, head.n, seconds)) {
            st = is_gone(r, err);
            goto cleanup;
        }
        from = (pq_h5_cursor){bytes, head.n, false};
        st   = pq_h5_told_failure(&from, err);
    }
cleanup:
    pq_free(bytes);
    return st;
}

/* One frame, whole. */
static pq_status hear_all(pq_h5_reader *r, char **out, size_t *n, pq_err *err)
{
    char     *bytes = NULL;
    pq_status st;

    PQ_TRY(hear(r, n, err));
    PQ_NEW_UNSET(bytes, *n + 1);
    if (!pq_h5_read_bytes(r->fd, bytes, *n, 60)) {
        st = is_gone(r, err);
        goto cleanup;
    }
    *out  = bytes;
    bytes = NULL;
cleanup:
    pq_free(bytes);
    return st;
}

/* Tells the child to end, or lets go of another process's; nobody waits for it. */
static void stop_child(pq_h5_reader *r)
{
    if (r->fd > 0) {
        (void)close(r->fd);
        r->fd = 0;
    }
    if (r->child > 0 && r->owner == getpid()) {
        (void)kill(r->child, SIGKILL);
    }
}

/* Ends the child. */
static void end_child(pq_h5_reader *r)
{
    stop_child(r);
    if (r->child > 0 && r->owner == getpid()) {
        while (waitpid(r->child, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    r->child = 0;
}

static pq_status start_child(pq_h5_reader *r, pq_err *err)
{
    int       ends[2] = {-1, -1};
    pq_status st;

    PQ_CHECK(stat(r->path, &r->stamp) == 0, pq_status_of_errno(errno), "%s: %s", r->path,
             strerror(errno));
    r->file_bytes = (size_t)r->stamp.st_size;
    r->owner      = getpid();
    PQ_TRY(pq_h5_told_expect(&r->told, r->file_bytes, err));
    PQ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 &&
                 (r->child = fork()) >= 0,
             PQ_ERR_NOMEM, "%s: no process can be started to read it: %s", r->path,
             strerror(errno));
    if (r->child == 0) {
        pq_h5_serve(r->path, r->file_bytes, ends[1], r->told.room);
    }
    r->fd   = ends[0];
    ends[0] = -1;
    (void)close(ends[1]); /* its end is the sign that the child died */
    ends[1] = -1;
cleanup:
    (void)(ends[0] >= 0 && close(ends[0]));
    (void)(ends[1] >= 0 && close(ends[1]));
    return st;
}

static pq_status listen_first(pq_h5_reader *r, pq_err *err)
{
    size_t    n = 0;
    pq_status st;

    PQ_TRY(hear_all(r, &r->told.bytes, &n, err));
    PQ_TRY(pq_h5_told_take(&r->told, n, r->path, err));
    r->heard = true;
cleanup:
    return st;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* A reader that this process has for the file, by the name it is given now. */
static pq_h5_reader *open_already(const char *path)
{
    struct stat now;

    if (stat(path, &now) != 0) {
        return NULL;
    }
    for (pq_h5_reader *r = readers; r != NULL; r = r->next) {
        if (r->owner == getpid() && (r->fd > 0 || r->let_go) &&
            strcmp(r->path, path) == 0 && is_same_file(&r->stamp, &now)) {
            return r;
        }
    }
    return NULL;
}

pq_status pq_h5_reader_expect(const char *path, pq_h5_reader **out, pq_err *err)
{
    pq_h5_reader *r = open_already(path);
    pq_status     st;

    if (r != NULL) {
        r->users++;
        *out = r;
        return PQ_OK;
    }
    PQ_NEW(r, 1);
    r->users = 1;
    r->next  = readers;
    readers  = r;
    PQ_STRDUP(r->path, path);
    PQ_TRY(start_child(r, err));
    *out = r;
    r    = NULL;
cleanup:
    pq_h5_reader_stop(&r);
    return st;
}

pq_status pq_h5_reader_start(const char *path, pq_h5_reader **out, pq_err *err)
{
    pq_h5_reader *r = NULL;
    pq_status     st;

    PQ_TRY(pq_h5_reader_expect(path, &r, err));
    if (!r->heard) {
        PQ_TRY(listen_first(r, err));
        if (r->told.whole) {
            stop_child(r);
            r->let_go = true;
        }
    }
    *out = r;
    r    = NULL;
cleanup:
    pq_h5_reader_stop(&r);
    return st;
}

void pq_h5_reader_stop(pq_h5_reader **reader)
{
    pq_h5_reader *r = *reader, **at = &readers;

    *reader = NULL;
    if (r == NULL || --r->users > 0) {
        return;
    }
    while (*at != r) {
        at = &(*at)->next;
    }
    *at = r->next;
    end_child(r);
    pq_h5_told_free(&r->told);
    pq_free(r->path);
    pq_free(r);
}

/* A child serves the process that started it: one that was forked since gets its own, and
 * so does who asks when it was let go. */
static pq_status ask(pq_h5_reader *r, pq_h5_mark mark, const pq_text *question,
                     pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(!question->failed, PQ_ERR_NOMEM, "cannot allocate a question");
    if (r->owner != getpid() || r->let_go) {
        const struct stat before = r->stamp;
        end_child(r);
        r->let_go = false;
        pq_h5_told_free(&r->told);
        PQ_TRY(start_child(r, err));
        PQ_TRY(listen_first(r, err));
        PQ_CHECK(is_same_file(&before, &r->stamp), PQ_ERR_IO,
                 "%s: has changed since it was opened", r->path);
    }
    if (r->fd <= 0 || !pq_h5_send(r->fd, mark, question->text, question->length)) {
        st = is_gone(r, err);
    }
cleanup:
    return st;
}

pq_status pq_h5_reader_find(pq_h5_reader *r, const char *path, pq_h5_told_object **out,
                            pq_err *err)
{
    pq_err why = {0};

    *out = pq_h5_told_find(&r->told, r->path, path, &why);
    if (*out != NULL) {
        return PQ_OK;
    }
    return pq_err_set(err, why.code, __FILE__, __LINE__, "%s", why.message);
}

static pq_status own_failure(const pq_h5_told_object *o, pq_err *err)
{
    if (o->st == PQ_OK) {
        return PQ_OK;
    }
    (void)pq_err_set(err, o->st, __FILE__, __LINE__, "%s", o->message);
    if (o->hint[0] != '\0') {
        pq_err_hint(err, "%s", o->hint);
    }
    return o->st;
}

bool pq_h5_reader_has(pq_h5_reader *r, const char *path)
{
    return pq_h5_told_find(&r->told, r->path, path, NULL) != NULL;
}

pq_h5_class pq_h5_reader_kind(pq_h5_reader *r, const char *path)
{
    const pq_h5_told_object *o = pq_h5_told_find(&r->told, r->path, path, NULL);

    return o != NULL ? o->info.kind : PQ_H5_OTHER;
}

pq_status pq_h5_reader_describe(pq_h5_reader *r, const char *path, pq_h5_info *out,
                                pq_err *err)
{
    pq_text            question = {0};
    pq_h5_told_object *o;
    size_t             n;
    pq_status          st;

    PQ_TRY(pq_h5_reader_find(r, path, &o, err));
    if (o->info.kind != PQ_H5_GROUP &&
        o->st != PQ_OK) { /* in words that name this path */
        pq_h5_put_text(&question, path);
        PQ_TRY(ask(r, PQ_H5_WHY, &question, err));
        PQ_TRY(hear(r, &n, err));
        PQ_TRY(pq_h5_reader_find(r, path, &o, err)); /* a new child tells anew */
        PQ_TRY(own_failure(o, err));
    }
    *out = o->info;
cleanup:
    pq_text_free(&question);
    return st;
}

pq_status pq_h5_reader_list(pq_h5_reader *r, const char *group, char ***names, size_t *n,
                            pq_err *err)
{
    pq_h5_told_object *o    = NULL;
    char             **list = NULL;
    size_t             have = 0;
    pq_status          st;

    PQ_TRY(pq_h5_reader_find(r, group, &o, err));
    PQ_CHECK(o->info.kind == PQ_H5_GROUP, PQ_ERR_FORMAT, "%s: %s is not a group", r->path,
             group);
    PQ_TRY(own_failure(o, err));
    PQ_NEW(list, o->n_links);
    for (have = 0; have < o->n_links; have++) {
        PQ_STRDUP(list[have], o->links[have].name);
    }
    *names = list;
    *n     = have;
    list   = NULL;
cleanup:
    pq_h5_free_texts(&list, have);
    return st;
}

pq_status pq_h5_reader_names(pq_h5_reader *r, const char *path, bool columns, char ***out,
                             size_t *n, pq_err *err)
{
    pq_h5_told_object *o;
    pq_text            question = {0};
    char              *bytes    = NULL;
    size_t             size     = 0;
    pq_h5_cursor       from;
    pq_status          st;

    PQ_TRY(pq_h5_reader_find(r, path, &o, err));
    pq_h5_put_text(&question, path);
    PQ_TRY(ask(r, columns ? PQ_H5_COLUMNS : PQ_H5_TEXTS, &question, err));
    PQ_TRY(hear_all(r, &bytes, &size, err));
    from = (pq_h5_cursor){bytes, size, false};
    *n   = pq_h5_take_count(&from, 9);
    PQ_TRY(pq_h5_take_texts(&from, *n, out, err));
cleanup:
    pq_text_free(&question);
    pq_free(bytes);
    return st;
}

/* Receives frames until n bytes are there; of none, one that is empty. */
static pq_status hear_values(pq_h5_reader *r, char *out, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    do {
        size_t piece = 0;

        PQ_TRY(hear(r, &piece, err));
        PQ_CHECK(piece <= n && (piece > 0 || n == 0), PQ_ERR_FORMAT,
                 "%s: is damaged: libhdf5 goes astray in it", r->path);
        if (!pq_h5_read_bytes(r->fd, out, piece, 60)) {
            st = is_gone(r, err);
            goto cleanup;
        }
        out += piece;
        n -= piece;
    } while (n > 0);
cleanup:
    return st;
}

/* Bytes of one row in memory, or without rows of all; 0 where there are none. */
static pq_status item_bytes(pq_h5_reader *r, const char *path, const pq_h5_info *info,
                            bool has_rows, size_t each, size_t *out, pq_err *err)
{
    pq_status st;

    *out = each;
    for (size_t i = has_rows ? 1 : 0; i < info->shape.ndim; i++) {
        PQ_CHECK(!__builtin_mul_overflow(*out, info->shape.dim[i], out), PQ_ERR_FORMAT,
                 "%s: %s declares more values than any file holds", r->path, path);
    }
    st = PQ_OK;
cleanup:
    return st;
}

static pq_status check_rows(pq_h5_reader *r, const char *path, const pq_h5_info *info,
                            const pq_rows *rows, pq_err *err)
{
    const size_t have = info->shape.ndim == 0 ? 0 : info->shape.dim[0];
    pq_status    st;

    PQ_CHECK(info->shape.ndim >= 1 && rows->n <= have && rows->first <= have - rows->n,
             PQ_ERR_RANGE, "%s: %s has no rows %zu..%zu; it has %zu", r->path, path,
             rows->first, rows->first + rows->n, have);
cleanup:
    return st;
}

static void put_question(pq_text *to, const char *path, const pq_rows *rows,
                         pq_dtype dtype, size_t each)
{
    pq_h5_put_text(to, path);
    pq_h5_put_number(to, rows != NULL);
    pq_h5_put_number(to, rows != NULL ? rows->first : 0);
    pq_h5_put_number(to, rows != NULL ? rows->n : 1);
    pq_h5_put_number(to, dtype);
    pq_h5_put_number(to, each);
}

pq_status pq_h5_reader_rows(pq_h5_reader *r, const char *path, const pq_rows *rows,
                            const char *const *names, size_t n_names, pq_dtype dtype,
                            void *out, pq_err *err)
{
    const bool         has_rows = rows != NULL;
    pq_text            question = {0};
    pq_h5_info         info;
    pq_h5_told_object *o;
    size_t             each  = pq_dtype_bytes(dtype) * (names != NULL ? n_names : 1);
    size_t             total = 0;
    pq_status          st;

    PQ_TRY(pq_h5_reader_describe(r, path, &info, err));
    PQ_CHECK(info.kind != PQ_H5_GROUP, PQ_ERR_FORMAT, "%s: %s is a group, not a dataset",
             r->path, path);
    if (has_rows) {
        PQ_TRY(check_rows(r, path, &info, rows, err));
    }
    PQ_TRY(item_bytes(r, path, &info, has_rows, each, &each, err));
    PQ_CHECK(!__builtin_mul_overflow(each, has_rows ? rows->n : 1, &total), PQ_ERR_FORMAT,
             "%s: %s declares more values than any file holds", r->path, path);
    PQ_TRY(pq_h5_reader_find(r, path, &o, err));
    if (o->values != NULL && names == NULL && o->dtype == dtype) {
        memcpy(out, o->values + (has_rows ? rows->first * each : 0), total);
        goto cleanup;
    }
    put_question(&question, path, rows, dtype, each);
    if (names != NULL) {
        pq_h5_put_number(&question, n_names);
    }
    for (size_t i = 0; names != NULL && i < n_names; i++) {
        pq_h5_put_text(&question, names[i]);
    }
    PQ_TRY(ask(r, names != NULL ? PQ_H5_CELLS : PQ_H5_ROWS, &question, err));
    PQ_TRY(hear_values(r, out, total, err));
cleanup:
    pq_text_free(&question);
    return st;
}
