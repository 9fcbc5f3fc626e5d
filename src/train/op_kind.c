/*
 * Any kind of layer, through its own forward and backward in double precision:
 * a new kind can be trained without a line here.
 */
#include <string.h>

#include "core/memory.h"
#include "train/net.h"

typedef struct {
    size_t in_count[PQ_NODE_INPUTS], out_count, weight_count[PQ_OP_WEIGHTS];
} state;

/* One event in double, in the scratch memory of a thread. */
typedef struct {
    double       *in[PQ_NODE_INPUTS], *grad_in[PQ_NODE_INPUTS];
    double       *out, *grad_out;
    double       *weight[PQ_OP_WEIGHTS], *grad_weight[PQ_OP_WEIGHTS];
    pq_layer_call call;
} doubles;

static size_t layout(const pq_op *op, double *base, doubles *d)
{
    const state *s  = op->state;
    size_t       at = 0;

    for (size_t i = 0; i < op->n_in; i++) {
        d->in[i]      = base + at;
        d->grad_in[i] = base + at + s->in_count[i];
        at += 2 * s->in_count[i];
    }
    for (size_t w = 0; w < op->layer->n_weights; w++) {
        d->weight[w]      = base + at;
        d->grad_weight[w] = base + at + s->weight_count[w];
        at += 2 * s->weight_count[w];
    }
    d->out      = base + at;
    d->grad_out = base + at + s->out_count;
    return at + 2 * s->out_count;
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    static double none; /* only offsets are taken */
    state        *s = pq_calloc(1, sizeof *s);
    doubles       d;
    pq_status     st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state = s;
    for (size_t i = 0; i < op->n_in; i++) {
        s->in_count[i] = net->values[op->in[i]].count;
    }
    for (size_t w = 0; w < op->layer->n_weights; w++) {
        s->weight_count[w] = op->layer->weights[w].value->count;
    }
    s->out_count      = net->values[op->out].count;
    op->scratch_bytes = layout(op, &none, &d) * sizeof(double);
cleanup:
    return st;
}

static void widen(const float *from, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)from[i];
    }
}

static void narrow(const double *from, size_t n, bool add, float *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (float)from[i] + (add ? to[i] : 0.0F);
    }
}

static void start(const pq_net_call *c, doubles *d)
{
    const pq_op *op = c->op;
    const state *s  = op->state;

    (void)layout(op, c->scratch, d);
    for (size_t w = 0; w < op->layer->n_weights; w++) {
        widen(c->net->used + op->weight[w], s->weight_count[w], d->weight[w]);
        memset(d->grad_weight[w], 0, s->weight_count[w] * sizeof(double));
    }
    d->call = (pq_layer_call){.layer       = op->layer,
                              .batch       = 1,
                              .n_in        = op->n_in,
                              .in_shape    = op->in_shape,
                              .in          = (const double *const *)d->in,
                              .out_shape   = op->out_shape,
                              .out         = d->out,
                              .weight      = (const double *const *)d->weight,
                              .grad_out    = d->grad_out,
                              .grad_in     = d->grad_in,
                              .grad_weight = d->grad_weight};
}

static void read_event(const pq_net_call *c, size_t row, doubles *d)
{
    const state *s = c->op->state;

    for (size_t i = 0; i < c->op->n_in; i++) {
        widen(pq_net_value(c, c->op->in[i]) + row * s->in_count[i], s->in_count[i],
              d->in[i]);
    }
}

static void forward(const pq_net_call *c)
{
    const state *s   = c->op->state;
    float       *out = pq_net_value(c, c->op->out);
    doubles      d;

    start(c, &d);
    for (size_t row = 0; row < c->rows; row++) {
        read_event(c, row, &d);
        c->op->layer->kind->forward(&d.call);
        narrow(d.out, s->out_count, false, out + row * s->out_count);
    }
}

static void backward(const pq_net_call *c)
{
    const pq_op *op = c->op;
    const state *s  = op->state;
    doubles      d;

    start(c, &d);
    for (size_t row = 0; row < c->rows; row++) {
        read_event(c, row, &d);
        widen(pq_net_value(c, op->out) + row * s->out_count, s->out_count, d.out);
        widen(pq_net_gradient(c, op->out) + row * s->out_count, s->out_count, d.grad_out);
        for (size_t i = 0; i < op->n_in; i++) {
            memset(d.grad_in[i], 0, s->in_count[i] * sizeof(double));
        }
        op->layer->kind->backward(&d.call);
        for (size_t i = 0; i < op->n_in; i++) {
            if (op->wants[i]) {
                narrow(d.grad_in[i], s->in_count[i], op->accumulate[i],
                       pq_net_gradient(c, op->in[i]) + row * s->in_count[i]);
            }
        }
    }
    for (size_t w = 0; !op->frozen && w < op->layer->n_weights; w++) {
        narrow(d.grad_weight[w], s->weight_count[w], false, c->gradients + op->weight[w]);
    }
}

const pq_op_class pq_op_kind = {
    .kernel    = "plain loops in double: training has no float32 code for it",
    .setup     = setup,
    .forward   = forward,
    .backward  = backward,
    .needs_in  = true,
    .needs_out = true};
