/* Layer classes of Keras that have weights. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "formats/keras.h"

/* Takes weight i out of the Keras layer. */
static pq_tensor *take(pq_keras_layer *k, size_t i)
{
    pq_tensor *t  = k->weights[i];
    k->weights[i] = NULL;
    return t;
}

/* Adds a weight with its axes reordered (axis NULL = as it is). */
static pq_status add_weight(pq_layer *layer, const char *name, pq_keras_layer *k,
                            size_t i, const size_t *axis, pq_err *err)
{
    pq_tensor *value = NULL;
    pq_status  st;

    if (axis == NULL) {
        value = take(k, i);
    } else {
        PQ_TRY(pq_tensor_permute(k->weights[i], axis, &value, err));
    }
    st = pq_layer_add_weight(layer, name, value, err);
cleanup:
    return st;
}

pq_status pq_keras_check_weights(const pq_keras_layer *k, size_t due, pq_err *err)
{
    pq_status st;

    PQ_CHECK(k->n_weights == due || (k->wrapped && k->n_weights > due), PQ_ERR_FORMAT,
             "the file holds %zu weights, but %s as configured has %zu", k->n_weights,
             k->class_name, due);
cleanup:
    return st;
}

/* Shape of a weight as the file has it. */
static pq_shape file_shape(const pq_keras_layer *k, size_t i)
{
    const pq_shape *ours = &k->weights[i]->shape;
    pq_shape        s    = *ours;

    for (size_t d = 0; i == 0 && k->turned && d < s.ndim; d++) {
        s.dim[d] = ours->dim[(d + 1) % s.ndim];
    }
    return s;
}

/* A kernel must be what the config says: number of axes, and the sizes that are given (0
 * = any). */
static pq_status check_kernel(const pq_keras_layer *k, size_t i, pq_shape due,
                              pq_err *err)
{
    const pq_shape file = file_shape(k, i);
    char           have[128];
    pq_text        want = {0};
    bool           fits = file.ndim == due.ndim;
    pq_status      st;

    for (size_t d = 0; d < due.ndim; d++) {
        fits = fits && (due.dim[d] == 0 || due.dim[d] == file.dim[d]);
        pq_text_add(&want, due.dim[d] == 0 ? "%sany" : "%s%zu", d == 0 ? "" : ", ",
                    due.dim[d]);
    }
    PQ_CHECK(fits, PQ_ERR_SHAPE,
             "the kernel in the file is %s, the configuration says [%s]",
             pq_shape_text(&file, have, sizeof have), want.text);
cleanup:
    pq_text_free(&want);
    return st;
}

/* Appends the layer under a name and the activation of the config after it. */
pq_status pq_keras_finish(pq_keras_layer *k, const char *name, pq_layer **layer,
                          pq_keras_target *target, pq_err *err)
{
    const json_t *activation = json_object_get(k->config, "activation");
    const char   *text       = json_string_value(activation);
    pq_layer     *taken      = *layer;
    char          after[sizeof target->last + 16];
    pq_status     st;

    *layer = NULL;
    PQ_TRY(pq_keras_add(target, name, taken, k->n_inputs, k->inputs, err));
    (void)snprintf(after, sizeof after, "%s.%s", name,
                   text != NULL ? text : "activation");
    PQ_TRY(pq_keras_activation(activation, after, target, err));
cleanup:
    return st;
}

pq_status pq_keras_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    static const size_t turned[] = {1, 0}; /* (in, out) -> [out, in] */
    bool                bias;
    pq_layer           *layer = NULL;
    size_t              units;
    pq_status           st;

    PQ_TRY(pq_keras_size(k->config, "units", &units, err));
    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_TRY(pq_keras_check_weights(k, bias ? 2 : 1, err));
    PQ_TRY(check_kernel(k, 0, PQ_SHAPE(0, units), err));
    PQ_TRY(pq_layer_create("dense", &layer, err));
    PQ_TRY(add_weight(layer, "kernel", k, 0, k->turned ? NULL : turned, err));
    if (bias) {
        PQ_TRY(add_weight(layer, "bias", k, 1, NULL, err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

pq_status pq_keras_set_pair(pq_layer *layer, const char *what, const int64_t pair[2],
                            pq_err *err)
{
    char      name[32];
    pq_status st;

    (void)snprintf(name, sizeof name, "%s_h", what);
    PQ_TRY(pq_keras_set(layer, name, (double)pair[0], err));
    (void)snprintf(name, sizeof name, "%s_w", what);
    PQ_TRY(pq_keras_set(layer, name, (double)pair[1], err));
cleanup:
    return st;
}

/* Stride (default: those of the config's `fallback`) and padding, alike for conv and
 * pooling. */
pq_status pq_keras_set_window(pq_layer *layer, const json_t *config,
                              const int64_t *fallback, pq_err *err)
{
    int64_t     strides[2];
    const char *padding;
    pq_status   st;

    PQ_TRY(pq_keras_check_format(config, err));
    PQ_TRY(pq_keras_pair(config, "strides", 0, strides, err));
    PQ_TRY(pq_keras_set_pair(layer, "stride", strides[0] == 0 ? fallback : strides, err));
    PQ_TRY(pq_keras_word(config, "padding", "valid", &padding, err));
    PQ_TRY(pq_layer_set(layer, "padding", padding, err));
cleanup:
    return st;
}

/* Conv layer without weights: window, dilation, groups. */
static pq_status conv_create(const pq_keras_layer *k, size_t groups, pq_layer **out,
                             pq_err *err)
{
    static const int64_t one[2] = {1, 1};
    pq_layer            *layer  = NULL;
    int64_t              dilation[2];
    pq_status            st;

    PQ_TRY(pq_layer_create("conv2d", &layer, err));
    PQ_TRY(pq_keras_set_window(layer, k->config, one, err));
    PQ_TRY(pq_keras_pair(k->config, "dilation_rate", 1, dilation, err));
    PQ_TRY(pq_keras_set_pair(layer, "dilation", dilation, err));
    PQ_TRY(pq_keras_set(layer, "groups", (double)groups, err));
    *out  = layer;
    layer = NULL;
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Shape with the last axis as the config's key `last` says. */
static pq_status kernel_shape(const json_t *config, const char *last, pq_shape *out,
                              pq_err *err)
{
    int64_t   size[2];
    size_t    n;
    pq_status st;

    PQ_TRY(pq_keras_size(config, last, &n, err));
    PQ_TRY(pq_keras_pair(config, "kernel_size", 0, size, err));
    PQ_CHECK(size[0] >= 0 && size[1] >= 0, PQ_ERR_FORMAT, "kernel_size is negative");
    *out = PQ_SHAPE((size_t)size[0], (size_t)size[1], 0, n);
cleanup:
    return st;
}

pq_status pq_keras_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    static const size_t turned[] = {3, 0, 1, 2}; /* HWIO -> OHWI */
    bool                bias;
    pq_layer           *layer = NULL;
    pq_shape            due;
    size_t              groups;
    pq_status           st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_TRY(pq_keras_check_weights(k, bias ? 2 : 1, err));
    PQ_TRY(kernel_shape(k->config, "filters", &due, err));
    PQ_TRY(check_kernel(k, 0, due, err));
    PQ_TRY(pq_keras_size(k->config, "groups", &groups, err));
    PQ_TRY(conv_create(k, groups == 0 ? 1 : groups, &layer, err));
    PQ_TRY(add_weight(layer, "kernel", k, 0, k->turned ? NULL : turned, err));
    if (bias) {
        PQ_TRY(add_weight(layer, "bias", k, 1, NULL, err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Depthwise kernel (h, w, in, mult) -> [in * mult, h, w, 1] with as many groups as
 * inputs. */
static pq_status depthwise_layer(pq_keras_layer *k, pq_layer **out, pq_err *err)
{
    static const size_t turned[] = {2, 3, 0, 1};
    pq_layer           *layer    = NULL;
    pq_tensor          *kernel   = NULL, *taken;
    pq_shape            due;
    const size_t       *dim;
    size_t              groups;
    pq_status           st;

    PQ_TRY(pq_keras_size(k->config, "groups", &groups, err));
    PQ_CHECK(groups <= 1, PQ_ERR_UNSUPPORTED, "groups is %zu, not 1", groups);
    PQ_TRY(kernel_shape(k->config, "depth_multiplier", &due, err));
    PQ_TRY(check_kernel(k, 0, due, err));
    PQ_TRY(pq_tensor_permute(k->weights[0], turned, &kernel, err));
    dim = kernel->shape.dim;
    PQ_TRY(conv_create(k, dim[0], &layer, err));
    PQ_TRY(pq_tensor_reshape(kernel, PQ_SHAPE(dim[0] * dim[1], dim[2], dim[3], 1), err));
    taken  = kernel;
    kernel = NULL;
    PQ_TRY(pq_layer_add_weight(layer, "kernel", taken, err));
    *out  = layer;
    layer = NULL;
cleanup:
    pq_tensor_free(&kernel);
    pq_layer_free(&layer);
    return st;
}

pq_status pq_keras_depthwise(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    bool      bias;
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_TRY(pq_keras_check_weights(k, bias ? 2 : 1, err));
    PQ_TRY(depthwise_layer(k, &layer, err));
    if (bias) {
        PQ_TRY(add_weight(layer, "bias", k, 1, NULL, err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Two layers: "<name>.depthwise", then the pointwise one, which keeps the name and has
 * the bias. */
pq_status pq_keras_separable(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    static const size_t turned[] = {3, 0, 1, 2};
    bool                bias;
    pq_layer           *layer = NULL;
    size_t              filters;
    char                name[sizeof target->last + 16], first[sizeof target->last];
    pq_status           st;

    PQ_TRY(pq_keras_size(k->config, "filters", &filters, err));
    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_TRY(pq_keras_check_weights(k, bias ? 3 : 2, err));
    PQ_TRY(check_kernel(k, 1, PQ_SHAPE(1, 1, 0, filters), err));
    PQ_TRY(depthwise_layer(k, &layer, err));
    (void)snprintf(name, sizeof name, "%s.depthwise", k->name);
    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    PQ_TRY(pq_keras_add_over(target, name, &layer, err));
    PQ_TRY(pq_layer_create("conv2d", &layer, err));
    PQ_TRY(add_weight(layer, "kernel", k, 1, turned, err));
    if (bias) {
        PQ_TRY(add_weight(layer, "bias", k, 2, NULL, err));
    }
    (void)snprintf(first, sizeof first, "%s", target->last);
    k->inputs[0] = first;
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    k->inputs[0] = NULL;
    pq_layer_free(&layer);
    return st;
}

/* Only over the last axis: the statistics of another would stand elsewhere. */
static pq_status check_norm_axis(const pq_keras_layer *k, const pq_keras_target *target,
                                 pq_err *err)
{
    const size_t ndim = pq_keras_shape(target, k->inputs[0])->ndim;
    size_t       axis;
    pq_status    st;

    PQ_TRY(pq_keras_axis(k->config, ndim, &axis, err));
    PQ_CHECK(axis + 1 == ndim, PQ_ERR_UNSUPPORTED,
             "%s over axis %zu of %zu is not read, only over the last", k->class_name,
             axis + 1, ndim + 1);
cleanup:
    return st;
}

pq_status pq_keras_batch_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    bool      scale, center;
    double    epsilon;
    pq_layer *layer = NULL;
    size_t    i     = 0;
    pq_status st;

    PQ_TRY(check_norm_axis(k, target, err));
    PQ_TRY(pq_keras_bool(k->config, "scale", true, &scale, err));
    PQ_TRY(pq_keras_bool(k->config, "center", true, &center, err));
    PQ_TRY(pq_keras_real(k->config, "epsilon", 1e-3, &epsilon, err));
    PQ_TRY(pq_keras_check_weights(k, 2U + (scale ? 1U : 0U) + (center ? 1U : 0U), err));
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_keras_set(layer, "epsilon", epsilon, err));
    if (scale) {
        PQ_TRY(add_weight(layer, "gamma", k, i++, NULL, err));
    }
    if (center) {
        PQ_TRY(add_weight(layer, "beta", k, i++, NULL, err));
    }
    PQ_TRY(add_weight(layer, "mean", k, i++, NULL, err));
    PQ_TRY(add_weight(layer, "variance", k, i, NULL, err));
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

pq_status pq_keras_layer_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    bool      scale, center;
    double    epsilon;
    pq_layer *layer = NULL;
    pq_status st;

    PQ_TRY(check_norm_axis(k, target, err));
    PQ_TRY(pq_keras_bool(k->config, "scale", true, &scale, err));
    PQ_TRY(pq_keras_bool(k->config, "center", true, &center, err));
    PQ_TRY(pq_keras_real(k->config, "epsilon", 1e-3, &epsilon, err));
    PQ_TRY(pq_keras_check_weights(k, (scale ? 1U : 0U) + (center ? 1U : 0U), err));
    PQ_TRY(pq_layer_create("layer_norm", &layer, err));
    PQ_TRY(pq_keras_set(layer, "epsilon", epsilon, err));
    if (scale) {
        PQ_TRY(add_weight(layer, "gamma", k, 0, NULL, err));
    }
    if (center) {
        PQ_TRY(add_weight(layer, "beta", k, scale ? 1 : 0, NULL, err));
    }
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}
