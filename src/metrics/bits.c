#include "metrics/bits.h"

#include <string.h>

enum { PLAIN_BITS = 32 };

static bool hands_on(const char *kind)
{
    static const char *const kinds[] = {
        "flatten", "reshape",   "dropout",         "pad",
        "slice",   "subsample", "global_max_pool", "max_pool"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            return true;
        }
    }
    return false;
}

double pq_activation_bits(const pq_graph *graph, size_t node)
{
    while (graph->nodes[node].quant == NULL &&
           hands_on(graph->nodes[node].layer->kind->name)) {
        node = graph->nodes[node].inputs[0];
    }
    return graph->nodes[node].quant != NULL ? graph->nodes[node].quant->bits : PLAIN_BITS;
}

double pq_item_bits(const pq_weight *w, size_t item)
{
    const pq_quant *q = w->quant;

    if (pq_f32(w->value)[item] == 0.0f) {
        return 0.0;
    }
    if (q == NULL) {
        return PLAIN_BITS;
    }
    return q->scheme == PQ_QUANT_FIXED
               ? q->width[pq_quant_index(q, &w->value->shape, item)]
               : q->bits;
}
