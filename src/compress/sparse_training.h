/**
 * @file
 * What the stages that prune in training share: their keys, checks, and the run itself.
 */
#ifndef PQ_COMPRESS_SPARSE_TRAINING_H
#define PQ_COMPRESS_SPARSE_TRAINING_H

#include "compress/method.h"
#include "compress/prune_groups.h"
#include "compress/training.h"
#include "train/net.h"
#include "train/param_rows.h"
#include "train/sparsify.h"

extern const char *const pq_sparse_rewinds[];
/** layerwise, channelwise, weightwise */
extern const char *const pq_sparse_thresholds[];
enum { PQ_THRESHOLD_LAYER, PQ_THRESHOLD_CHANNEL, PQ_THRESHOLD_WEIGHT };

/* clang-format off */
#define PQ_SPARSE_AT(field) offsetof(pq_sparse_params, field)

/** Rows of pq_sparse_params, but those of distillation and Adam's epsilon (1e-8), whose
 * names methods need; the arguments are defaults as text, of the target NULL = none. */
#define PQ_SPARSE_ROWS(pre, each, n_rounds, fine, back, target) \
    PQ_ROW_REAL(PQ_SPARSE_AT(target_sparsity), "target_sparsity", target, 0, 0.999999, \
        "share of the weights of all selected kernels that is 0 at the end, met to one " \
        "weight, or one group of a structured method"), \
    PQ_ROW_INT(PQ_SPARSE_AT(pretraining_epochs), "pretraining_epochs", pre, 0, 100000, \
        "epochs before pruning begins"), \
    PQ_TRAIN_ROW_EPOCHS(each, "epochs of each round of pruning"), \
    PQ_ROW_INT(PQ_SPARSE_AT(rounds), "rounds", n_rounds, 1, 1000, "rounds of pruning"), \
    PQ_ROW_INT(PQ_SPARSE_AT(fine_tuning_epochs), "fine_tuning_epochs", fine, 0, 100000, \
        "epochs with fixed masks after them"), \
    PQ_ROW_CHOICE(PQ_SPARSE_AT(rewind), "rewind", back, pq_sparse_rewinds, \
        "when all weights, not masks, go back to those of save_weights_epoch"), \
    PQ_ROW_INT(PQ_SPARSE_AT(save_weights_epoch), "save_weights_epoch", "0", 0, 100000, \
        "of rewind: epoch of the first round, from 0, before which weights are kept"), \
    PQ_TRAIN_ROWS_STEPS, PQ_TRAIN_ROWS_LOSS, PQ_TRAIN_ROWS_GRIDS
/* clang-format on */

/** Numbers of the methods, one file each. */
extern const pq_sparse_method pq_sparse_gradual, pq_sparse_activation_pruning,
    pq_sparse_autosparse, pq_sparse_cs, pq_sparse_dst, pq_sparse_pdp, pq_sparse_mdmm;

/** Stages and training; for methods that check nothing more. */
pq_status pq_sparse_training_check(const void *params, pq_err *err);

/**
 * Trains the graph and prunes the selected layers meanwhile.
 * @param[in] table  of the method's parameters
 */
pq_status pq_sparse_training_apply(pq_compress_task *task, const pq_sparse_method *method,
                                   const pq_param *table, pq_err *err);

bool pq_sparse_training_accepts(const pq_graph *graph, const pq_node *node);

/** How many thresholds a kernel has by their type. */
size_t pq_sparse_thresholds_of(int type, const pq_sparse_kernel *k);

/** The entry of such a method; apply_ is its function. */
#define PQ_SPARSE_METHOD(name_, summary_, source_, params_, type_, check_, apply_)       \
    {                                                                                    \
        .name = name_, .summary = summary_, .source = source_, .params = params_,        \
        .params_size = sizeof(type_), .version = "2", .keeps = PQ_KEEPS_ALL,             \
        .draws = pq_draws_always, .needs = pq_training_needs, .check = check_,           \
        .accepts = pq_sparse_training_accepts, .apply = apply_                           \
    }

#endif
