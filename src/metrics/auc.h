/**
 * @file
 * Areas under one-vs-rest ROC curves with DeLong's variances, in two ways that agree. For
 * the metrics room only.
 */
#ifndef PQ_METRICS_AUC_H
#define PQ_METRICS_AUC_H

#include "metrics/metric.h"

/** One class, or the mean over classes: its area, the effective events of its smaller
 * side, and the sums of the squares and fourth powers of the events' influence on it. */
typedef struct {
    double value, smaller, variance, fourths;
    bool   lone; /**< one event of the class or of the rest: no spread to be seen */
} pq_auc_area;

/** Both sides of a class: the rest [0] and the class [1]. */
typedef struct {
    size_t class_index;
    double sum[2];    /**< of weights */
    double factor[2]; /**< of an influence: sqrt(n / (n - 1)) / sum */
} pq_auc_sides;

/** Weighs them, from the weights [classes] of each label, with what the area says of
 * them; false where one is empty. */
bool pq_auc_weigh(const pq_evaluation *e, const pq_weight_sum *labelled,
                  size_t class_index, pq_auc_sides *out, pq_auc_area *area);

/**
 * Areas by ranks of a radix sort, classes or ranges of scores on e->threads threads; the
 * same for any number of threads.
 *
 * @param[in]  e      passed pq_evaluation_check()
 * @param[out] areas  [classes + 1], the mean over the classes that are there last; value
 *                    is NAN where a side is empty
 * @retval PQ_ERR_RANGE  More than 2^30 events.
 * @retval PQ_ERR_NOMEM  Out of memory.
 *
 * Cost: O(n classes); 14 bytes an event and some 3 MB a thread of scratch, for up to 2^17
 * events 16 classes at a time of 8 bytes and 28 a thread.
 */
pq_status pq_auc_ranked(const pq_evaluation *e, pq_auc_area *areas, pq_err *err);

/** The same of more than 2^17 events. */
pq_status pq_auc_sliced(const pq_evaluation *e, pq_auc_area *areas, pq_err *err);

/** The same plainly: one qsort a class, every event's component in its place. */
pq_status pq_auc_plain(const pq_evaluation *e, pq_auc_area *areas, pq_err *err);

/** The mean over the classes that are there, without its variance and fourths. */
pq_auc_area pq_auc_mean_value(const pq_evaluation *e, const pq_auc_area *areas,
                              size_t *defined);

/** The mean over the classes that are there, from their areas and every event's influence
 * [n] on their sum. */
pq_auc_area pq_auc_mean(const pq_evaluation *e, const pq_auc_area *areas,
                        const double *total);

#endif
