/*
 * Networks as a short YAML of layers, beside the arrays of a state dict:
 *
 *   schema: pquant-layers/1
 *   input: [28, 28, 1]
 *   layers:
 *     - flatten
 *     - dense: {from: fc1}
 *     - relu
 *     - dense: {from: fc2, name: out}
 *
 * A layer is a kind of ours with its attributes; `from` names the module whose arrays it
 * takes, `of` the layers that it reads where that is not the one before, `name` itself.
 */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/state.h"
#include "io/yaml.h"

typedef struct {
    pq_state *state;
    pq_graph *graph;
    char      last[256]; /* name of the layer before */
} builder;

/* Text of a key of a map, or NULL; a layer without attributes has no map. */
static const char *text_at(const pq_yaml *map, const char *key)
{
    const pq_yaml *node = map != NULL ? pq_yaml_find(map, key) : NULL;

    return node != NULL && node->kind == PQ_YAML_SCALAR ? node->text : NULL;
}

/* "[28, 28, 1]" of a list of YAML, or the text of a scalar. */
static pq_status value_text(const pq_yaml *node, pq_text *out, pq_err *err)
{
    pq_status st = PQ_OK;

    if (node->kind == PQ_YAML_SCALAR) {
        pq_text_add(out, "%s", node->text);
    } else {
        for (size_t i = 0; i < node->n; i++) {
            if (node->kind != PQ_YAML_LIST || node->items[i]->kind != PQ_YAML_SCALAR) {
                return pq_yaml_fail(node, err, PQ_ERR_CONFIG,
                                    "a number, a text or a list of them is due here");
            }
            pq_text_add(out, "%s%s", i == 0 ? "[" : ", ", node->items[i]->text);
        }
        pq_text_add(out, "%s", node->n > 0 ? "]" : "");
    }
    PQ_CHECK(!out->failed && out->text != NULL, PQ_ERR_CONFIG, "%s:%zu:%zu: is empty",
             node->file, node->line, node->column);
cleanup:
    return st;
}

static pq_status set(pq_layer *layer, const char *attribute, const pq_yaml *value,
                     pq_err *err)
{
    pq_text   text = {0};
    pq_err    why  = {0};
    pq_status st;

    PQ_TRY(value_text(value, &text, err));
    st = pq_layer_set(layer, attribute, text.text, &why);
    if (st != PQ_OK) {
        (void)pq_yaml_fail(value, err, st, "%s: %s", layer->kind->name, why.message);
        if (why.hint[0] != '\0') {
            pq_err_hint(err, "%s", why.hint);
        }
    }
cleanup:
    pq_text_free(&text);
    return st;
}

/* Columns of a dense kernel behind a flattened image of PyTorch, whose channels come
 * first: from [c, h, w] to our [h, w, c]. */
static pq_status turn_columns(const pq_graph *graph, size_t input, pq_tensor **kernel,
                              pq_err *err)
{
    static const size_t axes[] = {0, 2, 3, 1};
    const pq_node      *from   = &graph->nodes[input];
    const pq_shape     *image;
    pq_tensor          *turned = NULL;
    size_t              count  = 0;
    pq_status           st     = PQ_OK;

    if (strcmp(from->layer->kind->name, "flatten") != 0 ||
        graph->nodes[from->inputs[0]].shape.ndim != 3) {
        return PQ_OK;
    }
    image = &graph->nodes[from->inputs[0]].shape;
    PQ_CHECK((*kernel)->shape.ndim == 2 && pq_shape_count(image, &count) &&
                 (*kernel)->shape.dim[1] == count,
             PQ_ERR_SHAPE, "the kernel has %zu inputs, the image behind it %zu values",
             (*kernel)->shape.dim[(*kernel)->shape.ndim - 1], count);
    PQ_TRY(pq_tensor_reshape(
        *kernel,
        PQ_SHAPE((*kernel)->shape.dim[0], image->dim[2], image->dim[0], image->dim[1]),
        err));
    PQ_TRY(pq_tensor_permute(*kernel, axes, &turned, err));
    PQ_TRY(pq_tensor_reshape(turned, PQ_SHAPE(turned->shape.dim[0], count), err));
    pq_tensor_free(kernel);
    *kernel = turned;
    turned  = NULL;
cleanup:
    pq_tensor_free(&turned);
    return st;
}

/* Takes the arrays of a module that the kind has weights for. */
static pq_status take_weights(builder *b, pq_layer *layer, const char *module,
                              size_t input, pq_err *err)
{
    static const struct {
        const char *kind, *weights[5];
        size_t      due; /* the first so many must be there */
    } kinds[]    = {{"dense", {"kernel", "bias", NULL}, 1},
                    {"conv2d", {"kernel", "bias", NULL}, 1},
                    {"batch_norm", {"mean", "variance", "gamma", "beta", NULL}, 2}};
    size_t    k  = 0;
    pq_status st = PQ_OK;

    while (k < 3 && strcmp(kinds[k].kind, layer->kind->name) != 0) {
        k++;
    }
    PQ_CHECK(k < 3, PQ_ERR_CONFIG,
             "%s takes no arrays: 'from' is of dense, conv2d and "
             "batch_norm",
             layer->kind->name);
    for (size_t i = 0; kinds[k].weights[i] != NULL; i++) {
        const char     *what = kinds[k].weights[i];
        pq_state_entry *e    = pq_state_find(b->state, module, what);
        pq_tensor      *t    = NULL;
        PQ_CHECK(e != NULL || i >= kinds[k].due, PQ_ERR_FORMAT,
                 "the file has no %s of module '%s'", what, module);
        if (e == NULL) {
            continue;
        }
        const char *end   = strrchr(e->name, '.');
        const bool  torch = strcmp(end != NULL ? end + 1 : e->name, "weight") == 0;
        PQ_TRY(pq_state_take(b->state, e, what, &t, err));
        if (k == 0 && i == 0 && torch) {
            st = turn_columns(b->graph, input, &t, err);
            if (st != PQ_OK) {
                pq_tensor_free(&t);
                goto cleanup;
            }
        }
        PQ_TRY(pq_layer_add_weight(layer, what, t, err));
    }
cleanup:
    return st;
}

/* A grouped convolution has fewer inputs a kernel than channels: that tells the groups.
 */
static pq_status set_groups(const pq_graph *graph, size_t input, pq_layer *layer,
                            pq_err *err)
{
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const pq_shape  *image  = &graph->nodes[input].shape;
    char             text[32];

    if (strcmp(layer->kind->name, "conv2d") != 0 || kernel == NULL ||
        kernel->value->shape.ndim != 4 || image->ndim != 3 ||
        kernel->value->shape.dim[3] == 0 ||
        image->dim[2] % kernel->value->shape.dim[3] != 0) {
        return PQ_OK; /* the check of the graph says what is wrong */
    }
    (void)snprintf(text, sizeof text, "%zu", image->dim[2] / kernel->value->shape.dim[3]);
    return pq_layer_set(layer, "groups", text, err);
}

/* Names of the layers that one reads, in `of`, or the one before. */
static pq_status inputs_of(const builder *b, const pq_yaml *of, const char **inputs,
                           size_t *n, pq_err *err)
{
    *n = 0;
    if (of == NULL) {
        inputs[(*n)++] = b->last;
        return PQ_OK;
    }
    if (of->kind == PQ_YAML_SCALAR) {
        inputs[(*n)++] = of->text;
    }
    for (size_t i = 0; of->kind == PQ_YAML_LIST && i < of->n; i++) {
        if (*n == PQ_NODE_INPUTS || of->items[i]->kind != PQ_YAML_SCALAR) {
            return pq_yaml_fail(of->items[i], err, PQ_ERR_CONFIG,
                                "'of' takes at most %d names of layers", PQ_NODE_INPUTS);
        }
        inputs[(*n)++] = of->items[i]->text;
    }
    for (size_t i = 0; i < *n; i++) {
        if (pq_graph_find(b->graph, inputs[i]) == SIZE_MAX) {
            return pq_yaml_fail(of, err, PQ_ERR_CONFIG,
                                "'of': no layer '%s' stands before", inputs[i]);
        }
    }
    return *n > 0 ? PQ_OK : pq_yaml_fail(of, err, PQ_ERR_CONFIG, "'of' names no layer");
}

/* The name that was given, the module's, or the kind with a number. */
static char *name_of(const builder *b, const char *kind, const pq_yaml *map)
{
    const char *given = text_at(map, "name"), *from = text_at(map, "from");
    char *name = pq_format("%s", given != NULL ? given : from != NULL ? from : kind);

    for (size_t k = 1;
         given == NULL && name != NULL && pq_graph_find(b->graph, name) != SIZE_MAX;
         k++) {
        pq_free(name);
        name = pq_format("%s_%zu", from != NULL ? from : kind, k);
    }
    return name;
}

static pq_status add(builder *b, const char *kind, const pq_yaml *map, pq_layer **layer,
                     pq_err *err)
{
    char       *name = name_of(b, kind, map);
    const char *from = text_at(map, "from"), *inputs[PQ_NODE_INPUTS];
    pq_layer   *taken;
    size_t      n = 0, input;
    pq_status   st;

    PQ_CHECK(name != NULL && strlen(name) < sizeof b->last, PQ_ERR_CONFIG,
             "a name has more than %zu bytes", sizeof b->last - 1);
    PQ_TRY(inputs_of(b, map != NULL ? pq_yaml_find(map, "of") : NULL, inputs, &n, err));
    input = pq_graph_find(b->graph, inputs[0]);
    if (from != NULL) {
        PQ_TRY(take_weights(b, *layer, from, input, err));
        PQ_TRY(set_groups(b->graph, input, *layer, err));
    }
    taken  = *layer;
    *layer = NULL;
    PQ_TRY(pq_graph_add(b->graph, name, taken, n, inputs, err));
    PQ_TRY(pq_graph_check(b->graph, err)); /* shapes, for what comes behind */
    (void)snprintf(b->last, sizeof b->last, "%s", name);
cleanup:
    pq_free(name);
    return st;
}

static bool is_ours(const char *key)
{
    return strcmp(key, "name") == 0 || strcmp(key, "from") == 0 || strcmp(key, "of") == 0;
}

/* `relu`, or `dense: {from: fc1}`. */
static pq_status add_item(builder *b, const pq_yaml *item, pq_err *err)
{
    const pq_yaml *map =
        item->kind == PQ_YAML_MAP && item->n == 1 ? item->items[0] : NULL;
    const char *kind  = item->kind == PQ_YAML_SCALAR ? item->text
                        : map != NULL                ? map->key
                                                     : NULL;
    pq_layer   *layer = NULL;
    pq_err      why   = {0};
    pq_status   st;

    if (kind == NULL || (map != NULL && map->kind != PQ_YAML_MAP)) {
        return pq_yaml_fail(item, err, PQ_ERR_CONFIG,
                            "a layer is a kind, or {kind: {attributes}}");
    }
    st = pq_layer_create(kind, &layer, &why);
    if (st != PQ_OK) {
        (void)pq_yaml_fail(item, err, PQ_ERR_CONFIG, "%s", why.message);
        pq_err_hint(err, "%s", why.hint[0] != '\0' ? why.hint : "see pquant layers");
        return PQ_ERR_CONFIG;
    }
    for (size_t i = 0; map != NULL && i < map->n; i++) {
        if (!is_ours(map->items[i]->key)) {
            PQ_TRY(set(layer, map->items[i]->key, map->items[i], err));
        }
    }
    st = add(b, kind, map, &layer, &why);
    if (st != PQ_OK) {
        if (strncmp(why.message, item->file, strlen(item->file)) == 0) {
            if (err != NULL) {
                *err = why; /* it tells the place already */
            }
        } else {
            (void)pq_yaml_fail(item, err, st, "%s", why.message);
        }
    }
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status add_input(builder *b, const char *name, const pq_yaml *shape,
                           pq_err *err)
{
    pq_layer *layer = NULL, *taken;
    pq_status st;

    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(set(layer, "shape", shape, err));
    taken = layer;
    layer = NULL;
    PQ_TRY(pq_graph_add(b->graph, name, taken, 0, NULL, err));
    PQ_TRY(pq_graph_check(b->graph, err));
    (void)snprintf(b->last, sizeof b->last, "%.*s", (int)sizeof b->last - 1, name);
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status check_keys(const pq_yaml *root, pq_err *err)
{
    static const char *const keys[] = {"schema", "input", "inputs", "layers", "output"};
    const char              *schema = text_at(root, "schema");

    if (root->kind != PQ_YAML_MAP || schema == NULL ||
        strcmp(schema, PQ_STATE_SCHEMA) != 0) {
        return pq_yaml_fail(root, err, PQ_ERR_CONFIG, "schema is not %s",
                            PQ_STATE_SCHEMA);
    }
    for (size_t i = 0; i < root->n; i++) {
        size_t k = 0;
        while (k < 5 && strcmp(keys[k], root->items[i]->key) != 0) {
            k++;
        }
        if (k == 5) {
            const char *near = pq_nearest(root->items[i]->key, keys, 5);
            return pq_yaml_fail_key(root->items[i], err, PQ_ERR_CONFIG,
                                    "unknown key '%s'%s%s%s", root->items[i]->key,
                                    near != NULL ? "; did you mean '" : "",
                                    near != NULL ? near : "", near != NULL ? "'?" : "");
        }
    }
    return PQ_OK;
}

static pq_status set_output(builder *b, const pq_yaml *output, pq_err *err)
{
    const size_t node = output != NULL && output->kind == PQ_YAML_SCALAR
                            ? pq_graph_find(b->graph, output->text)
                            : SIZE_MAX;

    if (output == NULL) {
        return PQ_OK; /* the last layer */
    }
    if (node == SIZE_MAX) {
        return pq_yaml_fail(output, err, PQ_ERR_CONFIG, "'output' is no layer's name");
    }
    b->graph->output = node;
    return PQ_OK;
}

static pq_status build(builder *b, const pq_yaml *root, pq_err *err)
{
    const pq_yaml *input  = pq_yaml_find(root, "input"),
                  *many   = pq_yaml_find(root, "inputs");
    const pq_yaml *layers = pq_yaml_find(root, "layers");
    pq_status      st;

    PQ_TRY(check_keys(root, err));
    if ((input == NULL) == (many == NULL) ||
        (many != NULL && many->kind != PQ_YAML_MAP)) {
        return pq_yaml_fail(
            root, err, PQ_ERR_CONFIG,
            "either 'input: [sizes]' or 'inputs: {name: [sizes]}' is due");
    }
    if (layers == NULL || layers->kind != PQ_YAML_LIST || layers->n == 0) {
        return pq_yaml_fail(layers != NULL ? layers : root, err, PQ_ERR_CONFIG,
                            "'layers' is no list of layers");
    }
    if (input != NULL) {
        PQ_TRY(add_input(b, "input", input, err));
    }
    for (size_t i = 0; many != NULL && i < many->n; i++) {
        PQ_TRY(add_input(b, many->items[i]->key, many->items[i], err));
    }
    for (size_t i = 0; i < layers->n; i++) {
        PQ_TRY(add_item(b, layers->items[i], err));
    }
    PQ_TRY(set_output(b, pq_yaml_find(root, "output"), err));
cleanup:
    return st;
}

pq_status pq_state_from_yaml(pq_state *state, const char *path, pq_graph **out,
                             pq_err *err)
{
    pq_yaml  *root = NULL;
    builder   b    = {.state = state};
    pq_status st;

    PQ_TRY(pq_yaml_read(path, &root, err));
    PQ_TRY(pq_graph_create(&b.graph, err));
    PQ_TRY(build(&b, root, err));
    *out    = b.graph;
    b.graph = NULL;
cleanup:
    pq_yaml_free(&root);
    pq_graph_free(&b.graph);
    return st;
}
