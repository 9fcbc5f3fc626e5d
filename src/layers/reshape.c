/*
 * Same items, row-major, under another shape.
 */
#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"shape", PQ_PARAM_LIST, offsetof(pq_reshape_params, shape), NULL, -1, 4294967295.0,
     NULL, PQ_UNIT_NONE, "sizes of one sample; one may be -1: what is left"},
    {0},
};

/* Copies the list; the -1, if any, becomes what is left of `items`. */
static pq_status resolve(const pq_reals *list, size_t items, pq_shape *out, pq_err *err)
{
    size_t    known = 1, free_axis = SIZE_MAX;
    bool      fits = true;
    char      text[32];
    pq_status st;

    PQ_CHECK(list->n >= 1 && list->n <= PQ_MAX_DIMS, PQ_ERR_SHAPE,
             "the new shape has %zu axes, not 1..%d", list->n, PQ_MAX_DIMS);
    out->ndim = list->n;
    for (size_t i = 0; i < list->n; i++) {
        const double v = list->value[i];
        PQ_CHECK(rint(v) == v && (v >= 1.0 || (v == -1.0 && free_axis == SIZE_MAX)),
                 PQ_ERR_SHAPE,
                 "size %zu of the new shape is %s, not a count or the only -1", i,
                 pq_real_text(v, text, sizeof text));
        if (v < 0.0) {
            free_axis = i;
        } else {
            out->dim[i] = (size_t)v;
            fits        = fits && !__builtin_mul_overflow(known, out->dim[i], &known);
        }
    }
    if (free_axis != SIZE_MAX) {
        out->dim[free_axis] = fits ? items / known : 0;
        fits                = fits && items % known == 0;
    }
    PQ_CHECK(fits && (free_axis != SIZE_MAX || known == items), PQ_ERR_SHAPE,
             "the new shape does not hold the %zu values of the input", items);
cleanup:
    return st;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    (void)n_in;
    return resolve(&((const pq_reshape_params *)layer->params)->shape, pq_items(in), out,
                   err);
}

const pq_layer_kind pq_layer_kind_reshape = {
    .name        = "reshape",
    .summary     = "same items under another shape",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_reshape_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .channels    = &pq_channels_reshape,
    .shape       = shape,
    .forward     = pq_copy_forward,
    .backward    = pq_copy_backward,
    .traits = PQ_TRAIT_ALIAS | PQ_TRAIT_MOVES | PQ_TRAIT_KEEPS_GRID | PQ_TRAIT_ITEMWISE,
};
