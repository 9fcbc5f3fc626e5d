/*
 * Classes of Keras that scale and shift each channel by constants: a normalisation by
 * statistics 0 and 1.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/keras.h"

static pq_status add_vector(pq_layer *layer, const char *name, const double *values,
                            size_t n, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &t, err));
    for (size_t i = 0; i < n; i++) {
        pq_f32(t)[i] = (float)values[i];
    }
    return pq_layer_add_weight(layer, name, t, err);
cleanup:
    return st;
}

static size_t channels_of(const pq_keras_layer *k, const pq_keras_target *target)
{
    const pq_shape *s = pq_keras_shape(target, k->inputs[0]);

    return s->dim[s->ndim - 1];
}

/* The values of a config's list, nested or not, or of a weight: one for all channels, or
 * n. */
static pq_status fill(const json_t *given, const pq_tensor *weight, const char *what,
                      size_t n, double *out, pq_err *err)
{
    size_t    count = weight != NULL ? weight->count : 1;
    pq_status st;

    while (json_array_size(given) == 1 && json_is_array(json_array_get(given, 0))) {
        given = json_array_get(given, 0);
    }
    count = json_is_array(given) ? json_array_size(given) : count;
    PQ_CHECK(count == n || count == 1, PQ_ERR_SHAPE,
             "'%s' has %zu values for %zu channels", what, count, n);
    for (size_t i = 0; i < n; i++) {
        const size_t  at   = count == 1 ? 0 : i;
        const json_t *item = json_is_array(given) ? json_array_get(given, at) : given;
        PQ_CHECK(weight != NULL || json_is_number(item), PQ_ERR_FORMAT,
                 "value %zu of '%s' is not a finite number", at, what);
        out[i] = weight != NULL ? (double)pq_f32(weight)[at] : json_number_value(item);
    }
cleanup:
    return st;
}

/* y = x scale + shift by channel. */
static pq_status affine(pq_keras_layer *k, size_t n, const double *scale,
                        const double *shift, pq_keras_target *target, pq_err *err)
{
    pq_layer *layer = NULL;
    double   *both  = NULL; /* zeros, then ones */
    pq_status st;

    PQ_NEW(both, 2 * n);
    for (size_t i = 0; i < n; i++) {
        both[n + i] = 1.0;
    }
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_keras_set(layer, "epsilon", 0, err));
    PQ_TRY(add_vector(layer, "gamma", scale, n, err));
    PQ_TRY(add_vector(layer, "beta", shift, n, err));
    PQ_TRY(add_vector(layer, "mean", both, n, err));
    PQ_TRY(add_vector(layer, "variance", both + n, n, err));
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_free(both);
    pq_layer_free(&layer);
    return st;
}

/* (x - mean) / deviation, the deviation at least 1e-7 as in Keras: mean and variance stay
 * those of the file. */
static pq_status standardise(pq_keras_layer *k, size_t n, const double *mean,
                             const double *deviation, pq_keras_target *target,
                             pq_err *err)
{
    pq_layer *layer    = NULL;
    double   *variance = NULL;
    pq_status st;

    PQ_NEW(variance, n);
    for (size_t i = 0; i < n; i++) {
        variance[i] = deviation[i] * deviation[i];
    }
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_keras_set(layer, "epsilon", 0, err));
    PQ_TRY(add_vector(layer, "mean", mean, n, err));
    PQ_TRY(add_vector(layer, "variance", variance, n, err));
    PQ_TRY(pq_keras_finish(k, k->name, &layer, target, err));
cleanup:
    pq_free(variance);
    pq_layer_free(&layer);
    return st;
}

/* Over the last axis, or one mean for all (axis null). */
static pq_status check_axis(const pq_keras_layer *k, const pq_keras_target *target,
                            pq_err *err)
{
    const json_t *axis = json_object_get(k->config, "axis");
    const size_t  ndim = pq_keras_shape(target, k->inputs[0])->ndim;
    size_t        at;
    pq_status     st;

    if (json_is_null(axis) || (json_is_array(axis) && json_array_size(axis) == 0)) {
        return PQ_OK;
    }
    PQ_TRY(pq_keras_axis(k->config, ndim, &at, err));
    PQ_CHECK(at + 1 == ndim, PQ_ERR_UNSUPPORTED,
             "Normalization over axis %zu of %zu is not read, only over the last", at + 1,
             ndim + 1);
cleanup:
    return st;
}

pq_status pq_keras_normalization(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *mean = json_object_get(k->config, "mean"),
                 *var  = json_object_get(k->config, "variance");
    const bool   own   = json_is_null(mean) || mean == NULL; /* adapted to events */
    const size_t n     = channels_of(k, target);
    double      *m = NULL, *deviation = NULL;
    bool         invert;
    pq_status    st;

    PQ_TRY(check_axis(k, target, err));
    PQ_TRY(pq_keras_bool(k->config, "invert", false, &invert, err));
    PQ_TRY(pq_keras_check_weights(k, own ? 3 : 0, err));
    PQ_NEW(m, n);
    PQ_NEW(deviation, n);
    PQ_TRY(fill(mean, own ? k->weights[0] : NULL, "mean", n, m, err));
    PQ_TRY(fill(var, own ? k->weights[1] : NULL, "variance", n, deviation, err));
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(deviation[i] >= 0.0, PQ_ERR_NUMERIC, "the variance of channel %zu is %g",
                 i, deviation[i]);
        deviation[i] = fmax(sqrt(deviation[i]), 1e-7);
    }
    PQ_TRY(invert ? affine(k, n, deviation, m, target, err)
                  : standardise(k, n, m, deviation, target, err));
cleanup:
    pq_free(m);
    pq_free(deviation);
    return st;
}

pq_status pq_keras_rescaling(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const size_t  n      = channels_of(k, target);
    const json_t *scale  = json_object_get(k->config, "scale"),
                 *offset = json_object_get(k->config, "offset");
    double   *factors = NULL, *shifts = NULL;
    pq_status st;

    PQ_NEW(factors, n);
    PQ_NEW(shifts, n);
    PQ_TRY(fill(scale, NULL, "scale", n, factors, err));
    if (offset != NULL) {
        PQ_TRY(fill(offset, NULL, "offset", n, shifts, err));
    }
    PQ_TRY(affine(k, n, factors, shifts, target, err));
cleanup:
    pq_free(factors);
    pq_free(shifts);
    return st;
}
