/*
 * safetensors: a length, a header of JSON and the arrays' bytes, which the header covers
 * without holes. Networks as of any state dict (formats/state.h). Written with PyTorch's
 * names and order of axes.
 *
 * Source: https://github.com/huggingface/safetensors, README.md and safetensors/src.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/pieces.h"
#include "formats/model.h"
#include "formats/state.h"

enum { MAX_HEADER = 100000000, LENGTH_BYTES = 8, ALIGN = 8 };

/* Types of the format that are read. */
static const struct {
    const char *name;
    pq_dtype    dtype;
} types[] = {{"F32", PQ_DTYPE_F32},   {"F64", PQ_DTYPE_F64}, {"F16", PQ_DTYPE_F16},
             {"BF16", PQ_DTYPE_BF16}, {"I8", PQ_DTYPE_I8},   {"U8", PQ_DTYPE_U8},
             {"I16", PQ_DTYPE_I16},   {"U16", PQ_DTYPE_U16}, {"I32", PQ_DTYPE_I32},
             {"U32", PQ_DTYPE_U32},   {"I64", PQ_DTYPE_I64}};

/* An array's bytes. */
typedef struct {
    pq_dtype dtype;
    pq_shape shape;
    size_t   begin, end; /* in the buffer behind the header */
} array;

typedef struct {
    const uint8_t *buffer;
    size_t         n; /* bytes of the buffer */
    array         *arrays;
} reader;

static uint64_t little(const char *bytes)
{
    uint64_t value = 0;

    for (size_t i = LENGTH_BYTES; i-- > 0;) {
        value = value << 8 | (uint8_t)bytes[i];
    }
    return value;
}

static bool recognises(const char *path)
{
    char         start[LENGTH_BYTES + 1];
    const size_t n = pq_file_start(path, start, sizeof start);

    return n == sizeof start && start[LENGTH_BYTES] == '{' &&
           little(start) <= MAX_HEADER &&
           little(start) <= pq_file_bytes(path) - LENGTH_BYTES;
}

static pq_status read_type(const json_t *text, pq_dtype *out, pq_err *err)
{
    const char *name = json_string_value(text);
    pq_status   st   = PQ_OK;

    for (size_t i = 0; name != NULL && i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].dtype;
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED,
            "dtype '%.40s' is not read: F64, F32, F16, BF16 and whole numbers are",
            name != NULL ? name : "");
cleanup:
    return st;
}

static pq_status read_array(const reader *r, const json_t *entry, array *out, pq_err *err)
{
    const json_t *shape   = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    pq_status     st;

    PQ_TRY(read_type(json_object_get(entry, "dtype"), &out->dtype, err));
    PQ_CHECK(json_is_array(shape) && json_array_size(shape) <= PQ_MAX_DIMS, PQ_ERR_FORMAT,
             "'shape' is no list of at most %d sizes", PQ_MAX_DIMS);
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *d = json_array_get(shape, i);
        PQ_CHECK(json_is_integer(d) && json_integer_value(d) > 0, PQ_ERR_FORMAT,
                 "size %zu of 'shape' is no number above 0", i);
        out->shape.dim[out->shape.ndim++] = (size_t)json_integer_value(d);
    }
    PQ_CHECK(json_array_size(offsets) == 2 && json_is_integer(begin) &&
                 json_is_integer(end) && json_integer_value(begin) >= 0 &&
                 json_integer_value(begin) <= json_integer_value(end) &&
                 (uint64_t)json_integer_value(end) <= r->n,
             PQ_ERR_FORMAT, "'data_offsets' do not lie in the file's %zu bytes of arrays",
             r->n);
    out->begin = (size_t)json_integer_value(begin);
    out->end   = (size_t)json_integer_value(end);
    PQ_TRY(pq_state_check_bytes(&out->shape, out->dtype, out->end - out->begin, err));
cleanup:
    return st;
}

static int by_begin(const void *a, const void *b)
{
    const array *const *x = a, *const *y = b;

    return (*x)->begin != (*y)->begin ? ((*x)->begin > (*y)->begin ? 1 : -1)
                                      : ((*x)->end > (*y)->end) - ((*x)->end < (*y)->end);
}

/* Arrays lie side by side, from the first byte to the last. */
static pq_status check_cover(const reader *r, size_t n, pq_err *err)
{
    const array **sorted = NULL;
    size_t        at     = 0;
    pq_status     st;

    PQ_NEW(sorted, n);
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &r->arrays[i];
    }
    if (n > 1) {
        qsort(sorted, n, sizeof *sorted, by_begin);
    }
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(
            sorted[i]->begin == at, PQ_ERR_FORMAT,
            "an array begins at byte %zu, where byte %zu is the next: arrays lie over "
            "each other, or there are holes",
            sorted[i]->begin, at);
        at = sorted[i]->end;
    }
    PQ_CHECK(at == r->n, PQ_ERR_FORMAT, "%zu bytes belong to no array", r->n - at);
cleanup:
    pq_free(sorted);
    return st;
}

static pq_status read_header(reader *r, const json_t *header, pq_state *state,
                             pq_err *err)
{
    const char *name;
    json_t     *entry;
    size_t      n  = 0;
    pq_status   st = PQ_OK;

    PQ_NEW(r->arrays, json_object_size(header));
    json_object_foreach((json_t *)(uintptr_t)header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        st = read_array(r, entry, &r->arrays[n], err);
        if (st != PQ_OK) {
            pq_err_context(err, "array '%.100s'", name);
            goto cleanup;
        }
        PQ_TRY(pq_state_add(state, name, strlen(name), &r->arrays[n].shape, n, err));
        n++;
    }
    PQ_TRY(check_cover(r, n, err));
cleanup:
    return st;
}

static pq_status read_one(void *file, size_t at, const size_t *axes, pq_tensor **out,
                          pq_err *err)
{
    const reader *r = file;
    const array  *a = &r->arrays[at];

    return pq_state_floats(a->dtype, &a->shape, r->buffer + a->begin, axes, out, err);
}

static void close_reader(void *file)
{
    reader *r = file;

    pq_free(r->arrays);
    pq_free(r);
}

pq_status pq_safetensors_open(pq_state *state, pq_err *err)
{
    const size_t n      = state->map.n;
    const char  *bytes  = (const char *)state->map.at;
    const size_t length = n >= LENGTH_BYTES ? (size_t)little(bytes) : SIZE_MAX;
    const char  *text   = bytes + LENGTH_BYTES;
    reader      *r      = NULL;
    json_t      *header = NULL;
    json_error_t why;
    pq_status    st;

    PQ_NEW(r, 1);
    state->file  = r;
    state->read  = read_one;
    state->close = close_reader;
    PQ_CHECK(length <= MAX_HEADER && length <= n - LENGTH_BYTES, PQ_ERR_FORMAT,
             "the header is longer than the file");
    header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    PQ_CHECK(json_is_object(header), PQ_ERR_FORMAT, "the header is no JSON: %s",
             header == NULL ? why.text : "not an object");
    r->buffer = (const uint8_t *)text + length;
    r->n      = n - LENGTH_BYTES - length;
    PQ_TRY(read_header(r, header, state, err));
cleanup:
    json_decref(header);
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    return pq_state_load(pq_safetensors_open, path, arch, out, err);
}

/* The file being written. */
typedef struct {
    json_t *header;
    pq_text buffer;
} writer;

static pq_status put_array(void *context, const char *key, const pq_tensor *t,
                           pq_err *err)
{
    writer      *w     = context;
    const size_t begin = w->buffer.length;
    json_t      *shape = json_array();
    pq_status    st;

    for (size_t i = 0; i < t->shape.ndim; i++) {
        (void)json_array_append_new(shape, json_integer((json_int_t)t->shape.dim[i]));
    }
    pq_text_add_bytes(&w->buffer, t->data, t->count * sizeof(float));
    PQ_CHECK(
        !w->buffer.failed &&
            json_object_set_new(w->header, key,
                                json_pack("{s:s, s:O, s:[I, I]}", "dtype", "F32", "shape",
                                          shape, "data_offsets", (json_int_t)begin,
                                          (json_int_t)w->buffer.length)) == 0,
        PQ_ERR_NOMEM, "cannot allocate a file");
cleanup:
    json_decref(shape);
    return st;
}

/* Texts by text: what was done, as JSON. */
static json_t *metadata_of(const pq_graph *graph)
{
    char *steps =
        graph->provenance != NULL ? json_dumps(graph->provenance, JSON_COMPACT) : NULL;
    json_t *all = json_pack("{s:s, s:s, s:s?}", "format", "pt", "pquant", PQ_VERSION,
                            "pquant.provenance", steps);

    free(steps);
    return all;
}

static pq_status save(const pq_graph *graph, const char *path, pq_err *err)
{
    writer    w    = {.header = json_object()};
    char     *text = NULL;
    pq_text   file = {0};
    pq_status st;

    PQ_CHECK(w.header != NULL &&
                 json_object_set_new(w.header, "__metadata__", metadata_of(graph)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a header");
    PQ_TRY(pq_state_write(graph, PQ_STATE_TORCH, put_array, &w, err));
    text = json_dumps(w.header, JSON_COMPACT);
    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot allocate a header");
    const size_t n = (strlen(text) + ALIGN - 1) / ALIGN * ALIGN;
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        const char byte = (char)(uint8_t)(n >> 8 * i);
        pq_text_add_bytes(&file, &byte, 1);
    }
    pq_text_add_bytes(&file, text, strlen(text));
    pq_text_add_bytes(&file, "        ", n - strlen(text));
    PQ_CHECK(!file.failed, PQ_ERR_NOMEM, "cannot allocate a file");
    PQ_TRY(pq_file_write_pieces(path,
                                (const pq_file_piece[]){{file.text, file.length},
                                                        {w.buffer.text, w.buffer.length}},
                                2, err));
cleanup:
    json_decref(w.header);
    pq_text_free(&w.buffer);
    pq_text_free(&file);
    free(text);
    return st;
}

const pq_model_format pq_model_format_safetensors = {
    .name       = "safetensors",
    .summary    = "safetensors: arrays of a network of the zoo or of a YAML of layers",
    .source     = "https://github.com/huggingface/safetensors",
    .recognises = recognises,
    .load       = load,
    .save       = save,
};
