/**
 * @file
 * What the loss loses, to second order, by the diagonal of the empirical Fisher matrix:
 * F_ii = E[(dL/dw_i)^2] over calibration events and their labels.
 *
 *     a weight              F_ii w_i^2 / 2               = E[(w_i dL/dw_i)^2] / 2
 *     a group of channels   E[(sum_v v dL/dv)^2] / 2
 *
 * v the weights that read the group's channels. The sum is dL/dm at m = 1 for a factor m
 * on all that is read of the group, so that the second line is the first for m, and exact
 * in what weights of one channel do together.
 *
 * Source: LeCun et al., NeurIPS 1989 (optimal brain damage, eq. 5); Theis et al.,
 *         arXiv:1801.05787, eq. 7 (Fisher for the Hessian, and for channels); Liu et
 *         al., ICML 2021, arXiv:2108.00708, eq. 4 (one factor for channels that go
 *         together). PQuantML's FITCompress ranks weights by F_ii w_i^2, F from batches.
 */
#ifndef PQ_COMPRESS_PRUNE_TAYLOR_H
#define PQ_COMPRESS_PRUNE_TAYLOR_H

#include "compress/method.h"
#include "compress/prune_groups.h"

/**
 * Scores every group that a kernel reads, in nats; others get NAN.
 *
 * @param[in]  task   its graph, and a bench with events and their labels
 * @param[in]  groups of the graph
 * @param[out] score  [groups->n]
 * @param[out] err    details of a failure, or NULL
 * @retval others     As pq_slopes_run.
 */
pq_status pq_taylor_channels(const pq_compress_task  *task,
                             const pq_channel_groups *groups, double *score, pq_err *err);

/**
 * Roots of the scores of single weights, sqrt(F_ii) |w_i|, which rank alike.
 *
 * @param[in]  task     its graph, and a bench with events and their labels
 * @param[in]  n        how many weights
 * @param[in]  weights  [n] of the graph
 * @param[out] score    [n], each [items of the weight]
 * @param[out] err      details of a failure, or NULL
 * @retval others       As pq_slopes_run.
 */
pq_status pq_taylor_weights(const pq_compress_task *task, size_t n,
                            const pq_weight *const *weights, float *const *score,
                            pq_err *err);

#endif
