/**
 * @file
 * Mean and spread of each feature, in one pass over rows: what a scaler is made of.
 *
 * In double, about the mean so far: sums of squares would cancel where the mean is far
 * from 0 (1e8 +- 8), and leave rounding noise for the spread of a constant.
 *
 * Source: Welford, Technometrics 4 (1962), doi:10.1080/00401706.1962.10490022.
 */
#ifndef PQ_DATA_MOMENTS_H
#define PQ_DATA_MOMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** Owns its arrays; {0} is empty. */
typedef struct {
    size_t  features;
    bool    padded; /**< the last feature is a mask: rows without it are left out */
    double *mean, *square, *seen;
} pq_moments;

/** @retval PQ_ERR_NOMEM  Out of memory. */
pq_status pq_moments_create(size_t features, bool padded, pq_moments *out, pq_err *err);
void      pq_moments_free(pq_moments *m);

/** Takes rows of all features; values that are not finite do not count. */
void pq_moments_add(pq_moments *m, size_t rows, const float *x);

/**
 * The scaler of what was added.
 *
 * @param[out] mean  [features]; 0 for a mask and where nothing counted
 * @param[out] std   [features], population; 1 where it is 0, for a mask and where
 *                   nothing counted
 */
void pq_moments_scaler(const pq_moments *m, float *mean, float *std);

#endif
