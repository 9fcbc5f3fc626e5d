/*
 * Flax's msgpack (flax.serialization.to_bytes): a tree of maps whose leaves are arrays,
 * each an extension of type 1 that holds [shape, type, bytes]. Networks as of any state
 * dict (formats/state.h). Read only; `.npz` is what is written for Flax.
 *
 * Source: msgpack's spec.md; flax/serialization.py.
 */
#include <ctype.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"

enum { MAX_DEPTH = 32, MAX_KEY = 1000, EXT_ARRAY = 1 };

/* Types that are read, by NumPy's names. */
static const struct {
    const char *name;
    pq_dtype    dtype;
} types[] = {
    {"float32", PQ_DTYPE_F32},   {"float64", PQ_DTYPE_F64}, {"float16", PQ_DTYPE_F16},
    {"bfloat16", PQ_DTYPE_BF16}, {"int8", PQ_DTYPE_I8},     {"uint8", PQ_DTYPE_U8},
    {"int16", PQ_DTYPE_I16},     {"uint16", PQ_DTYPE_U16},  {"int32", PQ_DTYPE_I32},
    {"uint32", PQ_DTYPE_U32},    {"int64", PQ_DTYPE_I64}};

/* What a value is. */
typedef enum { NIL, BOOLEAN, NUMBER, TEXT, BYTES, LIST, MAP, EXTENSION } sort;

/* A value's head: of containers the number of items, of texts, bytes and extensions that
 * of bytes, of whole numbers their value. */
typedef struct {
    sort     sort;
    uint64_t n;
    int      ext; /* type of an extension */
} head;

typedef struct {
    const uint8_t *at, *end;
} stream;

/* An array's bytes. */
typedef struct {
    pq_dtype       dtype;
    pq_shape       shape;
    const uint8_t *bytes;
} array;

typedef struct {
    size_t    n, room;
    array    *arrays;
    pq_state *state;
    bool      trained; /* a state of training: arrays of its optimiser are passed over */
} reader;

static pq_status big(stream *s, size_t bytes, uint64_t *out, pq_err *err)
{
    pq_status st;

    PQ_CHECK((size_t)(s->end - s->at) >= bytes, PQ_ERR_FORMAT, "ends within a value");
    for (*out = 0; bytes > 0; bytes--) {
        *out = *out << 8 | *s->at++;
    }
cleanup:
    return st;
}

/* 0xc0 to 0xdf: what it is, and bytes of its number. */
static const struct {
    sort    sort;
    uint8_t bytes; /* of n */
    uint8_t fixed; /* n where it has no bytes */
} heads[32] = {
    [0x00] = {NIL, 0, 0},       [0x02] = {BOOLEAN, 0, 0},   [0x03] = {BOOLEAN, 0, 1},
    [0x04] = {BYTES, 1, 0},     [0x05] = {BYTES, 2, 0},     [0x06] = {BYTES, 4, 0},
    [0x07] = {EXTENSION, 1, 0}, [0x08] = {EXTENSION, 2, 0}, [0x09] = {EXTENSION, 4, 0},
    [0x0a] = {NUMBER, 4, 0},    [0x0b] = {NUMBER, 8, 0},    [0x0c] = {NUMBER, 1, 0},
    [0x0d] = {NUMBER, 2, 0},    [0x0e] = {NUMBER, 4, 0},    [0x0f] = {NUMBER, 8, 0},
    [0x10] = {NUMBER, 1, 0},    [0x11] = {NUMBER, 2, 0},    [0x12] = {NUMBER, 4, 0},
    [0x13] = {NUMBER, 8, 0},    [0x14] = {EXTENSION, 0, 1}, [0x15] = {EXTENSION, 0, 2},
    [0x16] = {EXTENSION, 0, 4}, [0x17] = {EXTENSION, 0, 8}, [0x18] = {EXTENSION, 0, 16},
    [0x19] = {TEXT, 1, 0},      [0x1a] = {TEXT, 2, 0},      [0x1b] = {TEXT, 4, 0},
    [0x1c] = {LIST, 2, 0},      [0x1d] = {LIST, 4, 0},      [0x1e] = {MAP, 2, 0},
    [0x1f] = {MAP, 4, 0},
};

static pq_status next(stream *s, head *out, pq_err *err)
{
    uint64_t  first, type = 0;
    pq_status st;

    *out = (head){0};
    PQ_TRY(big(s, 1, &first, err));
    if (first < 0x80 || first >= 0xe0) { /* small numbers */
        *out = (head){NUMBER, first, 0};
    } else if (first < 0xc0) {
        out->sort = first < 0x90 ? MAP : first < 0xa0 ? LIST : TEXT;
        out->n    = out->sort == TEXT ? first & 31 : first & 15;
    } else {
        PQ_CHECK(first != 0xc1, PQ_ERR_FORMAT, "holds byte 0xc1, which begins no value");
        out->sort = heads[first & 31].sort;
        out->n    = heads[first & 31].fixed;
        if (heads[first & 31].bytes > 0) {
            PQ_TRY(big(s, heads[first & 31].bytes, &out->n, err));
        }
        if (out->sort == EXTENSION) {
            PQ_TRY(big(s, 1, &type, err));
            out->ext = (int)type;
        }
    }
    PQ_CHECK((out->sort != TEXT && out->sort != BYTES && out->sort != EXTENSION) ||
                 out->n <= (size_t)(s->end - s->at),
             PQ_ERR_FORMAT, "ends within a value of %llu bytes",
             (unsigned long long)out->n);
cleanup:
    return st;
}

/* Passes over what a head began. */
static pq_status skip(stream *s, const head *h, size_t depth, pq_err *err)
{
    const bool     bytes = h->sort == TEXT || h->sort == BYTES || h->sort == EXTENSION;
    const uint64_t n     = h->sort == MAP ? 2 * h->n : h->sort == LIST ? h->n : 0;
    pq_status      st;

    PQ_CHECK(depth <= MAX_DEPTH, PQ_ERR_FORMAT, "holds trees deeper than %d", MAX_DEPTH);
    s->at += bytes ? h->n : 0;
    for (uint64_t i = 0; i < n; i++) {
        head inner;
        PQ_TRY(next(s, &inner, err));
        PQ_TRY(skip(s, &inner, depth + 1, err));
    }
cleanup:
    return st;
}

static pq_status read_type(const uint8_t *name, size_t n, pq_dtype *out, pq_err *err)
{
    pq_status st;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].name) == n && memcmp(types[i].name, name, n) == 0) {
            *out = types[i].dtype;
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED,
            "dtype '%.*s' is not read: float64, float32, float16, bfloat16 and whole "
            "numbers are",
            n < 40 ? (int)n : 40, (const char *)name);
cleanup:
    return st;
}

/* [[2, 3], "float32", bytes]. */
static pq_status read_array(stream s, array *out, pq_err *err)
{
    head      h;
    pq_status st;

    PQ_TRY(next(&s, &h, err));
    PQ_CHECK(h.sort == LIST && h.n == 3, PQ_ERR_FORMAT, "is no shape, type and bytes");
    PQ_TRY(next(&s, &h, err));
    PQ_CHECK(h.sort == LIST && h.n <= PQ_MAX_DIMS, PQ_ERR_FORMAT,
             "its shape is no list of at most %d sizes", PQ_MAX_DIMS);
    for (uint64_t left = h.n; left > 0; left--) {
        PQ_TRY(next(&s, &h, err));
        PQ_CHECK(h.sort == NUMBER && h.n > 0, PQ_ERR_FORMAT,
                 "size %zu of its shape is no number above 0", out->shape.ndim);
        out->shape.dim[out->shape.ndim++] = (size_t)h.n;
    }
    PQ_TRY(next(&s, &h, err));
    PQ_CHECK(h.sort == TEXT, PQ_ERR_FORMAT, "its type is no text");
    PQ_TRY(read_type(s.at, (size_t)h.n, &out->dtype, err));
    s.at += h.n;
    PQ_TRY(next(&s, &h, err));
    PQ_CHECK(h.sort == BYTES, PQ_ERR_FORMAT, "its values are no bytes");
    PQ_TRY(pq_state_check_bytes(&out->shape, out->dtype, (size_t)h.n, err));
    out->bytes = s.at;
cleanup:
    return st;
}

static pq_status add_array(reader *r, const stream *s, const head *h, const char *name,
                           pq_err *err)
{
    array    *grown = NULL;
    pq_status st;

    PQ_CHECK(h->sort == EXTENSION && h->ext == EXT_ARRAY, PQ_ERR_UNSUPPORTED,
             "is no array");
    if (r->n == r->room) {
        const size_t room = 2 * r->room + 8;
        grown             = pq_recalloc(r->arrays, r->n, room, sizeof *grown);
        PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate an array");
        r->arrays = grown;
        r->room   = room;
    }
    r->arrays[r->n] = (array){0};
    PQ_TRY(read_array((stream){s->at, s->at + h->n}, &r->arrays[r->n], err));
    PQ_TRY(pq_state_add(r->state, name, strlen(name), &r->arrays[r->n].shape, r->n, err));
    r->n++;
cleanup:
    return st;
}

/* Whether a branch of the tree is of the training alone. */
static bool is_idle(const reader *r, const char *path)
{
    static const char *const branches[] = {"step", "opt_state", "rng", "tx"};

    for (size_t i = 0; r->trained && i < sizeof branches / sizeof *branches; i++) {
        if (strcmp(path, branches[i]) == 0) {
            return true;
        }
    }
    return false;
}

static pq_status read_map(reader *r, stream *s, uint64_t n, const char *path,
                          size_t depth, pq_err *err);

static pq_status read_value(reader *r, stream *s, const char *path, size_t depth,
                            pq_err *err)
{
    head      h;
    pq_status st;

    PQ_TRY(next(s, &h, err));
    if (is_idle(r, path)) {
        return skip(s, &h, depth, err);
    }
    if (h.sort == MAP) {
        return read_map(r, s, h.n, path, depth + 1, err);
    }
    st = add_array(r, s, &h, path, err);
    if (st != PQ_OK) {
        pq_err_context(err, "'%.100s'", path);
        goto cleanup;
    }
    s->at += h.n;
cleanup:
    return st;
}

static pq_status read_map(reader *r, stream *s, uint64_t n, const char *path,
                          size_t depth, pq_err *err)
{
    char     *name = NULL;
    pq_status st;

    PQ_CHECK(depth <= MAX_DEPTH, PQ_ERR_FORMAT, "holds trees deeper than %d", MAX_DEPTH);
    for (uint64_t i = 0; i < n; i++) {
        head h;
        PQ_TRY(next(s, &h, err));
        PQ_CHECK(h.sort == TEXT && h.n > 0 && h.n <= MAX_KEY &&
                     memchr(s->at, '\0', (size_t)h.n) == NULL,
                 PQ_ERR_FORMAT, "key %llu of '%.100s' is no text of 1 to %d bytes",
                 (unsigned long long)i, path, MAX_KEY);
        PQ_CHECK(h.n != 25 || memcmp(s->at, "__msgpack_chunked_array__", 25) != 0,
                 PQ_ERR_UNSUPPORTED,
                 "'%.100s' is in pieces, as arrays above 1 GB are; save it with "
                 "safetensors",
                 path);
        pq_free(name);
        name = pq_format("%s%s%.*s", path, path[0] != '\0' ? "/" : "", (int)h.n,
                         (const char *)s->at);
        PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        s->at += h.n;
        PQ_TRY(read_value(r, s, name, depth, err));
    }
cleanup:
    pq_free(name);
    return st;
}

/* Whether a tree has a branch of this name. */
static pq_status has_branch(stream s, const char *name, bool *out, pq_err *err)
{
    head      tree, h;
    pq_status st;

    *out = false;
    PQ_TRY(next(&s, &tree, err));
    for (uint64_t i = 0; tree.sort == MAP && i < tree.n; i++) {
        PQ_TRY(next(&s, &h, err));
        *out = *out || (h.sort == TEXT && h.n == strlen(name) &&
                        memcmp(s.at, name, (size_t)h.n) == 0);
        PQ_TRY(skip(&s, &h, 1, err));
        PQ_TRY(next(&s, &h, err));
        PQ_TRY(skip(&s, &h, 1, err));
    }
cleanup:
    return st;
}

static pq_status read_one(void *file, size_t at, const size_t *axes, pq_tensor **out,
                          pq_err *err)
{
    const array *a = &((const reader *)file)->arrays[at];

    return pq_state_floats(a->dtype, &a->shape, a->bytes, axes, out, err);
}

static void close_reader(void *file)
{
    reader *r = file;

    pq_free(r->arrays);
    pq_free(r);
}

pq_status pq_flax_open(pq_state *state, pq_err *err)
{
    stream    s = {state->map.at, state->map.at + state->map.n};
    reader   *r = NULL;
    head      tree;
    pq_status st;

    PQ_NEW(r, 1);
    r->state     = state;
    state->file  = r;
    state->read  = read_one;
    state->close = close_reader;
    PQ_TRY(has_branch(s, "params", &r->trained, err));
    PQ_TRY(next(&s, &tree, err));
    PQ_CHECK(tree.sort == MAP, PQ_ERR_FORMAT, "is no tree of names");
    PQ_TRY(read_map(r, &s, tree.n, "", 1, err));
    PQ_CHECK(s.at == s.end, PQ_ERR_FORMAT, "%zu bytes stand behind the tree",
             (size_t)(s.end - s.at));
cleanup:
    return st;
}

/* A map of at least one name. */
static bool recognises(const char *path)
{
    uint8_t       start[16] = {0};
    const size_t  n         = pq_file_start(path, start, sizeof start);
    const size_t  map = start[0] > 0x80 && start[0] < 0x90 ? 1 : start[0] == 0xde ? 3 : 5;
    const uint8_t key = start[map];
    const size_t  text = map + (key > 0xa0 && key < 0xc0 ? 1
                                : key == 0xd9            ? 2
                                                         : sizeof start);

    return (map < 5 || start[0] == 0xdf) && n > text && text < sizeof start &&
           (isalnum(start[text]) || start[text] == '_');
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return pq_state_load(pq_flax_open, path, arch, out, err);
}

const pq_model_format pq_model_format_flax = {
    .name    = "flax",
    .summary = "msgpack of Flax (flax.serialization.to_bytes) of a network of the zoo or "
               "of a YAML of layers; read only",
    .source  = "flax/serialization.py; github.com/msgpack/msgpack spec.md",
    .recognises = recognises,
    .load       = load,
};
