/**
 * @file
 * Curves and histograms of a b tagger, for plots.
 */
#ifndef PQ_METRICS_BTAG_CURVES_H
#define PQ_METRICS_BTAG_CURVES_H

#include "metrics/btag.h"

enum {
    PQ_BTAG_ROC_POINTS = 51, /**< b efficiencies 0.5, 0.51, … 1 */
    PQ_BTAG_BINS       = 50, /**< of D_b from -10 to 15 */
    PQ_BTAG_P_BINS     = 40, /**< of a probability from 0 to 1 */
    PQ_BTAG_SCAN       = 41, /**< f_c: 0 and 0.001 … 1 in even steps of the logarithm */
};

/** Edges of the histogram of D_b. */
extern const double pq_btag_edge_lo, pq_btag_edge_hi;

/** By value. What has no jets is NAN. */
typedef struct {
    /** b efficiency, then rejection, lo and hi of light and of c jets */
    double roc[PQ_BTAG_ROC_POINTS][7];
    /** lower edge, then the part of b, c, light and tau jets in the bin; the first and
     * the last bin hold what is beyond; the last row is the upper edge */
    double histogram[PQ_BTAG_BINS + 1][1 + PQ_FLAVOURS];
    /** lower edge, then of each output, in the order b, c, light, tau, the part of b, c,
     * light and tau jets whose probability of it is in the bin; the last row is the upper
     * edge */
    double probability[PQ_BTAG_P_BINS + 1][1 + PQ_FLAVOURS * PQ_FLAVOURS];
    /** f_c, then rejection of light and of c jets at `bin_working_point`; the
     * last row is that of the f_c chosen */
    double scan[PQ_BTAG_SCAN + 1][3];
} pq_btag_curves;

/**
 * Computes them.
 * @param[in]  e       what is evaluated
 * @param[in]  params  keys of metric btag
 * @param[out] out     curves
 * @param[out] err     details of a failure, or NULL
 * @retval others  As pq_btag_evaluate.
 * Cost: O(n) time for each point of the scan; 28 bytes a jet and 16 more a b jet.
 */
pq_status pq_btag_curves_make(const pq_evaluation *e, const pq_btag_params *params,
                              pq_btag_curves *out, pq_err *err);

#endif
