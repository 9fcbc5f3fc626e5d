/**
 * @file
 * b-tag efficiency: what passes of each flavour at the working points of a b tagger, and
 * of the same network used as a c tagger.
 *
 * A working point is the efficiency of b jets (the greatest cut that lets at least so
 * many pass), or the mistag rate of a background (the least cut that lets at most so many
 * pass). Rejection is 1 / mistag rate. Tau jets count neither as b nor as light.
 *
 * Values, of D_b ("btag") and, where c_working_points are given, of D_c ("ctag", in which
 * b and c change places): btag.distinct                     different scores: few of
 * models of few bits btag.70.efficiency                achieved, at the working point 70
 * % btag.70.cut                       on D_b btag.70.rejection_light, _c, _tau
 *     btag.light.0.01.efficiency        of b where 1 % of light jets pass
 *     btag.light.0.01.mistag, .cut, .rejection_c
 *     btag.70.pt.20_30.efficiency       in a bin of a column, with
 * .rejection_<background> btag.70_77.b, .c, .light, .tau    pseudo-continuous: between
 * two working points
 *
 * Definitions and their sources: flavour.h, tagged.h; coverage of the intervals:
 * docs/measurement.md.
 */
#ifndef PQ_METRICS_BTAG_H
#define PQ_METRICS_BTAG_H

#include "metrics/tagged.h"

/** How the cut in a bin is found. */
typedef enum {
    PQ_BIN_FIXED,     /**< that of the inclusive working point */
    PQ_BIN_FLAT,      /**< the working point in each bin by itself */
    PQ_BIN_REJECTION, /**< a fixed rejection of light jets in each bin by itself */
} pq_bin_cut;

/** Keys of metric btag; the entry's table says what they mean. */
typedef struct {
    double   f_c, f_tau, f_b;
    pq_reals working_points, c_working_points, mistag_rates;
    bool     cut_error, pseudo_continuous;
    char    *bins; /**< "pt=20:30:40,eta=0:1.5:2.5", or NULL */
    int      bin_cut;
    double   bin_working_point, bin_rejection;
} pq_btag_params;

/** Their table. */
extern const pq_param pq_btag_table[];

/** "btag.70": of a signal (b or c) at a rate; caller frees; NULL when out of memory. */
char *pq_btag_name(pq_flavour signal, double rate);

/**
 * Adds the values above.
 *
 * @param[in]  e       what is evaluated
 * @param[in]  params  keys, or NULL = the defaults
 * @param[out] out     gets the values
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_RANGE   f_c, f_tau or f_b is not in 0..1, or their sum is above 1.
 * @retval PQ_ERR_CONFIG  As pq_flavours_find; outputs without probabilities; no b jets,
 * or no light jets; bins that do not rise or that no jet is in.
 * @retval PQ_ERR_NOT_FOUND  A column of `bins` is not in the data.
 * Cost: O(n) time, 48 n bytes while jets are sorted.
 */
pq_status pq_btag_evaluate(const pq_evaluation *e, const pq_btag_params *params,
                           pq_values *out, pq_err *err);

/**
 * The jets by D_b or D_c, with the shares of the keys.
 * @param[in]  e       what is evaluated
 * @param[in]  signal  PQ_FLAVOUR_B or PQ_FLAVOUR_C
 * @param[in]  params  keys
 * @param[out] out     caller frees with pq_tagged_free()
 * @param[out] err     details of a failure, or NULL
 * @retval others  As pq_btag_evaluate.
 */
pq_status pq_btag_jets(const pq_evaluation *e, pq_flavour signal,
                       const pq_btag_params *params, pq_tagged *out, pq_err *err);

/** Adds the values of the bins; `jets` are those of D_b. Errors as above. */
pq_status pq_btag_add_bins(const pq_evaluation *e, const pq_tagged *jets,
                           const pq_btag_params *params, pq_values *out, pq_err *err);

/** Whether `bins` are columns of the data, and edges that rise. Errors as above. */
pq_status pq_btag_check_bins(const pq_evaluation *e, const pq_btag_params *params,
                             pq_err *err);

/** Adds one value under "<prefix>.<what>". */
pq_status pq_btag_add(pq_values *out, const char *prefix, const char *what, pq_value v,
                      pq_err *err);

/** Adds rejections of the backgrounds of a signal that have jets. */
pq_status pq_btag_add_rejections(pq_values *out, const char *prefix, pq_flavour signal,
                                 const pq_tag_point *point, bool cut_error, pq_err *err);

#endif
