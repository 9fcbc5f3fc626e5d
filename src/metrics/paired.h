/**
 * @file
 * Two taggers on the same jets: ratios of rejections with paired intervals.
 *
 * Two models pass mostly the same jets, so their rejections rise and fall together and
 * the error of a ratio is far below that of either. Both are cut at a working point of
 * their own; the second at the first's cut, too, which shows how far compression moved
 * scores.
 *
 * The interval is that of a bootstrap over jets: 1000 replicas in each of which every jet
 * counts a Poisson number of times. A jet matters only by its flavour and by which of the
 * two cuts it passes, so a replica draws the four sums of each flavour: of weighted jets
 * as scaled Poisson numbers of the same mean and variance, of negative ones apart. The
 * working points move with the b jets of a replica; the rates follow to first order
 * (tagged.h, pq_tagged_point).
 *
 * Sources: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13
 * (percentiles); Bohm & Zech, NIM A 748 (2014), doi:10.1016/j.nima.2014.02.021 (scaled
 * Poisson); McNemar, Psychometrika 12 (1947), doi:10.1007/BF02295996.
 */
#ifndef PQ_METRICS_PAIRED_H
#define PQ_METRICS_PAIRED_H

#include "metrics/btag.h"

/** A background at a working point of two taggers. */
typedef struct {
    double     rate; /**< the working point */
    pq_flavour background;
    pq_value   first, second; /**< rejections at own cuts */
    pq_value   reused;        /**< rejection of the second at the first's cut */
    pq_value   efficiency;    /**< of b jets of the second at the first's cut */
    pq_value   ratio;         /**< rejection of the second over that of the first */
    double p; /**< McNemar: of background jets that one alone passes; without weights */
} pq_tag_pair;

/**
 * Compares at every working point of `rates` and for each background that has jets.
 *
 * @param[in]  first   jets of one evaluation
 * @param[in]  second  jets of the same events in another; events are matched by number
 * @param[in]  rates   working points, 0 .. 1
 * @param[in]  cut_error  as the key of metric btag
 * @param[out] out     [*n] caller frees with pq_free
 * @param[out] n       pairs
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_CONFIG  The jets are not the same: their number, flavours or weights.
 * @retval PQ_ERR_NOMEM   Out of memory.
 * Cost: O(n) time for each working point, and 12 n bytes. Deterministic.
 */
pq_status pq_tagged_compare(const pq_tagged *first, const pq_tagged *second,
                            const pq_reals *rates, bool cut_error, pq_tag_pair **out,
                            size_t *n, pq_err *err);

/**
 * Adds what a compressed model is beside its reference, at each working point of metric
 * btag: "btag.70.rejection_light_ratio", "btag.70.rejection_light_reused" (at the
 * reference's cut) and "btag.70.efficiency_reused".
 * @param[in]  reference  jets of what is compared with, of the same events
 * @param[in]  jets       of the compressed model
 * @param[in]  params     keys of metric btag, or NULL = the defaults
 * @param[out] out        gets the values
 * @param[out] err        details of a failure, or NULL
 * @retval others  As pq_tagged_compare.
 */
pq_status pq_btag_add_paired(const pq_tagged *reference, const pq_tagged *jets,
                             const pq_btag_params *params, pq_values *out, pq_err *err);

#endif
