#include <math.h>
#include <string.h>

#include "compress/lora.h"
#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"

const char *const pq_lora_parts[] = {"lora_drop", "lora_a",   "lora_scale",
                                     "lora_b",    "lora_add", NULL};

char *pq_lora_name(const char *layer, int part)
{
    return pq_format("%s.%s", layer, pq_lora_parts[part]);
}

bool pq_is_adapter(const char *name)
{
    return strstr(name, ".lora_") != NULL;
}

/* Index of a part of a layer's adapter, or SIZE_MAX; needs no memory. */
static size_t find_part(const pq_graph *graph, const char *layer, int part)
{
    const size_t n = strlen(layer);

    for (size_t i = 0; i < graph->n_nodes; i++) {
        const char *name = graph->nodes[i].name;
        if (strncmp(name, layer, n) == 0 && name[n] == '.' &&
            strcmp(name + n + 1, pq_lora_parts[part]) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool pq_has_adapter(const pq_graph *graph, const char *name)
{
    return find_part(graph, name, PQ_LORA_ADD) != SIZE_MAX;
}

pq_status pq_lora_sum(const pq_tensor *w, double factor, const pq_tensor *b,
                      const pq_tensor *a, pq_tensor **out, pq_err *err)
{
    const size_t m = w->shape.dim[0], n = w->count / m, r = a->shape.dim[0];
    pq_status    st;

    PQ_TRY(pq_tensor_convert(w, PQ_DTYPE_F64, out, err));
    for (size_t i = 0; i < m; i++) {
        double *row = pq_f64(*out) + i * n;
        for (size_t k = 0; k < r; k++) {
            const double f = factor * (double)pq_f32(b)[i * r + k];
            for (size_t j = 0; j < n; j++) {
                row[j] += f * (double)pq_f32(a)[k * n + j];
            }
        }
    }
cleanup:
    return st;
}

pq_status pq_lora_error(const pq_tensor *x, const pq_tensor *w, double factor,
                        const pq_tensor *b, const pq_tensor *a, double *out, pq_err *err)
{
    pq_tensor *sum  = NULL;
    double     lost = 0.0, all = 0.0;
    pq_status  st;

    PQ_TRY(pq_lora_sum(w, factor, b, a, &sum, err));
    for (size_t i = 0; i < x->count; i++) {
        const double value = (double)pq_f32(x)[i], d = value - pq_f64(sum)[i];
        lost += d * d;
        all += value * value;
    }
    *out = all > 0.0 ? sqrt(lost / all) : 0.0;
cleanup:
    pq_tensor_free(&sum);
    return st;
}

pq_status pq_lora_set(pq_weight *w, const pq_tensor *values, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < values->count; i++) {
        pq_f32(w->value)[i] = (float)pq_f64(values)[i];
    }
    pq_weight_unprune(w);
    if (w->quant != NULL) {
        PQ_TRY(pq_quantize_again(w, err));
    }
cleanup:
    return st;
}

/* A layer and the parts of its adapter, found in a graph. */
typedef struct {
    size_t base, part[PQ_LORA_PARTS];
} pieces;

/* Fails where a part was replaced or quantized by another method. */
static pq_status find_pieces(const pq_graph *graph, const char *name, pieces *p,
                             pq_err *err)
{
    pq_status st;

    p->base = pq_graph_find(graph, name);
    PQ_CHECK(p->base != SIZE_MAX && pq_node_kernel(&graph->nodes[p->base]) != NULL,
             PQ_ERR_CONFIG, "it has no kernel to merge adapters into");
    for (int i = 0; i < PQ_LORA_PARTS; i++) {
        static const char *const kinds[] = {"dropout", NULL, "scale", NULL, "add"};
        const char              *kind =
            kinds[i] != NULL ? kinds[i] : graph->nodes[p->base].layer->kind->name;
        p->part[i] = find_part(graph, name, i);
        PQ_CHECK(p->part[i] != SIZE_MAX && pq_node_is(&graph->nodes[p->part[i]], kind),
                 PQ_ERR_CONFIG, "its '%s' is no longer one %s layer", pq_lora_parts[i],
                 kind);
        const pq_node *before = &graph->nodes[i == PQ_LORA_ADD ? p->base : p->part[i]];
        PQ_CHECK(before->quant == NULL, PQ_ERR_CONFIG,
                 "the output of '%s' is quantized; merge before activations are",
                 before->name);
    }
    const pq_tensor *w = pq_node_kernel(&graph->nodes[p->base])->value;
    const pq_tensor *a = pq_node_kernel(&graph->nodes[p->part[PQ_LORA_A]])->value;
    const pq_tensor *b = pq_node_kernel(&graph->nodes[p->part[PQ_LORA_B]])->value;
    PQ_CHECK(b->shape.dim[0] == w->shape.dim[0] &&
                 b->count == b->shape.dim[0] * a->shape.dim[0] &&
                 a->count / a->shape.dim[0] == w->count / w->shape.dim[0],
             PQ_ERR_SHAPE, "its adapters do not have its shape");
cleanup:
    return st;
}

/* W + (alpha / r) B A in the place of W; what that loses on W's grid. */
static pq_status merge_weight(const pq_graph *graph, const pieces *p, pq_layer *layer,
                              double *error, pq_err *err)
{
    const pq_tensor *a    = pq_node_kernel(&graph->nodes[p->part[PQ_LORA_A]])->value;
    const pq_tensor *b    = pq_node_kernel(&graph->nodes[p->part[PQ_LORA_B]])->value;
    const pq_layer  *s    = graph->nodes[p->part[PQ_LORA_SCALE]].layer;
    pq_weight       *w    = pq_layer_weight(layer, "kernel");
    pq_tensor       *sum  = NULL;
    double           lost = 0.0, all = 0.0;
    pq_status        st;

    PQ_TRY(pq_lora_sum(w->value, ((const pq_scale_params *)s->params)->factor, b, a, &sum,
                       err));
    PQ_TRY(pq_lora_set(w, sum, err));
    for (size_t i = 0; i < sum->count; i++) {
        const double value = pq_f64(sum)[i], d = value - (double)pq_f32(w->value)[i];
        lost += d * d;
        all += value * value;
    }
    *error = all > 0.0 && w->quant != NULL ? sqrt(lost / all) : 0.0;
cleanup:
    pq_tensor_free(&sum);
    return st;
}

/* Whether a node belongs to what is kept of a layer. */
static bool is_kept_of(const pq_node *node, const char *layer)
{
    const size_t n = strlen(layer);

    return strcmp(node->name, layer) == 0 || (strncmp(node->name, layer, n) == 0 &&
                                              strncmp(node->name + n, ".lora_", 6) == 0 &&
                                              strchr(node->name + n + 1, '.') == NULL);
}

/* Takes what is kept of a layer out of graph->aside. */
static pq_status forget(pq_graph *graph, const char *name, pq_err *err)
{
    pq_graph *rest = NULL;
    pq_status st   = PQ_OK;

    if (graph->aside == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_graph_create(&rest, err));
    for (size_t i = 0; i < graph->aside->n_nodes; i++) {
        if (!is_kept_of(&graph->aside->nodes[i], name)) {
            PQ_TRY(pq_graph_copy_node(rest, graph->aside, i, NULL, err));
        }
    }
    pq_graph_free(&graph->aside);
    if (rest->n_nodes > 0) {
        graph->aside = rest;
        rest         = NULL;
    }
cleanup:
    pq_graph_free(&rest);
    return st;
}

/* Layer and adapter behind an input of their own. */
static pq_status remember(pq_graph *graph, const char *name, const pieces *p, pq_err *err)
{
    size_t    nodes[1 + PQ_LORA_PARTS] = {p->base};
    char     *input                    = pq_format("%s.lora_in", name);
    pq_status st;

    PQ_CHECK(input != NULL, PQ_ERR_NOMEM, "cannot allocate a string");
    memcpy(nodes + 1, p->part, sizeof p->part);
    PQ_TRY(forget(graph, name, err));
    if (graph->aside == NULL) {
        PQ_TRY(pq_graph_create(&graph->aside, err));
    }
    PQ_TRY(pq_graph_append(graph->aside, graph, 1 + PQ_LORA_PARTS, nodes, input, err));
cleanup:
    pq_free(input);
    return st;
}

/* Takes the parts out, the sum first, which then reads the base alone. */
static pq_status detach(pq_graph *graph, const char *name, pq_err *err)
{
    const size_t base = pq_graph_find(graph, name);
    size_t       at   = find_part(graph, name, PQ_LORA_ADD);
    pq_status    st   = PQ_OK;

    graph->nodes[base].quant   = graph->nodes[at].quant;
    graph->nodes[at].quant     = NULL;
    graph->nodes[at].n_inputs  = 1;
    graph->nodes[at].inputs[0] = base;
    for (int i = PQ_LORA_PARTS; i-- > 0;) {
        at = find_part(graph, name, i);
        PQ_TRY(pq_graph_bypass(graph, at, err));
    }
cleanup:
    return st;
}

pq_status pq_lora_merge(pq_compress_task *task, const char *name, bool keep, pq_err *err)
{
    pq_graph *graph = task->graph;
    pieces    p;
    double    error;
    pq_status st = PQ_OK;

    if (!pq_has_adapter(graph, name)) {
        return PQ_OK;
    }
    PQ_TRY(find_pieces(graph, name, &p, err));
    PQ_TRY(keep ? remember(graph, name, &p, err) : forget(graph, name, err));
    pq_layer *layer = graph->nodes[p.base].layer;
    PQ_TRY(merge_weight(graph, &p, layer, &error, err));
    const pq_quant *q = pq_layer_weight(layer, "kernel")->quant;
    const size_t    r =
        pq_node_kernel(&graph->nodes[p.part[PQ_LORA_A]])->value->shape.dim[0];
    if (q != NULL) {
        PQ_TRY(
            pq_task_change(task, name, error,
                           "adapters of rank %zu merged, %s again: %.3g of the sum lost",
                           r, pq_quant_scheme_names[q->scheme], error));
    } else {
        PQ_TRY(pq_task_change(task, name, 0.0, "adapters of rank %zu merged", r));
    }
    PQ_TRY(detach(graph, name, err));
cleanup:
    return st;
}

/* Same weights, bit by bit. */
static bool is_same(const pq_layer *a, const pq_layer *b)
{
    bool same = a->kind == b->kind && a->n_weights == b->n_weights;

    for (size_t i = 0; same && i < a->n_weights; i++) {
        const pq_tensor *x = a->weights[i].value, *y = b->weights[i].value;
        same = pq_shape_equal(&x->shape, &y->shape) &&
               memcmp(x->data, y->data, x->count * sizeof(float)) == 0;
    }
    return same;
}

/* Clones the kept parts and puts them behind the layer. */
static pq_status attach(pq_graph *graph, const char *name, const pieces *kept,
                        pq_err *err)
{
    const size_t base                 = pq_graph_find(graph, name);
    pq_node      fresh[PQ_LORA_PARTS] = {0};
    size_t       input                = graph->nodes[base].inputs[0];
    pq_status    st;

    for (int i = 0; i < PQ_LORA_PARTS; i++) {
        const pq_node *from = &graph->aside->nodes[kept->part[i]];
        PQ_STRDUP(fresh[i].name, from->name);
        PQ_TRY(pq_layer_clone(from->layer, &fresh[i].layer, err));
        fresh[i].n_inputs  = 1;
        fresh[i].inputs[0] = input;
        input              = base + 1 + (size_t)i;
    }
    fresh[PQ_LORA_ADD].inputs[1] = fresh[PQ_LORA_ADD].inputs[0];
    fresh[PQ_LORA_ADD].inputs[0] = base;
    fresh[PQ_LORA_ADD].n_inputs  = 2;
    return pq_graph_insert(graph, base, PQ_LORA_PARTS, fresh, err);
cleanup:
    for (int i = 0; i < PQ_LORA_PARTS; i++) {
        pq_node_free(&fresh[i]);
    }
    return st;
}

pq_status pq_lora_unmerge(pq_compress_task *task, const char *name, pq_err *err)
{
    pq_graph *graph  = task->graph;
    pq_node  *node   = &graph->nodes[pq_graph_find(graph, name)];
    pq_layer *merged = NULL;
    pieces    kept;
    double    error;
    pq_status st = PQ_OK;

    if (graph->aside == NULL || !pq_has_adapter(graph->aside, name)) {
        return PQ_OK;
    }
    PQ_TRY(find_pieces(graph->aside, name, &kept, err));
    PQ_TRY(pq_layer_clone(graph->aside->nodes[kept.base].layer, &merged, err));
    PQ_TRY(merge_weight(graph->aside, &kept, merged, &error, err));
    PQ_CHECK(is_same(merged, node->layer), PQ_ERR_CONFIG,
             "its weights have changed since it was merged, so that unmerge would lose "
             "them");
    pq_layer_free(&merged);
    PQ_TRY(pq_layer_clone(graph->aside->nodes[kept.base].layer, &merged, err));
    pq_layer_free(&node->layer);
    node->layer = merged;
    merged      = NULL;
    PQ_TRY(attach(graph, name, &kept, err));
    PQ_TRY(forget(graph, name, err));
    PQ_TRY(pq_task_change(task, name, 0.0, "as before its adapters were merged"));
cleanup:
    pq_layer_free(&merged);
    return st;
}
