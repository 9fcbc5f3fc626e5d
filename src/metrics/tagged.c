#include "metrics/tagged.h"

#include <math.h>

#include "core/memory.h"
#include "metrics/rank.h"

static const double slack = 1e-12; /* of sums of weights against products */

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

/* Room for n jets and the sums of their blocks. */
static pq_status make_room(pq_tagged *t, size_t n, pq_err *err)
{
    pq_status st;

    PQ_NEW_UNSET(t->jets, n > 0 ? n : 1);
    PQ_NEW(t->sums, n / PQ_TAG_BLOCK + 1);
cleanup:
    return st;
}

/* Whether a cut can lie between a jet and the one before it. */
static bool is_new(const pq_tagged *t, size_t i)
{
    return i == 0 || t->jets[i].score < t->jets[i - 1].score;
}

/* Appends the next jet in falling order. */
static void append(pq_tagged *t, pq_jet jet)
{
    t->jets[t->n] = jet;
    if (is_new(t, t->n)) {
        t->distinct++;
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            t->most[f] = fmax(t->most[f], t->all[f].weight);
        }
    }
    t->total[jet.flavour] += (double)jet.weight;
    pq_fraction_add(&t->all[jet.flavour], (double)jet.weight, false);
    t->n++;
    if (t->n % PQ_TAG_BLOCK == 0) {
        pq_tag_sums *sums = &t->sums[t->n / PQ_TAG_BLOCK];
        for (size_t f = 0; f < PQ_FLAVOURS; f++) {
            sums->pass[f]    = t->all[f].weight;
            sums->squares[f] = t->all[f].squares;
            sums->most[f]    = t->most[f];
        }
    }
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
    PQ_TRY(make_room(&t, e->n, err));
    for (size_t k = 0; k < e->n; k++) {
        const size_t i = (size_t)(list[k] & PQ_RANK_NUMBER);
        append(&t, (pq_jet){.score   = score[i],
                            .weight  = (float)pq_evaluation_weight(e, i),
                            .event   = (uint32_t)i,
                            .flavour = (uint8_t)pq_flavour_of_event(e, i, classes)});
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
    PQ_TRY(make_room(&t, all->n, err));
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
    PQ_TRY(make_room(&t, n, err));
    for (size_t i = 0; i < all->n; i++) {
        if (keep[all->jets[i].event] == key) {
            append(&t, all->jets[i]);
        }
    }
    *out = t;
    t    = (pq_tagged){0};
cleanup:
    pq_tagged_free(&t);
    return st;
}

void pq_tagged_free(pq_tagged *t)
{
    pq_free(t->jets);
    pq_free(t->sums);
    *t = (pq_tagged){0};
}

/* Number of jets whose score is above a cut, or at it. */
static size_t count_above(const pq_tagged *t, double cut, bool at)
{
    size_t lo = 0, hi = t->n;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (t->jets[mid].score > cut || (at && t->jets[mid].score >= cut)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* The last block before which no cut lets `due` of a flavour pass (`reached`), or more:
 * the first that does is in it or ends with the jet before it, if there is any. */
static size_t find_block(const pq_tagged *t, pq_flavour flavour, double due, bool reached)
{
    size_t lo = 0, hi = t->n / PQ_TAG_BLOCK;

    while (lo < hi) {
        const size_t mid  = hi - (hi - lo) / 2;
        const double most = t->sums[mid].most[flavour];
        if (most < due || (!reached && most <= due)) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }
    return lo;
}

/* Number of the jet at the first cut at which the passing weight of a flavour reaches
 * `due` (`reached`) or exceeds it, the last of its score; n where none does. */
static size_t find_jet(const pq_tagged *t, pq_flavour flavour, double due, bool reached)
{
    const size_t block = find_block(t, flavour, due, reached);
    double       pass  = t->sums[block].pass[flavour];

    for (size_t i = block * PQ_TAG_BLOCK; i < t->n; i++) {
        if (i > 0 && is_new(t, i) && (pass > due || (reached && pass >= due))) {
            return i - 1;
        }
        pass += t->jets[i].flavour == (uint8_t)flavour ? (double)t->jets[i].weight : 0.0;
    }
    return t->n > 0 && (pass > due || (reached && pass >= due)) ? t->n - 1 : t->n;
}

double pq_tagged_cut_least(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double due = rate * t->total[flavour] * (1.0 - slack);

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    const size_t i = find_jet(t, flavour, due, true);
    return t->jets[i < t->n ? i : t->n - 1].score;
}

double pq_tagged_cut_most(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double most = rate * t->total[flavour] * (1.0 + slack);

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    const size_t i = find_jet(t, flavour, most, false); /* its whole tie is left out */
    const size_t n = i < t->n ? count_above(t, t->jets[i].score, false) : t->n;
    return n > 0 ? t->jets[n - 1].score : (double)INFINITY;
}

/* Weights of each flavour that pass, and their squares. */
static pq_tag_sums count_passing(const pq_tagged *t, double cut)
{
    const size_t n     = count_above(t, cut, true);
    const size_t block = n / PQ_TAG_BLOCK;
    pq_tag_sums  s     = t->sums[block];

    for (size_t i = block * PQ_TAG_BLOCK; i < n; i++) {
        const double w = (double)t->jets[i].weight;
        s.pass[t->jets[i].flavour] += w;
        s.squares[t->jets[i].flavour] += w * w;
    }
    return s;
}

void pq_tagged_at(const pq_tagged *t, double cut, pq_tag_point *out)
{
    const pq_tag_sums passing = count_passing(t, cut);

    *out = (pq_tag_point){.cut = cut};
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        out->side[f]              = t->all[f];
        out->side[f].pass         = passing.pass[f];
        out->side[f].pass_squares = passing.squares[f];
    }
}

void pq_tagged_point(const pq_tagged *t, pq_flavour held, double rate, bool at_least,
                     pq_tag_point *out)
{
    pq_tag_sums looser, tighter;
    double      error;

    pq_tagged_at(t,
                 at_least ? pq_tagged_cut_least(t, held, rate)
                          : pq_tagged_cut_most(t, held, rate),
                 out);
    error = sqrt(rate * (1.0 - rate) / pq_fraction_effective(&out->side[held]));
    if (!(error > 0.0)) {
        return;
    }
    looser  = count_passing(t, pq_tagged_cut_least(t, held, fmin(rate + error, 1.0)));
    tighter = count_passing(t, pq_tagged_cut_most(t, held, fmax(rate - error, 0.0)));
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        const double pass = out->side[f].pass;
        if (f != (size_t)held && pass > 0.0) {
            out->shift[f] = 0.5 * (looser.pass[f] - tighter.pass[f]) / pass;
        }
    }
}

pq_value pq_tag_rate(const pq_tag_point *p, pq_flavour flavour, bool cut_error)
{
    const pq_fraction *f     = &p->side[flavour];
    const double       value = pq_fraction_value(f);
    const double       shift = cut_error ? p->shift[flavour] : 0.0;
    pq_interval        i     = pq_fraction_clopper_pearson(f);

    if (fabs(shift) > 0.0 && value > 0.0) {
        const double most = fmax(i.hi, 1.0); /* above 1 with negative weights alone */
        i.lo = i.lo > 0.0 ? value * exp(-hypot(log(value / i.lo), shift)) : i.lo;
        i.hi = fmin(value * exp(hypot(log(i.hi / value), shift)), most);
    }
    return (pq_value){.value = value,
                      .lo    = i.lo,
                      .hi    = i.hi,
                      .n     = pq_fraction_effective(f),
                      .note  = pq_fraction_note(f)};
}

/* 1 / rate; of nothing, or less, infinite. */
static double over(double rate)
{
    return rate <= 0.0 ? (double)INFINITY : 1.0 / rate;
}

pq_value pq_tag_rejection(const pq_tag_point *p, pq_flavour flavour, bool cut_error)
{
    static const char none[] =
        "no jet passes: with 84 % confidence the rejection is above its lower end";
    static const char cancelled[] =
        "the weights of the jets that pass add up to no more than 0: with 84 % "
        "confidence the rejection is above its lower end, if there is one";
    const bool     passes = p->side[flavour].pass_squares > 0.0;
    const pq_value v      = pq_tag_rate(p, flavour, cut_error);

    return (pq_value){.value  = over(v.value),
                      .lo     = v.hi > 0.0 ? 1.0 / v.hi : (double)NAN,
                      .hi     = over(v.lo),
                      .n      = v.n,
                      .better = PQ_BETTER_HIGHER,
                      .note   = !(v.value <= 0.0) ? v.note
                                : passes          ? cancelled
                                                  : none};
}
