#include <math.h>

#include "layers/channels.h"
#include "layers/common.h"
#include "layers/kinds.h"

static const pq_param params[] = {
    {"shape", PQ_PARAM_LIST, offsetof(pq_input_params, shape), NULL, 1, 4294967295.0,
     NULL, PQ_UNIT_NONE, "sizes of one sample, e.g. [32, 32, 3]"},
    {0},
};

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    const pq_reals *list = &((const pq_input_params *)layer->params)->shape;
    size_t          count;
    char            text[32];
    pq_status       st;

    (void)n_in;
    (void)in;
    PQ_CHECK(list->n >= 1 && list->n <= PQ_MAX_DIMS, PQ_ERR_SHAPE,
             "the input's shape has %zu axes, not 1..%d", list->n, PQ_MAX_DIMS);
    out->ndim = list->n;
    for (size_t i = 0; i < list->n; i++) {
        PQ_CHECK(rint(list->value[i]) == list->value[i], PQ_ERR_SHAPE,
                 "size %zu of the input's shape is %s, not a whole number", i,
                 pq_real_text(list->value[i], text, sizeof text));
        out->dim[i] = (size_t)list->value[i];
    }
    PQ_CHECK(pq_shape_count(out, &count) && count <= UINT32_MAX, PQ_ERR_SHAPE,
             "an input sample has more than %u values", UINT32_MAX);
cleanup:
    return st;
}

const pq_layer_kind pq_layer_kind_input = {
    .name        = "input",
    .summary     = "where samples enter the graph",
    .source      = "",
    .params      = params,
    .params_size = sizeof(pq_input_params),
    .min_inputs  = 0,
    .max_inputs  = 0,
    .channels    = &pq_channels_input,
    .shape       = shape,
};
