/* Layer classes of QKeras: those of Keras whose weights lie on grids. */
#include "formats/qkeras.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

/* --- activations --- */

/* Puts a grid on `last`. */
static pq_status put_grid(pq_keras_target *target, bool is_signed, bool narrow,
                          int integer, int fraction, pq_err *err)
{
    pq_node  *node = &target->graph->nodes[pq_graph_find(target->graph, target->last)];
    pq_status st;

    PQ_TRY(pq_quant_create_fixed(
        is_signed, narrow ? PQ_OVERFLOW_SAT_SYM : PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV,
        PQ_QUANT_PER_TENSOR, 1, &node->quant, err));
    PQ_TRY(pq_quant_set_fixed(node->quant, 0, integer, fraction, err));
cleanup:
    return st;
}

/* One of two or three values: binary, ternary, and quantized_bits of a sign alone. */
static pq_status act_sign(const pq_qkeras_quantizer *q, const char *name,
                          pq_keras_target *target, pq_err *err)
{
    const bool ternary = q->kind == PQ_QKERAS_TERNARY;
    char       inner[sizeof target->last + 16];
    pq_layer  *layer = NULL;
    int        e     = 1;
    pq_status  st;

    PQ_CHECK(q->alpha < PQ_QKERAS_ALPHA_AUTO && frexp(q->factor, &e) == 0.5,
             PQ_ERR_UNSUPPORTED,
             "alpha of an activation of %s is read as null and powers of two only",
             q->name);
    PQ_CHECK(!q->zero_one, PQ_ERR_UNSUPPORTED,
             "%s with use_01 is read for weights, not as an activation", q->name);
    (void)snprintf(inner, sizeof inner, "%s.sign", name);
    PQ_TRY(pq_layer_create("sign", &layer, err));
    PQ_TRY(ternary ? pq_keras_set(layer, "threshold", (double)(float)q->threshold, err)
                   : pq_keras_set(layer, "zero", 1.0, err));
    PQ_TRY(pq_keras_add_over(target, inner, &layer, err));
    PQ_TRY(pq_keras_add_simple("scale", "factor", q->factor, name, target, err));
    PQ_TRY(put_grid(target, true, true, e, 1 - e, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

static pq_status act_bits(const pq_qkeras_quantizer *q, const char *name,
                          pq_keras_target *target, pq_err *err)
{
    const int sign = q->keep_negative ? 1 : 0;
    int       e    = 1;
    pq_status st;

    PQ_CHECK(q->alpha < PQ_QKERAS_ALPHA_AUTO, PQ_ERR_UNSUPPORTED,
             "alpha of an activation comes from each batch of events; only null and "
             "powers of two are read");
    PQ_CHECK(frexp(q->factor, &e) == 0.5, PQ_ERR_UNSUPPORTED,
             "alpha = %g of an activation is not read, only null and powers of two",
             q->factor);
    if (q->bits == sign) {
        return act_sign(q, name, target, err);
    }
    PQ_TRY(pq_keras_add_simple("scale", "factor", q->factor, name, target, err));
    PQ_TRY(put_grid(target, q->keep_negative, q->symmetric, q->integer + e - 1,
                    q->bits - sign - q->integer - (e - 1), err));
cleanup:
    return st;
}

/* With a slope below 0 the negative half has as many codes as the slope leaves. */
static pq_status act_relu(const pq_qkeras_quantizer *q, const char *name,
                          pq_keras_target *target, pq_err *err)
{
    const int    sign  = q->slope != 0.0 ? 1 : 0;
    const int    after = q->bits - sign - q->integer;
    const double whole = ldexp(1.0, q->integer), step = ldexp(1.0, -after);
    const double codes = q->most / step;
    char         inner[sizeof target->last + 16];
    int          e = 1;
    pq_status    st;

    PQ_CHECK(sign == 0 || (frexp(q->slope, &e) == 0.5 && q->slope < 1.0 &&
                           q->slope * whole >= step),
             PQ_ERR_UNSUPPORTED,
             "negative_slope = %g is not read, only powers of two below 1 that leave a "
             "code",
             q->slope);
    PQ_CHECK(codes == rint(codes) || q->most >= whole, PQ_ERR_UNSUPPORTED,
             "relu_upper_bound = %g is none of its own values, multiples of %g", q->most,
             step);
    if (sign != 0) {
        (void)snprintf(inner, sizeof inner, "%s.leaky_relu", name);
        PQ_TRY(pq_keras_add_simple("leaky_relu", "slope", q->slope, inner, target, err));
        PQ_TRY(pq_keras_add_clip(-q->slope * whole, fmin(whole, q->most), name, target,
                                 err));
    } else if (q->most < whole) {
        PQ_TRY(pq_keras_add_clip(0.0, q->most, name, target, err));
    } else {
        PQ_TRY(pq_keras_add_simple("relu", NULL, 0.0, name, target, err));
    }
    PQ_TRY(put_grid(target, sign != 0, false, q->integer, after, err));
cleanup:
    return st;
}

static pq_status act_tanh(const pq_qkeras_quantizer *q, const char *name,
                          pq_keras_target *target, pq_err *err)
{
    pq_status st;

    PQ_CHECK(q->bits > 1, PQ_ERR_UNSUPPORTED,
             "an activation of its sign alone has no kind here");
    PQ_TRY(q->real ? pq_keras_add_simple("tanh", NULL, 0.0, name, target, err)
                   : pq_keras_add_clip(-1.0, 1.0, name, target, err));
    PQ_TRY(put_grid(target, true, q->symmetric, 0, q->bits - 1, err));
cleanup:
    return st;
}

static pq_status act_sigmoid(const pq_qkeras_quantizer *q, const char *name,
                             pq_keras_target *target, pq_err *err)
{
    pq_status st;

    PQ_CHECK(
        q->real && !q->symmetric, PQ_ERR_UNSUPPORTED,
        "quantized_sigmoid is read with use_real_sigmoid and without symmetric only");
    PQ_TRY(pq_keras_add_simple("sigmoid", NULL, 0.0, name, target, err));
    PQ_TRY(put_grid(target, false, false, 0, q->bits, err));
cleanup:
    return st;
}

pq_status pq_qkeras_activation(const json_t *value, const char *name,
                               pq_keras_target *target, pq_err *err)
{
    pq_qkeras_quantizer q;
    pq_status           st;

    PQ_TRY(pq_qkeras_read(value, "activation", &q, err));
    switch (q.kind) {
    case PQ_QKERAS_BITS:
        return act_bits(&q, name, target, err);
    case PQ_QKERAS_RELU:
        return act_relu(&q, name, target, err);
    case PQ_QKERAS_TANH:
        return act_tanh(&q, name, target, err);
    case PQ_QKERAS_SIGMOID:
        return act_sigmoid(&q, name, target, err);
    case PQ_QKERAS_BINARY:
    case PQ_QKERAS_TERNARY:
        return act_sign(&q, name, target, err);
    case PQ_QKERAS_PO2:
    case PQ_QKERAS_RELU_PO2:
        break;
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED, "%s is read for weights, not as an activation", q.name);
cleanup:
    return st;
}

/* --- layers with weights --- */

typedef pq_status converter(pq_keras_layer *k, pq_keras_target *target, pq_err *err);

/* Rounds weight i by the quantizer of a key; without one the weights stay. */
static pq_status round_weight(pq_keras_layer *k, const char *key, bool is_kernel,
                              size_t i, pq_qkeras_grid *grid, pq_err *err)
{
    const json_t       *value = json_object_get(k->config, key);
    pq_qkeras_quantizer q;
    pq_status           st;

    if (value == NULL || json_is_null(value) || i >= k->n_weights) {
        return PQ_OK; /* what lacks a weight, its own conversion says */
    }
    PQ_TRY(pq_qkeras_read(value, key, &q, err));
    if (is_kernel && q.alpha == PQ_QKERAS_ALPHA_NONE) {
        q.alpha     = PQ_QKERAS_ALPHA_AUTO_PO2; /* _set_trainable_parameter */
        q.symmetric = true;
    }
    st = pq_qkeras_round(&q, k->weights[i], grid, err);
    if (st != PQ_OK) {
        pq_err_context(err, "'%s'", key);
    }
cleanup:
    return st;
}

/* The bias as a layer of its own, which adds it as it is: beside codes it would be
 * rounded to their units. */
static pq_status add_bias(pq_keras_layer *k, pq_tensor **bias, pq_keras_target *target,
                          pq_err *err)
{
    static const char *const names[] = {"mean", "variance", "beta"};
    char                     name[sizeof target->last + 16];
    pq_layer                *layer = NULL;
    pq_tensor               *t     = NULL;
    pq_status                st;

    (void)snprintf(name, sizeof name, "%s.bias", k->name);
    PQ_TRY(pq_layer_create("batch_norm", &layer, err));
    PQ_TRY(pq_keras_set(layer, "epsilon", 0.0, err));
    for (size_t i = 0; i < 3; i++) {
        if (i < 2) {
            PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, (*bias)->shape, &t, err));
            for (size_t c = 0; c < t->count; c++) {
                pq_f32(t)[c] = (float)i;
            }
        } else {
            t     = *bias;
            *bias = NULL;
        }
        PQ_TRY(pq_layer_add_weight(layer, names[i], t, err));
    }
    PQ_TRY(pq_keras_add_over(target, name, &layer, err));
cleanup:
    pq_layer_free(&layer);
    return st;
}

/* The activation of a config, by whichever of both it is. */
static pq_status add_activation(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const json_t *activation = json_object_get(k->config, "activation");
    const char   *text       = json_string_value(activation);
    char          name[sizeof target->last + 16];

    text = text != NULL ? text : pq_keras_text(activation, "class_name", "activation");
    (void)snprintf(name, sizeof name, "%s.%.*s", k->name, (int)strcspn(text, "("), text);
    return pq_keras_activation(activation, name, target, err);
}

/* Gives the layer's weights their grids. */
static pq_status attach(const pq_keras_layer *k, const pq_qkeras_grid *kernel,
                        const pq_qkeras_grid *bias, pq_keras_target *target, pq_err *err)
{
    pq_layer  *layer = target->graph->nodes[pq_graph_find(target->graph, k->name)].layer;
    pq_weight *b     = pq_layer_weight(layer, "bias");
    pq_status  st;

    PQ_TRY(kernel->there ? pq_qkeras_attach(kernel, pq_layer_weight(layer, "kernel"), err)
                         : PQ_OK);
    PQ_TRY(bias->there && b != NULL ? pq_qkeras_attach(bias, b, err) : PQ_OK);
cleanup:
    return st;
}

/* A layer with a kernel and perhaps a bias: rounded, then what Keras makes of it. */
static pq_status linear(pq_keras_layer *k, const char *key, converter *plain,
                        pq_keras_target *target, pq_err *err)
{
    pq_qkeras_grid kernel = {0}, bias = {0};
    const json_t  *config = k->config;
    json_t        *bare   = NULL;
    pq_tensor     *apart  = NULL;
    bool           has_bias;
    pq_status      st;

    PQ_TRY(pq_keras_bool(config, "use_bias", true, &has_bias, err));
    PQ_TRY(round_weight(k, key, true, 0, &kernel, err));
    PQ_TRY(has_bias ? round_weight(k, "bias_quantizer", false, 1, &bias, err) : PQ_OK);
    PQ_TRY(pq_keras_without_activation(config, &bare, err));
    if (kernel.there && !bias.there && has_bias && k->n_weights == 2) {
        apart         = k->weights[1];
        k->weights[1] = NULL;
        k->n_weights  = 1;
        PQ_CHECK(json_object_set_new(bare, "use_bias", json_false()) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a table");
    }
    k->config = bare;
    PQ_TRY(plain(k, target, err));
    k->config = config;
    PQ_TRY(attach(k, &kernel, &bias, target, err));
    PQ_TRY(apart != NULL ? add_bias(k, &apart, target, err) : PQ_OK);
    PQ_TRY(add_activation(k, target, err));
cleanup:
    k->config = config;
    json_decref(bare);
    pq_tensor_free(&apart);
    pq_qkeras_grid_free(&kernel);
    pq_qkeras_grid_free(&bias);
    return st;
}

pq_status pq_qkeras_dense(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return linear(k, "kernel_quantizer", pq_keras_dense, target, err);
}

pq_status pq_qkeras_conv2d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return linear(k, "kernel_quantizer", pq_keras_conv2d, target, err);
}

pq_status pq_qkeras_conv1d(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return linear(k, "kernel_quantizer", pq_keras_conv1d, target, err);
}

pq_status pq_qkeras_depthwise(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    return linear(k, "depthwise_quantizer", pq_keras_depthwise, target, err);
}

/* What it multiplies and adds is rounded; what it computes is not. */
pq_status pq_qkeras_batch_norm(pq_keras_layer *k, pq_keras_target *target, pq_err *err)
{
    const char *keys[4];
    size_t      n = 0;
    bool        scale, center;
    pq_status   st;

    PQ_TRY(pq_keras_bool(k->config, "scale", true, &scale, err));
    PQ_TRY(pq_keras_bool(k->config, "center", true, &center, err));
    if (scale) {
        keys[n++] = "gamma_quantizer";
    }
    if (center) {
        keys[n++] = "beta_quantizer";
    }
    keys[n++] = "mean_quantizer";
    keys[n++] = "variance_quantizer";
    for (size_t i = 0; i < n; i++) {
        const bool     fitted = keys[i][0] == 'g' || keys[i][0] == 'v';
        pq_qkeras_grid grid   = {0};
        st                    = round_weight(k, keys[i], fitted, i, &grid, err);
        pq_qkeras_grid_free(&grid);
        PQ_TRY(st);
    }
    PQ_TRY(pq_keras_batch_norm(k, target, err));
cleanup:
    return st;
}
