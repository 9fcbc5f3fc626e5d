/* Operators with weights: Gemm, MatMul, Conv, BatchNormalization. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

static void multiply(pq_tensor *t, double factor)
{
    for (size_t i = 0; factor != 1.0 && i < t->count; i++) {
        pq_f32(t)[i] = (float)(factor * (double)pq_f32(t)[i]);
    }
}

/* Columns of a kernel [out, in] in the order that the input's items lie in. */
static pq_status order_columns(pq_tensor *kernel, const size_t *order, pq_err *err)
{
    const size_t n   = kernel->shape.dim[1];
    float       *row = NULL;
    pq_status    st  = PQ_OK;

    if (order == NULL) {
        return PQ_OK;
    }
    PQ_NEW(row, n);
    for (size_t o = 0; o < kernel->shape.dim[0]; o++) {
        float *at = pq_f32(kernel) + o * n;
        memcpy(row, at, n * sizeof *row);
        for (size_t i = 0; i < n; i++) {
            at[i] = row[order[i]];
        }
    }
cleanup:
    pq_free(row);
    return st;
}

/* Copy of a constant's grid for a kernel whose axis `axis` becomes the first. */
static pq_status take_grid(const pq_onnx_import *im, size_t k, size_t axis, pq_weight *w,
                           pq_err *err)
{
    const pq_quant *grid = im->values[im->node->in[k]].quant;
    pq_status       st   = PQ_OK;

    if (grid == NULL) {
        return PQ_OK;
    }
    PQ_CHECK(grid->axis == PQ_QUANT_PER_TENSOR || grid->axis == (int)axis,
             PQ_ERR_UNSUPPORTED,
             "its kernel has a scale for each index of axis %d; those of axis %zu, the "
             "outputs, are read",
             grid->axis, axis);
    PQ_TRY(pq_quant_clone(grid, &w->quant, err));
    w->quant->axis = grid->axis == PQ_QUANT_PER_TENSOR ? PQ_QUANT_PER_TENSOR : 0;
cleanup:
    return st;
}

/* Adds a weight; takes it. */
static pq_status add_weight(pq_layer *layer, const char *name, pq_tensor **t, pq_err *err)
{
    pq_tensor *taken = *t;

    *t = NULL;
    return pq_layer_add_weight(layer, name, taken, err);
}

/* A bias for each output, from one or as many. */
static pq_status check_bias(const pq_tensor *bias, size_t out, pq_tensor **wide,
                            pq_err *err)
{
    pq_status st;

    PQ_CHECK(bias->count == 1 || bias->count == out, PQ_ERR_UNSUPPORTED,
             "its bias has %zu items for %zu outputs", bias->count, out);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(out), wide, err));
    for (size_t o = 0; o < out; o++) {
        pq_f32(*wide)[o] = pq_f32(bias)[bias->count == 1 ? 0 : o];
    }
cleanup:
    return st;
}

/* Bias (input 2) times a factor, where it is given, of a layer that reads a node. */
static pq_status add_bias(const pq_onnx_import *im, double factor, size_t out,
                          pq_layer *layer, size_t input, pq_err *err)
{
    pq_tensor *bias = NULL, *wide = NULL;
    pq_status  st = PQ_OK;

    if (!pq_onnx_given(im, 2)) {
        return PQ_OK;
    }
    PQ_TRY(pq_onnx_constant(im, 2, PQ_DTYPE_F32, NULL, &bias, err));
    PQ_TRY(check_bias(bias, out, &wide, err));
    multiply(wide, factor);
    PQ_TRY(add_weight(layer, "bias", &wide, err));
    PQ_TRY(pq_onnx_take_bias_grid(im, 2, factor, layer, input, err));
cleanup:
    pq_tensor_free(&bias);
    pq_tensor_free(&wide);
    return st;
}

/* Dense layer over the last axis of input 0; kernel is input 1. */
static pq_status dense(pq_onnx_import *im, bool transposed, double alpha, double beta,
                       pq_err *err)
{
    const size_t         turned[] = {1, 0};
    const pq_onnx_value *v;
    const pq_shape      *shape;
    pq_layer            *layer  = NULL;
    pq_tensor           *kernel = NULL;
    size_t               node, out;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_CHECK(pq_onnx_is_constant(im, 1), PQ_ERR_UNSUPPORTED,
             "both factors are activations; a constant second one is read");
    PQ_TRY(pq_onnx_constant_shape(im, 1, &shape, err));
    PQ_CHECK(shape->ndim == 2, PQ_ERR_UNSUPPORTED,
             "its constant factor has %zu axes, not 2", shape->ndim);
    PQ_CHECK(v->batch == 0 && v->ndim >= 2 && v->n_axes >= 1 &&
                 v->axis[v->n_axes - 1] == (int)v->ndim - 1,
             PQ_ERR_UNSUPPORTED,
             "its input would have to be transposed, for which there is no layer");
    PQ_TRY(
        pq_onnx_constant(im, 1, PQ_DTYPE_F32, transposed ? NULL : turned, &kernel, err));
    PQ_CHECK(kernel->shape.dim[1] == v->dim[v->ndim - 1], PQ_ERR_SHAPE,
             "its kernel takes %zu features, but the input has %zu", kernel->shape.dim[1],
             v->dim[v->ndim - 1]);
    out = kernel->shape.dim[0];
    PQ_TRY(order_columns(kernel, v->order, err));
    multiply(kernel, alpha);
    PQ_TRY(pq_layer_create("dense", &layer, err));
    PQ_TRY(add_weight(layer, "kernel", &kernel, err));
    PQ_TRY(take_grid(im, 1, transposed ? 0 : 1, &layer->weights[0], err));
    PQ_TRY(pq_onnx_scale_grid(&layer->weights[0], alpha, err));
    PQ_TRY(add_bias(im, beta, out, layer, v->node, err));
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    pq_onnx_value like = *v;
    like.order         = NULL;
    PQ_TRY(pq_onnx_give_like(im, 0, &like, node, err));
cleanup:
    pq_layer_free(&layer);
    pq_tensor_free(&kernel);
    return st;
}

static pq_status gemm(pq_onnx_import *im, pq_err *err)
{
    int64_t              turn_a, turn_b, broadcast;
    double               alpha, beta;
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(pq_onnx_int(im->node, "transA", 0, &turn_a, err));
    PQ_TRY(pq_onnx_int(im->node, "transB", 0, &turn_b, err));
    PQ_TRY(pq_onnx_int(im->node, "broadcast", 0, &broadcast, err));
    PQ_TRY(pq_onnx_real(im->node, "alpha", 1.0, &alpha, err));
    PQ_TRY(pq_onnx_real(im->node, "beta", 1.0, &beta, err));
    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_CHECK(turn_a == 0 && v->ndim == 2, PQ_ERR_UNSUPPORTED,
             "transA = %lld and an input of %zu axes: only [batch, features] is read",
             (long long)turn_a, v->ndim);
    PQ_TRY(dense(im, turn_b != 0, alpha, beta, err));
cleanup:
    return st;
}

static pq_status matmul(pq_onnx_import *im, pq_err *err)
{
    return dense(im, false, 1.0, 1.0, err);
}

static pq_status conv(pq_onnx_import *im, pq_err *err)
{
    const size_t         last[]     = {0, 2, 3, 1};
    int64_t              dilation[] = {1, 1}, groups, kernel_shape[2], size[2];
    const pq_onnx_value *v;
    const pq_shape      *shape;
    pq_layer            *layer  = NULL;
    pq_tensor           *kernel = NULL, *flat = NULL;
    size_t               input, node, n, dims, out;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_want_image(im, v, &input, err));
    v    = &im->values[im->node->in[0]];
    dims = v->ndim - 2;
    PQ_TRY(pq_onnx_constant_shape(im, 1, &shape, err));
    PQ_CHECK(shape->ndim == v->ndim, PQ_ERR_UNSUPPORTED,
             "its kernel is no constant of %zu axes", v->ndim);
    PQ_TRY(pq_onnx_int(im->node, "group", 1, &groups, err));
    PQ_TRY(pq_onnx_ints(im->node, "dilations", dims, dilation, &n, err));
    PQ_CHECK(n == 0 || n == dims, PQ_ERR_FORMAT, "'dilations' has %zu numbers, not %zu",
             n, dims);
    if (dims == 1) { /* [out, in, length] -> [out, 1, length, in] */
        const size_t sequence[] = {0, 2, 1};
        PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_F32, sequence, &kernel, err));
        PQ_TRY(pq_tensor_reshape(
            kernel,
            PQ_SHAPE(kernel->shape.dim[0], 1, kernel->shape.dim[1], kernel->shape.dim[2]),
            err));
        dilation[1] = n == 1 ? dilation[0] : 1;
        dilation[0] = 1;
    } else {
        PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_F32, last, &kernel, err));
    }
    out     = kernel->shape.dim[0];
    size[0] = (int64_t)kernel->shape.dim[1];
    size[1] = (int64_t)kernel->shape.dim[2];
    PQ_TRY(pq_onnx_ints(im->node, "kernel_shape", dims, kernel_shape, &n, err));
    PQ_CHECK(n == 0 || (n == dims && kernel_shape[dims - 1] == size[1] &&
                        (dims == 1 || kernel_shape[0] == size[0])),
             PQ_ERR_FORMAT, "'kernel_shape' is not that of its kernel");
    PQ_TRY(pq_layer_create("conv2d", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "groups", (double)groups, err));
    PQ_TRY(pq_onnx_set(layer, "dilation_h", (double)dilation[0], err));
    PQ_TRY(pq_onnx_set(layer, "dilation_w", (double)dilation[1], err));
    PQ_TRY(pq_onnx_window(im, layer, im->graph->nodes[input].shape.dim, size, dilation,
                          dims, err));
    PQ_TRY(add_weight(layer, "kernel", &kernel, err));
    PQ_TRY(take_grid(im, 1, 0, &layer->weights[0], err));
    PQ_TRY(add_bias(im, 1.0, out, layer, input, err));
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &input, &node, err));
    PQ_TRY(pq_onnx_give_image(im, v, node, err));
cleanup:
    pq_layer_free(&layer);
    pq_tensor_free(&kernel);
    pq_tensor_free(&flat);
    return st;
}

/* Weight of input k, in the order of the input's items along an axis. */
static pq_status add_norm(const pq_onnx_import *im, size_t k, const char *name,
                          const pq_onnx_value *v, size_t axis, pq_layer *layer,
                          pq_err *err)
{
    pq_tensor *t = NULL, *ordered = NULL;
    char       text[128];
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, k, PQ_DTYPE_F32, NULL, &t, err));
    PQ_CHECK(t->shape.ndim >= 1 && t->count == v->dim[axis] &&
                 t->shape.dim[t->shape.ndim - 1] == t->count,
             PQ_ERR_SHAPE, "its %s is %s, but the channels are [%zu]", name,
             pq_shape_text(&t->shape, text, sizeof text), v->dim[axis]);
    PQ_TRY(pq_tensor_reshape(t, PQ_SHAPE(t->count), err));
    if (v->order != NULL) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, t->shape, &ordered, err));
        for (size_t i = 0; i < t->count; i++) {
            pq_f32(ordered)[i] = pq_f32(t)[v->order[i]];
        }
        PQ_TRY(add_weight(layer, name, &ordered, err));
    } else {
        PQ_TRY(add_weight(layer, name, &t, err));
    }
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&ordered);
    return st;
}

static pq_status batch_norm(pq_onnx_import *im, pq_err *err)
{
    static const char *const names[] = {"gamma", "beta", "mean", "variance"};
    const pq_onnx_value     *v;
    pq_layer                *layer = NULL;
    double                   epsilon;
    int64_t                  training, spatial;
    size_t                   node;
    pq_status                st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_real(im->node, "epsilon", 1e-5, &epsilon, err));
    PQ_TRY(pq_onnx_int(im->node, "training_mode", 0, &training, err));
    PQ_TRY(pq_onnx_int(im->node, "spatial", 1, &spatial, err));
    PQ_CHECK(training == 0, PQ_ERR_UNSUPPORTED,
             "it is in training mode, with statistics of the batch");
    PQ_CHECK(spatial == 1 || v->ndim == 2, PQ_ERR_UNSUPPORTED,
             "spatial = 0: statistics of each position are not read");
    PQ_CHECK(v->batch == 0 && v->ndim >= 2, PQ_ERR_UNSUPPORTED,
             "the channels, axis 1 of its input, are the batch");
    PQ_CHECK(v->n_axes >= 1 && v->axis[v->n_axes - 1] == 1, PQ_ERR_UNSUPPORTED,
             "its input would have to be transposed, for which there is no layer");
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "epsilon", (double)(float)epsilon, err));
    for (size_t k = 0; k < 4; k++) {
        PQ_TRY(add_norm(im, k + 1, names[k], v, 1, layer, err));
    }
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* By mean and variance along the last axis. */
static pq_status layer_norm(pq_onnx_import *im, pq_err *err)
{
    static const char *const names[] = {"gamma", "beta"};
    const pq_onnx_value     *v;
    pq_layer                *layer = NULL;
    double                   epsilon;
    int64_t                  axis;
    size_t                   at, node;
    pq_status                st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_real(im->node, "epsilon", 1e-5, &epsilon, err));
    PQ_TRY(pq_onnx_int(im->node, "axis", -1, &axis, err));
    PQ_TRY(pq_onnx_axis(v, axis, &at, err));
    PQ_CHECK(at + 1 == v->ndim && v->n_axes >= 1 && v->axis[v->n_axes - 1] == (int)at,
             PQ_ERR_UNSUPPORTED,
             "it runs over axes from %lld on; it is read over the last one alone, as "
             "images are [height, width, channels]",
             (long long)axis);
    PQ_TRY(pq_layer_create("layer_norm", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "epsilon", (double)(float)epsilon, err));
    for (size_t k = 0; k < 2; k++) {
        if (pq_onnx_given(im, k + 1)) {
            PQ_TRY(add_norm(im, k + 1, names[k], v, at, layer, err));
        }
    }
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

const pq_onnx_operation pq_onnx_linear[] = {
    {"Gemm", 2, 3, gemm, "alpha beta transA transB broadcast"},
    {"MatMul", 2, 2, matmul, NULL},
    {"Conv", 2, 3, conv, "auto_pad dilations group kernel_shape pads strides"},
    {"BatchNormalization", 5, 5, batch_norm,
     "epsilon momentum spatial is_test training_mode consumed_inputs"},
    {"LayerNormalization", 2, 3, layer_norm, "axis epsilon stash_type"},
    {0},
};
