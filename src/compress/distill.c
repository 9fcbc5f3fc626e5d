/* Trains on towards the outputs of the network that the first stage started from. */
#include "compress/training.h"
#include "train/train.h"

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    pq_status st;

    PQ_CHECK(task->training->teacher != NULL, PQ_ERR_CONFIG,
             "distill: there is no uncompressed network to learn from");
    PQ_TRY(pq_training_apply(task, task->training->teacher, err));
cleanup:
    return st;
}

const pq_method pq_method_distill = {
    .name    = "distill",
    .summary = "trains the selected layers towards the uncompressed network's outputs",
    .source  = "Hinton et al., arXiv:1503.02531; FitNets, arXiv:1412.6550",
    .params  = pq_train_param_table,
    .params_size = sizeof(pq_train_params),
    .version     = "5",
    .keeps       = PQ_KEEPS_ALL,
    .draws       = pq_draws_always,
    .needs       = pq_training_needs,
    .check       = pq_training_check,
    .accepts     = pq_training_accepts,
    .apply       = apply,
};
