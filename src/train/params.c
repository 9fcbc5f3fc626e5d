#include <stddef.h>

#include "train/classes.h"
#include "train/grid.h"

#define AT(field) offsetof(pq_train_params, field)
#define REAL(name, fallback, lo, hi, help)                                               \
    {                                                                                    \
#name, PQ_PARAM_REAL, AT(name), fallback, lo, hi, NULL, PQ_UNIT_NONE, help       \
    }
#define INT(name, fallback, lo, hi, help)                                                \
    {                                                                                    \
#name, PQ_PARAM_INT, AT(name), fallback, lo, hi, NULL, PQ_UNIT_NONE, help        \
    }
#define BOOL(name, fallback, help)                                                       \
    {                                                                                    \
#name, PQ_PARAM_BOOL, AT(name), fallback, 0, 0, NULL, PQ_UNIT_NONE, help         \
    }
#define CHOICE(name, fallback, choices, help)                                            \
    {                                                                                    \
#name, PQ_PARAM_CHOICE, AT(name), fallback, 0, 0, choices, PQ_UNIT_NONE, help    \
    }
#define TEXT(name, help)                                                                 \
    {                                                                                    \
#name, PQ_PARAM_STRING, AT(name), NULL, 0, 0, NULL, PQ_UNIT_NONE, help           \
    }

static const char *const losses[]     = {"cross_entropy", "mse", NULL};
static const char *const optimizers[] = {"sgd", "adam", "adamw", NULL};
static const char *const schedules[]  = {"constant", "step", "cosine", "one_cycle", NULL};
static const char *const samplings[]  = {"uniform", "balanced", NULL};
static const char *const monitors[]   = {"loss", "accuracy", NULL};

const pq_param pq_train_param_table[] = {
    INT(epochs, "10", 0, 100000, "passes over the training events; 0 = no training"),
    INT(batch, "128", 1, 1048576, "events of one step"),
    REAL(validation, "0.1", 0, 0.5,
         "share of each class's training events set aside where no validation split is "
         "given"),
    BOOL(standardize, "true",
         "where neither model nor dataset has a scaler, make one from the training "
         "events"),
    CHOICE(loss, "cross_entropy", losses, "what is minimised"),
    CHOICE(optimizer, "adam", optimizers, "how weights follow gradients"),
    REAL(lr, "0.001", 1e-12, 100, "largest learning rate"),
    REAL(momentum, "0.9", 0, 0.9999, "of sgd: share of the last step kept"),
    BOOL(nesterov, "false", "of sgd: look ahead by the momentum"),
    REAL(beta1, "0.9", 0, 0.99999, "of adam: memory of the mean gradient"),
    REAL(beta2, "0.999", 0, 0.9999999, "of adam: memory of the squared gradient"),
    REAL(epsilon, "1e-08", 1e-30, 1, "of adam: added to the root"),
    REAL(weight_decay, "0", 0, 10, "pull of kernels towards 0, times the weight"),
    REAL(l1, "0", 0, 10, "pull of kernels towards 0, times its sign"),
    REAL(clip_norm, "0", 0, 1e9, "largest norm of all gradients together, 0 = any"),
    CHOICE(schedule, "constant", schedules, "course of the learning rate"),
    REAL(warmup_epochs, "0", 0, 1000, "epochs in which the rate first rises from 0"),
    INT(step_size, "30", 1, 100000, "of schedule step: epochs between drops"),
    REAL(gamma, "0.1", 1e-6, 1, "of schedule step: factor of a drop"),
    REAL(min_lr, "0", 0, 100, "least learning rate"),
    REAL(label_smoothing, "0", 0, 0.99, "share of a label spread over all classes"),
    REAL(focal_gamma, "0", 0, 10, "focal loss: how much easy events count less"),
    REAL(norm_momentum, "0.1", 0, 1, "weight of a batch in BatchNorm's moving averages"),
    REAL(ema, "0", 0, 0.999999,
         "memory of a moving average of all weights, after t steps at most (1+t)/(10+t); "
         "0 = none"),
    INT(early_stopping, "0", 0, 100000,
        "epochs without a better one to stop at, 0 = never"),
    CHOICE(monitor, "loss", monitors, "what makes an epoch better, on validation events"),
    BOOL(keep_best, "true", "end with the best epoch's weights, else the last one's"),
    CHOICE(sampling, "uniform", samplings, "balanced: every class equally often"),
    TEXT(class_weights, "weights of classes in the loss, by name: 'b=2,c=5'; others 1"),
    BOOL(
        preserve_rare_classes, "false",
        "weigh classes by inverse frequency, times class_weights; without a floor below, "
        "hold max_recall_loss 0.05, or min_recall 0.5 where nothing is there to compare "
        "with"),
    TEXT(min_recall,
         "least recall of every class, or of some: '0.9', 'b=0.8,c=0.3'; an epoch below "
         "it is a best one only while none holds it"),
    REAL(max_recall_loss, NULL, 0, 1,
         "most recall any class may lose against the teacher, or the network before "
         "compression"),
    BOOL(event_weights, "true", "use the dataset's event weights"),
    TEXT(freeze, "glob of layers that are not trained"),
    BOOL(augment_flip, "false", "mirror images left to right at random"),
    INT(augment_crop, "0", 0, 64, "shift images by up to so many pixels, zeros come in"),
    REAL(temperature, "2", 0.01, 100, "of distillation: softens both nets' outputs"),
    REAL(alpha, "0.5", 0, 1, "of distillation: share of the teacher in the loss"),
    REAL(layer_mse, "0", 0, 1e6,
         "of distillation: weight of the squared distance between layers of one name"),
    CHOICE(qat, "straight", pq_qat_names,
           "what of quantizers is trained: nothing (gradients pass straight through), "
           "scales (lsq), where activations are clipped (pact), kernels through tanh "
           "(dorefa, and with pact), or fraction bits (hgq)"),
    REAL(qat_lr, "1", 0, 1e6, "learning rate of what is trained of quantizers, times lr"),
    REAL(hgq_beta, "1e-05", 0, 1000, "of hgq: price of one effective bit operation"),
    REAL(hgq_gamma, "0.0003", 0, 1000,
         "of hgq: price of one integer or fraction bit of a quantizer"),
    REAL(pact_decay, "0.0001", 0, 10, "of pact: pull of the clipping level towards 0"),
    INT(fold_norm_after, NULL, 0, 100000,
        "epochs after which BatchNorm goes by its running statistics, as once folded; "
        "stages of compression fold it after training into kernels of whole numbers, "
        "one scale a channel (quantize: fold: false); none = never"),
    INT(seed, "1", 0, 9007199254740992, "of order, augmentation and dropout"),
    {0},
};

pq_status pq_train_check(const pq_train_params *p, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(!p->preserve_rare_classes || p->sampling != PQ_SAMPLING_BALANCED,
             PQ_ERR_CONFIG,
             "preserve_rare_classes and sampling 'balanced' both correct for rare "
             "classes: one of them is too many");
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
