/*
 * Same items, one axis.
 */
#include "layers/channels.h"
#include "layers/common.h"

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    (void)layer;
    (void)n_in;
    (void)err;
    *out = PQ_SHAPE(pq_items(in));
    return PQ_OK;
}

const pq_layer_kind pq_layer_kind_flatten = {
    .name       = "flatten",
    .summary    = "all axes as one, row-major",
    .source     = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .channels   = &pq_channels_flat,
    .shape      = shape,
    .forward    = pq_copy_forward,
    .backward   = pq_copy_backward,
    .traits = PQ_TRAIT_ALIAS | PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_ITEMWISE,
};
