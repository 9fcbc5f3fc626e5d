/* A YAML of layers from what names and shapes of a state dict tell. */
#include <ctype.h>
#include <string.h>

#include "core/memory.h"
#include "formats/state.h"

/* What is behind the roots of Flax's trees. */
static const char *below_root(const char *name)
{
    static const char *const roots[] = {"params.", "batch_stats."};

    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        if (strncmp(name, roots[i], strlen(roots[i])) == 0) {
            return name + strlen(roots[i]);
        }
    }
    return name;
}

/* A name as YAML: in quotes where it is not one word of plain letters. */
static void add_name(const char *name, pq_text *out)
{
    const size_t n     = strlen(name);
    bool         plain = n > 0;

    for (size_t i = 0; i < n; i++) {
        plain = plain && (isalnum((unsigned char)name[i]) ||
                          (i > 0 && strchr("_.-", name[i]) != NULL) || name[i] == '_');
    }
    if (plain) {
        pq_text_add(out, "%s", name);
        return;
    }
    pq_text_add(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f) {
            pq_text_add(out, "\\x%02x", c);
        } else {
            pq_text_add(out, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
    }
    pq_text_add(out, "\"");
}

/* What is known of a module: the axes of its kernel, whether it keeps statistics, and its
 * arrays as texts. */
static pq_status add_array(json_t *modules, const pq_state_entry *e, pq_err *err)
{
    const char *name = below_root(e->name), *dot = strrchr(name, '.');
    const char *what   = dot != NULL ? dot + 1 : name;
    char       *module = pq_format("%.*s", dot != NULL ? (int)(dot - name) : 0, name);
    char        shape[128];
    pq_text     array = {0};
    json_t     *known;
    pq_status   st;

    add_name(what, &array);
    pq_text_add(&array, " %s", pq_shape_text(&e->shape, shape, sizeof shape));
    PQ_CHECK(module != NULL && !array.failed, PQ_ERR_NOMEM, "cannot allocate a name");
    known = json_object_get(modules, module);
    if (known == NULL) {
        known = json_pack("{s:i, s:b, s:[]}", "axes", 0, "statistics", 0, "arrays");
        PQ_CHECK(json_object_set_new_nocheck(modules, module, known) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a module");
    }
    if (strcmp(what, "weight") == 0 || strcmp(what, "kernel") == 0) {
        (void)json_object_set_new(known, "axes", json_integer((json_int_t)e->shape.ndim));
    }
    if (strcmp(what, "running_mean") == 0 || strcmp(what, "mean") == 0 ||
        strcmp(what, "moving_mean") == 0) {
        (void)json_object_set_new(known, "statistics", json_true());
    }
    PQ_CHECK(json_array_append_new(json_object_get(known, "arrays"),
                                   json_string_nocheck(array.text)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    pq_free(module);
    pq_text_free(&array);
    return st;
}

static void tell_module(const char *name, const json_t *known, pq_text *out)
{
    const json_int_t axes   = json_integer_value(json_object_get(known, "axes"));
    const json_t    *arrays = json_object_get(known, "arrays");
    const char *kind = json_is_true(json_object_get(known, "statistics")) ? "batch_norm"
                       : axes == 2                                        ? "dense"
                       : axes == 4                                        ? "conv2d"
                                                                          : NULL;

    if (kind != NULL) {
        pq_text_add(out, "  - %s: {from: ", kind);
        add_name(name, out);
        pq_text_add(out, "%s} # ",
                    strcmp(kind, "batch_norm") == 0 ? ", epsilon: EPSILON" : "");
    } else {
        pq_text_add(out, "  # ");
        add_name(name, out);
        pq_text_add(out, " is of no kind known here: ");
    }
    for (size_t i = 0; i < json_array_size(arrays); i++) {
        pq_text_add(out, "%s%s", i == 0 ? "" : ", ",
                    json_string_value(json_array_get(arrays, i)));
    }
    pq_text_add(out, "\n");
}

static void tell_input(const pq_state *state, pq_text *out)
{
    const pq_state_entry *e = NULL;

    for (size_t i = 0; e == NULL && i < state->n; i++) {
        e = state->entries[i].shape.ndim >= 2 ? &state->entries[i] : NULL;
    }
    if (e == NULL) {
        return;
    }
    const char  *end    = strrchr(e->name, '.');
    const bool   last   = strcmp(end != NULL ? end + 1 : e->name, "kernel") == 0;
    const size_t inputs = last ? e->shape.dim[e->shape.ndim - 2] : e->shape.dim[1];

    pq_text_add(out,
                e->shape.ndim == 4
                    ? "input: [HEIGHT, WIDTH, %zu] # of one image: fill in its size\n"
                    : "input: [%zu] # of one event\n",
                inputs);
}

pq_status pq_state_template(const pq_state *state, pq_text *out, pq_err *err)
{
    json_t     *modules = json_object(); /* in the order of the file */
    const char *name;
    json_t     *known;
    pq_status   st;

    PQ_CHECK(modules != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    for (size_t i = 0; i < state->n; i++) {
        PQ_TRY(add_array(modules, &state->entries[i], err));
    }
    pq_text_add(out,
                "# Layers in the order of the file's arrays. What it does not tell is "
                "to be filled in: activations\n"
                "# (`- relu`, `- softmax`), pools, flatten, padding and strides of "
                "convolutions, sums (`of: [a, b]`),\n"
                "# the epsilon of batch_norm: where none was given it is 1e-5 in PyTorch "
                "and Flax, 1e-3 in Keras.\n"
                "# Kinds and their attributes: pquant layers.\n"
                "schema: " PQ_STATE_SCHEMA "\n");
    tell_input(state, out);
    pq_text_add(out, "layers:\n");
    json_object_foreach(modules, name, known)
    {
        tell_module(name, known, out);
    }
    PQ_CHECK(!out->failed, PQ_ERR_NOMEM, "cannot allocate a template");
cleanup:
    json_decref(modules);
    return st;
}
