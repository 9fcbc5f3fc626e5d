#include "formats/torch_pickle.h"

#include <string.h>

#include "core/memory.h"
#include "formats/torch_pickle_stack.h"
#include "formats/ways.h"

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

enum { GLOBALS = sizeof globals / sizeof globals[0] };

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

static pq_status push_global(pq_pickle_machine *m, const char *module, size_t module_n,
                             const char *name, size_t name_n)
{
    for (size_t i = 0; i < GLOBALS; i++) {
        if (strlen(globals[i].module) == module_n && strlen(globals[i].name) == name_n &&
            memcmp(globals[i].module, module, module_n) == 0 &&
            memcmp(globals[i].name, name, name_n) == 0) {
            return pq_pickle_push(
                m, (pq_pickle_value){.type = PQ_PICKLE_GLOBAL, .number = (int64_t)i});
        }
    }
    (void)pq_err_set(m->err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                     "the pickle names '%.*s.%.*s', which no state dict needs; nothing "
                     "of it is run",
                     module_n < 60 ? (int)module_n : 60, module,
                     name_n < 60 ? (int)name_n : 60, name);
    pq_err_hint(m->err, PQ_WAY_MODULE);
    return PQ_ERR_UNSUPPORTED;
}

/* GLOBAL: two lines of text. */
static pq_status take_global(pq_pickle_machine *m)
{
    const char *start[2];
    size_t      length[2];

    for (size_t i = 0; i < 2; i++) {
        const uint8_t *end = memchr(m->bytes + m->at, '\n', m->n - m->at);
        if (end == NULL) {
            return pq_pickle_malformed(m, "a name without end");
        }
        start[i]  = (const char *)m->bytes + m->at;
        length[i] = (size_t)(end - (m->bytes + m->at));
        m->at += length[i] + 1;
    }
    return push_global(m, start[0], length[0], start[1], length[1]);
}

static pq_status stack_global(pq_pickle_machine *m)
{
    size_t                 name, module;
    const pq_pickle_value *a, *b;
    pq_status              st = pq_pickle_pop(m, &name);

    st = st == PQ_OK ? pq_pickle_pop(m, &module) : st;
    if (st != PQ_OK) {
        return st;
    }
    a = &m->out.values[module];
    b = &m->out.values[name];
    if (a->type != PQ_PICKLE_TEXT || b->type != PQ_PICKLE_TEXT) {
        return pq_pickle_malformed(m, "the names of a global are due");
    }
    return push_global(m, a->text, a->text_bytes, b->text, b->text_bytes);
}

/* Item i of a list or tuple if it has this type, else NULL. */
static const pq_pickle_value *item(const pq_pickle_machine *m,
                                   const pq_pickle_value *list, size_t i,
                                   pq_pickle_type type)
{
    const pq_pickle_value *v = list->type == PQ_PICKLE_LIST && i < list->n
                                   ? &m->out.values[list->items[i]]
                                   : NULL;

    return v != NULL && v->type == type ? v : NULL;
}

/* Whether arguments of a tensor say that its values are not those of its storage: the
 * last, which only such tensors have, is {'neg': True} or {'conj': True}. */
static bool is_changed(const pq_pickle_machine *m, const pq_pickle_value *arguments)
{
    enum { METADATA = 6 };
    const pq_pickle_value *metadata = item(m, arguments, METADATA, PQ_PICKLE_DICT);

    return metadata != NULL && metadata->n > 0;
}

/* A call of a known global with a tuple of arguments. */
static pq_status reduce(pq_pickle_machine *m)
{
    size_t                 arguments, callee;
    const pq_pickle_value *a, *f;
    pq_status              st = pq_pickle_pop(m, &arguments);

    st = st == PQ_OK ? pq_pickle_pop(m, &callee) : st;
    if (st != PQ_OK) {
        return st;
    }
    a = &m->out.values[arguments];
    f = &m->out.values[callee];
    if (f->type != PQ_PICKLE_GLOBAL || a->type != PQ_PICKLE_LIST) {
        return pq_pickle_malformed(m, "a call of something that is no global");
    }
    switch (globals[f->number].as) {
    case AS_DICT:
        return a->n == 0 ? pq_pickle_push_list(m, PQ_PICKLE_DICT, NULL, 0)
                         : pq_pickle_malformed(m, "an OrderedDict with arguments");
    case AS_FIRST:
        return item(m, a, 0, PQ_PICKLE_TENSOR) != NULL
                   ? pq_pickle_push_index(m, a->items[0])
                   : pq_pickle_malformed(m, "a parameter without a tensor");
    case AS_LIST:
        return item(m, a, 0, PQ_PICKLE_LIST) != NULL
                   ? pq_pickle_push_index(m, a->items[0])
                   : pq_pickle_malformed(m, "a Size of no tuple");
    case AS_TENSOR:
        if (is_changed(m, a)) {
            (void)pq_err_set(m->err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                             "a tensor is a view that negates or conjugates what is "
                             "stored; write tensor.resolve_neg().resolve_conj()");
            return PQ_ERR_UNSUPPORTED;
        }
        return item(m, a, 0, PQ_PICKLE_STORAGE) != NULL &&
                       item(m, a, 1, PQ_PICKLE_INT) != NULL &&
                       item(m, a, 2, PQ_PICKLE_LIST) != NULL &&
                       item(m, a, 3, PQ_PICKLE_LIST) != NULL
                   ? pq_pickle_push_list(m, PQ_PICKLE_TENSOR, a->items, 4)
                   : pq_pickle_malformed(m, "a tensor of wrong arguments");
    case AS_NOTHING:
        break;
    }
    return pq_pickle_malformed(m, "a call of something that is no function");
}

/* ('storage', type, key, location, items, …) */
static pq_status persistent(pq_pickle_machine *m)
{
    size_t                 id = 0;
    const pq_pickle_value *v, *type;
    pq_status              st = pq_pickle_pop(m, &id);

    if (st != PQ_OK) {
        return st;
    }
    v    = &m->out.values[id];
    type = item(m, v, 1, PQ_PICKLE_GLOBAL);
    if (item(m, v, 0, PQ_PICKLE_TEXT) == NULL ||
        !pq_pickle_is(item(m, v, 0, PQ_PICKLE_TEXT), "storage") || type == NULL ||
        globals[type->number].as != AS_NOTHING || item(m, v, 2, PQ_PICKLE_TEXT) == NULL ||
        item(m, v, 4, PQ_PICKLE_INT) == NULL) {
        return pq_pickle_malformed(m, "a description of a storage is due");
    }
    const size_t   items[] = {v->items[2], v->items[4]};
    const pq_dtype dtype   = globals[type->number].dtype;

    st = pq_pickle_push_list(m, PQ_PICKLE_STORAGE, items, 2);
    if (st == PQ_OK) {
        m->out.values[m->out.n - 1].number = (int64_t)dtype;
    }
    return st;
}

/* BUILD sets attributes of an object: of no interest, and nothing is set. */
static pq_status drop(pq_pickle_machine *m)
{
    size_t gone;

    return pq_pickle_pop(m, &gone);
}

static pq_status number(pq_pickle_machine *m, size_t bytes)
{
    uint64_t  value;
    pq_status st = pq_pickle_take_number(m, bytes, &value);

    return st != PQ_OK
               ? st
               : pq_pickle_push_int(m, bytes == 4 ? (int64_t)(int32_t)(uint32_t)value
                                                  : (int64_t)value);
}

static pq_status skip(pq_pickle_machine *m, size_t bytes)
{
    const uint8_t *b = NULL;

    return pq_pickle_take(m, bytes, &b);
}

static pq_status step(pq_pickle_machine *m, uint8_t code)
{
    switch (code) {
    case 0x80: /* PROTO */
        return skip(m, 1);
    case 0x95: /* FRAME */
        return skip(m, 8);
    case '(':
        return pq_pickle_push_index(m, SIZE_MAX);
    case '0':
    case 'b':
        return drop(m);
    case 'N':
        return pq_pickle_push_index(m, PQ_PICKLE_NONE);
    case 0x88:
        return pq_pickle_push_int(m, 1);
    case 0x89:
        return pq_pickle_push_int(m, 0);
    case 'K':
        return number(m, 1);
    case 'M':
        return number(m, 2);
    case 'J':
        return number(m, 4);
    case 0x8a:
        return pq_pickle_take_long(m);
    case 'G':
        return pq_pickle_take_real(m);
    case 'X':
    case 'T':
    case 'B':
        return pq_pickle_take_text(m, 4);
    case 0x8c:
    case 'U':
    case 'C':
        return pq_pickle_take_text(m, 1);
    case '}':
        return pq_pickle_push_list(m, PQ_PICKLE_DICT, NULL, 0);
    case ']':
    case ')':
    case 0x8f:
        return pq_pickle_push_list(m, PQ_PICKLE_LIST, NULL, 0);
    case 't':
        return pq_pickle_tuple(m, 0, true);
    case 0x85:
    case 0x86:
    case 0x87:
        return pq_pickle_tuple(m, (size_t)(code - 0x84), false);
    case 's':
        return pq_pickle_extend_by(m, PQ_PICKLE_DICT, 2);
    case 'u':
        return pq_pickle_extend_marked(m, PQ_PICKLE_DICT);
    case 'a':
        return pq_pickle_extend_by(m, PQ_PICKLE_LIST, 1);
    case 'e':
    case 0x90:
        return pq_pickle_extend_marked(m, PQ_PICKLE_LIST);
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
        return pq_pickle_put_numbered(m, 1);
    case 'r':
        return pq_pickle_put_numbered(m, 4);
    case 0x94:
        return pq_pickle_put(m, m->memo_count);
    case 'h':
        return pq_pickle_recall(m, 1);
    case 'j':
        return pq_pickle_recall(m, 4);
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
    pq_pickle_machine m    = {.bytes = bytes, .n = n, .err = err};
    const uint8_t    *code = NULL;
    pq_status         st;

    PQ_TRY(pq_pickle_push(&m, (pq_pickle_value){.type = PQ_PICKLE_NULL}));
    m.depth = 0;
    while (true) {
        PQ_TRY(pq_pickle_take(&m, 1, &code));
        if (*code == '.') {
            break;
        }
        PQ_TRY(step(&m, *code));
    }
    PQ_TRY(pq_pickle_pop(&m, &m.out.root));
    *used = m.at;
    *out  = m.out;
    m.out = (pq_pickle){0};
cleanup:
    pq_pickle_free(&m.out);
    pq_free(m.stack);
    pq_free(m.memo);
    return st;
}
