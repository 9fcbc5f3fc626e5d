/**
 * @file
 * Channels of a graph that can only go together, found by the rules of the
 * layers' kinds (layers/channels.h), and taking them out: as a mask, or by
 * smaller layers. Both compute the same.
 *
 * A channel is an index of the last axis of a node's output. What adds two
 * outputs ties their channels, and so on through the whole graph; kernels end a
 * group: they make its channels in rows and read them in columns.
 *
 * Source: Fang et al., CVPR 2023, arXiv:2301.12900 (DepGraph).
 */
#ifndef PQ_COMPRESS_PRUNE_GROUPS_H
#define PQ_COMPRESS_PRUNE_GROUPS_H

#include "graph/graph.h"

/** Family of groups that no kernel makes. */
enum { PQ_NO_FAMILY = 0 };

/** Channels that go together. */
typedef struct {
    size_t      family; /**< groups made by the same layers are of one family */
    const char *why;    /**< why it cannot go, after "layer 'x' ", static; NULL: it can */
    size_t      node;   /**< the layer of `why` */
    size_t      n_parts;
    size_t      part; /**< of its nodes with their counts, in pq_channel_groups.parts */
} pq_channel_group;

/** So many channels of a node. */
typedef struct {
    size_t node, channels;
} pq_channel_part;

/** All groups of a graph, by their first channel in graph order; owns its arrays. */
typedef struct {
    size_t            n, n_families; /**< families are 1 .. n_families - 1 */
    pq_channel_group *groups;        /**< [n] */
    size_t            n_nodes;
    size_t          *first; /**< [n_nodes + 1] where a node's channels begin in `group` */
    size_t          *group; /**< [first[n_nodes]] group of a channel */
    pq_channel_part *parts;
} pq_channel_groups;

/**
 * Finds all groups.
 *
 * @param[in] graph  checked
 * @param[in] may    [n_nodes] whether a node that makes channels (a kernel, an input) may
 *                   lose some
 */
pq_status pq_channel_groups_find(const pq_graph *graph, const bool *may,
                                 pq_channel_groups *out, pq_err *err);
void      pq_channel_groups_free(pq_channel_groups *groups);

/** Whether a node makes channels by a kernel that has a rule. */
bool pq_makes_channels(const pq_node *node);

/** Zeroes the rows and columns of kernels that go, and marks them as pruned: the plain
 * form. @param[in] gone [groups->n] */
pq_status pq_channels_mask(pq_graph *graph, const pq_channel_groups *groups,
                           const bool *gone, pq_err *err);

/** Takes groups out of weights, scales, attributes, feature names and scaler. At least
 * one channel of every node stays; shapes need pq_graph_check again. */
pq_status pq_channels_shrink(pq_graph *graph, const pq_channel_groups *groups,
                             const bool *gone, pq_err *err);

#endif
