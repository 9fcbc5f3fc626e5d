/**
 * @file
 * One budget for several layers: each has a list of options, from the cheapest to the
 * one without loss, and the step that keeps most energy for its cost is taken until the
 * budget is spent. For compress only.
 *
 * Within a layer a step may skip options, so that lists need not be concave; the result
 * is the best there is up to the last step.
 */
#ifndef PQ_COMPRESS_BUDGET_H
#define PQ_COMPRESS_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** What a layer may become. */
typedef struct {
    size_t rank; /**< the method's own number, 0 = dense */
    double cost; /**< in the budget's unit */
    double loss; /**< lost part of the layer's energy, |W - W'|^2 / |W|^2, or a bound */
} pq_option;

/** A layer's options; owns them (pq_free(option)). */
typedef struct {
    bool       by_macs; /**< what costs are */
    double     limit;   /**< options that cost as much or more are left out */
    size_t     n, room;
    pq_option *option; /**< rising cost, falling loss */
    size_t     at;     /**< the chosen one */
    size_t     next;   /**< the best one behind it, or `at` */
} pq_share;

/** Adds an option, dearer than those before. */
pq_status pq_share_add(pq_share *share, size_t rank, double values, double macs,
                       double loss, pq_err *err);

/** Adds the dense layer, which costs `limit`, as the last option. */
pq_status pq_share_end(pq_share *share, pq_err *err);

/**
 * Chooses the options of n layers, whose cost is `all` as they are.
 *
 * @param[in] budget  all over what may be spent
 * @return the budget that was reached: `budget` itself, or less where even the cheapest
 *         options, which are chosen then, cost more
 */
double pq_share_out(pq_share *shares, size_t n, double all, double budget);

#endif
