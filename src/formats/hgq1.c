/*
 * HGQ 1: layers of Keras 2 whose quantizers keep a number of fraction bits a value, and
 * the proxy models that it makes of them, whose quantizers are fixed point.
 *
 * A quantizer of a layer has no integer bits in its file and no limit in the framework:
 * activations get all that 16 bits leave beside the fraction, and where that is little
 * the file is refused for its proxy model.
 *
 * Source: github.com/calad0i/HGQ 0.2.6, HGQ/layers, HGQ/quantizer, HGQ/proxy.
 */
#include "formats/hgq1.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "formats/hgq.h"

enum {
    WIDTH     = 15, /* bits beside the sign */
    LEAST     = 4,  /* integer bits of activations that may be anything */
    MOST_BITS = 64
};

#define WAY                                                                              \
    "write its proxy model, whose file tells them: HGQ.trace_minmax(model, x); "         \
    "HGQ.proxy.to_proxy_model(model).save('proxy.h5')"

/* How a quantizer of a layer rounds. `covers`: what "auto" stands for half up with. */
static pq_status read_conf(const pq_keras_layer *k, const char *key, bool covers,
                           float clip[2], pq_rounding *out, pq_err *err)
{
    static const pq_keras_keys keys = {
        "rnd_strategy bw_clip",
        "init_bw skip_dims exact_q_value dtype trainable regularizer minmax_record",
        NULL};
    const json_t *conf = json_object_get(k->config, key);
    const json_t *how  = json_object_get(conf, "rnd_strategy");
    const json_t *lim  = json_object_get(conf, "bw_clip");
    const char   *word = json_string_value(how);
    bool          floors;
    pq_status     st;

    PQ_CHECK(json_is_object(conf), PQ_ERR_FORMAT, "'%s' is missing", key);
    PQ_TRY(pq_keras_check_keys(conf, key, &keys, 1, err));
    PQ_CHECK((word != NULL &&
              (strcmp(word, "standard_round") == 0 || strcmp(word, "floor") == 0 ||
               strcmp(word, "auto") == 0 || strcmp(word, "stochastic_round") == 0 ||
               strcmp(word, "fast_uniform_noise_injection") == 0)) ||
                 (json_is_integer(how) && json_integer_value(how) >= 0 &&
                  json_integer_value(how) <= 3),
             PQ_ERR_UNSUPPORTED, "rnd_strategy of '%s' is not known", key);
    floors  = word != NULL
                  ? strcmp(word, "floor") == 0 || (strcmp(word, "auto") == 0 && !covers)
                  : json_integer_value(how) == 3;
    *out    = floors ? PQ_ROUND_TRN : PQ_ROUND_RND;
    clip[0] = lim == NULL || json_is_null(lim)
                  ? -(float)MOST_BITS
                  : (float)json_number_value(json_array_get(lim, 0));
    clip[1] = lim == NULL || json_is_null(lim)
                  ? (float)MOST_BITS
                  : (float)json_number_value(json_array_get(lim, 1));
    PQ_CHECK(clip[0] <= clip[1], PQ_ERR_FORMAT, "bw_clip of '%s' is no range", key);
cleanup:
    return st;
}

/* Whole fraction bits of what was trained: within the limits, half to even. */
static pq_status settle(pq_tensor *bits, const float clip[2], pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < bits->count; i++) {
        const float f = rintf(fminf(fmaxf(pq_f32(bits)[i], clip[0]), clip[1]));
        PQ_CHECK(fabsf(f) <= (float)MOST_BITS, PQ_ERR_RANGE,
                 "fraction bits %zu of a quantizer are %g, not in -%d..%d", i, (double)f,
                 MOST_BITS, MOST_BITS);
        pq_f32(bits)[i] = f;
    }
cleanup:
    return st;
}

/* In float32 as there: x 2^f, half up or down, and back. */
static float rounded(float x, float f, pq_rounding how)
{
    const float scaled = ldexpf(x, (int)f);

    return ldexpf(floorf(how == PQ_ROUND_RND ? scaled + 0.5f : scaled), -(int)f);
}

/* Rounds a kernel by the fraction bits of each of its values, along shared axes too. */
static pq_status round_kernel(pq_tensor *kernel, const pq_tensor *bits, pq_rounding how,
                              pq_err *err)
{
    const size_t ndim = kernel->shape.ndim;
    char         have[128], due[128];
    bool         fits = bits->shape.ndim == ndim;
    pq_status    st;

    for (size_t d = 0; fits && d < ndim; d++) {
        fits = bits->shape.dim[d] == 1 || bits->shape.dim[d] == kernel->shape.dim[d];
    }
    PQ_CHECK(fits, PQ_ERR_SHAPE, "its kernel is %s, but the bits of it are %s",
             pq_shape_text(&kernel->shape, have, sizeof have),
             pq_shape_text(&bits->shape, due, sizeof due));
    for (size_t n = 0; n < kernel->count; n++) {
        size_t at = 0, step = 1, rest = n;
        for (size_t d = ndim; d-- > 0; rest /= kernel->shape.dim[d]) {
            const size_t length = bits->shape.dim[d];
            at += length == 1 ? 0 : rest % kernel->shape.dim[d] * step;
            step *= length;
        }
        pq_f32(kernel)[n] = rounded(pq_f32(kernel)[n], pq_f32(bits)[at], how);
    }
cleanup:
    return st;
}

/* A bias has the most fraction bits that the activations of its channel have. */
static pq_status round_bias(pq_tensor *bias, const pq_tensor *bits, pq_rounding how,
                            pq_err *err)
{
    const size_t n = bits->shape.ndim > 0 ? bits->shape.dim[bits->shape.ndim - 1] : 1;
    pq_status    st;

    PQ_CHECK(n == 1 || n == bias->count, PQ_ERR_SHAPE,
             "its bias has %zu values, but the bits of its outputs are for %zu channels",
             bias->count, n);
    for (size_t c = 0; c < bias->count; c++) {
        float most = -(float)MOST_BITS;
        for (size_t i = n == 1 ? 0 : c; i < bits->count; i += n) {
            most = fmaxf(most, pq_f32(bits)[i]);
        }
        pq_f32(bias)[c] = rounded(pq_f32(bias)[c], most, how);
    }
cleanup:
    return st;
}

/* Says once what is assumed. */
static pq_status note_width(pq_graph *graph, pq_err *err)
{
    static const char said[] = "of 16 bits, saturating: the file tells no integer bits";
    json_t           *note;
    size_t            i;
    pq_status         st = PQ_OK;

    json_array_foreach(graph->provenance, i, note)
    {
        if (strcmp(pq_keras_text(note, "activations", ""), said) == 0) {
            return PQ_OK;
        }
    }
    note = json_pack("{s:s, s:s}", "read", "hgq 1", "activations", said);
    PQ_CHECK(note != NULL, PQ_ERR_NOMEM, "cannot allocate a note");
    PQ_TRY(pq_graph_note(graph, note, err));
cleanup:
    return st;
}

/* Puts the grid of the outputs over `last`. most: bits before the point that they can
 * need, or 0: not known. */
static pq_status put_activations(const pq_tensor *bits, pq_rounding how, int most,
                                 const char *name, pq_keras_target *target, pq_err *err)
{
    pq_hgq_quantizer q = {.rounding = how, .overflow = PQ_OVERFLOW_SAT};
    pq_status        st;

    PQ_TRY(pq_tensor_clone(bits, &q.f, err));
    PQ_TRY(pq_tensor_clone(bits, &q.i, err));
    PQ_TRY(pq_tensor_clone(bits, &q.k, err));
    for (size_t n = 0; n < bits->count; n++) {
        const int f = (int)pq_f32(bits)[n], left = WIDTH - f;
        PQ_CHECK(left >= (most > 0 ? most : LEAST), PQ_ERR_UNSUPPORTED,
                 "value %zu of its outputs keeps %d fraction bits, and its file does not "
                 "tell how many integer bits it needs: 16 bits leave %d; " WAY,
                 n, f, left);
        pq_f32(q.k)[n] = 1.0f;
        pq_f32(q.i)[n] = (float)left;
    }
    PQ_TRY(pq_hgq_put(&q, name, target, err));
    PQ_TRY(most > 0 ? PQ_OK : note_width(target->graph, err));
cleanup:
    pq_hgq_free(&q);
    return st;
}

/* Puts the name of a part together: "<layer>.<part>". */
static void part_name(const pq_keras_layer *k, const char *part, char *out, size_t n)
{
    (void)snprintf(out, n, "%s.%s", k->name, part);
}

typedef pq_status converter(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/* Keras's own layer of rounded weights, the grid of its sums, then the activation.
 * Weights are kernel, bias, bits of the kernel, bits of the outputs. */
static pq_status linear(pq_keras_layer *k, converter *plain, bool bias,
                        pq_keras_target *target, pq_err *err)
{
    const json_t *config = k->config;
    const size_t  first  = bias ? 2 : 1;
    char          name[sizeof target->last + 16];
    pq_tensor    *bits[2] = {k->weights[first], k->weights[first + 1]};
    json_t       *bare    = NULL;
    bool          covers  = bias;
    pq_rounding   how[2];
    float         clip[2][2];
    pq_status     st;

    k->weights[first] = k->weights[first + 1] = NULL;
    k->n_weights                              = first;
    for (size_t d = 0; d + 1 < bits[1]->shape.ndim; d++) {
        covers = covers && (bits[1]->shape.dim[d] == 1 || bits[1]->count == 1);
    }
    PQ_TRY(read_conf(k, "kq_conf", true, clip[0], &how[0], err));
    PQ_TRY(read_conf(k, "paq_conf", covers, clip[1], &how[1], err));
    PQ_TRY(settle(bits[0], clip[0], err));
    PQ_TRY(settle(bits[1], clip[1], err));
    PQ_TRY(round_kernel(k->weights[0], bits[0], how[0], err));
    PQ_TRY(bias ? round_bias(k->weights[1], bits[1], how[1], err) : PQ_OK);
    PQ_TRY(pq_keras_without_activation(config, &bare, err));
    k->config = bare;
    PQ_TRY(plain(k, target, err));
    k->config = config;
    PQ_TRY(pq_hgq1_find_grids(
        target->graph->nodes[pq_graph_find(target->graph, k->name)].layer, err));
    part_name(k, "paq", name, sizeof name);
    PQ_TRY(put_activations(bits[1], how[1], 0, name, target, err));
    part_name(k, "activation", name, sizeof name);
    PQ_TRY(pq_keras_activation(json_object_get(config, "activation"), name, target, err));
cleanup:
    k->config = config;
    json_decref(bare);
    pq_tensor_free(&bits[0]);
    pq_tensor_free(&bits[1]);
    return st;
}

/* Refuses another number of weights than `due`; the last two, the strength of a penalty
 * and a count, are of the training. */
static pq_status check_weights(pq_keras_layer *k, size_t due, pq_err *err)
{
    pq_status st;

    PQ_CHECK(k->n_weights == due, PQ_ERR_FORMAT,
             "the file holds %zu weights, but %s as configured has %zu", k->n_weights,
             k->class_name, due);
cleanup:
    return st;
}

static pq_status with_kernel(pq_keras_layer *k, converter *plain, pq_keras_target *target,
                             pq_err *err)
{
    bool      bias;
    pq_status st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_TRY(check_weights(k, bias ? 6 : 5, err));
    pq_tensor_free(&k->weights[k->n_weights - 1]);
    pq_tensor_free(&k->weights[k->n_weights - 2]);
    PQ_TRY(linear(k, plain, bias, target, err));
cleanup:
    return st;
}

pq_status pq_hgq1_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_kernel(k, pq_keras_dense, target, err);
}

pq_status pq_hgq1_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_kernel(k, pq_keras_conv2d, target, err);
}

/* Puts the normalization of the outputs into kernel and bias, in float32 as there. */
static void fuse(pq_tensor *kernel, pq_tensor *bias, pq_tensor *const norm[4])
{
    const size_t n = bias->count;

    for (size_t o = 0; o < n; o++) {
        const float by = pq_f32(norm[1])[o] * (1.0f / sqrtf(pq_f32(norm[3])[o] + 1e-3f));
        for (size_t i = o; i < kernel->count; i += n) {
            pq_f32(kernel)[i] *= by;
        }
        pq_f32(bias)[o] += -pq_f32(norm[2])[o] * by + pq_f32(norm[0])[o];
    }
}

/* Weights: as of a layer with a bias, then beta and gamma, two of training, mean and
 * variance. Its file tells neither epsilon nor whether it centres: it is read as made
 * without arguments. */
static pq_status with_norm(pq_keras_layer *k, converter *plain, pq_keras_target *target,
                           pq_err *err)
{
    pq_tensor *norm[4] = {NULL};
    bool       bias;
    pq_status  st;

    PQ_TRY(pq_keras_bool(k->config, "use_bias", true, &bias, err));
    PQ_CHECK(bias, PQ_ERR_UNSUPPORTED, "%s without a bias is not read", k->class_name);
    PQ_TRY(check_weights(k, 10, err));
    for (size_t i = 0; i < 4; i++) {
        norm[i] = k->weights[i < 2 ? 4 + i : 6 + i];
        PQ_CHECK(norm[i]->count == k->weights[1]->count, PQ_ERR_SHAPE,
                 "weight %zu has %zu values, but there are %zu outputs",
                 i < 2 ? 4 + i : 6 + i, norm[i]->count, k->weights[1]->count);
    }
    PQ_CHECK(k->weights[0]->count % k->weights[1]->count == 0, PQ_ERR_SHAPE,
             "its kernel does not fit its %zu outputs", k->weights[1]->count);
    fuse(k->weights[0], k->weights[1], norm);
    for (size_t i = 4; i < 10; i++) {
        pq_tensor_free(&k->weights[i]);
    }
    PQ_TRY(linear(k, plain, true, target, err));
cleanup:
    return st;
}

pq_status pq_hgq1_dense_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_norm(k, pq_keras_dense, target, err);
}

pq_status pq_hgq1_conv2d_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return with_norm(k, pq_keras_conv2d, target, err);
}

/* Bits before the point that an activation's values need, 0 where they may be any. */
static int bits_of(const json_t *activation)
{
    static const char *const bounded[] = {"tanh", "sigmoid", "softmax"};
    const char              *word      = json_string_value(activation);
    int                      bits      = 0;

    for (size_t i = 0; word != NULL && i < 3; i++) {
        bits = strcmp(word, bounded[i]) == 0 ? 1 : bits;
    }
    return bits;
}

/* Grid of a layer without a kernel: weights are its bits and two of training. */
static pq_status grid(pq_keras_layer *k, bool covers, const char *name, int most,
                      pq_keras_target *target, pq_err *err)
{
    pq_rounding how;
    float       clip[2];
    pq_status   st;

    PQ_TRY(check_weights(k, 3, err));
    PQ_TRY(read_conf(k, "paq_conf", covers, clip, &how, err));
    PQ_TRY(settle(k->weights[0], clip, err));
    PQ_TRY(put_activations(k->weights[0], how, most, name, target, err));
cleanup:
    return st;
}

pq_status pq_hgq1_quantize(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    return grid(k, false, k->name, 0, target, err);
}

pq_status pq_hgq1_activation(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *f = json_object_get(k->config, "activation");
    char          name[sizeof target->last + 16];
    pq_status     st;

    (void)snprintf(target->last, sizeof target->last, "%s", k->inputs[0]);
    part_name(k, "function", name, sizeof name);
    PQ_TRY(pq_keras_activation(f, name, target, err));
    PQ_TRY(grid(k, true, k->name, bits_of(f), target, err));
cleanup:
    return st;
}

pq_status pq_hgq1_add(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    pq_layer *layer = NULL;
    char      name[sizeof target->last + 16];
    pq_status st;

    part_name(k, "sum", name, sizeof name);
    PQ_TRY(pq_layer_create("add", &layer, err));
    PQ_TRY(pq_keras_add(target, name, layer, k->n_inputs, k->inputs, err));
    PQ_TRY(grid(k, false, k->name, 0, target, err));
cleanup:
    return st;
}
