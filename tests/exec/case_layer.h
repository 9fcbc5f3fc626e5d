/* Layers of the walk over the kinds, with random weights. */
#ifndef PQ_TESTS_EXEC_CASE_LAYER_H
#define PQ_TESTS_EXEC_CASE_LAYER_H

#include "../layers/run.h"
#include "models.h"

/* The layer of a case; variances are above 0.3. */
static inline pq_layer *case_layer(const layer_case *c, pq_rng *rng)
{
    pq_layer *layer = run_layer(c->kind, c->attributes);

    for (size_t k = 0; k < RUN_MAX && c->weights[k].name != NULL; k++) {
        pq_tensor *t = normal_tensor(rng, c->weights[k].shape, 0.5);
        for (size_t i = 0; strcmp(c->weights[k].name, "variance") == 0 && i < t->count;
             i++) {
            pq_f32(t)[i] = 0.3f + fabsf(pq_f32(t)[i]);
        }
        OK(pq_layer_add_weight(layer, c->weights[k].name, t, &err));
    }
    return layer;
}

#endif
