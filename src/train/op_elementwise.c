#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "layers/kinds.h"
#include "train/net.h"

static size_t items(const pq_net_call *c)
{
    return c->rows * c->net->values[c->op->out].count;
}

void pq_net_pass_on(const pq_net_call *c, size_t input, size_t n, const float *dy)
{
    float *dx = pq_net_gradient(c, c->op->in[input]);

    if (!c->op->wants[input]) {
        return;
    }
    if (c->op->accumulate[input]) {
        c->net->kernels->add(n, dy, dx);
    } else {
        memcpy(dx, dy, n * sizeof *dx);
    }
}

static void relu_forward(const pq_net_call *c)
{
    const float *x = pq_net_value(c, c->op->in[0]);
    float       *y = pq_net_value(c, c->op->out);

    for (size_t i = 0, n = items(c); i < n; i++) {
        y[i] = x[i] < 0.0F ? 0.0F : x[i];
    }
}

static void relu_backward(const pq_net_call *c)
{
    const size_t n  = items(c);
    float       *dy = pq_net_gradient(c, c->op->out);

    c->net->kernels->relu_grad(n, pq_net_value(c, c->op->out), dy);
    pq_net_pass_on(c, 0, n, dy);
}

const pq_op_class pq_op_relu = {.kind      = "relu",
                                .forward   = relu_forward,
                                .backward  = relu_backward,
                                .needs_out = true};

/* Attributes of an activation: what the kinds call slope, alpha, lo, hi and form. */
typedef struct {
    float a, b;
    bool  by_tanh;
} attributes;

static attributes attributes_of(const pq_layer *layer)
{
    const char *kind = layer->kind->name;

    if (strcmp(kind, "leaky_relu") == 0) {
        return (attributes){
            .a = (float)((const pq_leaky_relu_params *)layer->params)->slope};
    }
    if (strcmp(kind, "elu") == 0) {
        return (attributes){.a = (float)((const pq_elu_params *)layer->params)->alpha};
    }
    if (strcmp(kind, "gelu") == 0) {
        return (attributes){.by_tanh = ((const pq_gelu_params *)layer->params)->form ==
                                       PQ_GELU_TANH};
    }
    if (strcmp(kind, "clip") == 0) {
        const pq_clip_params *p = layer->params;
        return (attributes){.a = (float)p->lo, .b = (float)p->hi};
    }
    return (attributes){0};
}

/* With a negative slope the value does not tell the sign of the input. */
static bool keeps_sign(const pq_node *node)
{
    return ((const pq_leaky_relu_params *)node->layer->params)->slope >= 0.0;
}

static const float root_2_pi = 0.797884560802865356F; /* sqrt(2 / pi) */

static inline float tanh_of_gelu(float x)
{
    return tanhf(root_2_pi * (x + 0.044715F * x * x * x));
}

static inline float gelu(float x, bool by_tanh)
{
    return by_tanh ? 0.5F * x * (1.0F + tanh_of_gelu(x))
                   : 0.5F * x * erfcf(-x * (float)M_SQRT1_2);
}

static inline float gelu_slope(float x, bool by_tanh)
{
    if (by_tanh) {
        const float t = tanh_of_gelu(x);
        return 0.5F * (1.0F + t) +
               0.5F * x * (1.0F - t * t) * root_2_pi * (1.0F + 3.0F * 0.044715F * x * x);
    }
    return 0.5F * (erfcf(-x * (float)M_SQRT1_2) + x * expf(-0.5F * x * x) * root_2_pi);
}

/* A function of one value x, and its slope by x, or by the value y it gave. */
#define FUNCTION(name, word, fits, by_x, value, slope)                                   \
    static void name##_forward(const pq_net_call *c)                                     \
    {                                                                                    \
        const attributes p  = attributes_of(c->op->layer);                               \
        const float     *in = pq_net_value(c, c->op->in[0]);                             \
        float           *y  = pq_net_value(c, c->op->out);                               \
                                                                                         \
        for (size_t i = 0, n = items(c); i < n; i++) {                                   \
            const float x = in[i];                                                       \
            y[i]          = (value);                                                     \
        }                                                                                \
        (void)p;                                                                         \
    }                                                                                    \
                                                                                         \
    static void name##_backward(const pq_net_call *c)                                    \
    {                                                                                    \
        const attributes p   = attributes_of(c->op->layer);                              \
        const float     *set = pq_net_value(c, (by_x) ? c->op->in[0] : c->op->out);      \
        float           *dy  = pq_net_gradient(c, c->op->out);                           \
                                                                                         \
        for (size_t i = 0, n = items(c); i < n; i++) {                                   \
            const float x = set[i], y = x;                                               \
            dy[i] *= (slope);                                                            \
            (void)y;                                                                     \
        }                                                                                \
        pq_net_pass_on(c, 0, items(c), dy);                                              \
        (void)p;                                                                         \
    }                                                                                    \
                                                                                         \
    const pq_op_class pq_op_##name = {.kind      = word,                                 \
                                      .accepts   = fits,                                 \
                                      .forward   = name##_forward,                       \
                                      .backward  = name##_backward,                      \
                                      .needs_in  = (by_x),                               \
                                      .needs_out = !(by_x)}

FUNCTION(sigmoid, "sigmoid", NULL, false, 1.0F / (1.0F + expf(-x)), y *(1.0F - y));
FUNCTION(tanh, "tanh", NULL, false, tanhf(x), 1.0F - y * y);
FUNCTION(leaky_relu, "leaky_relu", keeps_sign, false, x > 0.0F ? x : p.a * x,
         y > 0.0F ? 1.0F : p.a);
FUNCTION(turning_relu, "leaky_relu", NULL, true, x > 0.0F ? x : p.a * x,
         x > 0.0F ? 1.0F : p.a);
FUNCTION(elu, "elu", NULL, false, x > 0.0F ? x : p.a * expm1f(x),
         y > 0.0F ? 1.0F : y + p.a);
FUNCTION(gelu, "gelu", NULL, true, gelu(x, p.by_tanh), gelu_slope(x, p.by_tanh));
FUNCTION(clip, "clip", NULL, false, x<p.a ? p.a : x> p.b ? p.b : x,
         y > p.a && y < p.b ? 1.0F : 0.0F);

static void add_forward(const pq_net_call *c)
{
    const size_t n = items(c);
    float       *y = pq_net_value(c, c->op->out);

    c->net->kernels->add2(n, pq_net_value(c, c->op->in[0]), pq_net_value(c, c->op->in[1]),
                          c->op->relu && c->op->n_in == 2, y);
    for (size_t i = 2; i < c->op->n_in; i++) {
        c->net->kernels->add2(n, pq_net_value(c, c->op->in[i]), y,
                              c->op->relu && i + 1 == c->op->n_in, y);
    }
}

static void add_backward(const pq_net_call *c)
{
    const size_t n  = items(c);
    float       *dy = pq_net_gradient(c, c->op->out);

    if (c->op->relu) {
        c->net->kernels->relu_grad(n, pq_net_value(c, c->op->out), dy);
    }
    for (size_t i = 0; i < c->op->n_in; i++) {
        pq_net_pass_on(c, i, n, dy);
    }
}

static bool add_accepts(const pq_node *node)
{
    return node->n_inputs >= 2;
}

const pq_op_class pq_op_add = {.kind       = "add",
                               .accepts    = add_accepts,
                               .forward    = add_forward,
                               .backward   = add_backward,
                               .takes_relu = true};

static void multiply_forward(const pq_net_call *c)
{
    const size_t n = items(c);
    float       *y = pq_net_value(c, c->op->out);

    memcpy(y, pq_net_value(c, c->op->in[0]), n * sizeof *y);
    for (size_t k = 1; k < c->op->n_in; k++) {
        const float *x = pq_net_value(c, c->op->in[k]);
        for (size_t i = 0; i < n; i++) {
            y[i] *= x[i];
        }
    }
}

/* The product of the other inputs is formed anew: y / x fails at 0. */
static void multiply_backward(const pq_net_call *c)
{
    const size_t n     = items(c);
    const float *dy    = pq_net_gradient(c, c->op->out);
    float       *other = pq_net_value(c, c->op->out); /* nobody reads it any more */

    for (size_t k = 0; k < c->op->n_in; k++) {
        memcpy(other, dy, n * sizeof *other);
        for (size_t j = 0; c->op->wants[k] && j < c->op->n_in; j++) {
            const float *x = pq_net_value(c, c->op->in[j]);
            for (size_t i = 0; j != k && i < n; i++) {
                other[i] *= x[i];
            }
        }
        pq_net_pass_on(c, k, n, other);
    }
}

const pq_op_class pq_op_multiply = {.kind      = "multiply",
                                    .forward   = multiply_forward,
                                    .backward  = multiply_backward,
                                    .needs_in  = true,
                                    .needs_out = true};

/* Items from an axis on: what lies side by side in one input. */
static size_t run_length(const pq_shape *shape, size_t axis)
{
    size_t n = 1;

    for (size_t i = axis; i < shape->ndim; i++) {
        n *= shape->dim[i];
    }
    return n;
}

static void concat_forward(const pq_net_call *c)
{
    const size_t axis  = pq_concat_axis(c->op->layer, c->op->out_shape.ndim);
    const size_t whole = run_length(&c->op->out_shape, axis), n = items(c) / whole;
    float       *y = pq_net_value(c, c->op->out);

    for (size_t k = 0; k < c->op->n_in; k++) {
        const size_t part = run_length(&c->op->in_shape[k], axis);
        const float *x    = pq_net_value(c, c->op->in[k]);
        for (size_t i = 0; i < n; i++) {
            memcpy(y + i * whole, x + i * part, part * sizeof *y);
        }
        y += part;
    }
}

static void concat_backward(const pq_net_call *c)
{
    const size_t axis  = pq_concat_axis(c->op->layer, c->op->out_shape.ndim);
    const size_t whole = run_length(&c->op->out_shape, axis), n = items(c) / whole;
    const float *dy = pq_net_gradient(c, c->op->out);

    for (size_t k = 0; k < c->op->n_in; k++) {
        const size_t part = run_length(&c->op->in_shape[k], axis);
        float       *dx   = c->op->wants[k] ? pq_net_gradient_to_add(c, k) : NULL;
        for (size_t i = 0; dx != NULL && i < n; i++) {
            c->net->kernels->add(part, dy + i * whole, dx + i * part);
        }
        dy += part;
    }
}

const pq_op_class pq_op_concat = {
    .kind = "concat", .forward = concat_forward, .backward = concat_backward};

/* A mask drawn from (step, chunk, layer): the same in both directions and for any thread.
 */
static void drop(const pq_net_call *c, const float *from, float *to)
{
    const double rate = ((const pq_dropout_params *)c->op->layer->params)->rate;
    const float  keep = (float)(1.0 / (1.0 - rate));
    pq_rng       rng  = pq_rng_stream(c->step * c->net->chunks + c->chunk, c->op->name);

    for (size_t i = 0, n = items(c); i < n; i++) {
        to[i] = pq_rng_uniform(&rng) < rate ? 0.0F : from[i] * keep;
    }
}

static void dropout_forward(const pq_net_call *c)
{
    const float *x = pq_net_value(c, c->op->in[0]);
    float       *y = pq_net_value(c, c->op->out);

    if (c->training) {
        drop(c, x, y);
    } else {
        memcpy(y, x, items(c) * sizeof *y);
    }
}

static void dropout_backward(const pq_net_call *c)
{
    float *dy = pq_net_gradient(c, c->op->out);

    drop(c, dy, dy);
    pq_net_pass_on(c, 0, items(c), dy);
}

const pq_op_class pq_op_dropout = {
    .kind = "dropout", .forward = dropout_forward, .backward = dropout_backward};
