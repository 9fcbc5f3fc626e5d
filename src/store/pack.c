#include "store/pack.h"

#include <string.h>

#include "core/memory.h"

/* Records are nested three or four deep. */
enum { DEPTH_MAX = 64 };

/* A node is its kind and what it holds; a value in a list or object its kind and number.
 */
typedef enum {
    NONE   = 'n',
    TRUE   = 't',
    FALSE  = 'f',
    WHOLE  = 'i',
    REAL   = 'r',
    TEXT   = 's',
    LIST   = 'a',
    OBJECT = 'o'
} kind;

static void add_word(pq_text *to, uint32_t word)
{
    pq_text_add_bytes(to, (const char *)&word, sizeof word);
}

static void add_kind(pq_text *to, kind k)
{
    const char byte = (char)k;

    pq_text_add_bytes(to, &byte, 1);
}

static kind kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return OBJECT;
    case JSON_ARRAY:
        return LIST;
    case JSON_STRING:
        return TEXT;
    case JSON_INTEGER:
        return WHOLE;
    case JSON_REAL:
        return REAL;
    case JSON_TRUE:
        return TRUE;
    case JSON_FALSE:
        return FALSE;
    case JSON_NULL:
        break;
    }
    return NONE;
}

static pq_status pack(pq_packer *p, const json_t *value, int depth, uint32_t *node,
                      pq_err *err);

/* A value inside a node: numbers as they are, the rest by number. */
static pq_status add_value(pq_packer *p, const json_t *value, int depth, pq_text *to,
                           pq_err *err)
{
    const kind       k     = kind_of(value);
    const json_int_t whole = json_integer_value(value);
    const double     real  = json_real_value(value);
    uint32_t         node;
    pq_status        st = PQ_OK;

    add_kind(to, k);
    if (k == WHOLE) {
        pq_text_add_bytes(to, (const char *)&whole, sizeof whole);
    } else if (k == REAL) {
        pq_text_add_bytes(to, (const char *)&real, sizeof real);
    } else if (k == TEXT || k == LIST || k == OBJECT) {
        PQ_TRY(pack(p, value, depth + 1, &node, err));
        add_word(to, node);
    }
cleanup:
    return st;
}

static pq_status pack_text(pq_packer *p, const char *text, size_t n, uint32_t *node,
                           pq_err *err);

static pq_status add_members(pq_packer *p, const json_t *value, int depth, pq_text *to,
                             pq_err *err)
{
    json_t     *item;
    const char *name;
    size_t      i;
    uint32_t    node;
    pq_status   st = PQ_OK;

    json_array_foreach((json_t *)value, i, item)
    {
        PQ_TRY(add_value(p, item, depth, to, err));
    }
    json_object_foreach((json_t *)value, name, item)
    {
        PQ_TRY(pack_text(p, name, strlen(name), &node, err));
        add_word(to, node);
        PQ_TRY(add_value(p, item, depth, to, err));
    }
cleanup:
    return st;
}

/* Number of a node of these bytes, a new one unless there is one. */
static pq_status put(pq_packer *p, const pq_text *bytes, uint32_t *node, pq_err *err)
{
    const json_t *known;
    pq_status     st = PQ_OK;

    PQ_CHECK(!bytes->failed && (p->seen != NULL || (p->seen = json_object()) != NULL),
             PQ_ERR_NOMEM, "cannot allocate packed records");
    known = json_object_getn(p->seen, bytes->text, bytes->length);
    if (known != NULL) {
        *node = (uint32_t)json_integer_value(known);
        return PQ_OK;
    }
    PQ_CHECK(p->n < UINT32_MAX && bytes->length < UINT32_MAX, PQ_ERR_FORMAT,
             "records do not fit into 32 bits");
    add_word(&p->nodes, (uint32_t)bytes->length);
    pq_text_add_bytes(&p->nodes, bytes->text, bytes->length);
    PQ_CHECK(!p->nodes.failed &&
                 json_object_setn_new_nocheck(p->seen, bytes->text, bytes->length,
                                              json_integer(p->n)) == 0,
             PQ_ERR_NOMEM, "cannot allocate packed records");
    *node = p->n++;
cleanup:
    return st;
}

static pq_status pack_text(pq_packer *p, const char *text, size_t n, uint32_t *node,
                           pq_err *err)
{
    pq_text   bytes = {0};
    pq_status st;

    add_kind(&bytes, TEXT);
    pq_text_add_bytes(&bytes, text, n);
    st = put(p, &bytes, node, err);
    pq_text_free(&bytes);
    return st;
}

static pq_status pack(pq_packer *p, const json_t *value, int depth, uint32_t *node,
                      pq_err *err)
{
    const size_t n =
        json_is_array(value) ? json_array_size(value) : json_object_size(value);
    pq_text   bytes = {0};
    pq_status st;

    PQ_CHECK(depth <= DEPTH_MAX && n < UINT32_MAX, PQ_ERR_FORMAT, "nested deeper than %d",
             DEPTH_MAX);
    if (json_is_string(value)) {
        return pack_text(p, json_string_value(value), json_string_length(value), node,
                         err);
    }
    add_kind(&bytes, kind_of(value));
    add_word(&bytes, (uint32_t)n);
    PQ_TRY(add_members(p, value, depth, &bytes, err));
    PQ_TRY(put(p, &bytes, node, err));
cleanup:
    pq_text_free(&bytes);
    return st;
}

pq_status pq_pack(pq_packer *p, const json_t *value, uint32_t *node, pq_err *err)
{
    return pack(p, value, 0, node, err);
}

void pq_packer_free(pq_packer *p)
{
    pq_text_free(&p->nodes);
    json_decref(p->seen);
    *p = (pq_packer){0};
}

/* What is left of a node's bytes; `bad` once more was asked for. */
typedef struct {
    const char *bytes;
    size_t      left;
    bool        bad;
} cursor;

static void take(cursor *from, void *out, size_t n)
{
    if (from->bad || n > from->left) {
        from->bad = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, from->bytes, n);
    from->bytes += n;
    from->left -= n;
}

static uint32_t take_word(cursor *from)
{
    uint32_t word;

    take(from, &word, sizeof word);
    return word;
}

pq_status pq_unpack_open(const char *bytes, size_t size, size_t n, pq_unpacker *out,
                         pq_err *err)
{
    pq_unpacker u    = {.bytes = bytes, .size = size, .n = n};
    cursor      from = {bytes, size, false};
    pq_status   st;

    PQ_CHECK(n <= size / (sizeof(uint32_t) + 1), PQ_ERR_FORMAT,
             "%zu nodes do not fit into %zu bytes", n, size);
    PQ_NEW(u.at, n);
    PQ_NEW(u.made, n);
    for (size_t i = 0; i < n; i++) {
        u.at[i]                 = (size_t)(from.bytes - bytes);
        const uint32_t bytes_of = take_word(&from);
        PQ_CHECK(!from.bad && bytes_of > 0 && bytes_of <= from.left, PQ_ERR_FORMAT,
                 "node %zu leads out of the file", i);
        from.bytes += bytes_of;
        from.left -= bytes_of;
    }
    PQ_CHECK(from.left == 0, PQ_ERR_FORMAT, "%zu bytes behind the last node", from.left);
    *out = u;
    u    = (pq_unpacker){0};
cleanup:
    pq_unpack_close(&u);
    return st;
}

static json_t *make(pq_unpacker *u, uint32_t node, int depth);

/* New reference, or NULL. */
static json_t *take_value(pq_unpacker *u, cursor *from, uint32_t below, int depth)
{
    char       k;
    json_int_t whole;
    double     real;
    uint32_t   node;

    take(from, &k, 1);
    switch (k) {
    case NONE:
        return json_null();
    case TRUE:
        return json_true();
    case FALSE:
        return json_false();
    case WHOLE:
        take(from, &whole, sizeof whole);
        return from->bad ? NULL : json_integer(whole);
    case REAL:
        take(from, &real, sizeof real);
        return from->bad ? NULL : json_real(real); /* NULL if it is not finite */
    case TEXT:
    case LIST:
    case OBJECT:
        node = take_word(from);
        return from->bad || node >= below ? NULL : json_incref(make(u, node, depth + 1));
    default:
        return NULL;
    }
}

static const char *text_of(pq_unpacker *u, uint32_t node, uint32_t below, int depth)
{
    return node < below ? json_string_value(make(u, node, depth + 1)) : NULL;
}

static json_t *make_members(pq_unpacker *u, cursor *from, uint32_t node, bool listed,
                            int depth)
{
    const uint32_t n    = take_word(from);
    json_t        *all  = listed ? json_array() : json_object();
    bool           fine = all != NULL && !from->bad;

    for (uint32_t i = 0; i < n && fine; i++) {
        const char *name  = listed ? "" : text_of(u, take_word(from), node, depth);
        json_t     *value = name != NULL ? take_value(u, from, node, depth) : NULL;
        fine              = value != NULL &&
               (listed ? json_array_append_new(all, value)
                       : json_object_set_new_nocheck(all, name, value)) == 0;
    }
    if (!fine || from->left > 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static json_t *make(pq_unpacker *u, uint32_t node, int depth)
{
    cursor from;
    char   k;

    if (node >= u->n || depth > DEPTH_MAX) {
        return NULL;
    }
    if (u->made[node] == NULL) {
        from      = (cursor){u->bytes + u->at[node], sizeof(uint32_t), false};
        from.left = take_word(&from);
        take(&from, &k, 1);
        u->made[node] = k == TEXT ? json_stringn(from.bytes, from.left)
                        : k == LIST || k == OBJECT
                            ? make_members(u, &from, node, k == LIST, depth)
                            : NULL;
    }
    return u->made[node];
}

json_t *pq_unpack(pq_unpacker *u, uint32_t node)
{
    return make(u, node, 0);
}

void pq_unpack_close(pq_unpacker *u)
{
    for (size_t i = 0; u->made != NULL && i < u->n; i++) {
        json_decref(u->made[i]);
    }
    pq_free(u->made);
    pq_free(u->at);
    *u = (pq_unpacker){0};
}
