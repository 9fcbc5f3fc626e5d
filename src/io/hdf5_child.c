/* The process that has a foreign file open. libhdf5 1.10 crashes on some damaged files,
 * does not end on others, and trusts sizes: here that costs this process alone. It first
 * tells all that the file holds but values, then answers questions for these. */
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
    pq_h5 *file;
    int    fd;
    size_t file_bytes;
    bool   is_limited; /* by its own budget, and not by a smaller limit of the user's */
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

static void put_error(pq_text *to, const pq_err *err)
{
    pq_h5_put_number(to, (uint64_t)err->code);
    pq_h5_put_text(to, err->message);
    pq_h5_put_text(to, err->hint);
}

static void fail(const server *s, const pq_err *err)
{
    pq_text text = {0};

    put_error(&text, err);
    if (text.failed || (err->code == PQ_ERR_NOMEM && s->is_limited)) {
        (void)pq_h5_send(s->fd, PQ_H5_TOO_LARGE, NULL, 0);
    } else {
        (void)pq_h5_send(s->fd, PQ_H5_FAILED, text.text, text.length);
    }
    pq_text_free(&text);
}

/* An object and the first path that leads to it. */
typedef struct {
    char   *path;
    haddr_t address;
    bool    is_group;
} object;

typedef struct {
    server *s;
    object *list;
    size_t  n, room;
    size_t *table; /* open addressing: index + 1, or 0 */
    size_t  slots; /* a power of two */
    pq_text text;
} walk;

static size_t slot_of(const walk *w, haddr_t address)
{
    size_t at = (size_t)(address * 0x9e3779b97f4a7c15ULL) & (w->slots - 1);

    while (w->table[at] != 0 && w->list[w->table[at] - 1].address != address) {
        at = (at + 1) & (w->slots - 1);
    }
    return at;
}

static pq_status grow(walk *w, pq_err *err)
{
    const size_t room = w->room == 0 ? 64 : 2 * w->room;
    object      *list = pq_recalloc(w->list, w->room, room, sizeof *list);
    size_t      *table;
    pq_status    st;

    PQ_CHECK(list != NULL, PQ_ERR_NOMEM, "cannot allocate a list of objects");
    w->list = list;
    w->room = room;
    PQ_NEW(table, 4 * room);
    pq_free(w->table);
    w->table = table;
    w->slots = 4 * room;
    for (size_t i = 0; i < w->n; i++) {
        table[slot_of(w, list[i].address)] = i + 1;
    }
cleanup:
    return st;
}

/* Index of an object, which is added when it is new; takes the path. */
static pq_status find(walk *w, char *path, const H5O_info_t *info, size_t *out,
                      pq_err *err)
{
    pq_status st;
    size_t    at;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (w->n == w->room) {
        PQ_TRY(grow(w, err));
    }
    at = slot_of(w, info->addr);
    if (w->table[at] == 0) {
        w->list[w->n] = (object){path, info->addr, info->type == H5O_TYPE_GROUP};
        w->table[at]  = ++w->n;
        path          = NULL;
    }
    *out = w->table[at] - 1;
cleanup:
    pq_free(path);
    return st;
}

/* Name, and the object's index + 1; 0 for a link that is not followed. */
static pq_status put_link(walk *w, const char *group, const char *name, pq_err *err)
{
    char      *path = pq_format("%s/%s", strcmp(group, "/") == 0 ? "" : group, name);
    H5L_info_t link;
    H5O_info_t info;
    size_t     index = 0;
    pq_status  st    = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    pq_h5_put_text(&w->text, name);
    if (H5Lget_info(w->s->file->id, path, &link, H5P_DEFAULT) >= 0 &&
        link.type == H5L_TYPE_HARD &&
        H5Oget_info_by_name2(w->s->file->id, path, &info, H5O_INFO_BASIC, H5P_DEFAULT) >=
            0) {
        st   = find(w, path, &info, &index, err);
        path = NULL;
        index++;
    }
    pq_h5_put_number(&w->text, index);
cleanup:
    pq_free(path);
    return st;
}

static pq_status put_group(walk *w, const char *path, pq_err *err)
{
    pq_err    why   = {0};
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st    = pq_h5_local_list(w->s->file, path, &names, &n, &why);

    if (st == PQ_ERR_NOMEM) {
        *err = why;
        return st;
    }
    pq_h5_put_number(&w->text, PQ_H5_GROUP);
    put_error(&w->text, &why);
    pq_h5_put_number(&w->text, n);
    st = PQ_OK;
    for (size_t i = 0; i < n && st == PQ_OK; i++) {
        st = put_link(w, path, names[i], err);
    }
    pq_h5_free_texts(&names, n);
    return st;
}

/* Memory that runs out ends the walk; other failures are this dataset's. */
static pq_status put_dataset(walk *w, const char *path, pq_err *err)
{
    pq_err          why  = {0};
    pq_h5_info      info = {.kind = PQ_H5_OTHER};
    const pq_status st   = pq_h5_local_describe(w->s->file, path, &info, &why);

    if (st == PQ_ERR_NOMEM) {
        *err = why;
        return st;
    }
    pq_h5_put_number(
        &w->text,
        (uint64_t)(st == PQ_OK ? info.kind : pq_h5_local_kind(w->s->file, path)));
    put_error(&w->text, &why);
    pq_h5_put_number(&w->text, info.shape.ndim);
    for (size_t i = 0; i < info.shape.ndim; i++) {
        pq_h5_put_number(&w->text, info.shape.dim[i]);
    }
    pq_h5_put_number(&w->text, info.item_bytes);
    return PQ_OK;
}

static pq_status put_texts(walk *w, const char *path, const char *name, pq_err *why)
{
    char          **texts = NULL;
    size_t          n     = 0;
    const pq_status st = pq_h5_local_attr_texts(w->s->file, path, name, &texts, &n, why);

    if (st == PQ_OK) {
        pq_h5_put_number(&w->text, PQ_H5_TEXT);
        pq_h5_put_number(&w->text, n);
        for (size_t i = 0; i < n; i++) {
            pq_h5_put_text(&w->text, texts[i]);
        }
        pq_h5_free_texts(&texts, n);
    }
    return st;
}

static pq_status put_numbers(walk *w, const char *path, const char *name, pq_err *why)
{
    double         *values = NULL;
    size_t          n      = 0;
    const pq_status st =
        pq_h5_local_attr_numbers(w->s->file, path, name, &values, &n, why);

    if (st == PQ_OK) {
        pq_h5_put_number(&w->text, PQ_H5_FLOAT);
        pq_h5_put_number(&w->text, n);
        pq_text_add_bytes(&w->text, (const char *)values, n * sizeof *values);
        pq_free(values);
    }
    return st;
}

static herr_t add_attr(hid_t id, const char *name, const H5A_info_t *info, void *context)
{
    pq_text *names = context;

    (void)id;
    (void)info;
    pq_text_add_bytes(names, name, strlen(name) + 1);
    return names->failed ? -1 : 0;
}

static pq_status put_attr(walk *w, hid_t id, const char *path, const char *name,
                          pq_err *err)
{
    const hid_t       attr = H5Aopen(id, name, H5P_DEFAULT);
    const hid_t       type = attr > 0 ? H5Aget_type(attr) : -1;
    const H5T_class_t kind = type > 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    pq_err            why  = {0};
    pq_status         st;

    pq_h5_drop(type);
    pq_h5_drop(attr);
    pq_h5_put_text(&w->text, name);
    st = kind == H5T_STRING ? put_texts(w, path, name, &why)
                            : put_numbers(w, path, name, &why);
    if (st == PQ_ERR_NOMEM) {
        *err = why;
        return st;
    }
    if (st != PQ_OK) {
        pq_h5_put_number(&w->text, PQ_H5_OTHER);
        put_error(&w->text, &why);
    }
    return PQ_OK;
}

/* Their number, and each. */
static pq_status put_attrs(walk *w, const char *path, pq_err *err)
{
    pq_text   names = {0};
    hsize_t   next  = 0;
    hid_t     id    = -1;
    size_t    n     = 0;
    pq_status st;

    PQ_TRY(pq_h5_object(w->s->file, path, &id, err));
    PQ_CHECK(H5Aiterate2(id, H5_INDEX_NAME, H5_ITER_INC, &next, add_attr, &names) >= 0,
             names.failed ? PQ_ERR_NOMEM : pq_h5_status(PQ_ERR_FORMAT),
             "%s: the attributes of %s cannot be listed", w->s->file->path, path);
    for (size_t at = 0; at < names.length; at += strlen(names.text + at) + 1) {
        n++;
    }
    pq_h5_put_number(&w->text, n);
    for (size_t at = 0; at < names.length; at += strlen(names.text + at) + 1) {
        PQ_TRY(put_attr(w, id, path, names.text + at, err));
    }
cleanup:
    pq_h5_drop(id);
    pq_text_free(&names);
    return st;
}

static pq_status put_object(walk *w, size_t i, pq_err *err)
{
    const char *path = w->list[i].path; /* the list may move, the text stays */
    pq_status   st;

    PQ_TRY(w->list[i].is_group ? put_group(w, path, err) : put_dataset(w, path, err));
    PQ_TRY(put_attrs(w, path, err));
    PQ_CHECK(!w->text.failed, PQ_ERR_NOMEM, "cannot allocate what the file holds");
cleanup:
    return st;
}

/* All objects, the root first, in the order in which links lead to them. */
static pq_status walk_file(walk *w, pq_err *err)
{
    H5O_info_t info;
    size_t     root;
    pq_status  st;

    PQ_CHECK(H5Oget_info2(w->s->file->id, &info, H5O_INFO_BASIC) >= 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: is damaged", w->s->file->path);
    PQ_TRY(find(w, pq_strdup("/"), &info, &root, err));
    for (size_t i = 0; i < w->n; i++) {
        PQ_TRY(put_object(w, i, err));
    }
cleanup:
    return st;
}

static bool tell(server *s, const char *path)
{
    walk   w   = {.s = s};
    pq_err err = {0};
    bool   fine =
        pq_h5_local_open(path, &s->file, &err) == PQ_OK && walk_file(&w, &err) == PQ_OK;

    if (fine) {
        fine = pq_h5_send(s->fd, PQ_H5_FINE, w.text.text, w.text.length);
    } else {
        fail(s, &err);
    }
    for (size_t i = 0; i < w.n; i++) {
        pq_free(w.list[i].path);
    }
    pq_free(w.list);
    pq_free(w.table);
    pq_text_free(&w.text);
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

void pq_h5_serve(const char *path, size_t file_bytes, int fd)
{
    server s = {.fd = fd, .file_bytes = file_bytes};

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
