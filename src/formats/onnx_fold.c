/* What can be computed while reading: constants, and shapes that a node asks for. */
#include <math.h>
#include <string.h>

#include "formats/onnx_fold.h"

pq_status pq_onnx_fold_give(pq_onnx_import *im, pq_tensor **t, pq_err *err)
{
    pq_onnx_value v = {.folded = *t};

    *t = NULL;
    return pq_onnx_give(im, 0, &v, err);
}

bool pq_onnx_fold_is_whole(const pq_onnx_import *im, size_t k)
{
    const pq_onnx_value *v = &im->values[im->node->in[k]];

    return v->raw != NULL
               ? v->raw->type != PQ_ONNX_FLOAT && v->raw->type != PQ_ONNX_DOUBLE &&
                     v->raw->type != PQ_ONNX_FLOAT16 && v->raw->type != PQ_ONNX_BFLOAT16
               : v->folded != NULL && v->folded->dtype == PQ_DTYPE_I64;
}

pq_status pq_onnx_fold_take(const pq_onnx_import *im, size_t k, pq_tensor **out,
                            pq_err *err)
{
    return pq_onnx_constant(im, k,
                            pq_onnx_fold_is_whole(im, k) ? PQ_DTYPE_I64 : PQ_DTYPE_F64,
                            NULL, out, err);
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
        pq_i64(v.folded)[0] = number;
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
        pq_i64(t)[i - from] = !active                 ? (int64_t)s->dim[i]
                              : (size_t)i != v->batch ? (int64_t)v->dim[i]
                              : im->batch > 0         ? (int64_t)(im->batch * v->dim[i])
                                                      : PQ_ONNX_BATCH(v->dim[i]);
    }
    PQ_TRY(pq_onnx_fold_give(im, &t, err));
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
    PQ_TRY(pq_onnx_fold_give(im, &t, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&value);
    return st;
}

/* Constant 0 as items of a type. */
static pq_status cast_to(pq_onnx_import *im, int64_t to, pq_err *err)
{
    const bool real =
        to == PQ_ONNX_FLOAT || to == PQ_ONNX_DOUBLE || to == PQ_ONNX_FLOAT16;
    pq_tensor *t = NULL, *out = NULL;
    pq_status  st;

    PQ_CHECK(real || to == PQ_ONNX_INT64 || to == PQ_ONNX_INT32, PQ_ERR_UNSUPPORTED,
             "constants are cast to %s; floats, int32 and int64 are read",
             pq_onnx_type_name((int)to));
    PQ_TRY(pq_onnx_fold_take(im, 0, &t, err));
    if (real == (t->dtype == PQ_DTYPE_F64)) {
        PQ_TRY(pq_onnx_fold_give(im, &t, err));
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_create(real ? PQ_DTYPE_F64 : PQ_DTYPE_I64, t->shape, &out, err));
    for (size_t i = 0; i < t->count; i++) {
        if (real) {
            pq_f64(out)[i] = (double)pq_i64(t)[i];
        } else {
            PQ_CHECK(fabs(pq_f64(t)[i]) < 9e15, PQ_ERR_RANGE, "%g is no whole number",
                     pq_f64(t)[i]);
            pq_i64(out)[i] = (int64_t)pq_f64(t)[i];
        }
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&out);
    return st;
}

static pq_status cast(pq_onnx_import *im, pq_err *err)
{
    int64_t   to;
    pq_status st;

    PQ_TRY(pq_onnx_int(im->node, "to", 0, &to, err));
    PQ_TRY(cast_to(im, to, err));
cleanup:
    return st;
}

/* As the type of input 1, of which nothing else is asked: activations are floats. */
static pq_status cast_like(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *like = &im->values[im->node->in[1]];
    int64_t              to   = PQ_ONNX_FLOAT;

    if (like->raw != NULL) {
        to = like->raw->type;
    } else if (like->folded != NULL && like->folded->dtype == PQ_DTYPE_I64) {
        to = PQ_ONNX_INT64;
    }
    return cast_to(im, to, err);
}

static double real_at(const pq_tensor *t, size_t i)
{
    return t->dtype == PQ_DTYPE_I64 ? (double)pq_i64(t)[i] : pq_f64(t)[i];
}

/* Add, Sub, Mul, Div of constants of one shape, or with one number. */
static pq_status arithmetic(pq_onnx_import *im, pq_err *err)
{
    const char *op = im->node->op;
    pq_tensor  *a = NULL, *b = NULL, *out = NULL;
    pq_status   st;

    PQ_TRY(pq_onnx_fold_take(im, 0, &a, err));
    PQ_TRY(pq_onnx_fold_take(im, 1, &b, err));
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
            pq_i64(out)[i] = (int64_t)z;
        }
    }
    PQ_TRY(pq_onnx_fold_give(im, &out, err));
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
    PQ_TRY(pq_onnx_fold_give(im, &t, err));
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
    if (v->wide != NULL) {
        PQ_TRY(pq_quant_clone(v->wide, &out.wide, err));
    }
    PQ_TRY(pq_onnx_give(im, 0, &out, err));
cleanup:
    pq_tensor_free(&out.folded);
    pq_quant_free(&out.quant);
    pq_quant_free(&out.wide);
    return st;
}

static const pq_onnx_foldable computing[] = {
    {"Identity", 1, identity}, {"Cast", 1, cast},
    {"Add", 2, arithmetic},    {"Sub", 2, arithmetic},
    {"Mul", 2, arithmetic},    {"Div", 2, arithmetic},
    {"Sqrt", 1, root},         {0},
};

pq_status pq_onnx_fold(pq_onnx_import *im, bool *done, pq_err *err)
{
    static const pq_onnx_foldable *const tables[] = {computing, pq_onnx_fold_moves};
    const pq_onnx_node                  *n        = im->node;
    bool                                 all      = n->n_in > 0;

    *done = true;
    if (*n->domain != '\0') {
        *done = false;
        return PQ_OK;
    }
    if (strcmp(n->op, "Constant") == 0) {
        return constant(im, err);
    }
    if (strcmp(n->op, "Shape") == 0 && n->n_in == 1 &&
        (pq_onnx_is_constant(im, 0) ||
         (im->values[n->in[0]].active && im->values[n->in[0]].part == PQ_ONNX_WHOLE))) {
        return shape_of(im, err);
    }
    if (strcmp(n->op, "CastLike") == 0 && n->n_in == 2 && pq_onnx_is_constant(im, 0) &&
        (pq_onnx_is_constant(im, 1) || im->values[n->in[1]].active)) {
        return cast_like(im, err);
    }
    for (size_t k = 0; k < n->n_in; k++) {
        all = all && (pq_onnx_is_constant(im, k) || (k > 0 && !pq_onnx_given(im, k)));
    }
    if (all && strcmp(n->op, "ConstantOfShape") == 0) {
        return constant_of_shape(im, err);
    }
    for (size_t i = 0; all && i < 2; i++) {
        for (const pq_onnx_foldable *f = tables[i]; f->name != NULL; f++) {
            if (strcmp(f->name, n->op) == 0 && n->n_in >= f->inputs) {
                return f->compute(im, err);
            }
        }
    }
    *done = false;
    return PQ_OK;
}
