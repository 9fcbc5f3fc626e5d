/* What can be computed while reading: constants, and shapes that a node asks for. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

static pq_status give_tensor(pq_onnx_import *im, pq_tensor **t, pq_err *err)
{
    pq_onnx_value v = {.folded = *t};

    *t = NULL;
    return pq_onnx_give(im, 0, &v, err);
}

/* False of what is no constant. */
static bool is_whole(const pq_onnx_import *im, size_t k)
{
    const pq_onnx_value *v = &im->values[im->node->in[k]];

    return v->raw != NULL
               ? v->raw->type != PQ_ONNX_FLOAT && v->raw->type != PQ_ONNX_DOUBLE &&
                     v->raw->type != PQ_ONNX_FLOAT16 && v->raw->type != PQ_ONNX_BFLOAT16
               : v->folded != NULL && v->folded->dtype == PQ_DTYPE_I64;
}

static pq_status take(const pq_onnx_import *im, size_t k, pq_tensor **out, pq_err *err)
{
    return pq_onnx_constant(im, k, is_whole(im, k) ? PQ_DTYPE_I64 : PQ_DTYPE_F64, NULL,
                            out, err);
}

static int64_t *whole(const pq_tensor *t)
{
    return t->data;
}

/* Copy of some items, with another shape. */
static pq_status pick(const pq_tensor *t, size_t n, const size_t *items, pq_shape shape,
                      pq_tensor **out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_tensor_create(t->dtype, shape, out, err));
    for (size_t i = 0; i < n; i++) {
        memcpy((char *)(*out)->data + 8 * i, (const char *)t->data + 8 * items[i], 8);
    }
cleanup:
    return st;
}

static pq_status constant(pq_onnx_import *im, pq_err *err)
{
    pq_onnx_value v = {0};
    pq_span       message;
    double        real;
    int64_t       number;
    pq_status     st;

    PQ_TRY(pq_onnx_attribute_tensor(im->node, "value", &message, err));
    if (message.n > 0) {
        PQ_TRY(pq_onnx_tensor_keep(im->model, message, &v.raw, err));
    } else if (pq_onnx_has(im->node, "value_floats")) {
        PQ_TRY(pq_onnx_reals(im->node, "value_floats", &v.folded, err));
    } else if (pq_onnx_has(im->node, "value_ints")) {
        int64_t ints[64];
        size_t  n;
        PQ_TRY(pq_onnx_ints(im->node, "value_ints", 64, ints, &n, err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_I64, PQ_SHAPE(n), &v.folded, err));
        memcpy(v.folded->data, ints, n * sizeof *ints);
    } else if (pq_onnx_has(im->node, "value_float")) {
        PQ_TRY(pq_onnx_real(im->node, "value_float", 0.0, &real, err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, (pq_shape){0}, &v.folded, err));
        pq_f64(v.folded)[0] = real;
    } else {
        PQ_CHECK(pq_onnx_has(im->node, "value_int"), PQ_ERR_UNSUPPORTED,
                 "its value is no tensor and no numbers");
        PQ_TRY(pq_onnx_int(im->node, "value_int", 0, &number, err));
        PQ_TRY(pq_tensor_create(PQ_DTYPE_I64, (pq_shape){0}, &v.folded, err));
        whole(v.folded)[0] = number;
    }
    PQ_TRY(pq_onnx_give(im, 0, &v, err));
cleanup:
    pq_tensor_free(&v.folded);
    return st;
}

/* Lengths of a value's axes; the batch stays a mark. */
static pq_status shape_of(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v      = &im->values[im->node->in[0]];
    const bool           active = v->active;
    const pq_shape      *s      = NULL;
    pq_tensor           *t      = NULL;
    int64_t              from, to;
    pq_status            st;

    PQ_TRY(active ? PQ_OK : pq_onnx_constant_shape(im, 0, &s, err));
    const int64_t n = (int64_t)(active ? v->ndim : s->ndim);
    PQ_TRY(pq_onnx_int(im->node, "start", 0, &from, err));
    PQ_TRY(pq_onnx_int(im->node, "end", n, &to, err));
    from = from < 0 ? from + n : from;
    to   = to < 0 ? to + n : to;
    from = from < 0 ? 0 : from > n ? n : from;
    to   = to < from ? from : to > n ? n : to;
    PQ_TRY(pq_tensor_create(PQ_DTYPE_I64, PQ_SHAPE((size_t)(to - from)), &t, err));
    for (int64_t i = from; i < to; i++) {
        whole(t)[i - from] = !active                 ? (int64_t)s->dim[i]
                             : (size_t)i != v->batch ? (int64_t)v->dim[i]
                             : im->batch > 0         ? (int64_t)im->batch
                                                     : PQ_ONNX_BATCH;
    }
    PQ_TRY(give_tensor(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status constant_of_shape(pq_onnx_import *im, pq_err *err)
{
    int64_t               dim[PQ_MAX_DIMS];
    pq_shape              shape = {0};
    pq_tensor            *t = NULL, *value = NULL;
    const pq_onnx_tensor *raw;
    pq_span               message;
    pq_status             st;

    PQ_TRY(pq_onnx_numbers(im, 0, PQ_MAX_DIMS, dim, &shape.ndim, err));
    for (size_t i = 0; i < shape.ndim; i++) {
        PQ_CHECK(dim[i] >= 0, PQ_ERR_UNSUPPORTED, "axis %zu is open or below 0", i);
        shape.dim[i] = (size_t)dim[i];
    }
    PQ_TRY(pq_onnx_attribute_tensor(im->node, "value", &message, err));
    if (message.n > 0) {
        PQ_TRY(pq_onnx_tensor_keep(im->model, message, &raw, err));
        const bool is_real = raw->type == PQ_ONNX_FLOAT || raw->type == PQ_ONNX_DOUBLE ||
                             raw->type == PQ_ONNX_FLOAT16;
        PQ_TRY(pq_onnx_tensor_items(im->model, raw, is_real ? PQ_DTYPE_F64 : PQ_DTYPE_I64,
                                    NULL, &value, err));
        PQ_CHECK(value->count == 1, PQ_ERR_FORMAT, "its value has %zu items",
                 value->count);
    }
    PQ_TRY(pq_tensor_create(value != NULL ? value->dtype : PQ_DTYPE_F64, shape, &t, err));
    for (size_t i = 0; value != NULL && i < t->count; i++) {
        memcpy((char *)t->data + 8 * i, value->data, 8);
    }
    PQ_TRY(give_tensor(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&value);
    return st;
}

static pq_status cast(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL, *out = NULL;
    int64_t    to;
    bool       real;
    pq_status  st;

    PQ_TRY(pq_onnx_int(im->node, "to", 0, &to, err));
    real = to == PQ_ONNX_FLOAT || to == PQ_ONNX_DOUBLE || to == PQ_ONNX_FLOAT16;
    PQ_CHECK(real || to == PQ_ONNX_INT64 || to == PQ_ONNX_INT32, PQ_ERR_UNSUPPORTED,
             "constants are cast to %s; floats, int32 and int64 are read",
             pq_onnx_type_name((int)to));
    PQ_TRY(take(im, 0, &t, err));
    if (real == (t->dtype == PQ_DTYPE_F64)) {
        PQ_TRY(give_tensor(im, &t, err));
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_create(real ? PQ_DTYPE_F64 : PQ_DTYPE_I64, t->shape, &out, err));
    for (size_t i = 0; i < t->count; i++) {
        if (real) {
            pq_f64(out)[i] = (double)whole(t)[i];
        } else {
            PQ_CHECK(fabs(pq_f64(t)[i]) < 9e15, PQ_ERR_RANGE, "%g is no whole number",
                     pq_f64(t)[i]);
            whole(out)[i] = (int64_t)pq_f64(t)[i];
        }
    }
    PQ_TRY(give_tensor(im, &out, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&out);
    return st;
}

/* Entries of a list. */
static pq_status gather(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL, *at = NULL, *out = NULL;
    int64_t    axis;
    size_t    *items = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_int(im->node, "axis", 0, &axis, err));
    PQ_TRY(take(im, 0, &t, err));
    PQ_TRY(pq_onnx_constant(im, 1, PQ_DTYPE_I64, NULL, &at, err));
    PQ_CHECK(t->shape.ndim == 1 && (axis == 0 || axis == -1), PQ_ERR_UNSUPPORTED,
             "entries of a constant of %zu axes are not read", t->shape.ndim);
    PQ_NEW(items, at->count);
    for (size_t i = 0; i < at->count; i++) {
        const int64_t k = whole(at)[i] + (whole(at)[i] < 0 ? (int64_t)t->count : 0);
        PQ_CHECK(k >= 0 && k < (int64_t)t->count, PQ_ERR_RANGE,
                 "entry %lld is not one of %zu", (long long)whole(at)[i], t->count);
        items[i] = (size_t)k;
    }
    PQ_TRY(pick(t, at->count, items, at->shape, &out, err));
    PQ_TRY(give_tensor(im, &out, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&at);
    pq_tensor_free(&out);
    pq_free(items);
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

/* A part of a constant. */
static pq_status slice(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL, *out = NULL;
    range      part[PQ_MAX_DIMS];
    size_t    *items = NULL, count = 1;
    pq_shape   to = {0};
    pq_status  st;

    PQ_TRY(take(im, 0, &t, err));
    PQ_TRY(read_ranges(im, &t->shape, part, err));
    to.ndim = t->shape.ndim;
    for (size_t d = 0; d < to.ndim; d++) {
        to.dim[d] = part[d].n;
        count *= part[d].n;
    }
    PQ_NEW(items, count);
    for (size_t i = 0; i < count; i++) {
        size_t left = i, step = 1;
        for (size_t d = to.ndim; d-- > 0;) {
            const int64_t at = part[d].from + (int64_t)(left % to.dim[d]) * part[d].step;
            items[i] += (size_t)at * step;
            left /= to.dim[d];
            step *= t->shape.dim[d];
        }
    }
    PQ_TRY(pick(t, count, items, to, &out, err));
    PQ_TRY(give_tensor(im, &out, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&out);
    pq_free(items);
    return st;
}

/* Lists one behind the other. */
static pq_status concat(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *part = NULL, *out = NULL;
    size_t     total = 0, at = 0;
    bool       ints = true;
    pq_status  st;

    for (size_t k = 0; k < im->node->n_in; k++) {
        const pq_shape *s;
        PQ_TRY(pq_onnx_constant_shape(im, k, &s, err));
        PQ_CHECK(s->ndim == 1, PQ_ERR_UNSUPPORTED, "constants of %zu axes are not joined",
                 s->ndim);
        total += s->dim[0];
        ints = ints && is_whole(im, k);
    }
    PQ_TRY(
        pq_tensor_create(ints ? PQ_DTYPE_I64 : PQ_DTYPE_F64, PQ_SHAPE(total), &out, err));
    for (size_t k = 0; k < im->node->n_in; k++) {
        PQ_TRY(take(im, k, &part, err));
        PQ_CHECK(part->dtype == out->dtype, PQ_ERR_FORMAT, "its inputs have two types");
        if (part->count > 0) {
            memcpy((char *)out->data + 8 * at, part->data, 8 * part->count);
        }
        at += part->count;
        pq_tensor_free(&part);
    }
    PQ_TRY(give_tensor(im, &out, err));
cleanup:
    pq_tensor_free(&part);
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

    PQ_TRY(take(im, 0, &t, err));
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
    PQ_TRY(give_tensor(im, &t, err));
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
    PQ_TRY(pq_onnx_constant(im, 0, is_whole(im, 0) ? PQ_DTYPE_I64 : PQ_DTYPE_F32, axis,
                            &t, err));
    PQ_TRY(give_tensor(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static double real_at(const pq_tensor *t, size_t i)
{
    return t->dtype == PQ_DTYPE_I64 ? (double)whole(t)[i] : pq_f64(t)[i];
}

/* Add, Sub, Mul, Div of constants of one shape, or with one number. */
static pq_status arithmetic(pq_onnx_import *im, pq_err *err)
{
    const char *op = im->node->op;
    pq_tensor  *a = NULL, *b = NULL, *out = NULL;
    pq_status   st;

    PQ_TRY(take(im, 0, &a, err));
    PQ_TRY(take(im, 1, &b, err));
    PQ_CHECK(a->dtype == b->dtype, PQ_ERR_FORMAT, "its inputs have two types");
    PQ_CHECK(b->count == 1 || a->count == 1 || pq_shape_equal(&a->shape, &b->shape),
             PQ_ERR_UNSUPPORTED, "constants of two shapes are not computed with");
    PQ_TRY(pq_tensor_create(a->dtype, a->count == 1 ? b->shape : a->shape, &out, err));
    for (size_t i = 0; i < out->count; i++) {
        const size_t ia = a->count == 1 ? 0 : i, ib = b->count == 1 ? 0 : i;
        const double x = real_at(a, ia), y = real_at(b, ib);
        const double z = *op == 'A'   ? x + y
                         : *op == 'S' ? x - y
                         : *op == 'M' ? x * y
                                      : x / y;
        PQ_CHECK(out->dtype == PQ_DTYPE_F64 ||
                     (fabs(x) < 9e15 && fabs(y) < 9e15 && fabs(z) < 9e15),
                 PQ_ERR_UNSUPPORTED,
                 "it computes with the number of events, or divides "
                 "by 0");
        if (out->dtype == PQ_DTYPE_F64) {
            pq_f64(out)[i] = z;
        } else {
            whole(out)[i] = (int64_t)z;
        }
    }
    PQ_TRY(give_tensor(im, &out, err));
cleanup:
    pq_tensor_free(&a);
    pq_tensor_free(&b);
    pq_tensor_free(&out);
    return st;
}

static pq_status root(pq_onnx_import *im, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, 0, PQ_DTYPE_F64, NULL, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(t)[i] = sqrt(pq_f64(t)[i]);
    }
    PQ_TRY(give_tensor(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

/* The same constant under another name. */
static pq_status identity(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v   = &im->values[im->node->in[0]];
    pq_onnx_value        out = {.raw = v->raw};
    pq_status            st;

    if (v->folded != NULL) {
        PQ_TRY(pq_tensor_clone(v->folded, &out.folded, err));
    }
    if (v->quant != NULL) {
        PQ_TRY(pq_quant_clone(v->quant, &out.quant, err));
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&out.folded);
    pq_quant_free(&out.quant);
    return st;
}

static const struct {
    const char *name;
    size_t      inputs; /* least */
    pq_status (*compute)(pq_onnx_import *im, pq_err *err);
} foldable[] = {
    {"Identity", 1, identity}, {"Cast", 1, cast},         {"Gather", 2, gather},
    {"Slice", 1, slice},       {"Concat", 1, concat},     {"Reshape", 2, reshape},
    {"Squeeze", 1, reshape},   {"Unsqueeze", 1, reshape}, {"Transpose", 1, transpose},
    {"Add", 2, arithmetic},    {"Sub", 2, arithmetic},    {"Mul", 2, arithmetic},
    {"Div", 2, arithmetic},    {"Sqrt", 1, root},
};

pq_status pq_onnx_fold(pq_onnx_import *im, bool *done, pq_err *err)
{
    const pq_onnx_node *n   = im->node;
    bool                all = n->n_in > 0;

    *done = true;
    if (*n->domain != '\0') {
        *done = false;
        return PQ_OK;
    }
    if (strcmp(n->op, "Constant") == 0) {
        return constant(im, err);
    }
    if (strcmp(n->op, "Shape") == 0 && n->n_in == 1 &&
        (pq_onnx_is_constant(im, 0) || im->values[n->in[0]].active)) {
        return shape_of(im, err);
    }
    for (size_t k = 0; k < n->n_in; k++) {
        all = all && (pq_onnx_is_constant(im, k) || (k > 0 && !pq_onnx_given(im, k)));
    }
    if (all && strcmp(n->op, "ConstantOfShape") == 0) {
        return constant_of_shape(im, err);
    }
    for (size_t i = 0; all && i < sizeof foldable / sizeof *foldable; i++) {
        if (strcmp(foldable[i].name, n->op) == 0 && n->n_in >= foldable[i].inputs) {
            return foldable[i].compute(im, err);
        }
    }
    *done = false;
    return PQ_OK;
}
