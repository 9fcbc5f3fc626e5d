/* Layer classes of Keras without weights, and the table of all. */
#include <stdio.h>
#include <string.h>

#include "formats/keras.h"

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
    pq_layer   *layer = NULL, *taken;
    char        name[sizeof target->last + 16], first[sizeof target->last];
    const char *input = first;
    pq_status   st;

    PQ_TRY(plain(k, kind, NULL, NULL, target, err));
    if (pq_keras_bool(k->config, "keepdims", false)) {
        (void)snprintf(first, sizeof first, "%s", target->last);
        (void)snprintf(name, sizeof name, "%s.keepdims", k->name);
        PQ_TRY(pq_layer_create("reshape", &layer, err));
        PQ_TRY(pq_layer_set(layer, "shape", "[1, 1, -1]", err));
        taken = layer;
        layer = NULL;
        PQ_TRY(pq_keras_add(target, name, taken, 1, &input, err));
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

/* Keras counts the batch as axis 0; ours starts at the sample. */
static pq_status concatenate(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const double axis = pq_keras_real(k->config, "axis", -1.0);
    char         text[32];
    pq_status    st;

    PQ_CHECK(axis != 0.0, PQ_ERR_UNSUPPORTED,
             "joining along the batch (axis 0) is not read");
    (void)pq_real_text(axis > 0.0 ? axis - 1.0 : axis, text, sizeof text);
    st = plain(k, "concat", "axis", text, target, err);
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
    char rate[32];

    return plain(k, "dropout", "rate",
                 pq_real_text(pq_keras_real(k->config, "rate", 0.0), rate, sizeof rate),
                 target, err);
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
    int64_t       both[2], pair[2];
    pq_status     st;

    PQ_TRY(pq_keras_check_format(k->config, err));
    PQ_TRY(pq_layer_create("pad", &layer, err));
    if (!json_is_array(json_array_get(padding, 0))) {
        PQ_TRY(pq_keras_pair(k->config, "padding", 1, both, err));
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *given = json_array_get(padding, i);
        if (json_is_array(given)) {
            PQ_CHECK(json_array_size(given) == 2 &&
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
        PQ_CHECK(json_is_integer(dim) && json_integer_value(dim) > 0, PQ_ERR_UNSUPPORTED,
                 "dimension %zu of the input is not fixed; only fixed sizes are read", i);
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

static const struct {
    const char *class_name;
    size_t      min_inputs, max_inputs;
    pq_status (*convert)(pq_keras_layer *k, pq_keras_target *target, pq_err *err);
} classes[] = {
    {"InputLayer", 0, 0, input},
    {"Dense", 1, 1, pq_keras_dense},
    {"Conv2D", 1, 1, pq_keras_conv2d},
    {"Convolution2D", 1, 1, pq_keras_conv2d},
    {"DepthwiseConv2D", 1, 1, pq_keras_depthwise},
    {"SeparableConv2D", 1, 1, pq_keras_separable},
    {"BatchNormalization", 1, 1, pq_keras_batch_norm},
    {"Activation", 1, 1, activation},
    {"MaxPooling2D", 1, 1, max_pool},
    {"AveragePooling2D", 1, 1, avg_pool},
    {"GlobalMaxPooling2D", 1, 1, global_max},
    {"GlobalAveragePooling2D", 1, 1, global_avg},
    {"Add", 2, PQ_NODE_INPUTS, add},
    {"Multiply", 2, PQ_NODE_INPUTS, multiply},
    {"Concatenate", 2, PQ_NODE_INPUTS, concatenate},
    {"Flatten", 1, 1, flatten},
    {"Reshape", 1, 1, reshape},
    {"ZeroPadding2D", 1, 1, zero_padding},
    {"Dropout", 1, 1, dropout},
    {"SpatialDropout2D", 1, 1, dropout},
    {"AlphaDropout", 1, 1, identity},
    {"GaussianDropout", 1, 1, identity},
    {"GaussianNoise", 1, 1, identity},
    {"ActivityRegularization", 1, 1, identity},
    {"Identity", 1, 1, identity},
};

static bool is_activation_class(const char *name)
{
    return strcmp(name, "ReLU") == 0 || strcmp(name, "LeakyReLU") == 0 ||
           strcmp(name, "ELU") == 0 || strcmp(name, "Softmax") == 0;
}

pq_status pq_keras_convert(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    bool      found = false;
    pq_status st;

    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strcmp(classes[i].class_name, k->class_name) == 0) {
            PQ_CHECK(k->n_inputs >= classes[i].min_inputs &&
                         k->n_inputs <= classes[i].max_inputs,
                     PQ_ERR_FORMAT, "%s has %zu inputs, not %zu..%zu", k->class_name,
                     k->n_inputs, classes[i].min_inputs, classes[i].max_inputs);
            return classes[i].convert(k, target, err);
        }
    }
    PQ_CHECK(is_activation_class(k->class_name), PQ_ERR_UNSUPPORTED,
             "layer class '%s' is not known", k->class_name);
    PQ_CHECK(k->n_inputs == 1, PQ_ERR_FORMAT, "%s has %zu inputs, not 1", k->class_name,
             k->n_inputs);
    (void)identity(k, target, err);
    st =
        pq_keras_activation_class(k->class_name, k->config, k->name, target, &found, err);
cleanup:
    return st;
}
