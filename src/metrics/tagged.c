#include "metrics/tagged.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/rank.h"

static const double slack = 1e-12; /* of sums of weights against products */

static pq_jet jet_of(const pq_evaluation *e, const pq_flavours *classes, size_t i)
{
    pq_jet jet = {.weight  = (float)pq_evaluation_weight(e, i),
                  .event   = (uint32_t)i,
                  .flavour = PQ_FLAVOUR_TAU};

    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        if (classes->at[f] == (size_t)e->labels[i]) {
            jet.flavour = (uint8_t)f;
        }
    }
    return jet;
}

/* Numbers of events in falling order of score, equal ones in order of their numbers. */
static pq_status sort_scores(const double *score, size_t n, uint64_t **out, pq_err *err)
{
    uint64_t *keys = NULL, *list = NULL, *spare = NULL;
    pq_status st;

    PQ_NEW_UNSET(keys, n);
    PQ_NEW_UNSET(list, n);
    PQ_NEW_UNSET(spare, n);
    for (size_t i = 0; i < n; i++) {
        keys[i] = pq_rank_key(-score[i]);
    }
    pq_rank_sort(keys, list, spare, n);
    *out = list;
    list = NULL;
cleanup:
    pq_free(keys);
    pq_free(list);
    pq_free(spare);
    return st;
}

/* Appends the next jet in falling order. */
static void append(pq_tagged *t, pq_jet jet)
{
    t->jets[t->n] = jet;
    t->total[jet.flavour] += (double)jet.weight;
    t->distinct += t->n == 0 || jet.score < t->jets[t->n - 1].score ? 1 : 0;
    t->n++;
}

pq_status pq_tagged_make(const pq_evaluation *e, const pq_flavours *classes,
                         pq_flavour signal, const pq_flavour_shares *shares,
                         pq_tagged *out, pq_err *err)
{
    pq_tagged t     = {0};
    uint64_t *list  = NULL;
    double   *score = NULL;
    pq_status st;

    PQ_CHECK(e->n < UINT32_MAX, PQ_ERR_RANGE, "%zu jets are more than 2^32", e->n);
    PQ_NEW_UNSET(score, e->n);
    for (size_t i = 0; i < e->n; i++) {
        score[i] = pq_flavour_discriminant(e, i, classes, signal, shares);
    }
    PQ_TRY(sort_scores(score, e->n, &list, err));
    PQ_NEW_UNSET(t.jets, e->n);
    for (size_t k = 0; k < e->n; k++) {
        const size_t i   = (size_t)(list[k] & PQ_RANK_NUMBER);
        pq_jet       jet = jet_of(e, classes, i);
        jet.score        = score[i];
        append(&t, jet);
    }
    *out = t;
    t    = (pq_tagged){0};
cleanup:
    pq_free(score);
    pq_free(list);
    pq_tagged_free(&t);
    return st;
}

pq_status pq_tagged_rescored(const pq_tagged *all, const double *scores, pq_tagged *out,
                             pq_err *err)
{
    pq_tagged t     = {0};
    uint64_t *list  = NULL;
    size_t   *place = NULL; /* in `all`, by the number of the event */
    pq_status st;

    PQ_TRY(sort_scores(scores, all->n, &list, err));
    PQ_NEW_UNSET(place, all->n);
    PQ_NEW_UNSET(t.jets, all->n);
    for (size_t k = 0; k < all->n; k++) {
        place[all->jets[k].event] = k;
    }
    for (size_t k = 0; k < all->n; k++) {
        const size_t i   = (size_t)(list[k] & PQ_RANK_NUMBER);
        pq_jet       jet = all->jets[place[i]];
        jet.score        = scores[i];
        append(&t, jet);
    }
    *out = t;
    t    = (pq_tagged){0};
cleanup:
    pq_free(list);
    pq_free(place);
    pq_tagged_free(&t);
    return st;
}

pq_status pq_tagged_subset(const pq_tagged *all, const uint32_t *keep, uint32_t key,
                           pq_tagged *out, pq_err *err)
{
    pq_tagged t = {0};
    size_t    n = 0;
    pq_status st;

    for (size_t i = 0; i < all->n; i++) {
        n += keep[all->jets[i].event] == key ? 1 : 0;
    }
    PQ_NEW_UNSET(t.jets, n > 0 ? n : 1);
    for (size_t i = 0; i < all->n; i++) {
        const pq_jet *jet = &all->jets[i];
        if (keep[jet->event] == key) {
            t.distinct += t.n == 0 || jet->score < t.jets[t.n - 1].score ? 1 : 0;
            t.total[jet->flavour] += (double)jet->weight;
            t.jets[t.n++] = *jet;
        }
    }
    *out = t;
cleanup:
    return st;
}

void pq_tagged_free(pq_tagged *t)
{
    pq_free(t->jets);
    *t = (pq_tagged){0};
}

static size_t end_of_tie(const pq_tagged *t, size_t first)
{
    size_t end = first + 1;

    while (end < t->n && t->jets[end].score >= t->jets[first].score) {
        end++;
    }
    return end;
}

double pq_tagged_cut_least(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double due  = rate * t->total[flavour] * (1.0 - slack);
    double       pass = 0.0;

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    for (size_t i = 0; i < t->n; i++) {
        pass += t->jets[i].flavour == (uint8_t)flavour ? (double)t->jets[i].weight : 0.0;
        if (pass >= due) {
            return t->jets[i].score;
        }
    }
    return t->jets[t->n - 1].score;
}

double pq_tagged_cut_most(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double most = rate * t->total[flavour] * (1.0 + slack);
    double       pass = 0.0, cut = (double)INFINITY;

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    for (size_t i = 0, end; i < t->n; i = end) {
        end = end_of_tie(t, i);
        for (size_t k = i; k < end; k++) {
            pass +=
                t->jets[k].flavour == (uint8_t)flavour ? (double)t->jets[k].weight : 0.0;
        }
        if (pass > most) {
            break;
        }
        cut = t->jets[i].score;
    }
    return cut;
}

void pq_tagged_at(const pq_tagged *t, double cut, pq_tag_point *out)
{
    *out = (pq_tag_point){.cut = cut};
    for (size_t i = 0; i < t->n; i++) {
        const pq_jet *jet = &t->jets[i];
        pq_fraction_add(&out->side[jet->flavour], (double)jet->weight, jet->score >= cut);
    }
}

/* Weights of each flavour that pass. */
static void count_passing(const pq_tagged *t, double cut, double pass[PQ_FLAVOURS])
{
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        pass[f] = 0.0;
    }
    for (size_t i = 0; i < t->n && t->jets[i].score >= cut; i++) {
        pass[t->jets[i].flavour] += (double)t->jets[i].weight;
    }
}

void pq_tagged_point(const pq_tagged *t, pq_flavour held, double rate, bool at_least,
                     pq_tag_point *out)
{
    double error, looser[PQ_FLAVOURS], tighter[PQ_FLAVOURS];

    pq_tagged_at(t,
                 at_least ? pq_tagged_cut_least(t, held, rate)
                          : pq_tagged_cut_most(t, held, rate),
                 out);
    error = sqrt(rate * (1.0 - rate) / pq_fraction_effective(&out->side[held]));
    if (!(error > 0.0)) {
        return;
    }
    count_passing(t, pq_tagged_cut_least(t, held, fmin(rate + error, 1.0)), looser);
    count_passing(t, pq_tagged_cut_most(t, held, fmax(rate - error, 0.0)), tighter);
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        const double pass = out->side[f].pass;
        if (f != (size_t)held && pass > 0.0) {
            out->shift[f] = 0.5 * (looser[f] - tighter[f]) / pass;
        }
    }
}

pq_value pq_tag_rate(const pq_tag_point *p, pq_flavour flavour, bool cut_error)
{
    const pq_fraction *f     = &p->side[flavour];
    const double       value = pq_fraction_value(f);
    const double       shift = cut_error ? p->shift[flavour] : 0.0;
    pq_interval        i     = pq_fraction_clopper_pearson(f);

    if (shift > 0.0 && value > 0.0) {
        i.lo = i.lo > 0.0 ? value * exp(-hypot(log(value / i.lo), shift)) : 0.0;
        i.hi = fmin(value * exp(hypot(log(i.hi / value), shift)), 1.0);
    }
    return (pq_value){.value = value,
                      .lo    = i.lo,
                      .hi    = i.hi,
                      .n     = pq_fraction_effective(f),
                      .note  = pq_fraction_note(f)};
}

pq_value pq_tag_rejection(const pq_tag_point *p, pq_flavour flavour, bool cut_error)
{
    static const char none[] =
        "no jet passes: with 84 % confidence the rejection is above its lower end";
    pq_value v = pq_tag_rate(p, flavour, cut_error);

    return (pq_value){.value  = 1.0 / v.value, /* of nothing: infinite */
                      .lo     = 1.0 / v.hi,
                      .hi     = 1.0 / v.lo,
                      .n      = v.n,
                      .better = PQ_BETTER_HIGHER,
                      .note   = v.value <= 0.0 ? none : v.note};
}
