/* y = W x + bias along the last axis, W a tensor ring. */
#include "layers/tt.h"

const pq_layer_kind pq_layer_kind_ring_dense = {
    .name       = "ring_dense",
    .summary    = "dense layer whose kernel is a tensor ring of small cores",
    .source     = "Zhao et al., arXiv:1606.05535; Wang et al., arXiv:1802.09052",
    .min_inputs = 1,
    .max_inputs = 1,
    .role       = pq_role_tt,
    .shape      = pq_tt_rows_shape,
    .macs       = pq_tt_rows_macs,
    .forward    = pq_tt_rows_forward,
    .backward   = pq_tt_rows_backward,
    .form       = PQ_FORM_CORES,
};
