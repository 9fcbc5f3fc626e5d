#include "train/net.h"

#include <string.h>

#include "core/memory.h"
#include "exec/layout.h"

/* Which values depend on a trained weight, and which lead to the loss. */
typedef struct {
    bool *trained, *used, *written;
} marks;

static bool has_trained_weight(const pq_net *net, const pq_op *op)
{
    if (op->quant != NULL) {
        return op->grid != NULL && op->grid->row != SIZE_MAX;
    }
    return op->layer->n_weights > 0 && !op->frozen && net->n_weights > 0;
}

static void mark(pq_net *net, marks *m)
{
    for (size_t i = 0; i < net->n_ops; i++) {
        pq_op *op           = &net->ops[i];
        m->trained[op->out] = has_trained_weight(net, op);
        for (size_t k = 0; k < op->n_in; k++) {
            op->wants[k]        = m->trained[op->in[k]];
            m->trained[op->out] = m->trained[op->out] || op->wants[k];
        }
    }
    m->used[net->logits] = true;
    for (size_t v = 0; v < net->n_values; v++) {
        m->used[v] = m->used[v] || net->values[v].pinned;
    }
    for (size_t i = net->n_ops; i-- > 0;) {
        for (size_t k = 0; k < net->ops[i].n_in && m->used[net->ops[i].out]; k++) {
            m->used[net->ops[i].in[k]] = true;
        }
    }
}

static void push(pq_net_step *steps, size_t *n, size_t op,
                 void (*run)(const pq_net_call *), bool meets)
{
    steps[(*n)++] = (pq_net_step){.op = op, .run = run, .meets = meets};
}

static void forward_steps(pq_net *net, const marks *m)
{
    for (size_t i = 0; i < net->n_ops; i++) {
        const pq_op *op    = &net->ops[i];
        const bool   meets = op->cls->forward_sums != NULL && !op->frozen;
        if (!m->used[op->out]) {
            continue;
        }
        if (meets) {
            push(net->train, &net->n_train, i, op->cls->forward_sums, false);
        }
        push(net->train, &net->n_train, i, op->cls->forward, meets);
        push(net->infer, &net->n_infer, i, op->cls->forward, false);
        net->meets = net->meets || meets;
    }
    push(net->train, &net->n_train, SIZE_MAX, NULL, false);
    push(net->infer, &net->n_infer, SIZE_MAX, NULL, false);
}

/* The first reader to run backward assigns a gradient, the others add. Values
   read at the loss start with what the loss assigns. */
static void backward_steps(pq_net *net, marks *m)
{
    for (size_t v = 0; v < net->n_values; v++) {
        m->written[v] = v == net->logits || net->values[v].pinned;
    }
    for (size_t i = net->n_ops; i-- > 0;) {
        pq_op     *op    = &net->ops[i];
        const bool meets = op->cls->backward_sums != NULL && !op->frozen;
        if (!m->used[op->out] || !m->trained[op->out]) {
            continue;
        }
        for (size_t k = 0; k < op->n_in; k++) {
            op->accumulate[k] = m->written[op->in[k]];
            m->written[op->in[k]] |= op->wants[k];
        }
        if (meets) {
            push(net->train, &net->n_train, i, op->cls->backward_sums, false);
        }
        push(net->train, &net->n_train, i, op->cls->backward, meets);
    }
}

pq_status pq_net_plan_program(pq_net *net, pq_err *err)
{
    marks     m = {0};
    pq_status st;

    PQ_NEW(m.trained, net->n_values);
    PQ_NEW(m.used, net->n_values);
    PQ_NEW(m.written, net->n_values);
    PQ_NEW(net->train, 4 * net->n_ops + 1);
    PQ_NEW(net->infer, net->n_ops + 1);
    mark(net, &m);
    forward_steps(net, &m);
    backward_steps(net, &m);
cleanup:
    pq_free(m.trained);
    pq_free(m.used);
    pq_free(m.written);
    return st;
}

static void touch(pq_span *b, size_t step)
{
    b->first = b->first < step ? b->first : step;
    b->last  = b->last > step ? b->last : step;
}

/* Lifetimes: values are blocks 0 .. n-1, their gradients n .. 2n-1. */
static void live_forward(const pq_net *net, pq_span *b, const pq_net_step *step,
                         size_t at)
{
    const pq_op *op = &net->ops[step->op];

    for (size_t k = 0; k < op->n_in; k++) {
        touch(&b[op->in[k]], at);
    }
    touch(&b[op->out], at);
}

static void live_backward(const pq_net *net, pq_span *b, const pq_net_step *step,
                          size_t at)
{
    const pq_op *op = &net->ops[step->op];

    for (size_t k = 0; k < op->n_in; k++) {
        if (op->cls->needs_in) {
            touch(&b[op->in[k]], at);
        }
        if (op->wants[k]) {
            touch(&b[net->n_values + op->in[k]], at);
        }
    }
    if (op->cls->needs_out || op->relu) {
        touch(&b[op->out], at);
    }
    touch(&b[net->n_values + op->out], at);
}

static void live(const pq_net *net, pq_span *b, bool training)
{
    const pq_net_step *steps = training ? net->train : net->infer;
    const size_t       n     = training ? net->n_train : net->n_infer;
    bool               after = false;

    touch(&b[net->input], 0);
    for (size_t i = 0; i < n; i++) {
        if (steps[i].op == SIZE_MAX) {
            after = true;
            for (size_t v = 0; v < net->n_values; v++) {
                if (v == net->logits || net->values[v].pinned) {
                    touch(&b[v], i);
                    touch(&b[net->n_values + v], i);
                }
            }
        } else if (after) {
            live_backward(net, b, &steps[i], i);
        } else {
            live_forward(net, b, &steps[i], i);
        }
    }
}

pq_status pq_net_plan_memory(pq_net *net, bool training, pq_err *err)
{
    const size_t n     = 2 * net->n_values;
    pq_span     *spans = NULL;
    size_t       bytes = 0;
    pq_status    st;

    PQ_NEW(spans, n);
    for (size_t i = 0; i < n; i++) {
        spans[i] = (pq_span){.first = SIZE_MAX};
    }
    live(net, spans, training);
    for (size_t i = 0; i < n; i++) {
        const bool alive = spans[i].first <= spans[i].last;
        spans[i].bytes =
            alive ? net->values[i % net->n_values].count * net->chunk * sizeof(float) : 0;
    }
    PQ_TRY(pq_layout_place(spans, n, &bytes, err));
    net->slot_floats = bytes / sizeof(float);
    for (size_t v = 0; v < net->n_values; v++) {
        const pq_span *gradient = &spans[net->n_values + v];
        net->values[v].offset   = spans[v].offset / sizeof(float);
        if (gradient->first <= gradient->last) {
            net->values[v].gradient = gradient->offset / sizeof(float);
        }
    }
cleanup:
    pq_free(spans);
    return st;
}
