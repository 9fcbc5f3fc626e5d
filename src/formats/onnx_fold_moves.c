/* Constants whose items are moved, picked or joined while reading. */
#include <math.h>
#include <string.h>

#include "formats/onnx_fold.h"

#define MOST_RANGE 1e9 /* of the numbers of a range, and their count */

/* Entries of a list. */
static pq_status gather(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL, *at = NULL, *out = NULL;
    int64_t    axis;
    pq_status  st;

    PQ_TRY(pq_onnx_int(im->node, "axis", 0, &axis, err));
    PQ_TRY(pq_onnx_fold_take(im, 0, &t, err));
    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_I64, NULL, &at, err));
    PQ_CHECK(t->shape.ndim == 1 && (axis == 0 || axis == -1), PQ_ERR_UNSUPPORTED,
             "entries of a constant of %zu axes are not read", t->shape.ndim);
    PQ_TRY(pq_tensor_create(t->dtype, at->shape, &out, err));
    for (size_t i = 0; i < at->count; i++) {
        const int64_t k = pq_i64(at)[i] + (pq_i64(at)[i] < 0 ? (int64_t)t->count : 0);
        PQ_CHECK(k >= 0 && k < (int64_t)t->count, PQ_ERR_RANGE,
                 "entry %lld is not one of %zu", (long long)pq_i64(at)[i], t->count);
        memcpy((char *)out->data + 8 * i, (const char *)t->data + 8 * k, 8);
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&at);
    pq_tensor_free(&out);
    return st;
}

/* Which indices of an axis a slice takes. */
typedef struct {
    int64_t from, step;
    size_t  n;
} range;

static pq_status range_of(int64_t from, int64_t to, int64_t step, size_t size, range *out,
                          pq_err *err)
{
    const int64_t n = (int64_t)size, least = step < 0 ? -1 : 0,
                  most = step < 0 ? n - 1 : n;
    pq_status st;

    PQ_CHECK(step != 0 && step > -INT32_MAX && step < INT32_MAX, PQ_ERR_FORMAT,
             "a step of %lld is not read", (long long)step);
    from = from < 0 ? (from < -n ? least : from + n) : from;
    to   = to < 0 ? (to < -n ? least : to + n) : to;
    from = from > most ? most : from;
    to   = to > most ? most : to;
    *out = (range){from, step, 0};
    if ((step > 0 && to > from) || (step < 0 && to < from)) {
        out->n = (size_t)((to - from + step + (step > 0 ? -1 : 1)) / step);
    }
cleanup:
    return st;
}

static pq_status read_ranges(const pq_onnx_import *im, const pq_shape *shape, range *out,
                             pq_err *err)
{
    int64_t   v[4][PQ_MAX_DIMS]; /* starts, ends, axes, steps */
    size_t    n[4] = {0};
    pq_status st;

    for (size_t i = 0; i < shape->ndim; i++) {
        out[i] = (range){0, 1, shape->dim[i]};
    }
    if (im->node->n_in == 1) {
        PQ_TRY(pq_onnx_ints(im->node, "starts", PQ_MAX_DIMS, v[0], &n[0], err));
        PQ_TRY(pq_onnx_ints(im->node, "ends", PQ_MAX_DIMS, v[1], &n[1], err));
        PQ_TRY(pq_onnx_ints(im->node, "axes", PQ_MAX_DIMS, v[2], &n[2], err));
    }
    for (size_t k = 0; k < 4; k++) {
        if (pq_onnx_given(im, k + 1)) {
            PQ_TRY(pq_onnx_numbers(im, k + 1, PQ_MAX_DIMS, v[k], &n[k], err));
        }
    }
    PQ_CHECK(n[0] == n[1] && (n[2] == 0 || n[2] == n[0]) && (n[3] == 0 || n[3] == n[0]),
             PQ_ERR_FORMAT, "its starts, ends, axes and steps are not equally many");
    for (size_t i = 0; i < n[0]; i++) {
        const int64_t given = n[2] > 0 ? v[2][i] : (int64_t)i;
        const int64_t a     = given < 0 ? given + (int64_t)shape->ndim : given;
        PQ_CHECK(a >= 0 && a < (int64_t)shape->ndim, PQ_ERR_FORMAT,
                 "axis %lld is not one of %zu", (long long)given, shape->ndim);
        PQ_TRY(range_of(v[0][i], v[1][i], n[3] > 0 ? v[3][i] : 1, shape->dim[a], &out[a],
                        err));
    }
cleanup:
    return st;
}

/* The items of a constant of shape `from` that ranges of its axes take. */
static pq_status give_ranges(pq_onnx_import *im, const pq_tensor *t, const pq_shape *from,
                             const range *part, pq_err *err)
{
    pq_tensor *out = NULL;
    pq_shape   to  = {.ndim = from->ndim};
    pq_status  st;

    for (size_t d = 0; d < to.ndim; d++) {
        to.dim[d] = part[d].n;
    }
    PQ_TRY(pq_tensor_create(t->dtype, to, &out, err));
    for (size_t i = 0; i < out->count; i++) {
        size_t left = i, step = 1, item = 0;
        for (size_t d = to.ndim; d-- > 0;) {
            const int64_t at = part[d].from + (int64_t)(left % to.dim[d]) * part[d].step;
            item += (size_t)at * step;
            left /= to.dim[d];
            step *= from->dim[d];
        }
        memcpy((char *)out->data + 8 * i, (const char *)t->data + 8 * item, 8);
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
cleanup:
    pq_tensor_free(&out);
    return st;
}

/* A part of a constant. */
static pq_status slice(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL;
    range      part[PQ_MAX_DIMS];
    pq_status  st;

    PQ_TRY(pq_onnx_fold_take(im, 0, &t, err));
    PQ_TRY(read_ranges(im, &t->shape, part, err));
    PQ_TRY(give_ranges(im, t, &t->shape, part, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

/* The same items again along axes that are new or 1 long. */
static pq_status expand(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL;
    int64_t    dim[PQ_MAX_DIMS];
    range      part[PQ_MAX_DIMS];
    pq_shape   from = {0};
    size_t     n;
    pq_status  st;

    PQ_TRY(pq_onnx_fold_take(im, 0, &t, err));
    PQ_TRY(pq_onnx_numbers(im, 1, PQ_MAX_DIMS, dim, &n, err));
    from.ndim = n > t->shape.ndim ? n : t->shape.ndim;
    for (size_t d = 0; d < from.ndim; d++) { /* shapes end at the same axis */
        const size_t  a = from.ndim - t->shape.ndim, b = from.ndim - n;
        const int64_t due = d < b ? 1 : dim[d - b];
        from.dim[d]       = d < a ? 1 : t->shape.dim[d - a];
        PQ_CHECK(due >= 1 && (due == 1 || from.dim[d] == 1 || from.dim[d] == (size_t)due),
                 PQ_ERR_FORMAT,
                 "axis %zu of its constant is %zu long, which does not make "
                 "%lld",
                 d, from.dim[d], (long long)due);
        part[d] =
            from.dim[d] == 1 ? (range){0, 0, (size_t)due} : (range){0, 1, from.dim[d]};
    }
    PQ_TRY(give_ranges(im, t, &from, part, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

/* Shape and type of constants joined along an axis. */
static pq_status joined_shape(const pq_onnx_import *im, pq_shape *to, size_t *at,
                              bool *whole, pq_err *err)
{
    const pq_shape *s;
    int64_t         axis;
    pq_status       st;

    PQ_TRY(pq_onnx_int(im->node, "axis", 0, &axis, err));
    PQ_TRY(pq_onnx_constant_shape(im, 0, &s, err));
    *to    = *s;
    *whole = pq_onnx_fold_is_whole(im, 0);
    axis += axis < 0 ? (int64_t)s->ndim : 0;
    PQ_CHECK(axis >= 0 && axis < (int64_t)s->ndim, PQ_ERR_FORMAT,
             "axis %lld is not one of its constants' %zu", (long long)axis, s->ndim);
    *at = (size_t)axis;
    for (size_t k = 1; k < im->node->n_in; k++) {
        PQ_TRY(pq_onnx_constant_shape(im, k, &s, err));
        PQ_CHECK(pq_onnx_fold_is_whole(im, k) == *whole, PQ_ERR_FORMAT,
                 "its inputs have two types");
        for (size_t d = 0; d < to->ndim; d++) {
            PQ_CHECK(s->ndim == to->ndim && (d == *at || s->dim[d] == to->dim[d]),
                     PQ_ERR_FORMAT, "its constants differ in more than axis %zu", *at);
        }
        PQ_CHECK(!__builtin_add_overflow(to->dim[*at], s->dim[*at], &to->dim[*at]),
                 PQ_ERR_FORMAT, "its constants are too long to join");
    }
cleanup:
    return st;
}

/* Constants one behind the other along an axis. */
static pq_status concat(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *part = NULL, *out = NULL;
    pq_shape   to;
    size_t     axis, row = 8, done = 0;
    bool       whole;
    pq_status  st;

    PQ_TRY(joined_shape(im, &to, &axis, &whole, err));
    PQ_TRY(pq_tensor_create(whole ? PQ_DTYPE_I64 : PQ_DTYPE_F64, to, &out, err));
    for (size_t d = axis; d < to.ndim && out->count > 0; d++) {
        row *= to.dim[d]; /* bytes of what lies under one index of the axes before */
    }
    for (size_t k = 0; k < im->node->n_in; k++) {
        PQ_TRY(pq_onnx_fold_take(im, k, &part, err));
        const size_t piece =
            out->count > 0 ? row / to.dim[axis] * part->shape.dim[axis] : 0;
        for (size_t at = 0; piece > 0 && at < 8 * part->count / piece; at++) {
            memcpy((char *)out->data + at * row + done,
                   (const char *)part->data + at * piece, piece);
        }
        done += piece;
        pq_tensor_free(&part);
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
cleanup:
    pq_tensor_free(&part);
    pq_tensor_free(&out);
    return st;
}

/* Numbers from a start on, in equal steps, to a limit that is not one of them. */
static pq_status range_from(pq_onnx_import *im, pq_err *err)
{
    const bool whole = pq_onnx_fold_is_whole(im, 0);
    double     v[3]; /* start, limit, step */
    double     n;
    pq_tensor *out = NULL;
    pq_status  st;

    for (size_t k = 0; k < 3; k++) {
        PQ_TRY(pq_onnx_number(im, k, &v[k], err));
        PQ_CHECK(fabs(v[k]) < MOST_RANGE, PQ_ERR_UNSUPPORTED,
                 "a range from, to or by %g is not read", v[k]);
    }
    n = v[2] != 0.0 ? fmax(ceil((v[1] - v[0]) / v[2]), 0.0) : (double)NAN;
    PQ_CHECK(n < MOST_RANGE, PQ_ERR_FORMAT, "a range from %g to %g by %g has no end",
             v[0], v[1], v[2]);
    PQ_TRY(pq_tensor_create(whole ? PQ_DTYPE_I64 : PQ_DTYPE_F64, PQ_SHAPE((size_t)n),
                            &out, err));
    for (size_t i = 0; i < out->count; i++) {
        const double x = v[0] + (double)i * v[2];
        if (whole) {
            pq_i64(out)[i] = (int64_t)x;
        } else {
            pq_f64(out)[i] = x;
        }
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
cleanup:
    pq_tensor_free(&out);
    return st;
}

/* Reshape, Squeeze, Unsqueeze: the same items. */
static pq_status reshape(pq_onnx_import *im, pq_err *err)
{
    const char *op = im->node->op;
    pq_tensor  *t  = NULL;
    int64_t     n[PQ_MAX_DIMS];
    size_t      count, known = 1;
    pq_shape    to = {0};
    pq_status   st;

    PQ_TRY(pq_onnx_fold_take(im, 0, &t, err));
    if (im->node->n_in > 1) {
        PQ_TRY(pq_onnx_numbers(im, 1, PQ_MAX_DIMS, n, &count, err));
    } else {
        PQ_TRY(pq_onnx_ints(im->node, "axes", PQ_MAX_DIMS, n, &count, err));
    }
    if (*op == 'R') {
        to.ndim = count;
        for (size_t i = 0; i < count; i++) {
            n[i] = n[i] == 0 && i < t->shape.ndim ? (int64_t)t->shape.dim[i] : n[i];
            known *= n[i] > 0 ? (size_t)n[i] : 1;
        }
        for (size_t i = 0; i < count; i++) {
            PQ_CHECK(n[i] >= 0 || (n[i] == -1 && known > 0), PQ_ERR_FORMAT,
                     "axis %zu is %lld long", i, (long long)n[i]);
            to.dim[i] = n[i] == -1 ? t->count / known : (size_t)n[i];
        }
    } else if (*op == 'U') {
        PQ_CHECK(count + t->shape.ndim <= PQ_MAX_DIMS, PQ_ERR_FORMAT, "too many axes");
        to.ndim = count + t->shape.ndim;
        for (size_t i = 0; i < count; i++) {
            n[i] = n[i] < 0 ? n[i] + (int64_t)to.ndim : n[i];
            PQ_CHECK(n[i] >= 0 && n[i] < (int64_t)to.ndim, PQ_ERR_FORMAT,
                     "axis %lld is not a new one", (long long)n[i]);
            to.dim[n[i]] = 1;
        }
        for (size_t i = 0, from = 0; i < to.ndim; i++) {
            to.dim[i] =
                to.dim[i] == 1 || from == t->shape.ndim ? 1 : t->shape.dim[from++];
        }
    } else {
        for (size_t i = 0; i < t->shape.ndim; i++) {
            bool gone = count == 0 && t->shape.dim[i] == 1;
            for (size_t k = 0; k < count; k++) {
                gone = gone || n[k] == (int64_t)i ||
                       n[k] == (int64_t)i - (int64_t)t->shape.ndim;
            }
            if (!gone) {
                to.dim[to.ndim++] = t->shape.dim[i];
            }
        }
    }
    PQ_TRY(pq_tensor_reshape(t, to, err));
    PQ_TRY(pq_onnx_fold_give(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status transpose(pq_onnx_import *im, pq_err *err)
{
    const pq_shape *s;
    pq_tensor      *t = NULL;
    int64_t         perm[PQ_MAX_DIMS];
    size_t          n, axis[PQ_MAX_DIMS];
    bool            seen[PQ_MAX_DIMS] = {false};
    pq_status       st;

    PQ_TRY(pq_onnx_constant_shape(im, 0, &s, err));
    PQ_TRY(pq_onnx_ints(im->node, "perm", PQ_MAX_DIMS, perm, &n, err));
    PQ_CHECK(n == 0 || n == s->ndim, PQ_ERR_FORMAT, "'perm' has %zu numbers, not %zu", n,
             s->ndim);
    for (size_t i = 0; i < s->ndim; i++) {
        const int64_t a = n == 0 ? (int64_t)(s->ndim - 1 - i) : perm[i];
        PQ_CHECK(a >= 0 && a < (int64_t)s->ndim && !seen[a], PQ_ERR_FORMAT,
                 "'perm' is no order of %zu axes", s->ndim);
        seen[a] = true;
        axis[i] = (size_t)a;
    }
    PQ_TRY(pq_onnx_constant(im, 0,
                            pq_onnx_fold_is_whole(im, 0) ? PQ_DTYPE_I64 : PQ_DTYPE_F32,
                            axis, &t, err));
    PQ_TRY(pq_onnx_fold_give(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

const pq_onnx_foldable pq_onnx_fold_moves[] = {
    {"Gather", 2, gather},     {"Expand", 2, expand},
    {"Slice", 1, slice},       {"Concat", 1, concat},
    {"Reshape", 2, reshape},   {"Squeeze", 1, reshape},
    {"Unsqueeze", 1, reshape}, {"Transpose", 1, transpose},
    {"Range", 3, range_from},  {0},
};
