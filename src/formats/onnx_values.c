/* Values of ONNX: constants, and activations with their axes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/visible.h"
#include "formats/onnx_import.h"

enum { NAME_BYTES = 200 };

static pq_onnx_value *value_of(const pq_onnx_import *im, size_t k)
{
    return &im->values[k < im->node->n_in ? im->node->in[k] : PQ_ONNX_NONE];
}

static const char *name_of(const pq_onnx_import *im, size_t k)
{
    return im->model->names.text[k < im->node->n_in ? im->node->in[k] : PQ_ONNX_NONE];
}

bool pq_onnx_given(const pq_onnx_import *im, size_t k)
{
    return k < im->node->n_in && im->node->in[k] != PQ_ONNX_NONE;
}

bool pq_onnx_is_constant(const pq_onnx_import *im, size_t k)
{
    const pq_onnx_value *v = value_of(im, k);

    return pq_onnx_given(im, k) && (v->raw != NULL || v->folded != NULL);
}

pq_status pq_onnx_active_rows(const pq_onnx_import *im, size_t k,
                              const pq_onnx_value **out, pq_err *err)
{
    const pq_onnx_value *v = value_of(im, k);
    pq_status            st;

    PQ_CHECK(pq_onnx_given(im, k), PQ_ERR_FORMAT, "input %zu is missing", k);
    PQ_CHECK(v->active, PQ_ERR_UNSUPPORTED,
             pq_onnx_is_constant(im, k)
                 ? "input '%s' is a constant; only activations are read there"
                 : "input '%s' is given by no earlier node",
             name_of(im, k));
    PQ_CHECK(
        v->part == PQ_ONNX_WHOLE, PQ_ERR_UNSUPPORTED,
        "input '%s' is a part of a formula with Erf, Exp, a comparison or a mean that "
        "is not GELU, ELU, LeakyRelu or LayerNormalization",
        name_of(im, k));
    PQ_CHECK(
        v->quant == NULL, PQ_ERR_UNSUPPORTED,
        "input '%s' is codes of QuantizeLinear, which only DequantizeLinear may read",
        name_of(im, k));
    *out = v;
cleanup:
    return st;
}

pq_status pq_onnx_active(const pq_onnx_import *im, size_t k, const pq_onnx_value **out,
                         pq_err *err)
{
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, k, &v, err));
    PQ_CHECK(
        v->dim[v->batch] == 1, PQ_ERR_UNSUPPORTED,
        "input '%s' has %zu rows of each event along the batch; dense layers, norms, "
        "functions and a Reshape back are read there",
        name_of(im, k), v->dim[v->batch]);
    *out = v;
cleanup:
    return st;
}

pq_status pq_onnx_constant_shape(const pq_onnx_import *im, size_t k, const pq_shape **out,
                                 pq_err *err)
{
    const pq_onnx_value *v = value_of(im, k);
    pq_status            st;

    PQ_CHECK(pq_onnx_is_constant(im, k), PQ_ERR_UNSUPPORTED,
             "input '%s' (%zu) is not a constant; only constants are read there",
             name_of(im, k), k);
    *out = v->raw != NULL ? &v->raw->shape : &v->folded->shape;
cleanup:
    return st;
}

pq_status pq_onnx_constant(const pq_onnx_import *im, size_t k, pq_dtype dtype,
                           const size_t *axis, pq_tensor **out, pq_err *err)
{
    const pq_onnx_value *v = value_of(im, k);
    const pq_shape      *shape;
    pq_tensor           *same = NULL, *turned = NULL;
    pq_status            st;

    PQ_TRY(pq_onnx_constant_shape(im, k, &shape, err));
    if (v->raw != NULL) {
        return pq_onnx_tensor_items(im->model, v->raw, dtype, axis, out, err);
    }
    PQ_TRY(pq_tensor_convert(v->folded, dtype, &same, err));
    if (axis != NULL) {
        PQ_TRY(pq_tensor_permute(same, axis, &turned, err));
        pq_tensor_free(&same);
        same = turned;
    }
    *out = same;
    same = NULL;
cleanup:
    pq_tensor_free(&same);
    return st;
}

pq_status pq_onnx_numbers(const pq_onnx_import *im, size_t k, size_t most, int64_t *out,
                          size_t *n, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, k, PQ_DTYPE_I64, NULL, &t, err));
    PQ_CHECK(t->count <= most, PQ_ERR_FORMAT,
             "input '%s' has %zu numbers; at most %zu are due", name_of(im, k), t->count,
             most);
    *n = t->count;
    if (t->count > 0) {
        memcpy(out, t->data, t->count * sizeof *out);
    }
cleanup:
    pq_tensor_free(&t);
    return st;
}

pq_status pq_onnx_number(const pq_onnx_import *im, size_t k, double *out, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_onnx_constant(im, k, PQ_DTYPE_F64, NULL, &t, err));
    PQ_CHECK(t->count == 1, PQ_ERR_FORMAT, "input '%s' has %zu numbers, not one",
             name_of(im, k), t->count);
    *out = pq_f64(t)[0];
cleanup:
    pq_tensor_free(&t);
    return st;
}

pq_status pq_onnx_axes(const pq_onnx_import *im, int64_t *axes, size_t *n, pq_err *err)
{
    if (pq_onnx_given(im, 1)) {
        return pq_onnx_numbers(im, 1, PQ_MAX_DIMS, axes, n, err);
    }
    return pq_onnx_ints(im->node, "axes", PQ_MAX_DIMS, axes, n, err);
}

pq_status pq_onnx_axis(const pq_onnx_value *v, int64_t axis, size_t *out, pq_err *err)
{
    const int64_t from_0 = axis < 0 ? axis + (int64_t)v->ndim : axis;
    pq_status     st;

    PQ_CHECK(from_0 >= 0 && from_0 < (int64_t)v->ndim, PQ_ERR_FORMAT,
             "axis %lld is not one of %zu axes", (long long)axis, v->ndim);
    PQ_CHECK((size_t)from_0 != v->batch, PQ_ERR_UNSUPPORTED,
             "axis %lld is that of the batch: events would mix", (long long)axis);
    *out = (size_t)from_0;
cleanup:
    return st;
}

size_t pq_onnx_held(const pq_onnx_value *v, size_t axis)
{
    for (size_t i = 0; i < v->n_axes; i++) {
        if (v->axis[i] == (int)axis) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool pq_onnx_is_straight(const pq_onnx_value *v)
{
    int last = -1;

    for (size_t i = 0; i < v->n_axes; i++) {
        if (v->axis[i] != PQ_ONNX_NO_AXIS && v->dim[v->axis[i]] != 1) {
            if (v->axis[i] < last) {
                return false;
            }
            last = v->axis[i];
        }
    }
    return v->order == NULL;
}

void pq_onnx_show(pq_onnx_import *im, size_t k)
{
    pq_onnx_value       *from = value_of(im, k);
    const pq_onnx_value *to =
        &im->values[im->node->n_out > 0 ? im->node->out[0] : PQ_ONNX_NONE];

    if (to->active && to->node == from->node && from->readers > 0) {
        from->readers--;
    }
}

bool pq_onnx_is_alone(const pq_onnx_import *im, const pq_onnx_value *v)
{
    size_t readers = 0;

    /* Several values may stand for one node: views of it. */
    for (size_t i = 0; i < im->model->names.n; i++) {
        readers += im->values[i].active && im->values[i].node == v->node
                       ? im->values[i].readers
                       : 0;
    }
    return readers == 1 &&
           pq_graph_readers(im->graph, v->node) <= (im->graph->output == v->node ? 1 : 0);
}

/* A name of ours: no slashes, nothing that a terminal obeys, not used yet. */
static pq_status make_name(const pq_onnx_import *im, const char *suffix, char *out,
                           size_t size, pq_err *err)
{
    const pq_onnx_node *n    = im->node;
    const char         *name = n->name;
    size_t              used = 0;
    uint32_t            code;
    pq_status           st;

    if (*name == '\0' && n->n_out > 0) {
        name = im->model->names.text[n->out[0]];
    }
    while (*name == '/' || *name == '.') {
        name++;
    }
    for (size_t step; *name != '\0' && used < NAME_BYTES; name += step) {
        step            = pq_utf8_read(name, &code);
        const bool fits = step > 0 && !pq_is_hidden(code) && *name != '/';
        step            = step > 0 ? step : 1;
        if (fits) {
            memcpy(out + used, name, step);
            used += step;
        } else {
            out[used++] = *name == '/' ? '.' : '_';
        }
    }
    out[used] = '\0';
    used +=
        (size_t)snprintf(out + used, size - used, "%s%s", used == 0 ? n->op : "", suffix);
    for (int turn = 0; pq_graph_find(im->graph, out) != SIZE_MAX; turn++) {
        PQ_CHECK(turn < 4 && used + 8 < size, PQ_ERR_FORMAT,
                 "too many nodes are named '%s'", out);
        used += (size_t)snprintf(out + used, size - used, ".%zu", im->graph->n_nodes);
    }
    st = PQ_OK;
cleanup:
    return st;
}

pq_status pq_onnx_add(pq_onnx_import *im, const char *suffix, pq_layer **layer,
                      size_t n_inputs, const size_t *inputs, size_t *node, pq_err *err)
{
    const char *names[PQ_NODE_INPUTS];
    char        name[2 * NAME_BYTES];
    pq_layer   *taken = *layer;
    pq_status   st;

    PQ_TRY(make_name(im, suffix, name, sizeof name, err));
    for (size_t i = 0; i < n_inputs; i++) {
        names[i] = im->graph->nodes[inputs[i]].name;
    }
    *layer = NULL;
    PQ_TRY(pq_graph_add(im->graph, name, taken, n_inputs, names, err));
    *node = im->graph->n_nodes - 1;
    PQ_TRY(pq_graph_check_node(im->graph, *node, err));
cleanup:
    pq_layer_free(layer);
    return st;
}

pq_status pq_onnx_set(pq_layer *layer, const char *attribute, double value, pq_err *err)
{
    char text[32];

    return pq_layer_set(layer, attribute, pq_real_text(value, text, sizeof text), err);
}

pq_status pq_onnx_add_plain(pq_onnx_import *im, const char *suffix, const char *kind,
                            const char *attribute, double value, size_t input,
                            size_t *node, pq_err *err)
{
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (attribute != NULL) {
        PQ_TRY(pq_onnx_set(layer, attribute, value, err));
    }
    PQ_TRY(pq_onnx_add(im, suffix, &layer, 1, &input, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

pq_status pq_onnx_add_reshape(pq_onnx_import *im, const char *suffix, const pq_shape *to,
                              size_t input, size_t *node, pq_err *err)
{
    pq_layer *layer = NULL;
    char      text[192];
    pq_status st;

    if (pq_shape_equal(to, &im->graph->nodes[input].shape)) {
        *node = input;
        return PQ_OK;
    }
    PQ_TRY(pq_layer_create(to->ndim == 1 ? "flatten" : "reshape", &layer, err));
    if (to->ndim != 1) {
        PQ_TRY(pq_layer_set(layer, "shape", pq_shape_text(to, text, sizeof text), err));
    }
    PQ_TRY(pq_onnx_add(im, suffix, &layer, 1, &input, node, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

pq_status pq_onnx_give(pq_onnx_import *im, size_t k, pq_onnx_value *value, pq_err *err)
{
    pq_onnx_value *to = NULL;
    pq_status      st = PQ_OK;

    if (k >= im->node->n_out || im->node->out[k] == PQ_ONNX_NONE) {
        goto cleanup;
    }
    to = &im->values[im->node->out[k]];
    PQ_CHECK(!to->active && to->raw == NULL && to->folded == NULL, PQ_ERR_FORMAT,
             "value '%s' is given twice", im->model->names.text[im->node->out[k]]);
    value->readers = to->readers;
    *to            = *value;
    *value         = (pq_onnx_value){0};
cleanup:
    pq_tensor_free(&value->folded);
    pq_free(value->order);
    pq_quant_free(&value->quant);
    pq_quant_free(&value->wide);
    *value = (pq_onnx_value){0};
    return st;
}

static pq_status copy_order(const pq_onnx_import *im, const pq_onnx_value *from,
                            pq_onnx_value *to, pq_err *err)
{
    size_t    count = 0;
    pq_status st    = PQ_OK;

    if (from->order != NULL) {
        (void)pq_shape_count(&im->graph->nodes[from->node].shape, &count);
        PQ_NEW(to->order, count);
        memcpy(to->order, from->order, count * sizeof *to->order);
    }
cleanup:
    return st;
}

pq_status pq_onnx_give_like(pq_onnx_import *im, size_t k, const pq_onnx_value *like,
                            size_t node, pq_err *err)
{
    pq_onnx_value v = *like;
    pq_status     st;

    v.order  = NULL;
    v.quant  = NULL;
    v.wide   = NULL;
    v.folded = NULL;
    v.part   = PQ_ONNX_WHOLE;
    v.node   = node;
    v.other  = 0;
    v.factor = 0.0;
    PQ_TRY(copy_order(im, like, &v, err));
    for (size_t i = 0; i < v.n_axes; i++) {
        if (v.axis[i] != PQ_ONNX_NO_AXIS) {
            v.dim[v.axis[i]] = im->graph->nodes[node].shape.dim[i];
        }
    }
    PQ_TRY(pq_onnx_give(im, k, &v, err));
cleanup:
    pq_free(v.order);
    return st;
}

/* Writes ONNX's axes longer than 1 in the order of a list. */
static size_t long_axes(const pq_onnx_value *v, size_t n, const int *axis, int *out)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        if (axis[i] != PQ_ONNX_NO_AXIS && v->dim[axis[i]] != 1) {
            out[m++] = axis[i];
        }
    }
    return m;
}

pq_status pq_onnx_want(pq_onnx_import *im, const pq_onnx_value *v, size_t n,
                       const int *axis, size_t *node, pq_err *err)
{
    int       have[PQ_MAX_DIMS], due[PQ_MAX_DIMS];
    size_t    m  = long_axes(v, v->n_axes, v->axis, have);
    pq_shape  to = {.ndim = n};
    pq_status st;

    PQ_CHECK(v->batch == 0, PQ_ERR_UNSUPPORTED,
             "the batch is axis %zu of its input, not the first", v->batch);
    PQ_CHECK(m == long_axes(v, n, axis, due) &&
                 (m == 0 || memcmp(have, due, m * sizeof *due) == 0) && v->order == NULL,
             PQ_ERR_UNSUPPORTED,
             "its input would have to be transposed, for which there is no layer");
    for (size_t i = 0; i < n; i++) {
        to.dim[i] = axis[i] == PQ_ONNX_NO_AXIS ? 1 : v->dim[axis[i]];
    }
    PQ_TRY(pq_onnx_add_reshape(im, ".in", &to, v->node, node, err));
cleanup:
    return st;
}

pq_status pq_onnx_want_image(pq_onnx_import *im, const pq_onnx_value *v, size_t *node,
                             pq_err *err)
{
    const int image[] = {2, 3, 1}, sequence[] = {PQ_ONNX_NO_AXIS, 2, 1};
    pq_status st;

    PQ_CHECK(v->ndim == 3 || v->ndim == 4, PQ_ERR_UNSUPPORTED,
             "its input has %zu axes; images of 4 and sequences of 3 are read", v->ndim);
    PQ_TRY(pq_onnx_want(im, v, 3, v->ndim == 4 ? image : sequence, node, err));
cleanup:
    return st;
}

pq_status pq_onnx_give_image(pq_onnx_import *im, const pq_onnx_value *v, size_t node,
                             pq_err *err)
{
    const pq_shape *s      = &im->graph->nodes[node].shape;
    const bool      is_map = v->ndim == 4;
    pq_onnx_value   out    = {.active = true, .node = node, .ndim = v->ndim, .n_axes = 3};

    out.dim[0]  = 1;
    out.dim[1]  = s->dim[2];
    out.dim[2]  = is_map ? s->dim[0] : s->dim[1];
    out.dim[3]  = is_map ? s->dim[1] : 0;
    out.axis[0] = is_map ? 2 : PQ_ONNX_NO_AXIS;
    out.axis[1] = is_map ? 3 : 2;
    out.axis[2] = 1;
    return pq_onnx_give(im, 0, &out, err);
}

pq_status pq_onnx_add_affine(pq_onnx_import *im, const char *suffix, pq_tensor *gamma,
                             pq_tensor *beta, size_t input, size_t *node, pq_err *err)
{
    const pq_shape shape = gamma->shape;
    pq_layer      *layer = NULL;
    pq_tensor     *mean = NULL, *variance = NULL, *held;
    pq_status      st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &mean, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &variance, err));
    for (size_t i = 0; i < variance->count; i++) {
        pq_f32(variance)[i] = 1.0F;
    }
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_layer_set(layer, "epsilon", "0", err));
#define GIVE(name, tensor)                                                               \
    held     = (tensor);                                                                 \
    (tensor) = NULL;                                                                     \
    PQ_TRY(pq_layer_add_weight(layer, (name), held, err))
    GIVE("gamma", gamma);
    GIVE("beta", beta);
    GIVE("mean", mean);
    GIVE("variance", variance);
#undef GIVE
    PQ_TRY(pq_onnx_add(im, suffix, &layer, 1, &input, node, err));
cleanup:
    pq_layer_free(&layer);
    pq_tensor_free(&mean);
    pq_tensor_free(&variance);
    pq_tensor_free(&gamma);
    pq_tensor_free(&beta);
    return st;
}
