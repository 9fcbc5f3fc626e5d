/*
 * Layers without weights: by what their kind's entry computes in float32, and items that
 * move.
 */
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "layers/kinds.h"
#include "layers/moves.h"
#include "train/net.h"

static size_t items(const pq_net_call *c)
{
    return c->rows * c->net->values[c->op->out].count;
}

float *pq_net_gradient_behind(const pq_net_call *c, size_t width, size_t bias)
{
    const pq_kernels *kernels = c->net->kernels;
    const size_t      n       = c->rows * c->net->values[c->op->out].count;
    float            *dy      = pq_net_gradient(c, c->op->out);
    const float      *y       = c->op->relu ? pq_net_value(c, c->op->out) : NULL;

    if (bias != SIZE_MAX && !c->op->frozen) {
        memset(c->gradients + bias, 0, width * sizeof(float));
        kernels->column_sum(n / width, width, y, dy, c->gradients + bias);
    } else if (y != NULL) {
        kernels->relu_grad(n, y, dy);
    }
    return dy;
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

/* A call of the kind's own loops; `in` has room for its inputs. */
static pq_float_call call_of(const pq_net_call *c, const float **in)
{
    const pq_op *op = c->op;

    for (size_t i = 0; i < op->n_in; i++) {
        in[i] = pq_net_value(c, op->in[i]);
    }
    return (pq_float_call){.kernels   = c->net->kernels,
                           .layer     = op->layer,
                           .batch     = c->rows,
                           .n_in      = op->n_in,
                           .in_shape  = op->in_shape,
                           .in        = in,
                           .out_shape = op->out_shape,
                           .out       = pq_net_value(c, op->out)};
}

static void forward(const pq_net_call *c)
{
    const float        *in[PQ_NODE_INPUTS];
    const pq_float_call call = call_of(c, in);

    c->op->layer->kind->forward32(&call);
}

static void backward(const pq_net_call *c)
{
    const float  *in[PQ_NODE_INPUTS];
    float        *grad[PQ_NODE_INPUTS] = {NULL};
    pq_float_call call                 = call_of(c, in);
    const bool    itemwise             = pq_layer_is(c->op->layer, PQ_TRAIT_ITEMWISE);

    for (size_t i = 0; i < c->op->n_in && !itemwise; i++) {
        grad[i] = c->op->wants[i] ? pq_net_gradient_to_add(c, i) : NULL;
    }
    call.grad_out = pq_net_gradient(c, c->op->out);
    call.grad_in  = grad;
    c->op->layer->kind->backward32(&call);
    if (itemwise) {
        pq_net_pass_on(c, 0, items(c), call.grad_out);
    }
}

#define PLAIN(name, in, out)                                                             \
    const pq_op_class pq_op_##name = {.kernel    = "float32:plain loops",                \
                                      .forward   = forward,                              \
                                      .backward  = backward,                             \
                                      .needs_in  = (in),                                 \
                                      .needs_out = (out)}

/* By what backward32 reads. */
PLAIN(plain, false, false);
PLAIN(plain_of_in, true, false);
PLAIN(plain_of_out, false, true);
PLAIN(plain_of_both, true, true);

static void free_moves(void *state)
{
    pq_moves_free(state);
}

static pq_status setup_moves(pq_net *net, pq_op *op, pq_err *err)
{
    pq_status st;

    (void)net;
    op->state = pq_calloc(1, sizeof(pq_moves));
    PQ_CHECK(op->state != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->free_state = free_moves;
    PQ_TRY(pq_moves_create(op->layer, op->n_in, op->in_shape, &op->out_shape, op->state,
                           err));
cleanup:
    return st;
}

static void moves_forward(const pq_net_call *c)
{
    const pq_moves *m        = c->op->state;
    const float     constant = (float)m->constant;
    const void     *in[PQ_NODE_INPUTS];

    for (size_t i = 0; i < c->op->n_in; i++) {
        in[i] = pq_net_value(c, c->op->in[i]);
    }
    pq_moves_run(m, c->rows, sizeof(float), in, &constant, pq_net_value(c, c->op->out));
}

static void moves_backward(const pq_net_call *c)
{
    for (size_t i = 0; i < c->op->n_in; i++) {
        if (c->op->wants[i]) {
            pq_moves_back(c->op->state, c->net->kernels, c->rows, i,
                          pq_net_gradient(c, c->op->out), pq_net_gradient_to_add(c, i));
        }
    }
}

const pq_op_class pq_op_moves = {.kernel   = "float32:moves",
                                 .setup    = setup_moves,
                                 .forward  = moves_forward,
                                 .backward = moves_backward};

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

const pq_op_class pq_op_add = {.kernel     = "float32:plain loops",
                               .forward    = add_forward,
                               .backward   = add_backward,
                               .takes_relu = true};

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

const pq_op_class pq_op_dropout = {.kernel   = "float32:random zeros",
                                   .forward  = dropout_forward,
                                   .backward = dropout_backward};
