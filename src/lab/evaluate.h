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
    bool             usual;  /**< nobody named it: left out where it has no value */
} pq_metric_choice;

typedef struct {
    pq_predict_options      predict;
    size_t                  n_metrics; /**< 0 = every metric with its defaults */
    const pq_metric_choice *metrics;
    size_t                  file_bytes; /**< size of the model's file, 0 = unknown */
    bool unweighted;       /**< every event counts once, whatever it weighs */
    bool negative_weights; /**< weights may be negative; else such a one is refused */
} pq_evaluate_options;

/** Owns everything; {0} is empty. */
typedef struct {
    size_t  n, classes;
    size_t  width;       /**< outputs of the model: `classes`, or one for two classes */
    pq_head head;        /**< what they mean */
    bool    decided;     /**< whether they decide: else `correct` is 0 */
    size_t  correct;     /**< events decided for their label */
    char  **class_names; /**< [classes], the model's order */
    float  *outputs;     /**< [n, width]: see `opened` */
    bool opened; /**< outputs are what the softmax, or the sigmoid of one output, at the
                    model's end is given: as
                    floats, probabilities near 1 would tie (pq_evaluated_outputs) */
    double   *rests;      /**< [n] of pq_head_normalise of several logits, or NULL */
    float    *tops;       /**< [n] beside them of many outputs, or NULL */
    int32_t  *labels;     /**< [n], the model's order */
    float    *weights;    /**< [n], or NULL: all are 1 */
    bool      negative;   /**< weights may be negative */
    size_t    n_negative; /**< events of such a weight */
    pq_values values;
    char     *kernels; /**< what computed the outputs: pq_plan_kernels */
    /** Layers with a kernel that engine `integer` computed in double, and why: "fc1: its
     * kernel has no whole-number codes"; none with other engines. */
    size_t n_fallbacks;
    char **fallbacks; /**< [n_fallbacks] */
    char  *inputs;    /**< what the model does with its inputs: pq_scaler_describe */
    char  *doubt;     /**< why they look wrong for it, or "" */
    /** Usual metrics that such outputs have no value of, and why: "log_loss: …". */
    size_t n_refused;
    char **refused; /**< [n_refused] */
} pq_evaluated;

/** Whether a metric is computed for such outputs: one that was named always is. */
bool pq_metric_applies(const pq_metric_choice *choice, const pq_evaluation *view);

/** The outputs [n, width] as the model gives them. */
void pq_evaluated_outputs(const pq_evaluated *e, float *out);

/** What metrics read; borrows from `e`. */
pq_evaluation pq_evaluated_view(const pq_evaluated *e, const pq_graph *graph,
                                size_t file_bytes);

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
 * Whether metrics that were asked for have a value for what a model's outputs mean.
 * @retval PQ_ERR_CONFIG  With the metric and the reason.
 */
pq_status pq_evaluate_metrics_check(const pq_graph *graph, size_t n,
                                    const pq_metric_choice *metrics, pq_err *err);

/**
 * Evaluates. Classes of model and dataset are matched by name.
 *
 * @retval PQ_ERR_CONFIG  Class names do not match (both lists are named); a metric that
 * was asked for has no value for such outputs; they cannot be what the head says.
 * @retval PQ_ERR_SHAPE   The model's outputs do not tell as many classes apart.
 */
pq_status pq_evaluate(pq_graph *graph, pq_dataset *dataset, size_t split,
                      const pq_evaluate_options *options, pq_evaluated *out, pq_err *err);

/** Metrics of a checked network alone (pq_metric.eventless), without any events. */
pq_status pq_evaluate_network(const pq_graph *graph, const pq_evaluate_options *options,
                              pq_values *out, pq_err *err);

void pq_evaluated_free(pq_evaluated *e);

#endif
