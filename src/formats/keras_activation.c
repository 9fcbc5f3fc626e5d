/* Activations: as a text in a layer's config, and as layers. */
#include <stdio.h>
#include <string.h>

#include "formats/keras.h"

const char *pq_keras_text(const json_t *config, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(config, key));

    return text != NULL ? text : fallback;
}

double pq_keras_real(const json_t *config, const char *key, double fallback)
{
    const json_t *value = json_object_get(config, key);

    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool pq_keras_bool(const json_t *config, const char *key, bool fallback)
{
    const json_t *value = json_object_get(config, key);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static bool whole(const json_t *value, int64_t *out)
{
    *out = (int64_t)json_integer_value(value);
    return json_is_integer(value);
}

pq_status pq_keras_pair(const json_t *config, const char *key, int64_t fallback,
                        int64_t out[2], pq_err *err)
{
    const json_t *value = json_object_get(config, key);
    pq_status     st    = PQ_OK;

    out[0] = out[1] = fallback;
    if (value == NULL || json_is_null(value)) {
        return PQ_OK;
    }
    if (whole(value, &out[0])) {
        out[1] = out[0];
        return PQ_OK;
    }
    PQ_CHECK(json_array_size(value) == 2 && whole(json_array_get(value, 0), &out[0]) &&
                 whole(json_array_get(value, 1), &out[1]),
             PQ_ERR_FORMAT, "'%s' is not a pair of whole numbers", key);
cleanup:
    return st;
}

pq_status pq_keras_set(pq_layer *layer, const char *attribute, double value, pq_err *err)
{
    char number[32];

    return pq_layer_set(layer, attribute, pq_real_text(value, number, sizeof number),
                        err);
}

pq_status pq_keras_check_format(const json_t *config, pq_err *err)
{
    const char *format = pq_keras_text(config, "data_format", "channels_last");
    pq_status   st;

    PQ_CHECK(strcmp(format, "channels_last") == 0, PQ_ERR_UNSUPPORTED,
             "data_format '%s' is not read, only channels_last; save the model with "
             "channels last",
             format);
cleanup:
    return st;
}

pq_status pq_keras_add(pq_keras_target *target, const char *name, pq_layer *layer,
                       size_t n, const char *const *inputs, pq_err *err)
{
    pq_status st;

    if (strlen(name) >= sizeof target->last) {
        pq_layer_free(&layer);
        PQ_FAIL(PQ_ERR_FORMAT, "its name is longer than %zu characters",
                sizeof target->last - 1);
    }
    PQ_TRY(pq_graph_add(target->graph, name, layer, n, inputs, err));
    (void)snprintf(target->last, sizeof target->last, "%s", name);
cleanup:
    return st;
}

/* Layer of a kind with up to one attribute, over `last`. */
static pq_status add_simple(const char *kind, const char *attribute, double value,
                            const char *name, pq_keras_target *target, pq_err *err)
{
    pq_layer   *layer = NULL, *taken;
    const char *input = target->last;
    char        copy[sizeof target->last];
    pq_status   st;

    (void)snprintf(copy, sizeof copy, "%s", input);
    input = copy;
    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (attribute != NULL) {
        PQ_TRY(pq_keras_set(layer, attribute, value, err));
    }
    taken = layer;
    layer = NULL;
    PQ_TRY(pq_keras_add(target, name, taken, 1, &input, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* max(0, x), with the options of the layer class that have a kind of ours. */
static pq_status add_relu(const json_t *config, const char *name, pq_keras_target *target,
                          pq_err *err)
{
    const double most  = pq_keras_real(config, "max_value", -1.0);
    const double slope = pq_keras_real(config, "negative_slope", 0.0);
    const double from  = pq_keras_real(config, "threshold", 0.0);
    pq_status    st;

    PQ_CHECK(from == 0.0 && (most < 0.0 || slope == 0.0), PQ_ERR_UNSUPPORTED,
             "ReLU with threshold %g, max_value %g and negative_slope %g is not read: a "
             "threshold, and a slope with a maximum, have no kind here",
             from, most, slope);
    if (most >= 0.0) {
        return add_simple("clip", "hi", most, name, target, err);
    }
    return slope != 0.0 ? add_simple("leaky_relu", "slope", slope, name, target, err)
                        : add_simple("relu", NULL, 0.0, name, target, err);
cleanup:
    return st;
}

static pq_status add_softmax(const json_t *config, const char *name,
                             pq_keras_target *target, pq_err *err)
{
    pq_status st;

    PQ_CHECK(pq_keras_real(config, "axis", -1.0) == -1.0, PQ_ERR_UNSUPPORTED,
             "softmax over axis %g is not read, only over the last (-1)",
             pq_keras_real(config, "axis", -1.0));
    st = add_simple("softmax", NULL, 0.0, name, target, err);
cleanup:
    return st;
}

pq_status pq_keras_activation_class(const char *class_name, const json_t *config,
                                    const char *name, pq_keras_target *target,
                                    bool *found, pq_err *err)
{
    *found = true;
    if (strcmp(class_name, "ReLU") == 0) {
        return add_relu(config, name, target, err);
    }
    if (strcmp(class_name, "LeakyReLU") ==
        0) { /* Keras 2 says alpha, Keras 3 negative_slope */
        const double slope =
            pq_keras_real(config, "alpha", pq_keras_real(config, "negative_slope", 0.3));
        return add_simple("leaky_relu", "slope", slope, name, target, err);
    }
    if (strcmp(class_name, "ELU") == 0) {
        return add_simple("elu", "alpha", pq_keras_real(config, "alpha", 1.0), name,
                          target, err);
    }
    if (strcmp(class_name, "Softmax") == 0) {
        return add_softmax(config, name, target, err);
    }
    *found = false;
    return PQ_OK;
}

pq_status pq_keras_activation(const json_t *activation, const char *name,
                              pq_keras_target *target, pq_err *err)
{
    static const struct {
        const char *keras, *kind, *attribute;
        double      value;
    } known[] = {
        {"relu", "relu", NULL, 0.0},       {"relu6", "clip", "hi", 6.0},
        {"softmax", "softmax", NULL, 0.0}, {"sigmoid", "sigmoid", NULL, 0.0},
        {"tanh", "tanh", NULL, 0.0},       {"elu", "elu", NULL, 0.0},
        {"gelu", "gelu", NULL, 0.0},       {"leaky_relu", "leaky_relu", "slope", 0.2},
    };
    const char *text  = json_string_value(activation);
    bool        found = false;
    pq_status   st    = PQ_OK;

    if (json_is_object(
            activation)) { /* {"class_name": "function", "config": "relu"} or a layer */
        const json_t *config = json_object_get(activation, "config");
        text                 = json_string_value(config);
        if (text == NULL) {
            text = pq_keras_text(activation, "class_name", "object without class_name");
            PQ_TRY(pq_keras_activation_class(text, config, name, target, &found, err));
            if (found) {
                goto cleanup;
            }
        }
    }
    if (text == NULL || strcmp(text, "linear") == 0) {
        return PQ_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].keras, text) == 0) {
            return add_simple(known[i].kind, known[i].attribute, known[i].value, name,
                              target, err);
        }
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED, "activation '%s' is not known", text);
cleanup:
    return st;
}
