/* Weights onto their grids and gradients back through them, in the rules of grid.h. */
#include <math.h>
#include <string.h>

#include "train/grid.h"
#include "train/net.h"

static const double ln2 = 0.69314718055994530942;

/* End of a symmetric grid. */
static double end_of(const pq_grid *g, size_t k)
{
    return (double)g->quant->scale[k] * (double)pq_quant_most(g->quant, k);
}

/* tanh v over the largest of its scale: -1 .. 1. */
static double squash(const pq_grid *g, size_t k, float v)
{
    return g->largest[k] > 0.0 ? tanh((double)v) / g->largest[k] : 0.0;
}

void pq_grid_round(const pq_grid *grid, const pq_quant *quant, const pq_shape *shape,
                   size_t count, const float *from, float *to)
{
    for (size_t i = 0; i < count; i++) {
        const size_t k = pq_quant_index(quant, shape, i);
        const float  v = grid != NULL && grid->rule == PQ_QAT_DOREFA
                             ? (float)(squash(grid, k, from[i]) * end_of(grid, k))
                             : from[i];
        to[i]          = pq_quant_round(quant, k, v);
    }
}

/* One weight, its rounded value, and the gradient at that, which becomes its own. */
typedef struct {
    const pq_grid       *grid;
    const pq_net_weight *w;
    const float         *v, *q;
    float               *d;
    double              *sums; /* of each scale */
} passage;

/* Where a value moved by more than rounding does. */
static void mask_clipped(const passage *p)
{
    for (size_t i = 0; pq_quant_clips(p->grid->quant) && i < p->w->count; i++) {
        const size_t k = pq_quant_index(p->grid->quant, &p->w->shape, i);
        p->d[i]        = pq_grid_clips(p->grid->quant, k, p->v[i], 0.5) ? 0.0F : p->d[i];
    }
}

static void through_lsq(const passage *p)
{
    for (size_t i = 0; i < p->w->count; i++) {
        const size_t k = pq_quant_index(p->grid->quant, &p->w->shape, i);
        p->sums[k] += (double)p->d[i] * pq_grid_lsq(p->grid->quant, k, p->v[i]);
        p->d[i] = pq_grid_clips(p->grid->quant, k, p->v[i], 0.0) ? 0.0F : p->d[i];
    }
    for (size_t k = 0; k < p->grid->quant->n; k++) {
        p->sums[k] *= p->grid->step;
    }
}

static void through_hgq(const passage *p)
{
    for (size_t i = 0; i < p->w->count; i++) {
        const size_t k = pq_quant_index(p->grid->quant, &p->w->shape, i);
        p->sums[k] += (double)p->d[i] * ln2 * ((double)p->v[i] - (double)p->q[i]);
    }
}

/*
 * q_i = s Qp t_i, t_i = tanh v_i / T, T = |tanh v_m| the largest of the scale:
 * dL/dv_j = s Qp (1 - tanh^2 v_j) / T (d_j - [j = m] sign(v_m) sum_i d_i t_i / n),
 * where n weights share the largest: each gets its part of the gradient of T.
 */
static void through_dorefa(const passage *p)
{
    const pq_grid *g = p->grid;

    for (size_t i = 0; i < p->w->count; i++) {
        const size_t k = pq_quant_index(g->quant, &p->w->shape, i);
        p->sums[k] += (double)p->d[i] * squash(g, k, p->v[i]);
    }
    for (size_t i = 0; i < p->w->count; i++) {
        const size_t k = pq_quant_index(g->quant, &p->w->shape, i);
        const double t = tanh((double)p->v[i]);
        double       d = (double)p->d[i];
        if (fabs(t) == g->largest[k]) {
            d -= copysign(p->sums[k], t * p->sums[k]) / g->ties[k];
        }
        p->d[i] = g->largest[k] > 0.0
                      ? (float)(d * end_of(g, k) * (1.0 - t * t) / g->largest[k])
                      : p->d[i];
    }
}

static void backward_weight(pq_net *net, const pq_grid *g)
{
    const pq_net_weight *w = &net->weights[g->weight];
    const passage        p = {.grid = g,
                              .w    = w,
                              .v    = net->shaped + w->offset,
                              .q    = net->used + w->offset,
                              .d    = net->gradients + w->offset,
                              .sums = g->sums};

    memset(g->sums, 0, g->quant->n * sizeof *g->sums);
    switch (g->rule) {
    case PQ_QAT_LSQ:
        through_lsq(&p);
        break;
    case PQ_QAT_HGQ:
        through_hgq(&p);
        break;
    case PQ_QAT_DOREFA:
        through_dorefa(&p);
        break;
    case PQ_QAT_STRAIGHT:
    case PQ_QAT_PACT:
        mask_clipped(&p);
        break;
    }
}

/* The gradients that the operations left for outputs, and what decay adds. */
static void backward_output(const pq_net *net, const pq_grid *g)
{
    const size_t at = net->weights[g->row].offset;

    for (size_t k = 0; k < g->quant->n; k++) {
        g->sums[k] = (double)net->gradients[at + k];
        if (g->rule == PQ_QAT_PACT) {
            g->sums[k] += net->qat.decay * (double)net->flat[at + k];
        }
    }
}

static int magnitude_bits(const pq_quant *q, size_t k)
{
    return q->width[k] - (q->is_signed && q->width[k] > 0 ? 1 : 0);
}

/* Bits of one item of a kernel as it is used. */
static double bits_of(const pq_net *net, const pq_net_weight *w, size_t i)
{
    if (net->used[w->offset + i] == 0.0F) {
        return 0.0;
    }
    if (w->quant == NULL) {
        return 32.0;
    }
    return w->quant->scheme == PQ_QUANT_FIXED
               ? w->quant->width[pq_quant_index(w->quant, &w->shape, i)]
               : w->quant->bits;
}

static double source_bits(const pq_net *net, const pq_product *p)
{
    return p->source == SIZE_MAX ? p->bits : net->grids[p->source].quant->bits;
}

/* d (beta sum_ij b_x b_w(i, j)) / df of both factors, and gamma for each f. */
static void add_penalty(const pq_net *net)
{
    for (size_t n = 0; n < net->n_products; n++) {
        const pq_product    *p   = &net->products[n];
        const pq_net_weight *w   = &net->weights[p->weight];
        const double         b_x = source_bits(net, p);
        double               sum = 0.0;
        for (size_t i = 0; i < w->count; i++) {
            const double bits = bits_of(net, w, i);
            sum += bits;
            if (bits > 0.0 && w->grid != NULL && w->grid->rule == PQ_QAT_HGQ) {
                w->grid->sums[pq_quant_index(w->quant, &w->shape, i)] +=
                    net->qat.beta * b_x;
            }
        }
        if (p->source != SIZE_MAX) {
            net->grids[p->source].sums[0] += net->qat.beta * sum;
        }
    }
    for (size_t n = 0; n < net->n_grids; n++) {
        const pq_grid *g = &net->grids[n];
        for (size_t k = 0; g->rule == PQ_QAT_HGQ && k < g->quant->n; k++) {
            g->sums[k] += magnitude_bits(g->quant, k) > 0 ? net->qat.gamma : 0.0;
        }
    }
}

double pq_grids_penalty(const pq_net *net)
{
    double ebops = 0.0, bits = 0.0;

    for (size_t n = 0; n < net->n_products; n++) {
        const pq_product    *p   = &net->products[n];
        const pq_net_weight *w   = &net->weights[p->weight];
        double               sum = 0.0;
        for (size_t i = 0; i < w->count; i++) {
            sum += bits_of(net, w, i);
        }
        ebops += source_bits(net, p) * sum;
    }
    for (size_t n = 0; n < net->n_grids; n++) {
        const pq_grid *g = &net->grids[n];
        for (size_t k = 0; g->rule == PQ_QAT_HGQ && k < g->quant->n; k++) {
            bits += magnitude_bits(g->quant, k);
        }
    }
    return net->qat.rule == PQ_QAT_HGQ ? net->qat.beta * ebops + net->qat.gamma * bits
                                       : 0.0;
}

static void backward_grid(void *context, size_t piece, size_t thread)
{
    pq_net        *net = context;
    const pq_grid *g   = &net->grids[piece];

    (void)thread;
    if (g->weight != SIZE_MAX) {
        backward_weight(net, g);
    } else if (g->row != SIZE_MAX) {
        backward_output(net, g);
    }
}

void pq_grids_backward(pq_net *net)
{
    pq_pool_run_small(net->pool, net->n_flat, net->n_grids, backward_grid, net);
    if (net->qat.rule == PQ_QAT_HGQ) {
        add_penalty(net);
    }
    for (size_t n = 0; n < net->n_grids; n++) {
        const pq_grid *g = &net->grids[n];
        for (size_t k = 0; g->row != SIZE_MAX && k < g->quant->n; k++) {
            net->gradients[net->weights[g->row].offset + k] = (float)g->sums[k];
        }
    }
}
