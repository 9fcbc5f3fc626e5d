/* Layer classes of HGQ 2: those of Keras with quantizers before, in and behind them. */
#include "formats/hgq.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

/* Our axes of a kernel, of Keras's. */
typedef struct {
    size_t n, axis[4];
} order;

static const order turned_dense = {2, {1, 0}}, turned_conv = {4, {3, 0, 1, 2}};

typedef pq_status converter(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/* Appends the quantizer of a part, if it is enabled, under "<layer>.<part>". */
static pq_status put_part(const pq_keras_layer *k, const char *part, const char *enabled,
                          pq_keras_target *target, pq_err *err)
{
    char             name[sizeof target->last + 8];
    pq_hgq_quantizer q = {0};
    bool             on;
    pq_status        st;

    PQ_TRY(pq_keras_bool(k->config, enabled, false, &on, err));
    if (on) {
        (void)snprintf(name, sizeof name, "%s.%s", k->name, part);
        PQ_TRY(pq_hgq_read(k, part, &q, err));
        PQ_TRY(pq_hgq_put(&q, name, target, err));
    }
cleanup:
    pq_hgq_free(&q);
    return st;
}

/* Rounds weight i of the layer, and leaves its fraction bits in our axes. */
static pq_status round_part(pq_keras_layer *k, const char *part, size_t i,
                            const order *turned, pq_hgq_quantizer *q, pq_tensor **f,
                            pq_err *err)
{
    pq_tensor *given = NULL;
    pq_status  st;

    PQ_TRY(pq_hgq_read(k, part, q, err));
    PQ_TRY(pq_hgq_round(q, k->weights[i], &given, err));
    if (turned != NULL) {
        PQ_CHECK(given->shape.ndim == turned->n, PQ_ERR_SHAPE,
                 "its kernel has %zu axes, not %zu", given->shape.ndim, turned->n);
        PQ_TRY(pq_tensor_permute(given, turned->axis, f, err));
    } else {
        *f    = given;
        given = NULL;
    }
cleanup:
    pq_tensor_free(&given);
    return st;
}

/* Refuses a number of weights other than `due` and, where the layer has them, its two
 * sums of bits, which are of its training. @param[out] counters  how many of these */
static pq_status count_weights(const pq_keras_layer *k, size_t due, size_t *counters,
                               pq_err *err)
{
    bool      counts;
    pq_status st;

    PQ_TRY(pq_keras_bool(k->config, "enable_ebops", false, &counts, err));
    *counters = counts ? 2 : 0;
    PQ_CHECK(k->n_weights == due + *counters, PQ_ERR_FORMAT,
             "the file holds %zu weights, but %s as configured has %zu", k->n_weights,
             k->class_name, due + *counters);
cleanup:
    return st;
}

/* Leaves the first weights. */
static void keep(pq_keras_layer *k, size_t n)
{
    while (k->n_weights > n) {
        pq_tensor_free(&k->weights[--k->n_weights]);
    }
}

/* Quantized input, rounded weights, Keras's own layer, activation, quantized output. */
static pq_status linear(pq_keras_layer *k, const order *turned, converter *plain,
                        pq_keras_target *target, pq_err *err)
{
    const json_t    *config = k->config;
    const char      *input  = k->inputs[0];
    char             name[sizeof target->last + 16], first[sizeof target->last];
    pq_hgq_quantizer q[2]  = {{0}};
    pq_tensor       *f[2]  = {NULL};
    json_t          *bare  = NULL;
    pq_layer        *layer = NULL;
    bool             bias;
    pq_status        st;

    PQ_TRY(pq_keras_bool(config, "use_bias", true, &bias, err));
    PQ_TRY(round_part(k, "kq", 0, turned, &q[0], &f[0], err));
    PQ_TRY(bias ? round_part(k, "bq", 1, NULL, &q[1], &f[1], err) : PQ_OK);
    (void)snprintf(target->last, sizeof target->last, "%s", input);
    PQ_TRY(put_part(k, "iq", "enable_iq", target, err));
    (void)snprintf(first, sizeof first, "%s", target->last);
    PQ_TRY(pq_keras_without_activation(config, &bare, err));
    k->config    = bare;
    k->inputs[0] = first;
    PQ_TRY(plain(k, target, err));
    k->config = config;
    layer     = target->graph->nodes[pq_graph_find(target->graph, k->name)].layer;
    PQ_TRY(pq_hgq_attach(&q[0], f[0], pq_layer_weight(layer, "kernel"), err));
    PQ_TRY(bias ? pq_hgq_attach(&q[1], f[1], pq_layer_weight(layer, "bias"), err)
                : PQ_OK);
    (void)snprintf(name, sizeof name, "%s.activation", k->name);
    PQ_TRY(pq_keras_activation(json_object_get(config, "activation"), name, target, err));
    PQ_TRY(put_part(k, "oq", "enable_oq", target, err));
cleanup:
    k->config    = config;
    k->inputs[0] = input;
    json_decref(bare);
    for (size_t i = 0; i < 2; i++) {
        pq_hgq_free(&q[i]);
        pq_tensor_free(&f[i]);
    }
    return st;
}

/* A layer whose weights are a kernel and perhaps a bias. */
static pq_status with_kernel(pq_keras_layer *k, const order *turned, converter *plain,
                             pq_keras_target *target, pq_err *err)
{
    bool      bias;
    size_t    n, counters;
    pq_status st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    n = bias ? 2 : 1;
    PQ_TRY(count_weights(k, n, &counters, err));
    keep(k, n);
    PQ_TRY(linear(k, turned, plain, target, err));
cleanup:
    return st;
}

pq_status pq_hgq_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_kernel(k, &turned_dense, pq_keras_dense, target, err);
}

pq_status pq_hgq_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_kernel(k, &turned_conv, pq_keras_conv2d, target, err);
}

/* Normalization of the inputs, in the kernel: kernel gamma / sqrt(variance + epsilon);
 * the bias takes off mean . kernel, of the kernel without that factor (sic). */
static pq_status fuse(pq_keras_layer *k, const pq_tensor *gamma, const pq_tensor *mean,
                      const pq_tensor *variance, pq_err *err)
{
    pq_tensor *kernel = k->weights[0], *bias = k->weights[1];
    double     epsilon;
    pq_status  st;

    PQ_CHECK(kernel->shape.ndim == 2 && mean->count == kernel->shape.dim[0] &&
                 variance->count == mean->count && bias->count == kernel->shape.dim[1] &&
                 (gamma == NULL || gamma->count == mean->count),
             PQ_ERR_SHAPE,
             "its weights do not fit: a kernel of %zu inputs, %zu means, %zu variances",
             kernel->shape.dim[0], mean->count, variance->count);
    PQ_TRY(pq_keras_real(k->config, "epsilon", 1e-3, &epsilon, err));
    for (size_t o = 0; o < bias->count; o++) {
        double sum = 0.0;
        for (size_t i = 0; i < mean->count; i++) {
            sum += (double)pq_f32(mean)[i] * (double)pq_f32(kernel)[i * bias->count + o];
        }
        pq_f32(bias)[o] += -(float)sum;
    }
    for (size_t i = 0; i < mean->count; i++) {
        const float root = sqrtf(pq_f32(variance)[i] + (float)epsilon);
        const float by   = (gamma != NULL ? pq_f32(gamma)[i] : 1.0f) / root;
        for (size_t o = 0; o < bias->count; o++) {
            pq_f32(kernel)[i * bias->count + o] *= by;
        }
    }
cleanup:
    return st;
}

pq_status pq_hgq_batch_norm_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    bool      scale;
    size_t    n, counters;
    pq_status st;

    PQ_TRY(pq_keras_bool(k->config, "scale", true, &scale, err));
    n = scale ? 3 : 2; /* kernel, bias, gamma; the counters; mean, variance */
    PQ_TRY(count_weights(k, n + 2, &counters, err));
    n += counters;
    PQ_TRY(fuse(k, scale ? k->weights[2] : NULL, k->weights[n], k->weights[n + 1], err));
    keep(k, 2);
    PQ_TRY(linear(k, &turned_dense, pq_keras_dense, target, err));
cleanup:
    return st;
}

/* A quantizer that is a layer. */
pq_status pq_hgq_quantize(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    pq_hgq_quantizer q = {0};
    pq_status        st;

    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    PQ_TRY(pq_hgq_read(k, "", &q, err));
    PQ_TRY(pq_hgq_put(&q, k->name, target, err));
cleanup:
    pq_hgq_free(&q);
    return st;
}
