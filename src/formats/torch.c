/*
 * State dicts of PyTorch (.pt, .pth, .th), whose network is one of the zoo:
 * modules fill its layers in order, and every shape has to fit.
 *
 * Convolutions turn from [out, in, height, width] into [out, height, width, in].
 */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/torch_storage.h"
#include "formats/zoo.h"

static const size_t max_bytes = (size_t)1 << 32;

/* Inputs that public CIFAR-10 ResNets were trained on: ImageNet's mean and deviation. */
static const double image_mean[]      = {0.485, 0.456, 0.406},
                    image_std[]       = {0.229, 0.224, 0.225};
static const char *const image_nets[] = {"resnet20", "resnet32", "resnet44", "resnet56"};

/* A tensor of the state dict. */
typedef struct {
    const char            *name; /* [bytes] */
    size_t                 bytes;
    const pq_pickle_value *tensor;
    bool                   used;
} entry;

typedef struct {
    const char   *path, *arch;
    pq_torch_file file;
    size_t        n;
    entry        *entries;
} reader;

static bool recognises(const char *path)
{
    uint8_t start[16] = {0};
    FILE   *f         = pq_file_stream(path);
    size_t  n;

    if (f == NULL) {
        return false;
    }
    n = fread(start, 1, sizeof start, f);
    (void)fclose(f);
    /* Archives of others: NumPy's .npz, Keras's .keras. */
    return pq_torch_looks(start, n) &&
           (memcmp(start, "PK", 2) != 0 || pq_foreign_zip_has(path, "data.pkl") ||
            (!pq_foreign_zip_has(path, ".npy") &&
             !pq_foreign_zip_has(path, "config.json")));
}

static bool ends_with(const entry *e, const char *text)
{
    const size_t n = strlen(text);

    return e->bytes >= n && memcmp(e->name + e->bytes - n, text, n) == 0;
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

static pq_status list_entries(reader *r, pq_err *err)
{
    const pq_pickle       *p    = &r->file.pickle;
    const pq_pickle_value *dict = state_dict(p);
    pq_status              st;

    PQ_CHECK(dict->type == PQ_PICKLE_DICT, PQ_ERR_FORMAT, "holds no dict of tensors");
    PQ_NEW(r->entries, dict->n / 2);
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const pq_pickle_value *key   = &p->values[dict->items[i]];
        const pq_pickle_value *value = &p->values[dict->items[i + 1]];
        entry                  e     = {key->text, key->text_bytes, value, false};
        if (key->type == PQ_PICKLE_TEXT && value->type == PQ_PICKLE_TENSOR &&
            !ends_with(&e, "num_batches_tracked")) {
            r->entries[r->n++] = e;
        }
    }
    PQ_CHECK(r->n > 0, PQ_ERR_FORMAT, "holds no tensors");
cleanup:
    return st;
}

static int name_width(size_t bytes)
{
    return bytes < 100 ? (int)bytes : 100;
}

/* Bytes of the module's part of a name: "layer1.0.conv1" of "layer1.0.conv1.weight". */
static size_t module_bytes(const entry *e)
{
    size_t n = e->bytes;

    while (n > 0 && e->name[n - 1] != '.') {
        n--;
    }
    return n;
}

static entry *find(const reader *r, const entry *module, const char *what)
{
    const size_t n = module_bytes(module);

    for (size_t i = 0; i < r->n; i++) {
        entry *e = &r->entries[i];
        if (!e->used && e->bytes == n + strlen(what) &&
            memcmp(e->name, module->name, n) == 0 &&
            memcmp(e->name + n, what, strlen(what)) == 0) {
            return e;
        }
    }
    return NULL;
}

/* PyTorch's name of a weight of ours. */
static const char *torch_name(const char *weight)
{
    static const char *const names[][2] = {{"kernel", "weight"},
                                           {"gamma", "weight"},
                                           {"beta", "bias"},
                                           {"mean", "running_mean"},
                                           {"variance", "running_var"}};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(weight, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return weight;
}

static pq_status fill_weight(const reader *r, entry *e, pq_weight *w, const char *layer,
                             pq_err *err)
{
    const size_t channels_last[] = {0, 2, 3, 1};
    pq_tensor   *t = NULL, *turned = NULL;
    char         have[128], due[128];
    pq_status    st;

    PQ_TRY(pq_torch_tensor(&r->file, e->tensor, &t, err));
    if (t->shape.ndim == 4) {
        PQ_TRY(pq_tensor_permute(t, channels_last, &turned, err));
        pq_tensor_free(&t);
        t      = turned;
        turned = NULL;
    }
    PQ_CHECK(pq_shape_equal(&t->shape, &w->value->shape), PQ_ERR_SHAPE,
             "'%.*s' is %s, but layer '%s' of %s wants %s", name_width(e->bytes), e->name,
             pq_shape_text(&t->shape, have, sizeof have), layer, r->arch,
             pq_shape_text(&w->value->shape, due, sizeof due));
    pq_tensor_free(&w->value);
    w->value = t;
    t        = NULL;
    e->used  = true;
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&turned);
    return st;
}

static pq_status fill_layer(const reader *r, const pq_node *node, pq_err *err)
{
    const entry *module = NULL;
    pq_status    st;

    for (size_t i = 0; module == NULL && i < r->n; i++) {
        module = r->entries[i].used ? NULL : &r->entries[i];
    }
    PQ_CHECK(module != NULL, PQ_ERR_FORMAT, "holds no weights for layer '%s' of %s",
             node->name, r->arch);
    for (size_t i = 0; i < node->layer->n_weights; i++) {
        pq_weight *w = &node->layer->weights[i];
        entry     *e = find(r, module, torch_name(w->name));
        PQ_CHECK(e != NULL, PQ_ERR_FORMAT, "module '%.*s' has no %s for layer '%s' of %s",
                 name_width(module_bytes(module)), module->name, torch_name(w->name),
                 node->name, r->arch);
        PQ_TRY(fill_weight(r, e, w, node->name, err));
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

static pq_status fill(reader *r, pq_graph *graph, pq_err *err)
{
    pq_status st;

    PQ_TRY(list_entries(r, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].layer->n_weights > 0) {
            PQ_TRY(fill_layer(r, &graph->nodes[i], err));
        }
    }
    for (size_t i = 0; i < r->n; i++) {
        PQ_CHECK(r->entries[i].used, PQ_ERR_FORMAT, "'%.*s' belongs to no layer of %s",
                 name_width(r->entries[i].bytes), r->entries[i].name, r->arch);
    }
cleanup:
    return st;
}

/* "a, b and c" of the zoo. */
static void list_nets(pq_text *out)
{
    for (size_t i = 0; pq_zoo_nets[i].name != NULL; i++) {
        pq_text_add(out, "%s%s", i == 0 ? "" : ", ", pq_zoo_nets[i].name);
    }
}

static pq_status load(const char *path, const char *arch, pq_graph **out, pq_err *err)
{
    reader    r     = {.path = path, .arch = arch};
    char     *bytes = NULL;
    size_t    n     = 0;
    pq_graph *graph = NULL;
    pq_text   nets  = {0};
    pq_status st;

    if (arch == NULL) {
        list_nets(&nets);
        st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                        "a state dict holds weights without their network");
        pq_err_hint(
            err,
            "name the network with --arch NAME, or `arch:` (of a teacher "
            "`teacher_arch:`) in a configuration; there are %s; a network of your "
            "own comes as ONNX (torch.onnx.export)",
            nets.text);
        goto cleanup;
    }
    PQ_TRY(pq_zoo_build(arch, 0, &graph, err));
    PQ_TRY(pq_file_read(path, max_bytes, &bytes, &n, err));
    PQ_TRY(pq_torch_parse((uint8_t *)bytes, n, &r.file, err));
    PQ_TRY(fill(&r, graph, err));
    PQ_TRY(set_scaler(arch, graph, err));
    *out  = graph;
    graph = NULL;
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
    }
    pq_text_free(&nets);
    pq_torch_free(&r.file);
    pq_free(r.entries);
    pq_graph_free(&graph);
    return st;
}

const pq_model_format pq_model_format_torch = {
    .name    = "torch",
    .summary = "PyTorch state dict (.pt, .pth, .th) of a network of the zoo; read only",
    .source  = "torch/serialization.py; Lib/pickletools.py",
    .recognises = recognises,
    .load       = load,
};
