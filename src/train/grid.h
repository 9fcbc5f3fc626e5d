/**
 * @file
 * Quantizers in training: what of a grid follows gradients, beside the weights that lie
 * on it.
 *
 * v a value, s the scale, q = s clamp(round(v / s), -Qn, Qp), dL/dq given:
 *
 *   straight  the grid stays. dq/dv = 1 where v was not clipped, else 0.
 *   lsq       the scale s. dq/ds = round(v/s) - v/s inside, -Qn or Qp outside, times
 *             1 / sqrt(N Qp) for N values of one scale. A kernel's starts at
 *             2 mean|v| / sqrt(Qp), an activation's where calibration put it.
 *   pact      of activations that are not negative the level a they are clipped at:
 *             dq/da = 1 where v >= a, else 0, plus decay times a; s = a / Qp. Kernels as
 *             dorefa, as in the paper.
 *   dorefa    kernels through t = tanh v / max|tanh v|, q = s round(Qp t). The scale
 *             stays, in place of the paper's range -1 .. 1 for layers that no BatchNorm
 *             follows, and the grid has a zero, which the paper's has not.
 *   hgq       fixed point: the fraction bits f, rounded; dq/df = ln 2 (v - q). A kernel's
 *             integer bits i are those that its largest value needs, an activation's
 *             stay. Added to the loss: beta EBOPs + gamma sum (i + f), where
 *             d(i + f)/df = 1 while there is a bit left.
 *
 * A quantizer of another scheme than a rule is for (lsq, dorefa, pact: integers; hgq:
 * fixed point that clips) stays and is trained straight through.
 *
 * Source: straight: Bengio et al., arXiv:1308.3432; LSQ: Esser et al., ICLR 2020,
 *         arXiv:1902.08153, eq. 1 to 5; PACT: Choi et al., arXiv:1805.06085, eq. 2 to 4;
 *         DoReFa: Zhou et al., arXiv:1606.06160, eq. 9; HGQ: Sun et al.,
 *         arXiv:2405.00645, section III.
 */
#ifndef PQ_TRAIN_GRID_H
#define PQ_TRAIN_GRID_H

#include <math.h>

#include "graph/graph.h"

typedef struct pq_net pq_net;

typedef enum {
    PQ_QAT_STRAIGHT,
    PQ_QAT_LSQ,
    PQ_QAT_PACT,
    PQ_QAT_DOREFA,
    PQ_QAT_HGQ,
} pq_qat;

/** Names of the rules, NULL-terminated. */
extern const char *const pq_qat_names[];

typedef struct {
    pq_qat rule;
    double beta, gamma; /**< of hgq */
    double decay;       /**< of pact */
} pq_qat_options;

/** One quantizer in training, of a weight or of a node's output; owns quant and sums. */
typedef struct {
    pq_qat    rule;
    size_t    node;   /**< of the graph */
    size_t    weight; /**< in net->weights; SIZE_MAX = the node's output */
    size_t    row;  /**< of its parameters in net->weights, [quant->n]; SIZE_MAX = none */
    double    step; /**< lsq: 1 / sqrt(N Qp) */
    int       integer_bits; /**< hgq, of an output */
    pq_quant *quant;        /**< as the parameters say */
    double   *largest;      /**< [n] of kernels: hgq |v|, dorefa |tanh v| */
    double   *ties;         /**< [n] dorefa: how many weights share the largest */
    double   *sums;         /**< [n] */
} pq_grid;

/** One kernel in the sum of EBOPs. */
typedef struct {
    size_t weight; /**< in net->weights */
    size_t source; /**< grid of its inputs; SIZE_MAX = not trained */
    double bits;   /**< of its inputs then */
} pq_product;

/**
 * Lists the quantizers of a graph, and appends a row for each that has parameters.
 *
 * @retval PQ_ERR_CONFIG  No quantizer is of the scheme that the rule is for.
 */
pq_status pq_grids_plan(pq_net *net, const pq_graph *graph, const char *freeze,
                        const pq_qat_options *options, pq_err *err);
void      pq_grids_free(pq_net *net);

/** Writes the parameters that training starts from, once the weights are there. */
void pq_grids_start(pq_net *net);

/** Brings all quantizers up to date with parameters and weights. */
void pq_grids_pull(const pq_net *net, const float *flat);

/** Keeps the parameters in their range after a step. */
void pq_grids_project(pq_net *net);

/**
 * From the gradients of the rounded weights, summed into the first chunk's place, those
 * of the weights and of the quantizers' parameters; adds those of pact_decay and of the
 * penalty.
 */
void pq_grids_backward(pq_net *net);

/** beta EBOPs + gamma sum (i + f) of hgq, of what is trained; else 0. */
double pq_grids_penalty(const pq_net *net);

/** Writes scales and widths into the graph. */
void pq_grids_store(const pq_net *net, pq_graph *graph);

/** Quantizer of a node's output, or NULL. */
const pq_grid *pq_grids_of_output(const pq_net *net, size_t node);

/** Rounds the `count` values of a weight; `grid` may be NULL: nothing but rounding. */
void pq_grid_round(const pq_grid *grid, const pq_quant *quant, const pq_shape *shape,
                   size_t count, const float *from, float *to);

/** Whether v is more than `slack` steps beyond the grid's ends. */
static inline bool pq_grid_clips(const pq_quant *q, size_t k, float v, double slack)
{
    const double at = (double)v / (double)q->scale[k];

    return at < (double)(pq_quant_least(q, k) - q->zero_point[k]) - slack ||
           at > (double)(pq_quant_most(q, k) - q->zero_point[k]) + slack;
}

/** dq/ds of LSQ, without its factor. */
static inline double pq_grid_lsq(const pq_quant *q, size_t k, float v)
{
    const double at = (double)v / (double)q->scale[k];
    const double lo = pq_quant_least(q, k) - q->zero_point[k];
    const double hi = pq_quant_most(q, k) - q->zero_point[k];

    return at < lo ? lo : at > hi ? hi : rint(at) - at;
}

#endif
