#include "exec/codes.h"

#include <string.h>

#include "exec/engine.h"
#include "exec/quantize.h"

const pq_quant *pq_code_grid(const pq_graph *graph, size_t node)
{
    while (graph->nodes[node].quant == NULL &&
           pq_layer_is(graph->nodes[node].layer, PQ_TRAIT_KEEPS_GRID)) {
        node = graph->nodes[node].inputs[0];
    }
    const pq_quant *q = graph->nodes[node].quant;

    return q != NULL && pq_quant_has_codes(q) && q->n == 1 ? q : NULL;
}

void pq_codes_to_real(const pq_quant *grid, size_t n, const void *from, double *to)
{
    if (grid == NULL) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    const int32_t zero  = grid->zero_point[0];
    const double  scale = (double)grid->scale[0];
    for (size_t i = 0; i < n; i++) { /* pq_quant_value */
        to[i] = (double)(((const int32_t *)from)[i] - zero) * scale;
    }
}

/* pq_quant_code_real, many at a time. Adding and taking away 1.5 * 2^52 rounds half to
   even below 2^51, and what is beyond is clamped, as a NaN is. */
static void round_codes(const pq_quant *grid, size_t n, const double *from, int32_t *to)
{
    const double magic = 6755399441055744.0;
    const double scale = (double)grid->scale[0], zero = (double)grid->zero_point[0];
    const double lo = pq_quant_least(grid, 0), hi = pq_quant_most(grid, 0);

    if (!pq_quant_clips(grid) || grid->rounding != PQ_ROUND_RND_CONV) {
        for (size_t i = 0; i < n; i++) {
            to[i] = pq_quant_code_real(grid, 0, from[i]);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const double code = (from[i] / scale + magic) - magic + zero;
        to[i]             = (int32_t)(code > lo ? (code < hi ? code : hi) : lo);
    }
}

void pq_codes_from_real(const pq_graph *graph, size_t node, size_t n, double *from,
                        void *to)
{
    const pq_quant *grid  = pq_code_grid(graph, node);
    const pq_node  *at    = &graph->nodes[node];
    const size_t    count = n * pq_node_count(graph, node);

    if (grid != NULL) {
        round_codes(grid, count, from, to);
        return;
    }
    if (at->quant != NULL) {
        pq_quantize_values(at->quant, &at->shape, n, sizeof *from, from);
    }
    memmove(to, from, count * sizeof *from);
}

void pq_codes_take(const pq_graph *graph, size_t node, size_t n, const float *from,
                   void *to)
{
    const pq_quant *grid  = pq_code_grid(graph, node);
    const pq_node  *at    = &graph->nodes[node];
    const size_t    count = n * pq_node_count(graph, node);

    for (size_t i = 0; i < count; i++) {
        if (grid != NULL) {
            ((int32_t *)to)[i] = pq_quant_code_real(grid, 0, (double)from[i]);
        } else {
            ((double *)to)[i] = (double)from[i];
        }
    }
    if (grid == NULL && at->quant != NULL) {
        pq_quantize_values(at->quant, &at->shape, n, sizeof(double), to);
    }
}

void pq_codes_give(const pq_graph *graph, size_t node, size_t n, const void *from,
                   float *to)
{
    const pq_quant *grid  = pq_code_grid(graph, node);
    const size_t    count = n * pq_node_count(graph, node);

    for (size_t i = 0; i < count; i++) {
        to[i] = grid != NULL ? (float)pq_quant_value(grid, 0, ((const int32_t *)from)[i])
                             : (float)((const double *)from)[i];
    }
}
