/* Operators that join, cut and pad along axes. */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"
#include "layers/window.h"

/* Orders of vectors that are joined, one behind the other. */
static pq_status join_orders(pq_onnx_import *im, size_t n, pq_onnx_value *out,
                             pq_err *err)
{
    size_t    total = 0, at = 0;
    bool      any = false;
    pq_status st  = PQ_OK;

    for (size_t k = 0; k < n; k++) {
        const pq_onnx_value *v = &im->values[im->node->in[k]];
        any                    = any || v->order != NULL;
        total += im->graph->nodes[v->node].shape.dim[0];
    }
    if (!any) {
        return PQ_OK;
    }
    PQ_NEW(out->order, total);
    for (size_t k = 0; k < n; k++) {
        const pq_onnx_value *v     = &im->values[im->node->in[k]];
        const size_t         count = im->graph->nodes[v->node].shape.dim[0];
        PQ_CHECK(v->n_axes == 1, PQ_ERR_UNSUPPORTED,
                 "its inputs lie in different orders");
        for (size_t i = 0; i < count; i++) {
            out->order[at + i] = at + (v->order != NULL ? v->order[i] : i);
        }
        at += count;
    }
cleanup:
    return st;
}

static pq_status concat(pq_onnx_import *im, pq_err *err)
{
    const size_t         n = im->node->n_in;
    const pq_onnx_value *v, *w;
    pq_onnx_value        like;
    pq_layer            *layer = NULL;
    int64_t              axis;
    size_t               at, held, nodes[PQ_NODE_INPUTS], node;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "axis", 1, &axis, err));
    PQ_TRY(pq_onnx_axis(v, axis, &at, err));
    like       = *v;
    like.order = NULL;
    if (pq_onnx_held(v, at) == SIZE_MAX) { /* 1 long, and not held: held as ONNX says */
        like.n_axes = 0;
        for (size_t d = 0; d < v->ndim; d++) {
            if (d != v->batch) {
                like.axis[like.n_axes++] = (int)d;
            }
        }
    }
    held = pq_onnx_held(&like, at);
    for (size_t k = 0; k < n; k++) {
        PQ_TRY(pq_onnx_active(im, k, &w, err));
        PQ_CHECK(w->ndim == v->ndim && w->batch == v->batch, PQ_ERR_UNSUPPORTED,
                 "its inputs have %zu and %zu axes", v->ndim, w->ndim);
        if (w->n_axes == 1 && w->axis[0] == (int)at && like.n_axes == 1) {
            nodes[k] = w->node; /* vectors, in whatever order */
        } else {
            PQ_TRY(pq_onnx_want(im, w, like.n_axes, like.axis, &nodes[k], err));
        }
    }
    PQ_TRY(join_orders(im, n, &like, err));
    PQ_TRY(pq_layer_create("concat", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "axis", (double)held, err));
    PQ_TRY(pq_onnx_add(im, "", &layer, n, nodes, &node, err));
    size_t *order = like.order;
    like.order    = NULL;
    st            = pq_onnx_give_like(im, 0, &like, node, err);
    if (st == PQ_OK && im->node->n_out > 0) {
        im->values[im->node->out[0]].order = order;
    } else {
        pq_free(order);
    }
    return st;
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Part from..to of our last axis. */
static pq_status cut(pq_onnx_import *im, size_t k, const pq_onnx_value *v, size_t at,
                     int64_t from, int64_t to, pq_err *err)
{
    pq_layer *layer = NULL;
    char      suffix[32];
    size_t    node = v->node;
    pq_status st;

    PQ_CHECK(v->n_axes >= 1 && v->axis[v->n_axes - 1] == (int)at && v->order == NULL,
             PQ_ERR_UNSUPPORTED,
             "it takes a part of axis %zu, which is not the last one here, as images are "
             "[height, width, channels]",
             at);
    PQ_CHECK(from >= 0 && from < to && to <= (int64_t)v->dim[at], PQ_ERR_SHAPE,
             "%lld to %lld is not a part of %zu", (long long)from, (long long)to,
             v->dim[at]);
    if (from > 0 || to < (int64_t)v->dim[at]) {
        PQ_TRY(pq_layer_create("slice", &layer, err));
        PQ_TRY(pq_onnx_set(layer, "from", (double)from, err));
        PQ_TRY(pq_onnx_set(layer, "to", (double)to, err));
        (void)snprintf(suffix, sizeof suffix, ".part%zu", k);
        PQ_TRY(pq_onnx_add(im, k > 0 ? suffix : "", &layer, 1, &v->node, &node, err));
    }
    PQ_TRY(pq_onnx_give_like(im, k, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* x[:, :, ::s, ::t]: every s-th row and t-th column of an image, in whatever order. */
static pq_status subsample(pq_onnx_import *im, const pq_onnx_value *v,
                           const int64_t *step, pq_err *err)
{
    pq_layer *layer = NULL;
    size_t    node;
    bool      held = v->n_axes == 3 && v->order == NULL;
    pq_status st;

    for (size_t d = 0; d < v->ndim; d++) {
        const size_t at = pq_onnx_held(v, d);
        held            = held && (step[d] == 1 || at < 2);
    }
    PQ_CHECK(held, PQ_ERR_UNSUPPORTED,
             "steps are read along height and width of an image");
    PQ_TRY(pq_layer_create("subsample", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "stride_h",
                       v->axis[0] >= 0 ? (double)step[v->axis[0]] : 1.0, err));
    PQ_TRY(pq_onnx_set(layer, "stride_w",
                       v->axis[1] >= 0 ? (double)step[v->axis[1]] : 1.0, err));
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &v->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* starts, ends, axes, steps: inputs 1 to 4, or attributes before opset 10. */
typedef struct {
    int64_t starts[PQ_MAX_DIMS], ends[PQ_MAX_DIMS], axes[PQ_MAX_DIMS], steps[PQ_MAX_DIMS];
    size_t  n, n_axes, n_steps;
} slices;

static pq_status read_slices(const pq_onnx_import *im, slices *s, pq_err *err)
{
    size_t    n_ends = 0;
    pq_status st;

    s->n_axes = s->n_steps = 0;
    if (im->node->n_in == 1) {
        PQ_TRY(pq_onnx_ints(im->node, "starts", PQ_MAX_DIMS, s->starts, &s->n, err));
        PQ_TRY(pq_onnx_ints(im->node, "ends", PQ_MAX_DIMS, s->ends, &n_ends, err));
        PQ_TRY(pq_onnx_ints(im->node, "axes", PQ_MAX_DIMS, s->axes, &s->n_axes, err));
    } else {
        PQ_TRY(pq_onnx_numbers(im, 1, PQ_MAX_DIMS, s->starts, &s->n, err));
        PQ_TRY(pq_onnx_numbers(im, 2, PQ_MAX_DIMS, s->ends, &n_ends, err));
        if (pq_onnx_given(im, 3)) {
            PQ_TRY(pq_onnx_numbers(im, 3, PQ_MAX_DIMS, s->axes, &s->n_axes, err));
        }
        if (pq_onnx_given(im, 4)) {
            PQ_TRY(pq_onnx_numbers(im, 4, PQ_MAX_DIMS, s->steps, &s->n_steps, err));
        }
    }
    PQ_CHECK(s->n == n_ends && (s->n_axes == 0 || s->n_axes == s->n) &&
                 (s->n_steps == 0 || s->n_steps == s->n),
             PQ_ERR_FORMAT, "its starts, ends, axes and steps are not equally many");
    for (size_t i = 0; i < s->n; i++) {
        s->axes[i]  = s->n_axes > 0 ? s->axes[i] : (int64_t)i;
        s->steps[i] = s->n_steps > 0 ? s->steps[i] : 1;
    }
cleanup:
    return st;
}

static int64_t clamp_index(int64_t i, size_t n)
{
    i = i < 0 ? (i < -(int64_t)n ? 0 : i + (int64_t)n) : i;
    return i > (int64_t)n ? (int64_t)n : i;
}

/* How many of n items steps of some length meet. */
static int64_t met(int64_t n, int64_t step)
{
    return (n + step - 1) / step;
}

static pq_status slice_by(pq_onnx_import *im, const pq_onnx_value *v, const slices *s,
                          pq_err *err)
{
    int64_t   step[PQ_MAX_DIMS] = {1, 1, 1, 1, 1, 1, 1, 1}, from = 0, to = 0;
    size_t    at, cuts = 0, cut_at = 0, steps = 0;
    pq_status st;

    for (size_t i = 0; i < s->n; i++) {
        const int64_t a = s->axes[i] < 0 ? s->axes[i] + (int64_t)v->ndim : s->axes[i];
        if (a == (int64_t)v->batch && s->starts[i] == 0 && s->ends[i] >= INT32_MAX &&
            s->steps[i] == 1) {
            continue; /* all events */
        }
        PQ_TRY(pq_onnx_axis(v, s->axes[i], &at, err));
        PQ_CHECK(s->steps[i] >= 1 && s->steps[i] <= PQ_WINDOW_MAX, PQ_ERR_UNSUPPORTED,
                 "a step of %lld is not read", (long long)s->steps[i]);
        const int64_t n     = (int64_t)v->dim[at];
        const int64_t first = clamp_index(s->starts[i], v->dim[at]);
        const int64_t end   = clamp_index(s->ends[i], v->dim[at]);
        const bool    whole = first == 0 && met(end, s->steps[i]) == met(n, s->steps[i]);
        if (s->steps[i] != 1) {
            PQ_CHECK(whole, PQ_ERR_UNSUPPORTED,
                     "a step of %lld over a part of axis %zu is not read",
                     (long long)s->steps[i], at);
            step[at] = s->steps[i];
            steps++;
        } else if (!whole) {
            cuts++;
            cut_at = at;
            from   = first;
            to     = end;
        }
    }
    PQ_CHECK(cuts <= 1 && (cuts == 0 || steps == 0), PQ_ERR_UNSUPPORTED,
             "it cuts more than one axis");
    if (steps > 0) {
        PQ_TRY(subsample(im, v, step, err));
    } else if (cuts > 0) {
        PQ_TRY(cut(im, 0, v, cut_at, from, to, err));
    } else {
        PQ_TRY(pq_onnx_give_like(im, 0, v, v->node, err));
    }
cleanup:
    return st;
}

static pq_status slice(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    slices               s;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(read_slices(im, &s, err));
    PQ_TRY(slice_by(im, v, &s, err));
cleanup:
    return st;
}

/* The slices that a grid of indices [n_0, …, n_k-1, k] stands for: entry j of each
 * follows from place j alone, in equal steps. */
static pq_status grid_slices(const pq_tensor *t, slices *s, pq_err *err)
{
    const int64_t *index = t->data;
    size_t         after = t->shape.dim[t->shape.ndim - 1];
    pq_status      st;

    s->n = after;
    PQ_CHECK(s->n + 1 == t->shape.ndim && t->count > 0, PQ_ERR_UNSUPPORTED,
             "its indices, of %zu axes and %zu entries each, are no grid", t->shape.ndim,
             s->n);
    for (size_t j = s->n; j-- > 0;) {
        const size_t  n    = t->shape.dim[j];
        const int64_t from = index[j], step = n > 1 ? index[after + j] - from : 1;
        PQ_CHECK(from >= 0 && from < INT32_MAX && step > 0 && step < INT32_MAX,
                 PQ_ERR_UNSUPPORTED,
                 "indices from %lld on in steps of %lld are no plain slice",
                 (long long)from, (long long)step);
        for (size_t i = j; i < t->count; i += s->n) {
            PQ_CHECK(index[i] == from + (int64_t)(i / after % n) * step,
                     PQ_ERR_UNSUPPORTED,
                     "its indices along axis %zu are not those of a slice", j);
        }
        s->axes[j]   = (int64_t)j;
        s->steps[j]  = step;
        s->starts[j] = from;
        s->ends[j]   = from + (int64_t)(n - 1) * step + 1;
        after *= n;
    }
    st = PQ_OK;
cleanup:
    return st;
}

/* What jax2onnx writes for x[:, ::2, ::2]. */
static pq_status gather_nd(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    const pq_shape      *shape;
    pq_tensor           *t = NULL;
    slices               s;
    int64_t              batch;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "batch_dims", 0, &batch, err));
    PQ_TRY(pq_onnx_constant_shape(im, 1, &shape, err));
    PQ_CHECK(batch == 0 && shape->ndim >= 2 && shape->dim[shape->ndim - 1] <= v->ndim,
             PQ_ERR_UNSUPPORTED,
             "batch_dims = %lld and indices of %zu axes; a grid of constant indices that "
             "is a slice is read",
             (long long)batch, shape->ndim);
    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_I64, NULL, &t, err));
    PQ_TRY(grid_slices(t, &s, err));
    for (size_t j = 0; j < s.n; j++) {
        PQ_CHECK(s.ends[j] <= (int64_t)v->dim[j] || j == v->batch, PQ_ERR_RANGE,
                 "index %lld is not one of axis %zu, which is %zu long",
                 (long long)s.ends[j] - 1, j, v->dim[j]);
    }
    PQ_TRY(slice_by(im, v, &s, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status split(pq_onnx_import *im, pq_err *err)
{
    const size_t         parts = im->node->n_out;
    const pq_onnx_value *v;
    int64_t              axis, size[PQ_NODE_INPUTS], from = 0;
    size_t               at, n = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "axis", 0, &axis, err));
    PQ_TRY(pq_onnx_axis(v, axis, &at, err));
    PQ_CHECK(parts >= 1 && parts <= PQ_NODE_INPUTS, PQ_ERR_UNSUPPORTED,
             "it has %zu parts; at most %d are read", parts, PQ_NODE_INPUTS);
    if (pq_onnx_given(im, 1)) {
        PQ_TRY(pq_onnx_numbers(im, 1, PQ_NODE_INPUTS, size, &n, err));
    } else {
        PQ_TRY(pq_onnx_ints(im->node, "split", PQ_NODE_INPUTS, size, &n, err));
    }
    for (size_t k = 0; n == 0 && k < parts; k++) {
        const int64_t each = (int64_t)((v->dim[at] + parts - 1) / parts);
        size[k] = k + 1 < parts ? each : (int64_t)v->dim[at] - each * (int64_t)k;
    }
    PQ_CHECK(n == 0 || n == parts, PQ_ERR_FORMAT, "it has %zu outputs, but %zu sizes",
             parts, n);
    for (size_t k = 0; k < parts; k++) {
        PQ_CHECK(size[k] >= 1 && size[k] <= (int64_t)v->dim[at] - from, PQ_ERR_SHAPE,
                 "part %zu of %lld does not fit the %zu of its input", k,
                 (long long)size[k], v->dim[at]);
        PQ_TRY(cut(im, k, v, at, from, from + size[k], err));
        from += size[k];
    }
    PQ_CHECK(from == (int64_t)v->dim[at], PQ_ERR_SHAPE,
             "its parts are %lld of the %zu of its input", (long long)from, v->dim[at]);
cleanup:
    return st;
}

/* Pads: begins of all axes, then ends, by ONNX's axes. */
static pq_status read_pads(const pq_onnx_import *im, const pq_onnx_value *v,
                           int64_t pads[2][PQ_MAX_DIMS], double *value, pq_err *err)
{
    int64_t   given[2 * PQ_MAX_DIMS], axes[PQ_MAX_DIMS];
    size_t    n, n_axes = v->ndim, at;
    char      mode[16];
    pq_status st;

    PQ_TRY(pq_onnx_text(im->node, "mode", "constant", mode, sizeof mode, err));
    PQ_CHECK(strcmp(mode, "constant") == 0, PQ_ERR_UNSUPPORTED,
             "mode = '%s'; constant is read", mode);
    PQ_TRY(pq_onnx_real(im->node, "value", 0.0, value, err));
    if (pq_onnx_given(im, 1)) {
        PQ_TRY(pq_onnx_numbers(im, 1, 2 * PQ_MAX_DIMS, given, &n, err));
    } else {
        PQ_TRY(pq_onnx_ints(im->node, "pads", 2 * PQ_MAX_DIMS, given, &n, err));
    }
    if (pq_onnx_given(im, 2)) {
        PQ_TRY(pq_onnx_number(im, 2, value, err));
    }
    for (size_t d = 0; d < v->ndim; d++) {
        axes[d] = (int64_t)d;
    }
    if (pq_onnx_given(im, 3)) {
        PQ_TRY(pq_onnx_numbers(im, 3, PQ_MAX_DIMS, axes, &n_axes, err));
    }
    PQ_CHECK(n == 2 * n_axes, PQ_ERR_FORMAT, "it has %zu paddings for %zu axes", n,
             n_axes);
    for (size_t i = 0; i < n; i++) {
        if (given[i] == 0) {
            continue;
        }
        PQ_CHECK(given[i] >= 0 && given[i] <= PQ_WINDOW_MAX, PQ_ERR_RANGE,
                 "a padding of %lld is not in 0..%d", (long long)given[i], PQ_WINDOW_MAX);
        PQ_TRY(pq_onnx_axis(v, axes[i % n_axes], &at, err));
        pads[i / n_axes][at] = given[i];
    }
cleanup:
    return st;
}

static pq_status pad(pq_onnx_import *im, pq_err *err)
{
    static const char *const names[2][3] = {{"top", "left", "before"},
                                            {"bottom", "right", "after"}};
    const pq_onnx_value     *v;
    int64_t                  pads[2][PQ_MAX_DIMS] = {{0}};
    pq_layer                *layer                = NULL;
    pq_shape                 image                = {.ndim = 3}, back;
    size_t                   input, node, lead;
    double                   value;
    pq_status                st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(read_pads(im, v, pads, &value, err));
    PQ_CHECK(v->order == NULL && v->n_axes >= 1 && v->n_axes <= 3, PQ_ERR_UNSUPPORTED,
             "its input is no image, sequence or vector of one order");
    for (size_t i = 0; i < 2 * v->ndim; i++) {
        PQ_CHECK(pads[i / v->ndim][i % v->ndim] == 0 ||
                     pq_onnx_held(v, i % v->ndim) != SIZE_MAX,
                 PQ_ERR_UNSUPPORTED, "axis %zu is 1 long and not held", i % v->ndim);
    }
    lead = 3 - v->n_axes;
    for (size_t i = 0; i < 3; i++) {
        image.dim[i] = i < lead ? 1 : im->graph->nodes[v->node].shape.dim[i - lead];
    }
    PQ_TRY(pq_onnx_add_reshape(im, ".in", &image, v->node, &input, err));
    PQ_TRY(pq_layer_create("pad", &layer, err));
    PQ_TRY(pq_onnx_set(layer, "value", value, err));
    for (size_t i = lead; i < 3; i++) {
        for (size_t side = 0; side < 2 && v->axis[i - lead] >= 0; side++) {
            PQ_TRY(pq_onnx_set(layer, names[side][i],
                               (double)pads[side][v->axis[i - lead]], err));
        }
    }
    PQ_TRY(pq_onnx_add(im, "", &layer, 1, &input, &node, err));
    back.ndim = v->n_axes;
    memcpy(back.dim, im->graph->nodes[node].shape.dim + lead,
           v->n_axes * sizeof *back.dim);
    PQ_TRY(pq_onnx_add_reshape(im, ".out", &back, node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, v, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

const pq_onnx_operation pq_onnx_parts[] = {
    {"Concat", 1, PQ_NODE_INPUTS, concat, "axis"},
    {"Slice", 1, 5, slice, "axes ends starts"},
    {"GatherND", 2, 2, gather_nd, "batch_dims"},
    {"Split", 1, 2, split, "axis split num_outputs"},
    {"Pad", 1, 4, pad, "mode pads value"},
    {0},
};
