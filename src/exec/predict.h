/**
 * @file
 * Outputs of a model for a whole split: samples go through in fixed chunks of
 * PQ_CHUNK (the last one padded), each chunk on one thread, chunks in parallel.
 * So the result is the same for every batch size and every thread count.
 */
#ifndef PQ_EXEC_PREDICT_H
#define PQ_EXEC_PREDICT_H

#include "core/progress.h"
#include "data/dataset.h"
#include "exec/plan.h"
#include "exec/rescale.h"

enum { PQ_CHUNK = 64 };

typedef struct {
    const char *engine;  /**< NULL = "float32" */
    size_t      threads; /**< 0 = all cores */
    size_t      batch; /**< events read at a time, 0 = chosen; never changes the result */
    size_t      limit; /**< at most so many events, 0 = all */
    size_t      stride; /**< every so many-th event from the first on, 0 = all */
    const pq_progress *progress;
} pq_predict_options;

/** Owns its arrays; {0} is empty. */
typedef struct {
    size_t   n;               /**< events */
    size_t   width;           /**< outputs of the model */
    float   *outputs;         /**< [n, width], as the model gives them */
    int32_t *labels;          /**< [n], in the dataset's class order */
    float   *weights;         /**< [n] */
    char    *kernels;         /**< what computed them: pq_plan_kernels */
    double   input_mean;      /**< of the first PQ_CHUNK events as the model sees them */
    double   input_deviation; /**< within a feature; 1 where there are too few to know */
} pq_predictions;

/**
 * Whether a model takes the events of a dataset: one input of their shape, but for axes
 * of one and features that the model does not take, or of as many values in a row.
 * @param[in] plan   of the model
 * @param[in] info   of the dataset
 * @param[in] scale  from one to the other, or NULL: all features are taken
 * @param[out] err   details of a failure, or NULL
 * @retval PQ_ERR_SHAPE        Both shapes are named.
 * @retval PQ_ERR_UNSUPPORTED  The model has several inputs.
 */
pq_status pq_predict_check(const pq_plan *plan, const pq_dataset_info *info,
                           const pq_rescale *scale, pq_err *err);

/**
 * Runs a split through a model. The model's own scaler is applied to the raw values; a
 * model without one gets them as they are (exec/rescale.h).
 *
 * @retval PQ_ERR_SHAPE  The dataset's samples do not fit the model's input (both shapes
 * are named).
 * @retval others        As pq_plan_create and pq_dataset_read.
 */
pq_status pq_predict(const pq_graph *graph, pq_dataset *dataset, size_t split,
                     const pq_predict_options *options, pq_predictions *out, pq_err *err);
void      pq_predictions_free(pq_predictions *p);

#endif
