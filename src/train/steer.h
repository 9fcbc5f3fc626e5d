/**
 * @file
 * The price of bits in hgq, steered so that a network ends at a number of EBOPs.
 *
 * After each epoch the error is e = log(EBOPs / target); from epoch `warmup` on
 *
 *     beta = hgq_beta exp(p e + i sum e)
 *
 * with the e of the epoch before and the sum over all since the end of the warm-up.
 *
 * Source: the controller of HGQ2 (BetaPID in logarithms), Sun et al., arXiv:2405.00645.
 */
#ifndef PQ_TRAIN_STEER_H
#define PQ_TRAIN_STEER_H

#include "train/train.h"

/** The price in the epoch after n: hgq_beta without a target.
 * @param[in] history  [n] with the EBOPs of each */
double pq_steer_beta(const pq_train_params *params, const pq_train_epoch *history,
                     size_t n);

/** log(EBOPs / target) where that is above 0; 0 without a target. */
double pq_steer_excess(const pq_train_params *params, const pq_train_epoch *epoch);

/** Whether no other epoch has both no more EBOPs and no less accuracy, and one of them
 * better. False where there are none.
 * @param[in] history  [n]
 * @param[in] first    index from which on epochs count; any before is not on the front
 * @param[in] n        epochs
 * @param[in] epoch    index of the one that is asked for */
bool pq_steer_on_front(const pq_train_epoch *history, size_t first, size_t n,
                       size_t epoch);

#endif
