#include "graph/init.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"

static void fill(pq_weight *w, float value)
{
    for (size_t i = 0; i < w->value->count; i++) {
        pq_f32(w->value)[i] = value;
    }
}

/* Kernels are [out, …, in]: what a value is summed from, and what it goes into. */
static double spread(const pq_shape *s, pq_init how)
{
    double all = 1.0, in, out;

    for (size_t i = 0; i < s->ndim; i++) {
        all *= (double)s->dim[i];
    }
    in  = all / (double)s->dim[0];
    out = all / (double)s->dim[s->ndim - 1];
    return how == PQ_INIT_HE       ? sqrt(2.0 / in)
           : how == PQ_INIT_GLOROT ? sqrt(2.0 / (in + out))
                                   : sqrt(1.0 / in);
}

static void draw(pq_weight *w, const char *layer, pq_init how, uint64_t seed)
{
    const double width  = spread(&w->value->shape, how);
    pq_rng       layers = pq_rng_stream(seed, layer);
    pq_rng       rng    = pq_rng_stream(pq_rng_bits(&layers), w->name);

    for (size_t i = 0; i < w->value->count; i++) {
        pq_f32(w->value)[i] = (float)(width * pq_rng_normal(&rng));
    }
}

void pq_graph_init_weights(pq_graph *graph, pq_init how, uint64_t seed)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            pq_weight           *w    = &node->layer->weights[k];
            const pq_weight_role role = node->layer->kind->role(w->name);
            if (role == PQ_WEIGHT_KERNEL) {
                draw(w, node->name, how, seed);
            } else {
                const bool one =
                    strcmp(w->name, "gamma") == 0 || strcmp(w->name, "variance") == 0;
                fill(w, one ? 1.0F : 0.0F);
            }
        }
    }
}
