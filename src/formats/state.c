#include "formats/state.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/zoo.h"

/* Inputs that public CIFAR-10 ResNets were trained on: ImageNet's mean and deviation. */
static const double image_mean[]      = {0.485, 0.456, 0.406},
                    image_std[]       = {0.229, 0.224, 0.225};
static const char *const image_nets[] = {"resnet20", "resnet32", "resnet44", "resnet56"};

/* What a weight of ours is called in PyTorch and Flax (by pq_state_style), and Keras. */
static const struct {
    const char *ours, *theirs[3];
} names[] = {{"kernel", {"weight", "kernel", "kernel"}},
             {"bias", {"bias", "bias", "bias"}},
             {"gamma", {"weight", "scale", "gamma"}},
             {"beta", {"bias", "bias", "beta"}},
             {"mean", {"running_mean", "mean", "moving_mean"}},
             {"variance", {"running_var", "var", "moving_variance"}}};

static bool is_idle(const char *name)
{
    const char *end = strrchr(name, '.');

    return strcmp(end != NULL ? end + 1 : name, "num_batches_tracked") == 0;
}

pq_status pq_state_add(pq_state *state, const char *name, size_t name_bytes,
                       const pq_shape *shape, size_t at, pq_err *err)
{
    char           *copy  = NULL;
    pq_state_entry *grown = NULL;
    pq_status       st;

    PQ_NEW(copy, name_bytes + 1);
    memcpy(copy, name, name_bytes);
    PQ_CHECK(memchr(copy, '\0', name_bytes) == NULL && name_bytes > 0, PQ_ERR_FORMAT,
             "array %zu has no proper name", state->n);
    for (char *c = copy; *c != '\0'; c++) { /* trees of Flax, members of folders */
        *c = *c == '/' ? '.' : *c;
    }
    if (is_idle(copy)) {
        goto cleanup;
    }
    if ((state->n & (state->n - 1)) == 0) { /* room for a power of two */
        PQ_NEW(grown, state->n == 0 ? 1 : 2 * state->n);
        if (state->n > 0) {
            memcpy(grown, state->entries, state->n * sizeof *grown);
        }
        pq_free(state->entries);
        state->entries = grown;
    }
    state->entries[state->n++] = (pq_state_entry){copy, *shape, at, false};
    copy                       = NULL;
cleanup:
    pq_free(copy);
    return st;
}

void pq_state_free(pq_state *state)
{
    for (size_t i = 0; i < state->n; i++) {
        pq_free(state->entries[i].name);
    }
    pq_free(state->entries);
    if (state->close != NULL) {
        state->close(state->file);
    }
    pq_map_close(&state->map);
    *state = (pq_state){0};
}

/* Bytes of the module's part of a name: "layer1.0.conv1" of "layer1.0.conv1.weight". */
static size_t module_bytes(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL ? (size_t)(dot - name) : 0;
}

/* Whether a name begins with the n bytes of a module, whose slashes are dots here. */
static bool begins_with(const char *name, const char *module, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (name[i] != (module[i] == '/' ? '.' : module[i])) {
            return false;
        }
    }
    return true;
}

/* Whether a name is that of array `what` of a module behind a root. */
static bool is_of(const char *name, const char *root, const char *module, size_t bytes,
                  const char *what)
{
    const size_t before = strlen(root), dot = bytes > 0 ? 1 : 0;

    return strlen(name) == before + bytes + dot + strlen(what) &&
           strncmp(name, root, before) == 0 &&
           begins_with(name + before, module, bytes) &&
           (dot == 0 || name[before + bytes] == '.') &&
           strcmp(name + before + bytes + dot, what) == 0;
}

/* An array of a module behind one root. */
static pq_state_entry *find_behind(pq_state *state, const char *root, const char *module,
                                   size_t bytes, const char *what)
{
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        for (size_t t = 0; t < 3 && strcmp(names[k].ours, what) == 0; t++) {
            for (size_t i = 0; i < state->n; i++) {
                pq_state_entry *e = &state->entries[i];
                if (!e->used && is_of(e->name, root, module, bytes, names[k].theirs[t])) {
                    return e;
                }
            }
        }
    }
    return NULL;
}

static pq_state_entry *find(pq_state *state, const char *module, size_t bytes,
                            const char *what)
{
    static const char *const roots[] = {"", "params.", "batch_stats."};
    pq_state_entry          *found   = NULL;

    for (size_t i = 0; found == NULL && i < sizeof roots / sizeof *roots; i++) {
        found = find_behind(state, roots[i], module, bytes, what);
    }
    return found;
}

bool pq_state_is_torch(const pq_state_entry *entry)
{
    const char *dot  = strrchr(entry->name, '.');
    const char *last = dot != NULL ? dot + 1 : entry->name;

    return strcmp(last, "weight") == 0 || strcmp(last, "running_mean") == 0;
}

pq_state_entry *pq_state_find(pq_state *state, const char *module, const char *what)
{
    return find(state, module, strlen(module), what);
}

pq_status pq_state_take(pq_state *state, pq_state_entry *entry, const char *what,
                        pq_tensor **out, pq_err *err)
{
    static const size_t torch_conv[] = {0, 2, 3, 1}, other_conv[] = {3, 0, 1, 2},
                        other_dense[] = {1, 0};
    const char   *dot                 = strrchr(entry->name, '.');
    const bool    last = strcmp(dot != NULL ? dot + 1 : entry->name, "kernel") == 0;
    const size_t *axes;
    pq_status     st;

    axes = strcmp(what, "kernel") != 0      ? NULL
           : entry->shape.ndim == 4         ? (last ? other_conv : torch_conv)
           : entry->shape.ndim == 2 && last ? other_dense
                                            : NULL;
    PQ_TRY(state->read(state->file, entry->at, axes, out, err));
    entry->used = true;
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "'%.100s'", entry->name);
    }
    return st;
}

/* order: of what the layer reads, or NULL: arrays of Flax and Keras have ours. */
static pq_status fill_weight(pq_state *state, pq_state_entry *e, const pq_node *node,
                             pq_weight *w, const pq_state_order *order, const char *arch,
                             pq_err *err)
{
    pq_tensor *t = NULL;
    char       have[128], due[128];
    pq_status  st;

    PQ_TRY(pq_state_take(state, e, w->name, &t, err));
    if (order != NULL) {
        PQ_TRY(pq_state_order_turn(order, node->layer, w->name, true, &t, err));
    }
    PQ_CHECK(pq_shape_equal(&t->shape, &w->value->shape), PQ_ERR_SHAPE,
             "'%.100s' is %s, but layer '%s' of %s wants %s", e->name,
             pq_shape_text(&t->shape, have, sizeof have), node->name, arch,
             pq_shape_text(&w->value->shape, due, sizeof due));
    pq_tensor_free(&w->value);
    w->value = t;
    t        = NULL;
cleanup:
    pq_tensor_free(&t);
    return st;
}

/* A layer of the zoo gets the next module; order: of what it reads. */
static pq_status fill_layer(pq_state *state, const pq_node *node,
                            const pq_state_order *order, const char *arch, pq_err *err)
{
    const pq_state_entry *first = NULL;
    bool                  torch = false;
    size_t                bytes;
    pq_status             st = PQ_OK;

    for (size_t i = 0; first == NULL && i < state->n; i++) {
        first = state->entries[i].used ? NULL : &state->entries[i];
    }
    PQ_CHECK(first != NULL, PQ_ERR_FORMAT, "holds no weights for layer '%s' of %s",
             node->name, arch);
    bytes = module_bytes(first->name);
    for (size_t i = 0; i < node->layer->n_weights; i++) {
        pq_weight      *w = &node->layer->weights[i];
        pq_state_entry *e = find(state, first->name, bytes, w->name);
        PQ_CHECK(e != NULL, PQ_ERR_FORMAT, "module '%.*s' has no %s for layer '%s' of %s",
                 bytes < 100 ? (int)bytes : 100, first->name, w->name, node->name, arch);
        torch = torch || pq_state_is_torch(e);
        PQ_TRY(fill_weight(state, e, node, w, torch ? order : NULL, arch, err));
    }
cleanup:
    return st;
}

/* Inputs of such a net are bytes of an image. */
static pq_status set_scaler(const char *arch, pq_graph *graph, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < sizeof image_nets / sizeof image_nets[0]; i++) {
        if (strcmp(arch, image_nets[i]) != 0) {
            continue;
        }
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3), &graph->scaler_mean, err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3), &graph->scaler_std, err));
        for (size_t c = 0; c < 3; c++) {
            pq_f32(graph->scaler_mean)[c] = (float)(255.0 * image_mean[c]);
            pq_f32(graph->scaler_std)[c]  = (float)(255.0 * image_std[c]);
        }
    }
cleanup:
    return st;
}

static pq_status from_zoo(pq_state *state, const char *arch, pq_graph **out, pq_err *err)
{
    pq_graph       *graph  = NULL;
    pq_state_orders orders = {0};
    pq_status       st;

    PQ_TRY(pq_zoo_build_empty(arch, &graph, err));
    PQ_TRY(pq_state_orders_extend(&orders, graph, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        if (node->layer->n_weights > 0) {
            PQ_TRY(fill_layer(state, node, &orders.nodes[node->inputs[0]], arch, err));
        }
    }
    PQ_TRY(set_scaler(arch, graph, err));
    *out  = graph;
    graph = NULL;
cleanup:
    pq_state_orders_free(&orders);
    pq_graph_free(&graph);
    return st;
}

static pq_status refuse_nameless(pq_err *err)
{
    pq_text         nets = {0};
    const pq_status st   = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                                      "a state dict holds weights without their network");

    for (size_t i = 0; pq_zoo_nets[i].name != NULL; i++) {
        pq_text_add(&nets, "%s%s", i == 0 ? "" : ", ", pq_zoo_nets[i].name);
    }
    pq_err_hint(err,
                "name the network with --arch, or `arch:` (of a teacher `teacher_arch:`) "
                "in a configuration: a YAML of layers, of which `pquant model init` "
                "writes a template, or one of the zoo: %s",
                nets.text);
    pq_text_free(&nets);
    return st;
}

static pq_status take_one(pq_state *state, const char *name, pq_tensor **out, pq_err *err)
{
    for (size_t i = 0; i < state->n; i++) {
        if (strcmp(state->entries[i].name, name) == 0 && !state->entries[i].used) {
            pq_tensor_free(out);
            return pq_state_take(state, &state->entries[i], name, out, err);
        }
    }
    return PQ_OK;
}

/* The scaler that this program writes beside the weights. */
static pq_status take_scaler(pq_state *state, pq_graph *graph, pq_err *err)
{
    pq_status st;

    PQ_TRY(take_one(state, PQ_STATE_SCALER_MEAN, &graph->scaler_mean, err));
    PQ_TRY(take_one(state, PQ_STATE_SCALER_STD, &graph->scaler_std, err));
    PQ_CHECK((graph->scaler_mean == NULL) == (graph->scaler_std == NULL), PQ_ERR_FORMAT,
             "holds one of " PQ_STATE_SCALER_MEAN " and " PQ_STATE_SCALER_STD " alone");
cleanup:
    return st;
}

static bool is_yaml(const char *arch)
{
    const char *dot = strrchr(arch, '.');

    return dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static pq_status build(pq_state *state, const char *arch, pq_graph **out, pq_err *err)
{
    pq_graph *graph = NULL;
    pq_status st;

    PQ_CHECK(state->n > 0, PQ_ERR_FORMAT, "holds no tensors");
    PQ_TRY(is_yaml(arch) ? pq_state_from_yaml(state, arch, &graph, err)
                         : from_zoo(state, arch, &graph, err));
    PQ_TRY(take_scaler(state, graph, err));
    for (size_t i = 0; i < state->n; i++) {
        PQ_CHECK(state->entries[i].used, PQ_ERR_FORMAT,
                 "'%.100s' belongs to no layer of %s", state->entries[i].name, arch);
    }
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    return st;
}

static pq_status open_file(pq_state_open *open, const char *path, pq_state *state,
                           pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_map_open(path, &state->map, err));
    st = open(state, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
    }
cleanup:
    return st;
}

pq_status pq_state_load(pq_state_open *open, const char *path, const char *arch,
                        pq_graph **out, pq_err *err)
{
    pq_state  state = {0};
    pq_status st;

    if (arch != NULL) { /* without one nothing of the file is of use */
        PQ_TRY(open_file(open, path, &state, err));
    }
    st = arch != NULL ? build(&state, arch, out, err) : refuse_nameless(err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
    }
cleanup:
    pq_state_free(&state);
    return st;
}

pq_status pq_state_template_of(const char *path, pq_text *out, pq_err *err)
{
    static const struct {
        const char    *format;
        pq_state_open *open;
    } readers[]     = {{"safetensors", pq_safetensors_open},
                       {"npz", pq_npz_open},
                       {"torch", pq_torch_open},
                       {"flax", pq_flax_open}};
    pq_state  state = {0};
    pq_status st;

    PQ_TRY(pq_file_check(path, err));
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        for (size_t f = 0; pq_formats[f] != NULL; f++) {
            if (strcmp(pq_formats[f]->name, readers[i].format) == 0 &&
                pq_formats[f]->recognises(path)) {
                PQ_TRY(open_file(readers[i].open, path, &state, err));
                st = pq_state_template(&state, out, err);
                goto cleanup;
            }
        }
    }
    PQ_FAIL(PQ_ERR_FORMAT,
            "%s: is no state dict: safetensors, an .npz of NumPy, a file of torch.save "
            "or msgpack of Flax",
            path);
cleanup:
    pq_state_free(&state);
    return st;
}

const char *pq_state_name(const char *weight, pq_state_style style)
{
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (strcmp(names[k].ours, weight) == 0) {
            return names[k].theirs[style];
        }
    }
    return weight;
}
