/*
 * Which of PyTorch's values each value of ours is. Its images have their channels first,
 * so a flattened image has another order there, and so has whatever is done to it item by
 * item until a layer with a kernel mixes it.
 */
#include <string.h>

#include "core/memory.h"
#include "formats/state.h"

/* Whether its values have another order in PyTorch once they are a vector. */
static bool is_image(const pq_shape *s)
{
    return s->ndim == 3 && s->dim[2] > 1 && s->dim[0] * s->dim[1] > 1;
}

static size_t count_of(const pq_shape *s)
{
    size_t n = 0;

    return pq_shape_count(s, &n) ? n : 0;
}

static pq_status copy(const pq_state_order *order, size_t n, pq_state_order *out,
                      pq_err *err)
{
    pq_status st = PQ_OK;

    if (order->from != NULL) {
        PQ_NEW(out->from, n);
        memcpy(out->from, order->from, n * sizeof *out->from);
        out->n = n;
    }
cleanup:
    return st;
}

/* Of an image [h, w, c]. */
static pq_status flatten(const pq_shape *image, pq_state_order *out, pq_err *err)
{
    const size_t channels = image->dim[2], cells = image->dim[0] * image->dim[1];
    pq_status    st;

    PQ_NEW(out->from, cells * channels);
    out->n = cells * channels;
    for (size_t i = 0; i < cells * channels; i++) {
        out->from[i] = i % channels * cells + i / channels;
    }
cleanup:
    return st;
}

/* Of flatten, reshape and dropout. */
static pq_status reshape(const pq_shape *in, const pq_shape *to,
                         const pq_state_order *order, pq_state_order *out, pq_err *err)
{
    const bool same_last =
        in->ndim > 1 && to->ndim > 1 && in->dim[in->ndim - 1] == to->dim[to->ndim - 1];

    if (in->ndim == 1 && to->ndim == 1) {
        return copy(order, count_of(in), out, err);
    }
    if (to->ndim == 1 && is_image(in)) {
        return flatten(in, out, err);
    }
    out->lost = order->from != NULL || ((is_image(in) || is_image(to)) && !same_last);
    return PQ_OK;
}

/* Of what is done item by item, or norms a vector: that of the inputs, if they have one.
 */
static pq_status keep(const pq_state_orders *o, const pq_node *node, pq_state_order *out,
                      pq_err *err)
{
    const pq_state_order *first = &o->nodes[node->inputs[0]];
    const size_t          n     = count_of(&node->shape);

    for (size_t k = 1; k < node->n_inputs; k++) {
        const pq_state_order *other = &o->nodes[node->inputs[k]];
        out->lost = out->lost || (first->from == NULL) != (other->from == NULL) ||
                    (first->from != NULL &&
                     memcmp(first->from, other->from, n * sizeof *first->from) != 0);
    }
    return out->lost ? PQ_OK : copy(first, n, out, err);
}

/* Of vectors side by side. */
static pq_status concat(const pq_state_orders *o, const pq_graph *g, const pq_node *node,
                        pq_state_order *out, pq_err *err)
{
    size_t    at  = 0;
    bool      any = false;
    pq_status st  = PQ_OK;

    for (size_t k = 0; k < node->n_inputs; k++) {
        any = any || o->nodes[node->inputs[k]].from != NULL;
    }
    if (!any) {
        return PQ_OK;
    }
    out->n = count_of(&node->shape);
    PQ_NEW(out->from, out->n);
    for (size_t k = 0; k < node->n_inputs; k++) {
        const size_t *from = o->nodes[node->inputs[k]].from;
        const size_t  n    = count_of(&g->nodes[node->inputs[k]].shape);
        for (size_t i = 0; i < n; i++) {
            out->from[at + i] = at + (from != NULL ? from[i] : i);
        }
        at += n;
    }
cleanup:
    return st;
}

static bool mixes(const pq_layer *layer)
{
    const pq_layer_form form = layer->kind->form;

    return form == PQ_FORM_DENSE || form == PQ_FORM_CONVOLUTION ||
           form == PQ_FORM_CORES || form == PQ_FORM_WINDOW_CORES;
}

static bool keeps_places(const pq_layer *layer)
{
    const char *kind = layer->kind->name;

    return pq_layer_is(layer, PQ_TRAIT_ITEMWISE) || layer->kind->form == PQ_FORM_NORM ||
           layer->kind->form == PQ_FORM_SUM || strcmp(kind, "multiply") == 0 ||
           strcmp(kind, "softmax") == 0;
}

static pq_status order_of(const pq_state_orders *o, const pq_graph *g, size_t i,
                          pq_state_order *out, pq_err *err)
{
    const pq_node *node = &g->nodes[i];
    bool           any  = false;

    for (size_t k = 0; k < node->n_inputs; k++) {
        any       = any || o->nodes[node->inputs[k]].from != NULL;
        out->lost = out->lost || o->nodes[node->inputs[k]].lost;
    }
    if (out->lost || node->n_inputs == 0 || mixes(node->layer)) {
        return PQ_OK;
    }
    if (pq_layer_is(node->layer, PQ_TRAIT_ALIAS)) {
        return reshape(&g->nodes[node->inputs[0]].shape, &node->shape,
                       &o->nodes[node->inputs[0]], out, err);
    }
    if (keeps_places(node->layer)) {
        return keep(o, node, out, err);
    }
    if (strcmp(node->layer->kind->name, "concat") == 0) {
        return concat(o, g, node, out, err);
    }
    out->lost = any; /* a part of a vector is of other values there */
    return PQ_OK;
}

pq_status pq_state_orders_extend(pq_state_orders *o, const pq_graph *g, pq_err *err)
{
    pq_state_order *grown = NULL;
    pq_status       st    = PQ_OK;

    if (o->room < g->n_nodes) {
        PQ_NEW(grown, 2 * g->n_nodes);
        if (o->n > 0) {
            memcpy(grown, o->nodes, o->n * sizeof *grown);
        }
        pq_free(o->nodes);
        o->nodes = grown;
        o->room  = 2 * g->n_nodes;
    }
    for (; o->n < g->n_nodes; o->n++) {
        PQ_TRY(order_of(o, g, o->n, &o->nodes[o->n], err));
    }
cleanup:
    return st;
}

void pq_state_orders_free(pq_state_orders *o)
{
    for (size_t i = 0; i < o->room; i++) {
        pq_free(o->nodes[i].from);
    }
    pq_free(o->nodes);
    *o = (pq_state_orders){0};
}

pq_status pq_state_order_turn(const pq_state_order *order, const pq_layer *layer,
                              const char *what, bool ours, pq_tensor **t, pq_err *err)
{
    const bool columns =
        layer->kind->form == PQ_FORM_NORM ||
        (layer->kind->form == PQ_FORM_DENSE && strcmp(what, "kernel") == 0);
    const size_t n = (*t)->shape.ndim > 0 ? (*t)->shape.dim[(*t)->shape.ndim - 1] : 0;
    pq_tensor   *turned = NULL;
    pq_status    st     = PQ_OK;

    PQ_CHECK(!order->lost, PQ_ERR_UNSUPPORTED,
             "reads values that a layer before has put in another order than PyTorch has "
             "them in, where images have the channels first: flatten is followed, also "
             "through what is done item by item and concat, other reshapes of images and "
             "slices of them are not%s",
             ours ? "" : "; write .npz");
    if (!columns || order->from == NULL || n != order->n) {
        return PQ_OK; /* what does not fit is told by the check of the graph */
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, (*t)->shape, &turned, err));
    for (size_t i = 0; i < turned->count; i++) {
        const size_t there = i - i % n + order->from[i % n];
        if (ours) {
            pq_f32(turned)[i] = pq_f32(*t)[there];
        } else {
            pq_f32(turned)[there] = pq_f32(*t)[i];
        }
    }
    pq_tensor_free(t);
    *t = turned;
cleanup:
    return st;
}
