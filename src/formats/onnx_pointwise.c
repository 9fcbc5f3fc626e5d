/* Functions of one value, item by item. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "formats/onnx_formula.h"

/* A kind over input 0. */
static pq_status apply(pq_onnx_import *im, const char *kind, const char *attribute,
                       double value, pq_err *err)
{
    const pq_onnx_value *v;
    size_t               node;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_add_plain(im, "", kind, attribute, value, v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    return st;
}

static pq_status relu(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "relu", NULL, 0.0, err);
}

static pq_status sigmoid(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "sigmoid", NULL, 0.0, err);
}

static pq_status softplus(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "softplus", NULL, 0.0, err);
}

static pq_status tanh_of(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "tanh", NULL, 0.0, err);
}

static pq_status sign(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "sign", NULL, 0.0, err);
}

static pq_status with_alpha(pq_onnx_import *im, const char *kind, const char *attribute,
                            double fallback, pq_err *err)
{
    double    alpha;
    pq_status st;

    PQ_TRY(pq_onnx_real(im->node, "alpha", fallback, &alpha, err));
    PQ_TRY(apply(im, kind, attribute, alpha, err));
cleanup:
    return st;
}

static pq_status leaky_relu(pq_onnx_import *im, pq_err *err)
{
    return with_alpha(im, "leaky_relu", "slope", 0.01, err);
}

static pq_status elu(pq_onnx_import *im, pq_err *err)
{
    return with_alpha(im, "elu", "alpha", 1.0, err);
}

static pq_status gelu(pq_onnx_import *im, pq_err *err)
{
    char                 how[16];
    const pq_onnx_value *v;
    pq_layer            *layer = NULL;
    size_t               node;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_text(im->node, "approximate", "none", how, sizeof how, err));
    PQ_CHECK(strcmp(how, "none") == 0 || strcmp(how, "tanh") == 0, PQ_ERR_UNSUPPORTED,
             "approximate = '%s' is not known", how);
    PQ_TRY(pq_layer_create("gelu", &layer, err));
    PQ_TRY(pq_layer_set(layer, "form", *how == 'n' ? "exact" : "tanh", err));
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Along our last axis. Before opset 13 it ran over all axes from `axis` on. */
static pq_status softmax(pq_onnx_import *im, pq_err *err)
{
    const bool           older = im->node->opset < 13;
    const pq_onnx_value *v;
    int64_t              axis;
    size_t               at, node;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "axis", older ? 1 : -1, &axis, err));
    PQ_TRY(pq_onnx_axis(v, axis, &at, err));
    PQ_CHECK(v->n_axes >= 1 && v->axis[v->n_axes - 1] == (int)at, PQ_ERR_UNSUPPORTED,
             "axis %lld is not the last one here, as images are [height, width, "
             "channels]",
             (long long)axis);
    for (size_t d = at + 1; older && d < v->ndim; d++) {
        PQ_CHECK(v->dim[d] == 1, PQ_ERR_UNSUPPORTED,
                 "it runs over several axes of an event (before opset 13)");
    }
    PQ_TRY(pq_onnx_add_plain(im, "", "softmax", NULL, 0.0, v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    return st;
}

static pq_status limit(pq_onnx_import *im, size_t k, const char *attribute,
                       double fallback, double *out, pq_err *err)
{
    pq_status st;

    if (pq_onnx_given(im, k)) {
        PQ_TRY(pq_onnx_number(im, k, out, err));
    } else {
        PQ_TRY(pq_onnx_real(im->node, attribute, fallback, out, err));
    }
    *out = *out > (double)FLT_MAX    ? (double)FLT_MAX
           : *out < -(double)FLT_MAX ? -(double)FLT_MAX
                                     : *out;
    PQ_CHECK(!isnan(*out), PQ_ERR_NUMERIC, "its limit is not a number");
cleanup:
    return st;
}

/* min(max(x, lo), hi); hi wins where they cross, as ONNX says. */
static pq_status clip_to(pq_onnx_import *im, const pq_onnx_value *v, double lo, double hi,
                         pq_err *err)
{
    pq_layer *layer = NULL;
    size_t    node  = v->node;
    pq_status st;

    lo = lo > hi ? hi : lo;
    if (lo == 0.0 && hi == (double)FLT_MAX) {
        PQ_TRY(pq_onnx_add_plain(im, "", "relu", NULL, 0.0, v->node, &node, err));
    } else {
        PQ_TRY(pq_layer_create("clip", &layer, err));
        PQ_TRY(pq_onnx_set(layer, "lo", lo, err));
        PQ_TRY(pq_onnx_set(layer, "hi", hi, err));
        PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    }
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status clip(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    double               lo, hi;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(limit(im, 1, "min", -(double)FLT_MAX, &lo, err));
    PQ_TRY(limit(im, 2, "max", (double)FLT_MAX, &hi, err));
    PQ_TRY(clip_to(im, v, lo, hi, err));
cleanup:
    return st;
}

/* Max and Min with a constant are limits. */
static pq_status bound(pq_onnx_import *im, bool lower, pq_err *err)
{
    const size_t         at = pq_onnx_is_constant(im, 0) ? 1 : 0;
    const pq_onnx_value *v;
    double               x;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, at, &v, err));
    PQ_TRY(pq_onnx_number(im, 1 - at, &x, err));
    PQ_TRY(
        clip_to(im, v, lower ? x : -(double)FLT_MAX, lower ? (double)FLT_MAX : x, err));
cleanup:
    return st;
}

static pq_status max_of(pq_onnx_import *im, pq_err *err)
{
    bool      done;
    pq_status st;

    if (im->node->n_in == 1) { /* as it is written behind kernels of floats among grids */
        return pq_onnx_same(im, err);
    }
    PQ_TRY(pq_onnx_max_part(im, &done, err));
    return done ? PQ_OK : bound(im, true, err);
cleanup:
    return st;
}

static pq_status min_of(pq_onnx_import *im, pq_err *err)
{
    return bound(im, false, err);
}

static pq_status prelu(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *slope = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_F64, NULL, &slope, err));
    PQ_CHECK(slope->count >= 1, PQ_ERR_FORMAT, "it has no slope");
    for (size_t i = 1; i < slope->count; i++) {
        PQ_CHECK(pq_f64(slope)[i] == pq_f64(slope)[0], PQ_ERR_UNSUPPORTED,
                 "its slopes differ; one for all is read");
    }
    PQ_TRY(apply(im, "leaky_relu", "slope", pq_f64(slope)[0], err));
cleanup:
    pq_tensor_free(&slope);
    return st;
}

static pq_status negate(pq_onnx_import *im, pq_err *err)
{
    return apply(im, "scale", "factor", -1.0, err);
}

pq_status pq_onnx_same_as(pq_onnx_import *im, size_t k, pq_err *err)
{
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, k, &v, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, v->node, err));
    pq_onnx_show(im, k);
cleanup:
    return st;
}

pq_status pq_onnx_same(pq_onnx_import *im, pq_err *err)
{
    return pq_onnx_same_as(im, 0, err);
}

/* Nothing at inference; its ratio is kept for training. */
static pq_status dropout(pq_onnx_import *im, pq_err *err)
{
    double    ratio, training = 0.0;
    pq_status st;

    PQ_TRY(pq_onnx_real(im->node, "ratio", 0.5, &ratio, err));
    if (pq_onnx_given(im, 1)) {
        PQ_TRY(pq_onnx_number(im, 1, &ratio, err));
    }
    if (pq_onnx_given(im, 2)) {
        PQ_TRY(pq_onnx_number(im, 2, &training, err));
    }
    PQ_CHECK(training == 0.0, PQ_ERR_UNSUPPORTED, "it is in training mode");
    PQ_TRY(apply(im, "dropout", "rate", ratio, err));
cleanup:
    return st;
}

static pq_status cast(pq_onnx_import *im, pq_err *err)
{
    int64_t   to;
    bool      done;
    pq_status st;

    PQ_TRY(pq_onnx_cast_part(im, &done, err));
    if (done) {
        return PQ_OK;
    }
    PQ_TRY(pq_onnx_int(im->node, "to", 0, &to, err));
    PQ_CHECK(to == PQ_ONNX_FLOAT || to == PQ_ONNX_DOUBLE, PQ_ERR_UNSUPPORTED,
             "activations are cast to %s; float32 and float64 are read",
             pq_onnx_type_name((int)to));
    PQ_TRY(pq_onnx_same(im, err));
cleanup:
    return st;
}

const pq_onnx_operation pq_onnx_pointwise[] = {
    {"Relu", 1, 1, relu, "consumed_inputs"},
    {"LeakyRelu", 1, 1, leaky_relu, "alpha consumed_inputs"},
    {"Elu", 1, 1, elu, "alpha consumed_inputs"},
    {"Gelu", 1, 1, gelu, "approximate"},
    {"Sigmoid", 1, 1, sigmoid, "consumed_inputs"},
    {"Tanh", 1, 1, tanh_of, "consumed_inputs"},
    {"Softplus", 1, 1, softplus, NULL},
    {"Sign", 1, 1, sign, NULL},
    {"Softmax", 1, 1, softmax, "axis"},
    {"Clip", 1, 3, clip, "min max consumed_inputs"},
    {"Max", 1, 2, max_of, NULL},
    {"Min", 2, 2, min_of, NULL},
    {"PRelu", 2, 2, prelu, NULL},
    {"Neg", 1, 1, negate, NULL},
    {"Identity", 1, 1, pq_onnx_same, NULL},
    {"Dropout", 1, 3, dropout, "ratio seed is_test"},
    {"Cast", 1, 1, cast, "to saturate round_mode"},
    {0},
};
