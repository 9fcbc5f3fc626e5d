/**
 * @file
 * Weights of one layer onto a grid: its scales or widths, which neighbour on the grid
 * each weight goes to, and what the bias must make up for. For quantize.c only.
 */
#ifndef PQ_COMPRESS_QUANTIZE_WEIGHTS_H
#define PQ_COMPRESS_QUANTIZE_WEIGHTS_H

#include "compress/calib.h"
#include "compress/method.h"

enum { PQ_FORMAT_INT, PQ_FORMAT_FIXED, PQ_FORMAT_NF4, PQ_FORMAT_F16, PQ_FORMAT_BF16 };
enum { PQ_CHOICE_NEAREST, PQ_CHOICE_ADAPTIVE, PQ_CHOICE_ADAROUND };
enum { PQ_PER_CHANNEL, PQ_PER_TENSOR, PQ_PER_GROUP, PQ_PER_WEIGHT };

/** Parameters of the method. */
typedef struct {
    int64_t bits, activation_bits, group, integer_bits, activation_integer_bits;
    int64_t budget_bytes, rounding_steps;
    int     format, granularity, calibration, range, weight_range, choice, width_rule;
    int     overflow, rounding;                       /**< of fixed point */
    int     activation_overflow, activation_rounding; /**< 0: as weights, else mode + 1 */
    double  percentile, average_bits, max_loss;
    bool    activations, bias_correction, fold, symmetric, activation_symmetric;
    bool    double_scales;
} pq_quantize_params;

/** Whether activations are on a grid too. */
bool pq_quantize_has_codes(const pq_quantize_params *p);

/**
 * Fixed-point bits of a range: the fewest integer bits that reach lo and hi, the rest
 * fraction. Where overflow wraps, so many that both are in the range once rounded.
 *
 * @retval PQ_ERR_RANGE  lo or hi would wrap with 23 integer bits.
 */
pq_status pq_quantize_fit_fixed(pq_quant *q, size_t i, int64_t bits, double lo, double hi,
                                pq_err *err);

/** What a bit costs when widths are chosen. */
enum { PQ_WIDTH_ERROR, PQ_WIDTH_RANGE, PQ_WIDTH_LOSS };
enum { PQ_LEAST_BITS = 2, PQ_WIDTHS = 17 /**< bits 0 .. 16 */ };

/** What the network loses when a layer's kernel alone is quantized, by its bits. */
typedef struct {
    double divergence[PQ_WIDTHS]; /**< mean KL(outputs || outputs then), nats */
    double changed[PQ_WIDTHS];    /**< share of events whose largest output changes */
} pq_quantize_loss;

/**
 * Quantizes the kernel of each selected layer alone, with PQ_LEAST_BITS and up to `bits`,
 * and compares the outputs on the bench's events with those of the graph as it is: mean
 * divergence and share of events that are decided otherwise, as the graph's head says
 * (graph/head.h). A BatchNorm behind a kernel is folded into it, as the method does.
 *
 * @param[out] losses  [task->n_nodes]
 * @retval PQ_ERR_CONFIG  The outputs have no probabilities (head none).
 * Cost: a run of the events for each layer and width.
 */
pq_status pq_quantize_measure_losses(const pq_compress_task *task,
                                     pq_quantize_loss *losses, pq_err *err);

/** Whether widths are chosen layer by layer: a mean, a size or a loss is given. */
bool pq_quantize_is_mixed(const pq_quantize_params *p);

/**
 * Widths of the kernels of the selected nodes: `bits` everywhere, or from there down by
 * one bit at a time, always of the layer where that costs least for each bit saved, until
 *
 *   average_bits  the mean over all weights is reached, or
 *   budget_bytes  the model's stored bytes are not above it, or
 *   max_loss      no bit is left whose shares of changed events sum to at most that.
 *
 * Cost of a width b, by width_rule: error: |w - w'|^2 / |w|^2; range: that of evenly
 * spread rounding errors, (hi - lo)^2 / (12 4^b) over the mean square, by the extremes
 * alone; loss: the divergence of the outputs with this layer alone at b.
 *
 * Source: the greedy form of Yao et al., HAWQ-V3, arXiv:2011.10680, section 3.4, with
 *         measured costs in place of the Hessian's trace.
 *
 * @param[in]  losses  [task->n_nodes], for width_rule loss
 * @param[out] widths  [task->n_nodes]
 * @retval PQ_ERR_RANGE  budget_bytes is below what the fewest bits need, or max_loss
 *                       below what `bits` everywhere change.
 */
pq_status pq_quantize_choose_widths(const pq_compress_task *task,
                                    const pq_quantize_loss *losses, int64_t *widths,
                                    pq_err *err);

/**
 * Puts one weight on a new grid, which it then has.
 *
 * Adaptive choice: from the nearest neighbours, flips one weight at a time to the other
 * neighbour while that lowers (w' - w)^T G (w' - w) of its output channel, G the Gram
 * matrix of the layer's inputs before any grid: coordinate descent on the objective that
 * AdaRound relaxes. Pruned weights do not take part.
 *
 * Source: of the objective, Nagel et al., ICML 2020, arXiv:2004.10568, eq. 6.
 *
 * @param[in]     gram  of the layer's inputs, or NULL: nearest
 * @param[in,out] sums  |w|^2 and |w - w'|^2 are added
 * @retval PQ_ERR_RANGE  A weight is beyond the range of a 16-bit float.
 */
pq_status pq_quantize_weight(const pq_quantize_params *p, pq_weight *w,
                             const pq_calib_gram *gram, double sums[2], pq_err *err);

/**
 * Puts a weight whose values have changed back onto the grid of its quantizer: scales of
 * symmetric integers and NF4 are made anew from the largest |w|, other grids stay.
 */
pq_status pq_quantize_again(pq_weight *w, pq_err *err);

/**
 * Gives quantizers to what selected kernels read and give, and to what lies between
 * (quantize_activations.c).
 *
 * @param[in] folded  [task->n_nodes] name of the BatchNorm folded into each, or NULL
 */
pq_status pq_quantize_activations(pq_compress_task *task, char *const *folded,
                                  pq_err *err);

/** The other neighbour of `from` on the grid of scale index s than `rounded`, or
 * `rounded` where the codes end. */
double pq_quantize_other_side(const pq_quant *q, size_t s, double from, double rounded);

/**
 * What is done layer by layer on replayed events, once kernels have their nearest values
 * and activations their grids: choice = adaround, bias_correction (quantize_replay.c).
 *
 * Source: Nagel et al., ICML 2020, arXiv:2004.10568, section 3.3; of the bias: Nagel et
 *         al., ICCV 2019, arXiv:1906.04721, section 4.2 and appendix D.
 *
 * @param[in] before  the graph before the stage, with the BatchNorms folded that were
 *                    folded; its nodes are those of the task's graph
 * @retval PQ_ERR_NUMERIC  A value on an event is not finite.
 */
pq_status pq_quantize_on_events(pq_compress_task *task, pq_graph *before, pq_err *err);

#endif
