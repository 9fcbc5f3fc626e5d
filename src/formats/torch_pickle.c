#include "formats/torch_pickle.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"

/* What a global name stands for when it is called. */
typedef enum {
    AS_DICT,    /* OrderedDict() */
    AS_TENSOR,  /* _rebuild_tensor(storage, offset, shape, strides, …) */
    AS_FIRST,   /* its first argument: parameters wrap a tensor */
    AS_LIST,    /* torch.Size((…)) */
    AS_NOTHING, /* a storage class, a dtype: only named, never called */
} meaning;

typedef struct {
    const char *module, *name;
    meaning     as;
    pq_dtype    dtype; /* of a storage */
} global;

static const global globals[] = {
    {"collections", "OrderedDict", AS_DICT, 0},
    {"torch._utils", "_rebuild_tensor", AS_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", AS_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", AS_FIRST, 0},
    {"torch", "Size", AS_LIST, 0},
    {"torch", "FloatStorage", AS_NOTHING, PQ_DTYPE_F32},
    {"torch", "DoubleStorage", AS_NOTHING, PQ_DTYPE_F64},
    {"torch", "HalfStorage", AS_NOTHING, PQ_DTYPE_F16},
    {"torch", "BFloat16Storage", AS_NOTHING, PQ_DTYPE_BF16},
    {"torch", "LongStorage", AS_NOTHING, PQ_DTYPE_I64},
    {"torch", "IntStorage", AS_NOTHING, PQ_DTYPE_I32},
    {"torch", "ShortStorage", AS_NOTHING, PQ_DTYPE_I16},
    {"torch", "CharStorage", AS_NOTHING, PQ_DTYPE_I8},
    {"torch", "ByteStorage", AS_NOTHING, PQ_DTYPE_U8},
    {"torch", "BoolStorage", AS_NOTHING, PQ_DTYPE_U8},
    {"torch", "float32", AS_NOTHING, 0},
    {"torch", "float64", AS_NOTHING, 0},
    {"torch", "float16", AS_NOTHING, 0},
    {"torch", "bfloat16", AS_NOTHING, 0},
    {"torch", "int64", AS_NOTHING, 0},
};

enum { GLOBALS = sizeof globals / sizeof globals[0], ITEMS_MAX = 65536 };

typedef struct {
    const uint8_t *bytes;
    size_t         n, at;
    pq_pickle      out;
    size_t         capacity;
    /* The stack of value indices; SIZE_MAX is a mark. */
    size_t *stack, depth, room;
    size_t *memo, memo_n; /* SIZE_MAX: empty */
    size_t  memo_count;   /* for MEMOIZE */
    pq_err *err;
} machine;

void pq_pickle_free(pq_pickle *p)
{
    for (size_t i = 0; i < p->n; i++) {
        pq_free(p->values[i].items);
    }
    pq_free(p->values);
    *p = (pq_pickle){0};
}

bool pq_pickle_is(const pq_pickle_value *v, const char *text)
{
    return v->type == PQ_PICKLE_TEXT && v->text_bytes == strlen(text) &&
           memcmp(v->text, text, v->text_bytes) == 0;
}

const pq_pickle_value *pq_pickle_get(const pq_pickle *p, const pq_pickle_value *dict,
                                     const char *key)
{
    for (size_t i = 0; dict->type == PQ_PICKLE_DICT && i + 1 < dict->n; i += 2) {
        if (pq_pickle_is(&p->values[dict->items[i]], key)) {
            return &p->values[dict->items[i + 1]];
        }
    }
    return NULL;
}

/* Makes room for one item more; capacities double. */
static pq_status grow(void **block, size_t n, size_t *capacity, size_t size, pq_err *err)
{
    const size_t wanted = *capacity == 0 ? 64 : 2 * *capacity;
    void        *grown;
    pq_status    st = PQ_OK;

    if (n < *capacity) {
        return PQ_OK;
    }
    grown = pq_recalloc(*block, *capacity, wanted, size);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu values", wanted);
    *block    = grown;
    *capacity = wanted;
cleanup:
    return st;
}

static pq_status push_index(machine *m, size_t index)
{
    pq_status st;

    st = grow((void **)&m->stack, m->depth, &m->room, sizeof *m->stack, m->err);
    if (st == PQ_OK) {
        m->stack[m->depth++] = index;
    }
    return st;
}

/* Takes the items of v, also on failure. */
static pq_status push(machine *m, pq_pickle_value v)
{
    pq_status st = grow((void **)&m->out.values, m->out.n, &m->capacity,
                        sizeof *m->out.values, m->err);

    if (st != PQ_OK) {
        pq_free(v.items);
        return st;
    }
    m->out.values[m->out.n++] = v;
    return push_index(m, m->out.n - 1);
}

static pq_status malformed(const machine *m, const char *what)
{
    return pq_err_set(m->err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                      "the pickle is malformed at byte %zu: %s", m->at, what);
}

/* The next count bytes. */
static pq_status take(machine *m, size_t count, const uint8_t **out)
{
    if (count > m->n - m->at) {
        return pq_err_set(m->err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                          "the pickle is truncated: byte %zu of %zu wants %zu more",
                          m->at, m->n, count);
    }
    *out = m->bytes + m->at;
    m->at += count;
    return PQ_OK;
}

/* Little-endian unsigned number of count <= 8 bytes. */
static pq_status take_number(machine *m, size_t count, uint64_t *out)
{
    const uint8_t *b  = NULL;
    pq_status      st = take(m, count, &b);

    *out = 0;
    for (size_t i = 0; st == PQ_OK && i < count; i++) {
        *out |= (uint64_t)b[i] << (8 * i);
    }
    return st;
}

static pq_status take_text(machine *m, size_t length_bytes)
{
    const uint8_t *b = NULL;
    uint64_t       n;
    pq_err        *err = m->err;
    pq_status      st;

    PQ_TRY(take_number(m, length_bytes, &n));
    PQ_CHECK(n <= m->n - m->at, PQ_ERR_FORMAT,
             "the pickle is truncated: a text of %llu bytes at byte %zu of %zu",
             (unsigned long long)n, m->at, m->n);
    PQ_TRY(take(m, (size_t)n, &b));
    PQ_TRY(push(m, (pq_pickle_value){.type       = PQ_PICKLE_TEXT,
                                     .text       = (const char *)b,
                                     .text_bytes = (size_t)n}));
cleanup:
    return st;
}

static pq_status push_int(machine *m, int64_t number)
{
    return push(m, (pq_pickle_value){.type = PQ_PICKLE_INT, .number = number});
}

/* LONG1: signed, any length; what does not fit 64 bits is kept modulo 2^64. */
static pq_status take_long(machine *m)
{
    const uint8_t *b = NULL;
    uint64_t       n, value = 0;
    pq_status      st = take_number(m, 1, &n);

    st = st == PQ_OK ? take(m, (size_t)n, &b) : st;
    if (st != PQ_OK) {
        return st;
    }
    if (n > 0 && (b[n - 1] & 0x80) != 0) {
        value = UINT64_MAX;
    }
    for (size_t i = n < 8 ? (size_t)n : 8; i-- > 0;) {
        value = value << 8 | b[i];
    }
    return push_int(m, (int64_t)value);
}

/* Big-endian double. */
static pq_status take_real(machine *m)
{
    const uint8_t *b    = NULL;
    uint64_t       bits = 0;
    double         real;
    pq_status      st = take(m, 8, &b);

    for (size_t i = 0; st == PQ_OK && i < 8; i++) {
        bits = bits << 8 | b[i];
    }
    memcpy(&real, &bits, sizeof real);
    return st == PQ_OK ? push(m, (pq_pickle_value){.type = PQ_PICKLE_REAL, .real = real})
                       : st;
}

static pq_status pop(machine *m, size_t *out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX) {
        return malformed(m, "a value is due on the stack");
    }
    *out = m->stack[--m->depth];
    return PQ_OK;
}

/* Values above the last mark, and drops it; they stay in the stack's memory. */
static pq_status pop_mark(machine *m, const size_t **items, size_t *n)
{
    size_t i = m->depth;

    while (i > 0 && m->stack[i - 1] != SIZE_MAX) {
        i--;
    }
    if (i == 0) {
        return malformed(m, "a mark is due on the stack");
    }
    *items   = m->stack + i;
    *n       = m->depth - i;
    m->depth = i - 1;
    return PQ_OK;
}

static pq_status push_list(machine *m, pq_pickle_type type, const size_t *items, size_t n)
{
    pq_pickle_value v   = {.type = type, .n = n};
    pq_err         *err = m->err;
    pq_status       st  = PQ_OK;

    if (n > 0) {
        PQ_NEW(v.items, n);
        memcpy(v.items, items, n * sizeof *items);
    }
    return push(m, v);
cleanup:
    return st;
}

/* Tuple of everything above the mark, or of the last count values. */
static pq_status tuple(machine *m, size_t count, bool marked)
{
    const size_t *items = NULL;
    size_t        n     = count;
    pq_status     st;

    if (marked) {
        st = pop_mark(m, &items, &n);
        return st == PQ_OK ? push_list(m, PQ_PICKLE_LIST, items, n) : st;
    }
    for (size_t i = 0; i < count; i++) {
        if (m->depth < count || m->stack[m->depth - 1 - i] == SIZE_MAX) {
            return malformed(m, "values of a tuple are due on the stack");
        }
    }
    m->depth -= count;
    return push_list(m, PQ_PICKLE_LIST, m->stack + m->depth, n);
}

/* Appends items to the list or dict on top of the stack. */
static pq_status extend(machine *m, pq_pickle_type type, const size_t *items, size_t n)
{
    pq_pickle_value *v;
    size_t          *grown;

    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX ||
        m->out.values[m->stack[m->depth - 1]].type != type ||
        (type == PQ_PICKLE_DICT && n % 2 != 0)) {
        return malformed(m, type == PQ_PICKLE_DICT ? "a dict and pairs for it are due"
                                                   : "a list is due");
    }
    v = &m->out.values[m->stack[m->depth - 1]];
    if (v->n + n > ITEMS_MAX) { /* growing one by one takes the square of it */
        return malformed(m, "a list or dict of more than 65536 items");
    }
    if (n == 0) {
        return PQ_OK;
    }
    grown = pq_recalloc(v->items, v->n, v->n + n, sizeof *grown);
    if (grown == NULL) {
        return pq_err_set(m->err, PQ_ERR_NOMEM, __FILE__, __LINE__,
                          "cannot allocate %zu values", v->n + n);
    }
    memcpy(grown + v->n, items, n * sizeof *items);
    v->items = grown;
    v->n += n;
    return PQ_OK;
}

static pq_status extend_marked(machine *m, pq_pickle_type type)
{
    const size_t *items;
    size_t        n;
    pq_status     st = pop_mark(m, &items, &n);

    return st == PQ_OK ? extend(m, type, items, n) : st;
}

static pq_status extend_by(machine *m, pq_pickle_type type, size_t count)
{
    size_t    items[2];
    pq_status st = PQ_OK;

    for (size_t i = count; st == PQ_OK && i-- > 0;) {
        st = pop(m, &items[i]);
    }
    return st == PQ_OK ? extend(m, type, items, count) : st;
}

static pq_status push_global(machine *m, const char *module, size_t module_n,
                             const char *name, size_t name_n)
{
    for (size_t i = 0; i < GLOBALS; i++) {
        if (strlen(globals[i].module) == module_n && strlen(globals[i].name) == name_n &&
            memcmp(globals[i].module, module, module_n) == 0 &&
            memcmp(globals[i].name, name, name_n) == 0) {
            return push(
                m, (pq_pickle_value){.type = PQ_PICKLE_GLOBAL, .number = (int64_t)i});
        }
    }
    return pq_err_set(m->err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                      "the pickle names '%.*s.%.*s', which no state dict needs; nothing "
                      "of it is run",
                      module_n < 60 ? (int)module_n : 60, module,
                      name_n < 60 ? (int)name_n : 60, name);
}

/* GLOBAL: two lines of text. */
static pq_status take_global(machine *m)
{
    const char *start[2];
    size_t      length[2];

    for (size_t i = 0; i < 2; i++) {
        const uint8_t *end = memchr(m->bytes + m->at, '\n', m->n - m->at);
        if (end == NULL) {
            return malformed(m, "a name without end");
        }
        start[i]  = (const char *)m->bytes + m->at;
        length[i] = (size_t)(end - (m->bytes + m->at));
        m->at += length[i] + 1;
    }
    return push_global(m, start[0], length[0], start[1], length[1]);
}

static pq_status stack_global(machine *m)
{
    size_t                 name, module;
    const pq_pickle_value *a, *b;
    pq_status              st = pop(m, &name);

    st = st == PQ_OK ? pop(m, &module) : st;
    if (st != PQ_OK) {
        return st;
    }
    a = &m->out.values[module];
    b = &m->out.values[name];
    if (a->type != PQ_PICKLE_TEXT || b->type != PQ_PICKLE_TEXT) {
        return malformed(m, "the names of a global are due");
    }
    return push_global(m, a->text, a->text_bytes, b->text, b->text_bytes);
}

/* Item i of a list or tuple if it has this type, else NULL. */
static const pq_pickle_value *item(const machine *m, const pq_pickle_value *list,
                                   size_t i, pq_pickle_type type)
{
    const pq_pickle_value *v = list->type == PQ_PICKLE_LIST && i < list->n
                                   ? &m->out.values[list->items[i]]
                                   : NULL;

    return v != NULL && v->type == type ? v : NULL;
}

/* A call of a known global with a tuple of arguments. */
static pq_status reduce(machine *m)
{
    size_t                 arguments, callee;
    const pq_pickle_value *a, *f;
    pq_status              st = pop(m, &arguments);

    st = st == PQ_OK ? pop(m, &callee) : st;
    if (st != PQ_OK) {
        return st;
    }
    a = &m->out.values[arguments];
    f = &m->out.values[callee];
    if (f->type != PQ_PICKLE_GLOBAL || a->type != PQ_PICKLE_LIST) {
        return malformed(m, "a call of something that is no global");
    }
    switch (globals[f->number].as) {
    case AS_DICT:
        return a->n == 0 ? push_list(m, PQ_PICKLE_DICT, NULL, 0)
                         : malformed(m, "an OrderedDict with arguments");
    case AS_FIRST:
        return item(m, a, 0, PQ_PICKLE_TENSOR) != NULL
                   ? push_index(m, a->items[0])
                   : malformed(m, "a parameter without a tensor");
    case AS_LIST:
        return item(m, a, 0, PQ_PICKLE_LIST) != NULL ? push_index(m, a->items[0])
                                                     : malformed(m, "a Size of no tuple");
    case AS_TENSOR:
        return item(m, a, 0, PQ_PICKLE_STORAGE) != NULL &&
                       item(m, a, 1, PQ_PICKLE_INT) != NULL &&
                       item(m, a, 2, PQ_PICKLE_LIST) != NULL &&
                       item(m, a, 3, PQ_PICKLE_LIST) != NULL
                   ? push_list(m, PQ_PICKLE_TENSOR, a->items, 4)
                   : malformed(m, "a tensor of wrong arguments");
    case AS_NOTHING:
        break;
    }
    return malformed(m, "a call of something that is no function");
}

/* ('storage', type, key, location, items, …) */
static pq_status persistent(machine *m)
{
    size_t                 id = 0;
    const pq_pickle_value *v, *type;
    pq_status              st = pop(m, &id);

    if (st != PQ_OK) {
        return st;
    }
    v    = &m->out.values[id];
    type = item(m, v, 1, PQ_PICKLE_GLOBAL);
    if (item(m, v, 0, PQ_PICKLE_TEXT) == NULL ||
        !pq_pickle_is(item(m, v, 0, PQ_PICKLE_TEXT), "storage") || type == NULL ||
        globals[type->number].as != AS_NOTHING || item(m, v, 2, PQ_PICKLE_TEXT) == NULL ||
        item(m, v, 4, PQ_PICKLE_INT) == NULL) {
        return malformed(m, "a description of a storage is due");
    }
    const size_t   items[] = {v->items[2], v->items[4]};
    const pq_dtype dtype   = globals[type->number].dtype;

    st = push_list(m, PQ_PICKLE_STORAGE, items, 2);
    if (st == PQ_OK) {
        m->out.values[m->out.n - 1].number = (int64_t)dtype;
    }
    return st;
}

/* Remembers the top of the stack; a pickle cannot name more places than it has bytes. */
static pq_status put(machine *m, uint64_t place)
{
    size_t *grown;

    if (m->depth == 0 || m->stack[m->depth - 1] == SIZE_MAX || place >= m->n) {
        return malformed(m, "a value to remember is due, and a place within the pickle");
    }
    if (place >= m->memo_n) {
        const size_t wanted = (size_t)place < 256 ? 256 : 2 * (size_t)place;
        grown               = pq_recalloc(m->memo, m->memo_n, wanted, sizeof *grown);
        if (grown == NULL) {
            return pq_err_set(m->err, PQ_ERR_NOMEM, __FILE__, __LINE__,
                              "cannot allocate %zu places", wanted);
        }
        for (size_t i = m->memo_n; i < wanted; i++) {
            grown[i] = SIZE_MAX;
        }
        m->memo   = grown;
        m->memo_n = wanted;
    }
    m->memo[place] = m->stack[m->depth - 1];
    m->memo_count++;
    return PQ_OK;
}

static pq_status put_numbered(machine *m, size_t bytes)
{
    uint64_t  place;
    pq_status st = take_number(m, bytes, &place);

    return st == PQ_OK ? put(m, place) : st;
}

static pq_status get(machine *m, size_t bytes)
{
    uint64_t  place;
    pq_status st = take_number(m, bytes, &place);

    if (st != PQ_OK) {
        return st;
    }
    if (place >= m->memo_n || m->memo[place] == SIZE_MAX) {
        return malformed(m, "nothing was remembered under this number");
    }
    return push_index(m, m->memo[place]);
}

/* BUILD sets attributes of an object: of no interest, and nothing is set. */
static pq_status drop(machine *m)
{
    size_t gone;

    return pop(m, &gone);
}

static pq_status number(machine *m, size_t bytes)
{
    uint64_t  value;
    pq_status st = take_number(m, bytes, &value);

    return st != PQ_OK ? st
                       : push_int(m, bytes == 4 ? (int64_t)(int32_t)(uint32_t)value
                                                : (int64_t)value);
}

static pq_status skip(machine *m, size_t bytes)
{
    const uint8_t *b = NULL;

    return take(m, bytes, &b);
}

static pq_status step(machine *m, uint8_t code)
{
    switch (code) {
    case 0x80: /* PROTO */
        return skip(m, 1);
    case 0x95: /* FRAME */
        return skip(m, 8);
    case '(':
        return push_index(m, SIZE_MAX);
    case '0':
    case 'b':
        return drop(m);
    case 'N':
        return push_index(m, PQ_PICKLE_NONE);
    case 0x88:
        return push_int(m, 1);
    case 0x89:
        return push_int(m, 0);
    case 'K':
        return number(m, 1);
    case 'M':
        return number(m, 2);
    case 'J':
        return number(m, 4);
    case 0x8a:
        return take_long(m);
    case 'G':
        return take_real(m);
    case 'X':
    case 'T':
    case 'B':
        return take_text(m, 4);
    case 0x8c:
    case 'U':
    case 'C':
        return take_text(m, 1);
    case '}':
        return push_list(m, PQ_PICKLE_DICT, NULL, 0);
    case ']':
    case ')':
    case 0x8f:
        return push_list(m, PQ_PICKLE_LIST, NULL, 0);
    case 't':
        return tuple(m, 0, true);
    case 0x85:
    case 0x86:
    case 0x87:
        return tuple(m, (size_t)(code - 0x84), false);
    case 's':
        return extend_by(m, PQ_PICKLE_DICT, 2);
    case 'u':
        return extend_marked(m, PQ_PICKLE_DICT);
    case 'a':
        return extend_by(m, PQ_PICKLE_LIST, 1);
    case 'e':
    case 0x90:
        return extend_marked(m, PQ_PICKLE_LIST);
    case 'c':
        return take_global(m);
    case 0x93:
        return stack_global(m);
    case 'R':
    case 0x81:
        return reduce(m);
    case 'Q':
        return persistent(m);
    case 'q':
        return put_numbered(m, 1);
    case 'r':
        return put_numbered(m, 4);
    case 0x94:
        return put(m, m->memo_count);
    case 'h':
        return get(m, 1);
    case 'j':
        return get(m, 4);
    default:
        return pq_err_set(m->err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                          "the pickle has instruction 0x%02x at byte %zu, which no state "
                          "dict needs",
                          code, m->at - 1);
    }
}

pq_status pq_pickle_read(const uint8_t *bytes, size_t n, pq_pickle *out, size_t *used,
                         pq_err *err)
{
    machine        m    = {.bytes = bytes, .n = n, .err = err};
    const uint8_t *code = NULL;
    pq_status      st;

    PQ_TRY(push(&m, (pq_pickle_value){.type = PQ_PICKLE_NULL}));
    m.depth = 0;
    while (true) {
        PQ_TRY(take(&m, 1, &code));
        if (*code == '.') {
            break;
        }
        PQ_TRY(step(&m, *code));
    }
    PQ_TRY(pop(&m, &m.out.root));
    *used = m.at;
    *out  = m.out;
    m.out = (pq_pickle){0};
cleanup:
    pq_pickle_free(&m.out);
    pq_free(m.stack);
    pq_free(m.memo);
    return st;
}
