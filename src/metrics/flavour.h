/**
 * @file
 * Flavours of jets by the names of classes, and the discriminants of flavour tagging.
 *
 *     D_x = ln p_x - ln sum over the other flavours y of f_y p_y,   sum of f_y = 1
 *
 * Of logits the softmax cancels: D_x = l_x - ln sum f_y exp(l_y), which neither overflows
 * nor ties where probabilities are 1 as floats. Of probabilities, those below 1e-10 count
 * as that.
 *
 * Source: ATLAS, arXiv:2211.16345, eq. 1; the definitions of puma (PyPI puma-hep), which
 *         adds 1e-10 to numerator and denominator.
 */
#ifndef PQ_METRICS_FLAVOUR_H
#define PQ_METRICS_FLAVOUR_H

#include "metrics/metric.h"

/** Flavours of jets, in the order in which tables name them. */
typedef enum {
    PQ_FLAVOUR_B,
    PQ_FLAVOUR_C,
    PQ_FLAVOUR_LIGHT,
    PQ_FLAVOUR_TAU,
    PQ_FLAVOURS
} pq_flavour;

/** Class of each flavour; SIZE_MAX: there is none. */
typedef struct {
    size_t at[PQ_FLAVOURS];
} pq_flavours;

/** Share of each flavour in a denominator; that of the signal is 0, their sum 1. */
typedef struct {
    double of[PQ_FLAVOURS];
} pq_flavour_shares;

/** "b", "c", "light", "tau". */
const char *pq_flavour_name(pq_flavour flavour);

/**
 * Finds the classes: "b", "c", "light", "tau" and other names in use ("u", "ujets", …).
 * @retval PQ_ERR_CONFIG  b or light is missing, or there are other classes.
 */
pq_status pq_flavours_find(size_t n, const char *const *names, pq_flavours *out,
                           pq_err *err);

/**
 * Shares of the backgrounds of a signal, b or c; light jets have what is left. Flavours
 * without a class have none.
 *
 * @param[in]  classes  which flavours there are
 * @param[in]  signal   PQ_FLAVOUR_B or PQ_FLAVOUR_C
 * @param[in]  other    f_c of D_b, f_b of D_c: 0 .. 1
 * @param[in]  tau      f_tau, 0 .. 1
 * @param[out] out      the shares
 * @param[out] err      details of a failure, or NULL
 * @retval PQ_ERR_RANGE   A share is not in 0..1, or their sum is above 1.
 * @retval PQ_ERR_CONFIG  A share of tau, of which there is no class.
 */
pq_status pq_flavour_shares_make(const pq_flavours *classes, pq_flavour signal,
                                 double other, double tau, pq_flavour_shares *out,
                                 pq_err *err);

/** Flavour of an event by its label. */
pq_flavour pq_flavour_of_event(const pq_evaluation *e, size_t event,
                               const pq_flavours *classes);

/** Logits of the flavours that have a class, or logarithms of their probabilities; of
 * others -INFINITY. */
void pq_flavour_logits(const pq_evaluation *e, size_t event, const pq_flavours *classes,
                       double out[PQ_FLAVOURS]);

/** D of an event. */
double pq_flavour_discriminant(const pq_evaluation *e, size_t event,
                               const pq_flavours *classes, pq_flavour signal,
                               const pq_flavour_shares *shares);

#endif
