#include "exec/fold.h"

#include <math.h>

#include "core/memory.h"
#include "exec/units.h"
#include "layers/kinds.h"

pq_status pq_affine_create(size_t n, pq_affine *out, pq_err *err)
{
    pq_status st;

    PQ_NEW(out->scale, n);
    PQ_NEW(out->shift, n);
    out->n = n;
    for (size_t c = 0; c < n; c++) {
        out->scale[c] = 1.0;
    }
cleanup:
    return st;
}

void pq_affine_free(pq_affine *a)
{
    pq_free(a->scale);
    pq_free(a->shift);
    *a = (pq_affine){0};
}

static double value_or(const pq_weight *w, size_t c, double fallback)
{
    return w != NULL ? pq_tensor_get(w->value, c) : fallback;
}

void pq_affine_normalise(pq_affine *a, const pq_layer *norm)
{
    const double     epsilon  = ((const pq_batch_norm_params *)norm->params)->epsilon;
    const pq_weight *gamma    = pq_layer_weight(norm, "gamma");
    const pq_weight *beta     = pq_layer_weight(norm, "beta");
    const pq_weight *mean     = pq_layer_weight(norm, "mean");
    const pq_weight *variance = pq_layer_weight(norm, "variance");

    for (size_t c = 0; c < a->n; c++) {
        const double factor =
            value_or(gamma, c, 1.0) / sqrt(value_or(variance, c, 1.0) + epsilon);
        a->scale[c] *= factor;
        a->shift[c] =
            factor * (a->shift[c] - value_or(mean, c, 0.0)) + value_or(beta, c, 0.0);
    }
}

pq_status pq_affine_of_step(const pq_step *step, size_t outputs, pq_affine *out,
                            pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_affine_create(outputs, out, err));
    PQ_TRY(pq_units_biases(step->graph, step->node, outputs, out->shift, err));
    if (step->norm != PQ_NO_NODE) {
        pq_affine_normalise(out, step->graph->nodes[step->norm].layer);
    }
cleanup:
    return st;
}
