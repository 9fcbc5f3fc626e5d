/* Items of a TensorProto: raw little-endian bytes, typed fields, or a file beside. */
#include <math.h>
#include <string.h>

#include "core/budget.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/onnx_model.h"

enum {
    FLOATS  = 4,
    INTS32  = 5,
    INTS64  = 7,
    RAW     = 9,
    DOUBLES = 10,
    UINTS64 = 11,
    BESIDE  = 13
};

enum { RELEASE_BYTES = 1 << 17 };

static const struct {
    int         type;
    const char *name;
    unsigned    field; /* typed */
    unsigned    bits;  /* raw */
} types[] = {
    {PQ_ONNX_FLOAT, "float32", FLOATS, 32},   {PQ_ONNX_UINT8, "uint8", INTS32, 8},
    {PQ_ONNX_INT8, "int8", INTS32, 8},        {PQ_ONNX_UINT16, "uint16", INTS32, 16},
    {PQ_ONNX_INT16, "int16", INTS32, 16},     {PQ_ONNX_INT32, "int32", INTS32, 32},
    {PQ_ONNX_INT64, "int64", INTS64, 64},     {PQ_ONNX_BOOL, "bool", INTS32, 8},
    {PQ_ONNX_FLOAT16, "float16", INTS32, 16}, {PQ_ONNX_DOUBLE, "float64", DOUBLES, 64},
    {PQ_ONNX_UINT32, "uint32", UINTS64, 32},  {PQ_ONNX_BFLOAT16, "bfloat16", INTS32, 16},
    {PQ_ONNX_UINT4, "uint4", INTS32, 4},      {PQ_ONNX_INT4, "int4", INTS32, 4},
};

static size_t type_at(int type)
{
    size_t i = 0;

    while (i < sizeof types / sizeof *types && types[i].type != type) {
        i++;
    }
    return i;
}

const char *pq_onnx_type_name(int type)
{
    const size_t i = type_at(type);

    return i < sizeof types / sizeof *types ? types[i].name : "a type that is not known";
}

/* Where items go, one after the other in the order of the file. */
typedef struct {
    int        type;
    unsigned   bits;
    size_t     at, count; /* items there, and due */
    pq_tensor *to;
    size_t     ndim, dim[PQ_MAX_DIMS], step[PQ_MAX_DIMS]; /* of the file's axes in `to` */
    size_t     index[PQ_MAX_DIMS], place;
    bool       straight; /* the order is that of the file */
} sink;

static void advance(sink *s)
{
    s->at++;
    if (s->straight) {
        s->place++;
        return;
    }
    for (size_t d = s->ndim; d-- > 0;) {
        s->place += s->step[d];
        if (++s->index[d] < s->dim[d]) {
            return;
        }
        s->place -= s->step[d] * s->dim[d];
        s->index[d] = 0;
    }
}

static void put(sink *s, double real, int64_t whole)
{
    if (s->to->dtype == PQ_DTYPE_F32) {
        pq_f32(s->to)[s->place] = (float)real;
    } else if (s->to->dtype == PQ_DTYPE_F64) {
        pq_f64(s->to)[s->place] = real;
    } else {
        ((int64_t *)s->to->data)[s->place] = whole;
    }
    advance(s);
}

/* One item from its bits; whole numbers stand in them with their sign. */
static void put_bits(sink *s, uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    double         d;
    float          f;
    int64_t        i = 0;

    switch (s->type) {
    case PQ_ONNX_FLOAT:
        memcpy(&f, &low, sizeof f);
        put(s, (double)f, 0);
        return;
    case PQ_ONNX_DOUBLE:
        memcpy(&d, &bits, sizeof d);
        put(s, d, 0);
        return;
    case PQ_ONNX_FLOAT16:
        put(s, (double)pq_f32_from_f16((uint16_t)bits), 0);
        return;
    case PQ_ONNX_BFLOAT16:
        put(s, (double)pq_f32_from_bf16((uint16_t)bits), 0);
        return;
    case PQ_ONNX_INT8:
        i = (int8_t)bits;
        break;
    case PQ_ONNX_INT4:
        i = (int64_t)((bits & 15) ^ 8) - 8;
        break;
    case PQ_ONNX_INT16:
        i = (int16_t)bits;
        break;
    case PQ_ONNX_INT32:
        i = (int32_t)bits;
        break;
    case PQ_ONNX_UINT8:
        i = (uint8_t)bits;
        break;
    case PQ_ONNX_UINT4:
        i = (int64_t)(bits & 15);
        break;
    case PQ_ONNX_UINT16:
        i = (uint16_t)bits;
        break;
    case PQ_ONNX_UINT32:
        i = (int64_t)low;
        break;
    default:
        i = (int64_t)bits;
    }
    put(s, (double)i, i);
}

/* Items of less than a byte: the first in the lower half. */
static void put_halves(sink *s, uint64_t bits)
{
    put_bits(s, bits & 15);
    if (s->at < s->count) {
        put_bits(s, bits >> 4 & 15);
    }
}

static pq_status check_room(const sink *s, size_t more, pq_err *err)
{
    pq_status st;

    PQ_CHECK(more <= s->count - s->at, PQ_ERR_FORMAT,
             "has more items than the %zu of its shape", s->count);
cleanup:
    return st;
}

/* Floats that keep their order and type. */
static void copy_floats(sink *s, pq_span raw)
{
    float *to = pq_f32(s->to);

    for (size_t done = 0; done < raw.n;) {
        const size_t n = raw.n - done < RELEASE_BYTES ? raw.n - done : RELEASE_BYTES;
        memcpy((char *)to + done, raw.at + done, n);
        pq_map_release(raw.at + done, n);
        done += n;
    }
    s->at = s->count;
}

/* Whether a matrix of floats only changes rows and columns. */
static bool is_turned_matrix(const sink *s)
{
    return s->ndim == 2 && !s->straight && s->type == PQ_ONNX_FLOAT &&
           s->to->dtype == PQ_DTYPE_F32;
}

/* Such a matrix in panels of some rows, whose items lie together in the result. */
static void turn_floats(sink *s, pq_span raw)
{
    enum { ROWS = 16 };
    const size_t rows = s->dim[0], columns = s->dim[1];
    float       *to = pq_f32(s->to), x;

    for (size_t r = 0; r < rows; r += ROWS) {
        const size_t   n     = rows - r < ROWS ? rows - r : ROWS;
        const uint8_t *panel = raw.at + 4 * r * columns;
        for (size_t c = 0; c < columns; c++) {
            for (size_t i = 0; i < n; i++) {
                memcpy(&x, panel + 4 * (i * columns + c), sizeof x);
                to[c * rows + r + i] = x;
            }
        }
        pq_map_release(panel, 4 * n * columns);
    }
    s->at = s->count;
}

static pq_status put_raw(sink *s, pq_span raw, pq_err *err)
{
    const size_t width = s->bits / 8, n = s->count;
    size_t       bytes = 0, released = 0;
    bool         fits;
    pq_status    st;

    fits = s->bits == 4 ? (bytes = n / 2 + n % 2, true)
                        : !__builtin_mul_overflow(n, width, &bytes);
    PQ_CHECK(fits && s->at == 0 && raw.n == bytes, PQ_ERR_FORMAT,
             "has %zu bytes, but its shape means %zu", raw.n, bytes);
    if (s->straight && s->type == PQ_ONNX_FLOAT && s->to->dtype == PQ_DTYPE_F32) {
        copy_floats(s, raw);
        return PQ_OK;
    }
    if (is_turned_matrix(s)) {
        turn_floats(s, raw);
        return PQ_OK;
    }
    for (size_t i = 0; s->at < n; i++) {
        uint64_t bits = 0;
        if (s->bits == 4) {
            put_halves(s, raw.at[i]);
            continue;
        }
        memcpy(&bits, raw.at + i * width, width);
        put_bits(s, bits);
        if ((i + 1) * width - released == RELEASE_BYTES) {
            pq_map_release(raw.at + released, RELEASE_BYTES);
            released += RELEASE_BYTES;
        }
    }
cleanup:
    return st;
}

/* A field of floats or doubles, packed or one. */
static pq_status put_fixed(sink *s, pq_span bytes, size_t width, pq_err *err)
{
    pq_status st;

    PQ_CHECK(bytes.n % width == 0, PQ_ERR_FORMAT, "its numbers are cut off");
    PQ_TRY(check_room(s, bytes.n / width, err));
    for (size_t i = 0; i < bytes.n; i += width) {
        uint64_t bits = 0;
        memcpy(&bits, bytes.at + i, width);
        put_bits(s, bits);
    }
cleanup:
    return st;
}

static pq_status put_varints(sink *s, const pq_wire *w, pq_err *err)
{
    pq_span   rest = w->bytes;
    uint64_t  value;
    pq_status st = PQ_OK;

    if (w->type == PQ_WIRE_VARINT) {
        PQ_TRY(check_room(s, 1, err));
        put_bits(s, w->value);
        return PQ_OK;
    }
    PQ_TRY(pq_wire_due(w, PQ_WIRE_BYTES, err));
    while (rest.n > 0) {
        PQ_TRY(pq_wire_varint(&rest, &value, err));
        PQ_TRY(check_room(s, 1, err));
        if (s->bits == 4) {
            put_halves(s, value);
        } else {
            put_bits(s, value);
        }
    }
cleanup:
    return st;
}

/* What external_data says: "location", "offset", "length". */
typedef struct {
    char   location[256];
    size_t offset, length; /* SIZE_MAX: to the end */
} place;

static pq_status read_entry(pq_span message, place *p, pq_err *err)
{
    pq_wire   w            = {.rest = message};
    char      text[2][256] = {"", ""};
    int64_t   n;
    pq_status st;

    while (pq_wire_next(&w, err)) {
        if (w.field == 1 || w.field == 2) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            PQ_CHECK(w.bytes.n < sizeof *text &&
                         (w.bytes.n == 0 || memchr(w.bytes.at, '\0', w.bytes.n) == NULL),
                     PQ_ERR_FORMAT, "the name of its file has %zu bytes, or a NUL",
                     w.bytes.n);
            memset(text[w.field - 1], 0, sizeof *text);
            if (w.bytes.n > 0) {
                memcpy(text[w.field - 1], w.bytes.at, w.bytes.n);
            }
        }
    }
    PQ_TRY(w.st);
    if (strcmp(text[0], "location") == 0) {
        memcpy(p->location, text[1], sizeof p->location);
    } else if (strcmp(text[0], "offset") == 0 || strcmp(text[0], "length") == 0) {
        PQ_CHECK(pq_parse_int(text[1], &n) && n >= 0, PQ_ERR_FORMAT,
                 "the %s of its data, '%s', is no number of bytes", text[0], text[1]);
        *(text[0][0] == 'o' ? &p->offset : &p->length) = (size_t)n;
    }
cleanup:
    return st;
}

/* Items that stand in a file of the same folder. */
static pq_status put_beside(pq_onnx_model *m, const pq_onnx_tensor *t, sink *s,
                            pq_err *err)
{
    const size_t base = (size_t)(pq_path_base(m->path) - m->path);
    char     *folder = base > 0 ? pq_format("%.*s", (int)base, m->path) : pq_format("./");
    char     *path   = NULL;
    place     p      = {.length = SIZE_MAX};
    pq_map    map    = {0};
    pq_wire   w      = {.rest = t->message};
    pq_status st;

    while (pq_wire_next(&w, err)) {
        if (w.field == BESIDE && w.type == PQ_WIRE_BYTES) {
            PQ_TRY(read_entry(w.bytes, &p, err));
        }
    }
    PQ_TRY(w.st);
    PQ_CHECK(folder != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_CHECK(pq_path_is_inside(folder, p.location), PQ_ERR_FORMAT,
             "its data are in '%s', which is not in the folder of the model", p.location);
    path = pq_path_join(folder, p.location);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_map_open(path, &map, err));
    if (json_object_get(m->beside, p.location) == NULL) {
        pq_budget_add(map.n);
        PQ_CHECK(json_object_set_new_nocheck(m->beside, p.location, json_true()) == 0,
                 PQ_ERR_NOMEM, "cannot allocate a name");
    }
    PQ_CHECK(p.offset <= map.n && (p.length == SIZE_MAX || p.length <= map.n - p.offset),
             PQ_ERR_FORMAT, "its data end beyond the %zu bytes of %s", map.n, path);
    p.length = p.length == SIZE_MAX ? map.n - p.offset : p.length;
    PQ_TRY(put_raw(s, (pq_span){map.at + p.offset, p.length}, err));
cleanup:
    pq_map_close(&map);
    pq_free(folder);
    pq_free(path);
    return st;
}

static pq_status put_fields(const pq_onnx_tensor *t, unsigned due, sink *s, pq_err *err)
{
    pq_wire   w = {.rest = t->message};
    pq_status st;

    while (pq_wire_next(&w, err)) {
        if (w.field == RAW) {
            PQ_TRY(pq_wire_due(&w, PQ_WIRE_BYTES, err));
            if (w.bytes.n > 0 || s->count == 0) { /* given empty beside typed ones */
                PQ_TRY(put_raw(s, w.bytes, err));
            }
        } else if (w.field == due && (due == FLOATS || due == DOUBLES)) {
            PQ_CHECK(w.type != PQ_WIRE_VARINT, PQ_ERR_FORMAT,
                     "its numbers are no floats");
            PQ_TRY(put_fixed(s, w.bytes, s->bits / 8, err));
        } else if (w.field == due) {
            PQ_TRY(put_varints(s, &w, err));
        }
    }
    PQ_TRY(w.st);
cleanup:
    return st;
}

/* Shape of the result, and how far an index of each axis of the file moves in it. */
static void lay_out(const pq_shape *from, const size_t *axis, sink *s, pq_shape *to)
{
    size_t step = 1;

    s->ndim = to->ndim = from->ndim;
    s->straight        = true;
    for (size_t i = from->ndim; i-- > 0;) {
        const size_t a = axis != NULL ? axis[i] : i;
        to->dim[i]     = from->dim[a];
        s->dim[a]      = from->dim[a];
        s->step[a]     = step;
        step *= from->dim[a];
        s->straight = s->straight && a == i;
    }
}

pq_status pq_onnx_tensor_items(pq_onnx_model *m, const pq_onnx_tensor *t, pq_dtype dtype,
                               const size_t *axis, pq_tensor **out, pq_err *err)
{
    const size_t at = type_at(t->type);
    sink         s  = {.type = t->type, .count = t->count};
    pq_shape     shape;
    size_t       bytes;
    pq_status    st;

    PQ_CHECK(at < sizeof types / sizeof *types, PQ_ERR_UNSUPPORTED,
             "has items of type %d, which are not read", t->type);
    PQ_CHECK(!__builtin_mul_overflow(t->count, pq_dtype_bytes(dtype), &bytes) &&
                 pq_budget_fits(bytes),
             PQ_ERR_FORMAT, "says to have %zu items, more than the file is worth",
             t->count);
    s.bits = types[at].bits;
    lay_out(&t->shape, axis, &s, &shape);
    PQ_TRY(pq_tensor_create(dtype, shape, &s.to, err));
    if (t->external) {
        PQ_TRY(put_beside(m, t, &s, err));
    } else {
        PQ_TRY(put_fields(t, types[at].field, &s, err));
    }
    PQ_CHECK(s.at == s.count, PQ_ERR_FORMAT, "has %zu items, but its shape means %zu",
             s.at, s.count);
    *out = s.to;
    s.to = NULL;
cleanup:
    pq_tensor_free(&s.to);
    if (st != PQ_OK) {
        pq_err_context(err, "constant '%s'", m->names.text[t->name]);
    }
    return st;
}
