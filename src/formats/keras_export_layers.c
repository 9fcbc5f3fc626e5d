/* Layers of ours that have weights, windows or places as layers of Keras. */
#include <string.h>

#include "core/memory.h"
#include "formats/keras_export.h"
#include "formats/rebuild.h"
#include "layers/kinds.h"
#include "layers/layer_norm.h"

static const pq_shape *in_shape(const pq_keras_writer *w, size_t k)
{
    return &w->graph->nodes[pq_keras_node(w)->inputs[k]].shape;
}

static pq_status input(pq_keras_writer *w, pq_err *err)
{
    return pq_keras_simple(w, "InputLayer",
                           json_pack("{s:o, s:b, s:b}", "batch_shape",
                                     pq_keras_batch_shape(&pq_keras_node(w)->shape),
                                     "sparse", 0, "ragged", 0),
                           err);
}

static pq_status add_bias(const pq_keras_writer *w, pq_keras_spec *s, pq_err *err)
{
    static const size_t same[] = {0};
    const pq_weight    *bias   = pq_layer_weight(pq_keras_node(w)->layer, "bias");

    (void)json_object_set_new(s->config, "use_bias", json_boolean(bias != NULL));
    return bias != NULL ? pq_keras_add_weight(s, bias->value, same, err) : PQ_OK;
}

static pq_status dense(pq_keras_writer *w, pq_err *err)
{
    static const size_t turned[] = {1, 0};
    const pq_tensor    *kernel;
    pq_tensor          *made = NULL;
    pq_keras_spec       s    = {0};
    pq_status           st;

    PQ_TRY(pq_rebuild_kernel(pq_keras_node(w)->layer, &kernel, &made, err));
    s = pq_keras_over(w, "Dense", "",
                      json_pack("{s:I, s:s}", "units", (json_int_t)kernel->shape.dim[0],
                                "activation", "linear"));
    PQ_TRY(pq_keras_add_weight(&s, kernel, turned, err));
    PQ_TRY(add_bias(w, &s, err));
    PQ_TRY(pq_keras_put(w, &s, err));
cleanup:
    pq_keras_free_spec(&s);
    pq_tensor_free(&made);
    return st;
}

/* Zeros around an image, where the window's own padding is explicit; *s then reads
 * those. */
static pq_status pad_before(pq_keras_writer *w, const pq_window_params *p,
                            pq_keras_spec *s, pq_err *err)
{
    pq_shape      shape = *in_shape(w, 0);
    pq_keras_spec pad;
    pq_status     st;

    if (p->padding != PQ_PADDING_EXPLICIT ||
        p->pad_top + p->pad_bottom + p->pad_left + p->pad_right == 0) {
        return PQ_OK;
    }
    pad = pq_keras_over(w, "ZeroPadding2D", "_pad",
                        json_pack("{s:[[I, I], [I, I]], s:s}", "padding",
                                  (json_int_t)p->pad_top, (json_int_t)p->pad_bottom,
                                  (json_int_t)p->pad_left, (json_int_t)p->pad_right,
                                  "data_format", "channels_last"));
    PQ_TRY(pq_keras_put(w, &pad, err));
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
static pq_status add_depthwise(pq_keras_spec *s, const pq_tensor *kernel, size_t inputs,
                               pq_err *err)
{
    static const size_t turned[] = {2, 3, 0, 1};
    const size_t       *dim      = kernel->shape.dim;
    pq_tensor          *t        = NULL;
    pq_status           st;

    PQ_TRY(pq_tensor_clone(kernel, &t, err));
    PQ_TRY(pq_tensor_reshape(t, PQ_SHAPE(inputs, dim[0] / inputs, dim[1], dim[2]), err));
    PQ_TRY(pq_keras_add_weight(s, t, turned, err));
    (void)json_object_set_new(s->config, "depth_multiplier",
                              json_integer((json_int_t)(dim[0] / inputs)));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status conv2d(pq_keras_writer *w, pq_err *err)
{
    static const size_t     turned[]  = {1, 2, 3, 0};
    const pq_conv2d_params *p         = pq_keras_node(w)->layer->params;
    const size_t            inputs    = in_shape(w, 0)->dim[2];
    const bool              depthwise = p->groups > 1 && (size_t)p->groups == inputs;
    const pq_tensor        *kernel;
    pq_tensor              *made = NULL;
    pq_keras_spec           s    = {0};
    pq_status               st;

    PQ_CHECK((p->window.stride_h == 1 && p->window.stride_w == 1) ||
                 (p->dilation_h == 1 && p->dilation_w == 1),
             PQ_ERR_UNSUPPORTED,
             "Keras has no convolution with both strides and dilation");
    PQ_TRY(pq_rebuild_kernel(pq_keras_node(w)->layer, &kernel, &made, err));
    s = pq_keras_over(w, depthwise ? "DepthwiseConv2D" : "Conv2D", "",
                      json_pack("{s:[I, I], s:[I, I], s:s}", "kernel_size",
                                (json_int_t)kernel->shape.dim[1],
                                (json_int_t)kernel->shape.dim[2], "dilation_rate",
                                (json_int_t)p->dilation_h, (json_int_t)p->dilation_w,
                                "activation", "linear"));
    add_window(s.config, &p->window, (size_t)p->window.stride_h,
               (size_t)p->window.stride_w);
    if (depthwise) {
        PQ_TRY(add_depthwise(&s, kernel, inputs, err));
    } else {
        (void)json_object_set_new(s.config, "filters",
                                  json_integer((json_int_t)kernel->shape.dim[0]));
        (void)json_object_set_new(s.config, "groups", json_integer(p->groups));
        PQ_TRY(pq_keras_add_weight(&s, kernel, turned, err));
    }
    PQ_TRY(add_bias(w, &s, err));
    PQ_TRY(pad_before(w, &p->window, &s, err));
    PQ_TRY(pq_keras_put(w, &s, err));
cleanup:
    pq_keras_free_spec(&s);
    pq_tensor_free(&made);
    return st;
}

/* The weights that are there, of those that its layer may have, in this order. */
static pq_status put_norm(pq_keras_writer *w, const char *class_name, double epsilon,
                          pq_err *err)
{
    static const char *const names[] = {"gamma", "beta", "mean", "variance"};
    static const size_t      same[]  = {0};
    const pq_layer          *layer   = pq_keras_node(w)->layer;
    pq_keras_spec            s =
        pq_keras_over(w, class_name, "",
                      json_pack("{s:i, s:f, s:b, s:b}", "axis", -1, "epsilon", epsilon,
                                "scale", pq_layer_weight(layer, "gamma") != NULL,
                                "center", pq_layer_weight(layer, "beta") != NULL));
    pq_status st = PQ_OK;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const pq_weight *weight = pq_layer_weight(layer, names[i]);
        if (weight != NULL) {
            PQ_TRY(pq_keras_add_weight(&s, weight->value, same, err));
        }
    }
    PQ_TRY(pq_keras_put(w, &s, err));
cleanup:
    pq_keras_free_spec(&s);
    return st;
}

static pq_status batch_norm(pq_keras_writer *w, pq_err *err)
{
    const pq_batch_norm_params *p = pq_keras_node(w)->layer->params;

    return put_norm(w, "BatchNormalization", p->epsilon, err);
}

static pq_status layer_norm(pq_keras_writer *w, pq_err *err)
{
    const pq_layer_norm_params *p = pq_keras_node(w)->layer->params;

    return put_norm(w, "LayerNormalization", p->epsilon, err);
}

static pq_status pool(pq_keras_writer *w, const char *class_name, bool mean, pq_err *err)
{
    const pq_pool_params   *p      = pq_keras_node(w)->layer->params;
    const pq_window_params *v      = &p->window;
    const bool              padded = v->padding == PQ_PADDING_EXPLICIT &&
                        v->pad_top + v->pad_bottom + v->pad_left + v->pad_right > 0;
    pq_window     window;
    pq_keras_spec s = {0};
    pq_status     st;

    PQ_CHECK(!padded || (mean && p->count_padding), PQ_ERR_UNSUPPORTED,
             "Keras pads a pooling only as 'same'");
    PQ_CHECK(!mean || v->padding != PQ_PADDING_SAME || !p->count_padding,
             PQ_ERR_UNSUPPORTED, "Keras does not count padded zeros in a mean");
    PQ_TRY(pq_pool_window(pq_keras_node(w)->layer, in_shape(w, 0), &window, err));
    s = pq_keras_over(w, class_name, "",
                      json_pack("{s:[I, I]}", "pool_size", (json_int_t)p->kernel_h,
                                (json_int_t)p->kernel_w));
    add_window(s.config, v, window.stride_h, window.stride_w);
    PQ_TRY(pad_before(w, v, &s, err));
    PQ_TRY(pq_keras_put(w, &s, err));
cleanup:
    pq_keras_free_spec(&s);
    return st;
}

static pq_status max_pool(pq_keras_writer *w, pq_err *err)
{
    return pool(w, "MaxPooling2D", false, err);
}

static pq_status avg_pool(pq_keras_writer *w, pq_err *err)
{
    return pool(w, "AveragePooling2D", true, err);
}

static pq_status global_pool(pq_keras_writer *w, const char *rows, const char *image,
                             pq_err *err)
{
    const size_t ndim = in_shape(w, 0)->ndim;
    pq_status    st;

    PQ_CHECK(ndim == 2 || ndim == 3, PQ_ERR_UNSUPPORTED,
             "a global pooling over %zu axes is not written", ndim);
    PQ_TRY(pq_keras_simple(
        w, ndim == 2 ? rows : image,
        json_pack("{s:s, s:b}", "data_format", "channels_last", "keepdims", 0), err));
cleanup:
    return st;
}

static pq_status global_max(pq_keras_writer *w, pq_err *err)
{
    return global_pool(w, "GlobalMaxPooling1D", "GlobalMaxPooling2D", err);
}

static pq_status global_avg(pq_keras_writer *w, pq_err *err)
{
    return global_pool(w, "GlobalAveragePooling1D", "GlobalAveragePooling2D", err);
}

static pq_status concat(pq_keras_writer *w, pq_err *err)
{
    const size_t axis = pq_concat_axis(pq_keras_node(w)->layer, in_shape(w, 0)->ndim);

    if (pq_keras_node(w)->n_inputs == 1) { /* of which Keras makes none */
        return pq_keras_simple(w, "Activation",
                               json_pack("{s:s}", "activation", "linear"), err);
    }
    return pq_keras_simple(w, "Concatenate",
                           json_pack("{s:I}", "axis", (json_int_t)axis + 1), err);
}

static pq_status flatten(pq_keras_writer *w, pq_err *err)
{
    return pq_keras_simple(w, "Flatten",
                           json_pack("{s:s}", "data_format", "channels_last"), err);
}

static pq_status reshape(pq_keras_writer *w, pq_err *err)
{
    const pq_shape *s    = &pq_keras_node(w)->shape;
    json_t         *dims = json_array();

    for (size_t i = 0; i < s->ndim; i++) {
        (void)json_array_append_new(dims, json_integer((json_int_t)s->dim[i]));
    }
    return pq_keras_simple(w, "Reshape", json_pack("{s:o}", "target_shape", dims), err);
}

/* Moves channels: a dense layer, or a convolution of 1 x 1, of zeros and ones. Channel o
 * gives input o - shift, or zero. */
static pq_status move_channels(pq_keras_writer *w, pq_keras_spec *s, size_t outputs,
                               int64_t shift, pq_err *err)
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
    PQ_TRY(pq_keras_put(w, s, err));
cleanup:
    return st;
}

static pq_status slice(pq_keras_writer *w, pq_err *err)
{
    const pq_slice_params *p = pq_keras_node(w)->layer->params;
    const pq_shape        *o = &pq_keras_node(w)->shape;
    pq_keras_spec          s = pq_keras_over(w, "", "", NULL);
    pq_status              st;

    PQ_TRY(move_channels(w, &s, o->dim[o->ndim - 1], -p->from, err));
cleanup:
    pq_keras_free_spec(&s);
    return st;
}

static pq_status subsample(pq_keras_writer *w, pq_err *err)
{
    const pq_subsample_params *p = pq_keras_node(w)->layer->params;

    return pq_keras_simple(w, "MaxPooling2D",
                           json_pack("{s:[i, i], s:[I, I], s:s, s:s}", "pool_size", 1, 1,
                                     "strides", (json_int_t)p->stride_h,
                                     (json_int_t)p->stride_w, "padding", "valid",
                                     "data_format", "channels_last"),
                           err);
}

static pq_status pad(pq_keras_writer *w, pq_err *err)
{
    const pq_pad_params   *p      = pq_keras_node(w)->layer->params;
    const pq_window_params window = {.padding    = PQ_PADDING_EXPLICIT,
                                     .pad_top    = p->top,
                                     .pad_bottom = p->bottom,
                                     .pad_left   = p->left,
                                     .pad_right  = p->right};
    const pq_shape        *o      = &pq_keras_node(w)->shape;
    pq_keras_spec          s      = pq_keras_over(w, "", "", NULL);
    pq_status              st;

    PQ_CHECK(p->value == 0.0, PQ_ERR_UNSUPPORTED, "Keras pads with 0 alone, not with %g",
             p->value);
    PQ_TRY(pad_before(w, &window, &s, err));
    PQ_TRY(move_channels(w, &s, o->dim[o->ndim - 1], p->before, err));
cleanup:
    pq_keras_free_spec(&s);
    return st;
}

static const pq_keras_kind writers[] = {
    {"input", input},
    {"dense", dense},
    {"conv2d", conv2d},
    {"batch_norm", batch_norm},
    {"layer_norm", layer_norm},
    {"max_pool", max_pool},
    {"avg_pool", avg_pool},
    {"global_max_pool", global_max},
    {"global_avg_pool", global_avg},
    {"concat", concat},
    {"flatten", flatten},
    {"reshape", reshape},
    {"pad", pad},
    {"subsample", subsample},
    {"slice", slice},
    {"tt_dense", dense},
    {"ring_dense", dense},
    {"tt_conv2d", conv2d},
    {NULL, NULL},
};

static const pq_keras_kind *find(const pq_keras_kind *list, const char *kind)
{
    while (list->kind != NULL && strcmp(list->kind, kind) != 0) {
        list++;
    }
    return list->kind != NULL ? list : NULL;
}

pq_status pq_keras_put_kind(pq_keras_writer *w, pq_err *err)
{
    const char          *kind = pq_keras_node(w)->layer->kind->name;
    const pq_keras_kind *as   = find(writers, kind);
    pq_status            st;

    as = as != NULL ? as : find(pq_keras_pointwise, kind);
    PQ_CHECK(as != NULL, PQ_ERR_UNSUPPORTED, "no layer of Keras does what %s does", kind);
    PQ_TRY(as->put(w, err));
cleanup:
    return st;
}
