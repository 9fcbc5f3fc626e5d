/**
 * @file
 * Numbers with uncertainties. One file per metric, one word in
 * metrics/meson.build.
 */
#ifndef PQ_METRICS_METRIC_H
#define PQ_METRICS_METRIC_H

#include "core/param.h"
#include "graph/graph.h"

/** Which direction is an improvement. */
typedef enum { PQ_BETTER_NONE, PQ_BETTER_HIGHER, PQ_BETTER_LOWER } pq_better;

/** One number. */
typedef struct {
    char      name[64]; /**< "accuracy", "auc.g", "auc.macro" */
    double    value;    /**< NAN when undefined (e.g. AUC of an absent class) */
    double    lo, hi;   /**< interval, or NAN */
    double    n;        /**< events behind it (effective number when weighted), or 0 */
    char      unit[16]; /**< "", "byte", "s", "MAC" */
    pq_better better;
} pq_value;

/** Growing list of values; {0} is empty; owns. */
typedef struct {
    size_t    n;
    pq_value *items;
} pq_values;

pq_status pq_values_add(pq_values *values, const char *name, double value, double lo,
                        double hi, double n, const char *unit, pq_better better,
                        pq_err *err);
void      pq_values_free(pq_values *values);

/** Value of a name, or NULL. */
const pq_value *pq_values_find(const pq_values *values, const char *name);

/**
 * What metrics are computed from; borrowed.
 *
 * Decisions, everywhere: the class with the largest output wins, the first of
 * equal ones; a cut keeps scores >= t.
 */
typedef struct {
    size_t       n; /**< events */
    size_t       classes;
    const float *probabilities; /**< [n, classes], rows sum to 1 (softmax applied where
                                   the net ends in logits) */
    const float *logits; /**< [n, classes] where the net ends in logits or softmax could
                            be undone, else NULL */
    const int32_t     *labels;      /**< [n], in the model's class order */
    const float       *weights;     /**< [n], finite and >= 0, or NULL = all 1 */
    const char *const *class_names; /**< [classes] */
    const pq_graph    *graph;       /**< checked; for sizes and operations */
    size_t             file_bytes;  /**< size of the saved model, 0 if not saved */
} pq_evaluation;

/**
 * Checks what every metric of events relies on.
 *
 * @retval PQ_ERR_CONFIG   There are no events, or all weights are 0.
 * @retval PQ_ERR_RANGE    A label outside the classes, a weight that is negative or not
 * finite: event and value are named.
 * @retval PQ_ERR_NUMERIC  A probability is NaN or infinite.
 */
pq_status pq_evaluation_check(const pq_evaluation *e, pq_err *err);

/** Class that the model decides for: by logits where there are any (softmax may round two
 * classes to a tie). */
size_t pq_evaluation_decision(const pq_evaluation *e, size_t event);

/** Weight of an event. */
static inline double pq_evaluation_weight(const pq_evaluation *e, size_t event)
{
    return e->weights != NULL ? (double)e->weights[event] : 1.0;
}

/** Weights added up: the sum, and the number of unweighted events with the same relative
 * error. */
typedef struct {
    double sum, sum_squares;
} pq_weight_sum;

static inline void pq_weight_add(pq_weight_sum *s, double weight)
{
    s->sum += weight;
    s->sum_squares += weight * weight;
}

/** (sum w)^2 / sum w^2; 0 when nothing was added. */
double pq_weight_effective(pq_weight_sum s);

/** A metric. */
typedef struct {
    const char *name;
    const char *summary;
    const char *source;
    const char *const
                   *values; /**< names it gives, NULL-terminated; "auc.*": one a class */
    const pq_param *params; /**< or NULL */
    size_t          params_size;
    const char     *version;   /**< part of the eval key */
    bool            eventless; /**< of the network alone */
    pq_status (*compute)(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err);
} pq_metric;

/** All metrics in a fixed order, NULL-terminated. */
extern const pq_metric *const pq_metrics[];

const pq_metric *pq_metric_find(const char *name);

#endif
