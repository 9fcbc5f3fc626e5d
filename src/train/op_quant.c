/* Activations rounded to a grid, which may be in training (grid.h). */
#include <string.h>

#include "train/grid.h"
#include "train/net.h"

static size_t items(const pq_net_call *c)
{
    return c->rows * c->net->values[c->op->out].count;
}

static size_t grid_index(const pq_op *op, size_t i)
{
    return op->quant->n > 1 ? pq_quant_index(op->quant, &op->out_shape, i) : 0;
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    (void)net;
    (void)err;
    op->scratch_bytes = op->quant->n * sizeof(double);
    return PQ_OK;
}

static void forward(const pq_net_call *c)
{
    const size_t per = c->net->values[c->op->out].count, n = items(c);
    const float *x = pq_net_value(c, c->op->in[0]);
    float       *y = pq_net_value(c, c->op->out);

    for (size_t i = 0; i < n; i++) {
        y[i] = pq_quant_round(c->op->quant, grid_index(c->op, i % per), x[i]);
    }
}

/* Straight through, but where the value was clipped: there it does not move. */
static void mask_clipped(const pq_net_call *c, const float *x, double slack, float *dy)
{
    const size_t per = c->net->values[c->op->out].count, n = items(c);

    for (size_t i = 0; pq_quant_clips(c->op->quant) && i < n; i++) {
        const size_t k = grid_index(c->op, i % per);
        dy[i]          = pq_grid_clips(c->op->quant, k, x[i], slack) ? 0.0F : dy[i];
    }
}

/* dq/dp of one value, p the parameter of its scale. */
static double slope(const pq_grid *g, size_t k, float x)
{
    const pq_quant *q = g->quant;

    switch (g->rule) {
    case PQ_QAT_LSQ:
        return pq_grid_lsq(q, k, x) * g->step;
    case PQ_QAT_PACT:
        return x > 0.0F && pq_grid_clips(q, k, x, 0.0) ? 1.0 : 0.0;
    case PQ_QAT_HGQ:
        return pq_grid_clips(q, k, x, 0.5)
                   ? 0.0
                   : 0.69314718055994530942 *
                         ((double)x - (double)pq_quant_round(q, k, x));
    case PQ_QAT_STRAIGHT:
    case PQ_QAT_DOREFA:
        break;
    }
    return 0.0;
}

static void parameter_gradient(const pq_net_call *c, const float *x, const float *dy)
{
    const pq_grid *g   = c->op->grid;
    const size_t   per = c->net->values[c->op->out].count, n = items(c);
    double        *sums = c->scratch;

    memset(sums, 0, g->quant->n * sizeof *sums);
    for (size_t i = 0; i < n; i++) {
        const size_t k = grid_index(c->op, i % per);
        sums[k] += (double)dy[i] * slope(g, k, x[i]);
    }
    for (size_t k = 0; k < g->quant->n; k++) {
        c->gradients[c->net->weights[g->row].offset + k] = (float)sums[k];
    }
}

static void backward(const pq_net_call *c)
{
    const pq_grid *g  = c->op->grid;
    const float   *x  = pq_net_value(c, c->op->in[0]);
    float         *dy = pq_net_gradient(c, c->op->out);

    if (g != NULL && g->row != SIZE_MAX) {
        parameter_gradient(c, x, dy);
    }
    mask_clipped(
        c, x, g != NULL && (g->rule == PQ_QAT_LSQ || g->rule == PQ_QAT_PACT) ? 0.0 : 0.5,
        dy);
    pq_net_pass_on(c, 0, items(c), dy);
}

const pq_op_class pq_op_round = {.kernel   = "float32:rounding",
                                 .setup    = setup,
                                 .forward  = forward,
                                 .backward = backward,
                                 .needs_in = true};
