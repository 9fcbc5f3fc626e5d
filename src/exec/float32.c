#include "exec/linear.h"
#include "exec/plain.h"
#include "exec/tt.h"

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    const pq_layer *layer = step->graph->nodes[step->node].layer;

    if (pq_linear_has(layer)) {
        return pq_linear_prepare(step, tile, pq_kernels_find(pq_cpu_isa()), out, err);
    }
    if (layer->kind->form == PQ_FORM_CORES) {
        return pq_tt_prepare(step, out, err);
    }
    return pq_plain_has(layer) ? pq_plain_prepare(step, out, err)
                               : pq_forward_prepare(step, tile, sizeof(float), out, err);
}

const char *pq_float_kernel(const pq_layer *layer)
{
    if (layer->kind->forward == NULL || pq_layer_is(layer, PQ_TRAIT_ALIAS)) {
        return "";
    }
    return pq_linear_has(layer) ? pq_linear_kernel(pq_kernels_find(pq_cpu_isa()))
           : layer->kind->form == PQ_FORM_CORES ? PQ_TT_KERNEL
           : pq_plain_has(layer)                ? pq_plain_kernel(layer)
                                 : "plain loops in double: the kind has no float32 code";
}

static void describe(pq_text *out)
{
    pq_text_add(out, "%s, biases in units of codes", pq_isa_name(pq_cpu_isa()));
}

const pq_engine pq_engine_float32 = {
    .name       = "float32",
    .summary    = "float32, kernels for this processor, layers fused",
    .item_bytes = sizeof(float),
    .describe   = describe,
    .fuses      = pq_linear_fuses,
    .prepare    = prepare,
};
