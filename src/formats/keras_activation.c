/* Activations: as a text in a layer's config, and as layers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/qkeras.h"

pq_status pq_keras_set(pq_layer *layer, const char *attribute, double value, pq_err *err)
{
    char number[32];

    return pq_layer_set(layer, attribute, pq_real_text(value, number, sizeof number),
                        err);
}

pq_status pq_keras_check_format(const json_t *config, pq_err *err)
{
    const char *format;
    pq_status   st;

    PQ_TRY(pq_keras_word(config, "data_format", "channels_last", &format, err));
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
    PQ_TRY(pq_graph_check_node(target->graph, target->graph->n_nodes - 1, err));
    (void)snprintf(target->last, sizeof target->last, "%s", name);
cleanup:
    return st;
}

pq_status pq_keras_add_over(pq_keras_target *target, const char *name, pq_layer **layer,
                            pq_err *err)
{
    pq_layer *taken = *layer;

    *layer = NULL;
    return pq_keras_add(target, name, taken, 1, (const char *const[]){target->last}, err);
}

pq_status pq_keras_add_simple(const char *kind, const char *attribute, double value,
                              const char *name, pq_keras_target *target, pq_err *err)
{
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(pq_layer_create(kind, &layer, err));
    if (attribute != NULL) {
        PQ_TRY(pq_keras_set(layer, attribute, value, err));
    }
    PQ_TRY(pq_keras_add_over(target, name, &layer, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

pq_status pq_keras_add_clip(double lo, double hi, const char *name,
                            pq_keras_target *target, pq_err *err)
{
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(pq_layer_create("clip", &layer, err));
    PQ_TRY(pq_keras_set(layer, "lo", lo, err));
    PQ_TRY(pq_keras_set(layer, "hi", hi, err));
    PQ_TRY(pq_keras_add_over(target, name, &layer, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* max(0, x), with the options of the layer class that have a kind of ours. */
static pq_status add_relu(const json_t *config, const char *name, pq_keras_target *target,
                          pq_err *err)
{
    double    most, slope, from;
    pq_status st;

    PQ_TRY(pq_keras_limit(config, "max_value", &most, err));
    PQ_TRY(pq_keras_real(config, "negative_slope", 0.0, &slope, err));
    PQ_TRY(pq_keras_real(config, "threshold", 0.0, &from, err));
    PQ_CHECK(most >= 0.0, PQ_ERR_FORMAT, "max_value is %g, not 0 or more", most);
    PQ_CHECK(from == 0.0 && (most == HUGE_VAL || slope == 0.0), PQ_ERR_UNSUPPORTED,
             "ReLU with threshold %g, max_value %g and negative_slope %g is not read: a "
             "threshold, and a slope with a maximum, have no kind here",
             from, most, slope);
    if (most < HUGE_VAL) {
        return pq_keras_add_simple("clip", "hi", most, name, target, err);
    }
    return slope != 0.0
               ? pq_keras_add_simple("leaky_relu", "slope", slope, name, target, err)
               : pq_keras_add_simple("relu", NULL, 0.0, name, target, err);
cleanup:
    return st;
}

/* Keras 2 says alpha, Keras 3 negative_slope. */
static pq_status add_leaky_relu(const json_t *config, const char *name,
                                pq_keras_target *target, pq_err *err)
{
    const char *const key =
        json_object_get(config, "alpha") != NULL ? "alpha" : "negative_slope";
    double    slope;
    pq_status st;

    PQ_CHECK(json_object_get(config, "alpha") == NULL ||
                 json_object_get(config, "negative_slope") == NULL,
             PQ_ERR_FORMAT, "LeakyReLU has both alpha and negative_slope");
    PQ_TRY(pq_keras_real(config, key, 0.3, &slope, err));
    PQ_TRY(pq_keras_add_simple("leaky_relu", "slope", slope, name, target, err));
cleanup:
    return st;
}

static pq_status add_elu(const json_t *config, const char *name, pq_keras_target *target,
                         pq_err *err)
{
    double    alpha;
    pq_status st;

    PQ_TRY(pq_keras_real(config, "alpha", 1.0, &alpha, err));
    PQ_TRY(pq_keras_add_simple("elu", "alpha", alpha, name, target, err));
cleanup:
    return st;
}

static pq_status add_softmax(const json_t *config, const char *name,
                             pq_keras_target *target, pq_err *err)
{
    const size_t ndim = pq_keras_shape(target, target->last)->ndim;
    size_t       axis;
    pq_status    st;

    PQ_TRY(pq_keras_axis(config, ndim, &axis, err));
    PQ_CHECK(axis + 1 == ndim, PQ_ERR_UNSUPPORTED,
             "softmax over axis %zu of %zu is not read, only over the last", axis + 1,
             ndim + 1);
    PQ_TRY(pq_keras_add_simple("softmax", NULL, 0.0, name, target, err));
cleanup:
    return st;
}

static const struct {
    const char *class_name;
    pq_status (*add)(const json_t *config, const char *name, pq_keras_target *target,
                     pq_err *err);
    pq_keras_keys keys;
} layers[] = {
    {"ReLU", add_relu, {"max_value negative_slope threshold", NULL, NULL}},
    {"LeakyReLU", add_leaky_relu, {"alpha negative_slope", NULL, NULL}},
    {"ELU", add_elu, {"alpha", NULL, NULL}},
    {"Softmax", add_softmax, {"axis", NULL, NULL}},
};

enum { N_LAYERS = sizeof layers / sizeof *layers };

const pq_keras_keys *pq_keras_activation_keys(const char *class_name)
{
    for (size_t i = 0; i < N_LAYERS; i++) {
        if (strcmp(layers[i].class_name, class_name) == 0) {
            return &layers[i].keys;
        }
    }
    return NULL;
}

pq_status pq_keras_activation_layer(const char *class_name, const json_t *config,
                                    const char *name, pq_keras_target *target,
                                    pq_err *err)
{
    pq_status st;

    for (size_t i = 0; i < N_LAYERS; i++) {
        if (strcmp(layers[i].class_name, class_name) == 0) {
            const pq_keras_keys keys[] = {pq_keras_common, layers[i].keys};
            PQ_TRY(pq_keras_check_keys(config, class_name, keys, 2, err));
            return layers[i].add(config, name, target, err);
        }
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED, "activation '%s' is not known", class_name);
cleanup:
    return st;
}

/* x sigmoid(x) */
static pq_status add_silu(const char *name, pq_keras_target *target, pq_err *err)
{
    char        x[sizeof target->last], gate[sizeof target->last + 16];
    const char *both[] = {x, target->last};
    pq_layer   *layer  = NULL;
    pq_status   st;

    (void)snprintf(x, sizeof x, "%s", target->last);
    (void)snprintf(gate, sizeof gate, "%s.gate", name);
    PQ_TRY(pq_keras_add_simple("sigmoid", NULL, 0.0, gate, target, err));
    PQ_TRY(pq_layer_create("multiply", &layer, err));
    PQ_TRY(pq_keras_add(target, name, layer, 2, both, err));
cleanup:
    return st;
}

/* Klambauer et al., arXiv:1706.02515, with the constants of Keras: scale elu(x, alpha) */
static pq_status add_selu(const char *name, pq_keras_target *target, pq_err *err)
{
    char      inner[sizeof target->last + 16];
    pq_status st;

    (void)snprintf(inner, sizeof inner, "%s.elu", name);
    PQ_TRY(
        pq_keras_add_simple("elu", "alpha", 1.6732632423543772848, inner, target, err));
    PQ_TRY(
        pq_keras_add_simple("scale", "factor", 1.0507009873554804934, name, target, err));
cleanup:
    return st;
}

static pq_status add_hard_tanh(const char *name, pq_keras_target *target, pq_err *err)
{
    return pq_keras_add_clip(-1.0, 1.0, name, target, err);
}

/* Activations that have one name: as a kind with an attribute, or as several nodes. */
static const struct {
    const char *keras, *kind, *attribute;
    double      value;
    pq_status (*add)(const char *name, pq_keras_target *target, pq_err *err);
} functions[] = {
    {"relu", "relu", NULL, 0.0, NULL},
    {"relu6", "clip", "hi", 6.0, NULL},
    {"leaky_relu", "leaky_relu", "slope", 0.2, NULL},
    {"elu", "elu", NULL, 0.0, NULL},
    {"celu", "elu", NULL, 0.0, NULL}, /* the same for alpha = 1, its default */
    {"selu", NULL, NULL, 0.0, add_selu},
    {"gelu", "gelu", NULL, 0.0, NULL},
    {"softplus", "softplus", NULL, 0.0, NULL},
    {"sigmoid", "sigmoid", NULL, 0.0, NULL},
    {"silu", NULL, NULL, 0.0, add_silu},
    {"swish", NULL, NULL, 0.0, add_silu},
    {"tanh", "tanh", NULL, 0.0, NULL},
    {"hard_tanh", NULL, NULL, 0.0, add_hard_tanh},
    {"softmax", "softmax", NULL, 0.0, NULL},
    {"softmax_v2", "softmax", NULL, 0.0, NULL}, /* tf.nn.softmax */
};

enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static pq_status unknown_function(const char *text, pq_err *err)
{
    pq_text   known = {0};
    pq_status st;

    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        pq_text_add(&known, ", %s", functions[i].keras);
    }
    st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "activation '%s' has no kind here; read are linear%s", text,
                    known.text != NULL ? known.text : "");
    pq_text_free(&known);
    return st;
}

static pq_status add_function(const char *text, const char *name, pq_keras_target *target,
                              pq_err *err)
{
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        if (strcmp(functions[i].keras, text) == 0) {
            return functions[i].add != NULL
                       ? functions[i].add(name, target, err)
                       : pq_keras_add_simple(functions[i].kind, functions[i].attribute,
                                             functions[i].value, name, target, err);
        }
    }
    return unknown_function(text, err);
}

pq_status pq_keras_activation(const json_t *activation, const char *name,
                              pq_keras_target *target, pq_err *err)
{
    static const pq_keras_keys keys   = {"class_name config", PQ_KERAS_ORIGIN, NULL};
    const json_t              *config = json_object_get(activation, "config");
    const char                *text   = json_string_value(activation);
    pq_status                  st     = PQ_OK;

    if (activation == NULL || json_is_null(activation)) {
        return PQ_OK;
    }
    if (pq_qkeras_is_quantizer(activation)) {
        return pq_qkeras_activation(activation, name, target, err);
    }
    if (json_is_object(activation)) { /* a function by its name, or a layer */
        PQ_TRY(pq_keras_check_keys(activation, "an activation", &keys, 1, err));
        PQ_TRY(pq_keras_check_origin(activation, err));
        text = json_string_value(config);
        if (text == NULL) {
            PQ_TRY(pq_keras_activation_layer(
                pq_keras_text(activation, "class_name", "object without class_name"),
                config, name, target, err));
            goto cleanup;
        }
    }
    PQ_CHECK(text != NULL, PQ_ERR_FORMAT, "its activation is not a name");
    st = strcmp(text, "linear") == 0 ? PQ_OK : add_function(text, name, target, err);
cleanup:
    return st;
}
