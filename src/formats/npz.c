/*
 * .npz of NumPy: a ZIP of arrays (.npy), named by Keras or Flax ("Dense_0/kernel") or as
 * a state dict of PyTorch. Networks as of any state dict (formats/state.h). Written with
 * the names and order of axes of Keras and Flax. Pickled arrays are refused.
 *
 * Source: numpy.lib.format (NEP 1).
 */
#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"
#include "io/npy.h"
#include "io/zip.h"

enum {
    MAGIC_BYTES = 8,
    ALIGN       = 64,
    PIECE_BYTES = 1 << 19,
    FINE_BYTES  = 1 << 24 /* that any array may unpack to: zeros pack 1000 times */
};

static const char magic[] = "\x93NUMPY";

/* An array, and the member that holds it. */
typedef struct {
    const pq_zip_member *member;
    pq_npy               head;
} array;

typedef struct {
    pq_zip zip;
    size_t n;
    array *arrays; /* [n] */
} reader;

static bool recognises(const char *path)
{
    uint8_t      start[4];
    const size_t n = pq_file_start(path, start, sizeof start);

    return pq_zip_looks(start, n) && pq_foreign_zip_has(path, ".npy") &&
           !pq_foreign_zip_has(path, "data.pkl");
}

/* Starts with a member and reads its header. */
static pq_status begin(const pq_zip_member *m, pq_zip_stream **out, pq_npy *head,
                       pq_err *err)
{
    const size_t n      = m->n < PQ_NPY_START ? m->n : PQ_NPY_START;
    uint8_t     *bytes  = NULL;
    size_t       length = 0;
    uint8_t      start[PQ_NPY_START];
    pq_status    st;

    PQ_TRY(pq_zip_stream_open(m, FINE_BYTES, out, err));
    PQ_TRY(pq_zip_stream_read(*out, start, n, err));
    PQ_TRY(pq_npy_head(start, n, &length, err));
    PQ_CHECK(length <= m->n, PQ_ERR_FORMAT, "the header is longer than the array");
    PQ_NEW(bytes, length);
    memcpy(bytes, start, n);
    PQ_TRY(pq_zip_stream_read(*out, bytes + n, length - n, err));
    PQ_TRY(pq_npy_read(bytes, length, m->n, head, err));
    PQ_CHECK(head->sort == PQ_NPY_NUMBER, PQ_ERR_UNSUPPORTED,
             "its items are %s, which are no weights",
             head->sort == PQ_NPY_U64 ? "uint64" : "texts");
cleanup:
    pq_free(bytes);
    return st;
}

/* Arrays in Fortran's order are those of the reversed shape, turned. */
static pq_status start_fill(const pq_npy *h, const size_t *axes, pq_state_fill *f,
                            pq_err *err)
{
    size_t   back[PQ_MAX_DIMS];
    pq_shape shape = h->shape;

    for (size_t i = 0; h->by_columns && i < shape.ndim; i++) {
        shape.dim[i] = h->shape.dim[shape.ndim - 1 - i];
        back[i]      = shape.ndim - 1 - (axes != NULL ? axes[i] : i);
    }
    return pq_state_fill_start(h->dtype, &shape, h->by_columns ? back : axes, f, err);
}

static pq_status read_one(void *file, size_t at, const size_t *axes, pq_tensor **out,
                          pq_err *err)
{
    const array   *a      = &((const reader *)file)->arrays[at];
    pq_zip_stream *stream = NULL;
    uint8_t       *piece  = NULL;
    pq_state_fill  f      = {0};
    pq_npy         head;
    pq_status      st;

    PQ_TRY(begin(a->member, &stream, &head, err));
    PQ_TRY(start_fill(&a->head, axes, &f, err));
    PQ_NEW(piece, PIECE_BYTES);
    for (size_t i = 0; i < f.to->count; i += PIECE_BYTES / a->head.item) {
        const size_t left = f.to->count - i, most = PIECE_BYTES / a->head.item;
        const size_t n = left < most ? left : most;
        PQ_TRY(pq_zip_stream_read(stream, piece, n * a->head.item, err));
        pq_state_fill_put(&f, piece, n);
    }
    *out = f.to;
    f.to = NULL;
cleanup:
    pq_tensor_free(&f.to);
    pq_free(piece);
    pq_zip_stream_close(&stream);
    return st;
}

static void close_reader(void *file)
{
    reader *r = file;

    pq_zip_free(&r->zip);
    pq_free(r->arrays);
    pq_free(r);
}

/* Lists the array of a member. */
static pq_status add_member(reader *r, const pq_zip_member *m, pq_state *state,
                            pq_err *err)
{
    pq_zip_stream *stream = NULL;
    array         *a      = &r->arrays[r->n];
    pq_status      st;

    a->member = m;
    st        = begin(m, &stream, &a->head, err);
    if (st != PQ_OK) {
        pq_err_context(err, "'%.*s'", m->name_bytes < 100 ? (int)m->name_bytes : 100,
                       m->name);
        goto cleanup;
    }
    PQ_TRY(pq_state_add(state, m->name, m->name_bytes - 4, &a->head.shape, r->n++, err));
cleanup:
    pq_zip_stream_close(&stream);
    return st;
}

pq_status pq_npz_open(pq_state *state, pq_err *err)
{
    reader   *r = NULL;
    pq_status st;

    PQ_NEW(r, 1);
    state->file  = r;
    state->read  = read_one;
    state->close = close_reader;
    PQ_TRY(pq_zip_open_map(&state->map, &r->zip, err));
    PQ_NEW(r->arrays, r->zip.n);
    for (size_t i = 0; i < r->zip.n; i++) {
        const pq_zip_member *m = &r->zip.members[i];
        if (m->name_bytes > 4 && memcmp(m->name + m->name_bytes - 4, ".npy", 4) == 0) {
            PQ_TRY(add_member(r, m, state, err));
        }
    }
cleanup:
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
