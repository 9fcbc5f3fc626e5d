/* Kinds as docs/add-a-layer.md has them added: what would be src/layers/<word>.c. They
 * must run in every engine and in training without a line in another room. */
#ifndef PQ_TESTS_LAYERS_TOY_H
#define PQ_TESTS_LAYERS_TOY_H

#include "layers/common.h"

/* y = x^2 */
static void toy_forward(const pq_layer_call *call)
{
    for (size_t i = 0; i < pq_call_items(call); i++) {
        call->out[i] = call->in[0][i] * call->in[0][i];
    }
}

static void toy_backward(const pq_layer_call *call)
{
    for (size_t i = 0; call->grad_in[0] != NULL && i < pq_call_items(call); i++) {
        call->grad_in[0][i] += 2.0 * call->in[0][i] * call->grad_out[i];
    }
}

static void toy_forward32(const pq_float_call *call)
{
    for (size_t i = 0; i < pq_float_items(call); i++) {
        call->out[i] = call->in[0][i] * call->in[0][i];
    }
}

static void toy_backward32(const pq_float_call *call)
{
    for (size_t i = 0; i < pq_float_items(call); i++) {
        call->grad_out[i] *= 2.0F * call->in[0][i];
    }
}

/* y = x backwards along the last axis: items that move. */
static void turned_forward(const pq_layer_call *call)
{
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];

    for (size_t i = 0; i < pq_call_items(call); i++) {
        call->out[i] = call->in[0][i / width * width + width - 1 - i % width];
    }
}

static void turned_backward(const pq_layer_call *call)
{
    const size_t width = call->out_shape.dim[call->out_shape.ndim - 1];

    for (size_t i = 0; call->grad_in[0] != NULL && i < pq_call_items(call); i++) {
        call->grad_in[0][i / width * width + width - 1 - i % width] += call->grad_out[i];
    }
}

/* In double alone; a function with float32 code; one of which its traits say enough. */
static const pq_layer_kind toy_kinds[] = {
    {.name       = "toy_in_double",
     .summary    = "",
     .source     = "",
     .min_inputs = 1,
     .max_inputs = 1,
     .shape      = pq_shape_same,
     .forward    = toy_forward,
     .backward   = toy_backward},
    {.name       = "toy",
     .summary    = "",
     .source     = "",
     .min_inputs = 1,
     .max_inputs = 1,
     .shape      = pq_shape_same,
     .forward    = toy_forward,
     .backward   = toy_backward,
     .traits     = PQ_TRAIT_ITEMWISE | PQ_TRAIT_ROUNDED | PQ_TRAIT_READS_IN,
     .forward32  = toy_forward32,
     .backward32 = toy_backward32},
    {.name       = "toy_turned",
     .summary    = "",
     .source     = "",
     .min_inputs = 1,
     .max_inputs = 1,
     .shape      = pq_shape_same,
     .forward    = turned_forward,
     .backward   = turned_backward,
     .traits     = PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID},
};

enum { TOY_KINDS = sizeof toy_kinds / sizeof *toy_kinds };

#endif
