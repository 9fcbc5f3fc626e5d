/**
 * @file
 * Statistics of activations on calibration events, filled by exec's runs and
 * handed to methods as data.
 */
#ifndef PQ_COMPRESS_CALIB_H
#define PQ_COMPRESS_CALIB_H

#include "graph/graph.h"

enum { PQ_CALIB_BINS = 2048 };

/** Output of one node over all calibration events. */
typedef struct {
    double  lo, hi;                 /**< extremes */
    double  average_lo, average_hi; /**< moving averages of events' extremes */
    double  mean, mean_square;      /**< over all values */
    size_t  n;                      /**< values seen */
    double  bin_width; /**< |x| histogram: bin i covers [i, i+1) * bin_width */
    double  histogram[PQ_CALIB_BINS];
    size_t  channels;                /**< size of the last axis */
    double *channel_lo, *channel_hi; /**< [channels] */
    double *channel_mean;            /**< [channels] */
} pq_calib_range;

/** Second moments of what enters a kernel: x is an input row, or an im2col patch [height,
 * width, in]. */
typedef struct {
    size_t  n;    /**< length of x; 0 = not collected */
    size_t  rows; /**< samples of x */
    double *gram; /**< [n, n], sum of x x^T */
    double *mean; /**< [n], sum of x / rows */
} pq_calib_gram;

/** Statistics by node name (names survive surgery, indices do not). */
typedef struct {
    size_t          events;
    size_t          n_nodes;
    char          **names;  /**< [n_nodes] */
    pq_calib_range *ranges; /**< [n_nodes] */
    pq_calib_gram  *grams;  /**< [n_nodes] */
} pq_calib;

/** Empty statistics for the nodes of a graph. */
pq_status pq_calib_create(const pq_graph *graph, pq_calib **out, pq_err *err);
void      pq_calib_free(pq_calib **calib);

/** Adds n samples of a node's output, [n, shape]. Histograms widen by doubling bins, so
 * order does not matter much and no pass is repeated. */
pq_status pq_calib_add(pq_calib *calib, size_t node, size_t n, size_t sample_count,
                       size_t channels, const float *values, pq_err *err);

/** Adds the Gram contribution of n samples of a node's input for the kernel of `node`
 * (dense and conv2d). */
pq_status pq_calib_add_gram(pq_calib *calib, const pq_graph *graph, size_t node, size_t n,
                            const float *input, pq_err *err);

/** Range of a node by name, or NULL when there is none or no value was seen. */
const pq_calib_range *pq_calib_range_of(const pq_calib *calib, const char *node);
const pq_calib_gram  *pq_calib_gram_of(const pq_calib *calib, const char *node);

/** sum x x^T / rows, without the mean if centred: float64 [n, n]; caller frees. */
pq_status pq_calib_moments(const pq_calib_gram *g, bool centred, pq_tensor **out,
                           pq_err *err);

/**
 * What a bias gains where W becomes W': (W - W') mean(x).
 * @param[in]  w      float64 [outputs, n] or any shape that is one
 * @param[in]  other  the same
 * @param[out] shift     [outputs]; caller frees with pq_free
 */
pq_status pq_calib_shift(const pq_calib_gram *g, const pq_tensor *w,
                         const pq_tensor *other, double **shift, pq_err *err);

#endif
