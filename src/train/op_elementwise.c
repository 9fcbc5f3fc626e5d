#include <string.h>

#include "core/rng.h"
#include "layers/kinds.h"
#include "train/net.h"

static size_t items(const pq_net_call *c)
{
    return c->rows * c->net->values[c->op->out].count;
}

/* Hands a gradient on to an input: assigned or added. */
static void pass_on(const pq_net_call *c, size_t input, size_t n, const float *dy)
{
    float *dx = pq_net_gradient(c, c->op->in[input]);

    if (!c->op->wants[input]) {
        return;
    }
    if (c->op->accumulate[input]) {
        c->net->simd->add(n, dy, dx);
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

    c->net->simd->relu_grad(n, pq_net_value(c, c->op->out), dy);
    pass_on(c, 0, n, dy);
}

const pq_op_class pq_op_relu = {.kind      = "relu",
                                .forward   = relu_forward,
                                .backward  = relu_backward,
                                .needs_out = true};

static void add_forward(const pq_net_call *c)
{
    const size_t n = items(c);
    float       *y = pq_net_value(c, c->op->out);

    c->net->simd->add2(n, pq_net_value(c, c->op->in[0]), pq_net_value(c, c->op->in[1]),
                       c->op->relu && c->op->n_in == 2, y);
    for (size_t i = 2; i < c->op->n_in; i++) {
        c->net->simd->add2(n, pq_net_value(c, c->op->in[i]), y,
                           c->op->relu && i + 1 == c->op->n_in, y);
    }
}

static void add_backward(const pq_net_call *c)
{
    const size_t n  = items(c);
    float       *dy = pq_net_gradient(c, c->op->out);

    if (c->op->relu) {
        c->net->simd->relu_grad(n, pq_net_value(c, c->op->out), dy);
    }
    for (size_t i = 0; i < c->op->n_in; i++) {
        pass_on(c, i, n, dy);
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

/* Activations rounded to a grid. */
static size_t grid_index(const pq_op *op, size_t i)
{
    return op->quant->n > 1 ? pq_quant_index(op->quant, &op->out_shape, i) : 0;
}

static void round_forward(const pq_net_call *c)
{
    const size_t per = c->net->values[c->op->out].count, n = items(c);
    const float *x = pq_net_value(c, c->op->in[0]);
    float       *y = pq_net_value(c, c->op->out);

    for (size_t i = 0; i < n; i++) {
        y[i] = pq_quant_round(c->op->quant, grid_index(c->op, i % per), x[i]);
    }
}

/* Straight through, but where the value was clipped: there it does not move. */
static void round_backward(const pq_net_call *c)
{
    const pq_quant *q   = c->op->quant;
    const size_t    per = c->net->values[c->op->out].count, n = items(c);
    const float    *x  = pq_net_value(c, c->op->in[0]);
    float          *dy = pq_net_gradient(c, c->op->out);

    for (size_t i = 0; pq_quant_clips(q) && i < n; i++) {
        const size_t k  = grid_index(c->op, i % per);
        const double lo = (double)(pq_quant_least(q, k) - q->zero_point[k]) - 0.5;
        const double hi = (double)(pq_quant_most(q, k) - q->zero_point[k]) + 0.5;
        const double at = (double)x[i] / (double)q->scale[k];
        dy[i]           = at < lo || at > hi ? 0.0F : dy[i];
    }
    pass_on(c, 0, n, dy);
}

const pq_op_class pq_op_round = {
    .kind = "", .forward = round_forward, .backward = round_backward, .needs_in = true};

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
    pass_on(c, 0, items(c), dy);
}

const pq_op_class pq_op_dropout = {
    .kind = "dropout", .forward = dropout_forward, .backward = dropout_backward};
