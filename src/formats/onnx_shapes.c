/* Operators that give items other axes. */
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

/* Rows of each event along the first axis of a new shape; 0: as many as are left. */
static pq_status first_axis(const pq_onnx_import *im, const pq_onnx_value *v, int64_t dim,
                            bool is_open, size_t *out, pq_err *err)
{
    const size_t batch = im->batch > 0 ? im->batch : 1;
    pq_status    st    = PQ_OK;

    if (dim == 0 || (dim == -1 && is_open)) {
        *out = v->dim[0]; /* as before */
    } else if (dim == -1) {
        *out = 0;
    } else {
        *out = im->batch > 0 && dim > 0 && (size_t)dim % batch == 0 ? (size_t)dim / batch
                                                                    : pq_onnx_rows(dim);
        PQ_CHECK(*out > 0, PQ_ERR_UNSUPPORTED,
                 "its result does not keep the batch as the first axis");
    }
cleanup:
    return st;
}

/* Fills in what a new shape leaves open; dim[0] becomes the rows of each event that lie
 * along the batch.
 * @param[in,out] dim  [n] as given: 0 = as before, -1 = what is left */
static pq_status resolve(const pq_onnx_import *im, const pq_onnx_value *v, int64_t *dim,
                         size_t n, bool zero_copies, pq_err *err)
{
    size_t    items = 1, known = 1, open = SIZE_MAX, rows;
    pq_status st;

    PQ_CHECK(v->batch == 0 && n >= 2, PQ_ERR_UNSUPPORTED,
             "the result has %zu axes; a batch and one or more are read", n);
    for (size_t d = 0; d < v->ndim; d++) {
        items *= v->dim[d];
    }
    for (size_t i = 1; i < n; i++) {
        if (dim[i] == 0 && zero_copies && i < v->ndim) {
            dim[i] = (int64_t)v->dim[i];
        }
        if (dim[i] == -1 && open == SIZE_MAX) {
            open = i;
            continue;
        }
        PQ_CHECK(dim[i] >= 1 && !__builtin_mul_overflow(known, (size_t)dim[i], &known),
                 PQ_ERR_FORMAT, "axis %zu of the result is %lld long", i,
                 (long long)dim[i]);
    }
    PQ_TRY(first_axis(im, v, dim[0], open != SIZE_MAX, &rows, err));
    rows = rows > 0 ? rows : items / known;
    PQ_CHECK(rows > 0 && !__builtin_mul_overflow(known, rows, &known) &&
                 items % known == 0 && (open != SIZE_MAX || items == known),
             PQ_ERR_SHAPE, "%zu items of an event do not make %zu", items, known);
    if (open != SIZE_MAX) {
        dim[open] = (int64_t)(items / known);
    }
    dim[0] = (int64_t)rows;
cleanup:
    return st;
}

/* ONNX's order of items in a value that is not held in it: our item -> ONNX's. */
static pq_status find_order(const pq_onnx_import *im, const pq_onnx_value *v,
                            size_t **out, pq_err *err)
{
    const pq_shape *s     = &im->graph->nodes[v->node].shape;
    size_t          count = 0, step[PQ_MAX_DIMS] = {0}, index[PQ_MAX_DIMS] = {0}, at = 0;
    pq_status       st;

    (void)pq_shape_count(s, &count);
    for (size_t i = 0; i < v->n_axes; i++) {
        size_t after = 1;
        for (size_t d = (size_t)(v->axis[i] + 1); v->axis[i] >= 0 && d < v->ndim; d++) {
            after *= v->dim[d];
        }
        step[i] = v->axis[i] >= 0 ? after : 0;
    }
    PQ_NEW(*out, count);
    for (size_t k = 0; k < count; k++) {
        (*out)[k] = at;
        for (size_t i = v->n_axes; i-- > 0;) {
            at += step[i];
            if (++index[i] < s->dim[i]) {
                break;
            }
            at -= step[i] * s->dim[i];
            index[i] = 0;
        }
    }
cleanup:
    return st;
}

/* Long axes before and after; equal lists mean that only axes of 1 come or go. */
static bool same_items(const pq_onnx_value *v, const int64_t *dim, size_t n, int *to)
{
    size_t k = 1;

    for (size_t d = 1; d < v->ndim; d++) {
        if (v->dim[d] == 1) {
            continue;
        }
        while (k < n && dim[k] == 1) {
            k++;
        }
        if (k >= n || dim[k] != (int64_t)v->dim[d]) {
            return false;
        }
        to[d] = (int)k++;
    }
    while (k < n && dim[k] == 1) {
        k++;
    }
    return k == n;
}

static void set_dims(pq_onnx_value *out, const int64_t *dim, size_t n)
{
    out->active = true;
    out->ndim   = n;
    for (size_t d = 0; d < n; d++) {
        out->dim[d] = (size_t)dim[d];
    }
}

/* Reshapes to the axes that ONNX's value has. */
static pq_status drop_axes(pq_onnx_import *im, pq_onnx_value *v, pq_err *err)
{
    pq_shape  to = {0};
    pq_status st;

    for (size_t i = 0; i < v->n_axes; i++) {
        if (v->axis[i] != PQ_ONNX_NO_AXIS) {
            v->axis[to.ndim]  = v->axis[i];
            to.dim[to.ndim++] = v->dim[v->axis[i]];
        }
    }
    if (to.ndim == 0) {
        v->axis[0] = (int)v->ndim - 1;
        to         = PQ_SHAPE(1);
    }
    v->n_axes = to.ndim;
    PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &v->node, err));
cleanup:
    return st;
}

/* Only axes 1 long differ: the same node, other names of its axes. */
static pq_status rename_axes(pq_onnx_import *im, const pq_onnx_value *v,
                             const int64_t *dim, size_t n, const int *to, pq_err *err)
{
    pq_onnx_value out   = {.node = v->node, .n_axes = v->n_axes};
    size_t        count = 0;
    pq_status     st;

    set_dims(&out, dim, n);
    for (size_t i = 0; i < v->n_axes; i++) {
        const int a = v->axis[i];
        out.axis[i] = a >= 0 && v->dim[a] != 1 ? to[a] : PQ_ONNX_NO_AXIS;
    }
    if (v->n_axes == 1 && out.axis[0] == PQ_ONNX_NO_AXIS) { /* one item: any axis */
        out.axis[0] = (int)n - 1;
    }
    if (v->order != NULL) {
        (void)pq_shape_count(&im->graph->nodes[v->node].shape, &count);
        PQ_NEW(out.order, count);
        memcpy(out.order, v->order, count * sizeof *out.order);
    }
    if (v->n_axes > n - 1) { /* [1, 1, channels] as a vector */
        PQ_TRY(drop_axes(im, &out, err));
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_free(out.order);
    return st;
}

/* Items lie in ONNX's order: any new shape is one of ours. */
static pq_status reshape_straight(pq_onnx_import *im, const pq_onnx_value *v,
                                  const int64_t *dim, size_t n, pq_err *err)
{
    pq_onnx_value out = {.n_axes = n - 1};
    pq_shape      to  = {.ndim = n - 1};
    pq_status     st;

    set_dims(&out, dim, n);
    for (size_t i = 0; i + 1 < n; i++) {
        out.axis[i] = (int)i + 1;
        to.dim[i]   = out.dim[i + 1];
    }
    PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &out.node, err));
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    return st;
}

/* Rows of all events one behind the other, [batch rows, …]. Items that lie in ONNX's
 * order stay where they are: an axis of ours holds the rows. */
static pq_status fold_rows(pq_onnx_import *im, const pq_onnx_value *v, const int64_t *dim,
                           size_t n, pq_err *err)
{
    const pq_shape *held = &im->graph->nodes[v->node].shape;
    pq_onnx_value   out  = {.node = v->node, .n_axes = n};
    pq_shape        to   = {.ndim = n};
    pq_status       st;

    PQ_CHECK(pq_onnx_is_straight(v) && n < PQ_MAX_DIMS, PQ_ERR_UNSUPPORTED,
             "it makes rows of an image that is held row by row, not channel by channel");
    set_dims(&out, dim, n);
    out.axis[0] = PQ_ONNX_NO_AXIS;
    for (size_t d = 0; d < n; d++) {
        out.axis[d] = d > 0 ? (int)d : PQ_ONNX_NO_AXIS;
        to.dim[d]   = out.dim[d];
    }
    if (n == 2 && held->dim[held->ndim - 1] == out.dim[1]) { /* they are rows already */
        out.n_axes = held->ndim;
        for (size_t i = 0; i < held->ndim; i++) {
            out.axis[i] = i + 1 < held->ndim ? PQ_ONNX_NO_AXIS : 1;
        }
    } else {
        PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &out.node, err));
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    return st;
}

/* An image as a vector, in our order; readers turn their kernels. */
static pq_status flatten_turned(pq_onnx_import *im, const pq_onnx_value *v,
                                const int64_t *dim, size_t n, pq_err *err)
{
    pq_onnx_value out = {.n_axes = 1};
    pq_shape      to  = {.ndim = 1, .dim = {1}};
    pq_status     st;

    set_dims(&out, dim, n);
    for (size_t d = 1; d < n; d++) {
        if (out.dim[d] != 1) {
            out.axis[0] = (int)d;
            to.dim[0]   = out.dim[d];
        }
    }
    PQ_TRY(find_order(im, v, &out.order, err));
    PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &out.node, err));
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_free(out.order);
    return st;
}

/* [batch, channels, height, width] <-> [batch, channels, positions], held with the
 * channels last: positions lie together. */
static pq_status reshape_positions(pq_onnx_import *im, const pq_onnx_value *v,
                                   const int64_t *dim, size_t n, pq_err *err)
{
    pq_onnx_value out = {.n_axes = n - 1};
    pq_shape      to  = {.ndim = n - 1};
    pq_status     st;

    PQ_CHECK(n >= 3 && v->ndim >= 3 && v->order == NULL && v->n_axes == v->ndim - 1 &&
                 v->axis[v->n_axes - 1] == 1 && dim[1] == (int64_t)v->dim[1],
             PQ_ERR_UNSUPPORTED,
             "it gives new axes to an image that is held row by row, not channel by "
             "channel");
    for (size_t i = 0; i + 1 < v->n_axes; i++) {
        PQ_CHECK(v->axis[i] == (int)i + 2, PQ_ERR_UNSUPPORTED,
                 "its input would have to be transposed, for which there is no layer");
    }
    set_dims(&out, dim, n);
    for (size_t i = 0; i + 1 < n; i++) {
        out.axis[i] = i + 2 < n ? (int)i + 2 : 1;
        to.dim[i]   = out.dim[out.axis[i]];
    }
    PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &out.node, err));
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    return st;
}

/* A vector in our order becomes the image again whose items lie so. */
static pq_status unflatten(pq_onnx_import *im, const pq_onnx_value *v, const int64_t *dim,
                           size_t n, pq_err *err)
{
    pq_onnx_value out = {.n_axes = n - 1};
    pq_shape      to  = {.ndim = n - 1};
    size_t       *due = NULL, count = 1;
    pq_status     st;

    set_dims(&out, dim, n);
    for (size_t i = 0; i + 1 < n; i++) {
        out.axis[i] = i + 2 < n ? (int)i + 2 : 1;
        to.dim[i]   = out.dim[out.axis[i]];
        count *= to.dim[i];
    }
    PQ_TRY(pq_onnx_add_reshape(im, "", &to, v->node, &out.node, err));
    PQ_TRY(find_order(im, &out, &due, err));
    PQ_CHECK(memcmp(due, v->order, count * sizeof *due) == 0, PQ_ERR_UNSUPPORTED,
             "it makes another image of one that was flattened channel by channel");
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_free(due);
    return st;
}

static pq_status reshape_to(pq_onnx_import *im, const pq_onnx_value *v, int64_t *dim,
                            size_t n, bool zero_copies, pq_err *err)
{
    int       to[PQ_MAX_DIMS];
    size_t    is_long = 0;
    pq_status st;

    for (size_t i = 0; i < PQ_MAX_DIMS; i++) {
        to[i] = PQ_ONNX_NO_AXIS;
    }
    PQ_TRY(resolve(im, v, dim, n, zero_copies, err));
    for (size_t i = 1; i < n; i++) {
        is_long += dim[i] != 1 ? 1 : 0;
    }
    if (dim[0] > 1) {
        return fold_rows(im, v, dim, n, err);
    }
    if (v->dim[0] > 1) {
        return reshape_straight(im, v, dim, n, err);
    }
    if (same_items(v, dim, n, to)) {
        return rename_axes(im, v, dim, n, to, err);
    }
    if (pq_onnx_is_straight(v)) {
        return reshape_straight(im, v, dim, n, err);
    }
    if (v->order != NULL) {
        return unflatten(im, v, dim, n, err);
    }
    return is_long <= 1 ? flatten_turned(im, v, dim, n, err)
                        : reshape_positions(im, v, dim, n, err);
cleanup:
    return st;
}

static pq_status reshape(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    int64_t              dim[PQ_MAX_DIMS], zero;
    size_t               n;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "allowzero", 0, &zero, err));
    PQ_TRY(pq_onnx_numbers(im, 1, PQ_MAX_DIMS, dim, &n, err));
    PQ_TRY(reshape_to(im, v, dim, n, zero == 0, err));
    pq_onnx_show(im, 0);
cleanup:
    return st;
}

static pq_status flatten(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    int64_t              axis, dim[2] = {0, -1};
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_int(im->node, "axis", 1, &axis, err));
    axis += axis < 0 ? (int64_t)v->ndim : 0;
    PQ_CHECK(axis == 1 || (axis == 0 && im->batch == 1), PQ_ERR_UNSUPPORTED,
             "axis %lld: only axis 1, all items of an event, is read", (long long)axis);
    PQ_TRY(reshape_to(im, v, dim, 2, true, err));
    pq_onnx_show(im, 0);
cleanup:
    return st;
}

static pq_status squeeze(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    int64_t              axes[PQ_MAX_DIMS], dim[PQ_MAX_DIMS];
    bool                 gone[PQ_MAX_DIMS] = {false};
    size_t               n, at, left = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_axes(im, axes, &n, err));
    PQ_CHECK(n > 0, PQ_ERR_UNSUPPORTED, "without axes the batch might go");
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_onnx_axis(v, axes[i], &at, err));
        PQ_CHECK(v->dim[at] == 1, PQ_ERR_SHAPE, "axis %zu is %zu long, not 1", at,
                 v->dim[at]);
        gone[at] = true;
    }
    for (size_t d = 0; d < v->ndim; d++) {
        if (!gone[d]) {
            dim[left++] = d == v->batch ? 0 : (int64_t)v->dim[d];
        }
    }
    PQ_TRY(reshape_to(im, v, dim, left, false, err));
    pq_onnx_show(im, 0);
cleanup:
    return st;
}

static pq_status unsqueeze(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    int64_t              axes[PQ_MAX_DIMS], dim[PQ_MAX_DIMS];
    bool                 fresh[PQ_MAX_DIMS] = {false};
    size_t               n, from = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_axes(im, axes, &n, err));
    PQ_CHECK(n + v->ndim <= PQ_MAX_DIMS, PQ_ERR_UNSUPPORTED,
             "the result has %zu axes; at most %d are read", n + v->ndim, PQ_MAX_DIMS);
    for (size_t i = 0; i < n; i++) {
        const int64_t a = axes[i] < 0 ? axes[i] + (int64_t)(v->ndim + n) : axes[i];
        PQ_CHECK(a >= 0 && a < (int64_t)(v->ndim + n) && !fresh[a], PQ_ERR_FORMAT,
                 "axis %lld is not a new one", (long long)axes[i]);
        fresh[a] = true;
    }
    for (size_t d = 0; d < v->ndim + n; d++) {
        dim[d] = fresh[d] ? 1 : from == v->batch ? 0 : (int64_t)v->dim[from];
        from += fresh[d] ? 0 : 1;
    }
    PQ_TRY(reshape_to(im, v, dim, v->ndim + n, false, err));
    pq_onnx_show(im, 0);
cleanup:
    return st;
}

/* Other names of the same axes: nothing moves. */
static pq_status transpose(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_onnx_value        out = {.active = true};
    int64_t              perm[PQ_MAX_DIMS];
    int                  to[PQ_MAX_DIMS];
    size_t               n, count = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active(im, 0, &v, err));
    PQ_TRY(pq_onnx_ints(im->node, "perm", PQ_MAX_DIMS, perm, &n, err));
    for (size_t d = 0; n == 0 && d < v->ndim; d++) {
        perm[d] = (int64_t)(v->ndim - 1 - d);
    }
    PQ_CHECK(n == 0 || n == v->ndim, PQ_ERR_FORMAT,
             "'perm' has %zu numbers, but its input %zu axes", n, v->ndim);
    for (size_t d = 0; d < v->ndim; d++) {
        to[d] = PQ_ONNX_NO_AXIS;
    }
    for (size_t d = 0; d < v->ndim; d++) {
        PQ_CHECK(perm[d] >= 0 && perm[d] < (int64_t)v->ndim &&
                     to[perm[d]] == PQ_ONNX_NO_AXIS,
                 PQ_ERR_FORMAT, "'perm' is no order of %zu axes", v->ndim);
        to[perm[d]] = (int)d;
        out.dim[d]  = v->dim[perm[d]];
    }
    out.ndim   = v->ndim;
    out.batch  = (size_t)to[v->batch];
    out.node   = v->node;
    out.n_axes = v->n_axes;
    for (size_t i = 0; i < v->n_axes; i++) {
        out.axis[i] = v->axis[i] >= 0 ? to[v->axis[i]] : PQ_ONNX_NO_AXIS;
    }
    if (v->order != NULL) {
        (void)pq_shape_count(&im->graph->nodes[v->node].shape, &count);
        PQ_NEW(out.order, count);
        memcpy(out.order, v->order, count * sizeof *out.order);
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
    pq_onnx_show(im, 0);
cleanup:
    pq_free(out.order);
    return st;
}

const pq_onnx_operation pq_onnx_shapes[] = {
    {"Reshape", 2, 2, reshape, "allowzero"}, {"Flatten", 1, 1, flatten, "axis"},
    {"Squeeze", 1, 2, squeeze, "axes"},      {"Unsqueeze", 1, 2, unsqueeze, "axes"},
    {"Transpose", 1, 1, transpose, "perm"},  {0},
};
