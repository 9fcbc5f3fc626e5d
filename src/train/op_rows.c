/* Slices of the last axis, and pooling over the rows of a mask. */
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "train/net.h"

static size_t columns_of(const pq_op *op)
{
    return op->in_shape[0].dim[op->in_shape[0].ndim - 1];
}

/* Rows of all events of the chunk, and where a slice of them begins. */
static size_t sliced_rows(const pq_net_call *c, size_t *from, size_t *part)
{
    *from = (size_t)((const pq_slice_params *)c->op->layer->params)->from;
    *part = c->op->out_shape.dim[c->op->out_shape.ndim - 1];
    return c->rows * c->net->values[c->op->out].count / *part;
}

static void slice_forward(const pq_net_call *c)
{
    size_t       from, part;
    const size_t rows = sliced_rows(c, &from, &part), columns = columns_of(c->op);
    const float *x = pq_net_value(c, c->op->in[0]) + from;
    float       *y = pq_net_value(c, c->op->out);

    for (size_t r = 0; r < rows; r++) {
        memcpy(y + r * part, x + r * columns, part * sizeof *y);
    }
}

static void slice_backward(const pq_net_call *c)
{
    size_t       from, part;
    const size_t rows = sliced_rows(c, &from, &part), columns = columns_of(c->op);
    const float *dy = pq_net_gradient(c, c->op->out);
    float       *dx;

    if (!c->op->wants[0]) {
        return;
    }
    dx = pq_net_gradient_to_add(c, 0) + from;
    for (size_t r = 0; r < rows; r++) {
        c->net->kernels->add(part, dy + r * part, dx + r * columns);
    }
}

const pq_op_class pq_op_slice = {
    .kind = "slice", .forward = slice_forward, .backward = slice_backward};

static int mode_of(const pq_op *op)
{
    return ((const pq_masked_pool_params *)op->layer->params)->mode;
}

/* What each row of an event counts. */
static float share(const pq_op *op, const float *mask)
{
    size_t n = 0;

    for (size_t i = 0; i < op->in_shape[0].dim[0]; i++) {
        n += mask[i] > 0.0F ? 1 : 0;
    }
    return mode_of(op) == PQ_MASKED_MEAN && n > 0 ? 1.0F / (float)n : 1.0F;
}

/* Row of the largest value of a channel, or SIZE_MAX. */
static size_t largest(const pq_op *op, const float *x, const float *mask)
{
    const size_t columns = columns_of(op);
    size_t       best    = SIZE_MAX;

    for (size_t i = 0; i < op->in_shape[0].dim[0]; i++) {
        if (mask[i] > 0.0F && (best == SIZE_MAX || x[i * columns] > x[best * columns])) {
            best = i;
        }
    }
    return best;
}

static void masked_forward(const pq_net_call *c)
{
    const size_t n = c->op->in_shape[0].dim[0], columns = columns_of(c->op);
    const float *x = pq_net_value(c, c->op->in[0]), *mask = pq_net_value(c, c->op->in[1]);
    float       *y = pq_net_value(c, c->op->out);

    memset(y, 0, c->rows * columns * sizeof *y);
    for (size_t e = 0; e < c->rows; e++, x += n * columns, mask += n, y += columns) {
        const float part = share(c->op, mask);
        for (size_t k = 0; mode_of(c->op) == PQ_MASKED_MAX && k < columns; k++) {
            const size_t best = largest(c->op, x + k, mask);
            y[k]              = best == SIZE_MAX ? 0.0F : x[best * columns + k];
        }
        for (size_t i = 0; mode_of(c->op) != PQ_MASKED_MAX && i < n; i++) {
            if (mask[i] > 0.0F) {
                c->net->kernels->add(columns, x + i * columns, y);
            }
        }
        for (size_t k = 0; mode_of(c->op) == PQ_MASKED_MEAN && k < columns; k++) {
            y[k] *= part;
        }
    }
}

static void spread_event(const pq_net_call *c, const float *x, const float *mask,
                         const float *dy, float *dx)
{
    const size_t n = c->op->in_shape[0].dim[0], columns = columns_of(c->op);
    const float  part = share(c->op, mask);

    for (size_t k = 0; mode_of(c->op) == PQ_MASKED_MAX && k < columns; k++) {
        const size_t best = largest(c->op, x + k, mask);
        if (best != SIZE_MAX) {
            dx[best * columns + k] += dy[k];
        }
    }
    for (size_t i = 0; mode_of(c->op) != PQ_MASKED_MAX && i < n; i++) {
        for (size_t k = 0; mask[i] > 0.0F && k < columns; k++) {
            dx[i * columns + k] += dy[k] * part;
        }
    }
}

static void masked_backward(const pq_net_call *c)
{
    const size_t n = c->op->in_shape[0].dim[0], columns = columns_of(c->op);
    const float *x = pq_net_value(c, c->op->in[0]), *mask = pq_net_value(c, c->op->in[1]);
    const float *dy = pq_net_gradient(c, c->op->out);
    float       *dx;

    if (c->op->wants[1]) {
        (void)pq_net_gradient_to_add(c,
                                     1); /* a mask is a step: nothing goes through it */
    }
    if (!c->op->wants[0]) {
        return;
    }
    dx = pq_net_gradient_to_add(c, 0);
    for (size_t e = 0; e < c->rows; e++) {
        spread_event(c, x + e * n * columns, mask + e * n, dy + e * columns,
                     dx + e * n * columns);
    }
}

const pq_op_class pq_op_masked_pool = {.kind     = "masked_pool",
                                       .forward  = masked_forward,
                                       .backward = masked_backward,
                                       .needs_in = true};
