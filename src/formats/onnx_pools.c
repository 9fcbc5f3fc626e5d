/* Windows that slide, and what is taken over all positions. */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_formula.h"
#include "layers/window.h"

static const char *const sides[2][2] = {{"pad_top", "pad_left"},
                                        {"pad_bottom", "pad_right"}};

/* `name` of a window: two numbers, of a sequence the second. */
static pq_status read_pair(const pq_onnx_import *im, const char *name, size_t dims,
                           int64_t *out, pq_err *err)
{
    int64_t   given[2];
    size_t    n;
    pq_status st;

    PQ_TRY(pq_onnx_ints(im->node, name, dims, given, &n, err));
    PQ_CHECK(n == 0 || n == dims, PQ_ERR_FORMAT, "'%s' has %zu numbers, not %zu", name, n,
             dims);
    for (size_t d = 0; d < n; d++) {
        PQ_CHECK(given[d] >= 1 && given[d] <= PQ_WINDOW_MAX, PQ_ERR_RANGE,
                 "'%s' has %lld; 1..%d are read", name, (long long)given[d],
                 PQ_WINDOW_MAX);
        out[2 - dims + d] = given[d];
    }
cleanup:
    return st;
}

/* pads[0] before, pads[1] after, of rows and columns. */
static pq_status read_pads(const pq_onnx_import *im, size_t dims, int64_t pads[2][2],
                           pq_err *err)
{
    int64_t   given[4];
    size_t    n;
    pq_status st;

    memset(pads, 0, sizeof(int64_t[2][2]));
    PQ_TRY(pq_onnx_ints(im->node, "pads", 2 * dims, given, &n, err));
    PQ_CHECK(n == 0 || n == 2 * dims, PQ_ERR_FORMAT, "'pads' has %zu numbers, not %zu", n,
             2 * dims);
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(given[i] >= 0 && given[i] <= PQ_WINDOW_MAX, PQ_ERR_RANGE,
                 "'pads' has %lld; 0..%d are read", (long long)given[i], PQ_WINDOW_MAX);
        pads[i / dims][2 - dims + i % dims] = given[i];
    }
cleanup:
    return st;
}

/* SAME_UPPER and SAME_LOWER: out = ceil(in / stride); the odd cell after or before. */
static void pad_same(size_t in, int64_t extent, int64_t stride, bool lower,
                     int64_t *before, int64_t *after)
{
    const int64_t out  = ((int64_t)in + stride - 1) / stride;
    const int64_t need = (out - 1) * stride + extent - (int64_t)in;
    const int64_t all  = need > 0 ? need : 0;

    *before = lower ? all - all / 2 : all / 2;
    *after  = all - *before;
}

/* With ceil_mode the last window may begin at the last cell and hang over. */
static void pad_ceil(size_t in, int64_t extent, int64_t stride, int64_t before,
                     int64_t *after)
{
    const int64_t free_cells = (int64_t)in + before + *after - extent;
    const int64_t out        = (free_cells + stride - 1) / stride + 1;
    const int64_t used       = (out - 1) * stride >= (int64_t)in + before ? out - 1 : out;
    const int64_t need       = (used - 1) * stride + extent - (int64_t)in - before;

    *after = free_cells >= 0 && need > *after ? need : *after;
}

pq_status pq_onnx_window(const pq_onnx_import *im, pq_layer *layer, const size_t *in,
                         const int64_t *kernel, const int64_t *dilation, size_t dims,
                         pq_err *err)
{
    int64_t   stride[2] = {1, 1}, pads[2][2], ceil_mode;
    char      how[32];
    pq_status st;

    PQ_TRY(read_pair(im, "strides", dims, stride, err));
    PQ_TRY(read_pads(im, dims, pads, err));
    PQ_TRY(pq_onnx_text(im->node, "auto_pad", "NOTSET", how, sizeof how, err));
    PQ_TRY(pq_onnx_int(im->node, "ceil_mode", 0, &ceil_mode, err));
    PQ_CHECK(strcmp(how, "NOTSET") == 0 || strcmp(how, "VALID") == 0 ||
                 strcmp(how, "SAME_UPPER") == 0 || strcmp(how, "SAME_LOWER") == 0,
             PQ_ERR_FORMAT, "auto_pad = '%s' is not known", how);
    for (size_t d = 0; d < 2; d++) {
        const int64_t extent = (kernel[d] - 1) * dilation[d] + 1;
        PQ_CHECK(extent >= 1 && extent <= (int64_t)PQ_WINDOW_MAX * PQ_WINDOW_MAX,
                 PQ_ERR_RANGE, "its window is %lld cells wide", (long long)extent);
        if (strncmp(how, "SAME", 4) == 0) {
            pad_same(in[d], extent, stride[d], how[5] == 'L', &pads[0][d], &pads[1][d]);
        } else if (strcmp(how, "VALID") == 0) {
            pads[0][d] = pads[1][d] = 0;
        }
        if (ceil_mode != 0) {
            pad_ceil(in[d], extent, stride[d], pads[0][d], &pads[1][d]);
        }
    }
    PQ_TRY(pq_onnx_set(layer, "stride_h", (double)stride[0], err));
    PQ_TRY(pq_onnx_set(layer, "stride_w", (double)stride[1], err));
    if (pads[0][0] + pads[0][1] + pads[1][0] + pads[1][1] > 0) {
        PQ_TRY(pq_layer_set(layer, "padding", "explicit", err));
        for (size_t i = 0; i < 4; i++) {
            PQ_TRY(
                pq_onnx_set(layer, sides[i / 2][i % 2], (double)pads[i / 2][i % 2], err));
        }
    }
cleanup:
    return st;
}

/* The mean with padding counts as many cells in a window that hangs over. */
static pq_status check_mean(const pq_onnx_import *im, bool *count, pq_err *err)
{
    int64_t   counts, ceil_mode;
    pq_status st;

    PQ_TRY(pq_onnx_int(im->node, "count_include_pad", 0, &counts, err));
    PQ_TRY(pq_onnx_int(im->node, "ceil_mode", 0, &ceil_mode, err));
    PQ_CHECK(counts == 0 || ceil_mode == 0, PQ_ERR_UNSUPPORTED,
             "count_include_pad with ceil_mode is not read");
    *count = counts != 0;
cleanup:
    return st;
}

static pq_status pool(pq_onnx_import *im, const char *kind, pq_err *err)
{
    const pq_onnx_value *v;
    const int64_t        one[]   = {1, 1};
    int64_t              size[2] = {0, 1}, dilation[2] = {1, 1};
    pq_layer            *layer = NULL;
    bool                 count = false;
    size_t               input, node, dims;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_want_image(im, v, &input, err));
    dims = v->ndim - 2;
    PQ_CHECK(im->node->n_out == 1, PQ_ERR_UNSUPPORTED,
             "its second output, the indices, is not read");
    size[0] = dims == 1 ? 1 : 0;
    size[1] = 0;
    PQ_TRY(read_pair(im, "kernel_shape", dims, size, err));
    PQ_CHECK(size[0] >= 1 && size[1] >= 1, PQ_ERR_FORMAT, "'kernel_shape' is missing");
    PQ_TRY(read_pair(im, "dilations", dims, dilation, err));
    PQ_CHECK(dilation[0] == 1 && dilation[1] == 1, PQ_ERR_UNSUPPORTED,
             "dilations are not read");
    PQ_TRY(pq_layer_create(kind, &layer, err));
    PQ_TRY(pq_onnx_set(layer, "kernel_h", (double)size[0], err));
    PQ_TRY(pq_onnx_set(layer, "kernel_w", (double)size[1], err));
    PQ_TRY(pq_onnx_window(im, layer, im->graph->nodes[input].shape.dim, size, one, dims,
                          err));
    if (strcmp(kind, "avg_pool") == 0) {
        PQ_TRY(check_mean(im, &count, err));
        PQ_TRY(pq_layer_set(layer, "count_padding", count ? "true" : "false", err));
    }
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &input, &node, err));
    PQ_TRY(pq_onnx_give_image(im, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status max_pool(pq_onnx_import *im, pq_err *err)
{
    return pool(im, "max_pool", err);
}

static pq_status avg_pool(pq_onnx_import *im, pq_err *err)
{
    return pool(im, "avg_pool", err);
}

/* Over all positions of a value whose last axis of ours is `channel`. */
static pq_status reduce(pq_onnx_import *im, const char *kind, const pq_onnx_value *v,
                        size_t channel, bool keep, pq_err *err)
{
    pq_onnx_value out   = {.active = true, .n_axes = 1};
    size_t        input = v->node, node;
    pq_status     st;

    PQ_CHECK(v->n_axes >= 1 && v->axis[v->n_axes - 1] == (int)channel && v->order == NULL,
             PQ_ERR_UNSUPPORTED,
             "its input would have to be transposed, for which there is no layer");
    if (v->n_axes == 1) { /* nothing longer than 1 is left to reduce */
        const pq_shape rows = PQ_SHAPE(1, v->dim[channel]);
        PQ_TRY(pq_onnx_add_reshape(im, ".in", &rows, input, &input, err));
    }
    PQ_TRY(pq_onnx_add_plain(im, "", kind, NULL, 0.0, input, &node, err));
    out.node = node;
    for (size_t d = 0; d < v->ndim; d++) {
        if (d == v->batch || d == channel || keep) {
            out.batch         = d == v->batch ? out.ndim : out.batch;
            out.axis[0]       = d == channel ? (int)out.ndim : out.axis[0];
            out.dim[out.ndim] = d == channel ? v->dim[d] : 1;
            out.ndim++;
        }
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    return st;
}

static pq_status global(pq_onnx_import *im, const char *kind, pq_err *err)
{
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_CHECK(v->ndim >= 3 && v->batch == 0, PQ_ERR_UNSUPPORTED,
             "its input has %zu axes; [batch, channels, …] is read", v->ndim);
    PQ_TRY(reduce(im, kind, v, 1, true, err));
cleanup:
    return st;
}

static pq_status global_max(pq_onnx_import *im, pq_err *err)
{
    return global(im, "global_max_pool", err);
}

static pq_status global_avg(pq_onnx_import *im, pq_err *err)
{
    return global(im, "global_avg_pool", err);
}

/* ReduceMean and ReduceMax over all axes of an event but one. */
static pq_status reduce_some(pq_onnx_import *im, const char *kind, pq_err *err)
{
    const pq_onnx_value *v;
    int64_t              axes[PQ_MAX_DIMS], keep, noop;
    bool                 reduced[PQ_MAX_DIMS] = {false};
    size_t               n, at, channel = SIZE_MAX, left = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "keepdims", 1, &keep, err));
    PQ_TRY(pq_onnx_int(im->node, "noop_with_empty_axes", 0, &noop, err));
    PQ_TRY(pq_onnx_axes(im, axes, &n, err));
    if (n == 0 && noop != 0) {
        return pq_onnx_same(im, err);
    }
    PQ_CHECK(n > 0, PQ_ERR_UNSUPPORTED, "without axes it would mix events");
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_onnx_axis(v, axes[i], &at, err));
        reduced[at] = true;
    }
    for (size_t d = 0; d < v->ndim; d++) {
        if (d != v->batch && !reduced[d]) {
            channel = d;
            left++;
        }
    }
    PQ_CHECK(left == 1, PQ_ERR_UNSUPPORTED,
             "it leaves %zu axes of an event; one, the channels, is read", left);
    PQ_TRY(reduce(im, kind, v, channel, keep != 0, err));
cleanup:
    return st;
}

static pq_status reduce_mean(pq_onnx_import *im, pq_err *err)
{
    bool      done;
    pq_status st;

    PQ_TRY(pq_onnx_mean_part(im, &done, err));
    return done ? PQ_OK : reduce_some(im, "global_avg_pool", err);
cleanup:
    return st;
}

static pq_status reduce_max(pq_onnx_import *im, pq_err *err)
{
    return reduce_some(im, "global_max_pool", err);
}

/* The mean times as many as there are. */
static pq_status reduce_sum(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_onnx_value       *sum;
    double               n = 1.0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(reduce_some(im, "global_avg_pool", err));
    if (im->node->n_out > 0) {
        sum = &im->values[im->node->out[0]];
        for (size_t d = 0; d < v->ndim; d++) {
            n *= d != v->batch ? (double)v->dim[d] : 1.0;
        }
        for (size_t i = 0; i < sum->n_axes; i++) {
            n /= sum->axis[i] >= 0 ? (double)sum->dim[sum->axis[i]] : 1.0;
        }
        if (sum->node == v->node) { /* nothing is reduced */
            return PQ_OK;
        }
        PQ_TRY(pq_onnx_add_plain(im, ".sum", "scale", "factor", n, sum->node, &sum->node,
                                 err));
    }
cleanup:
    return st;
}

const pq_onnx_operation pq_onnx_pools[] = {
    {"MaxPool", 1, 1, max_pool,
     "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"},
    {"AveragePool", 1, 1, avg_pool,
     "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides"},
    {"GlobalMaxPool", 1, 1, global_max, NULL},
    {"GlobalAveragePool", 1, 1, global_avg, NULL},
    {"ReduceMean", 1, 2, reduce_mean, "axes keepdims noop_with_empty_axes"},
    {"ReduceMax", 1, 2, reduce_max, "axes keepdims noop_with_empty_axes"},
    {"ReduceSum", 1, 2, reduce_sum, "axes keepdims noop_with_empty_axes"},
    {0},
};
