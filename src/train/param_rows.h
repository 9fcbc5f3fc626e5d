/**
 * @file
 * The rows of pq_train_params, for tables of structs that begin with one.
 */
#ifndef PQ_TRAIN_PARAM_ROWS_H
#define PQ_TRAIN_PARAM_ROWS_H

#include <stddef.h>

#include "train/grid.h"
#include "train/train.h"

/** Choices of the rows below, NULL-terminated. */
extern const char *const pq_train_losses[], *const pq_train_optimizers[],
                                                *const         pq_train_schedules[],
                                                    *const     pq_train_samplings[],
                                                        *const pq_train_monitors[];

/* clang-format off */
#define PQ_TRAIN_AT(field) offsetof(pq_train_params, field)
#define PQ_ROW_REAL(at, name, fallback, lo, hi, help) \
    {name, PQ_PARAM_REAL, at, fallback, lo, hi, NULL, PQ_UNIT_NONE, help}
#define PQ_ROW_INT(at, name, fallback, lo, hi, help) \
    {name, PQ_PARAM_INT, at, fallback, lo, hi, NULL, PQ_UNIT_NONE, help}
#define PQ_ROW_BOOL(at, name, fallback, help) \
    {name, PQ_PARAM_BOOL, at, fallback, 0, 0, NULL, PQ_UNIT_NONE, help}
#define PQ_ROW_CHOICE(at, name, fallback, choices, help) \
    {name, PQ_PARAM_CHOICE, at, fallback, 0, 0, choices, PQ_UNIT_NONE, help}
#define PQ_ROW_TEXT(at, name, help) \
    {name, PQ_PARAM_STRING, at, NULL, 0, 0, NULL, PQ_UNIT_NONE, help}

/** The row `epochs`, whose default is each table's own. */
#define PQ_TRAIN_ROW_EPOCHS(fallback, help) \
    PQ_ROW_INT(PQ_TRAIN_AT(epochs), "epochs", fallback, 0, 100000, help)

/** All others in order, in parts. */
#define PQ_TRAIN_ROWS_STEPS \
    PQ_ROW_INT(PQ_TRAIN_AT(batch), "batch", "128", 1, 1048576, "events of one step"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(validation), "validation", "0.1", 0, 0.5, \
         "share of each class's training events set aside where no validation split is " \
         "given"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(standardize), "standardize", "true", \
         "where neither model nor dataset has a scaler, make one from the training " \
         "events"), \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(loss), "loss", "cross_entropy", pq_train_losses, "what is minimised"), \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(optimizer), "optimizer", "adam", pq_train_optimizers, "how weights follow gradients"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(lr), "lr", "0.001", 1e-12, 100, "largest learning rate"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(momentum), "momentum", "0.9", 0, 0.9999, "of sgd: share of the last step kept"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(nesterov), "nesterov", "false", "of sgd: look ahead by the momentum"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(beta1), "beta1", "0.9", 0, 0.99999, "of adam: memory of the mean gradient"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(beta2), "beta2", "0.999", 0, 0.9999999, "of adam: memory of the squared gradient")

#define PQ_TRAIN_ROWS_EPSILON \
    PQ_ROW_REAL(PQ_TRAIN_AT(epsilon), "epsilon", "1e-08", 1e-30, 1, "of adam: added to the root")

#define PQ_TRAIN_ROWS_LOSS \
    PQ_ROW_REAL(PQ_TRAIN_AT(weight_decay), "weight_decay", "0", 0, 10, "pull of kernels towards 0, times the weight"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(l1), "l1", "0", 0, 10, "pull of kernels towards 0, times its sign"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(clip_norm), "clip_norm", "0", 0, 1e9, "largest norm of all gradients together, 0 = any"), \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(schedule), "schedule", "constant", pq_train_schedules, "course of the learning rate"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(warmup_epochs), "warmup_epochs", "0", 0, 1000, "epochs in which the rate first rises from 0"), \
    PQ_ROW_INT(PQ_TRAIN_AT(step_size), "step_size", "30", 1, 100000, "of schedule step: epochs between drops"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(gamma), "gamma", "0.1", 1e-6, 1, "of schedule step: factor of a drop"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(min_lr), "min_lr", "0", 0, 100, "least learning rate"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(label_smoothing), "label_smoothing", "0", 0, 0.99, "share of a label spread over all classes"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(focal_gamma), "focal_gamma", "0", 0, 10, "focal loss: how much easy events count less"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(norm_momentum), "norm_momentum", "0.1", 0, 1, "weight of a batch in BatchNorm's moving averages"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(ema), "ema", "0", 0, 0.999999, \
         "memory of a moving average of all weights, after t steps at most (1+t)/(10+t); " \
         "0 = none"), \
    PQ_ROW_INT(PQ_TRAIN_AT(early_stopping), "early_stopping", "0", 0, 100000, \
        "epochs without a better one to stop at, 0 = never"), \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(monitor), "monitor", "loss", pq_train_monitors, "what makes an epoch better, on validation events"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(keep_best), "keep_best", "true", "end with the best epoch's weights, else the last one's"), \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(sampling), "sampling", "uniform", pq_train_samplings, "balanced: every class equally often"), \
    PQ_ROW_TEXT(PQ_TRAIN_AT(class_weights), "class_weights", "weights of classes in the loss, by name: 'b=2,c=5'; others 1; or balanced: by inverse frequency"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(preserve_rare_classes), "preserve_rare_classes", "false", \
        "raise weights of classes in the loss until their recalls hold the floors below, and no " \
        "further; without a floor a recall may lose 0.05 and a tenth of itself, whichever is less, or " \
        "is held at 0.5 where nothing is there to compare with"), \
    PQ_ROW_TEXT(PQ_TRAIN_AT(min_recall), "min_recall", \
         "least recall of every class, or of some: '0.9', 'b=0.8,c=0.3'; an epoch below " \
         "it is a best one only while none holds it"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(max_recall_loss), "max_recall_loss", NULL, 0, 1, \
         "most recall any class may lose against the teacher, or the network before " \
         "compression"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(event_weights), "event_weights", "true", "use the dataset's event weights"), \
    PQ_ROW_TEXT(PQ_TRAIN_AT(freeze), "freeze", "glob of layers that are not trained"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(augment_flip), "augment_flip", "false", "mirror images left to right at random"), \
    PQ_ROW_INT(PQ_TRAIN_AT(augment_crop), "augment_crop", "0", 0, 64, "shift images by up to so many pixels, zeros come in")

#define PQ_TRAIN_ROWS_DISTIL \
    PQ_ROW_REAL(PQ_TRAIN_AT(temperature), "temperature", "2", 0.01, 100, "of distillation: softens both nets' outputs"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(alpha), "alpha", "0.5", 0, 1, "of distillation: share of the teacher in the loss"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(layer_mse), "layer_mse", "0", 0, 1e6, \
         "of distillation: weight of the squared distance between layers of one name")

#define PQ_TRAIN_ROWS_GRIDS \
    PQ_ROW_CHOICE(PQ_TRAIN_AT(qat), "qat", "straight", pq_qat_names, \
           "what of quantizers is trained: nothing (gradients pass straight through), " \
           "scales (lsq), where activations are clipped (pact), kernels through tanh " \
           "(dorefa, and with pact), or fraction bits (hgq)"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(qat_lr), "qat_lr", "1", 0, 1e6, "learning rate of what is trained of quantizers, times lr"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(hgq_beta), "hgq_beta", "1e-05", 0, 1000, "of hgq: price of one effective bit operation"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(hgq_gamma), "hgq_gamma", "0.0003", 0, 1000, \
         "of hgq: price of one integer or fraction bit of a quantizer"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(hgq_target_ebops), "hgq_target_ebops", NULL, 1, 1e18, \
         "of hgq: effective bit operations that the price is steered to, from hgq_beta on"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(hgq_p), "hgq_p", "1", 0, 100, \
         "of hgq_target_ebops: what log(EBOPs / target) adds to the price's logarithm"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(hgq_i), "hgq_i", "0.002", 0, 100, \
         "of hgq_target_ebops: what its sum over epochs adds"), \
    PQ_ROW_INT(PQ_TRAIN_AT(hgq_warmup), "hgq_warmup", "10", 0, 100000, \
         "of hgq_target_ebops: epochs before the price is steered"), \
    PQ_ROW_BOOL(PQ_TRAIN_AT(hgq_front), "hgq_front", "false", \
         "of hgq: keep the network of every epoch that no other beats in both EBOPs and " \
         "accuracy; stage `front` picks one"), \
    PQ_ROW_REAL(PQ_TRAIN_AT(pact_decay), "pact_decay", "0.0001", 0, 10, "of pact: pull of the clipping level towards 0"), \
    PQ_ROW_INT(PQ_TRAIN_AT(fold_norm_after), "fold_norm_after", NULL, 0, 100000, \
        "epochs after which BatchNorm goes by its running statistics, as once folded; " \
        "stages of compression fold it after training into kernels of whole numbers, " \
        "one scale a channel (quantize: fold: false); none = never"), \
    PQ_ROW_INT(PQ_TRAIN_AT(seed), "seed", "1", 0, 9007199254740992, "of order, augmentation and dropout")

/** All others, without the zeroed row at the end. */
#define PQ_TRAIN_ROWS \
    PQ_TRAIN_ROWS_STEPS, PQ_TRAIN_ROWS_EPSILON, PQ_TRAIN_ROWS_LOSS, PQ_TRAIN_ROWS_DISTIL, \
    PQ_TRAIN_ROWS_GRIDS
/* clang-format on */

#endif
