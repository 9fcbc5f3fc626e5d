/* Trains on after other stages: pruned weights stay zero, quantized ones on their grid.
 */
#include "compress/training.h"
#include "train/train.h"

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_training_apply(task, NULL, err);
}

const pq_method pq_method_finetune = {
    .name        = "finetune",
    .summary     = "trains the selected layers on; pruned and quantized weights stay so",
    .source      = "arXiv:1506.02626, arXiv:1712.05877",
    .params      = pq_train_param_table,
    .params_size = sizeof(pq_train_params),
    .version     = "5",
    .keeps       = PQ_KEEPS_ALL,
    .draws       = pq_draws_always,
    .needs       = pq_training_needs,
    .check       = pq_training_check,
    .accepts     = pq_training_accepts,
    .apply       = apply,
};
