/**
 * @file
 * Numbers with uncertainties. One file per metric, one word in
 * metrics/meson.build.
 */
#ifndef PQ_METRICS_METRIC_H
#define PQ_METRICS_METRIC_H

#include "core/param.h"
#include "core/progress.h"
#include "graph/head.h"

/** Which direction is an improvement. */
typedef enum { PQ_BETTER_NONE, PQ_BETTER_HIGHER, PQ_BETTER_LOWER } pq_better;

/** One number. */
typedef struct {
    char       *name;     /**< "accuracy", "auc.g", "auc.macro"; owned */
    double      value;    /**< NAN when undefined (e.g. AUC of an absent class) */
    double      lo, hi;   /**< interval, or NAN */
    double      n;        /**< events behind it (effective number when weighted), or 0 */
    char        unit[16]; /**< "", "byte", "s", "MAC" */
    pq_better   better;
    const char *note; /**< why the interval is doubtful or missing, or NULL; static */
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

/** The same for a number of one class, under the name that core/name.h makes. */
pq_status pq_values_add_class(pq_values *values, const char *metric,
                              const char *class_name, pq_value value, pq_err *err);

/** Effective events below which intervals carry a warning; of fractions, only where
 * weights differ. */
#define PQ_FEW_EFFECTIVE 10.0

/** That warning. */
extern const char pq_note_few[];

/** Value of a name, or NULL. */
const pq_value *pq_values_find(const pq_values *values, const char *name);

/** Other quantities of the events, such as pT and eta. */
typedef struct {
    /** Reads one of the evaluation's n events, in the file's unit.
     * @retval PQ_ERR_NOT_FOUND  There is none of that name; those there are are named. */
    pq_status (*read)(const void *context, const char *name, size_t n, double *out,
                      pq_err *err);
    const void *context;
} pq_columns;

/**
 * What metrics are computed from; borrowed.
 *
 * Decisions, everywhere: the class with the largest output wins, the first of
 * equal ones; a cut keeps scores >= t. What outputs mean says graph/head.h.
 */
typedef struct {
    size_t        n;       /**< events */
    size_t        classes; /**< pq_head_classes(head, width) */
    size_t        width;   /**< outputs of an event, as many as classes or one */
    pq_head       head;    /**< never PQ_HEAD_AUTO */
    const float  *outputs; /**< [n, width], as the model gives them */
    const double *rests;   /**< [n] of pq_head_normalise of several logits, or NULL
                              = computed each time */
    const float   *tops;   /**< [n] beside rests, or NULL = looked for each time */
    const int32_t *labels; /**< [n], in the model's class order */
    const float *weights; /**< [n], finite, and >= 0 unless `negative`, or NULL = all 1 */
    bool         negative;          /**< weights may be negative, as of MC generators */
    const char *const *class_names; /**< [classes] */
    const pq_graph    *graph;       /**< checked; for sizes and operations */
    size_t             file_bytes;  /**< size of the saved model, 0 if not saved */
    const pq_columns  *columns;     /**< or NULL: there are none */
    size_t             threads;     /**< that metrics may use, 0 = 1; changes no result */
    const pq_progress *progress;    /**< or NULL */
    bool               checked;     /**< pq_evaluation_check found nothing: not again */
} pq_evaluation;

/**
 * Checks what every metric of events relies on.
 *
 * @retval PQ_ERR_CONFIG   There are no events, or their weights do not add up to more
 * than 0.
 * @retval PQ_ERR_RANGE    A label outside the classes, a weight that is not finite, or is
 * negative where none may be: event and value are named.
 * @retval PQ_ERR_NUMERIC  An output is NaN or infinite.
 */
pq_status pq_evaluation_check(const pq_evaluation *e, pq_err *err);

/** Class that the model decides for; only where pq_evaluation_undecided is NULL. */
size_t pq_evaluation_decision(const pq_evaluation *e, size_t event);

/** Whether another class has as large an output as the one that is decided for, but for
 * four steps of float32: the first of them was taken, and rounding may have chosen it.
 * @param[in] decision  pq_evaluation_decision of the event */
bool pq_evaluation_tied(const pq_evaluation *e, size_t event, size_t decision);

/** Outputs from which on their largest is kept in `tops`. */
enum { PQ_TOPS_WIDTH = 16 };

/** What turns an event's outputs into scores: pq_head_normalise. */
static inline pq_head_norm pq_evaluation_norm(const pq_evaluation *e, size_t event)
{
    const float *row = e->outputs + event * e->width;

    if (e->head != PQ_HEAD_LOGITS || e->width == 1) {
        return (pq_head_norm){0.0, 0.0};
    }
    if (e->rests == NULL) {
        return pq_head_normalise(e->head, e->width, row);
    }
    return (pq_head_norm){
        .top  = (double)(e->tops != NULL ? e->tops[event] : pq_head_top(e->width, row)),
        .rest = e->rests[event]};
}

/** What an event is ranked by for a class: pq_head_score. */
static inline double pq_evaluation_score(const pq_evaluation *e, size_t event,
                                         size_t class_index)
{
    return pq_head_score(e->width, e->outputs + event * e->width,
                         pq_evaluation_norm(e, event), class_index);
}

/** Probability of a class: pq_head_probability. */
double pq_evaluation_probability(const pq_evaluation *e, size_t event,
                                 size_t class_index);

/** Why there is no decision, or NULL; for pq_metric.refuses. */
const char *pq_evaluation_undecided(const pq_evaluation *e);

/** Why there are no probabilities, or NULL; for pq_metric.refuses. */
const char *pq_evaluation_improbable(const pq_evaluation *e);

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
    /** Why it has no value for such a head, or NULL where it has; NULL = it always has.
     */
    const char *(*refuses)(const pq_evaluation *e);
    /** Whether it is among the metrics when none are named, as far as `e` tells, which of
     * a plan has no labels; NULL = yes. */
    bool (*usual)(const pq_evaluation *e);
    /** Whether its keys fit such classes and columns, without a look at any outputs and
     * labels, which a plan does not have; NULL = they do. */
    pq_status (*fits)(const pq_evaluation *e, const void *params, pq_err *err);
    pq_status (*compute)(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err);
} pq_metric;

/** All metrics in a fixed order, NULL-terminated. */
extern const pq_metric *const pq_metrics[];

const pq_metric *pq_metric_find(const char *name);

#endif
