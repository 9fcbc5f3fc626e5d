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
    pq_state       *state;
    pq_graph       *graph;
    pq_state_orders orders;    /* of the nodes so far */
    bool            torch;     /* arrays of PyTorch were met */
    char            last[256]; /* name of the layer before */
} builder;

/* Text of a key of a map, or NULL; a layer without attributes has no map. */
static const char *text_at(const pq_yaml *map, const char *key)
{
    const pq_yaml *node = map != NULL ? pq_yaml_find(map, key) : NULL;
    return node != NULL && node->kind == PQ_YAML_SCALAR ? node->text : NULL;
}

/* What a kind takes of a module. */
typedef struct {
    const char *kind, *weights[5];
    size_t      due; /* the first so many must be there */
} taken_kind;

static const taken_kind kinds[] = {
    {"dense", {"kernel", "bias", NULL}, 1},
    {"conv2d", {"kernel", "bias", NULL}, 1},
    {"batch_norm", {"mean", "variance", "gamma", "beta", NULL}, 2}};

static const taken_kind *kind_of(const pq_layer *layer)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(kinds[k].kind, layer->kind->name) == 0) {
            return &kinds[k];
        }
    }
    return NULL;
}

/* Whether a layer before has taken a module's arrays. */
static bool was_taken(const builder *b, const char *module)
{
    const size_t n = strlen(module);

    for (size_t i = 0; i < b->state->n; i++) {
        const pq_state_entry *e = &b->state->entries[i];
        if (e->used && strncmp(e->name, module, n) == 0 && e->name[n] == '.' &&
            strchr(e->name + n + 1, '.') == NULL) {
            return true;
        }
    }
    return false;
}

/* Takes the arrays of a module that the kind has weights for. */
static pq_status take_weights(builder *b, pq_layer *layer, const char *module,
                              size_t input, pq_err *err)
{
    const taken_kind *kind  = kind_of(layer);
    bool              torch = false;
    pq_tensor        *t     = NULL;
    pq_status         st    = PQ_OK;

    PQ_CHECK(kind != NULL, PQ_ERR_CONFIG,
             "%s takes no arrays: 'from' is of dense, conv2d and "
             "batch_norm",
             layer->kind->name);
    for (size_t i = 0; kind->weights[i] != NULL; i++) {
        const char     *what = kind->weights[i];
        pq_state_entry *e    = pq_state_find(b->state, module, what);
        PQ_CHECK(
            e != NULL || i >= kind->due || !was_taken(b, module), PQ_ERR_UNSUPPORTED,
            "the arrays of module '%s' belong to a layer before already: one that is "
            "used twice is not read",
            module);
        PQ_CHECK(e != NULL || i >= kind->due, PQ_ERR_FORMAT,
                 "the file has no %s of module '%s'", what, module);
        if (e == NULL) {
            continue;
        }
        torch    = torch || (i == 0 && pq_state_is_torch(e));
        b->torch = b->torch || torch;
        PQ_TRY(pq_state_take(b->state, e, what, &t, err));
        if (torch) {
            PQ_TRY(
                pq_state_order_turn(&b->orders.nodes[input], layer, what, true, &t, err));
        }
        pq_tensor *given = t;
        t                = NULL;
        PQ_TRY(pq_layer_add_weight(layer, what, given, err));
    }
cleanup:
    pq_tensor_free(&t);
    return st;
}

/* A grouped convolution has fewer inputs a kernel than channels: that tells the groups,
 * where they are not given. */
static pq_status set_groups(const pq_graph *graph, size_t input, const pq_yaml *map,
                            pq_layer *layer, pq_err *err)
{
    const pq_weight *kernel = pq_layer_weight(layer, "kernel");
    const pq_shape  *image  = &graph->nodes[input].shape;
    char             text[32];

    if (strcmp(layer->kind->name, "conv2d") != 0 || kernel == NULL ||
        pq_yaml_find(map, "groups") != NULL || kernel->value->shape.ndim != 4 ||
        image->ndim != 3 || kernel->value->shape.dim[3] == 0 ||
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

/* Whether a key is not the kind's, which may have a `from` of its own. */
static bool is_ours(const pq_layer *layer, const char *key)
{
    const pq_param *own = layer->kind->params;

    return (own == NULL || pq_params_find(own, key) == NULL) &&
           (strcmp(key, "name") == 0 || strcmp(key, "from") == 0 ||
            strcmp(key, "of") == 0);
}

/* The module whose arrays a layer takes, or NULL. */
static const char *module_of(const pq_layer *layer, const pq_yaml *map)
{
    return is_ours(layer, "from") ? text_at(map, "from") : NULL;
}

/* The name that was given, the module's, or the kind with a number. */
static char *name_of(const builder *b, const pq_layer *layer, const pq_yaml *map)
{
    const char *given = text_at(map, "name"), *from = module_of(layer, map);
    const char *kind = layer->kind->name;
    from       = from != NULL && from[0] != '\0' ? from : NULL; /* of a single module */
    char *name = pq_format("%s", given != NULL ? given : from != NULL ? from : kind);

    for (size_t k = 1;
         given == NULL && name != NULL && pq_graph_find(b->graph, name) != SIZE_MAX;
         k++) {
        pq_free(name);
        name = pq_format("%s_%zu", from != NULL ? from : kind, k);
    }
    return name;
}

static pq_status add(builder *b, const pq_yaml *map, pq_layer **layer, pq_err *err)
{
    char       *name = name_of(b, *layer, map);
    const char *from = module_of(*layer, map), *inputs[PQ_NODE_INPUTS];
    pq_layer   *taken;
    size_t      n = 0, input;
    pq_status   st;

    PQ_CHECK(name != NULL && strlen(name) < sizeof b->last, PQ_ERR_CONFIG,
             "a name has more than %zu bytes", sizeof b->last - 1);
    PQ_TRY(inputs_of(b, map != NULL ? pq_yaml_find(map, "of") : NULL, inputs, &n, err));
    input = pq_graph_find(b->graph, inputs[0]);
    if (from != NULL) {
        PQ_TRY(take_weights(b, *layer, from, input, err));
        PQ_TRY(set_groups(b->graph, input, map, *layer, err));
    }
    taken  = *layer;
    *layer = NULL;
    PQ_TRY(pq_graph_add(b->graph, name, taken, n, inputs, err));
    PQ_TRY(pq_graph_check(b->graph, err)); /* shapes, for what comes behind */
    PQ_TRY(pq_state_orders_extend(&b->orders, b->graph, err));
    (void)snprintf(b->last, sizeof b->last, "%s", name);
cleanup:
    pq_free(name);
    return st;
}

/* What would be passed over, or stand for something that the file does not tell. */
static pq_status check_attributes(const pq_layer *layer, const pq_yaml *item,
                                  const pq_yaml *map, pq_err *err)
{
    const char *kind = layer->kind->name, *padding = text_at(map, "padding");

    for (size_t i = 0; map != NULL && i < map->n; i++) {
        const pq_yaml *value = map->items[i];
        const char    *key   = value->key;
        if (is_ours(layer, key) && strcmp(key, "of") != 0 &&
            value->kind != PQ_YAML_SCALAR) {
            return pq_yaml_fail(value, err, PQ_ERR_CONFIG, "'%s' is no text", key);
        }
        if (strncmp(key, "pad_", 4) == 0 &&
            (padding == NULL || strcmp(padding, "explicit") != 0)) {
            return pq_yaml_fail_key(value, err, PQ_ERR_CONFIG,
                                    "%s: '%s' needs 'padding: explicit', and padding is "
                                    "%s",
                                    kind, key, padding != NULL ? padding : "valid");
        }
    }
    if (kind_of(layer) != NULL && text_at(map, "from") == NULL) {
        return pq_yaml_fail(item, err, PQ_ERR_CONFIG,
                            "%s needs 'from', the module whose arrays it takes", kind);
    }
    if (strcmp(kind, "batch_norm") == 0 && text_at(map, "epsilon") == NULL) {
        return pq_yaml_fail(
            item, err, PQ_ERR_CONFIG,
            "batch_norm needs 'epsilon', which arrays do not tell: where "
            "none was given it is 1e-5 in PyTorch and Flax, 1e-3 in Keras");
    }
    return PQ_OK;
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
        if (!is_ours(layer, map->items[i]->key)) {
            PQ_TRY(pq_state_yaml_set(layer, map->items[i]->key, map->items[i], err));
        }
    }
    PQ_TRY(check_attributes(layer, item, map, err));
    st = add(b, map, &layer, &why);
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
    pq_err    why   = {0};
    pq_status st;

    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(pq_state_yaml_set(layer, "shape", shape, err));
    taken = layer;
    layer = NULL;
    st    = pq_graph_add(b->graph, name, taken, 0, NULL, &why);
    st    = st == PQ_OK ? pq_graph_check(b->graph, &why) : st;
    if (st != PQ_OK) {
        return pq_yaml_fail(shape, err, st, "%s", why.message);
    }
    PQ_TRY(pq_state_orders_extend(&b->orders, b->graph, err));
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

/* Every layer is read by another, but for the last: what is read by none was forgotten.
 * items: what gave each node. */
static pq_status check_read(const builder *b, const pq_yaml *const *items, pq_err *err)
{
    const pq_graph *g = b->graph;

    for (size_t i = 0; i + 1 < g->n_nodes; i++) {
        bool read = false;
        for (size_t k = i + 1; k < g->n_nodes; k++) {
            for (size_t j = 0; j < g->nodes[k].n_inputs; j++) {
                read = read || g->nodes[k].inputs[j] == i;
            }
        }
        if (!read) {
            return pq_yaml_fail(items[i], err, PQ_ERR_CONFIG,
                                "no layer reads '%s': name it in 'of' of one, or the "
                                "network's 'output' if this is meant",
                                g->nodes[i].name);
        }
    }
    return PQ_OK;
}

/* PyTorch's output must be ours, item for item. */
static pq_status check_order(const builder *b, const pq_yaml *item, pq_err *err)
{
    const pq_state_order *order = &b->orders.nodes[b->graph->output];

    if (b->torch && (order->lost || order->from != NULL)) {
        return pq_yaml_fail(item, err, PQ_ERR_UNSUPPORTED,
                            "the output '%s' is an image that was reshaped, whose values "
                            "PyTorch, with the channels first, has in another order: "
                            "leave the reshape out",
                            b->graph->nodes[b->graph->output].name);
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
    const pq_yaml *layers = pq_yaml_find(root, "layers"),
                  *output = pq_yaml_find(root, "output");
    const pq_yaml **items = NULL; /* what gave each node */
    pq_status       st;

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
    PQ_NEW(items, (many != NULL ? many->n : 1) + layers->n);
    items[0] = input;
    for (size_t i = 0; many != NULL && i < many->n; i++) {
        items[i] = many->items[i];
    }
    for (size_t i = 0; i < layers->n; i++) {
        items[b->graph->n_nodes] = layers->items[i];
        PQ_TRY(add_item(b, layers->items[i], err));
    }
    PQ_TRY(set_output(b, output, err));
    if (output == NULL) {
        PQ_TRY(check_read(b, items, err));
    }
    PQ_TRY(check_order(b, items[b->graph->output], err));
cleanup:
    pq_free(items);
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
    pq_state_orders_free(&b.orders);
    pq_graph_free(&b.graph);
    return st;
}
