/* Layer classes of Keras without weights, and the table of all. */
#include <stdio.h>
#include <string.h>

#include "formats/hgq.h"
#include "formats/hgq1.h"
#include "formats/qkeras.h"

static pq_status pool(pq_keras_layer *k, const char *kind, pq_keras_target *target,
                      pq_err *err)
{
    pq_layer *layer = NULL;
    int64_t   size[2];
    pq_status st;

    PQ_TRY(pq_layer_create(kind, &layer, err));
    PQ_TRY(pq_keras_pair(k->config, "pool_size", 2, size, err));
    PQ_TRY(pq_keras_set_pair(layer, "kernel", size, err));
    PQ_TRY(pq_keras_set_window(layer, k->config, size, err));
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status max_pool(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return pool(k, "max_pool", target, err);
}

static pq_status avg_pool(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return pool(k, "avg_pool", target, err);
}

/* Layer of a kind without weights, with up to one attribute given as text. */
static pq_status plain(pq_keras_layer *k, const char *kind, const char *attribute,
                       const char *text, pq_keras_target *target, pq_err *err)
{
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(pq_keras_check_format(k->config, err));
    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (attribute != NULL) {
        PQ_TRY(pq_layer_set(layer, attribute, text, err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status global_pool(pq_keras_layer *k, const char *kind, pq_keras_target *target,
                             pq_err *err)
{
    pq_layer *layer = NULL;
    char      name[sizeof target->last + 16];
    bool      keep;
    pq_status st;

    PQ_TRY(plain(k, kind, NULL, NULL, target, err));
    PQ_TRY(pq_keras_bool(k->config, "keepdims", false, &keep, err));
    if (keep) {
        (void)snprintf(name, sizeof name, "%s.keepdims", k->name);
        PQ_TRY(pq_layer_create("reshape", &layer, err));
        PQ_TRY(pq_layer_set(layer, "shape", "[1, 1, -1]", err));
        PQ_TRY(pq_keras_add_over(target, name, &layer, err));
    }
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status global_max(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return global_pool(k, "global_max_pool", target, err);
}

static pq_status global_avg(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return global_pool(k, "global_avg_pool", target, err);
}

static pq_status add(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return plain(k, "add", NULL, NULL, target, err);
}

static pq_status multiply(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return plain(k, "multiply", NULL, NULL, target, err);
}

static pq_status flatten(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return plain(k, "flatten", NULL, NULL, target, err);
}

static pq_status concatenate(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    size_t    axis;
    char      text[32];
    pq_status st;

    PQ_TRY(
        pq_keras_axis(k->config, pq_keras_shape(target, k->inputs[0])->ndim, &axis, err));
    (void)snprintf(text, sizeof text, "%zu", axis);
    PQ_TRY(plain(k, "concat", "axis", text, target, err));
cleanup:
    return st;
}

static pq_status reshape(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *shape = json_object_get(k->config, "target_shape");
    pq_text       text  = {0};
    pq_status     st;

    PQ_CHECK(json_array_size(shape) > 0, PQ_ERR_FORMAT, "'target_shape' is missing");
    for (size_t i = 0; i < json_array_size(shape); i++) {
        PQ_CHECK(json_is_integer(json_array_get(shape, i)), PQ_ERR_FORMAT,
                 "entry %zu of 'target_shape' is not a whole number", i);
        pq_text_add(&text, "%s%lld", i == 0 ? "" : ",",
                    (long long)json_integer_value(json_array_get(shape, i)));
    }
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a shape");
    st = plain(k, "reshape", "shape", text.text, target, err);
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status dropout(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    char      text[32];
    double    rate;
    pq_status st;

    PQ_TRY(pq_keras_real(k->config, "rate", 0.0, &rate, err));
    PQ_TRY(
        plain(k, "dropout", "rate", pq_real_text(rate, text, sizeof text), target, err));
cleanup:
    return st;
}

/* One factor for all values, or one and an offset for each channel. */
static pq_status rescaling(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *offset = json_object_get(k->config, "offset");
    char          text[32];
    double        factor;
    pq_status     st;

    if (json_is_array(json_object_get(k->config, "scale")) || json_is_array(offset) ||
        json_number_value(offset) != 0.0) {
        return pq_keras_rescaling(k, target, err);
    }
    PQ_TRY(pq_keras_real(k->config, "offset", 0.0, &factor, err));
    PQ_TRY(pq_keras_real(k->config, "scale", 1.0, &factor, err));
    PQ_TRY(plain(k, "scale", "factor", pq_real_text(factor, text, sizeof text), target,
                 err));
cleanup:
    return st;
}

/* A node over another. */
static pq_status scaled(pq_keras_target *target, const char *name, const char *input,
                        double factor, pq_err *err)
{
    (void)snprintf(target->last, sizeof target->last, "%s", input);
    return pq_keras_add_simple("scale", "factor", factor, name, target, err);
}

/* a - b. */
static pq_status subtract(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    char      name[sizeof target->last + 16], minus[sizeof target->last];
    pq_status st;

    (void)snprintf(name, sizeof name, "%s.minus", k->name);
    PQ_TRY(scaled(target, name, k->inputs[1], -1.0, err));
    (void)snprintf(minus, sizeof minus, "%s", target->last);
    k->inputs[1] = minus;
    PQ_TRY(plain(k, "add", NULL, NULL, target, err));
cleanup:
    k->inputs[1] = NULL;
    return st;
}

/* The sum, over their number. */
static pq_status average(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const char *name = k->name;
    char        sum[sizeof target->last + 16], first[sizeof target->last];
    pq_status   st;

    (void)snprintf(sum, sizeof sum, "%s.sum", name);
    k->name = sum;
    PQ_TRY(plain(k, "add", NULL, NULL, target, err));
    (void)snprintf(first, sizeof first, "%s", target->last);
    PQ_TRY(scaled(target, name, first, 1.0 / (double)k->n_inputs, err));
cleanup:
    k->name = name;
    return st;
}

/* Nothing at inference: the layer's readers read its input. */
static pq_status identity(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    (void)err;
    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    return PQ_OK;
}

static pq_status activation(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    (void)identity(k, target, err);
    return pq_keras_activation(json_object_get(k->config, "activation"), k->name, target,
                               err);
}

/* n, [h, w] or [[top, bottom], [left, right]]. */
static pq_status zero_padding(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *padding    = json_object_get(k->config, "padding");
    const char   *side[2][2] = {{"top", "bottom"}, {"left", "right"}};
    pq_layer     *layer      = NULL;
    const bool    nested     = json_is_array(json_array_get(padding, 0)) ||
                        json_is_array(json_array_get(padding, 1));
    int64_t   both[2] = {0, 0}, pair[2];
    pq_status st;

    PQ_TRY(pq_keras_check_format(k->config, err));
    PQ_TRY(pq_layer_create("pad", &layer, err));
    if (!nested) {
        PQ_TRY(pq_keras_pair(k->config, "padding", 1, both, err));
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *given = json_array_get(padding, i);
        if (nested) {
            PQ_CHECK(json_array_size(padding) == 2 && json_array_size(given) == 2 &&
                         json_is_integer(json_array_get(given, 0)) &&
                         json_is_integer(json_array_get(given, 1)),
                     PQ_ERR_FORMAT, "'padding' is not [[top, bottom], [left, right]]");
            pair[0] = (int64_t)json_integer_value(json_array_get(given, 0));
            pair[1] = (int64_t)json_integer_value(json_array_get(given, 1));
        } else {
            pair[0] = pair[1] = both[i];
        }
        PQ_TRY(pq_keras_set(layer, side[i][0], (double)pair[0], err));
        PQ_TRY(pq_keras_set(layer, side[i][1], (double)pair[1], err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* batch_input_shape (Keras 2) or batch_shape (3): [null, 32, 32, 3]. */
static pq_status input(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *shape = json_object_get(k->config, "batch_input_shape");
    pq_text       text  = {0};
    pq_layer     *layer = NULL;
    pq_status     st;

    shape = shape != NULL ? shape : json_object_get(k->config, "batch_shape");
    PQ_CHECK(json_array_size(shape) >= 2, PQ_ERR_FORMAT,
             "the shape of the input is missing");
    for (size_t i = 1; i < json_array_size(shape); i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) <= 0) {
            st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                            "dimension %zu of the input is not fixed; only fixed sizes "
                            "are read",
                            i);
            pq_err_hint(err, "fix it in Python: keras.models.clone_model(model, "
                             "input_tensors=keras.Input(SIZES)), and set_weights("
                             "model.get_weights())");
            goto cleanup;
        }
        pq_text_add(&text, "%s%lld", i == 1 ? "" : ",",
                    (long long)json_integer_value(dim));
    }
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a shape");
    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(pq_layer_set(layer, "shape", text.text, err));
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_text_free(&text);
    pq_layer_free(&layer);
    return st;
}

/* ReLU and its like. */
static pq_status activation_layer(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    (void)identity(k, target, err);
    return pq_keras_activation_layer(k->class_name, k->config, k->name, target, err);
}

#define BIAS "bias_initializer bias_regularizer bias_constraint"
#define KERNEL                                                                           \
    "kernel_initializer kernel_regularizer kernel_constraint bias_initializer "          \
    "bias_regularizer bias_constraint"
#define DEPTHWISE "depthwise_initializer depthwise_regularizer depthwise_constraint"
#define POINTWISE "pointwise_initializer pointwise_regularizer pointwise_constraint"
#define NORM                                                                             \
    "momentum beta_initializer gamma_initializer moving_mean_initializer "               \
    "moving_variance_initializer beta_regularizer gamma_regularizer beta_constraint "    \
    "gamma_constraint synchronized fused renorm_clipping renorm_momentum"
#define WINDOW     "kernel_size strides padding data_format dilation_rate groups use_bias"
#define QUANTIZERS "lora_rank quantization_config quantization_mode"
#define POOL       "pool_size strides padding data_format"

#define HGQ_READ                                                                         \
    "activation use_bias kq_conf iq_conf bq_conf oq_conf enable_iq enable_oq "           \
    "enable_ebops "
#define HGQ_IDLE   "ebops_factor beta0 parallelization_factor " KERNEL
#define HGQ1_CONF  "kq_conf paq_conf"
#define HGQ1_IDLE  "beta parallel_factor"
#define HGQ1_DENSE "units activation use_bias " HGQ1_CONF
#define HGQ1_CONV  "filters activation " WINDOW " " HGQ1_CONF
#define RANGES     "kernel_range bias_range mask"

static const pq_keras_class classes[] = {
    {"InputLayer",
     0,
     0,
     input,
     {"batch_input_shape batch_shape", NULL, "sparse ragged optional"}},
    {"Dense", 1, 1, pq_keras_dense, {"units activation use_bias", KERNEL, QUANTIZERS}},
    {"Conv2D", 1, 1, pq_keras_conv2d, {"filters activation " WINDOW, KERNEL, QUANTIZERS}},
    {"Convolution2D",
     1,
     1,
     pq_keras_conv2d,
     {"filters activation " WINDOW, KERNEL, QUANTIZERS}},
    {"Conv1D", 1, 1, pq_keras_conv1d, {"filters activation " WINDOW, KERNEL, QUANTIZERS}},
    {"MaxPooling1D", 1, 1, pq_keras_max_pool1d, {POOL, NULL, NULL}},
    {"AveragePooling1D", 1, 1, pq_keras_avg_pool1d, {POOL, NULL, NULL}},
    {"Normalization",
     1,
     1,
     pq_keras_normalization,
     {"axis mean variance invert", "input_mean input_variance", NULL}},
    {"Subtract", 2, 2, subtract, {NULL, NULL, NULL}},
    {"Average", 2, PQ_NODE_INPUTS, average, {NULL, NULL, NULL}},
    {"DepthwiseConv2D",
     1,
     1,
     pq_keras_depthwise,
     {"depth_multiplier activation " WINDOW, DEPTHWISE " " BIAS, QUANTIZERS}},
    {"SeparableConv2D",
     1,
     1,
     pq_keras_separable,
     {"filters depth_multiplier activation " WINDOW, DEPTHWISE " " POINTWISE " " BIAS,
      QUANTIZERS}},
    {"BatchNormalization",
     1,
     1,
     pq_keras_batch_norm,
     {"axis epsilon scale center", NORM, "renorm virtual_batch_size adjustment"}},
    {"LayerNormalization",
     1,
     1,
     pq_keras_layer_norm,
     {"axis epsilon scale center", NORM, "rms_scaling"}},
    {"Activation", 1, 1, activation, {"activation", NULL, NULL}},
    {"ReLU", 1, 1, activation_layer, {NULL, NULL, NULL}},
    {"LeakyReLU", 1, 1, activation_layer, {NULL, NULL, NULL}},
    {"ELU", 1, 1, activation_layer, {NULL, NULL, NULL}},
    {"Softmax", 1, 1, activation_layer, {NULL, NULL, NULL}},
    {"MaxPooling2D", 1, 1, max_pool, {POOL, NULL, NULL}},
    {"AveragePooling2D", 1, 1, avg_pool, {POOL, NULL, NULL}},
    {"GlobalMaxPooling2D", 1, 1, global_max, {"data_format keepdims", NULL, NULL}},
    {"GlobalAveragePooling2D", 1, 1, global_avg, {"data_format keepdims", NULL, NULL}},
    {"GlobalMaxPooling1D", 1, 1, global_max, {"data_format keepdims", NULL, NULL}},
    {"GlobalAveragePooling1D", 1, 1, global_avg, {"data_format keepdims", NULL, NULL}},
    {"Rescaling", 1, 1, rescaling, {"scale offset", NULL, NULL}},
    {"Add", 2, PQ_NODE_INPUTS, add, {NULL, NULL, NULL}},
    {"Multiply", 2, PQ_NODE_INPUTS, multiply, {NULL, NULL, NULL}},
    {"Concatenate", 2, PQ_NODE_INPUTS, concatenate, {"axis", NULL, NULL}},
    {"Flatten", 1, 1, flatten, {"data_format", NULL, NULL}},
    {"Reshape", 1, 1, reshape, {"target_shape", NULL, NULL}},
    {"ZeroPadding2D", 1, 1, zero_padding, {"padding data_format", NULL, NULL}},
    {"Dropout", 1, 1, dropout, {"rate", "seed noise_shape", NULL}},
    {"SpatialDropout1D", 1, 1, dropout, {"rate data_format", "seed noise_shape", NULL}},
    {"SpatialDropout2D", 1, 1, dropout, {"rate data_format", "seed noise_shape", NULL}},
    {"AlphaDropout", 1, 1, identity, {NULL, "rate seed noise_shape", NULL}},
    {"GaussianDropout", 1, 1, identity, {NULL, "rate seed", NULL}},
    {"GaussianNoise", 1, 1, identity, {NULL, "stddev seed", NULL}},
    {"ActivityRegularization", 1, 1, identity, {NULL, "l1 l2", NULL}},
    {"Identity", 1, 1, identity, {NULL, NULL, NULL}},
    {"hgq>QDense", 1, 1, pq_hgq_dense, {HGQ_READ "units", HGQ_IDLE, QUANTIZERS}},
    {"hgq>QBatchNormDense",
     1,
     1,
     pq_hgq_batch_norm_dense,
     {HGQ_READ "units scale epsilon",
      HGQ_IDLE " momentum synchronized bn_gamma_initializer moving_mean_initializer "
               "moving_variance_initializer bn_gamma_regularizer bn_gamma_constraint",
      QUANTIZERS}},
    {"hgq>QConv2D",
     1,
     1,
     pq_hgq_conv2d,
     {HGQ_READ "filters strides padding data_format dilation_rate groups kernel_size",
      HGQ_IDLE, QUANTIZERS}},
    {"hgq>Quantizer", 1, 1, pq_hgq_quantize, {"config", NULL, NULL}},
    {"HGQ>HQuantize", 1, 1, pq_hgq1_quantize, {HGQ1_CONF, HGQ1_IDLE, NULL}},
    {"HGQ>HActivation",
     1,
     1,
     pq_hgq1_activation,
     {"activation " HGQ1_CONF, HGQ1_IDLE, NULL}},
    {"HGQ>HAdd", 2, PQ_NODE_INPUTS, pq_hgq1_add, {HGQ1_CONF, HGQ1_IDLE, NULL}},
    {"HGQ>HDense", 1, 1, pq_hgq1_dense, {HGQ1_DENSE, HGQ1_IDLE " " KERNEL, NULL}},
    {"HGQ>HDenseBatchNorm",
     1,
     1,
     pq_hgq1_dense_norm,
     {HGQ1_DENSE, HGQ1_IDLE " " KERNEL, NULL}},
    {"HGQ>HConv2D", 1, 1, pq_hgq1_conv2d, {HGQ1_CONV, HGQ1_IDLE " " KERNEL, NULL}},
    {"HGQ>HConv2DBatchNorm",
     1,
     1,
     pq_hgq1_conv2d_norm,
     {HGQ1_CONV, HGQ1_IDLE " " KERNEL, NULL}},
    {"HGQ>FixedPointQuantizer",
     1,
     1,
     pq_hgq1_fixed,
     {"RND SAT overrides", "shape fusible", NULL}},
    {"HGQ>PFlatten", 1, 1, flatten, {"data_format", NULL, NULL}},
    {"HGQ>PReshape", 1, 1, reshape, {"target_shape", NULL, NULL}},
    {"HGQ>PConcatenate", 2, PQ_NODE_INPUTS, concatenate, {"axis", NULL, NULL}},
    {"HGQ>PMaxPooling2D", 1, 1, max_pool, {POOL, NULL, NULL}},
    {"HGQ>PMaxPooling1D", 1, 1, pq_keras_max_pool1d, {POOL, NULL, NULL}},
    {"HGQ>PAveragePooling2D", 1, 1, avg_pool, {POOL, NULL, NULL}},
    {"HGQ>PAveragePooling1D", 1, 1, pq_keras_avg_pool1d, {POOL, NULL, NULL}},
    {"HGQ>PDropout", 1, 1, dropout, {"rate", "seed noise_shape", NULL}},
    {"QDense",
     1,
     1,
     pq_qkeras_dense,
     {"units activation use_bias kernel_quantizer bias_quantizer", KERNEL, RANGES}},
    {"QConv2D",
     1,
     1,
     pq_qkeras_conv2d,
     {"filters activation kernel_quantizer bias_quantizer " WINDOW, KERNEL, RANGES}},
    {"QConv1D",
     1,
     1,
     pq_qkeras_conv1d,
     {"filters activation kernel_quantizer bias_quantizer " WINDOW, KERNEL, RANGES}},
    {"QDepthwiseConv2D",
     1,
     1,
     pq_qkeras_depthwise,
     {"depth_multiplier activation depthwise_quantizer bias_quantizer " WINDOW,
      DEPTHWISE " " BIAS, "depthwise_range bias_range"}},
    {"QBatchNormalization",
     1,
     1,
     pq_qkeras_batch_norm,
     {"axis epsilon scale center beta_quantizer gamma_quantizer mean_quantizer "
      "variance_quantizer",
      NORM,
      "renorm virtual_batch_size adjustment inverse_quantizer beta_range "
      "gamma_range"}},
    {"QActivation", 1, 1, activation, {"activation", NULL, NULL}},
};

pq_status pq_keras_find_class(const pq_keras_layer *k, const pq_keras_class **out,
                              pq_err *err)
{
    const pq_keras_class *c    = NULL;
    const pq_keras_keys  *more = pq_keras_activation_keys(k->class_name);
    pq_status             st;

    for (size_t i = 0; c == NULL && i < sizeof classes / sizeof *classes; i++) {
        c = strcmp(classes[i].name, k->class_name) == 0 ? &classes[i] : NULL;
    }
    PQ_CHECK(c != NULL, PQ_ERR_UNSUPPORTED, "layer class '%s' is not known",
             k->class_name);
    PQ_CHECK(k->n_inputs >= c->min_inputs && k->n_inputs <= c->max_inputs, PQ_ERR_FORMAT,
             "%s has %zu inputs, not %zu..%zu", k->class_name, k->n_inputs, c->min_inputs,
             c->max_inputs);
    const pq_keras_keys keys[] = {pq_keras_common, more != NULL ? *more : c->keys};
    PQ_TRY(pq_keras_check_keys(k->config, k->class_name, keys, 2, err));
    *out = c;
cleanup:
    return st;
}
