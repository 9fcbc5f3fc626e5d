/**
 * @file
 * A model and a split in, numbers with uncertainties out.
 */
#ifndef PQ_LAB_EVALUATE_H
#define PQ_LAB_EVALUATE_H

#include "exec/predict.h"
#include "metrics/metric.h"

/** One metric with its parameters; owns params. */
typedef struct {
    const pq_metric *metric;
    void            *params; /**< struct of metric->params_size, or NULL */
} pq_metric_choice;

typedef struct {
    pq_predict_options      predict;
    size_t                  n_metrics; /**< 0 = every metric with its defaults */
    const pq_metric_choice *metrics;
    size_t                  file_bytes; /**< size of the model's file, 0 = unknown */
} pq_evaluate_options;

/** Owns everything; {0} is empty. */
typedef struct {
    size_t    n, classes;
    size_t    correct;       /**< events whose largest output is their label's */
    char    **class_names;   /**< [classes], the model's order */
    float    *probabilities; /**< [n, classes] */
    float    *logits;        /**< [n, classes] or NULL */
    int32_t  *labels;        /**< [n], the model's order */
    float    *weights;       /**< [n] */
    pq_values values;
    char     *kernels; /**< what computed the outputs: pq_plan_kernels */
    /** Layers with a kernel that engine `integer` computed in double, and why: "fc1: its
     * kernel has no whole-number codes"; none with other engines. */
    size_t n_fallbacks;
    char **fallbacks; /**< [n_fallbacks] */
} pq_evaluated;

/**
 * Whether a model can be evaluated on a dataset: shapes and classes fit. Reads no event.
 *
 * @param[in]  graph    checked
 * @param[out] assumed  whether the model does not name its classes, so that their order
 *                      is taken from the dataset
 * @retval others       As pq_evaluate.
 */
pq_status pq_evaluate_check(const pq_graph *graph, const pq_dataset *dataset,
                            bool *assumed, pq_err *err);

/**
 * Evaluates. Classes of model and dataset are matched by name.
 *
 * @retval PQ_ERR_CONFIG  Class names do not match (both lists are named).
 * @retval PQ_ERR_SHAPE   The model has not as many outputs as there are classes.
 */
pq_status pq_evaluate(pq_graph *graph, pq_dataset *dataset, size_t split,
                      const pq_evaluate_options *options, pq_evaluated *out, pq_err *err);

/** Metrics of a checked network alone (pq_metric.eventless), without any events. */
pq_status pq_evaluate_network(const pq_graph *graph, const pq_evaluate_options *options,
                              pq_values *out, pq_err *err);

void pq_evaluated_free(pq_evaluated *e);

#endif
