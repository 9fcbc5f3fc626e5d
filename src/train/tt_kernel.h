/**
 * @file
 * The kernel of a convolution held as a tensor train with a window: rebuilt once a step,
 * and its gradient handed on to the cores.
 *
 * With W_k [items, r] the product of the first k cores, W_{k+1} = W_k C_k; backwards
 * dC_k = W_k^T dW_{k+1} and dW_k = dW_{k+1} C_k^T.
 *
 * Source: Garipov et al., arXiv:1611.03214.
 */
#ifndef PQ_TRAIN_TT_KERNEL_H
#define PQ_TRAIN_TT_KERNEL_H

#include "train/net.h"

typedef struct pq_tt_kernel pq_tt_kernel;

/** Plans for the cores of op->layer. Free it also after a failure. */
pq_status pq_tt_kernel_create(pq_net *net, const pq_op *op, pq_tt_kernel **out,
                              pq_err *err);
void      pq_tt_kernel_free(pq_tt_kernel **kernel);

/** Output channels. */
size_t pq_tt_kernel_outputs(const pq_tt_kernel *k);

/** Floats of scratch that pq_tt_kernel_spread wants; the kernel's gradient comes first.
 */
size_t pq_tt_kernel_scratch(const pq_tt_kernel *k);

/** The kernel [out, height, width, in] of the weights in use; owned by k. */
const float *pq_tt_kernel_rebuild(const pq_net *net, pq_tt_kernel *k);

/** Assigns the gradients of the cores from that of the kernel, with which scratch begins.
 */
void pq_tt_kernel_spread(const pq_net_call *c, const pq_tt_kernel *k, float *scratch);

#endif
