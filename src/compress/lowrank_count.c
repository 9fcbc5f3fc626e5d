/* What low-rank methods count: pixels and values of kernels. */
#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "layers/kinds.h"

pq_pixels pq_pixels_of(const pq_graph *graph, size_t node)
{
    const pq_node *n = &graph->nodes[node];
    pq_window      w = {0};
    size_t         rows;

    if (!pq_node_is(n, "conv2d")) {
        (void)pq_shape_count(&n->shape, &rows);
        rows /= n->shape.dim[n->shape.ndim - 1];
        return (pq_pixels){(double)rows, (double)rows, (double)rows};
    }
    (void)pq_conv2d_window(n->layer, &graph->nodes[n->inputs[0]].shape, &w, NULL);
    return (pq_pixels){(double)w.in_h * (double)w.in_w, (double)w.out_h * (double)w.in_w,
                       (double)w.out_h * (double)w.out_w};
}

size_t pq_kernel_values(const pq_layer *layer)
{
    size_t n = 0;

    for (size_t w = 0; w < layer->n_weights; w++) {
        if (layer->kind->role(layer->weights[w].name) == PQ_WEIGHT_KERNEL) {
            n += layer->weights[w].value->count;
        }
    }
    return n;
}
