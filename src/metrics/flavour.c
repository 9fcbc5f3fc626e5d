#include "metrics/flavour.h"

#include <math.h>
#include <strings.h>

/* Names in use, the first is ours. */
static const char *const known[PQ_FLAVOURS][7] = {
    {"b", "bjets", "b-jets", "bottom", "pb", "bjet", NULL},
    {"c", "cjets", "c-jets", "charm", "pc", "cjet", NULL},
    {"light", "u", "l", "ujets", "udsg", "light-jets", NULL},
    {"tau", "taujets", "tau-jets", "ptau", NULL},
};

const char *pq_flavour_name(pq_flavour flavour)
{
    return known[flavour][0];
}

static size_t flavour_of(const char *name)
{
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        for (size_t i = 0; known[f][i] != NULL; i++) {
            if (strcasecmp(name, known[f][i]) == 0) {
                return f;
            }
        }
    }
    return PQ_FLAVOURS;
}

pq_status pq_flavours_find(size_t n, const char *const *names, pq_flavours *out,
                           pq_err *err)
{
    pq_flavours found = {{SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX}};
    pq_status   st;

    for (size_t i = 0; i < n; i++) {
        const size_t f = flavour_of(names[i]);
        PQ_CHECK(f < PQ_FLAVOURS && found.at[f] == SIZE_MAX, PQ_ERR_CONFIG,
                 "class '%s' is none of b, c, light and tau, or the second of one",
                 names[i]);
        found.at[f] = i;
    }
    PQ_CHECK(found.at[PQ_FLAVOUR_B] != SIZE_MAX && found.at[PQ_FLAVOUR_LIGHT] != SIZE_MAX,
             PQ_ERR_CONFIG, "b-tagging needs classes b and light (and c): there is no %s",
             found.at[PQ_FLAVOUR_B] == SIZE_MAX ? "b" : "light");
    *out = found;
cleanup:
    return st;
}

pq_status pq_flavour_shares_make(const pq_flavours *classes, pq_flavour signal,
                                 double other, double tau, pq_flavour_shares *out,
                                 pq_err *err)
{
    const pq_flavour  minor  = signal == PQ_FLAVOUR_B ? PQ_FLAVOUR_C : PQ_FLAVOUR_B;
    pq_flavour_shares shares = {{0.0}};
    pq_status         st;

    PQ_CHECK(other >= 0.0 && other <= 1.0, PQ_ERR_RANGE, "f_%s = %g is not in 0..1",
             known[minor][0], other);
    PQ_CHECK(tau >= 0.0 && tau <= 1.0, PQ_ERR_RANGE, "f_tau = %g is not in 0..1", tau);
    PQ_CHECK(other + tau <= 1.0 + 1e-12, PQ_ERR_RANGE,
             "f_%s + f_tau = %g + %g is above 1: light jets have what is left",
             known[minor][0], other, tau);
    PQ_CHECK(!(tau > 0.0) || classes->at[PQ_FLAVOUR_TAU] != SIZE_MAX, PQ_ERR_CONFIG,
             "f_tau = %g, but there is no class of tau jets", tau);
    shares.of[minor]            = classes->at[minor] != SIZE_MAX ? other : 0.0;
    shares.of[PQ_FLAVOUR_TAU]   = tau;
    shares.of[PQ_FLAVOUR_LIGHT] = fmax(1.0 - shares.of[minor] - tau, 0.0);
    *out                        = shares;
cleanup:
    return st;
}

pq_flavour pq_flavour_of_event(const pq_evaluation *e, size_t event,
                               const pq_flavours *classes)
{
    pq_flavour found = PQ_FLAVOUR_TAU;

    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        found = classes->at[f] == (size_t)e->labels[event] ? (pq_flavour)f : found;
    }
    return found;
}

static double logit_of(const pq_evaluation *e, size_t event, size_t class_index)
{
    return e->head == PQ_HEAD_LOGITS && e->width > 1
               ? (double)e->outputs[event * e->width + class_index]
               : log(fmax(pq_evaluation_probability(e, event, class_index), 1e-10));
}

void pq_flavour_logits(const pq_evaluation *e, size_t event, const pq_flavours *classes,
                       double out[PQ_FLAVOURS])
{
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        out[f] = classes->at[f] != SIZE_MAX ? logit_of(e, event, classes->at[f])
                                            : -(double)INFINITY;
    }
}

double pq_flavour_discriminant(const pq_evaluation *e, size_t event,
                               const pq_flavours *classes, pq_flavour signal,
                               const pq_flavour_shares *shares)
{
    double l[PQ_FLAVOURS], top = -(double)INFINITY, sum = 0.0;

    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        if (f == (size_t)signal || shares->of[f] > 0.0) {
            l[f] = logit_of(e, event, classes->at[f]);
        }
        if (shares->of[f] > 0.0) {
            top = fmax(top, l[f]);
        }
    }
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        sum += shares->of[f] > 0.0 ? shares->of[f] * exp(l[f] - top) : 0.0;
    }
    return l[signal] - top - log(sum);
}
