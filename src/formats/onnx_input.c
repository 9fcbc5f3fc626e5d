/* Inputs of ONNX's graph, and which of their axes are those of an image. */
#include <string.h>

#include "core/memory.h"
#include "formats/onnx_import.h"

/* Where the axes of an input stand in a value made of it. */
typedef struct {
    bool   known;
    size_t axis[PQ_MAX_DIMS];
} track;

static const char *const image_operators[] = {"Conv",
                                              "MaxPool",
                                              "AveragePool",
                                              "GlobalAveragePool",
                                              "GlobalMaxPool",
                                              "BatchNormalization",
                                              NULL};
static const char *const same_axes[]       = {"Relu",
                                              "LeakyRelu",
                                              "Elu",
                                              "Gelu",
                                              "Sigmoid",
                                              "Tanh",
                                              "Softplus",
                                              "LayerNormalization",
                                              "Softmax",
                                              "Clip",
                                              "Add",
                                              "Mul",
                                              "Sub",
                                              "Div",
                                              "HardSigmoid",
                                              "HardSwish",
                                              "Neg",
                                              "Sign",
                                              "PRelu",
                                              "Pad",
                                              "Identity",
                                              "Dropout",
                                              "Cast",
                                              "QuantizeLinear",
                                              "DequantizeLinear",
                                              "Quant",
                                              "IntQuant",
                                              "BipolarQuant",
                                              NULL};

static bool is_in(const char *const *list, const char *name)
{
    while (*list != NULL && strcmp(*list, name) != 0) {
        list++;
    }
    return *list != NULL;
}

/* Follows an input of 4 axes to the first operator of images. @return the input's axes
 * that are height, width and channels there, or false */
static bool find_image(const pq_onnx_model *m, size_t input, track *tracks, int *axis)
{
    tracks[input] = (track){true, {0, 1, 2, 3}};
    for (size_t i = 0; i < m->n_nodes; i++) {
        const pq_onnx_node *n    = &m->nodes[i];
        const track        *from = NULL;
        track               to   = {true, {0}};
        int64_t             perm[PQ_MAX_DIMS];
        size_t              n_perm = 0;
        for (size_t k = 0; from == NULL && k < n->n_in; k++) {
            from = tracks[n->in[k]].known && n->in[k] != 0 ? &tracks[n->in[k]] : NULL;
        }
        if (from == NULL || n->n_out == 0) {
            continue;
        }
        if (is_in(image_operators, n->op)) {
            axis[0] = (int)from->axis[2];
            axis[1] = (int)from->axis[3];
            axis[2] = (int)from->axis[1];
            return from->axis[0] == 0;
        }
        to = *from;
        if (strcmp(n->op, "Transpose") == 0) {
            to.known =
                pq_onnx_ints(n, "perm", PQ_MAX_DIMS, perm, &n_perm, NULL) == PQ_OK &&
                n_perm == 4;
            for (size_t k = 0; to.known && k < 4; k++) {
                to.known   = perm[k] >= 0 && perm[k] < 4;
                to.axis[k] = to.known ? from->axis[perm[k]] : 0;
            }
        } else {
            to.known = is_in(same_axes, n->op);
        }
        tracks[n->out[0]] = to;
    }
    return false;
}

/* Images are held [height, width, channels]: which axes those are, the file's first
 * operator of images says; without one, who wrote it. */
static pq_status choose_axes(pq_onnx_import *im, const pq_onnx_port *port,
                             pq_onnx_value *v, pq_err *err)
{
    const bool torch   = strcmp(im->model->producer, "pytorch") == 0;
    track     *tracks  = NULL;
    int        axis[3] = {2, 3, 1};
    pq_status  st;

    v->n_axes = port->ndim - 1;
    for (size_t i = 0; i < v->n_axes; i++) {
        v->axis[i] = (int)i + 1;
    }
    if (port->ndim == 1) { /* one number an event */
        v->n_axes  = 1;
        v->axis[0] = PQ_ONNX_NO_AXIS;
    }
    PQ_NEW(tracks, im->model->names.n);
    if (port->ndim == 4 && (find_image(im->model, port->name, tracks, axis) || torch)) {
        memcpy(v->axis, axis, sizeof axis);
    } else if (port->ndim == 3) {
        bool sequence = false; /* [batch, channels, length] where a Conv reads it */
        for (size_t i = 0; i < im->model->n_nodes; i++) {
            const pq_onnx_node *n = &im->model->nodes[i];
            sequence              = sequence || (n->n_in > 0 && n->in[0] == port->name &&
                                    is_in(image_operators, n->op));
        }
        v->axis[0] = sequence ? 2 : 1;
        v->axis[1] = sequence ? 1 : 2;
    }
    im->images = im->images || !pq_onnx_is_straight(v);
cleanup:
    pq_free(tracks);
    return st;
}

pq_status pq_onnx_add_input(pq_onnx_import *im, const pq_onnx_port *port, pq_err *err)
{
    const pq_onnx_node none  = {.name  = im->model->names.text[port->name],
                                .op    = "input",
                                .n_out = 1,
                                .out   = &port->name};
    pq_onnx_value      v     = {.active = true, .ndim = port->ndim};
    pq_layer          *layer = NULL;
    pq_shape           shape;
    char               text[192];
    pq_status          st;

    im->node = &none;
    PQ_CHECK(port->type == PQ_ONNX_FLOAT || port->type == PQ_ONNX_DOUBLE ||
                 port->type == PQ_ONNX_FLOAT16,
             PQ_ERR_UNSUPPORTED, "its items are %s; floats are read",
             pq_onnx_type_name(port->type));
    PQ_CHECK(port->shaped && port->ndim >= 1, PQ_ERR_UNSUPPORTED,
             "it has no axes; a batch and those of each event are read");
    for (size_t i = 1; i < port->ndim; i++) {
        PQ_CHECK(port->dim[i] > 0, PQ_ERR_UNSUPPORTED,
                 "axis %zu is not fixed; only the batch may be open", i);
        v.dim[i] = (size_t)port->dim[i];
    }
    v.dim[0]  = 1;
    im->batch = port->dim[0] > 0 ? (size_t)port->dim[0] : 0;
    PQ_TRY(choose_axes(im, port, &v, err));
    shape.ndim = v.n_axes;
    for (size_t i = 0; i < v.n_axes; i++) {
        shape.dim[i] = v.axis[i] >= 0 ? v.dim[v.axis[i]] : 1;
    }
    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(pq_layer_set(layer, "shape", pq_shape_text(&shape, text, sizeof text), err));
    PQ_TRY(pq_onnx_add(im, "", &layer, 0, NULL, &v.node, err));
    PQ_TRY(pq_onnx_give(im, 0, &v, err));
cleanup:
    pq_layer_free(&layer);
    if (st != PQ_OK) {
        pq_err_context(err, "input '%s'", none.name);
    }
    im->node = NULL;
    return st;
}
