/*
 * Writes a graph as a .keras archive of Keras 3: a Functional model. What Keras has no
 * layer for is put into those it has (a shortcut's slice of channels is a convolution
 * with ones), trains and rings are rebuilt; what it cannot hold is refused by name.
 *
 * Source: keras/src/models/functional.py, keras/src/saving/saving_lib.py.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/keras.h"
#include "formats/left.h"
#include "formats/rebuild.h"
#include "io/zip.h"
#include "layers/kinds.h"

enum { MOST_WEIGHTS = 4, MOST_LAYERS = 3 /* of a node: padding, itself, the scaler */ };

/** A layer of Keras about to be written. */
typedef struct {
    const char *class_name;
    char       *name;   /**< owned */
    json_t     *config; /**< owned */
    size_t      n_in;
    size_t      in[PQ_NODE_INPUTS];       /**< layers, by index */
    pq_shape    in_shape[PQ_NODE_INPUTS]; /**< of a sample */
    size_t      n_weights;
    pq_tensor  *weights[MOST_WEIGHTS]; /**< owned, in Keras's order */
    size_t      depth; /**< layers on the longest way to the output, both ends; 0: none */
    size_t      turn;  /**< when a walk from the output came to it, from 1 */
} spec;

typedef struct {
    const pq_graph *graph;
    size_t          at;    /**< node that is written */
    size_t         *value; /**< [n_nodes] layer that gives a node's value */
    size_t          n;
    spec           *layers; /**< [n]; each reads earlier ones */
    size_t         *order; /**< [kept] those that the output needs, as Keras sorts them */
    size_t          kept;
    json_t         *taken; /**< names in use */
} writer;

static const pq_node *node_of(const writer *w)
{
    return &w->graph->nodes[w->at];
}

static const pq_shape *in_shape(const writer *w, size_t k)
{
    return &w->graph->nodes[node_of(w)->inputs[k]].shape;
}

static void free_spec(spec *s)
{
    pq_free(s->name);
    json_decref(s->config);
    for (size_t i = 0; i < MOST_WEIGHTS; i++) {
        pq_tensor_free(&s->weights[i]);
    }
}

/* [null, …]: a shape with the batch. */
static json_t *batch_shape(const pq_shape *s)
{
    json_t *list = json_array();

    (void)json_array_append_new(list, json_null());
    for (size_t i = 0; i < s->ndim; i++) {
        (void)json_array_append_new(list, json_integer((json_int_t)s->dim[i]));
    }
    return list;
}

/* A name that no other layer has, of letters, digits, _ and - : the backends of Keras
 * forbid the others, each some. */
static char *free_name(const writer *w, const char *wish, const char *end)
{
    char *name = NULL;

    for (size_t k = 0;
         k == 0 || (name != NULL && json_object_get(w->taken, name) != NULL); k++) {
        pq_free(name);
        name =
            k == 0 ? pq_format("%s%s", wish, end) : pq_format("%s%s_%zu", wish, end, k);
        for (char *c = name; c != NULL && *c != '\0'; c++) {
            const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                                (*c >= '0' && *c <= '9');
            *c = letter || (c > name && (*c == '_' || *c == '-')) ? *c
                 : c > name                                       ? '_'
                                                                  : 'x';
        }
    }
    return name;
}

/* The call of a layer on its inputs, as Keras 3 notes it. */
static json_t *call_of(const writer *w, const spec *s)
{
    json_t *tensors = json_array(), *arguments = json_array();

    for (size_t i = 0; i < s->n_in; i++) {
        (void)json_array_append_new(
            tensors, json_pack("{s:s, s:{s:o, s:s, s:[s, i, i]}}", "class_name",
                               "__keras_tensor__", "config", "shape",
                               batch_shape(&s->in_shape[i]), "dtype", "float32",
                               "keras_history", w->layers[s->in[i]].name, 0, 0));
    }
    if (s->n_in == 1) {
        json_decref(arguments);
        arguments = tensors;
    } else {
        (void)json_array_append_new(arguments, tensors);
    }
    return json_pack("[{s:o, s:{}}]", "args", arguments, "kwargs");
}

/* Adds a layer; it then stands for the node's value. Takes what the spec owns. */
static pq_status put(writer *w, spec *s, pq_err *err)
{
    pq_status st;

    PQ_CHECK(s->name != NULL && s->config != NULL &&
                 json_object_set_new(w->taken, s->name, json_true()) == 0,
             PQ_ERR_NOMEM, "cannot allocate a layer");
    w->layers[w->n] = *s;
    w->value[w->at] = w->n++;
    *s              = (spec){0};
cleanup:
    free_spec(s);
    return st;
}

/* A layer over the node's inputs. Takes config. */
static spec over(const writer *w, const char *class_name, const char *end, json_t *config)
{
    const pq_node *node = node_of(w);
    spec           s    = {.class_name = class_name,
                           .name       = free_name(w, node->name, end),
                           .config     = config,
                           .n_in       = node->n_inputs};

    for (size_t k = 0; k < node->n_inputs; k++) {
        s.in[k]       = w->value[node->inputs[k]];
        s.in_shape[k] = *in_shape(w, k);
    }
    return s;
}

/* One layer without weights. Takes config. */
static pq_status simple(writer *w, const char *class_name, json_t *config, pq_err *err)
{
    spec s = over(w, class_name, "", config);

    return put(w, &s, err);
}

static pq_status input(writer *w, pq_err *err)
{
    return simple(w, "InputLayer",
                  json_pack("{s:o, s:b, s:b}", "batch_shape",
                            batch_shape(&node_of(w)->shape), "sparse", 0, "ragged", 0),
                  err);
}

/* Adds a copy of a weight, axes reordered. */
static pq_status add_weight(spec *s, const pq_tensor *t, const size_t *axes, pq_err *err)
{
    return pq_tensor_permute(t, axes, &s->weights[s->n_weights++], err);
}

static pq_status add_bias(const writer *w, spec *s, pq_err *err)
{
    static const size_t same[] = {0};
    const pq_weight    *bias   = pq_layer_weight(node_of(w)->layer, "bias");

    (void)json_object_set_new(s->config, "use_bias", json_boolean(bias != NULL));
    return bias != NULL ? add_weight(s, bias->value, same, err) : PQ_OK;
}

static pq_status dense(writer *w, pq_err *err)
{
    static const size_t turned[] = {1, 0};
    const pq_tensor    *kernel;
    pq_tensor          *made = NULL;
    spec                s    = {0};
    pq_status           st;

    PQ_TRY(pq_rebuild_kernel(node_of(w)->layer, &kernel, &made, err));
    s = over(w, "Dense", "",
             json_pack("{s:I, s:s}", "units", (json_int_t)kernel->shape.dim[0],
                       "activation", "linear"));
    PQ_TRY(add_weight(&s, kernel, turned, err));
    PQ_TRY(add_bias(w, &s, err));
    PQ_TRY(put(w, &s, err));
cleanup:
    free_spec(&s);
    pq_tensor_free(&made);
    return st;
}

/* Zeros around an image, where the window's own padding is explicit; *s then reads
 * those. */
static pq_status pad_before(writer *w, const pq_window_params *p, spec *s, pq_err *err)
{
    pq_shape  shape = *in_shape(w, 0);
    spec      pad;
    pq_status st;

    if (p->padding != PQ_PADDING_EXPLICIT ||
        p->pad_top + p->pad_bottom + p->pad_left + p->pad_right == 0) {
        return PQ_OK;
    }
    pad = over(w, "ZeroPadding2D", "_pad",
               json_pack("{s:[[I, I], [I, I]], s:s}", "padding", (json_int_t)p->pad_top,
                         (json_int_t)p->pad_bottom, (json_int_t)p->pad_left,
                         (json_int_t)p->pad_right, "data_format", "channels_last"));
    PQ_TRY(put(w, &pad, err));
    shape.dim[0] += (size_t)(p->pad_top + p->pad_bottom);
    shape.dim[1] += (size_t)(p->pad_left + p->pad_right);
    s->in[0]       = w->value[w->at];
    s->in_shape[0] = shape;
cleanup:
    return st;
}

static const char *padding_of(const pq_window_params *p)
{
    return p->padding == PQ_PADDING_SAME ? "same" : "valid";
}

/* Keys that all windows have. */
static void add_window(json_t *config, const pq_window_params *p, size_t stride_h,
                       size_t stride_w)
{
    (void)json_object_set_new(
        config, "strides",
        json_pack("[I, I]", (json_int_t)stride_h, (json_int_t)stride_w));
    (void)json_object_set_new(config, "padding", json_string(padding_of(p)));
    (void)json_object_set_new(config, "data_format", json_string("channels_last"));
}

/* Depthwise: our [in * multiplier, h, w, 1] as Keras's (h, w, in, multiplier). */
static pq_status add_depthwise(spec *s, const pq_tensor *kernel, size_t inputs,
                               pq_err *err)
{
    static const size_t turned[] = {2, 3, 0, 1};
    const size_t       *dim      = kernel->shape.dim;
    pq_tensor          *t        = NULL;
    pq_status           st;

    PQ_TRY(pq_tensor_clone(kernel, &t, err));
    PQ_TRY(pq_tensor_reshape(t, PQ_SHAPE(inputs, dim[0] / inputs, dim[1], dim[2]), err));
    PQ_TRY(add_weight(s, t, turned, err));
    (void)json_object_set_new(s->config, "depth_multiplier",
                              json_integer((json_int_t)(dim[0] / inputs)));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status conv2d(writer *w, pq_err *err)
{
    static const size_t     turned[]  = {1, 2, 3, 0};
    const pq_conv2d_params *p         = node_of(w)->layer->params;
    const size_t            inputs    = in_shape(w, 0)->dim[2];
    const bool              depthwise = p->groups > 1 && (size_t)p->groups == inputs;
    const pq_tensor        *kernel;
    pq_tensor              *made = NULL;
    spec                    s    = {0};
    pq_status               st;

    PQ_CHECK((p->window.stride_h == 1 && p->window.stride_w == 1) ||
                 (p->dilation_h == 1 && p->dilation_w == 1),
             PQ_ERR_UNSUPPORTED,
             "Keras has no convolution with both strides and dilation");
    PQ_TRY(pq_rebuild_kernel(node_of(w)->layer, &kernel, &made, err));
    s = over(w, depthwise ? "DepthwiseConv2D" : "Conv2D", "",
             json_pack("{s:[I, I], s:[I, I], s:s}", "kernel_size",
                       (json_int_t)kernel->shape.dim[1], (json_int_t)kernel->shape.dim[2],
                       "dilation_rate", (json_int_t)p->dilation_h,
                       (json_int_t)p->dilation_w, "activation", "linear"));
    add_window(s.config, &p->window, (size_t)p->window.stride_h,
               (size_t)p->window.stride_w);
    if (depthwise) {
        PQ_TRY(add_depthwise(&s, kernel, inputs, err));
    } else {
        (void)json_object_set_new(s.config, "filters",
                                  json_integer((json_int_t)kernel->shape.dim[0]));
        (void)json_object_set_new(s.config, "groups", json_integer(p->groups));
        PQ_TRY(add_weight(&s, kernel, turned, err));
    }
    PQ_TRY(add_bias(w, &s, err));
    PQ_TRY(pad_before(w, &p->window, &s, err));
    PQ_TRY(put(w, &s, err));
cleanup:
    free_spec(&s);
    pq_tensor_free(&made);
    return st;
}

static pq_status batch_norm(writer *w, pq_err *err)
{
    static const char *const    names[] = {"gamma", "beta", "mean", "variance"};
    static const size_t         same[]  = {0};
    const pq_layer             *layer   = node_of(w)->layer;
    const pq_batch_norm_params *p       = layer->params;
    spec                        s       = over(w, "BatchNormalization", "",
                                               json_pack("{s:i, s:f, s:f, s:b, s:b}", "axis", -1, "momentum", 0.99,
                                                         "epsilon", p->epsilon, "scale",
                                                         pq_layer_weight(layer, "gamma") != NULL, "center",
                                                         pq_layer_weight(layer, "beta") != NULL));
    pq_status                   st;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const pq_weight *weight = pq_layer_weight(layer, names[i]);
        if (weight != NULL) {
            PQ_TRY(add_weight(&s, weight->value, same, err));
        }
    }
    PQ_TRY(put(w, &s, err));
cleanup:
    free_spec(&s);
    return st;
}

static pq_status named_activation(writer *w, const char *activation, pq_err *err)
{
    return simple(w, "Activation", json_pack("{s:s}", "activation", activation), err);
}

static pq_status sigmoid(writer *w, pq_err *err)
{
    return named_activation(w, "sigmoid", err);
}

static pq_status tanh_of(writer *w, pq_err *err)
{
    return named_activation(w, "tanh", err);
}

static pq_status gelu(writer *w, pq_err *err)
{
    const pq_gelu_params *p = node_of(w)->layer->params;
    pq_status             st;

    PQ_CHECK(p->form == PQ_GELU_EXACT, PQ_ERR_UNSUPPORTED,
             "a saved model of Keras cannot name the form of gelu by tanh");
    PQ_TRY(named_activation(w, "gelu", err));
cleanup:
    return st;
}

static pq_status put_relu(writer *w, json_t *most, pq_err *err)
{
    return simple(w, "ReLU",
                  json_pack("{s:o, s:f, s:f}", "max_value", most, "negative_slope", 0.0,
                            "threshold", 0.0),
                  err);
}

static pq_status relu(writer *w, pq_err *err)
{
    return put_relu(w, json_null(), err);
}

static pq_status clip(writer *w, pq_err *err)
{
    const pq_clip_params *p = node_of(w)->layer->params;
    pq_status             st;

    PQ_CHECK(p->lo == 0.0 && p->hi > 0.0, PQ_ERR_UNSUPPORTED,
             "Keras has no layer that limits values to %g..%g, only from 0 on", p->lo,
             p->hi);
    PQ_TRY(put_relu(w, json_real(p->hi), err));
cleanup:
    return st;
}

static pq_status leaky_relu(writer *w, pq_err *err)
{
    const pq_leaky_relu_params *p = node_of(w)->layer->params;

    return simple(w, "LeakyReLU", json_pack("{s:f}", "negative_slope", p->slope), err);
}

static pq_status elu(writer *w, pq_err *err)
{
    const pq_elu_params *p = node_of(w)->layer->params;

    return simple(w, "ELU", json_pack("{s:f}", "alpha", p->alpha), err);
}

static pq_status softmax(writer *w, pq_err *err)
{
    return simple(w, "Softmax", json_pack("{s:i}", "axis", -1), err);
}

static pq_status pool(writer *w, const char *class_name, bool mean, pq_err *err)
{
    const pq_pool_params   *p      = node_of(w)->layer->params;
    const pq_window_params *v      = &p->window;
    const bool              padded = v->padding == PQ_PADDING_EXPLICIT &&
                        v->pad_top + v->pad_bottom + v->pad_left + v->pad_right > 0;
    pq_window window;
    spec      s = {0};
    pq_status st;

    PQ_CHECK(!padded || (mean && p->count_padding), PQ_ERR_UNSUPPORTED,
             "Keras pads a pooling only as 'same'");
    PQ_CHECK(!mean || v->padding != PQ_PADDING_SAME || !p->count_padding,
             PQ_ERR_UNSUPPORTED, "Keras does not count padded zeros in a mean");
    PQ_TRY(pq_pool_window(node_of(w)->layer, in_shape(w, 0), &window, err));
    s = over(w, class_name, "",
             json_pack("{s:[I, I]}", "pool_size", (json_int_t)p->kernel_h,
                       (json_int_t)p->kernel_w));
    add_window(s.config, v, window.stride_h, window.stride_w);
    PQ_TRY(pad_before(w, v, &s, err));
    PQ_TRY(put(w, &s, err));
cleanup:
    free_spec(&s);
    return st;
}

static pq_status max_pool(writer *w, pq_err *err)
{
    return pool(w, "MaxPooling2D", false, err);
}

static pq_status avg_pool(writer *w, pq_err *err)
{
    return pool(w, "AveragePooling2D", true, err);
}

static pq_status global_pool(writer *w, const char *rows, const char *image, pq_err *err)
{
    const size_t ndim = in_shape(w, 0)->ndim;
    pq_status    st;

    PQ_CHECK(ndim == 2 || ndim == 3, PQ_ERR_UNSUPPORTED,
             "a global pooling over %zu axes is not written", ndim);
    PQ_TRY(simple(w, ndim == 2 ? rows : image,
                  json_pack("{s:s, s:b}", "data_format", "channels_last", "keepdims", 0),
                  err));
cleanup:
    return st;
}

static pq_status global_max(writer *w, pq_err *err)
{
    return global_pool(w, "GlobalMaxPooling1D", "GlobalMaxPooling2D", err);
}

static pq_status global_avg(writer *w, pq_err *err)
{
    return global_pool(w, "GlobalAveragePooling1D", "GlobalAveragePooling2D", err);
}

static pq_status add(writer *w, pq_err *err)
{
    return simple(w, "Add", json_object(), err);
}

static pq_status multiply(writer *w, pq_err *err)
{
    return simple(w, "Multiply", json_object(), err);
}

static pq_status concat(writer *w, pq_err *err)
{
    const size_t axis = pq_concat_axis(node_of(w)->layer, in_shape(w, 0)->ndim);

    if (node_of(w)->n_inputs == 1) { /* of which Keras makes none */
        return simple(w, "Activation", json_pack("{s:s}", "activation", "linear"), err);
    }
    return simple(w, "Concatenate", json_pack("{s:I}", "axis", (json_int_t)axis + 1),
                  err);
}

static pq_status flatten(writer *w, pq_err *err)
{
    return simple(w, "Flatten", json_pack("{s:s}", "data_format", "channels_last"), err);
}

static pq_status reshape(writer *w, pq_err *err)
{
    const pq_shape *s    = &node_of(w)->shape;
    json_t         *dims = json_array();

    for (size_t i = 0; i < s->ndim; i++) {
        (void)json_array_append_new(dims, json_integer((json_int_t)s->dim[i]));
    }
    return simple(w, "Reshape", json_pack("{s:o}", "target_shape", dims), err);
}

static pq_status dropout(writer *w, pq_err *err)
{
    const pq_dropout_params *p = node_of(w)->layer->params;

    return simple(w, "Dropout", json_pack("{s:f}", "rate", p->rate), err);
}

static pq_status scale(writer *w, pq_err *err)
{
    const pq_scale_params *p = node_of(w)->layer->params;

    return simple(w, "Rescaling",
                  json_pack("{s:f, s:f}", "scale", p->factor, "offset", 0.0), err);
}

/* Moves channels: a dense layer, or a convolution of 1 x 1, of zeros and ones. Channel o
 * gives input o - shift, or zero. */
static pq_status move_channels(writer *w, spec *s, size_t outputs, int64_t shift,
                               pq_err *err)
{
    const pq_shape *in    = &s->in_shape[0];
    const size_t    n     = in->dim[in->ndim - 1];
    const bool      image = in->ndim == 3;
    pq_tensor      *t     = NULL;
    pq_status       st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32,
                            image ? PQ_SHAPE(1, 1, n, outputs) : PQ_SHAPE(n, outputs), &t,
                            err));
    for (size_t o = 0; o < outputs; o++) {
        const int64_t from = (int64_t)o - shift;
        if (from >= 0 && from < (int64_t)n) {
            pq_f32(t)[(size_t)from * outputs + o] = 1.0F;
        }
    }
    s->class_name = image ? "Conv2D" : "Dense";
    s->config     = image ? json_pack("{s:I, s:[i, i], s:[i, i], s:s, s:s, s:s, s:b}",
                                      "filters", (json_int_t)outputs, "kernel_size", 1, 1,
                                      "strides", 1, 1, "padding", "valid", "data_format",
                                      "channels_last", "activation", "linear", "use_bias", 0)
                          : json_pack("{s:I, s:s, s:b}", "units", (json_int_t)outputs,
                                      "activation", "linear", "use_bias", 0);
    s->weights[s->n_weights++] = t;
    PQ_TRY(put(w, s, err));
cleanup:
    return st;
}

static pq_status slice(writer *w, pq_err *err)
{
    const pq_slice_params *p = node_of(w)->layer->params;
    const pq_shape        *o = &node_of(w)->shape;
    spec                   s = over(w, "", "", NULL);
    pq_status              st;

    PQ_TRY(move_channels(w, &s, o->dim[o->ndim - 1], -p->from, err));
cleanup:
    free_spec(&s);
    return st;
}

static pq_status subsample(writer *w, pq_err *err)
{
    const pq_subsample_params *p = node_of(w)->layer->params;

    return simple(w, "MaxPooling2D",
                  json_pack("{s:[i, i], s:[I, I], s:s, s:s}", "pool_size", 1, 1,
                            "strides", (json_int_t)p->stride_h, (json_int_t)p->stride_w,
                            "padding", "valid", "data_format", "channels_last"),
                  err);
}

static pq_status pad(writer *w, pq_err *err)
{
    const pq_pad_params   *p      = node_of(w)->layer->params;
    const pq_window_params window = {.padding    = PQ_PADDING_EXPLICIT,
                                     .pad_top    = p->top,
                                     .pad_bottom = p->bottom,
                                     .pad_left   = p->left,
                                     .pad_right  = p->right};
    const pq_shape        *o      = &node_of(w)->shape;
    spec                   s      = over(w, "", "", NULL);
    pq_status              st;

    PQ_CHECK(p->value == 0.0, PQ_ERR_UNSUPPORTED, "Keras pads with 0 alone, not with %g",
             p->value);
    PQ_TRY(pad_before(w, &window, &s, err));
    PQ_TRY(move_channels(w, &s, o->dim[o->ndim - 1], p->before, err));
cleanup:
    free_spec(&s);
    return st;
}

static const struct {
    const char *kind;
    pq_status (*put)(writer *w, pq_err *err);
} writers[] = {
    {"input", input},
    {"dense", dense},
    {"conv2d", conv2d},
    {"batch_norm", batch_norm},
    {"relu", relu},
    {"leaky_relu", leaky_relu},
    {"clip", clip},
    {"elu", elu},
    {"gelu", gelu},
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
    {"flatten", flatten},
    {"reshape", reshape},
    {"pad", pad},
    {"subsample", subsample},
    {"slice", slice},
    {"scale", scale},
    {"dropout", dropout},
    {"tt_dense", dense},
    {"ring_dense", dense},
    {"tt_conv2d", conv2d},
};

/* The scaler of the inputs: a BatchNormalization with nothing learnt. */
static pq_status put_scaler(writer *w, pq_err *err)
{
    static const size_t same[] = {0};
    const pq_tensor    *std    = w->graph->scaler_std;
    pq_tensor          *square = NULL;
    spec                s      = {
                            .class_name = "BatchNormalization", .n_in = 1, .in_shape[0] = node_of(w)->shape};
    pq_status st;

    s.in[0]  = w->value[w->at];
    s.name   = free_name(w, node_of(w)->name, "_scaler");
    s.config = json_pack("{s:i, s:f, s:f, s:b, s:b}", "axis", -1, "momentum", 0.99,
                         "epsilon", 0.0, "scale", 0, "center", 0);
    PQ_TRY(pq_tensor_permute(std, same, &square, err));
    for (size_t i = 0; i < square->count; i++) {
        pq_f32(square)[i] *= pq_f32(square)[i];
    }
    PQ_TRY(add_weight(&s, w->graph->scaler_mean, same, err));
    s.weights[s.n_weights++] = square;
    square                   = NULL;
    PQ_TRY(put(w, &s, err));
cleanup:
    pq_tensor_free(&square);
    free_spec(&s);
    return st;
}

static pq_status put_node(writer *w, pq_err *err)
{
    const pq_node *node = node_of(w);
    size_t         i    = 0;
    pq_status      st;

    while (i < sizeof writers / sizeof *writers &&
           strcmp(writers[i].kind, node->layer->kind->name) != 0) {
        i++;
    }
    PQ_CHECK(i < sizeof writers / sizeof *writers, PQ_ERR_UNSUPPORTED,
             "no layer of Keras does what %s does", node->layer->kind->name);
    PQ_CHECK(node->quant == NULL, PQ_ERR_UNSUPPORTED,
             "its values lie on a grid, for which Keras has no layer; write ONNX");
    PQ_TRY(writers[i].put(w, err));
    if (node->n_inputs == 0 && w->graph->scaler_mean != NULL) {
        PQ_TRY(put_scaler(w, err));
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "layer '%s'", node->name);
    }
    return st;
}

/* Depth and turn of every layer that the output needs. */
static pq_status measure(writer *w, pq_err *err)
{
    const size_t output = w->value[w->graph->output];
    size_t      *stack = NULL, n = 0, turn = 0;
    pq_status    st;

    PQ_NEW(stack, 1 + w->n * PQ_NODE_INPUTS);
    w->layers[output].depth = 1;
    for (size_t i = w->n; i-- > 0;) {
        const spec *s = &w->layers[i];
        for (size_t k = 0; s->depth > 0 && k < s->n_in; k++) {
            spec *from  = &w->layers[s->in[k]];
            from->depth = from->depth > s->depth ? from->depth : s->depth + 1;
        }
    }
    stack[n++] = output;
    while (n > 0) {
        spec *s = &w->layers[stack[--n]];
        if (s->turn == 0) {
            s->turn = ++turn;
            for (size_t k = s->n_in; k-- > 0;) {
                stack[n++] = s->in[k];
            }
        }
    }
cleanup:
    pq_free(stack);
    return st;
}

/* A place in Keras's order. */
typedef struct {
    size_t depth, turn, layer;
} place;

static int by_depth(const void *a, const void *b)
{
    const place *x = a, *y = b;

    return x->depth != y->depth ? (x->depth < y->depth ? 1 : -1)
                                : (x->turn > y->turn) - (x->turn < y->turn);
}

/* Keras sorts the layers of a model when it makes it, by depth and then as a walk from
 * the output meets them, and finds weights by that order (map_graph in functional.py). */
static pq_status sort_layers(writer *w, pq_err *err)
{
    place    *places = NULL;
    pq_status st;

    PQ_TRY(measure(w, err));
    PQ_NEW(places, w->n);
    PQ_NEW(w->order, w->n);
    for (size_t i = 0; i < w->n; i++) {
        if (w->layers[i].depth > 0) {
            places[w->kept++] = (place){w->layers[i].depth, w->layers[i].turn, i};
        }
    }
    qsort(places, w->kept, sizeof *places, by_depth);
    for (size_t i = 0; i < w->kept; i++) {
        w->order[i] = places[i].layer;
    }
cleanup:
    pq_free(places);
    return st;
}

static json_t *json_of(const writer *w, const spec *s)
{
    (void)json_object_set_new(s->config, "name", json_string(s->name));
    (void)json_object_set_new(s->config, "dtype", json_string("float32"));
    if (s->n_in > 0) {
        (void)json_object_set_new(s->config, "trainable", json_true());
    }
    return json_pack("{s:s, s:s, s:O, s:n, s:s, s:o}", "module", "keras.layers",
                     "class_name", s->class_name, "config", s->config, "registered_name",
                     "name", s->name, "inbound_nodes",
                     s->n_in > 0 ? call_of(w, s) : json_array());
}

static pq_status put_weights(const spec *s, pq_h5 *file, json_t *counts, pq_err *err)
{
    char     *group = NULL, *path = NULL;
    pq_status st;

    PQ_TRY(pq_keras_v3_place("layers", s->class_name, counts, &group, err));
    PQ_TRY(pq_h5_make_group(file, group, err));
    PQ_TRY(pq_h5_set_text(file, group, "name", s->name, err));
    for (size_t i = 0; i < s->n_weights; i++) {
        pq_free(path);
        path = pq_format("%s/%zu", group, i);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(pq_h5_write(file, path, s->weights[i], 0, err));
    }
cleanup:
    pq_free(group);
    pq_free(path);
    return st;
}

/* model.weights.h5, as a temporary file. */
static pq_status weights_of(const writer *w, const char *path, pq_err *err)
{
    pq_h5    *file   = NULL;
    json_t   *counts = json_object();
    pq_status st;

    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(pq_h5_make_group(file, "vars", err)); /* of the model itself: none */
    for (size_t i = 0; i < w->kept; i++) {
        PQ_TRY(put_weights(&w->layers[w->order[i]], file, counts, err));
    }
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_h5_close(&file);
    json_decref(counts);
    return st;
}

/* The model: its layers, which of them are inputs, and its output. */
static json_t *model_of(const writer *w)
{
    json_t *layers = json_array(), *inputs = json_array();

    for (size_t i = 0; i < w->kept; i++) {
        const spec *s = &w->layers[w->order[i]];
        (void)json_array_append_new(layers, json_of(w, s));
    }
    for (size_t i = 0; i < w->n; i++) { /* in the graph's order */
        const spec *s = &w->layers[i];
        if (s->n_in == 0 && s->depth > 0) {
            (void)json_array_append_new(inputs, json_pack("[s, i, i]", s->name, 0, 0));
        }
    }
    return json_pack("{s:s, s:s, s:{s:s, s:b, s:o, s:o, s:[[s, i, i]]}, s:n}", "module",
                     "keras.src.models.functional", "class_name", "Functional", "config",
                     "name", "model", "trainable", 1, "layers", layers, "input_layers",
                     inputs, "output_layers", w->layers[w->value[w->graph->output]].name,
                     0, 0, "registered_name");
}

/* config.json and metadata.json, which keeps what only this program reads back. */
static pq_status texts_of(const writer *w, char **config, char **metadata, pq_err *err)
{
    const pq_graph *g     = w->graph;
    json_t         *model = model_of(w);
    json_t         *ours =
        json_pack("{s:s, s:s, s:O?, s:o?, s:o?}", "keras_version", "3.0.0", "pquant",
                  PQ_VERSION, "provenance", g->provenance, "class_names",
                  pq_left_texts(g->n_classes, g->class_names), "feature_names",
                  pq_left_texts(g->n_features, g->feature_names));
    pq_status st;

    *config   = model != NULL ? json_dumps(model, 0) : NULL;
    *metadata = ours != NULL ? json_dumps(ours, 0) : NULL;
    PQ_CHECK(*config != NULL && *metadata != NULL, PQ_ERR_NOMEM,
             "cannot allocate an architecture");
cleanup:
    json_decref(model);
    json_decref(ours);
    return st;
}

static pq_status pack(const writer *w, const char *path, pq_err *err)
{
    char     *config = NULL, *metadata = NULL, *weights = NULL, *bytes = NULL;
    size_t    n = 0;
    pq_status st;

    PQ_TRY(pq_keras_temporary(NULL, 0, &weights, err));
    PQ_TRY(weights_of(w, weights, err));
    PQ_TRY(texts_of(w, &config, &metadata, err));
    PQ_TRY(pq_file_read(weights, SIZE_MAX - 1, &bytes, &n, err));
    PQ_TRY(
        pq_zip_write(path,
                     (const pq_zip_part[]){{"metadata.json", metadata, strlen(metadata)},
                                           {"config.json", config, strlen(config)},
                                           {"model.weights.h5", bytes, n}},
                     3, err));
cleanup:
    if (weights != NULL) {
        (void)unlink(weights);
    }
    pq_free(weights);
    pq_free(bytes);
    free(config);
    free(metadata);
    return st;
}

pq_status pq_keras_save(const pq_graph *graph, const char *path, pq_err *err)
{
    pq_graph *copy = NULL;
    writer    w    = {.taken = json_object()};
    pq_status st;

    PQ_TRY(pq_graph_clone(graph, &copy, err));
    PQ_TRY(pq_graph_check(copy, err)); /* fills the shapes */
    w.graph = copy;
    PQ_NEW(w.value, copy->n_nodes);
    PQ_NEW(w.layers, MOST_LAYERS * copy->n_nodes);
    for (w.at = 0; w.at < copy->n_nodes; w.at++) {
        PQ_TRY(put_node(&w, err));
    }
    PQ_TRY(sort_layers(&w, err));
    PQ_TRY(pack(&w, path, err));
cleanup:
    for (size_t i = 0; i < w.n; i++) {
        free_spec(&w.layers[i]);
    }
    pq_free(w.layers);
    pq_free(w.value);
    pq_free(w.order);
    json_decref(w.taken);
    pq_graph_free(&copy);
    return st;
}
