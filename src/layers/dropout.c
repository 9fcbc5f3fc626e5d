/*
 * The identity: random zeros belong to training alone.
 */
#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"rate", PQ_PARAM_REAL, offsetof(pq_dropout_params, rate), "0.5", 0, 1, NULL,
     PQ_UNIT_NONE, "share of values set to 0 in training"},
    {0},
};

static unsigned lacks(const pq_layer *layer)
{
    return ((const pq_dropout_params *)layer->params)->rate <= 0.0 ? PQ_TRAIT_RANDOM : 0U;
}

const pq_layer_kind pq_layer_kind_dropout = {
    .name        = "dropout",
    .summary     = "identity in inference",
    .source      = "Srivastava et al., JMLR 15 (2014) 1929",
    .params      = params,
    .params_size = sizeof(pq_dropout_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_same,
    .shape       = pq_shape_same,
    .forward     = pq_copy_forward,
    .backward    = pq_copy_backward,
    .traits = PQ_TRAIT_ALIAS | PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_ITEMWISE |
              PQ_TRAIT_HOMOGENEOUS | PQ_TRAIT_SHIFTS | PQ_TRAIT_RANDOM,
    .lacks = lacks,
};
