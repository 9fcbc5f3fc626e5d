/**
 * @file
 * Flavour tagging at fixed mistag rates: the cut on the b discriminant that lets a given
 * part of a background pass, and what passes it of b and of the other backgrounds.
 *
 *     D_b = ln(p_b / (f_c p_c + (1 - f_c) p_light))
 *
 * Tau jets, where there is such a class, count neither as b nor as background.
 * Probabilities below 1e-10 count as that. A jet passes where D_b >= cut; the cut is the
 * least that lets at most the given part of the background pass, so that with ties, as of
 * models of few bits, less passes: the achieved rate is reported.
 *
 * Source: ATLAS, arXiv:2211.16345, eq. 1; the definitions of puma (PyPI puma-hep).
 */
#ifndef PQ_METRICS_BTAG_H
#define PQ_METRICS_BTAG_H

#include "metrics/metric.h"

/** Share of c in the discriminant where nobody says. */
#define PQ_BTAG_F_C 0.018

/** Classes of flavours, by their names. */
typedef struct {
    size_t b, c, light, tau; /**< SIZE_MAX: there is no such class (c, tau) */
} pq_btag_classes;

/**
 * Finds them: "b", "c", "light" with the names in use ("u", "l", "bjets", …).
 * @retval PQ_ERR_CONFIG  b or light is missing, or there are others.
 */
pq_status pq_btag_find(size_t n, const char *const *names, pq_btag_classes *out,
                       pq_err *err);

/** D_b of three probabilities; p_c is ignored where f_c is 0. */
double pq_btag_discriminant(double p_b, double p_c, double p_light, double f_c);

/**
 * Adds, for the mistag rates 0.1, 0.01 and 0.001 of light and of c,
 * "btag.<background>.<rate>.efficiency" of b with its Clopper-Pearson interval,
 * ".mistag" (achieved), ".cut", and ".rejection_<other>", 1 / the rate of the other
 * background (NAN where none passes).
 *
 * @param[in] f_c  0 .. 1; without a class c nothing of it is used
 * @retval PQ_ERR_RANGE   f_c is not in 0..1.
 * @retval PQ_ERR_CONFIG  As pq_btag_find; outputs without probabilities; a flavour
 * without jets.
 * Cost: O(n log n) time, 24 n bytes.
 */
pq_status pq_btag_evaluate(const pq_evaluation *e, double f_c, pq_values *out,
                           pq_err *err);

#endif
