/* Layers of ours as operators of ONNX. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_export.h"
#include "formats/rebuild.h"
#include "layers/kinds.h"
#include "layers/layer_norm.h"

enum { MOST_CONSTANTS = 6 };

static const pq_node *node_of(const pq_onnx_export *ex)
{
    return &ex->graph->nodes[ex->at];
}

static const pq_shape *in_shape(const pq_onnx_export *ex, size_t k)
{
    return &ex->graph->nodes[node_of(ex)->inputs[k]].shape;
}

/* Layout that an input is there in already. */
static int layout_of(const pq_onnx_export *ex, size_t k)
{
    return ex->value[node_of(ex)->inputs[k]][PQ_ONNX_OURS] != NULL ? PQ_ONNX_OURS
                                                                   : PQ_ONNX_IMAGE;
}

/* Begins an operator over input 0 in a layout, then constants (taken). */
static pq_status begin(pq_onnx_export *ex, const char *op, int layout, size_t n,
                       char *const *constants, pq_err *err)
{
    const char *in[1 + MOST_CONSTANTS];
    char       *name = NULL;
    pq_status   st;

    PQ_TRY(pq_onnx_input(ex, 0, layout, &in[0], err));
    for (size_t i = 0; i < n; i++) {
        in[i + 1] = constants[i];
    }
    name = pq_onnx_name(ex, "");
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, op, n + 1, in, name);
    pq_onnx_gives(ex, layout, name);
cleanup:
    return st;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
}

/* One operator over input 0 as it is there, with constants. */
static pq_status simple(pq_onnx_export *ex, const char *op, pq_err *err)
{
    pq_status st;

    PQ_TRY(begin(ex, op, layout_of(ex, 0), 0, NULL, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status with_real(pq_onnx_export *ex, const char *op, const char *name, double x,
                           pq_err *err)
{
    pq_status st;

    PQ_TRY(begin(ex, op, layout_of(ex, 0), 0, NULL, err));
    pq_onnx_put_real(ex, name, x);
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status relu(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Relu", err);
}

static pq_status sigmoid(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Sigmoid", err);
}

static pq_status tanh_of(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Tanh", err);
}

static pq_status softplus(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Softplus", err);
}

static pq_status identity(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Identity", err);
}

static pq_status leaky_relu(pq_onnx_export *ex, pq_err *err)
{
    return with_real(ex, "LeakyRelu", "alpha",
                     ((const pq_leaky_relu_params *)node_of(ex)->layer->params)->slope,
                     err);
}

static pq_status elu(pq_onnx_export *ex, pq_err *err)
{
    return with_real(ex, "Elu", "alpha",
                     ((const pq_elu_params *)node_of(ex)->layer->params)->alpha, err);
}

static pq_status gelu(pq_onnx_export *ex, pq_err *err)
{
    const pq_gelu_params *p = node_of(ex)->layer->params;
    pq_status             st;

    PQ_TRY(begin(ex, "Gelu", layout_of(ex, 0), 0, NULL, err));
    pq_onnx_put_text(ex, "approximate", p->form == PQ_GELU_TANH ? "tanh" : "none");
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status softmax(pq_onnx_export *ex, pq_err *err)
{
    pq_status st;

    PQ_TRY(begin(ex, "Softmax", PQ_ONNX_OURS, 0, NULL, err));
    pq_onnx_put_int(ex, "axis", -1);
    pq_onnx_end(ex);
cleanup:
    return st;
}

/* An operator with constants that are numbers. */
static pq_status with_numbers(pq_onnx_export *ex, const char *op, size_t n,
                              const double *x, pq_err *err)
{
    char     *names[MOST_CONSTANTS] = {NULL};
    pq_status st                    = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_onnx_put_number(ex, "number", (float)x[i], &names[i], err));
    }
    PQ_TRY(begin(ex, op, layout_of(ex, 0), n, names, err));
    pq_onnx_end(ex);
cleanup:
    free_names(names, n);
    return st;
}

/* One more operator over what stands for the node so far, with a number unless that is
 * NaN. */
static pq_status behind(pq_onnx_export *ex, const char *op, double number, pq_err *err)
{
    const int layout = layout_of(ex, 0);
    char     *before = ex->value[ex->at][layout], *constant = NULL;
    char     *out = pq_onnx_name(ex, "");
    pq_status st  = PQ_OK;

    ex->value[ex->at][layout] = out;
    PQ_CHECK(out != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    if (!isnan(number)) {
        PQ_TRY(pq_onnx_put_number(ex, "number", (float)number, &constant, err));
    }
    pq_onnx_begin(ex, op, constant != NULL ? 2 : 1,
                  (const char *const[]){before, constant}, out);
    pq_onnx_end(ex);
cleanup:
    pq_free(before);
    pq_free(constant);
    return st;
}

static pq_status clip(pq_onnx_export *ex, pq_err *err)
{
    const pq_clip_params *p = node_of(ex)->layer->params;

    return with_numbers(ex, "Clip", 2, (const double[]){p->lo, p->hi}, err);
}

static pq_status scale(pq_onnx_export *ex, pq_err *err)
{
    const pq_scale_params *p = node_of(ex)->layer->params;

    return p->factor == 1.0 ? identity(ex, err)
                            : with_numbers(ex, "Mul", 1, &p->factor, err);
}

/* Of two values alone: the sign of 2 sign(x) + 1, or of 2 sign(x) - 1. */
static pq_status sign(pq_onnx_export *ex, pq_err *err)
{
    const pq_sign_params *p = node_of(ex)->layer->params;
    pq_status             st;

    PQ_CHECK(p->threshold == 0.0, PQ_ERR_UNSUPPORTED,
             "no operator of ONNX has its threshold of %g", p->threshold);
    PQ_TRY(simple(ex, "Sign", err));
    if (p->zero != 0.0) {
        PQ_TRY(behind(ex, "Mul", 2.0, err));
        PQ_TRY(behind(ex, "Add", p->zero, err));
        PQ_TRY(behind(ex, "Sign", (double)NAN, err));
    }
cleanup:
    return st;
}

/* A constant of the channels, added to what stands for the node so far. */
static pq_status add_behind(pq_onnx_export *ex, const char *constant, pq_err *err)
{
    char     *before = ex->value[ex->at][PQ_ONNX_OURS];
    char     *sum    = pq_onnx_name(ex, "");
    pq_status st     = PQ_OK;

    pq_onnx_gives(ex, PQ_ONNX_OURS, sum);
    pq_onnx_begin(ex, "Add", 2, (const char *const[]){before, constant},
                  sum != NULL ? sum : "");
    pq_onnx_end(ex);
    pq_free(before);
    PQ_CHECK(sum != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    return st;
}

/* Dense: Gemm of a vector, else MatMul along the last axis and Add. */
static pq_status put_dense(pq_onnx_export *ex, const pq_weight *w,
                           const pq_tensor *kernel, pq_err *err)
{
    const size_t     turned[] = {1, 0};
    const pq_weight *b        = pq_layer_weight(node_of(ex)->layer, "bias");
    const bool       integers = pq_onnx_in_integers(ex, w);
    const bool       vector   = in_shape(ex, 0)->ndim == 1 && !integers &&
                        ex->form != PQ_ONNX_AS_QONNX; /* hls4ml takes MatMul alone */
    pq_tensor *t        = NULL;
    char      *names[2] = {NULL};
    pq_status  st;

    if (integers) {
        PQ_TRY(pq_tensor_permute(kernel, turned, &t, err));
        PQ_TRY(pq_onnx_begin_integers(ex, "MatMulInteger", PQ_ONNX_OURS, w, t, 1, err));
        PQ_TRY(pq_onnx_end_integers(ex, PQ_ONNX_OURS, w, b, err));
        goto cleanup;
    }
    if (vector) {
        PQ_TRY(pq_onnx_put_kernel(ex, w, kernel, 0, &names[0], err));
    } else {
        PQ_TRY(pq_tensor_permute(kernel, turned, &t, err));
        PQ_TRY(pq_onnx_put_kernel(ex, w, t, 1, &names[0], err));
    }
    if (b != NULL) {
        PQ_TRY(pq_onnx_put_bias(ex, w, b, &names[1], err));
    }
    PQ_TRY(begin(ex, vector ? "Gemm" : "MatMul", PQ_ONNX_OURS,
                 vector && b != NULL ? 2 : 1, names, err));
    if (vector) {
        pq_onnx_put_int(ex, "transB", 1);
    }
    pq_onnx_end(ex);
    if (!vector && b != NULL) {
        PQ_TRY(add_behind(ex, names[1], err));
    }
cleanup:
    pq_tensor_free(&t);
    free_names(names, 2);
    return st;
}

static pq_status dense(pq_onnx_export *ex, pq_err *err)
{
    const pq_weight *w = pq_layer_weight(node_of(ex)->layer, "kernel");

    return put_dense(ex, w, w->value, err);
}

/* strides, pads and so on of a window placed on the input. */
static void put_window(pq_onnx_export *ex, const pq_window_params *p, const pq_window *w)
{
    const size_t end_h =
        (w->out_h - 1) * w->stride_h + (w->kernel_h - 1) * w->dilation_h + 1;
    const size_t end_w =
        (w->out_w - 1) * w->stride_w + (w->kernel_w - 1) * w->dilation_w + 1;
    const bool same   = p->padding == PQ_PADDING_SAME;
    int64_t    pads[] = {(int64_t)w->pad_top, (int64_t)w->pad_left, 0, 0};

    if (same) {
        pads[2] =
            end_h > w->in_h + w->pad_top ? (int64_t)(end_h - w->in_h - w->pad_top) : 0;
        pads[3] =
            end_w > w->in_w + w->pad_left ? (int64_t)(end_w - w->in_w - w->pad_left) : 0;
    } else if (p->padding == PQ_PADDING_EXPLICIT) {
        pads[2] = p->pad_bottom;
        pads[3] = p->pad_right;
    }
    pq_onnx_put_ints(ex, "kernel_shape", 2,
                     (const int64_t[]){(int64_t)w->kernel_h, (int64_t)w->kernel_w});
    pq_onnx_put_ints(ex, "strides", 2,
                     (const int64_t[]){(int64_t)w->stride_h, (int64_t)w->stride_w});
    pq_onnx_put_ints(ex, "pads", 4, pads);
}

static pq_status put_conv(pq_onnx_export *ex, const pq_weight *w, const pq_tensor *kernel,
                          pq_err *err)
{
    const size_t            first[]  = {0, 3, 1, 2};
    const bool              integers = pq_onnx_in_integers(ex, w);
    const pq_layer         *layer    = node_of(ex)->layer;
    const pq_conv2d_params *p        = layer->params;
    const pq_weight        *b        = pq_layer_weight(layer, "bias");
    pq_window               window   = {.kernel_h   = kernel->shape.dim[1],
                                        .kernel_w   = kernel->shape.dim[2],
                                        .dilation_h = (size_t)p->dilation_h,
                                        .dilation_w = (size_t)p->dilation_w};
    pq_tensor              *t        = NULL;
    char                   *names[2] = {NULL};
    pq_status               st;

    PQ_TRY(pq_window_place(&p->window, in_shape(ex, 0), &window, err));
    PQ_TRY(pq_tensor_permute(kernel, first, &t, err));
    if (integers) {
        PQ_TRY(pq_onnx_begin_integers(ex, "ConvInteger", PQ_ONNX_IMAGE, w, t, 0, err));
    } else {
        PQ_TRY(pq_onnx_put_kernel(ex, w, t, 0, &names[0], err));
        PQ_TRY(b != NULL ? pq_onnx_put_bias(ex, w, b, &names[1], err) : PQ_OK);
        PQ_TRY(begin(ex, "Conv", PQ_ONNX_IMAGE, b != NULL ? 2 : 1, names, err));
    }
    put_window(ex, &p->window, &window);
    pq_onnx_put_ints(ex, "dilations", 2, (const int64_t[]){p->dilation_h, p->dilation_w});
    pq_onnx_put_int(ex, "group", p->groups);
    if (integers) {
        PQ_TRY(pq_onnx_end_integers(ex, PQ_ONNX_IMAGE, w, b, err));
    } else {
        pq_onnx_end(ex);
    }
cleanup:
    pq_tensor_free(&t);
    free_names(names, 2);
    return st;
}

static pq_status conv2d(pq_onnx_export *ex, pq_err *err)
{
    const pq_weight *w = pq_layer_weight(node_of(ex)->layer, "kernel");

    return put_conv(ex, w, w->value, err);
}

/* A train or ring: what its cores make. */
static pq_status rebuilt(pq_onnx_export *ex,
                         pq_status (*put)(pq_onnx_export *ex, const pq_weight *w,
                                          const pq_tensor *kernel, pq_err *err),
                         pq_err *err)
{
    const pq_tensor *kernel;
    pq_tensor       *made = NULL;
    pq_status        st;

    PQ_TRY(pq_rebuild_kernel(node_of(ex)->layer, &kernel, &made, err));
    PQ_TRY(put(ex, NULL, kernel, err));
cleanup:
    pq_tensor_free(&made);
    return st;
}

static pq_status tt_dense(pq_onnx_export *ex, pq_err *err)
{
    return rebuilt(ex, put_dense, err);
}

static pq_status tt_conv2d(pq_onnx_export *ex, pq_err *err)
{
    return rebuilt(ex, put_conv, err);
}

static double value_of(const pq_layer *layer, const char *name, size_t c, double other)
{
    const pq_weight *w = pq_layer_weight(layer, name);

    return w != NULL ? (double)pq_f32(w->value)[c] : other;
}

/* Of rows, whose channels ONNX's BatchNormalization would look for among the rows: Mul
 * and Add. */
static pq_status rows_norm(pq_onnx_export *ex, size_t channels, pq_err *err)
{
    const pq_layer             *layer  = node_of(ex)->layer;
    const pq_batch_norm_params *p      = layer->params;
    pq_tensor                  *factor = NULL, *summand = NULL;
    char                       *names[2] = {NULL};
    pq_status                   st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(channels), &factor, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(channels), &summand, err));
    for (size_t c = 0; c < channels; c++) {
        const double f = value_of(layer, "gamma", c, 1.0) /
                         sqrt(value_of(layer, "variance", c, 1.0) + p->epsilon);
        pq_f32(factor)[c]  = (float)f;
        pq_f32(summand)[c] = (float)(value_of(layer, "beta", c, 0.0) -
                                     value_of(layer, "mean", c, 0.0) * f);
    }
    PQ_TRY(pq_onnx_put_floats(ex, "factor", factor, &names[0], err));
    PQ_TRY(pq_onnx_put_floats(ex, "summand", summand, &names[1], err));
    PQ_TRY(begin(ex, "Mul", PQ_ONNX_OURS, 1, names, err));
    pq_onnx_end(ex);
    PQ_TRY(add_behind(ex, names[1], err));
cleanup:
    pq_tensor_free(&factor);
    pq_tensor_free(&summand);
    free_names(names, 2);
    return st;
}

/* Of channels alone, of rows or of images; what is missing of gamma and beta is filled
 * in. */
static pq_status batch_norm(pq_onnx_export *ex, pq_err *err)
{
    static const char *const    names[]  = {"gamma", "beta", "mean", "variance"};
    const pq_layer             *layer    = node_of(ex)->layer;
    const pq_batch_norm_params *p        = layer->params;
    const size_t                ndim     = in_shape(ex, 0)->ndim;
    const size_t                channels = pq_layer_weight(layer, "mean")->value->count;
    pq_tensor                  *fill     = NULL;
    char                       *constants[4] = {NULL};
    pq_status                   st;

    if (ndim != 1 && ndim != 3) {
        return rows_norm(ex, channels, err);
    }
    for (size_t i = 0; i < 4; i++) {
        const pq_weight *w = pq_layer_weight(layer, names[i]);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(channels), &fill, err));
        for (size_t c = 0; c < channels; c++) {
            pq_f32(fill)[c] = w != NULL ? pq_f32(w->value)[c] : i == 0 ? 1.0F : 0.0F;
        }
        PQ_TRY(pq_onnx_put_floats(ex, names[i], fill, &constants[i], err));
        pq_tensor_free(&fill);
    }
    PQ_TRY(begin(ex, "BatchNormalization", ndim == 3 ? PQ_ONNX_IMAGE : PQ_ONNX_OURS, 4,
                 constants, err));
    pq_onnx_put_real(ex, "epsilon", p->epsilon);
    pq_onnx_end(ex);
cleanup:
    pq_tensor_free(&fill);
    free_names(constants, 4);
    return st;
}

/* Over the last axis, in our order of axes. */
static pq_status layer_norm(pq_onnx_export *ex, pq_err *err)
{
    static const char *const    names[]      = {"gamma", "beta"};
    const pq_layer             *layer        = node_of(ex)->layer;
    const pq_layer_norm_params *p            = layer->params;
    const pq_shape             *in           = in_shape(ex, 0);
    pq_tensor                  *fill         = NULL;
    char                       *constants[2] = {NULL};
    pq_status                   st;

    for (size_t i = 0; i < 2; i++) {
        const pq_weight *w = pq_layer_weight(layer, names[i]);
        PQ_TRY(
            pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(in->dim[in->ndim - 1]), &fill, err));
        for (size_t c = 0; c < fill->count; c++) {
            pq_f32(fill)[c] = w != NULL ? pq_f32(w->value)[c] : i == 0 ? 1.0F : 0.0F;
        }
        PQ_TRY(pq_onnx_put_floats(ex, names[i], fill, &constants[i], err));
        pq_tensor_free(&fill);
    }
    PQ_TRY(begin(ex, "LayerNormalization", PQ_ONNX_OURS, 2, constants, err));
    pq_onnx_put_int(ex, "axis", -1);
    pq_onnx_put_real(ex, "epsilon", p->epsilon);
    pq_onnx_end(ex);
cleanup:
    pq_tensor_free(&fill);
    free_names(constants, 2);
    return st;
}

static pq_status pool(pq_onnx_export *ex, const char *op, bool mean, pq_err *err)
{
    const pq_pool_params *p = node_of(ex)->layer->params;
    pq_window             w;
    pq_status             st;

    PQ_TRY(pq_pool_window(node_of(ex)->layer, in_shape(ex, 0), &w, err));
    PQ_TRY(begin(ex, op, PQ_ONNX_IMAGE, 0, NULL, err));
    put_window(ex, &p->window, &w);
    if (mean) {
        pq_onnx_put_int(ex, "count_include_pad", p->count_padding ? 1 : 0);
    }
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status max_pool(pq_onnx_export *ex, pq_err *err)
{
    return pool(ex, "MaxPool", false, err);
}

static pq_status avg_pool(pq_onnx_export *ex, pq_err *err)
{
    return pool(ex, "AveragePool", true, err);
}

/* Over all axes of an event but the channels, in our order. */
static pq_status reduce(pq_onnx_export *ex, const char *op, pq_err *err)
{
    const size_t n = in_shape(ex, 0)->ndim;
    int64_t      axes[PQ_MAX_DIMS];
    char        *list = NULL;
    pq_status    st;

    for (size_t i = 0; i + 1 < n; i++) {
        axes[i] = (int64_t)i + (layout_of(ex, 0) == PQ_ONNX_OURS ? 1 : 2);
    }
    PQ_TRY(pq_onnx_put_list(ex, "axes", n - 1, axes, &list, err));
    const int from = layout_of(ex, 0);
    PQ_TRY(begin(ex, op, from, 1, &list, err));
    pq_onnx_put_int(ex, "keepdims", 0);
    pq_onnx_end(ex);
    if (from == PQ_ONNX_IMAGE) { /* what is left is a vector */
        ex->value[ex->at][PQ_ONNX_OURS]  = ex->value[ex->at][PQ_ONNX_IMAGE];
        ex->value[ex->at][PQ_ONNX_IMAGE] = NULL;
    }
cleanup:
    pq_free(list);
    return st;
}

static pq_status global_max(pq_onnx_export *ex, pq_err *err)
{
    return reduce(ex, "ReduceMax", err);
}

static pq_status global_avg(pq_onnx_export *ex, pq_err *err)
{
    return reduce(ex, "ReduceMean", err);
}

/* An operator over all inputs, all in the layout of the first. */
static pq_status join(pq_onnx_export *ex, const char *op, int *layout, pq_err *err)
{
    const size_t n = node_of(ex)->n_inputs;
    const char  *in[PQ_NODE_INPUTS];
    char        *name = NULL;
    pq_status    st;

    *layout = layout_of(ex, 0);
    for (size_t k = 0; k < n; k++) {
        PQ_TRY(pq_onnx_input(ex, k, *layout, &in[k], err));
    }
    name = pq_onnx_name(ex, "");
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    pq_onnx_begin(ex, op, n, in, name);
    pq_onnx_gives(ex, *layout, name);
cleanup:
    return st;
}

static pq_status add(pq_onnx_export *ex, pq_err *err)
{
    int       layout;
    pq_status st;

    PQ_TRY(join(ex, node_of(ex)->n_inputs == 2 ? "Add" : "Sum", &layout, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status multiply(pq_onnx_export *ex, pq_err *err)
{
    int       layout;
    pq_status st;

    PQ_CHECK(node_of(ex)->n_inputs == 2, PQ_ERR_UNSUPPORTED,
             "a product of %zu inputs is not written", node_of(ex)->n_inputs);
    PQ_TRY(join(ex, "Mul", &layout, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status concat(pq_onnx_export *ex, pq_err *err)
{
    const int64_t image[] = {2, 3, 1};
    const size_t  axis    = pq_concat_axis(node_of(ex)->layer, in_shape(ex, 0)->ndim);
    int           layout;
    pq_status     st;

    PQ_TRY(join(ex, "Concat", &layout, err));
    pq_onnx_put_int(ex, "axis",
                    layout == PQ_ONNX_IMAGE ? image[axis] : (int64_t)axis + 1);
    pq_onnx_end(ex);
cleanup:
    return st;
}

/* flatten and reshape: our order, the batch as it is. */
static pq_status reshape(pq_onnx_export *ex, pq_err *err)
{
    const pq_shape *s                    = &node_of(ex)->shape;
    int64_t         dim[1 + PQ_MAX_DIMS] = {0};
    char           *list                 = NULL;
    pq_status       st;

    for (size_t i = 0; i < s->ndim; i++) {
        dim[i + 1] = (int64_t)s->dim[i];
    }
    PQ_TRY(pq_onnx_put_list(ex, "shape", s->ndim + 1, dim, &list, err));
    PQ_TRY(begin(ex, "Reshape", PQ_ONNX_OURS, 1, &list, err));
    pq_onnx_end(ex);
cleanup:
    pq_free(list);
    return st;
}

static pq_status pad(pq_onnx_export *ex, pq_err *err)
{
    const pq_pad_params *p        = node_of(ex)->layer->params;
    const int            layout   = layout_of(ex, 0);
    const int64_t        ours[]   = {0, p->top,    p->left,  p->before,
                                     0, p->bottom, p->right, p->after};
    const int64_t        image[]  = {0, p->before, p->top,    p->left,
                                     0, p->after,  p->bottom, p->right};
    char                *names[2] = {NULL};
    pq_status            st;

    PQ_TRY(pq_onnx_put_list(ex, "pads", 8, layout == PQ_ONNX_OURS ? ours : image,
                            &names[0], err));
    PQ_TRY(pq_onnx_put_number(ex, "value", (float)p->value, &names[1], err));
    PQ_TRY(begin(ex, "Pad", layout, 2, names, err));
    pq_onnx_end(ex);
cleanup:
    free_names(names, 2);
    return st;
}

/* Slice over n axes: starts, ends, axes, steps. */
static pq_status put_slice(pq_onnx_export *ex, size_t n, const int64_t lists[4][2],
                           pq_err *err)
{
    static const char *const what[]   = {"starts", "ends", "axes", "steps"};
    char                    *names[4] = {NULL};
    pq_status                st;

    for (size_t i = 0; i < 4; i++) {
        PQ_TRY(pq_onnx_put_list(ex, what[i], n, lists[i], &names[i], err));
    }
    PQ_TRY(begin(ex, "Slice", layout_of(ex, 0), 4, names, err));
    pq_onnx_end(ex);
cleanup:
    free_names(names, 4);
    return st;
}

static pq_status subsample(pq_onnx_export *ex, pq_err *err)
{
    const pq_subsample_params *p           = node_of(ex)->layer->params;
    const int64_t              first       = layout_of(ex, 0) == PQ_ONNX_OURS ? 1 : 2;
    const int64_t              lists[4][2] = {
                     {0, 0}, {INT32_MAX, INT32_MAX}, {first, first + 1}, {p->stride_h, p->stride_w}};

    return put_slice(ex, 2, lists, err);
}

static pq_status slice(pq_onnx_export *ex, pq_err *err)
{
    const pq_slice_params *p = node_of(ex)->layer->params;
    const int64_t          axis =
        layout_of(ex, 0) == PQ_ONNX_OURS ? (int64_t)in_shape(ex, 0)->ndim : 1;
    const int64_t lists[4][2] = {
        {p->from}, {p->to == PQ_UNSET ? INT32_MAX : p->to}, {axis}, {1}};

    return put_slice(ex, 1, lists, err);
}

static const struct {
    const char *kind;
    pq_status (*put)(pq_onnx_export *ex, pq_err *err);
} writers[] = {
    {"dense", dense},
    {"conv2d", conv2d},
    {"batch_norm", batch_norm},
    {"layer_norm", layer_norm},
    {"relu", relu},
    {"leaky_relu", leaky_relu},
    {"clip", clip},
    {"elu", elu},
    {"gelu", gelu},
    {"softplus", softplus},
    {"sigmoid", sigmoid},
    {"tanh", tanh_of},
    {"softmax", softmax},
    {"max_pool", max_pool},
    {"avg_pool", avg_pool},
    {"global_max_pool", global_max},
    {"global_avg_pool", global_avg},
    {"add", add},
    {"multiply", multiply},
    {"concat", concat},
    {"flatten", reshape},
    {"reshape", reshape},
    {"pad", pad},
    {"subsample", subsample},
    {"slice", slice},
    {"scale", scale},
    {"sign", sign},
    {"dropout", identity},
    {"tt_dense", tt_dense},
    {"ring_dense", tt_dense},
    {"tt_conv2d", tt_conv2d},
};

pq_status pq_onnx_put_layer(pq_onnx_export *ex, pq_err *err)
{
    const char *kind = node_of(ex)->layer->kind->name;
    size_t      i    = 0;
    pq_status   st;

    while (i < sizeof writers / sizeof *writers && strcmp(writers[i].kind, kind) != 0) {
        i++;
    }
    PQ_CHECK(i < sizeof writers / sizeof *writers, PQ_ERR_UNSUPPORTED,
             "no operator of ONNX does what it does");
    PQ_TRY(writers[i].put(ex, err));
cleanup:
    return st;
}
