/**
 * @file
 * What a group of channels is worth, by one of several criteria.
 */
#ifndef PQ_COMPRESS_PRUNE_SCORE_H
#define PQ_COMPRESS_PRUNE_SCORE_H

#include "compress/calib.h"
#include "compress/prune_groups.h"

/**
 * With w the items of the kernels' rows that make the group's channels, and v those of
 * the columns that read them:
 *   l1          sum |w|                         Li et al., arXiv:1608.08710
 *   l2          sqrt(sum w^2)
 *   batch_norm  sum |gamma|                     Liu et al., arXiv:1708.06519
 *   group_norm  sqrt(sum w^2 + sum v^2)         Fang et al., arXiv:2301.12900
 *   activation  sum v^2 E[x^2]: what the readers lose, channels taken as independent
 */
typedef enum {
    PQ_SCORE_L1,
    PQ_SCORE_L2,
    PQ_SCORE_BATCH_NORM,
    PQ_SCORE_GROUP_NORM,
    PQ_SCORE_ACTIVATION,
} pq_score_kind;

/** Names of pq_score_kind, NULL-terminated. */
extern const char *const pq_score_names[];

/**
 * Scores every group; a group without a score gets NAN.
 *
 * @param[in]  calib  second moments of the inputs of the kernels that read, for
 *                    PQ_SCORE_ACTIVATION
 * @param[out] score  [groups->n]
 */
void pq_channel_scores(const pq_graph *graph, const pq_channel_groups *groups, int kind,
                       const pq_calib *calib, double *score);

#endif
