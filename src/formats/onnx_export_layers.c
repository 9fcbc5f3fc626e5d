/* Layers of ours as operators of ONNX: products, norms and pools. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_export_layers.h"
#include "formats/rebuild.h"
#include "layers/kinds.h"
#include "layers/layer_norm.h"

pq_status pq_onnx_begin_over(pq_onnx_export *ex, const char *op, int layout, size_t n,
                             char *const *constants, pq_err *err)
{
    const char *in[1 + PQ_ONNX_MOST_CONSTANTS];
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

void pq_onnx_free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
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

/* ONNX Runtime rounds a kernel of floats to 8 bits of one scale where a DequantizeLinear
 * stands before its Gemm or Conv and a QuantizeLinear behind it (its optimizer
 * WeightBiasQuantization). A Max of one value changes nothing, and parts the two. */
static pq_status part_from_grids(pq_onnx_export *ex, int layout, const pq_weight *w,
                                 pq_err *err)
{
    const bool codes = w != NULL && pq_onnx_has_bytes(w->quant);
    char      *before, *same;
    pq_status  st = PQ_OK;

    if (ex->form == PQ_ONNX_AS_QONNX || codes || !ex->grids) {
        return PQ_OK;
    }
    before = ex->value[ex->at][layout];
    same   = pq_onnx_name(ex, "");
    pq_onnx_gives(ex, layout, same);
    pq_onnx_begin(ex, "Max", 1, (const char *const[]){before}, same != NULL ? same : "");
    pq_onnx_end(ex);
    pq_free(before);
    PQ_CHECK(same != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    return st;
}

/* Dense: Gemm of a vector, else MatMul along the last axis and Add. */
static pq_status put_dense(pq_onnx_export *ex, const pq_weight *w,
                           const pq_tensor *kernel, pq_err *err)
{
    const size_t     turned[] = {1, 0};
    const pq_weight *b        = pq_layer_weight(pq_onnx_node_at_hand(ex)->layer, "bias");
    const bool       integers = pq_onnx_in_integers(ex, w);
    const bool       vector   = pq_onnx_in_shape(ex, 0)->ndim == 1 && !integers &&
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
    PQ_TRY(pq_onnx_begin_over(ex, vector ? "Gemm" : "MatMul", PQ_ONNX_OURS,
                              vector && b != NULL ? 2 : 1, names, err));
    if (vector) {
        pq_onnx_put_int(ex, "transB", 1);
    }
    pq_onnx_end(ex);
    if (!vector && b != NULL) {
        PQ_TRY(add_behind(ex, names[1], err));
    }
    PQ_TRY(part_from_grids(ex, PQ_ONNX_OURS, w, err));
cleanup:
    pq_tensor_free(&t);
    pq_onnx_free_names(names, 2);
    return st;
}

static pq_status dense(pq_onnx_export *ex, pq_err *err)
{
    const pq_weight *w = pq_layer_weight(pq_onnx_node_at_hand(ex)->layer, "kernel");

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
    const pq_layer         *layer    = pq_onnx_node_at_hand(ex)->layer;
    const pq_conv2d_params *p        = layer->params;
    const pq_weight        *b        = pq_layer_weight(layer, "bias");
    pq_window               window   = {.kernel_h   = kernel->shape.dim[1],
                                        .kernel_w   = kernel->shape.dim[2],
                                        .dilation_h = (size_t)p->dilation_h,
                                        .dilation_w = (size_t)p->dilation_w};
    pq_tensor              *t        = NULL;
    char                   *names[2] = {NULL};
    pq_status               st;

    PQ_TRY(pq_window_place(&p->window, pq_onnx_in_shape(ex, 0), &window, err));
    PQ_TRY(pq_tensor_permute(kernel, first, &t, err));
    if (integers) {
        PQ_TRY(pq_onnx_begin_integers(ex, "ConvInteger", PQ_ONNX_IMAGE, w, t, 0, err));
    } else {
        PQ_TRY(pq_onnx_put_kernel(ex, w, t, 0, &names[0], err));
        PQ_TRY(b != NULL ? pq_onnx_put_bias(ex, w, b, &names[1], err) : PQ_OK);
        PQ_TRY(
            pq_onnx_begin_over(ex, "Conv", PQ_ONNX_IMAGE, b != NULL ? 2 : 1, names, err));
    }
    put_window(ex, &p->window, &window);
    pq_onnx_put_ints(ex, "dilations", 2, (const int64_t[]){p->dilation_h, p->dilation_w});
    pq_onnx_put_int(ex, "group", p->groups);
    if (integers) {
        PQ_TRY(pq_onnx_end_integers(ex, PQ_ONNX_IMAGE, w, b, err));
    } else {
        pq_onnx_end(ex);
        PQ_TRY(part_from_grids(ex, PQ_ONNX_IMAGE, w, err));
    }
cleanup:
    pq_tensor_free(&t);
    pq_onnx_free_names(names, 2);
    return st;
}

static pq_status conv2d(pq_onnx_export *ex, pq_err *err)
{
    const pq_weight *w = pq_layer_weight(pq_onnx_node_at_hand(ex)->layer, "kernel");

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

    PQ_TRY(pq_rebuild_kernel(pq_onnx_node_at_hand(ex)->layer, &kernel, &made, err));
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
    const pq_layer             *layer  = pq_onnx_node_at_hand(ex)->layer;
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
    PQ_TRY(pq_onnx_begin_over(ex, "Mul", PQ_ONNX_OURS, 1, names, err));
    pq_onnx_end(ex);
    PQ_TRY(add_behind(ex, names[1], err));
cleanup:
    pq_tensor_free(&factor);
    pq_tensor_free(&summand);
    pq_onnx_free_names(names, 2);
    return st;
}

/* Writes n vectors of the layer; what is missing of gamma, the first, is 1, of others 0.
 */
static pq_status put_vectors(pq_onnx_export *ex, size_t n, const char *const *names,
                             size_t size, char **constants, pq_err *err)
{
    const pq_layer *layer = pq_onnx_node_at_hand(ex)->layer;
    pq_tensor      *fill  = NULL;
    pq_status       st    = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const pq_weight *w = pq_layer_weight(layer, names[i]);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(size), &fill, err));
        for (size_t c = 0; c < size; c++) {
            pq_f32(fill)[c] = w != NULL ? pq_f32(w->value)[c] : i == 0 ? 1.0F : 0.0F;
        }
        PQ_TRY(pq_onnx_put_floats(ex, names[i], fill, &constants[i], err));
        pq_tensor_free(&fill);
    }
cleanup:
    pq_tensor_free(&fill);
    return st;
}

/* Of channels alone, of rows or of images. */
static pq_status batch_norm(pq_onnx_export *ex, pq_err *err)
{
    static const char *const    names[]  = {"gamma", "beta", "mean", "variance"};
    const pq_layer             *layer    = pq_onnx_node_at_hand(ex)->layer;
    const pq_batch_norm_params *p        = layer->params;
    const size_t                ndim     = pq_onnx_in_shape(ex, 0)->ndim;
    const size_t                channels = pq_layer_weight(layer, "mean")->value->count;
    char                       *constants[4] = {NULL};
    pq_status                   st;

    if (ndim != 1 && ndim != 3) {
        return rows_norm(ex, channels, err);
    }
    PQ_TRY(put_vectors(ex, 4, names, channels, constants, err));
    PQ_TRY(pq_onnx_begin_over(ex, "BatchNormalization",
                              ndim == 3 ? PQ_ONNX_IMAGE : PQ_ONNX_OURS, 4, constants,
                              err));
    pq_onnx_put_real(ex, "epsilon", p->epsilon);
    pq_onnx_end(ex);
cleanup:
    pq_onnx_free_names(constants, 4);
    return st;
}

/* Over the last axis, in our order of axes. */
static pq_status layer_norm(pq_onnx_export *ex, pq_err *err)
{
    static const char *const    names[]      = {"gamma", "beta"};
    const pq_layer_norm_params *p            = pq_onnx_node_at_hand(ex)->layer->params;
    const pq_shape             *in           = pq_onnx_in_shape(ex, 0);
    char                       *constants[2] = {NULL};
    pq_status                   st;

    PQ_TRY(put_vectors(ex, 2, names, in->dim[in->ndim - 1], constants, err));
    PQ_TRY(pq_onnx_begin_over(ex, "LayerNormalization", PQ_ONNX_OURS, 2, constants, err));
    pq_onnx_put_int(ex, "axis", -1);
    pq_onnx_put_real(ex, "epsilon", p->epsilon);
    pq_onnx_end(ex);
cleanup:
    pq_onnx_free_names(constants, 2);
    return st;
}

static pq_status pool(pq_onnx_export *ex, const char *op, bool mean, pq_err *err)
{
    const pq_pool_params *p = pq_onnx_node_at_hand(ex)->layer->params;
    pq_window             w;
    pq_status             st;

    PQ_TRY(pq_pool_window(pq_onnx_node_at_hand(ex)->layer, pq_onnx_in_shape(ex, 0), &w,
                          err));
    PQ_TRY(pq_onnx_begin_over(ex, op, PQ_ONNX_IMAGE, 0, NULL, err));
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
    const size_t n = pq_onnx_in_shape(ex, 0)->ndim;
    int64_t      axes[PQ_MAX_DIMS];
    char        *list = NULL;
    pq_status    st;

    for (size_t i = 0; i + 1 < n; i++) {
        axes[i] = (int64_t)i + (pq_onnx_layout(ex, 0) == PQ_ONNX_OURS ? 1 : 2);
    }
    PQ_TRY(pq_onnx_put_list(ex, "axes", n - 1, axes, &list, err));
    const int from = pq_onnx_layout(ex, 0);
    PQ_TRY(pq_onnx_begin_over(ex, op, from, 1, &list, err));
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

static const pq_onnx_writer writers[] = {
    {"dense", dense},
    {"conv2d", conv2d},
    {"batch_norm", batch_norm},
    {"layer_norm", layer_norm},
    {"max_pool", max_pool},
    {"avg_pool", avg_pool},
    {"global_max_pool", global_max},
    {"global_avg_pool", global_avg},
    {"tt_dense", tt_dense},
    {"ring_dense", tt_dense},
    {"tt_conv2d", tt_conv2d},
    {0},
};

pq_status pq_onnx_put_layer(pq_onnx_export *ex, pq_err *err)
{
    static const pq_onnx_writer *const tables[] = {writers, pq_onnx_pointwise_writers,
                                                   pq_onnx_parts_writers};
    const char                        *kind = pq_onnx_node_at_hand(ex)->layer->kind->name;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        for (const pq_onnx_writer *w = tables[i]; w->kind != NULL; w++) {
            if (strcmp(w->kind, kind) == 0) {
                return w->put(ex, err);
            }
        }
    }
    return pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                      "no operator of ONNX does what it does");
}
