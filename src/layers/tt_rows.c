/*
 * y = W x + bias along the last axis, W a tensor train or ring (layers/tt.h), one core
 * after the other. A ring is run train by train.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "layers/common.h"
#include "layers/tt.h"

pq_status pq_tt_rows_shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                           pq_shape *out, pq_err *err)
{
    pq_tt_modes t;
    char        input[128];
    pq_status   st;

    (void)n_in;
    PQ_TRY(pq_tt_modes_of(layer, &t, err));
    PQ_CHECK(in->ndim >= 1 && in->dim[in->ndim - 1] == t.inputs, PQ_ERR_SHAPE,
             "the input modes multiply to %zu but the input is %s", t.inputs,
             pq_shape_text(in, input, sizeof input));
    *out                    = *in;
    out->dim[out->ndim - 1] = t.outputs;
cleanup:
    return st;
}

uint64_t pq_tt_rows_macs(const pq_layer *layer, size_t n_in, const pq_shape *in,
                         const pq_shape *out)
{
    pq_tt_modes t = {0};

    (void)n_in;
    (void)out;
    (void)pq_tt_modes_of(layer, &t, NULL);
    return pq_tt_macs(&t) * (pq_items(in) / t.inputs);
}

/* Out of memory shows as values that are not finite, which callers refuse. */
static void spoil(double *values, size_t n)
{
    for (size_t i = 0; values != NULL && i < n; i++) {
        values[i] = (double)NAN;
    }
}

/* A sample on its way through one train: z[0] is the input, z[k + 1] what core k makes of
 * z[k]. */
typedef struct {
    pq_tt_modes   t;
    const double *core[PQ_MAX_DIMS];
    double       *grad[PQ_MAX_DIMS];      /* of the cores, or NULL */
    size_t        first, last;            /* from one train of a ring to the next */
    size_t        others[PQ_MAX_DIMS];    /* p: items of all modes not at work */
    size_t        count[PQ_MAX_DIMS + 1]; /* items of z[k] */
    double       *z[PQ_MAX_DIMS + 1], *g[PQ_MAX_DIMS + 1]; /* values, gradients */
    double       *block;
} chain;

/* Gives every z (and gradient) its place; block is NULL when out of memory. */
static chain chain_of(const pq_layer_call *call, bool gradients)
{
    chain  c = {0};
    char   name[32];
    size_t total = 0, others;

    (void)pq_tt_modes_of(call->layer, &c.t, NULL);
    c.t.r[0] = c.t.r[c.t.d] = 1; /* of each train */
    c.first                 = c.t.n[0] * c.t.m[0] * c.t.r[1];
    c.last                  = 1;
    others                  = c.t.inputs;
    c.count[0]              = c.t.inputs;
    for (size_t k = 0; k < c.t.d; k++) {
        (void)snprintf(name, sizeof name, "core%zu", k + 1);
        c.core[k]   = pq_call_weight(call, name);
        c.grad[k]   = gradients ? pq_call_grad(call, name) : NULL;
        others      = others / c.t.m[k];
        c.others[k] = others;
        others *= c.t.n[k];
        c.count[k + 1] = others * c.t.r[k + 1];
    }
    for (size_t k = 0; k <= c.t.d; k++) {
        total += c.count[k];
    }
    c.block = pq_calloc(gradients ? 2 * total : total, sizeof *c.block);
    for (size_t k = 0, at = 0; c.block != NULL && k <= c.t.d; at += c.count[k], k++) {
        c.z[k] = c.block + at;
        c.g[k] = gradients ? c.block + total + at : NULL;
    }
    return c;
}

/* The next train of a ring. */
static void step(chain *c)
{
    const size_t last = c->t.d - 1;

    c->core[0] += c->first;
    c->core[last] += c->last;
    c->grad[0] += c->grad[0] != NULL ? c->first : 0;
    c->grad[last] += c->grad[last] != NULL ? c->last : 0;
}

/* How far items of a core lie apart: a column of the last one is a ring's train's. */
static size_t apart(const chain *c, size_t k)
{
    return k + 1 == c->t.d ? c->t.ring : 1;
}

/* z[k + 1] [r', p, n] = sum over (r, m) of z[k] [r, m, p] core[r, n, m, r']. */
static void pass(const chain *c, size_t k)
{
    const size_t P = c->others[k], N = c->t.n[k], M = c->t.m[k], R2 = c->t.r[k + 1];
    const size_t items = c->t.r[k] * N * M * R2;

    memset(c->z[k + 1], 0, c->count[k + 1] * sizeof(double));
    for (size_t i = 0; i < items; i++) {
        const size_t  r2 = i % R2, m = i / R2 % M, n = i / R2 / M % N, r = i / R2 / M / N;
        const double  w    = c->core[k][i * apart(c, k)];
        const double *from = c->z[k] + (r * M + m) * P;
        double       *to   = c->z[k + 1] + r2 * P * N + n;
        for (size_t p = 0; p < P; p++) {
            to[p * N] += w * from[p];
        }
    }
}

/* The gradients of z[k] and of core k from that of z[k + 1]. */
static void pass_back(const chain *c, size_t k)
{
    const size_t P = c->others[k], N = c->t.n[k], M = c->t.m[k], R2 = c->t.r[k + 1];
    const size_t items = c->t.r[k] * N * M * R2;

    memset(c->g[k], 0, c->count[k] * sizeof(double));
    for (size_t i = 0; i < items; i++) {
        const size_t  r2 = i % R2, m = i / R2 % M, n = i / R2 / M % N, r = i / R2 / M / N;
        const double  w = c->core[k][i * apart(c, k)];
        const double *g = c->g[k + 1] + r2 * P * N + n, *z = c->z[k] + (r * M + m) * P;
        double       *dz = c->g[k] + (r * M + m) * P, sum = 0.0;
        for (size_t p = 0; p < P; p++) {
            sum += z[p] * g[p * N];
            dz[p] += w * g[p * N];
        }
        if (c->grad[k] != NULL) {
            c->grad[k][i * apart(c, k)] += sum;
        }
    }
}

static void run(const chain *c, const double *x)
{
    memcpy(c->z[0], x, c->count[0] * sizeof *x);
    for (size_t k = 0; k < c->t.d; k++) {
        pass(c, k);
    }
}

void pq_tt_rows_forward(const pq_layer_call *call)
{
    const size_t  n    = pq_call_items(call);
    const double *bias = pq_call_weight(call, "bias");
    chain         c    = chain_of(call, false);
    const size_t  out  = c.t.outputs;

    if (c.block == NULL) {
        spoil(call->out, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        call->out[i] = bias != NULL ? bias[i % out] : 0.0;
    }
    for (size_t a = 0; a < c.t.ring; a++, step(&c)) {
        for (size_t row = 0; row < n / out; row++) {
            run(&c, call->in[0] + row * c.t.inputs);
            for (size_t o = 0; o < out; o++) {
                call->out[row * out + o] += c.z[c.t.d][o];
            }
        }
    }
    pq_free(c.block);
}

/* Adds what one row and one train give to the gradients of the cores and the input. */
static void row_back(const pq_layer_call *call, const chain *c, size_t row)
{
    const size_t out = c->t.outputs, in = c->t.inputs;

    run(c, call->in[0] + row * in);
    memcpy(c->g[c->t.d], call->grad_out + row * out, out * sizeof(double));
    for (size_t k = c->t.d; k-- > 0;) {
        pass_back(c, k);
    }
    for (size_t i = 0; call->grad_in[0] != NULL && i < in; i++) {
        call->grad_in[0][row * in + i] += c->g[0][i];
    }
}

void pq_tt_rows_backward(const pq_layer_call *call)
{
    const size_t n         = pq_call_items(call);
    double      *grad_bias = pq_call_grad(call, "bias");
    chain        c         = chain_of(call, true);
    const size_t out       = c.t.outputs;

    if (c.block == NULL) {
        spoil(call->grad_in[0], call->batch * pq_items(&call->in_shape[0]));
        return;
    }
    for (size_t a = 0; a < c.t.ring; a++, step(&c)) {
        for (size_t row = 0; row < n / out; row++) {
            row_back(call, &c, row);
        }
    }
    for (size_t i = 0; grad_bias != NULL && i < n; i++) {
        grad_bias[i % out] += call->grad_out[i];
    }
    pq_free(c.block);
}
