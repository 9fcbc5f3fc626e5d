/* Sums and products, of activations or with constants, and what is written with them. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_formula.h"

static pq_status filled(size_t n, double value, pq_tensor **out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), out, err));
    for (size_t i = 0; i < n; i++) {
        pq_f32(*out)[i] = (float)value;
    }
cleanup:
    return st;
}

static size_t channels_of(const pq_onnx_import *im, const pq_onnx_value *v)
{
    const pq_shape *s = &im->graph->nodes[v->node].shape;

    return s->dim[s->ndim - 1];
}

/* factor x + offset, the same for all items. */
static pq_status affine_same(pq_onnx_import *im, const char *suffix,
                             const pq_onnx_value *v, double factor, double offset,
                             size_t *node, pq_err *err)
{
    pq_tensor *gamma = NULL, *beta = NULL, *taken[2];
    pq_status  st;

    if (offset == 0.0) {
        return pq_onnx_add_plain(im, suffix, "scale", "factor", factor, v->node, node,
                                 err);
    }
    PQ_TRY(filled(channels_of(im, v), factor, &gamma, err));
    PQ_TRY(filled(channels_of(im, v), offset, &beta, err));
    taken[0] = gamma;
    taken[1] = beta;
    gamma = beta = NULL;
    PQ_TRY(pq_onnx_add_affine(im, suffix, taken[0], taken[1], v->node, node, err));
cleanup:
    pq_tensor_free(&gamma);
    pq_tensor_free(&beta);
    return st;
}

/* HardSigmoid: max(0, min(1, alpha x + beta)); HardSwish: x times that of 1/6 and 1/2. */
static pq_status hard(pq_onnx_import *im, double alpha, double beta, bool swish,
                      pq_err *err)
{
    const pq_onnx_value *v;
    pq_layer            *layer = NULL;
    size_t               node, both[2];
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(affine_same(im, ".line", v, alpha, beta, &node, err));
    PQ_TRY(pq_layer_create("clip", &layer, err));
    PQ_TRY(pq_layer_set(layer, "hi", "1", err));
    PQ_TRY(pq_onnx_add(im, swish ? ".gate" : "", &layer, 1, &node, &both[1], err));
    node = both[1];
    if (swish) {
        both[0] = v->node;
        PQ_TRY(pq_layer_create("multiply", &layer, err));
        PQ_TRY(pq_onnx_add(im, "", &layer, 2, both, &node, err));
    }
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status hard_sigmoid(pq_onnx_import *im, pq_err *err)
{
    double    alpha, beta;
    pq_status st;

    PQ_TRY(pq_onnx_real(im->node, "alpha", 0.2, &alpha, err));
    PQ_TRY(pq_onnx_real(im->node, "beta", 0.5, &beta, err));
    PQ_TRY(hard(im, alpha, beta, false, err));
cleanup:
    return st;
}

static pq_status hard_swish(pq_onnx_import *im, pq_err *err)
{
    return hard(im, 1.0 / 6.0, 0.5, true, err);
}

/* Sum, Add and Mul of activations; their axes must agree. */
static pq_status join(pq_onnx_import *im, const char *kind, double second, pq_err *err)
{
    const size_t         n = im->node->n_in;
    const pq_onnx_value *v, *w;
    pq_layer            *layer = NULL;
    size_t               nodes[PQ_NODE_INPUTS], node;
    pq_status            st;

    PQ_CHECK(n <= PQ_NODE_INPUTS, PQ_ERR_UNSUPPORTED,
             "it has %zu inputs; at most %d are "
             "read",
             n, PQ_NODE_INPUTS);
    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    nodes[0] = v->node;
    for (size_t k = 1; k < n; k++) {
        size_t count = 0;
        PQ_TRY(pq_onnx_active_rows(im, k, &w, err));
        (void)pq_shape_count(&im->graph->nodes[w->node].shape, &count);
        PQ_CHECK(w->ndim == v->ndim && w->batch == v->batch &&
                     memcmp(w->dim, v->dim, v->ndim * sizeof *v->dim) == 0,
                 PQ_ERR_UNSUPPORTED,
                 "its inputs have different shapes, which would be "
                 "stretched");
        PQ_CHECK((w->order == NULL) == (v->order == NULL) &&
                     (v->order == NULL ||
                      memcmp(w->order, v->order, count * sizeof *v->order) == 0),
                 PQ_ERR_UNSUPPORTED, "its inputs lie in different orders");
        if (v->dim[v->batch] == 1) {
            PQ_TRY(pq_onnx_want(im, w, v->n_axes, v->axis, &nodes[k], err));
        } else { /* rows: our axes of both lie as ONNX's items */
            PQ_TRY(pq_onnx_add_reshape(im, ".in", &im->graph->nodes[v->node].shape,
                                       w->node, &nodes[k], err));
        }
    }
    if (n == 1) {
        return pq_onnx_same(im, err);
    }
    if (second != 1.0) {
        PQ_TRY(pq_onnx_add_plain(im, ".minus", "scale", "factor", second, nodes[1],
                                 &nodes[1], err));
    }
    PQ_TRY(pq_layer_create(kind, &layer, err));
    PQ_TRY(pq_onnx_add(im, "", &layer, n, nodes, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status sum(pq_onnx_import *im, pq_err *err)
{
    return join(im, "add", 1.0, err);
}

/* A constant, stretched over the channels (our last axis) of v, as float64. */
static pq_status spread(const pq_onnx_import *im, size_t k, const pq_onnx_value *v,
                        double **out, bool *uniform, pq_err *err)
{
    pq_tensor      *t     = NULL;
    double         *x     = NULL;
    const size_t    width = channels_of(im, v);
    const pq_shape *shape;
    int64_t         axis = -1, first;
    pq_status       st;

    PQ_TRY(pq_onnx_constant_shape(im, k, &shape, err));
    /* Before opset 7 a constant began at an axis that was given. */
    PQ_TRY(pq_onnx_int(im->node, "axis", (int64_t)v->ndim - (int64_t)shape->ndim, &first,
                       err));
    PQ_CHECK(first >= 0 && first <= (int64_t)v->ndim &&
                 shape->ndim <= v->ndim - (size_t)first,
             PQ_ERR_UNSUPPORTED, "a constant of %zu axes would give the result more axes",
             shape->ndim);
    PQ_TRY(pq_onnx_constant(im, k, PQ_DTYPE_F64, NULL, &t, err));
    *uniform = true;
    for (size_t i = 1; i < t->count; i++) {
        *uniform = *uniform && pq_f64(t)[i] == pq_f64(t)[0];
    }
    PQ_CHECK(t->count >= 1, PQ_ERR_FORMAT, "a constant is empty");
    for (size_t d = 0; d < shape->ndim; d++) {
        const size_t a = (size_t)first + d;
        PQ_CHECK(shape->dim[d] == 1 || (a != v->batch && shape->dim[d] == v->dim[a]),
                 PQ_ERR_UNSUPPORTED,
                 "a constant is %zu long on axis %zu, which does not fit its input",
                 shape->dim[d], a);
        if (shape->dim[d] != 1 && !*uniform) {
            PQ_CHECK(axis < 0 && v->n_axes >= 1 && v->axis[v->n_axes - 1] == (int)a,
                     PQ_ERR_UNSUPPORTED,
                     "a constant differs along axis %zu, which is not the channels", a);
            axis = (int64_t)a;
        }
    }
    PQ_NEW(x, width);
    for (size_t i = 0; i < width; i++) {
        x[i] = pq_f64(t)[*uniform ? 0 : v->order != NULL ? v->order[i] : i];
    }
    *out = x;
    x    = NULL;
cleanup:
    pq_tensor_free(&t);
    pq_free(x);
    return st;
}

/* The bias that was written as an Add behind a MatMul or Conv. */
static pq_status add_to_bias(pq_onnx_import *im, const pq_onnx_value *v, const double *x,
                             bool *done, pq_err *err)
{
    pq_node    *node = &im->graph->nodes[v->node];
    const char *kind = node->layer->kind->name;
    pq_tensor  *bias = NULL, *taken;
    pq_status   st   = PQ_OK;

    *done = (strcmp(kind, "dense") == 0 || strcmp(kind, "conv2d") == 0) &&
            node->quant == NULL && pq_layer_weight(node->layer, "bias") == NULL &&
            pq_onnx_is_alone(im, v);
    if (*done) {
        PQ_TRY(filled(channels_of(im, v), 0.0, &bias, err));
        for (size_t i = 0; i < bias->count; i++) {
            pq_f32(bias)[i] = (float)x[i];
        }
        taken = bias;
        bias  = NULL;
        PQ_TRY(pq_layer_add_weight(node->layer, "bias", taken, err));
        PQ_TRY(pq_onnx_take_bias_grid(im, pq_onnx_is_constant(im, 0) ? 0 : 1,
                                      strcmp(im->node->op, "Sub") == 0 ? -1.0 : 1.0,
                                      node->layer, node->inputs[0], err));
    }
cleanup:
    pq_tensor_free(&bias);
    return st;
}

/* a x + b with constants a and b for each channel: one of them given. */
static pq_status affine(pq_onnx_import *im, const pq_onnx_value *v, const double *x,
                        bool uniform, double sign, bool factor, pq_err *err)
{
    const size_t width = channels_of(im, v);
    pq_tensor   *gamma = NULL, *beta = NULL, *taken[2];
    size_t       node;
    bool         done = false;
    pq_status    st;

    if (!factor && sign == 1.0) {
        PQ_TRY(add_to_bias(im, v, x, &done, err));
    }
    if (!done && sign == 1.0) {
        PQ_TRY(pq_onnx_join_norm(im, v, x, factor, &done, err));
    }
    if (done) {
        PQ_TRY(pq_onnx_give_like(im, 0, v, v->node, err));
        pq_onnx_show(im, pq_onnx_is_constant(im, 0) ? 1 : 0);
        return PQ_OK;
    }
    if (uniform && factor && x[0] == 1.0) {
        return pq_onnx_same_as(im, pq_onnx_is_constant(im, 0) ? 1 : 0, err);
    }
    if (uniform && factor) {
        PQ_TRY(affine_same(im, "", v, x[0], 0.0, &node, err));
    } else {
        PQ_TRY(filled(width, factor ? 1.0 : sign, &gamma, err));
        PQ_TRY(filled(width, 0.0, &beta, err));
        for (size_t i = 0; i < width; i++) {
            pq_f32(factor ? gamma : beta)[i] = (float)x[i];
        }
        taken[0] = gamma;
        taken[1] = beta;
        gamma = beta = NULL;
        PQ_TRY(pq_onnx_add_affine(im, "", taken[0], taken[1], v->node, &node, err));
    }
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_tensor_free(&gamma);
    pq_tensor_free(&beta);
    return st;
}

/* Add, Sub, Mul and Div, of activations or with a constant. */
static pq_status binary(pq_onnx_import *im, char op, pq_err *err)
{
    const size_t         at = pq_onnx_is_constant(im, 0) ? 1 : 0;
    const pq_onnx_value *v;
    double              *x = NULL;
    bool                 uniform, done;
    pq_status            st;

    PQ_TRY(pq_onnx_go_on(im, op, &done, err));
    if (done) {
        return PQ_OK;
    }
    if (!pq_onnx_is_constant(im, 0) && !pq_onnx_is_constant(im, 1)) {
        PQ_CHECK(op != '/', PQ_ERR_UNSUPPORTED, "activations are divided by activations");
        return join(im, op == '*' ? "multiply" : "add", op == '-' ? -1.0 : 1.0, err);
    }
    PQ_TRY(pq_onnx_active_rows(im, at, &v, err));
    PQ_CHECK(op != '/' || at == 0, PQ_ERR_UNSUPPORTED,
             "a constant is divided by activations");
    PQ_TRY(spread(im, 1 - at, v, &x, &uniform, err));
    for (size_t i = 0; i < channels_of(im, v); i++) {
        PQ_CHECK(op != '/' || x[i] != 0.0, PQ_ERR_NUMERIC,
                 "activations are divided by 0");
        x[i] = op == '/' ? 1.0 / x[i] : op == '-' && at == 0 ? -x[i] : x[i];
    }
    PQ_TRY(affine(im, v, x, uniform, op == '-' && at == 1 ? -1.0 : 1.0,
                  op == '*' || op == '/', err));
cleanup:
    pq_free(x);
    return st;
}

static pq_status add(pq_onnx_import *im, pq_err *err)
{
    return binary(im, '+', err);
}

static pq_status subtract(pq_onnx_import *im, pq_err *err)
{
    return binary(im, '-', err);
}

static pq_status multiply(pq_onnx_import *im, pq_err *err)
{
    return binary(im, '*', err);
}

static pq_status divide(pq_onnx_import *im, pq_err *err)
{
    return binary(im, '/', err);
}

const pq_onnx_operation pq_onnx_arithmetic[] = {
    {"HardSigmoid", 1, 1, hard_sigmoid, "alpha beta"},
    {"HardSwish", 1, 1, hard_swish, NULL},
    {"Sum", 1, PQ_NODE_INPUTS, sum, NULL},
    {"Add", 2, 2, add, "axis broadcast"},
    {"Sub", 2, 2, subtract, "axis broadcast"},
    {"Mul", 2, 2, multiply, "axis broadcast"},
    {"Div", 2, 2, divide, "axis broadcast"},
    {0},
};
