/* All that a file holds but large arrays, told in one piece: each object is opened once,
 * by its address, as paths cost libhdf5 a search in every group that they cross. */
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_inside.h"
#include "io/hdf5_wire.h"

enum { TOLD_BYTES = 256 << 10 /* of one array, at most */ };

/* An object and the first path that leads to it. */
typedef struct {
    char   *path;
    haddr_t address;
} object;

typedef struct {
    pq_h5     *file;
    object    *list;
    size_t     n, room;
    size_t    *table;  /* open addressing: index + 1, or 0 */
    size_t     slots;  /* a power of two */
    pq_h5_room values; /* where they go */
    size_t     told;   /* bytes of them so far */
    pq_text    text;
} walk;

static size_t slot_of(const walk *w, haddr_t address)
{
    size_t at = (size_t)(address * 0x9e3779b97f4a7c15ULL >> 32) & (w->slots - 1);

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
static pq_status find(walk *w, char *path, haddr_t address, size_t *out, pq_err *err)
{
    pq_status st;
    size_t    at;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (w->n == w->room) {
        PQ_TRY(grow(w, err));
    }
    at = slot_of(w, address);
    if (w->table[at] == 0) {
        w->list[w->n] = (object){path, address};
        w->table[at]  = ++w->n;
        path          = NULL;
    }
    *out = w->table[at] - 1;
cleanup:
    pq_free(path);
    return st;
}

/* Links of one group. */
typedef struct {
    walk       *w;
    const char *group;
    pq_text     text;
    size_t      n;
    pq_status   st;
    pq_err     *err;
} links;

/* Name, and the object's index + 1; 0 for a link that is not followed. */
static herr_t put_link(hid_t group, const char *name, const H5L_info_t *info,
                       void *context)
{
    links *l     = context;
    size_t index = 0;

    (void)group;
    if (info->type == H5L_TYPE_HARD) {
        char *path = pq_format("%s/%s", strcmp(l->group, "/") == 0 ? "" : l->group, name);
        l->st      = find(l->w, path, info->u.address, &index, l->err);
        index++;
    }
    pq_h5_put_text(&l->text, name);
    pq_h5_put_number(&l->text, index);
    l->n++;
    return l->st == PQ_OK && !l->text.failed && l->n <= PQ_H5_MEMBERS ? 0 : -1;
}

/* Memory that runs out ends the walk; other failures are this group's. */
static pq_status put_group(walk *w, hid_t id, const char *path, pq_err *err)
{
    pq_err     why  = {0};
    links      l    = {.w = w, .group = path, .st = PQ_OK, .err = err};
    const bool fine = pq_h5_each_member(id, put_link, &l) >= 0;
    pq_status  st;

    PQ_TRY(l.st);
    PQ_CHECK(!l.text.failed, PQ_ERR_NOMEM, "cannot allocate links");
    if (!fine) {
        (void)pq_err_set(&why, PQ_ERR_FORMAT, __FILE__, __LINE__,
                         l.n > PQ_H5_MEMBERS ? "%s: %s has more than a million members"
                                             : "%s: %s cannot be listed",
                         w->file->path, path);
    }
    pq_h5_put_number(&w->text, PQ_H5_GROUP);
    pq_h5_put_error(&w->text, &why);
    pq_h5_put_number(&w->text, fine ? l.n : 0);
    if (fine && l.n > 0) {
        pq_text_add_bytes(&w->text, l.text.text, l.text.length);
    }
    st = PQ_OK;
cleanup:
    pq_text_free(&l.text);
    return st;
}

/* The type whose values are told as they lie in the file; none for others. */
static bool told_as(hid_t type, pq_dtype *out)
{
    *out = H5Tequal(type, H5T_NATIVE_FLOAT) > 0 ? PQ_DTYPE_F32 : PQ_DTYPE_U8;
    return *out == PQ_DTYPE_F32 || H5Tequal(type, H5T_NATIVE_UINT8) > 0;
}

/* Values of a small array that lies in one piece, so that nobody needs to ask for each of
 * a model's many, go into the room: the dtype + 1, or 0 where they do not. */
static void put_values(walk *w, hid_t id, const pq_h5_facts *facts)
{
    const hid_t  type  = H5Dget_type(id);
    const size_t at    = pq_h5_room_next(w->told);
    size_t       count = 0, bytes;
    pq_dtype     dtype;
    bool         tells = facts->layout != H5D_CHUNKED && told_as(type, &dtype) &&
                 pq_shape_count(&facts->info.shape, &count) && count > 0;

    bytes = tells ? count * facts->info.item_bytes : 0;
    tells = tells && bytes <= TOLD_BYTES && at <= w->values.n &&
            bytes <= w->values.n - at &&
            H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, w->values.at + at) >= 0;
    pq_h5_put_number(&w->text, tells ? (uint64_t)dtype + 1 : 0);
    w->told = tells ? at + bytes : w->told;
    pq_h5_drop(type);
}

/* What is no group. An object that cannot be opened is told with the reason. */
static pq_status look_at(const walk *w, hid_t id, const char *path, pq_h5_facts *facts,
                         pq_err *err)
{
    char      text[256];
    pq_status st;

    *facts = (pq_h5_facts){.info = {.kind = PQ_H5_OTHER}};
    PQ_CHECK(id > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: %s is damaged: %s", w->file->path,
             path, pq_h5_reason(text, sizeof text));
    PQ_CHECK(H5Iget_type(id) == H5I_DATASET, PQ_ERR_FORMAT,
             "%s: %s is a type, not a dataset", w->file->path, path);
    PQ_TRY(pq_h5_check_dataset(w->file, path, id, facts, err));
cleanup:
    return st;
}

/* Memory that runs out ends the walk; other failures are this dataset's. */
static pq_status put_dataset(walk *w, hid_t id, const char *path, pq_err *err)
{
    pq_err          why = {0};
    pq_h5_facts     facts;
    const pq_status st = look_at(w, id, path, &facts, &why);

    if (st == PQ_ERR_NOMEM) {
        *err = why;
        return st;
    }
    pq_h5_put_number(&w->text, (uint64_t)facts.info.kind);
    pq_h5_put_error(&w->text, &why);
    pq_h5_put_number(&w->text, facts.info.shape.ndim);
    for (size_t i = 0; i < facts.info.shape.ndim; i++) {
        pq_h5_put_number(&w->text, facts.info.shape.dim[i]);
    }
    pq_h5_put_number(&w->text, facts.info.item_bytes);
    if (st != PQ_OK) {
        pq_h5_put_number(&w->text, 0);
        return PQ_OK;
    }
    put_values(w, id, &facts);
    return PQ_OK;
}

static pq_status put_texts(walk *w, const pq_h5_place *at, hid_t attr, pq_err *why)
{
    char          **texts = NULL;
    size_t          n     = 0;
    const pq_status st =
        pq_h5_texts(w->file, (pq_h5_source){at->text, attr, true}, &texts, &n, why);

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

static pq_status put_numbers(walk *w, const pq_h5_place *at, hid_t attr, pq_err *why)
{
    double         *values = NULL;
    size_t          n      = 0;
    const pq_status st     = pq_h5_numbers(w->file, at, attr, &values, &n, why);

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
    const pq_h5_place at   = pq_h5_attr_place(path, name);
    hid_t             attr = -1, type = -1;
    pq_err            why = {0};
    pq_status         st  = pq_h5_attr(w->file, id, name, &at, &attr, &why);

    pq_h5_put_text(&w->text, name);
    if (st == PQ_OK) {
        type = H5Aget_type(attr);
        st   = pq_h5_class_of(type) == PQ_H5_TEXT ? put_texts(w, &at, attr, &why)
                                                  : put_numbers(w, &at, attr, &why);
    }
    pq_h5_drop(type);
    pq_h5_drop(attr);
    if (st == PQ_ERR_NOMEM) {
        *err = why;
        return st;
    }
    if (st != PQ_OK) {
        pq_h5_put_number(&w->text, PQ_H5_OTHER);
        pq_h5_put_error(&w->text, &why);
    }
    return PQ_OK;
}

/* Their number, and each. */
static pq_status put_attrs(walk *w, hid_t id, const char *path, pq_err *err)
{
    pq_text   names = {0};
    hsize_t   next  = 0;
    size_t    n     = 0;
    pq_status st;

    PQ_CHECK(H5Aiterate2(id, H5_INDEX_NAME, H5_ITER_INC, &next, add_attr, &names) >= 0,
             names.failed ? PQ_ERR_NOMEM : pq_h5_status(PQ_ERR_FORMAT),
             "%s: the attributes of %s cannot be listed", w->file->path, path);
    for (size_t at = 0; at < names.length; at += strlen(names.text + at) + 1) {
        n++;
    }
    pq_h5_put_number(&w->text, n);
    for (size_t at = 0; at < names.length; at += strlen(names.text + at) + 1) {
        PQ_TRY(put_attr(w, id, path, names.text + at, err));
    }
cleanup:
    pq_text_free(&names);
    return st;
}

static pq_status put_object(walk *w, size_t i, pq_err *err)
{
    const char *path = w->list[i].path; /* the list may move, the text stays */
    const hid_t id   = H5Oopen_by_addr(w->file->id, w->list[i].address);
    pq_status   st;

    PQ_TRY(H5Iget_type(id) == H5I_GROUP ? put_group(w, id, path, err)
                                        : put_dataset(w, id, path, err));
    if (id > 0) {
        PQ_TRY(put_attrs(w, id, path, err));
    } else {
        pq_h5_put_number(&w->text, 0);
    }
    PQ_CHECK(!w->text.failed, PQ_ERR_NOMEM, "cannot allocate what the file holds");
cleanup:
    pq_h5_drop(id);
    return st;
}

static pq_status walk_all(walk *w, pq_err *err)
{
    H5O_info_t info;
    size_t     root;
    pq_status  st;

    PQ_CHECK(H5Oget_info2(w->file->id, &info, H5O_INFO_BASIC) >= 0,
             pq_h5_status(PQ_ERR_FORMAT), "%s: is damaged", w->file->path);
    PQ_TRY(find(w, pq_strdup("/"), info.addr, &root, err));
    for (size_t i = 0; i < w->n; i++) {
        PQ_TRY(put_object(w, i, err));
    }
cleanup:
    return st;
}

pq_status pq_h5_walk(pq_h5 *file, pq_h5_room room, pq_text *to, pq_err *err)
{
    walk            w  = {.file = file, .values = room};
    const pq_status st = walk_all(&w, err);

    if (st == PQ_OK) {
        *to    = w.text;
        w.text = (pq_text){0};
    }
    for (size_t i = 0; i < w.n; i++) {
        pq_free(w.list[i].path);
    }
    pq_free(w.list);
    pq_free(w.table);
    pq_text_free(&w.text);
    return st;
}
