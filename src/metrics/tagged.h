/**
 * @file
 * Jets in the order of a discriminant: cuts, and what passes them.
 *
 * A jet passes where D >= t, everywhere; jets of one score pass together or not at all.
 * With negative weights what passes does not always grow as the cut falls. So cuts are
 * found from the highest score down: that of an efficiency is the first at which so much
 * passes, that of a mistag rate the last before more does. What follows further down has
 * no say; it wavers by about one of the effective jets, far less than the rate's error.
 *
 * A model of few distinct scores, as one of few bits, cannot reach every working
 * point: what it does reach is reported beside it.
 */
#ifndef PQ_METRICS_TAGGED_H
#define PQ_METRICS_TAGGED_H

#include "metrics/flavour.h"
#include "metrics/fraction.h"

/** A jet: its discriminant, weight, flavour and number. */
typedef struct {
    double   score;
    float    weight;
    uint32_t event; /**< its number in the evaluation, or in the subset */
    uint8_t  flavour;
} pq_jet;

/** Jets of a block, whose sums are kept. */
enum { PQ_TAG_BLOCK = 1024 };

/** Sums over the jets before a block. */
typedef struct {
    double pass[PQ_FLAVOURS], squares[PQ_FLAVOURS]; /**< of w and of w^2 */
    double most[PQ_FLAVOURS]; /**< most that a cut lets pass above that of the last jet */
} pq_tag_sums;

/** Jets in falling order of score; owns. {0} is empty. A cut is looked up among the sums
 * of blocks, then jet by jet in one of them: the sums are those of one pass, bit by bit.
 */
typedef struct {
    size_t       n;
    pq_jet      *jets;               /**< [n] */
    double       total[PQ_FLAVOURS]; /**< sum of weights of each flavour */
    size_t       distinct;           /**< different scores */
    pq_fraction  all[PQ_FLAVOURS];   /**< sums over all jets, of which none passes */
    double       most[PQ_FLAVOURS];  /**< that any cut above the lowest score lets pass */
    pq_tag_sums *sums;               /**< [n / PQ_TAG_BLOCK + 1] */
} pq_tagged;

/**
 * Scores and sorts the jets of an evaluation.
 *
 * @param[in]  e        checked
 * @param[in]  classes  of pq_flavours_find
 * @param[in]  signal   whose discriminant
 * @param[in]  shares   of pq_flavour_shares_make
 * @param[out] out      caller frees with pq_tagged_free()
 * @param[out] err      details of a failure, or NULL
 * @retval PQ_ERR_RANGE  More than 2^32 jets.
 * @retval PQ_ERR_NOMEM  Out of memory.
 * Cost: O(n) time (radix sort), 48 n bytes while it sorts, 24 n kept.
 */
pq_status pq_tagged_make(const pq_evaluation *e, const pq_flavours *classes,
                         pq_flavour signal, const pq_flavour_shares *shares,
                         pq_tagged *out, pq_err *err);

/**
 * The jets of some events, in the same order: those whose `keep` is `key`.
 * @param[in]  all   jets of [n] events
 * @param[in]  keep  [n], by the number of the event
 * @param[in]  key   what is kept
 * @param[out] out   caller frees with pq_tagged_free(); `event` stays the number in all
 * @param[out] err   details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_tagged_subset(const pq_tagged *all, const uint32_t *keep, uint32_t key,
                           pq_tagged *out, pq_err *err);

/**
 * The same jets by other scores, as those of another model of the same events.
 * @param[in]  all     jets of [n] events
 * @param[in]  scores  [n], by the number of the event
 * @param[out] out     caller frees with pq_tagged_free()
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 * Cost: as pq_tagged_make.
 */
pq_status pq_tagged_rescored(const pq_tagged *all, const double *scores, pq_tagged *out,
                             pq_err *err);

void pq_tagged_free(pq_tagged *t);

/** Greatest cut that lets at least so large a part of a flavour pass, 0 .. 1; rates are
 * compared to 1e-12. NAN where the weights of the flavour do not add up to more than 0.
 * Cost: O(log n), and the jets of its score. */
double pq_tagged_cut_least(const pq_tagged *t, pq_flavour flavour, double rate);

/** Least cut that, with every greater one, lets at most so large a part pass; INFINITY
 * where even the highest score lets more pass. NAN as above. */
double pq_tagged_cut_most(const pq_tagged *t, pq_flavour flavour, double rate);

/** What passes a cut of each flavour. */
typedef struct {
    double      cut;
    pq_fraction side[PQ_FLAVOURS];
    double shift[PQ_FLAVOURS]; /**< relative error of a rate that comes from the cut's
                                  own error, 0 where the cut is given */
} pq_tag_point;

/** At a given cut, as that of a reference. */
void pq_tagged_at(const pq_tagged *t, double cut, pq_tag_point *out);

/**
 * At the cut of a working point: `held` is the flavour whose rate sets it, from below
 * (efficiency) or from above (mistag). The cut has an error of its own, as the jets of
 * that flavour are finite: half the difference of each rate between the cuts at the rate
 * one standard error to either side; by the delta method
 *     Var(eps_u) = eps_u (1 - eps_u) / N_u + (d eps_u / d eps_b)^2 eps_b (1 - eps_b) /
 * N_b.
 */
void pq_tagged_point(const pq_tagged *t, pq_flavour held, double rate, bool at_least,
                     pq_tag_point *out);

/** Rate of a flavour at a point, and its 68.3 % Clopper-Pearson interval, widened in its
 * logarithm by the error of the cut where `cut_error`. */
pq_value pq_tag_rate(const pq_tag_point *p, pq_flavour flavour, bool cut_error);

/** 1 / rate with the inverted interval. Where no jet passes, or their weights add up to
 * no more than 0: INFINITY, above lo at 84 % confidence, and a note. */
pq_value pq_tag_rejection(const pq_tag_point *p, pq_flavour flavour, bool cut_error);

#endif
