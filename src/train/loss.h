/**
 * @file
 * Losses of classifiers, computed on logits together with their gradient.
 *
 * The loss of a batch is the mean over events, weighted by `weight`. With a
 * teacher it is alpha T^2 KL(teacher || student) at temperature T plus
 * (1 - alpha) times the loss on the labels; behind a sigmoid, KL is the sum over the
 * outputs. With smoothed labels t the focal loss is -sum t_j (1 - p_j)^gamma log p_j.
 *
 * Source: focal loss, Lin et al., arXiv:1708.02002; label smoothing, Szegedy et
 *         al., arXiv:1512.00567; distillation, Hinton et al., arXiv:1503.02531.
 */
#ifndef PQ_TRAIN_LOSS_H
#define PQ_TRAIN_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "kernels/kernels.h"

/** What turns logits into the model's output. */
typedef enum { PQ_LINK_SOFTMAX, PQ_LINK_SIGMOID, PQ_LINK_NONE } pq_link;

enum { PQ_CLASSES_MAX = 4096 };

typedef struct {
    bool    squared; /**< mean squared error against one-hot labels, else cross-entropy */
    pq_link link; /**< as the graph's head says (graph/head.h); cross-entropy treats NONE
                     as SOFTMAX: the graph ends in logits */
    size_t width; /**< logits of an event; 1 with SIGMOID: two classes */
    float  label_smoothing; /**< in [0, 1) */
    float  focal_gamma;     /**< 0 = plain cross-entropy */
    float  temperature;     /**< > 0, with a teacher */
    float  alpha;           /**< share of the teacher, in [0, 1] */
} pq_loss;

/** One chunk; arrays are [rows, …]. */
typedef struct {
    const pq_kernels *kernels;
    size_t            rows;
    const float      *logits;  /**< [rows, width] */
    const float      *teacher; /**< [rows, width] logits of the teacher, or NULL */
    const int32_t    *labels;
    const float      *weights;
    double            scale;    /**< 1 / sum of the batch's weights */
    float            *gradient; /**< [rows, width], assigned, or NULL */
} pq_loss_chunk;

/** @retval PQ_ERR_CONFIG  A combination that has no meaning. */
pq_status pq_loss_check(const pq_loss *l, pq_err *err);

/** The chunk's part of the batch's loss. */
double pq_loss_run(const pq_loss *l, const pq_loss_chunk *c);

/** The class a row of logits decides for. */
int32_t pq_loss_decision(const pq_loss *l, const float *logits);

#endif
