#include "exec/engine.h"

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    return pq_forward_prepare(step, tile, sizeof(double), out, err);
}

const pq_engine pq_engine_reference = {
    .name       = "reference",
    .summary    = "double precision, plainly written, nothing fused: the oracle",
    .item_bytes = sizeof(double),
    .prepare    = prepare,
};
