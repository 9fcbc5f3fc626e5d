#define _GNU_SOURCE
#include "store/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/pack.h"
#include "store/record.h"

enum { KEY_BYTES = 64, SETTLED_S = 2 };

static const size_t INDEX_BYTES_MAX = (size_t)1 << 32;

/* "pqshelf" and the version of what follows: the heads, then the nodes of pack.h, then
 * the SHA-256 of all that as hexadecimal digits. In whole words of this machine. */
#define MARK UINT64_C(0x31666c6568737170)

typedef struct {
    uint64_t mark, records, nodes, bytes;
} file_head;

/* When a file was changed, as far as it can be told. */
typedef struct {
    uint64_t inode;
    int64_t  size, changed_s, changed_ns, modified_s, modified_ns;
} stamp;

/* A record in the index. */
typedef struct {
    char     key[KEY_BYTES];
    stamp    stamp;
    uint32_t node, ok;
} record_head;

/* What is seen of a record's file; what is not seen must be read to be known. */
typedef enum { SEEN, ABSENT, UNSEEN } sight;

/* A record on the shelf. */
typedef struct {
    char     key[KEY_BYTES + 1];
    stamp    stamp;
    bool     settled; /* had been left alone when it was read */
    bool     ok;
    bool     packed; /* in the index that was read, as `node` */
    uint32_t node;
    json_t  *made; /* owned, or NULL: then it is packed */
} book;

struct pq_shelf {
    char       *dir;
    char       *cells;  /* folder of the records */
    int         folder; /* descriptor of the records, or -1 */
    char       *bytes;  /* of the index */
    pq_unpacker packed;
    json_t     *places; /* key: number of its book */
    size_t      n, room;
    book       *books;
    size_t      parsed;
    bool        changed;
};

static char *index_path(const pq_shelf *s)
{
    return pq_path_join(s->dir, "records.index");
}

static stamp stamp_of(const struct stat *is)
{
    return (stamp){(uint64_t)is->st_ino,        (int64_t)is->st_size,
                   (int64_t)is->st_ctim.tv_sec, (int64_t)is->st_ctim.tv_nsec,
                   (int64_t)is->st_mtim.tv_sec, (int64_t)is->st_mtim.tv_nsec};
}

static bool same(const stamp *a, const stamp *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static book *find(const pq_shelf *s, const char *key)
{
    const json_t *place = json_object_get(s->places, key);

    return place != NULL ? &s->books[json_integer_value(place)] : NULL;
}

/* The book of a key, a new one if need be. */
static pq_status find_or_add(pq_shelf *s, const char *key, book **out, pq_err *err)
{
    book     *books;
    pq_status st = PQ_OK;

    *out = find(s, key);
    if (*out != NULL) {
        return PQ_OK;
    }
    if (s->n == s->room) {
        books = pq_recalloc(s->books, s->room, 2 * s->room + 64, sizeof *books);
        PQ_CHECK(books != NULL, PQ_ERR_NOMEM, "cannot allocate records");
        s->books = books;
        s->room  = 2 * s->room + 64;
    }
    PQ_CHECK(
        json_object_set_new_nocheck(s->places, key, json_integer((json_int_t)s->n)) == 0,
        PQ_ERR_NOMEM, "cannot allocate records");
    *out = &s->books[s->n++];
    memcpy((*out)->key, key, strlen(key));
cleanup:
    return st;
}

/* Whether the bytes end with their own hash. */
static bool is_whole(const char *bytes, size_t size)
{
    const size_t tail = PQ_HASH_TEXT - 1;
    char         hash[PQ_HASH_TEXT];
    pq_hash      h;

    if (size < sizeof(file_head) + tail) {
        return false;
    }
    pq_hash_start(&h);
    pq_hash_bytes(&h, bytes, size - tail);
    pq_hash_end(&h, hash);
    return memcmp(hash, bytes + size - tail, tail) == 0;
}

static bool is_key(const char *key)
{
    return strnlen(key, KEY_BYTES) == KEY_BYTES &&
           strspn(key, "0123456789abcdef") >= KEY_BYTES;
}

/* Books of an index that is whole; what is odd in it makes it none. */
static pq_status take_index(pq_shelf *s, size_t size, pq_err *err)
{
    const size_t most = size - sizeof(file_head) - (PQ_HASH_TEXT - 1);
    const char  *at   = s->bytes + sizeof(file_head);
    file_head    head;
    record_head  r;
    book        *b;
    pq_status    st;

    memcpy(&head, s->bytes, sizeof head);
    PQ_CHECK(head.mark == MARK && head.records <= most / sizeof r &&
                 head.bytes == most - head.records * sizeof r,
             PQ_ERR_FORMAT, "not an index");
    PQ_TRY(pq_unpack_open(at + head.records * sizeof r, (size_t)head.bytes,
                          (size_t)head.nodes, &s->packed, err));
    for (uint64_t i = 0; i < head.records; i++, at += sizeof r) {
        char key[KEY_BYTES + 1] = "";
        memcpy(&r, at, sizeof r);
        memcpy(key, r.key, KEY_BYTES);
        PQ_CHECK(is_key(key) && r.node < head.nodes, PQ_ERR_FORMAT, "not an index");
        PQ_TRY(find_or_add(s, key, &b, err));
        b->stamp   = r.stamp;
        b->settled = b->packed = true;
        b->ok                  = r.ok != 0;
        b->node                = r.node;
    }
cleanup:
    return st;
}

static void forget_index(pq_shelf *s)
{
    pq_unpack_close(&s->packed);
    pq_free(s->bytes);
    s->bytes = NULL;
    s->n     = 0;
    (void)json_object_clear(s->places);
    if (s->books != NULL) {
        memset(s->books, 0, s->room * sizeof *s->books);
    }
}

static pq_status read_index(pq_shelf *s, pq_err *err)
{
    char     *path = index_path(s);
    size_t    size = 0;
    pq_status st   = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_file_read(path, INDEX_BYTES_MAX, &s->bytes, &size, NULL) != PQ_OK) {
        goto cleanup;
    }
    st = is_whole(s->bytes, size) ? take_index(s, size, err) : PQ_ERR_FORMAT;
    if (st != PQ_OK) {
        forget_index(s);
        st = st == PQ_ERR_NOMEM ? st : PQ_OK;
    }
cleanup:
    pq_free(path);
    return st;
}

pq_status pq_shelf_open(const char *dir, pq_shelf **out, pq_err *err)
{
    pq_shelf *s = NULL;
    pq_status st;

    PQ_NEW(s, 1);
    s->folder = -1;
    PQ_STRDUP(s->dir, dir);
    s->places = json_object();
    s->cells  = pq_path_join(dir, "cells");
    PQ_CHECK(s->places != NULL && s->cells != NULL, PQ_ERR_NOMEM,
             "cannot allocate records");
    s->folder = open(s->cells, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    PQ_TRY(read_index(s, err));
    *out = s;
    s    = NULL;
cleanup:
    pq_shelf_close(&s);
    return st;
}

void pq_shelf_close(pq_shelf **shelf)
{
    pq_shelf *s = *shelf;

    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->books[i].made);
    }
    if (s->folder >= 0) {
        (void)close(s->folder);
    }
    pq_unpack_close(&s->packed);
    json_decref(s->places);
    pq_free(s->books);
    pq_free(s->bytes);
    pq_free(s->cells);
    pq_free(s->dir);
    pq_free(s);
    *shelf = NULL;
}

/* How a record's file is now. */
static sight look(pq_shelf *s, const char *key, stamp *now, bool *settled)
{
    char        name[KEY_BYTES + sizeof ".json"];
    struct stat is;

    if (strlen(key) != KEY_BYTES) {
        return UNSEEN;
    }
    if (s->folder < 0) { /* made since the shelf was opened */
        s->folder = open(s->cells, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    memcpy(name, key, KEY_BYTES);
    memcpy(name + KEY_BYTES, ".json", sizeof ".json");
    if (s->folder < 0 || fstatat(s->folder, name, &is, 0) != 0) {
        return errno == ENOENT ? ABSENT : UNSEEN;
    }
    *now     = stamp_of(&is);
    *settled = time(NULL) - is.st_ctim.tv_sec >= SETTLED_S;
    return SEEN;
}

/* The decisions event by event, of each engine. */
static void drop_correct(json_t *record)
{
    const char *engine;
    json_t     *of;

    (void)json_object_del(record, "correct");
    json_object_foreach(json_object_get(record, "engines"), engine, of)
    {
        (void)json_object_del(of, "correct");
    }
}

void pq_shelf_trim(json_t *record)
{
    (void)json_object_del(record, "layers");
    (void)json_object_del(record, "quantization");
    drop_correct(record);
}

/* Keeps a record, whose reference it takes also on failure. */
static pq_status keep(pq_shelf *s, const char *key, const stamp *now, bool settled,
                      json_t *record, book **out, pq_err *err)
{
    book     *b;
    pq_status st;

    PQ_TRY(find_or_add(s, key, &b, err));
    json_decref(b->made);
    b->made    = record;
    record     = NULL;
    b->packed  = false;
    b->stamp   = *now;
    b->settled = settled;
    b->ok      = strcmp(json_string_value(json_object_get(b->made, "status")), "ok") == 0;
    s->changed = s->changed || settled;
    *out       = b;
cleanup:
    json_decref(record);
    return st;
}

/* Parses a record and keeps what tables are made of. */
static pq_status parse(pq_shelf *s, const char *key, const stamp *now, bool settled,
                       book **out, pq_err *err)
{
    json_t   *record = NULL;
    pq_status st;

    PQ_TRY(pq_record_read(s->dir, key, &record, err));
    s->parsed++;
    pq_shelf_trim(record);
    PQ_TRY(keep(s, key, now, settled, record, out, err));
cleanup:
    return st;
}

pq_status pq_shelf_put(pq_shelf *s, const char *key, json_t *record, size_t bytes,
                       pq_err *err)
{
    stamp     now = {0};
    bool      settled;
    book     *b;
    pq_status st = PQ_OK;

    if (look(s, key, &now, &settled) == SEEN && now.size == (int64_t)bytes) {
        PQ_TRY(keep(s, key, &now, true, json_incref(record), &b, err));
    }
cleanup:
    return st;
}

/* The book of a key as its file is now. */
static pq_status fetch(pq_shelf *s, const char *key, book **out, pq_err *err)
{
    stamp       now     = {0};
    bool        settled = false;
    const sight is      = look(s, key, &now, &settled);
    book       *b       = is == SEEN ? find(s, key) : NULL;
    pq_status   st      = PQ_OK;

    if (is == ABSENT && err == NULL) { /* and nobody asks for a sentence */
        return PQ_ERR_NOT_FOUND;
    }
    if (b != NULL && same(&b->stamp, &now)) {
        *out = b;
        return PQ_OK;
    }
    PQ_TRY(parse(s, key, &now, is == SEEN && settled, out, err));
cleanup:
    return st;
}

pq_status pq_shelf_read(pq_shelf *s, const char *key, json_t **out, pq_err *err)
{
    book     *b;
    pq_status st;

    PQ_TRY(fetch(s, key, &b, err));
    if (b->made == NULL) {
        b->made = json_incref(pq_unpack(&s->packed, b->node));
    }
    if (b->made == NULL) { /* an index that lies; the record tells */
        const stamp now = b->stamp;
        PQ_TRY(parse(s, key, &now, true, &b, err));
    }
    *out = b->made;
cleanup:
    return st;
}

bool pq_shelf_done(pq_shelf *s, const char *key)
{
    book *b;

    return fetch(s, key, &b, NULL) == PQ_OK && b->ok;
}

bool pq_shelf_stamp(pq_shelf *s, const char *key, pq_hash *hash)
{
    stamp      now     = {0};
    bool       settled = true;
    const bool there   = look(s, key, &now, &settled) == SEEN;

    pq_hash_text(hash, key);
    pq_hash_bytes(hash, &now, sizeof now);
    return !there || settled;
}

size_t pq_shelf_parsed(const pq_shelf *s)
{
    return s->parsed;
}

/* Packs a book that is to be remembered. */
static pq_status add_head(pq_shelf *s, const book *b, pq_packer *packer, pq_text *heads,
                          uint64_t *n, pq_err *err)
{
    record_head   r      = {.stamp = b->stamp, .ok = b->ok};
    const json_t *record = b->made != NULL ? b->made : pq_unpack(&s->packed, b->node);
    stamp         now;
    bool          settled;
    pq_status     st = PQ_OK;

    if (!b->settled || record == NULL || look(s, b->key, &now, &settled) != SEEN ||
        !same(&now, &b->stamp)) {
        return PQ_OK;
    }
    PQ_TRY(pq_pack(packer, record, &r.node, err));
    memcpy(r.key, b->key, KEY_BYTES);
    pq_text_add_bytes(heads, (const char *)&r, sizeof r);
    (*n)++;
cleanup:
    return st;
}

static void end_with_hash(pq_text *out)
{
    char    hash[PQ_HASH_TEXT];
    pq_hash h;

    if (!out->failed) {
        pq_hash_start(&h);
        pq_hash_bytes(&h, out->text, out->length);
        pq_hash_end(&h, hash);
        pq_text_add_bytes(out, hash, PQ_HASH_TEXT - 1);
    }
}

pq_status pq_shelf_save(pq_shelf *s, pq_err *err)
{
    file_head head   = {.mark = MARK};
    pq_packer packer = {0};
    pq_text   heads = {0}, whole = {0};
    char     *path = index_path(s);
    pq_status st   = PQ_OK;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!s->changed) {
        goto cleanup;
    }
    for (size_t i = 0; i < s->n; i++) {
        PQ_TRY(add_head(s, &s->books[i], &packer, &heads, &head.records, err));
    }
    head.nodes = packer.n;
    head.bytes = packer.nodes.length;
    pq_text_add_bytes(&whole, (const char *)&head, sizeof head);
    pq_text_add_bytes(&whole, heads.text, heads.length);
    pq_text_add_bytes(&whole, packer.nodes.text, packer.nodes.length);
    end_with_hash(&whole);
    PQ_CHECK(!heads.failed && !whole.failed, PQ_ERR_NOMEM, "cannot allocate an index");
    if (pq_file_write(path, whole.text, whole.length, NULL) == PQ_OK) {
        s->changed = false;
    }
cleanup:
    pq_packer_free(&packer);
    pq_text_free(&heads);
    pq_text_free(&whole);
    pq_free(path);
    return st;
}
