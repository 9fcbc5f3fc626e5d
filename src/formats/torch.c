/*
 * State dicts of PyTorch (.pt, .pth, .th): arrays without their network, which is one of
 * the zoo or a YAML of layers (formats/state.h).
 */
#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/state.h"
#include "formats/torch_storage.h"
#include "formats/ways.h"
#include "io/zip.h"

static bool recognises(const char *path)
{
    uint8_t      start[16];
    const size_t n = pq_file_start(path, start, sizeof start);

    const char *what, *way;

    /* Archives of others: NumPy's .npz, Keras's .keras; programs are refused by name. */
    if (pq_zip_looks(start, n) && pq_way_archive(path, &what, &way)) {
        return true;
    }
    return pq_torch_looks(start, n) &&
           (!pq_zip_looks(start, n) || pq_foreign_zip_has(path, "data.pkl") ||
            (!pq_foreign_zip_has(path, ".npy") &&
             !pq_foreign_zip_has(path, "config.json")));
}

/* The dict of tensors: the object itself, or what training scripts put it under. */
static const pq_pickle_value *state_dict(const pq_pickle *p)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "model", "net"};
    const pq_pickle_value   *root    = &p->values[p->root];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const pq_pickle_value *inner = pq_pickle_get(p, root, names[i]);
        if (inner != NULL && inner->type == PQ_PICKLE_DICT) {
            return inner;
        }
    }
    return root;
}

static pq_status read_one(void *file, size_t at, const size_t *axes, pq_tensor **out,
                          pq_err *err)
{
    const pq_torch_file *f = file;

    return pq_torch_tensor(f, &f->pickle.values[at], axes, out, err);
}

/* Sizes of a tensor, for messages and templates: what is no number is 0 there, and
 * refused when it is read. */
static pq_shape shape_of(const pq_pickle *p, const pq_pickle_value *tensor)
{
    const pq_pickle_value *dims  = &p->values[tensor->items[2]];
    pq_shape               shape = {0};

    for (size_t i = 0; i < dims->n && i < PQ_MAX_DIMS; i++) {
        const pq_pickle_value *d = &p->values[dims->items[i]];
        shape.dim[shape.ndim++] =
            d->type == PQ_PICKLE_INT && d->number > 0 ? (size_t)d->number : 0;
    }
    return shape;
}

static pq_status list_entries(const pq_torch_file *f, pq_state *state, pq_err *err)
{
    const pq_pickle       *p    = &f->pickle;
    const pq_pickle_value *dict = state_dict(p);
    pq_status              st;

    PQ_CHECK(dict->type == PQ_PICKLE_DICT, PQ_ERR_FORMAT, "holds no dict of tensors");
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const pq_pickle_value *key   = &p->values[dict->items[i]];
        const pq_pickle_value *value = &p->values[dict->items[i + 1]];
        if (key->type == PQ_PICKLE_TEXT && value->type == PQ_PICKLE_TENSOR) {
            const pq_shape shape = shape_of(p, value);
            PQ_TRY(pq_state_add(state, key->text, key->text_bytes, &shape,
                                dict->items[i + 1], err));
        }
    }
cleanup:
    return st;
}

static void close_file(void *file)
{
    pq_torch_free(file);
    pq_free(file);
}

pq_status pq_torch_open(pq_state *state, pq_err *err)
{
    pq_torch_file *f = NULL;
    pq_status      st;

    PQ_NEW(f, 1);
    state->file  = f;
    state->read  = read_one;
    state->close = close_file;
    PQ_TRY(pq_torch_parse(state->map.at, state->map.n, true, f, err));
    PQ_TRY(list_entries(f, state, err));
cleanup:
    return st;
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    const char *what, *way;

    if (pq_way_archive(path, &what, &way)) {
        (void)pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: is %s", path,
                         what);
        pq_err_hint(err, "%s", way);
        return PQ_ERR_UNSUPPORTED;
    }
    return pq_state_load(pq_torch_open, path, arch, out, err);
}

const pq_model_format pq_model_format_torch = {
    .name    = "torch",
    .summary = "PyTorch state dict (.pt, .pth, .th) of a network of the zoo or of a YAML "
               "of layers; read only",
    .source  = "torch/serialization.py; Lib/pickletools.py",
    .recognises = recognises,
    .load       = load,
};
