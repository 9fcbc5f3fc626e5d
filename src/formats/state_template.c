/* A YAML of layers from what names and shapes of a state dict tell. */
#include <string.h>

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

static size_t module_length(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL ? (size_t)(dot - name) : 0;
}

static bool is_same_module(const char *a, const char *b)
{
    const size_t n = module_length(a);

    return n == module_length(b) && strncmp(a, b, n) == 0;
}

/* Kind of the module of entry i by its arrays, "" where nothing fits. */
static const char *kind_of(const pq_state *state, size_t i)
{
    const char *name  = below_root(state->entries[i].name);
    bool        stats = false;
    size_t      axes  = 0;

    for (size_t k = 0; k < state->n; k++) {
        const char *other = below_root(state->entries[k].name);
        const char *end   = strrchr(other, '.');
        end               = end != NULL ? end + 1 : other;
        if (!is_same_module(name, other)) {
            continue;
        }
        stats = stats || strcmp(end, "running_mean") == 0 || strcmp(end, "mean") == 0 ||
                strcmp(end, "moving_mean") == 0;
        if (strcmp(end, "weight") == 0 || strcmp(end, "kernel") == 0) {
            axes = state->entries[k].shape.ndim;
        }
    }
    return stats ? "batch_norm" : axes == 2 ? "dense" : axes == 4 ? "conv2d" : "";
}

/* Whether an earlier entry is of the same module. */
static bool is_told(const pq_state *state, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (is_same_module(below_root(state->entries[k].name),
                           below_root(state->entries[i].name))) {
            return true;
        }
    }
    return false;
}

/* "weight [64, 16], bias [64]" of the module of entry i. */
static void tell_arrays(const pq_state *state, size_t i, pq_text *out)
{
    char text[128];
    bool first = true;

    for (size_t k = i; k < state->n; k++) {
        const char *name = below_root(state->entries[k].name);
        if (is_same_module(name, below_root(state->entries[i].name))) {
            const size_t n = module_length(name);
            pq_text_add(out, "%s%s %s", first ? "" : ", ", name + n + (n > 0 ? 1 : 0),
                        pq_shape_text(&state->entries[k].shape, text, sizeof text));
            first = false;
        }
    }
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

void pq_state_template(const pq_state *state, pq_text *out)
{
    pq_text_add(out,
                "# Layers in the order of the file's arrays. What it does not tell is "
                "to be filled in: activations\n"
                "# (`- relu`, `- softmax`), pools, flatten, padding and strides of "
                "convolutions, sums (`of: [a, b]`).\n"
                "# Kinds and their attributes: pquant layers.\n"
                "schema: " PQ_STATE_SCHEMA "\n");
    tell_input(state, out);
    pq_text_add(out, "layers:\n");
    for (size_t i = 0; i < state->n; i++) {
        const char  *name = below_root(state->entries[i].name);
        const char  *kind = kind_of(state, i);
        const size_t n    = module_length(name);
        if (is_told(state, i)) {
            continue;
        }
        if (kind[0] != '\0') {
            pq_text_add(out, "  - %s: {from: %.*s} # ", kind, (int)n, name);
        } else {
            pq_text_add(out, "  # '%.*s' is of no kind known here: ", (int)n, name);
        }
        tell_arrays(state, i, out);
        pq_text_add(out, "\n");
    }
}
