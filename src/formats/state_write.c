/* Arrays of a network under the names and in the order of another framework. */
#include <string.h>

#include "core/memory.h"
#include "formats/state.h"

/* A kernel in a style's order of axes. */
static pq_status turn(const pq_tensor *t, pq_state_style style, pq_tensor **out,
                      pq_err *err)
{
    static const size_t conv[][4] = {{0, 3, 1, 2}, {1, 2, 3, 0}}, dense[] = {1, 0};

    return t->shape.ndim == 4 ? pq_tensor_permute(t, conv[style], out, err)
           : style == PQ_STATE_FLAX && t->shape.ndim == 2
               ? pq_tensor_permute(t, dense, out, err)
               : pq_tensor_clone(t, out, err);
}

/* A weight as it is written; order: of what the layer reads, or NULL. */
static pq_status styled(const pq_node *node, const pq_weight *w, pq_state_style style,
                        const pq_state_order *order, pq_tensor **out, pq_err *err)
{
    const pq_layer_form form  = node->layer->kind->form;
    const bool          cores = form == PQ_FORM_CORES || form == PQ_FORM_WINDOW_CORES;
    pq_status           st;

    if (cores) { /* which have an order of their own */
        return pq_tensor_clone(w->value, out, err);
    }
    PQ_TRY(strcmp(w->name, "kernel") == 0 ? turn(w->value, style, out, err)
                                          : pq_tensor_clone(w->value, out, err));
    if (style == PQ_STATE_TORCH && order != NULL) {
        st = pq_state_order_turn(order, node->layer, w->name, false, out, err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", node->name);
        }
    }
cleanup:
    return st;
}

static pq_status write_layer(const pq_node *node, pq_state_style style,
                             const pq_state_order *order, pq_state_sink put,
                             void *context, pq_err *err)
{
    const pq_layer *layer = node->layer;
    pq_tensor      *t     = NULL;
    char           *name  = NULL;
    pq_status       st    = PQ_OK;

    for (size_t i = 0; i < layer->n_weights; i++) {
        const pq_weight *w = &layer->weights[i];
        pq_free(name);
        name = pq_format("%s%c%s", node->name, style == PQ_STATE_TORCH ? '.' : '/',
                         pq_state_name(w->name, style));
        PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        PQ_TRY(styled(node, w, style, order, &t, err));
        PQ_TRY(put(context, name, t, err));
        pq_tensor_free(&t);
    }
cleanup:
    pq_free(name);
    pq_tensor_free(&t);
    return st;
}

pq_status pq_state_write(const pq_graph *graph, pq_state_style style, pq_state_sink put,
                         void *context, pq_err *err)
{
    pq_state_orders orders = {0};
    pq_status       st;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_CHECK(graph->nodes[i].quant == NULL, PQ_ERR_UNSUPPORTED,
                 "layer '%s': its values lie on a grid, which arrays of weights do not "
                 "tell; write ONNX or .h5",
                 graph->nodes[i].name);
    }
    PQ_TRY(pq_state_orders_extend(&orders, graph, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        PQ_TRY(write_layer(node, style,
                           node->n_inputs > 0 ? &orders.nodes[node->inputs[0]] : NULL,
                           put, context, err));
    }
    if (graph->scaler_mean != NULL) {
        PQ_TRY(put(context, PQ_STATE_SCALER_MEAN, graph->scaler_mean, err));
        PQ_TRY(put(context, PQ_STATE_SCALER_STD, graph->scaler_std, err));
    }
cleanup:
    pq_state_orders_free(&orders);
    return st;
}
