#include "train/classes.h"
#include "train/param_rows.h"

const char *const pq_train_losses[]     = {"cross_entropy", "mse", NULL};
const char *const pq_train_optimizers[] = {"sgd", "adam", "adamw", NULL};
const char *const pq_train_schedules[]  = {"constant", "step", "cosine", "one_cycle",
                                           NULL};
const char *const pq_train_samplings[]  = {"uniform", "balanced", NULL};
const char *const pq_train_monitors[]   = {"loss", "accuracy", NULL};

const pq_param pq_train_param_table[] = {
    PQ_TRAIN_ROW_EPOCHS("10", "passes over the training events; 0 = no training"),
    PQ_TRAIN_ROWS,
    {0},
};

pq_status pq_train_check(const pq_train_params *p, pq_err *err)
{
    pq_status st = PQ_OK;

    const bool balanced = pq_class_weights_balanced(p->class_weights);

    PQ_CHECK(p->sampling != PQ_SAMPLING_BALANCED ||
                 (!p->preserve_rare_classes && !balanced),
             PQ_ERR_CONFIG,
             "%s and sampling 'balanced' both correct for rare classes: one of them is "
             "too many",
             balanced ? "class_weights 'balanced'" : "preserve_rare_classes");
    PQ_CHECK(!p->hgq_front || p->qat == PQ_QAT_HGQ, PQ_ERR_CONFIG,
             "hgq_front: only with qat: hgq have epochs numbers of EBOPs of their own");
    PQ_CHECK(isnan(p->hgq_target_ebops) || p->qat == PQ_QAT_HGQ, PQ_ERR_CONFIG,
             "hgq_target_ebops = %g: only with qat: hgq do widths follow a price",
             p->hgq_target_ebops);
    PQ_CHECK(isnan(p->hgq_target_ebops) || p->hgq_beta > 0.0, PQ_ERR_CONFIG,
             "hgq_beta = 0: hgq_target_ebops multiplies it, so it must be above 0");
    if (p->class_weights != NULL) {
        PQ_TRY(
            pq_class_values(&pq_class_weights_row, p->class_weights, 0, NULL, NULL, err));
    }
    if (p->min_recall != NULL) {
        PQ_TRY(pq_class_values(&pq_min_recall_row, p->min_recall, 0, NULL, NULL, err));
    }
cleanup:
    return st;
}
