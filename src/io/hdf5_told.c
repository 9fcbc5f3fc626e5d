/* What the child that reads a file told of it when it was opened. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "io/hdf5_told.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/memory.h"

pq_status pq_h5_told_failure(pq_h5_cursor *from, pq_err *err)
{
    const uint64_t code    = pq_h5_take_number(from);
    const char    *message = pq_h5_take_text(from);
    const char    *hint    = pq_h5_take_text(from);
    pq_status      st      = code <= PQ_ERR_INTERRUPTED ? (pq_status)code : PQ_ERR_FORMAT;

    if (st == PQ_OK || from->bad) {
        st = PQ_ERR_FORMAT;
    }
    (void)pq_err_set(err, st, __FILE__, __LINE__, "%s", message);
    if (hint[0] != '\0') {
        pq_err_hint(err, "%s", hint);
    }
    return st;
}

size_t pq_h5_take_count(pq_h5_cursor *from, size_t least)
{
    const uint64_t n = pq_h5_take_number(from);

    if (n > from->left / least) {
        from->bad = true;
        return 0;
    }
    return (size_t)n;
}

static void take_attr(pq_h5_cursor *from, pq_h5_told_attr *a)
{
    const char *start;

    a->name = pq_h5_take_text(from);
    a->kind = (pq_h5_class)pq_h5_take_number(from);
    start   = from->bytes;
    if (a->kind == PQ_H5_TEXT) {
        a->n  = pq_h5_take_count(from, 9);
        start = from->bytes;
        for (size_t i = 0; i < a->n; i++) {
            (void)pq_h5_take_text(from);
        }
    } else if (a->kind == PQ_H5_FLOAT) {
        a->n  = pq_h5_take_count(from, sizeof(double));
        start = pq_h5_take_bytes(from, a->n * sizeof(double));
    } else {
        (void)pq_h5_take_number(from);
        (void)pq_h5_take_text(from);
        (void)pq_h5_take_text(from);
    }
    a->bytes = start;
    a->size  = from->bad ? 0 : (size_t)(from->bytes - start);
}

static void take_shape(pq_h5_cursor *from, pq_h5_info *info)
{
    const uint64_t ndim = pq_h5_take_number(from);

    from->bad |= ndim > PQ_MAX_DIMS;
    info->shape.ndim = from->bad ? 0 : (size_t)ndim;
    for (size_t i = 0; i < info->shape.ndim; i++) {
        info->shape.dim[i] = (size_t)pq_h5_take_number(from);
    }
    info->item_bytes = (size_t)pq_h5_take_number(from);
}

/* Values that were told: as many as the shape has, behind those before. */
static void take_values(pq_h5_told *t, pq_h5_cursor *from, pq_h5_told_object *o)
{
    const uint64_t dtype = pq_h5_take_number(from);
    const size_t   at    = pq_h5_room_next(t->used);
    size_t         count = 0, n;

    if (dtype == 0 || from->bad) {
        return;
    }
    from->bad |= dtype > PQ_DTYPE_COUNT || !pq_shape_count(&o->info.shape, &count) ||
                 __builtin_mul_overflow(
                     count, pq_dtype_bytes((pq_dtype)(from->bad ? 0 : dtype - 1)), &n) ||
                 at > t->room.n || n > t->room.n - at;
    if (!from->bad) {
        o->dtype  = (pq_dtype)(dtype - 1);
        o->values = t->room.at + at;
        t->used   = at + n;
    }
}

static pq_status take_object(pq_h5_told *t, pq_h5_cursor *from, pq_h5_told_object *o,
                             pq_err *err)
{
    const uint64_t kind = pq_h5_take_number(from);
    pq_status      st;

    from->bad |= kind > PQ_H5_OTHER;
    o->info.kind = from->bad ? PQ_H5_OTHER : (pq_h5_class)kind;
    o->st        = (pq_status)pq_h5_take_number(from);
    o->message   = pq_h5_take_text(from);
    o->hint      = pq_h5_take_text(from);
    if (o->info.kind == PQ_H5_GROUP) {
        const size_t n = pq_h5_take_count(from, 17);
        PQ_NEW(o->links, n);
        o->n_links = n;
        for (size_t i = 0; i < n; i++) {
            o->links[i].name   = pq_h5_take_text(from);
            o->links[i].target = (size_t)pq_h5_take_number(from);
        }
    } else {
        take_shape(from, &o->info);
        take_values(t, from, o);
    }
    o->n_attrs = pq_h5_take_count(from, 25);
    PQ_NEW(o->attrs, o->n_attrs);
    for (size_t i = 0; i < o->n_attrs; i++) {
        take_attr(from, &o->attrs[i]);
    }
    st = PQ_OK;
cleanup:
    return st;
}

pq_status pq_h5_told_expect(pq_h5_told *t, size_t file_bytes, pq_err *err)
{
    const size_t n = file_bytes <= PQ_H5_ROOM_WHOLES ? file_bytes : PQ_H5_ROOM_BYTES;
    void        *at;
    pq_status    st = PQ_OK;

    if (n == 0) {
        return PQ_OK;
    }
    at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PQ_CHECK(at != MAP_FAILED, PQ_ERR_NOMEM, "cannot allocate %zu bytes to share: %s", n,
             strerror(errno));
    t->room = (pq_h5_room){at, n};
cleanup:
    return st;
}

pq_status pq_h5_told_take(pq_h5_told *t, size_t n, const char *path, pq_err *err)
{
    pq_h5_cursor from = {t->bytes, n, false};
    size_t       room = 0;
    pq_status    st   = PQ_OK;

    t->whole = true;
    while (from.left > 0 && !from.bad) {
        if (t->n == room) {
            const size_t       more = room == 0 ? 64 : 2 * room;
            pq_h5_told_object *objects =
                pq_recalloc(t->objects, room, more, sizeof *objects);
            PQ_CHECK(objects != NULL, PQ_ERR_NOMEM, "cannot allocate objects");
            t->objects = objects;
            room       = more;
        }
        t->n++;
        PQ_TRY(take_object(t, &from, &t->objects[t->n - 1], err));
        t->whole = t->whole && (t->objects[t->n - 1].info.kind == PQ_H5_GROUP ||
                                t->objects[t->n - 1].values != NULL);
    }
    for (size_t i = 0; i < t->n; i++) {
        for (size_t k = 0; k < t->objects[i].n_links; k++) {
            from.bad |= t->objects[i].links[k].target > t->n;
        }
    }
    PQ_CHECK(!from.bad && t->n > 0, PQ_ERR_FORMAT,
             "%s: is damaged: libhdf5 goes astray in it", path);
cleanup:
    return st;
}

void pq_h5_told_free(pq_h5_told *t)
{
    for (size_t i = 0; i < t->n; i++) {
        pq_free(t->objects[i].links);
        pq_free(t->objects[i].attrs);
    }
    pq_free(t->objects);
    pq_free(t->bytes);
    if (t->room.n > 0) {
        (void)munmap(t->room.at, t->room.n);
    }
    *t = (pq_h5_told){0};
}

/* A link of a group by n bytes of a path; libhdf5 lists them in the order of their bytes.
 */
static const pq_h5_told_link *find_link(const pq_h5_told_object *o, const char *name,
                                        size_t n)
{
    size_t from = 0, to = o->n_links;

    while (from < to) {
        const size_t at    = from + (to - from) / 2;
        const char  *have  = o->links[at].name;
        const int    order = strncmp(have, name, n);
        if (order == 0 && have[n] == '\0') {
            return &o->links[at];
        }
        if (order < 0) {
            from = at + 1;
        } else {
            to = at;
        }
    }
    return NULL;
}

pq_h5_told_object *pq_h5_told_find(const pq_h5_told *t, const char *file,
                                   const char *path, pq_err *err)
{
    pq_h5_told_object *o = &t->objects[0];
    size_t             i = 0;

    while (path[i += strspn(path + i, "/")] != '\0') {
        const size_t           n    = strcspn(path + i, "/");
        const bool             self = n == 1 && path[i] == '.';
        const pq_h5_told_link *link = find_link(o, path + i, n);

        i += n;
        if (self) {
            continue;
        }
        if (link == NULL) {
            (void)pq_err_set(err, PQ_ERR_NOT_FOUND, __FILE__, __LINE__,
                             "%s: %s is not there", file, path);
            return NULL;
        }
        if (link->target == 0) {
            (void)pq_err_set(
                err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                "%s: %.*s is a soft or external link; links are not followed", file,
                (int)i, path);
            return NULL;
        }
        o = &t->objects[link->target - 1];
    }
    return o;
}

pq_status pq_h5_take_texts(pq_h5_cursor *from, size_t n, char ***out, pq_err *err)
{
    char    **list = NULL;
    size_t    i    = 0;
    pq_status st;

    PQ_NEW(list, n);
    for (i = 0; i < n; i++) {
        PQ_STRDUP(list[i], pq_h5_take_text(from));
    }
    *out = list;
    list = NULL;
cleanup:
    pq_h5_free_texts(&list, i);
    return st;
}

const pq_h5_told_attr *pq_h5_told_find_attr(const pq_h5_told_object *o, const char *name)
{
    for (size_t i = 0; i < o->n_attrs; i++) {
        if (strcmp(o->attrs[i].name, name) == 0) {
            return &o->attrs[i];
        }
    }
    return NULL;
}
