#include "exec/codes.h"
#include "exec/integer_ops.h"

pq_int_out pq_int_out_of(const pq_step *step)
{
    const pq_quant *grid = pq_code_grid(step->graph, step->last);

    return (pq_int_out){.graph = step->graph,
                        .node  = step->last,
                        .count = pq_node_count(step->graph, step->last),
                        .grid  = grid,
                        .quant =
                            grid == NULL ? step->graph->nodes[step->last].quant : NULL};
}

void pq_int_store(const pq_int_out *out, size_t item, double value, void *to)
{
    if (out->grid != NULL) {
        ((int32_t *)to)[item] = pq_quant_code_real(out->grid, 0, value);
    } else if (out->quant != NULL) {
        const pq_shape *shape = &out->graph->nodes[out->node].shape;
        ((double *)to)[item]  = pq_quant_round_real(
             out->quant, pq_quant_index(out->quant, shape, item % out->count), value);
    } else {
        ((double *)to)[item] = value;
    }
}
