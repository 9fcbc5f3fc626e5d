#include <string.h>

#include "exec/elements.h"
#include "exec/linear.h"
#include "exec/pools.h"
#include "exec/rows.h"
#include "exec/tt.h"

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    const pq_kernels *kernels = pq_kernels_find(pq_cpu_isa());
    const char       *kind    = step->graph->nodes[step->node].layer->kind->name;

    if (pq_linear_has(kind)) {
        return pq_linear_prepare(step, kernels, out, err);
    }
    if (pq_elements_has(kind)) {
        return pq_elements_prepare(step, kernels, out, err);
    }
    if (pq_pools_has(kind)) {
        return pq_pools_prepare(step, out, err);
    }
    if (pq_rows_has(kind)) {
        return pq_rows_prepare(step, out, err);
    }
    if (strcmp(kind, "tt_dense") == 0 || strcmp(kind, "ring_dense") == 0) {
        return pq_tt_prepare(step, out, err);
    }
    return pq_forward_prepare(step, tile, sizeof(float), out, err);
}

const pq_engine pq_engine_blas = {
    .name       = "blas",
    .summary    = "float32, kernels for this processor, layers fused",
    .item_bytes = sizeof(float),
    .fuses      = pq_linear_fuses,
    .prepare    = prepare,
};
