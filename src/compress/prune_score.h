/**
 * @file
 * What a group of channels is worth, by one of several criteria.
 */
#ifndef PQ_COMPRESS_PRUNE_SCORE_H
#define PQ_COMPRESS_PRUNE_SCORE_H

#include "compress/method.h"
#include "compress/prune_groups.h"

/**
 * With w the items of the kernels' rows that make the group's channels, and v those of
 * the columns that read them:
 *   l1          sum |w|                         Li et al., arXiv:1608.08710
 *   l2          sqrt(sum w^2)
 *   batch_norm  sum |gamma|                     Liu et al., arXiv:1708.06519
 *   group_norm  sqrt(sum w^2 + sum v^2)         Fang et al., arXiv:2301.12900
 *   activation  sum v^2 E[x^2]: what the readers lose, channels taken as independent
 *   whitened    sum w C w^T, w whole rows and C = E[x x^T]: |w C^(1/2)|^2, a row's norm
 *               where inputs are white, and the mean square of what the row gives before
 *               its bias (C as in Zhang et al., arXiv:1505.06798, section 3.1)
 *   taylor      E[(sum v dL/dv)^2] / 2: prune_taylor.h
 */
typedef enum {
    PQ_SCORE_L1,
    PQ_SCORE_L2,
    PQ_SCORE_BATCH_NORM,
    PQ_SCORE_GROUP_NORM,
    PQ_SCORE_ACTIVATION,
    PQ_SCORE_WHITENED,
    PQ_SCORE_TAYLOR,
} pq_score_kind;

/** Names of pq_score_kind, NULL-terminated. */
extern const char *const pq_score_names[];

/** What the statistics of a kind are: PQ_NEEDS_…. */
unsigned pq_score_needs(int kind);

/**
 * Scores every group; a group without a score gets NAN.
 *
 * @param[in]  task    its graph, with what the kind needs: calib of the kernels' inputs,
 *                     or a bench
 * @param[in]  groups  of the graph
 * @param[in]  kind    pq_score_kind
 * @param[out] score   [groups->n]
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 * @retval others        As pq_taylor_channels.
 */
pq_status pq_channel_scores(const pq_compress_task *task, const pq_channel_groups *groups,
                            int kind, double *score, pq_err *err);

#endif
