/*
 * Classes of Keras for rows [length, channels]: the row is an image of one column there
 * and back, and what works on images does the rest.
 */
#include <stdio.h>
#include <string.h>

#include "formats/keras.h"

/* [length, channels] as [length, 1, channels], or back, over node `last`. */
static pq_status reshape(const char *name, const char *what, const char *shape,
                         pq_keras_target *target, pq_err *err)
{
    char      full[sizeof target->last + 16];
    pq_layer *layer = NULL;
    pq_status st;

    (void)snprintf(full, sizeof full, "%s%s", name, what);
    PQ_TRY(pq_layer_create("reshape", &layer, err));
    PQ_TRY(pq_layer_set(layer, "shape", shape, err));
    PQ_TRY(pq_keras_add_over(target, full, &layer, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* Puts what the layer reads into an image, in whose name it reads from then on. */
static pq_status enter(pq_keras_layer *k, pq_keras_target *target, char *name, size_t n,
                       pq_err *err)
{
    const pq_shape *rows = pq_keras_shape(target, k->inputs[0]);
    char            shape[64];
    pq_status       st;

    PQ_CHECK(rows->ndim == 2, PQ_ERR_SHAPE, "reads %zu axes, not [length, channels]",
             rows->ndim);
    (void)snprintf(shape, sizeof shape, "[-1, 1, %zu]", rows->dim[1]);
    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    PQ_TRY(reshape(k->name, ".column", shape, target, err));
    (void)snprintf(name, n, "%s", target->last);
    k->inputs[0] = name;
cleanup:
    return st;
}

/* Appends the layer, as pq_keras_finish, and takes what it gives out of the image. */
static pq_status leave(pq_keras_layer *k, pq_layer **layer, pq_keras_target *target,
                       pq_err *err)
{
    char      shape[64];
    pq_status st;

    PQ_TRY(pq_keras_finish(k, k->name, layer, target, err));
    (void)snprintf(shape, sizeof shape, "[-1, %zu]",
                   pq_keras_shape(target, target->last)->dim[2]);
    PQ_TRY(reshape(k->name, ".rows", shape, target, err));
cleanup:
    return st;
}

/* n, or [n]: the rows of a window; `fallback` where there is none. */
static pq_status rows_of(const json_t *config, const char *key, int64_t fallback,
                         int64_t *out, pq_err *err)
{
    const json_t *value = json_object_get(config, key);
    pq_status     st;

    if (json_array_size(value) == 1) {
        value = json_array_get(value, 0);
    }
    PQ_CHECK(value == NULL || json_is_null(value) || json_is_integer(value),
             PQ_ERR_FORMAT, "'%s' is not a whole number", key);
    *out = json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
cleanup:
    return st;
}

/* Stride (else `fallback`) and padding; causal: all of it before the first row. */
static pq_status set_rows(const json_t *config, pq_layer *layer, int64_t fallback,
                          int64_t reach, pq_err *err)
{
    const char *padding;
    int64_t     stride;
    pq_status   st;

    PQ_TRY(pq_keras_check_format(config, err));
    PQ_TRY(rows_of(config, "strides", fallback, &stride, err));
    PQ_TRY(pq_keras_set(layer, "stride_h", (double)stride, err));
    PQ_TRY(pq_keras_set(layer, "stride_w", 1, err));
    PQ_TRY(pq_keras_word(config, "padding", "valid", &padding, err));
    if (strcmp(padding, "causal") == 0) {
        PQ_TRY(pq_layer_set(layer, "padding", "explicit", err));
        PQ_TRY(pq_keras_set(layer, "pad_top", (double)reach, err));
    } else {
        PQ_TRY(pq_layer_set(layer, "padding", padding, err));
    }
cleanup:
    return st;
}

/* Kernel (rows, in, out) of Keras -> [out, rows, 1, in]. */
static pq_status add_kernel(pq_keras_layer *k, pq_layer *layer, pq_err *err)
{
    static const size_t turned[] = {2, 0, 1};
    pq_tensor          *kernel   = NULL, *taken;
    size_t              filters;
    int64_t             rows;
    const size_t       *dim;
    char                have[128];
    pq_status           st;

    PQ_TRY(pq_keras_size(k->config, "filters", &filters, err));
    PQ_TRY(rows_of(k->config, "kernel_size", 0, &rows, err));
    dim = k->weights[0]->shape.dim;
    PQ_CHECK(k->weights[0]->shape.ndim == 3 && (rows <= 0 || dim[0] == (size_t)rows) &&
                 (filters == 0 || dim[2] == filters),
             PQ_ERR_SHAPE,
             "the kernel in the file is %s, the configuration says [%lld, "
             "any, %zu]",
             pq_shape_text(&k->weights[0]->shape, have, sizeof have), (long long)rows,
             filters);
    PQ_TRY(pq_tensor_permute(k->weights[0], turned, &kernel, err));
    dim = kernel->shape.dim;
    PQ_TRY(pq_tensor_reshape(kernel, PQ_SHAPE(dim[0], dim[1], 1, dim[2]), err));
    taken  = kernel;
    kernel = NULL;
    PQ_TRY(pq_layer_add_weight(layer, "kernel", taken, err));
cleanup:
    pq_tensor_free(&kernel);
    return st;
}

pq_status pq_keras_conv1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    pq_layer  *layer = NULL;
    pq_tensor *bias;
    char       input[sizeof target->last];
    int64_t    dilation;
    size_t     groups;
    bool       biased;
    pq_status  st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &biased, err));
    PQ_TRY(pq_keras_check_weights(k, biased ? 2 : 1, err));
    PQ_TRY(rows_of(k->config, "dilation_rate", 1, &dilation, err));
    PQ_TRY(pq_keras_size(k->config, "groups", &groups, err));
    PQ_TRY(enter(k, target, input, sizeof input, err));
    PQ_TRY(pq_layer_create("conv2d", &layer, err));
    PQ_TRY(add_kernel(k, layer, err));
    PQ_TRY(set_rows(k->config, layer, 1,
                    ((int64_t)k->weights[0]->shape.dim[0] - 1) * dilation, err));
    PQ_TRY(pq_keras_set(layer, "dilation_h", (double)dilation, err));
    PQ_TRY(pq_keras_set(layer, "groups", groups == 0 ? 1.0 : (double)groups, err));
    if (biased) {
        bias          = k->weights[1];
        k->weights[1] = NULL;
        PQ_TRY(pq_layer_add_weight(layer, "bias", bias, err));
    }
    PQ_TRY(leave(k, &layer, target, err));
cleanup:
    k->inputs[0] = NULL;
    pq_layer_free(&layer);
    return st;
}

static pq_status pool(pq_keras_layer *k, const char *kind, pq_keras_target *target,
                      pq_err *err)
{
    pq_layer *layer = NULL;
    char      input[sizeof target->last];
    int64_t   rows;
    pq_status st;

    PQ_TRY(rows_of(k->config, "pool_size", 2, &rows, err));
    PQ_TRY(enter(k, target, input, sizeof input, err));
    PQ_TRY(pq_layer_create(kind, &layer, err));
    PQ_TRY(pq_keras_set(layer, "kernel_h", (double)rows, err));
    PQ_TRY(pq_keras_set(layer, "kernel_w", 1, err));
    PQ_TRY(set_rows(k->config, layer, rows, 0, err));
    PQ_TRY(leave(k, &layer, target, err));
cleanup:
    k->inputs[0] = NULL;
    pq_layer_free(&layer);
    return st;
}

pq_status pq_keras_max_pool1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return pool(k, "max_pool", target, err);
}

pq_status pq_keras_avg_pool1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return pool(k, "avg_pool", target, err);
}
