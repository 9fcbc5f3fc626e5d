/* Cuts and what passes them, looked up in sums of blocks, against plain passes over all
 * jets: equal to the bit. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "metrics/btag_curves.h"

enum { LARGEST = 5 * PQ_TAG_BLOCK + 1 };

static const char *const names[] = {"light", "c", "b", "tau"};
static float             outputs[LARGEST * 4], weights[LARGEST];
static int32_t           labels[LARGEST];

typedef struct {
    size_t n, distinct; /* scores: so many, or any */
    bool   weighted;    /* a fifth of them 0 */
    bool   one_flavour; /* all but the first two are light */
    bool   negative;    /* a quarter of the weights */
} sample;

static const sample samples[] = {
    {2, 0, false, false, false},
    {3, 1, true, false, false},
    {PQ_TAG_BLOCK - 1, 0, false, false, false},
    {PQ_TAG_BLOCK, 0, true, false, false},
    {PQ_TAG_BLOCK, 1, false, false, false},
    {PQ_TAG_BLOCK + 1, 7, true, false, false},
    {2 * PQ_TAG_BLOCK, 3, true, false, false},
    {3 * PQ_TAG_BLOCK + 17, 40, false, false, false},
    {LARGEST, 0, true, false, false},
    {LARGEST, 0, false, true, false},
    {LARGEST, 5, true, true, false},
    {PQ_TAG_BLOCK + 1, 7, true, false, true},
    {2 * PQ_TAG_BLOCK, 0, true, false, true},
    {LARGEST, 0, true, false, true},
    {LARGEST, 300, true, true, true},
};

/* Logits of which D_b without c and tau is that of b. */
static pq_evaluation make(const sample *s)
{
    pq_rng rng = pq_rng_stream(s->n + s->distinct, "tagged");

    for (size_t i = 0; i < s->n; i++) {
        const size_t f = (size_t)(4.0 * pq_rng_uniform(&rng));
        const double x = 2.0 * pq_rng_normal(&rng) + (f == 2 ? 3.0 : 0.0);
        const double u = pq_rng_uniform(&rng);
        labels[i]      = i == 0 ? 2 : i == 1 || s->one_flavour ? 0 : (int32_t)f;
        weights[i]     = u < 0.2 && i > 1 ? 0.0F : (float)(0.1 + 3.0 * u * u);
        weights[i] *= s->negative && i > 1 && pq_rng_uniform(&rng) < 0.25 ? -1.0F : 1.0F;
        outputs[4 * i]     = 0.0F;
        outputs[4 * i + 1] = (float)pq_rng_normal(&rng);
        outputs[4 * i + 3] = (float)pq_rng_normal(&rng);
        outputs[4 * i + 2] =
            s->distinct > 0 ? (float)((size_t)(fabs(x) * 5.0) % s->distinct) : (float)x;
    }
    return (pq_evaluation){.n           = s->n,
                           .classes     = 4,
                           .width       = 4,
                           .class_names = names,
                           .head        = PQ_HEAD_LOGITS,
                           .outputs     = outputs,
                           .labels      = labels,
                           .negative    = s->negative,
                           .weights     = s->weighted ? weights : NULL};
}

static pq_tagged jets_of(const pq_evaluation *e)
{
    pq_btag_params p   = {0};
    pq_tagged      out = {0};

    cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
    p.f_c = 0.0;
    cr_assert_eq(pq_btag_jets(e, PQ_FLAVOUR_B, &p, &out, NULL), PQ_OK);
    pq_params_free(pq_btag_table, &p);
    return out;
}

static double plain_least(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double due  = rate * t->total[flavour] * (1.0 - 1e-12);
    double       pass = 0.0;

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    for (size_t i = 0, end; i < t->n; i = end) {
        for (end = i; end < t->n && t->jets[end].score >= t->jets[i].score; end++) {
            pass += t->jets[end].flavour == flavour ? (double)t->jets[end].weight : 0.0;
        }
        if (pass >= due) {
            return t->jets[i].score;
        }
    }
    return t->jets[t->n - 1].score;
}

static double plain_most(const pq_tagged *t, pq_flavour flavour, double rate)
{
    const double most = rate * t->total[flavour] * (1.0 + 1e-12);
    double       pass = 0.0, cut = (double)INFINITY;

    if (!(t->total[flavour] > 0.0)) {
        return (double)NAN;
    }
    for (size_t i = 0, end; i < t->n; i = end) {
        for (end = i; end < t->n && t->jets[end].score >= t->jets[i].score; end++) {
            pass += t->jets[end].flavour == flavour ? (double)t->jets[end].weight : 0.0;
        }
        if (pass > most) {
            break;
        }
        cut = t->jets[i].score;
    }
    return cut;
}

static void plain_at(const pq_tagged *t, double cut, pq_fraction side[PQ_FLAVOURS])
{
    memset(side, 0, PQ_FLAVOURS * sizeof *side);
    for (size_t i = 0; i < t->n; i++) {
        pq_fraction_add(&side[t->jets[i].flavour], (double)t->jets[i].weight,
                        t->jets[i].score >= cut);
    }
}

static void expect_bits(double a, double b, const char *what, double where)
{
    cr_expect_eq(memcmp(&a, &b, sizeof a), 0, "%s at %.17g: %.17g and %.17g", what, where,
                 a, b);
}

static void expect_at(const pq_tagged *t, double cut)
{
    pq_tag_point p;
    pq_fraction  due[PQ_FLAVOURS];

    pq_tagged_at(t, cut, &p);
    plain_at(t, cut, due);
    expect_bits(p.cut, cut, "cut", cut);
    cr_expect_eq(memcmp(p.side, due, sizeof due), 0, "%zu jets, cut %.17g", t->n, cut);
}

static void expect_cuts(const pq_tagged *t)
{
    for (size_t f = 0; f < PQ_FLAVOURS; f++) {
        for (size_t k = 0; k <= 60; k++) {
            const double rate  = k < 3 ? (double)k * 1e-4 : (double)k / 60.0;
            const double least = pq_tagged_cut_least(t, (pq_flavour)f, rate);
            const double most  = pq_tagged_cut_most(t, (pq_flavour)f, rate);
            cr_expect_eq(isnan(least), !(t->total[f] > 0.0));
            cr_expect_eq(isnan(most), !(t->total[f] > 0.0));
            if (t->total[f] > 0.0) {
                expect_bits(least, plain_least(t, (pq_flavour)f, rate), "least", rate);
                expect_bits(most, plain_most(t, (pq_flavour)f, rate), "most", rate);
                expect_at(t, least);
                expect_at(t, most);
            }
        }
    }
}

static void expect_all(const pq_tagged *t)
{
    expect_cuts(t);
    expect_at(t, -(double)INFINITY);
    expect_at(t, (double)INFINITY);
    expect_at(t, t->jets[0].score + 1.0);
    expect_at(t, t->jets[t->n - 1].score - 1.0);
    for (size_t i = 0; i < t->n; i += 97) {
        expect_at(t, t->jets[i].score);
        expect_at(t, nextafter(t->jets[i].score, (double)INFINITY));
    }
}

Test(tagged, cuts_and_sums_are_those_of_plain_passes)
{
    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
        const pq_evaluation e = make(&samples[s]);
        pq_tagged           t = jets_of(&e);
        expect_all(&t);
        pq_tagged_free(&t);
    }
}

Test(tagged, subsets_and_other_scores_have_sums_of_their_own)
{
    static uint32_t keep[LARGEST];
    static double   scores[LARGEST];

    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
        const pq_evaluation e = make(&samples[s]);
        pq_tagged           t = jets_of(&e), part = {0}, other = {0};
        pq_rng              rng  = pq_rng_stream(s, "subset");
        size_t              kept = 0;
        for (size_t i = 0; i < e.n; i++) {
            keep[i]   = i == 0 || pq_rng_uniform(&rng) < 0.6 ? 1 : 0;
            scores[i] = floor(20.0 * pq_rng_normal(&rng)) / 4.0;
            kept += keep[i];
        }
        cr_assert_eq(pq_tagged_subset(&t, keep, 1, &part, NULL), PQ_OK);
        cr_assert_eq(part.n, kept);
        expect_all(&part);
        cr_assert_eq(pq_tagged_rescored(&t, scores, &other, NULL), PQ_OK);
        cr_assert_eq(other.n, e.n);
        expect_all(&other);
        pq_tagged_free(&part);
        cr_assert_eq(pq_tagged_subset(&t, keep, 2, &part, NULL), PQ_OK);
        cr_expect_eq(part.n, 0);
        cr_expect(isnan(pq_tagged_cut_least(&part, PQ_FLAVOUR_B, 0.7)));
        cr_expect(isnan(pq_tagged_cut_most(&part, PQ_FLAVOUR_B, 0.7)));
        pq_tagged_free(&part);
        pq_tagged_free(&other);
        pq_tagged_free(&t);
    }
}

/* With weights, ties, logits far apart and a share of tau: rejections of the scan are
 * those of the jets sorted anew at each f_c. 1 - (1 - 0.1) - 0.1 rounds below 0. */
Test(tagged, the_scan_is_the_jets_sorted_at_each_f_c)
{
    static const struct {
        double f_tau;
        float  factor; /* of logits without ties, which rounding would part */
    } cases[] = {{0.0, 1.0F}, {0.05, 1.0F}, {0.1, 20.0F}};

    for (size_t s = 3; s < sizeof samples / sizeof *samples; s++) {
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            const pq_evaluation   e = make(&samples[s]);
            static pq_btag_curves c;
            pq_btag_params        p = {0};
            cr_assert_eq(pq_params_default(pq_btag_table, &p, NULL), PQ_OK);
            p.f_tau = cases[k].f_tau;
            for (size_t i = 0; samples[s].distinct == 0 && i < 4 * e.n; i++) {
                outputs[i] *= cases[k].factor;
            }
            cr_assert_eq(pq_btag_curves_make(&e, &p, &c, NULL), PQ_OK);
            for (size_t i = 0; i <= PQ_BTAG_SCAN; i++) {
                pq_tagged   t = {0};
                pq_fraction side[PQ_FLAVOURS];
                p.f_c = c.scan[i][0];
                cr_assert_eq(pq_btag_jets(&e, PQ_FLAVOUR_B, &p, &t, NULL), PQ_OK);
                plain_at(&t, plain_least(&t, PQ_FLAVOUR_B, p.bin_working_point), side);
                cr_expect_float_eq(1.0 / c.scan[i][1],
                                   fmax(pq_fraction_value(&side[PQ_FLAVOUR_LIGHT]), 0.0),
                                   1e-12, "sample %zu, f_c %g: %g", s, p.f_c,
                                   c.scan[i][1]);
                if (t.total[PQ_FLAVOUR_C] > 0.0) {
                    cr_expect_float_eq(1.0 / c.scan[i][2],
                                       fmax(pq_fraction_value(&side[PQ_FLAVOUR_C]), 0.0),
                                       1e-12);
                } else {
                    cr_expect(isnan(c.scan[i][2]));
                }
                pq_tagged_free(&t);
            }
            pq_params_free(pq_btag_table, &p);
        }
    }
}
