/* The inside of a model: its structure as text, its weights, and how one is built. */
#include "api/inside.h"

#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "graph/graph_json.h"
#include "graph/head.h"

struct pquant_builder {
    pq_graph *graph;
};

/* What the structure does not say of itself: shapes, and how weights are stored. */
static pq_status add_details(const pq_graph *graph, json_t *json, pq_err *err)
{
    const json_t *nodes = json_object_get(json, "nodes");
    pq_status     st    = PQ_OK;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node  = &graph->nodes[i];
        json_t        *item  = json_array_get(nodes, i);
        json_t        *shape = json_array();
        for (size_t d = 0; d < node->shape.ndim; d++) {
            (void)json_array_append_new(shape,
                                        json_integer((json_int_t)node->shape.dim[d]));
        }
        PQ_CHECK(json_object_set_new(item, "shape", shape) == 0, PQ_ERR_NOMEM,
                 "cannot describe layer '%s'", node->name);
        for (size_t w = 0; w < node->layer->n_weights; w++) {
            const pq_weight *weight = &node->layer->weights[w];
            json_t          *entry  = json_array_get(json_object_get(item, "weights"), w);
            json_t          *quant  = NULL;
            if (weight->quant != NULL) {
                PQ_TRY(pq_quant_to_json(weight->quant, &quant, err));
                (void)json_object_set_new(entry, "quant", quant);
            }
            (void)json_object_set_new(entry, "pruned",
                                      json_boolean(weight->pruned != NULL));
        }
    }
cleanup:
    return st;
}

static json_t *numbers(const pq_tensor *t)
{
    json_t *json = json_array();

    for (size_t i = 0; i < t->count; i++) {
        (void)json_array_append_new(json, json_real((double)pq_f32(t)[i]));
    }
    return json;
}

char *pquant_model_describe(const pquant_model *model)
{
    pq_err   *err  = pq_api_begin();
    json_t   *json = NULL;
    char     *out  = NULL;
    pq_status st;

    PQ_TRY(pq_graph_check(model->graph, err));
    PQ_TRY(pq_graph_to_json(model->graph, &json, err));
    PQ_TRY(add_details(model->graph, json, err));
    (void)json_object_set_new(json, "head",
                              json_string(pq_head_name(pq_graph_head(model->graph))));
    if (model->graph->scaler_mean != NULL) {
        (void)json_object_set_new(json, "scaler",
                                  json_pack("{s:o, s:o}", "mean",
                                            numbers(model->graph->scaler_mean), "std",
                                            numbers(model->graph->scaler_std)));
    }
    if (model->graph->provenance != NULL) {
        (void)json_object_set(json, "provenance", model->graph->provenance);
    }
    out = pq_api_text(json, err);
cleanup:
    (void)st;
    json_decref(json);
    return out;
}

static pq_status find_weight(const pq_graph *graph, const char *layer, const char *name,
                             pq_weight **out, pq_err *err)
{
    const size_t at = pq_graph_find(graph, layer);
    pq_status    st;

    PQ_CHECK(at != SIZE_MAX, PQ_ERR_NOT_FOUND, "the model has no layer '%s'", layer);
    *out = pq_layer_weight(graph->nodes[at].layer, name);
    PQ_CHECK(*out != NULL, PQ_ERR_NOT_FOUND, "layer '%s' has no weight '%s'", layer,
             name);
cleanup:
    return st;
}

int pquant_model_weight(const pquant_model *model, const char *layer, const char *name,
                        pquant_array *out)
{
    pq_weight      *w  = NULL;
    const pq_status st = find_weight(model->graph, layer, name, &w, pq_api_begin());

    if (st == PQ_OK) {
        *out = (pquant_array){.data  = w->value->data,
                              .dtype = PQUANT_FLOAT32,
                              .ndim  = w->value->shape.ndim};
        memcpy(out->shape, w->value->shape.dim,
               w->value->shape.ndim * sizeof *out->shape);
    }
    return st != PQ_OK;
}

static pq_status check_array(const pquant_array *a, size_t least, pq_err *err)
{
    pq_status st;

    PQ_CHECK(a->data != NULL && a->ndim >= least && a->ndim <= PQ_MAX_DIMS, PQ_ERR_SHAPE,
             "an array has %zu axes, not %zu..%d, or no items", a->ndim, least,
             PQ_MAX_DIMS);
cleanup:
    return st;
}

static pq_status set_weight(pq_graph *graph, const pquant_named_array *from, pq_err *err)
{
    pq_weight *w     = NULL;
    size_t     count = 1;
    pq_status  st;

    PQ_TRY(find_weight(graph, from->layer, from->name, &w, err));
    PQ_TRY(check_array(&from->value, 1, err));
    for (size_t d = 0; d < from->value.ndim; d++) {
        count *= from->value.shape[d];
    }
    PQ_CHECK(from->value.ndim == w->value->shape.ndim && count == w->value->count &&
                 memcmp(from->value.shape, w->value->shape.dim,
                        from->value.ndim * sizeof(size_t)) == 0,
             PQ_ERR_SHAPE, "weight '%s' of layer '%s' has another shape than the array",
             from->name, from->layer);
    PQ_TRY(pq_api_gather(&from->value, 0, from->value.shape[0], pq_f32(w->value), err));
    for (size_t i = 0; i < w->value->count && w->pruned != NULL; i++) {
        pq_f32(w->value)[i] = pq_weight_is_pruned(w, i) ? 0.0F : pq_f32(w->value)[i];
    }
    if (w->quant != NULL) {
        PQ_TRY(pq_quant_apply(w->quant, w->value, err));
    }
cleanup:
    return st;
}

pquant_model *pquant_model_with_weights(const pquant_model *model, size_t n,
                                        const pquant_named_array *weights)
{
    pq_err       *err   = pq_api_begin();
    pq_graph     *graph = NULL;
    pquant_model *out   = NULL;
    pq_status     st;

    PQ_TRY(pq_graph_clone(model->graph, &graph, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(set_weight(graph, &weights[i], err));
    }
    PQ_TRY(pq_graph_check(graph, err));
    out   = pq_api_wrap(graph, err);
    graph = NULL;
cleanup:
    (void)st;
    pq_graph_free(&graph);
    return out;
}

pquant_builder *pquant_builder_create(void)
{
    pq_err         *err = pq_api_begin();
    pquant_builder *b   = NULL;
    pq_status       st;

    PQ_NEW(b, 1);
    PQ_TRY(pq_graph_create(&b->graph, err));
cleanup:
    if (st != PQ_OK) {
        pquant_builder_free(b);
        b = NULL;
    }
    return b;
}

void pquant_builder_free(pquant_builder *builder)
{
    if (builder != NULL) {
        pq_graph_free(&builder->graph);
        pq_free(builder);
    }
}

/* "key=value,key=value"; commas within brackets belong to a value. */
static pq_status set_attributes(pq_layer *layer, const char *text, pq_err *err)
{
    char     *copy = NULL;
    pq_status st   = PQ_OK;

    PQ_STRDUP(copy, text);
    for (char *at = copy, *next; *at != '\0'; at = next) {
        int   depth = 0;
        char *equal;
        for (next = at; *next != '\0' && (depth > 0 || *next != ','); next++) {
            depth += (*next == '[') - (*next == ']');
        }
        if (*next == ',') {
            *next++ = '\0';
        }
        equal = strchr(at, '=');
        PQ_CHECK(equal != NULL, PQ_ERR_CONFIG, "'%s' is not written key=value", at);
        *equal = '\0';
        PQ_TRY(pq_layer_set(layer, at, equal + 1, err));
    }
cleanup:
    pq_free(copy);
    return st;
}

static pq_status add_layer(pq_graph *graph, const char *kind, const char *name, size_t n,
                           const char *const *inputs, const char *attributes, pq_err *err)
{
    pq_layer   *layer = NULL, *taken;
    const char *before =
        graph->n_nodes > 0 ? graph->nodes[graph->n_nodes - 1].name : NULL;
    pq_status st;

    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (attributes != NULL) {
        PQ_TRY(set_attributes(layer, attributes, err));
    }
    if (n == 0 && before != NULL && layer->kind->max_inputs > 0) {
        n      = 1;
        inputs = &before;
    }
    taken = layer;
    layer = NULL;
    PQ_TRY(pq_graph_add(graph, name, taken, n, inputs, err));
cleanup:
    pq_layer_free(&layer);
    if (st != PQ_OK) {
        pq_err_context(err, "layer '%s'", name);
    }
    return st;
}

int pquant_builder_layer(pquant_builder *builder, const char *kind, const char *name,
                         size_t n, const char *const *inputs, const char *attributes)
{
    return add_layer(builder->graph, kind, name, n, inputs, attributes, pq_api_begin()) !=
           PQ_OK;
}

int pquant_builder_input(pquant_builder *builder, const char *name, size_t ndim,
                         const size_t *shape)
{
    pq_err   *err  = pq_api_begin();
    pq_text   text = {0};
    pq_status st;

    pq_text_add(&text, "shape=[");
    for (size_t d = 0; d < ndim; d++) {
        pq_text_add(&text, "%s%zu", d > 0 ? "," : "", shape[d]);
    }
    pq_text_add(&text, "]");
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(add_layer(builder->graph, "input", name, 0, NULL, text.text, err));
cleanup:
    pq_text_free(&text);
    return st != PQ_OK;
}

int pquant_builder_weight(pquant_builder *builder, const char *name,
                          const pquant_array *value)
{
    pq_err    *err   = pq_api_begin();
    pq_graph  *graph = builder->graph;
    pq_tensor *t     = NULL, *taken;
    pq_shape   shape = {0};
    pq_status  st;

    PQ_CHECK(graph->n_nodes > 0, PQ_ERR_CONFIG, "there is no layer for weight '%s'",
             name);
    PQ_TRY(check_array(value, 1, err));
    shape.ndim = value->ndim;
    memcpy(shape.dim, value->shape, value->ndim * sizeof *shape.dim);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    PQ_TRY(pq_api_gather(value, 0, value->shape[0], pq_f32(t), err));
    taken = t;
    t     = NULL;
    PQ_TRY(pq_layer_add_weight(graph->nodes[graph->n_nodes - 1].layer, name, taken, err));
cleanup:
    pq_tensor_free(&t);
    return st != PQ_OK;
}

pquant_model *pquant_builder_finish(pquant_builder *builder)
{
    pq_err       *err   = pq_api_begin();
    pq_graph     *graph = builder->graph;
    pquant_model *out   = NULL;
    pq_status     st;

    PQ_CHECK(graph->n_nodes > 0, PQ_ERR_FORMAT, "the model has no layers");
    PQ_TRY(pq_graph_check(graph, err));
    builder->graph = NULL;
    PQ_TRY(pq_graph_create(&builder->graph, err));
    out   = pq_api_wrap(graph, err);
    graph = NULL;
cleanup:
    if (builder->graph == NULL) {
        pq_graph_free(&graph);
    }
    (void)st;
    return out;
}
