/**
 * @file
 * Kernels held as tensor trains and rings: what the kinds of cores share.
 * For layers, and for rooms that run or count them.
 *
 * Weights "core1" … "core<d>" [r_{k-1}, n_k, m_k, r_k], r_0 = r_d = 1 (with a window: the
 * first core is "window" [1, h, w, r_0] and core1 begins with r_0). Row o = (n_1, …, n_d)
 * and column i = (m_1, …, m_d) of the kernel, each first mode slowest:
 *
 *     W[o, p, i] = window[p] core1[n_1, m_1] … core<d>[n_d, m_d]
 *
 * In a ring r_0 = r_d is any rank, and W is the trace of the product: a sum of r_0
 * trains, of the rows of core1 and the columns of core<d>.
 *
 * Source: Novikov et al., arXiv:1509.06569; with a window Garipov et al.,
 * arXiv:1611.03214.
 */
#ifndef PQ_LAYERS_TT_H
#define PQ_LAYERS_TT_H

#include "layers/kinds.h"

/** Geometry of the cores of a layer. */
typedef struct {
    size_t d;                  /**< cores, without the window's */
    size_t n[PQ_MAX_DIMS];     /**< output modes */
    size_t m[PQ_MAX_DIMS];     /**< input modes */
    size_t r[PQ_MAX_DIMS + 1]; /**< ranks; r[0] = 1 without a window */
    size_t ring;               /**< r[0] = r[d] of a ring, 1 of a train */
    size_t window;             /**< h w, or 1 */
    size_t outputs, inputs;    /**< products of the modes */
    bool   windowed;
} pq_tt_modes;

/**
 * Reads the geometry off the weights of a layer of any of the three kinds.
 * @retval PQ_ERR_SHAPE  Cores missing, of wrong shape, or ranks that do not meet.
 */
pq_status pq_tt_modes_of(const pq_layer *layer, pq_tt_modes *out, pq_err *err);

/** Multiply-accumulates of one sample through the cores one by one, without a window. */
uint64_t pq_tt_macs(const pq_tt_modes *t);

/** Place in the kernel [outputs, window, inputs] of item `at` of the train's tensor
 * [window, n_1 m_1, …]. */
size_t pq_tt_place(const pq_tt_modes *t, size_t at);

/** The kernel [outputs, window, inputs] in double from the arrays of `call`; caller frees
 * with pq_free; NULL when out of memory. */
double *pq_tt_rebuild(const pq_layer_call *call, const pq_tt_modes *t);

/** Adds the gradient of the kernel [outputs, window, inputs] to those of the cores; false
 * when out of memory. */
bool pq_tt_spread_grad(const pq_layer_call *call, const pq_tt_modes *t,
                       const double *grad_kernel);

/** Shape, operations, forward and backward of a dense layer that runs core by core. */
pq_status pq_tt_rows_shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                           pq_shape *out, pq_err *err);
uint64_t  pq_tt_rows_macs(const pq_layer *layer, size_t n_in, const pq_shape *in,
                          const pq_shape *out);
void      pq_tt_rows_forward(const pq_layer_call *call);
void      pq_tt_rows_backward(const pq_layer_call *call);

/** Role of "core<k>", "window" and "bias". */
pq_weight_role pq_role_tt(const char *weight);

#endif
