/* y = W x + bias along the last axis, W a tensor train. */
#include "layers/tt.h"

const pq_layer_kind pq_layer_kind_tt_dense = {
    .name       = "tt_dense",
    .summary    = "dense layer whose kernel is a tensor train of small cores",
    .source     = "Novikov et al., arXiv:1509.06569, sections 3 and 5",
    .min_inputs = 1,
    .max_inputs = 1,
    .role       = pq_role_tt,
    .shape      = pq_tt_rows_shape,
    .macs       = pq_tt_rows_macs,
    .forward    = pq_tt_rows_forward,
    .backward   = pq_tt_rows_backward,
    .form       = PQ_FORM_CORES,
};
