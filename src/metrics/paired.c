#include "metrics/paired.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/text.h"
#include "metrics/tests.h"

enum { REPLICAS = 1000, CELLS = 4, FIRST = 1, SECOND = 2 };

/* Sums of weights and of their squares of the jets of a flavour that pass the first's cut
 * (FIRST), the second's (SECOND), both, or none: of weights from 0 on, and of negative
 * ones without their sign. */
typedef struct {
    pq_weight_sum sum[PQ_FLAVOURS][CELLS], less[PQ_FLAVOURS][CELLS];
    size_t        alone[PQ_FLAVOURS][CELLS]; /* jets */
} cells;

/* Score of each event's jet in the first, by the number of the event. */
static pq_status index_first(const pq_tagged *first, const pq_tagged *second,
                             double **scores, pq_err *err)
{
    uint8_t  *flavours = NULL;
    float    *weights  = NULL;
    pq_status st;

    PQ_CHECK(first->n == second->n, PQ_ERR_CONFIG,
             "there are %zu jets of one model and %zu of the other", first->n, second->n);
    PQ_NEW_UNSET(*scores, first->n);
    PQ_NEW_UNSET(flavours, first->n);
    PQ_NEW_UNSET(weights, first->n);
    for (size_t i = 0; i < first->n; i++) {
        const pq_jet *jet     = &first->jets[i];
        (*scores)[jet->event] = jet->score;
        flavours[jet->event]  = jet->flavour;
        weights[jet->event]   = jet->weight;
    }
    for (size_t i = 0; i < second->n; i++) {
        const pq_jet *jet = &second->jets[i];
        PQ_CHECK(flavours[jet->event] == jet->flavour, PQ_ERR_CONFIG,
                 "jet %u is %s of one model and %s of the other", jet->event,
                 pq_flavour_name((pq_flavour)flavours[jet->event]),
                 pq_flavour_name((pq_flavour)jet->flavour));
        PQ_CHECK(!(weights[jet->event] < jet->weight) &&
                     !(weights[jet->event] > jet->weight),
                 PQ_ERR_CONFIG, "jet %u has other weights in the two models", jet->event);
    }
cleanup:
    pq_free(flavours);
    pq_free(weights);
    return st;
}

static void count_cells(const double *first, double first_cut, const pq_tagged *second,
                        double second_cut, cells *out)
{
    *out = (cells){0};
    for (size_t i = 0; i < second->n; i++) {
        const pq_jet *jet  = &second->jets[i];
        const int     cell = (first[jet->event] >= first_cut ? FIRST : 0) |
                         (jet->score >= second_cut ? SECOND : 0);
        pq_weight_add(jet->weight < 0.0F ? &out->less[jet->flavour][cell]
                                         : &out->sum[jet->flavour][cell],
                      fabs((double)jet->weight));
        out->alone[jet->flavour][cell]++;
    }
}

/* A Poisson number: by products of uniforms, of large means by the normal distribution.
 */
static double poisson(double mean, pq_rng *rng)
{
    const double least = exp(-mean);
    double       product, k = -1.0;

    if (mean > 200.0) {
        return fmax(floor(mean + sqrt(mean) * pq_rng_normal(rng) + 0.5), 0.0);
    }
    product = 1.0;
    do {
        product *= pq_rng_uniform(rng);
        k += 1.0;
    } while (product > least);
    return k;
}

static double draw(pq_weight_sum s, pq_rng *rng)
{
    return s.sum > 0.0
               ? s.sum_squares / s.sum * poisson(s.sum * s.sum / s.sum_squares, rng)
               : 0.0;
}

/* Rates of a flavour at both cuts in one replica; NAN where its weights do not add up to
 * more than 0. */
static void draw_rates(const cells *of, pq_flavour f, pq_rng *rng, double rates[2])
{
    double x[CELLS], all = 0.0;

    for (size_t c = 0; c < CELLS; c++) {
        x[c] = draw(of->sum[f][c], rng) - draw(of->less[f][c], rng);
        all += x[c];
    }
    all      = all > 0.0 ? all : (double)NAN;
    rates[0] = (x[FIRST] + x[FIRST | SECOND]) / all;
    rates[1] = (x[SECOND] + x[FIRST | SECOND]) / all;
}

/* NAN stays. */
static double not_below_0(double x)
{
    return x < 0.0 ? 0.0 : x;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Change of the logarithm of a background's rate with the b efficiency. */
static double slope(const pq_tag_point *p, pq_flavour background, double rate)
{
    const double n = pq_fraction_effective(&p->side[PQ_FLAVOUR_B]);

    return n > 0.0 && rate < 1.0 ? p->shift[background] / sqrt(rate * (1.0 - rate) / n)
                                 : 0.0;
}

/* 15.87 % and 84.13 % of the replicas of first rate / second rate, both at working points
 * of their own: ln eps_u moves back by slope (eps_b* - eps_b). */
static pq_interval bootstrap(const cells *c, const pq_tag_point points[2],
                             pq_flavour background, double rate)
{
    const double tail = 0.5 * (1.0 - PQ_ONE_SIGMA);
    double       ratios[REPLICAS];
    size_t       n   = 0;
    pq_rng       rng = pq_rng_stream((uint64_t)background, "paired");

    for (size_t r = 0; r < REPLICAS; r++) {
        double b[2], u[2], back = 0.0;
        draw_rates(c, PQ_FLAVOUR_B, &rng, b);
        draw_rates(c, background, &rng, u);
        for (size_t k = 0; k < 2; k++) {
            const double off = b[k] - pq_fraction_value(&points[k].side[PQ_FLAVOUR_B]);
            back += (k == 0 ? -1.0 : 1.0) * slope(&points[k], background, rate) * off;
        }
        const double ratio = not_below_0(u[0]) / not_below_0(u[1]) * exp(back);
        if (!isnan(ratio)) {
            ratios[n++] = ratio;
        }
    }
    if (n == 0) {
        return (pq_interval){(double)NAN, (double)NAN};
    }
    qsort(ratios, n, sizeof *ratios, by_value);
    return (pq_interval){ratios[(size_t)(tail * (double)n)],
                         ratios[(size_t)((1.0 - tail) * (double)(n - 1))]};
}

static bool has_weights(const cells *c, pq_flavour f)
{
    for (size_t k = 0; k < CELLS; k++) {
        const double n = (double)c->alone[f][k];
        if (fabs(c->sum[f][k].sum - n) > 0.0 ||
            fabs(c->sum[f][k].sum_squares - n) > 0.0) {
            return true;
        }
    }
    return false;
}

static pq_weight_sum difference(pq_weight_sum sum, pq_weight_sum less)
{
    return (pq_weight_sum){sum.sum - less.sum, sum.sum_squares + less.sum_squares};
}

/* The bootstrap knows only jets that it has: few that one model alone passes say little.
 */
static const char *note(const cells *c, pq_flavour background)
{
    const pq_weight_sum *sum = c->sum[background], *less = c->less[background];
    const pq_weight_sum  first  = difference(sum[FIRST], less[FIRST]);
    const pq_weight_sum  second = difference(sum[SECOND], less[SECOND]);
    const bool           there  = first.sum_squares + second.sum_squares > 0.0;

    return there && pq_weight_effective(first) + pq_weight_effective(second) <
                        PQ_FEW_EFFECTIVE
               ? "fewer than 10 jets pass one of the two models alone: the interval may "
                 "be "
                 "too narrow"
               : NULL;
}

/* Where no jet passes one of the two there is nothing to draw from: the ratio ends where
 * the other's rejection is over the lower end of that one's; of neither it is unknown. */
static pq_value limited(const pq_tag_pair *p)
{
    const bool first = isinf(p->first.value), second = isinf(p->second.value);
    pq_value   v = {.value  = first && second ? (double)NAN
                              : first         ? 0.0
                                              : (double)INFINITY,
                    .lo     = (double)NAN,
                    .hi     = (double)NAN,
                    .n      = p->second.n,
                    .better = PQ_BETTER_HIGHER,
                    .note   = "no jet passes one of the two models, or their weights "
                                "add up to no more than 0: with 84 % confidence the ratio "
                                "is on this side of its finite end"};

    if (first && !second) {
        v.lo = 0.0;
        v.hi = p->second.value / p->first.lo;
    } else if (second && !first) {
        v.lo = p->second.lo / p->first.value;
        v.hi = (double)INFINITY;
    }
    return v;
}

static pq_tag_pair compare(const cells *c, const pq_tag_point points[2],
                           const pq_tag_point *reused, pq_flavour background, double rate,
                           bool cut_error)
{
    const pq_interval i    = bootstrap(c, points, background, rate);
    pq_tag_pair       pair = {
              .rate       = rate,
              .background = background,
              .first      = pq_tag_rejection(&points[0], background, cut_error),
              .second     = pq_tag_rejection(&points[1], background, cut_error),
              .reused     = pq_tag_rejection(reused, background, false),
              .efficiency = pq_tag_rate(reused, PQ_FLAVOUR_B, false),
              .p          = has_weights(c, background)
                                ? (double)NAN
                                : pq_test_discordant(c->alone[background][FIRST],
                                                     c->alone[background][SECOND]),
    };

    if (!(pq_fraction_value(&points[0].side[background]) > 0.0) ||
        !(pq_fraction_value(&points[1].side[background]) > 0.0)) {
        pair.ratio = limited(&pair);
        return pair;
    }
    pair.ratio = (pq_value){.value = pq_fraction_value(&points[0].side[background]) /
                                     pq_fraction_value(&points[1].side[background]),
                            .lo     = i.lo,
                            .hi     = i.hi,
                            .n      = pair.second.n,
                            .better = PQ_BETTER_HIGHER,
                            .note   = note(c, background)};
    return pair;
}

pq_status pq_tagged_compare(const pq_tagged *first, const pq_tagged *second,
                            const pq_reals *rates, bool cut_error, pq_tag_pair **out,
                            size_t *n, pq_err *err)
{
    static const pq_flavour order[] = {PQ_FLAVOUR_LIGHT, PQ_FLAVOUR_C, PQ_FLAVOUR_TAU};
    double                 *scores  = NULL;
    pq_tag_pair            *pairs   = NULL;
    size_t                  count   = 0;
    cells                   c;
    pq_tag_point            points[2], reused;
    pq_status               st;

    PQ_TRY(index_first(first, second, &scores, err));
    PQ_NEW(pairs, rates->n * 3 + 1);
    for (size_t i = 0; i < rates->n; i++) {
        pq_tagged_point(first, PQ_FLAVOUR_B, rates->value[i], true, &points[0]);
        pq_tagged_point(second, PQ_FLAVOUR_B, rates->value[i], true, &points[1]);
        pq_tagged_at(second, points[0].cut, &reused);
        count_cells(scores, points[0].cut, second, points[1].cut, &c);
        for (size_t k = 0; k < 3; k++) {
            if (first->total[order[k]] > 0.0) {
                pairs[count++] =
                    compare(&c, points, &reused, order[k], rates->value[i], cut_error);
            }
        }
    }
    *out  = pairs;
    *n    = count;
    pairs = NULL;
cleanup:
    pq_free(scores);
    pq_free(pairs);
    return st;
}

static pq_status add_pairs(const pq_tag_pair *pairs, size_t n, pq_values *out,
                           pq_err *err)
{
    char      what[48];
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        char       *prefix = pq_btag_name(PQ_FLAVOUR_B, pairs[i].rate);
        const char *name   = pq_flavour_name(pairs[i].background);
        PQ_CHECK(prefix != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
        st =
            i > 0 && !(pairs[i].rate < pairs[i - 1].rate) &&
                    !(pairs[i].rate > pairs[i - 1].rate)
                ? PQ_OK
                : pq_btag_add(out, prefix, "efficiency_reused", pairs[i].efficiency, err);
        pq_snprintf(what, sizeof what, "rejection_%s_reused", name);
        st = st == PQ_OK ? pq_btag_add(out, prefix, what, pairs[i].reused, err) : st;
        pq_snprintf(what, sizeof what, "rejection_%s_ratio", name);
        st = st == PQ_OK ? pq_btag_add(out, prefix, what, pairs[i].ratio, err) : st;
        pq_free(prefix);
        PQ_TRY(st);
    }
cleanup:
    return st;
}

pq_status pq_btag_add_paired(const pq_tagged *reference, const pq_tagged *jets,
                             const pq_btag_params *params, pq_values *out, pq_err *err)
{
    pq_btag_params        defaults = {0};
    const pq_btag_params *p        = params != NULL ? params : &defaults;
    pq_tag_pair          *pairs    = NULL;
    size_t                n        = 0;
    pq_status             st;

    PQ_TRY(pq_params_default(pq_btag_table, &defaults, err));
    PQ_TRY(pq_tagged_compare(reference, jets, &p->working_points, p->cut_error, &pairs,
                             &n, err));
    PQ_TRY(add_pairs(pairs, n, out, err));
cleanup:
    pq_free(pairs);
    pq_params_free(pq_btag_table, &defaults);
    return st;
}
