/*
 * conv2d whose kernel is a tensor train with a core for the window (layers/tt.h). Runs as
 * conv2d with the rebuilt kernel, which is fastest for images of CIFAR's size.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "layers/common.h"
#include "layers/tt.h"

static char kernel_name[] = "kernel", bias_name[] = "bias";

static const pq_param params[] = {
    PQ_WINDOW_ROWS(pq_conv2d_params, window, "1", ""),
    {"dilation_h", PQ_PARAM_INT, offsetof(pq_conv2d_params, dilation_h), "1", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "rows between kernel rows"},
    {"dilation_w", PQ_PARAM_INT, offsetof(pq_conv2d_params, dilation_w), "1", 1,
     PQ_WINDOW_MAX, NULL, PQ_UNIT_NONE, "columns between kernel columns"},
    {"groups", PQ_PARAM_INT, offsetof(pq_conv2d_params, groups), "1", 1, 1, NULL,
     PQ_UNIT_NONE, "always 1"},
    {0},
};

/* A conv2d that borrows the attributes and has a kernel of the right shape. */
typedef struct {
    pq_tt_modes t;
    pq_tensor   kernel, bias;
    pq_weight   weights[2];
    pq_layer    layer;
} stand_in;

static pq_status stand_in_of(const pq_layer *layer, stand_in *out, pq_err *err)
{
    const pq_weight *bias = pq_layer_weight(layer, "bias");
    pq_status        st;

    *out = (stand_in){0};
    PQ_TRY(pq_tt_modes_of(layer, &out->t, err));
    const size_t *d = pq_layer_weight(layer, "window")->value->shape.dim;

    out->kernel.shape = PQ_SHAPE(out->t.outputs, d[1], d[2], out->t.inputs);
    out->kernel.count = out->t.outputs * d[1] * d[2] * out->t.inputs;
    out->weights[0]   = (pq_weight){.name = kernel_name, .value = &out->kernel};
    if (bias != NULL) {
        out->bias       = *bias->value;
        out->weights[1] = (pq_weight){.name = bias_name, .value = &out->bias};
    }
    out->layer = (pq_layer){.kind      = pq_layer_kind_find("conv2d"),
                            .params    = layer->params,
                            .n_weights = bias != NULL ? 2 : 1,
                            .weights   = out->weights};
cleanup:
    return st;
}

static pq_status shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       pq_shape *out, pq_err *err)
{
    stand_in  s;
    pq_status st;

    PQ_TRY(stand_in_of(layer, &s, err));
    PQ_TRY(s.layer.kind->shape(&s.layer, n_in, in, out, err));
cleanup:
    return st;
}

static uint64_t macs(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out)
{
    stand_in s;

    (void)stand_in_of(layer, &s, NULL);
    return s.layer.kind->macs(&s.layer, n_in, in, out);
}

/* Out of memory shows as values that are not finite, which callers refuse. */
static void spoil(double *values, size_t n)
{
    for (size_t i = 0; values != NULL && i < n; i++) {
        values[i] = (double)NAN;
    }
}

static void forward(const pq_layer_call *call)
{
    stand_in      s;
    pq_layer_call inner = *call;
    double       *kernel;

    (void)stand_in_of(call->layer, &s, NULL);
    kernel = pq_tt_rebuild(call, &s.t);
    if (kernel == NULL) {
        spoil(call->out, pq_call_items(call));
        return;
    }
    inner.layer  = &s.layer;
    inner.weight = (const double *const[]){kernel, pq_call_weight(call, "bias")};
    s.layer.kind->forward(&inner);
    pq_free(kernel);
}

static void backward(const pq_layer_call *call)
{
    stand_in      s;
    pq_layer_call inner = *call;
    double       *kernel, *grad;

    (void)stand_in_of(call->layer, &s, NULL);
    kernel = pq_tt_rebuild(call, &s.t);
    grad   = pq_calloc(s.kernel.count, sizeof *grad);
    if (kernel != NULL && grad != NULL) {
        inner.layer       = &s.layer;
        inner.weight      = (const double *const[]){kernel, pq_call_weight(call, "bias")};
        inner.grad_weight = (double *const[]){grad, pq_call_grad(call, "bias")};
        s.layer.kind->backward(&inner);
    }
    if (kernel == NULL || grad == NULL || !pq_tt_spread_grad(call, &s.t, grad)) {
        spoil(call->grad_in[0], call->batch * pq_items(&call->in_shape[0]));
    }
    pq_free(kernel);
    pq_free(grad);
}

const pq_layer_kind pq_layer_kind_tt_conv2d = {
    .name        = "tt_conv2d",
    .summary     = "conv2d whose kernel is a tensor train of small cores",
    .source      = "Garipov et al., arXiv:1611.03214",
    .params      = params,
    .params_size = sizeof(pq_conv2d_params),
    .min_inputs  = 1,
    .max_inputs  = 1,
    .role        = pq_role_tt,
    .shape       = shape,
    .macs        = macs,
    .forward     = forward,
    .backward    = backward,
    .form        = PQ_FORM_WINDOW_CORES,
};
