/*
 * .npz of NumPy: a ZIP of arrays (.npy), named by Keras or Flax ("Dense_0/kernel") or as
 * a state dict of PyTorch. Networks as of any state dict (formats/state.h). Written with
 * the names and order of axes of Keras and Flax. Pickled arrays are refused.
 *
 * Source: numpy.lib.format (NEP 1).
 */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"
#include "io/zip.h"

enum { MAGIC_BYTES = 8, ALIGN = 64 };

static const char magic[] = "\x93NUMPY";

/* Types that are read, as their descr without the byte order. */
static const struct {
    const char *descr;
    pq_dtype    dtype;
} types[] = {{"f4", PQ_DTYPE_F32}, {"f8", PQ_DTYPE_F64}, {"f2", PQ_DTYPE_F16},
             {"i1", PQ_DTYPE_I8},  {"u1", PQ_DTYPE_U8},  {"i2", PQ_DTYPE_I16},
             {"u2", PQ_DTYPE_U16}, {"i4", PQ_DTYPE_I32}, {"u4", PQ_DTYPE_U32},
             {"i8", PQ_DTYPE_I64}};

/* What is read: [n], each taken by the network. */
typedef struct {
    size_t      n;
    pq_tensor **arrays;
} reader;

/* The start of an array. */
typedef struct {
    pq_dtype dtype;
    pq_shape shape;
    bool     by_columns; /* Fortran's order: the first axis varies fastest */
    size_t   data;       /* where its bytes begin */
} header;

static bool recognises(const char *path)
{
    uint8_t      start[4];
    const size_t n = pq_file_start(path, start, sizeof start);

    return pq_zip_looks(start, n) && pq_foreign_zip_has(path, ".npy") &&
           !pq_foreign_zip_has(path, "data.pkl");
}

/* What stands behind 'key': in the header's dict of Python, or NULL. */
static const char *value_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    at = at != NULL ? at + strlen(key) : NULL;
    while (at != NULL && (*at == ' ' || *at == ':')) {
        at++;
    }
    return at;
}

static pq_status read_type(const char *descr, pq_dtype *out, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (descr != NULL && descr[0] == '\'' && strchr("<|=", descr[1]) != NULL &&
            strncmp(descr + 2, types[i].descr, 2) == 0 && descr[4] == '\'') {
            *out = types[i].dtype;
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED,
            "descr %.20s is not read: little-endian f2, f4, f8 and whole numbers are",
            descr != NULL ? descr : "''");
cleanup:
    return st;
}

/* "(64, 16)", "(5,)" or "()". */
static pq_status read_shape(const char *text, pq_shape *out, pq_err *err)
{
    const char *at = text != NULL && *text == '(' ? text + 1 : NULL;
    pq_status   st;

    *out = (pq_shape){0};
    while (at != NULL && *at != ')') {
        char                    *end  = NULL;
        const unsigned long long size = strtoull(at, &end, 10);
        PQ_CHECK(end != at && *at >= '0' && *at <= '9' && size > 0 && size < SIZE_MAX &&
                     out->ndim < PQ_MAX_DIMS,
                 PQ_ERR_FORMAT, "shape %.40s is none of at most %d sizes above 0", text,
                 PQ_MAX_DIMS);
        out->dim[out->ndim++] = (size_t)size;
        while (*end == ',' || *end == ' ') {
            end++;
        }
        at = end;
    }
    PQ_CHECK(at != NULL, PQ_ERR_FORMAT, "the header tells no shape");
cleanup:
    return st;
}

/* Reads the start of the n bytes of an .npy, which a NUL follows. */
static pq_status read_header(const char *bytes, size_t n, header *out, pq_err *err)
{
    const uint8_t *b    = (const uint8_t *)bytes;
    char          *text = NULL;
    const char    *order;
    size_t         length, from;
    pq_status      st;

    PQ_CHECK(n > MAGIC_BYTES + 4 && memcmp(bytes, magic, sizeof magic - 1) == 0 &&
                 b[6] >= 1 && b[6] <= 3,
             PQ_ERR_FORMAT, "is no array of NumPy of version 1 to 3");
    from   = b[6] == 1 ? MAGIC_BYTES + 2 : MAGIC_BYTES + 4;
    length = b[6] == 1
                 ? b[8] | (size_t)b[9] << 8
                 : b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24;
    PQ_CHECK(length <= n - from, PQ_ERR_FORMAT, "the header is longer than the array");
    PQ_NEW(text, length + 1);
    memcpy(text, bytes + from, length);
    PQ_TRY(read_type(value_of(text, "'descr'"), &out->dtype, err));
    PQ_TRY(read_shape(value_of(text, "'shape'"), &out->shape, err));
    order = value_of(text, "'fortran_order'");
    PQ_CHECK(order != NULL &&
                 (strncmp(order, "False", 5) == 0 || strncmp(order, "True", 4) == 0),
             PQ_ERR_FORMAT, "the header tells no order");
    out->by_columns = order[0] == 'T';
    out->data       = from + length;
    PQ_TRY(pq_state_check_bytes(&out->shape, out->dtype, n - out->data, err));
cleanup:
    pq_free(text);
    return st;
}

/* Arrays in Fortran's order are those of the reversed shape, turned. */
static pq_status place(const header *h, const char *data, pq_tensor **out, pq_err *err)
{
    size_t     back[PQ_MAX_DIMS];
    pq_shape   shape  = h->shape;
    pq_tensor *values = NULL;
    pq_status  st;

    for (size_t i = 0; h->by_columns && i < shape.ndim; i++) {
        shape.dim[i] = h->shape.dim[shape.ndim - 1 - i];
        back[i]      = shape.ndim - 1 - i;
    }
    PQ_TRY(pq_state_floats(h->dtype, shape, data, &values, err));
    if (h->by_columns && shape.ndim > 1) {
        PQ_TRY(pq_tensor_permute(values, back, out, err));
    } else {
        *out   = values;
        values = NULL;
    }
cleanup:
    pq_tensor_free(&values);
    return st;
}

static pq_status read_one(void *file, size_t at, pq_tensor **out, pq_err *err)
{
    reader *r = file;

    (void)err;
    *out          = r->arrays[at];
    r->arrays[at] = NULL;
    return PQ_OK;
}

static void close_reader(void *file)
{
    reader *r = file;

    for (size_t i = 0; i < r->n; i++) {
        pq_tensor_free(&r->arrays[i]);
    }
    pq_free(r->arrays);
    pq_free(r);
}

/* Unpacks a member into the next array. */
static pq_status read_member(reader *r, const pq_zip_member *m, pq_state *state,
                             pq_err *err)
{
    char     *bytes = NULL;
    header    h     = {0};
    pq_status st;

    PQ_TRY(pq_zip_content(m, &bytes, err));
    st = read_header(bytes, m->n, &h, err);
    st = st == PQ_OK ? place(&h, bytes + h.data, &r->arrays[r->n], err) : st;
    if (st != PQ_OK) {
        pq_err_context(err, "'%.*s'", m->name_bytes < 100 ? (int)m->name_bytes : 100,
                       m->name);
        goto cleanup;
    }
    PQ_TRY(pq_state_add(state, m->name, m->name_bytes - 4, &h.shape, r->n++, err));
cleanup:
    pq_free(bytes);
    return st;
}

pq_status pq_npz_open(size_t n, pq_state *state, pq_err *err)
{
    reader   *r   = NULL;
    pq_zip    zip = {0};
    pq_status st;

    PQ_NEW(r, 1);
    state->file  = r;
    state->read  = read_one;
    state->close = close_reader;
    PQ_TRY(pq_zip_open((const uint8_t *)state->bytes, n, &zip, err));
    PQ_NEW(r->arrays, zip.n);
    for (size_t i = 0; i < zip.n; i++) {
        const pq_zip_member *m = &zip.members[i];
        if (m->name_bytes > 4 && memcmp(m->name + m->name_bytes - 4, ".npy", 4) == 0) {
            PQ_TRY(read_member(r, m, state, err));
        }
    }
    pq_free(state->bytes); /* everything is unpacked */
    state->bytes = NULL;
cleanup:
    pq_zip_free(&zip);
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return pq_state_load(pq_npz_open, path, arch, out, err);
}

/* An .npy of an array of float32. */
static pq_status array_text(const pq_tensor *t, pq_text *out, pq_err *err)
{
    pq_text   dict = {0};
    size_t    length;
    pq_status st;

    pq_text_add(&dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t i = 0; i < t->shape.ndim; i++) {
        pq_text_add(&dict, i == 0 ? "%zu," : " %zu,", t->shape.dim[i]);
    }
    pq_text_add(&dict, "), }");
    length =
        (MAGIC_BYTES + 2 + dict.length + 1 + ALIGN - 1) / ALIGN * ALIGN - MAGIC_BYTES - 2;
    const char start[] = {magic[0],
                          magic[1],
                          magic[2],
                          magic[3],
                          magic[4],
                          magic[5],
                          1,
                          0,
                          (char)(length & 255),
                          (char)(length >> 8)};
    pq_text_add_bytes(out, start, sizeof start);
    pq_text_add_bytes(out, dict.text != NULL ? dict.text : "", dict.length);
    for (size_t i = dict.length; i + 1 < length; i++) {
        pq_text_add_bytes(out, " ", 1);
    }
    pq_text_add_bytes(out, "\n", 1);
    pq_text_add_bytes(out, t->data, t->count * sizeof(float));
    PQ_CHECK(!dict.failed && !out->failed, PQ_ERR_NOMEM, "cannot allocate an array");
cleanup:
    pq_text_free(&dict);
    return st;
}

/* The archive being written: [n] of each, all owned. */
typedef struct {
    size_t       n;
    pq_zip_part *parts;
    pq_text     *bytes;
    char       **names;
} writer;

static pq_status put_array(void *context, const char *name, const pq_tensor *t,
                           pq_err *err)
{
    writer   *w      = context;
    char     *member = pq_format("%s.npy", name);
    pq_status st;

    w->names[w->n] = member;
    PQ_CHECK(member != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(array_text(t, &w->bytes[w->n], err));
    w->parts[w->n] = (pq_zip_part){member, w->bytes[w->n].text, w->bytes[w->n].length};
cleanup:
    w->n++;
    return st;
}

static pq_status save(const pq_graph *graph, const char *path, pq_err *err)
{
    writer    w = {0};
    size_t    n = 2; /* the scaler's */
    pq_status st;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += graph->nodes[i].layer->n_weights;
    }
    PQ_NEW(w.parts, n);
    PQ_NEW(w.bytes, n);
    PQ_NEW(w.names, n);
    PQ_TRY(pq_state_write(graph, PQ_STATE_FLAX, put_array, &w, err));
    PQ_TRY(pq_zip_write(path, w.parts, w.n, err));
cleanup:
    for (size_t i = 0; i < w.n; i++) {
        pq_text_free(&w.bytes[i]);
        pq_free(w.names[i]);
    }
    pq_free(w.parts);
    pq_free(w.bytes);
    pq_free(w.names);
    return st;
}

const pq_model_format pq_model_format_npz = {
    .name       = "npz",
    .summary    = ".npz of NumPy: arrays of a network of the zoo or of a YAML of layers",
    .source     = "https://numpy.org/neps/nep-0001-npy-format.html",
    .recognises = recognises,
    .load       = load,
    .save       = save,
};
