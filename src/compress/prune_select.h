/**
 * @file
 * Which groups of channels structured pruning takes: by score to a target, or by name.
 * For structured_prune only.
 */
#ifndef PQ_COMPRESS_PRUNE_SELECT_H
#define PQ_COMPRESS_PRUNE_SELECT_H

#include "compress/method.h"
#include "compress/prune_groups.h"

typedef enum { PQ_PRUNE_PER_LAYER, PQ_PRUNE_GLOBAL } pq_prune_scope;

/** Parameters of structured_prune. */
typedef struct {
    double   target_sparsity; /**< NAN with channels */
    pq_reals channels;
    int      scope;     /**< pq_prune_scope */
    int      criterion; /**< pq_score_kind */
    int      align;     /**< index in pq_prune_aligns */
    int      form;
    int      unread_inputs;
    bool     normalize, scratch;
} pq_structured_params;

extern const char *const pq_prune_aligns[];

/** A group that can go. */
typedef struct {
    double score;
    size_t group;
} pq_prune_candidate;

/** What goes; owns its arrays. */
typedef struct {
    const pq_structured_params *p;
    const pq_graph             *graph;
    pq_channel_groups           groups;
    bool                       *may;   /**< [n_nodes] whether a node is selected */
    bool                       *gone;  /**< [groups.n] */
    size_t                     *left;  /**< [n_nodes] channels that stay */
    double                     *score; /**< [groups.n] */
    pq_prune_candidate         *order; /**< [n] by family, then by score */
    pq_prune_candidate         *all;   /**< [n] by score, for a global target */
    size_t                      n;
} pq_prune_selection;

/**
 * Finds the groups of the task's graph and chooses those that go. Deterministic.
 *
 * @retval PQ_ERR_RANGE        The target, or a named channel, would leave a layer without
 *                             channels, or there is no such channel.
 * @retval PQ_ERR_UNSUPPORTED  A named channel cannot go, or a criterion has nothing to go
 *                             by.
 */
pq_status pq_prune_select(const pq_compress_task *task, pq_prune_selection *out,
                          pq_err *err);

/** Takes one more group, unless that would leave a layer without channels: then false. */
bool pq_prune_take_group(pq_prune_selection *selection, size_t group);
void pq_prune_selection_free(pq_prune_selection *selection);

#endif
