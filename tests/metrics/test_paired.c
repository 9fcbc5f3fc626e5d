#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "metrics/interval.h"
#include "metrics/paired.h"

/* Half widths of two bootstraps of 1000 and 400 replicas differ by some percent. */
static const double TOL_WIDTH = 0.15;

enum { MOST = 10000 };

/* Scores of two models with the same jets: light about 0, b about 2, both of width 1, and
 * the second the first with noise. So rates are known: P(x >= t) of normal numbers. */
typedef struct {
    double  score[2][MOST];
    float   weight[MOST];
    uint8_t flavour[MOST];
    size_t  n;
} sample;

static const double noise = 0.4, distance = 2.0;

/* UNIFORM: 0 to 2. SIGNED: 15 % are -1, the others 1. */
typedef enum { EQUAL, UNIFORM, SIGNED } weighting;

static float draw_weight(weighting weights, pq_rng *rng)
{
    const double u = weights == EQUAL ? 0.5 : pq_rng_uniform(rng);

    return weights == SIGNED ? (u < 0.15 ? -1.0F : 1.0F) : (float)(2.0 * u);
}

static sample draw_sample(size_t each, weighting weights, pq_rng *rng)
{
    sample s = {.n = 2 * each};

    for (size_t i = 0; i < s.n; i++) {
        s.flavour[i]  = i % 2 == 0 ? PQ_FLAVOUR_B : PQ_FLAVOUR_LIGHT;
        s.weight[i]   = draw_weight(weights, rng);
        s.score[0][i] = pq_rng_normal(rng) + (i % 2 == 0 ? distance : 0.0);
        s.score[1][i] = s.score[0][i] + noise * pq_rng_normal(rng);
    }
    return s;
}

/* Jets of one of the models, each `times` times (NULL: once). */
static pq_tagged tagged(const sample *s, size_t model, const double *times)
{
    pq_tagged plain = {.n = s->n}, t = {0};

    plain.jets = pq_calloc(s->n, sizeof *plain.jets);
    for (size_t i = 0; i < s->n; i++) {
        plain.jets[i] =
            (pq_jet){.weight  = s->weight[i] * (times != NULL ? (float)times[i] : 1.0F),
                     .event   = (uint32_t)i,
                     .flavour = s->flavour[i]};
    }
    cr_assert_eq(pq_tagged_rescored(&plain, s->score[model], &t, NULL), PQ_OK);
    pq_tagged_free(&plain);
    return t;
}

static double above(double t)
{
    return 0.5 * erfc(t / sqrt(2.0));
}

/* t with P(x >= t) = rate, by bisection. */
static double quantile(double rate)
{
    double lo = -10.0, hi = 10.0;

    for (int i = 0; i < 100; i++) {
        const double mid                 = 0.5 * (lo + hi);
        *(above(mid) > rate ? &lo : &hi) = mid;
    }
    return lo;
}

/* True rate of light jets at a b efficiency: of width w, b at `distance`. */
static double truth(double rate, size_t model)
{
    const double w = model == 0 ? 1.0 : sqrt(1.0 + noise * noise);

    return above((distance + w * quantile(rate)) / w);
}

static pq_tag_pair compare_at(const sample *s, double rate)
{
    const pq_reals rates = {1, {rate}};
    pq_tagged      t[]   = {tagged(s, 0, NULL), tagged(s, 1, NULL)};
    pq_tag_pair   *pairs = NULL, pair;
    size_t         n     = 0;

    cr_assert_eq(pq_tagged_compare(&t[0], &t[1], &rates, true, &pairs, &n, NULL), PQ_OK);
    cr_assert_eq(n, 1);
    pair = pairs[0];
    pq_free(pairs);
    pq_tagged_free(&t[0]);
    pq_tagged_free(&t[1]);
    return pair;
}

Test(paired, a_model_beside_itself_has_a_ratio_of_one_without_error)
{
    pq_rng rng = pq_rng_stream(1, "test");
    sample s   = draw_sample(2000, EQUAL, &rng);

    memcpy(s.score[1], s.score[0], sizeof s.score[0]);
    const pq_tag_pair pair = compare_at(&s, 0.7);
    cr_expect_eq(pair.ratio.value, 1.0);
    cr_expect_eq(pair.ratio.lo, 1.0);
    cr_expect_eq(pair.ratio.hi, 1.0);
    cr_expect_eq(pair.p, 1.0);
    cr_expect_eq(pair.reused.value, pair.first.value);
    cr_expect_null(pair.ratio.note);
}

Test(paired, few_jets_between_the_models_are_said)
{
    pq_rng       rng  = pq_rng_stream(2, "test");
    const sample few  = draw_sample(20, EQUAL, &rng),
                 many = draw_sample(4000, EQUAL, &rng);

    cr_expect_not_null(compare_at(&few, 0.7).ratio.note);
    cr_expect_null(compare_at(&many, 0.7).ratio.note);
}

/* Of a model that no light jet passes, whose rejection is known from below alone. */
Test(paired, no_jet_passing_one_model_leaves_the_ratio_one_finite_end)
{
    pq_rng rng = pq_rng_stream(4, "test");
    sample s   = draw_sample(400, EQUAL, &rng);

    for (size_t zero = 0; zero < 2; zero++) {
        sample other = s;
        for (size_t i = 0; i < other.n; i++) {
            other.score[zero][i] -= other.flavour[i] == PQ_FLAVOUR_LIGHT ? 1e6 : 0.0;
        }
        const pq_tag_pair p = compare_at(&other, 0.7);
        cr_expect_not_null(p.ratio.note);
        if (zero == 0) {
            cr_expect(isinf(p.first.value) && p.ratio.value == 0.0 && p.ratio.lo == 0.0);
            cr_expect_float_eq(p.ratio.hi, p.second.value / p.first.lo, 1e-12);
        } else {
            cr_expect(isinf(p.ratio.value) && isinf(p.ratio.hi));
            cr_expect_float_eq(p.ratio.lo, p.second.lo / p.first.value, 1e-12);
        }
    }
}

/* ln of the ratio of light rates at working points of their own. */
static double log_ratio(const sample *s, const double *times, double rate)
{
    double eps[2];

    for (size_t m = 0; m < 2; m++) {
        pq_tagged    t = tagged(s, m, times);
        pq_tag_point p;
        pq_tagged_at(&t, pq_tagged_cut_least(&t, PQ_FLAVOUR_B, rate), &p);
        eps[m] = pq_fraction_value(&p.side[PQ_FLAVOUR_LIGHT]);
        pq_tagged_free(&t);
    }
    return log(eps[0] / eps[1]);
}

/* Poisson number of mean 1. */
static double poisson_one(pq_rng *rng)
{
    double product = pq_rng_uniform(rng), k = 0.0;

    while (product > exp(-1.0)) {
        product *= pq_rng_uniform(rng);
        k += 1.0;
    }
    return k;
}

Test(paired, interval_is_that_of_the_plain_bootstrap_with_its_cuts_found_again,
     .timeout = 120)
{
    enum { REPLICAS = 400 };
    static double times[MOST];

    for (weighting weighted = EQUAL; weighted <= SIGNED; weighted++) {
        pq_rng            rng  = pq_rng_stream(5, "test");
        const sample      s    = draw_sample(3000, weighted, &rng);
        const pq_tag_pair pair = compare_at(&s, 0.7);
        double            sum = 0.0, squares = 0.0;
        for (int r = 0; r < REPLICAS; r++) {
            for (size_t i = 0; i < s.n; i++) {
                times[i] = poisson_one(&rng);
            }
            const double x = log_ratio(&s, times, 0.7);
            sum += x;
            squares += x * x;
        }
        const double due = sqrt(squares / REPLICAS - pow(sum / REPLICAS, 2.0));
        const double got = 0.5 * log(pair.ratio.hi / pair.ratio.lo);
        cr_expect(fabs(got / due - 1.0) < TOL_WIDTH, "weighted %d: %.4f, not %.4f",
                  (int)weighted, got, due);
        /* and it is far narrower than that of two independent samples */
        cr_expect(got < 0.75 * hypot(0.5 * log(pair.first.hi / pair.first.lo),
                                     0.5 * log(pair.second.hi / pair.second.lo)));
        cr_expect_float_eq(pair.ratio.value, exp(log_ratio(&s, NULL, 0.7)), 1e-12);
        cr_expect_eq(isnan(pair.p), weighted != EQUAL);
    }
}

Test(paired, other_jets_are_refused)
{
    const pq_reals rates = {1, {0.7}};
    pq_rng         rng   = pq_rng_stream(1, "test");
    sample         s     = draw_sample(10, EQUAL, &rng);
    pq_tagged      a     = tagged(&s, 0, NULL), b;
    pq_tag_pair   *pairs = NULL;
    size_t         n     = 0;
    pq_err         err   = {0};

    s.flavour[3] = PQ_FLAVOUR_C;
    b            = tagged(&s, 1, NULL);
    cr_expect_eq(pq_tagged_compare(&a, &b, &rates, true, &pairs, &n, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "jet 3 is light of one model and c of the other");
    b.n--;
    err = (pq_err){0};
    cr_expect_eq(pq_tagged_compare(&a, &b, &rates, true, &pairs, &n, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "there are 20 jets of one model and 19 of the other");
    pq_tagged_free(&a);
    pq_tagged_free(&b);
}

/* How often intervals hold the truth, in percent: docs/measurement.md has the table.
 * `least` is what is promised, three standard deviations of the trials below it pass. */
Test(paired, intervals_hold_the_truth, .timeout = 300)
{
    static const struct {
        size_t    each;
        int       trials;
        double    rejection, ratio; /* least coverage, NAN: none is promised */
        weighting weights;
    } table[]         = {{5, 1000, 68.3, NAN, EQUAL},
                         {50, 1000, 65.0, 60.0, EQUAL},
                         {5000, 500, 65.0, 65.0, EQUAL},
                         {500, 1000, 65.0, 65.0, SIGNED},
                         {5000, 500, 65.0, 65.0, SIGNED}};
    const double rate = 0.7;

    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        const double due  = truth(rate, 0);
        const double over = due / truth(rate, 1);
        double       held = 0.0, held_ratio = 0.0;
        for (int t = 0; t < table[k].trials; t++) {
            pq_rng            rng  = pq_rng_stream((uint64_t)t, "coverage");
            const sample      s    = draw_sample(table[k].each, table[k].weights, &rng);
            const pq_tag_pair pair = compare_at(&s, rate);
            held += 1.0 / pair.first.hi <= due && due <= 1.0 / pair.first.lo;
            held_ratio += pair.ratio.lo <= over && over <= pair.ratio.hi;
        }
        const double slack = 3.0 * 100.0 * sqrt(0.683 * 0.317 / table[k].trials);
        held *= 100.0 / table[k].trials;
        held_ratio *= 100.0 / table[k].trials;
        cr_log_info("%zu jets each%s: rejection %.1f %%, ratio %.1f %%", table[k].each,
                    table[k].weights == SIGNED ? ", 15 % of weight -1" : "", held,
                    held_ratio);
        cr_expect(held > table[k].rejection - slack, "%zu jets: rejection %.1f %%",
                  table[k].each, held);
        cr_expect(isnan(table[k].ratio) || held_ratio > table[k].ratio - slack,
                  "%zu jets: ratio %.1f %%", table[k].each, held_ratio);
    }
}

/* The same of an efficiency at a given cut, drawn between 0.05 and 0.95. */
Test(paired, efficiencies_are_held_by_wilson_on_average_and_by_clopper_pearson_at_least)
{
    static const size_t each[] = {5, 50, 5000};
    enum { TRIALS = 4000 };

    for (size_t k = 0; k < sizeof each / sizeof *each; k++) {
        double       held[2] = {0.0};
        const double n = (double)each[k], slack = 300.0 * sqrt(0.683 * 0.317 / TRIALS);
        for (int t = 0; t < TRIALS; t++) {
            pq_rng       rng  = pq_rng_stream((uint64_t)t, "efficiency");
            const double p    = 0.05 + 0.9 * pq_rng_uniform(&rng);
            double       pass = 0.0;
            for (size_t i = 0; i < each[k]; i++) {
                pass += pq_rng_uniform(&rng) < p ? 1.0 : 0.0;
            }
            const pq_interval of[] = {pq_interval_wilson(pass, n, 1.0),
                                      pq_interval_clopper_pearson(pass, n, PQ_ONE_SIGMA)};
            for (size_t i = 0; i < 2; i++) {
                held[i] += of[i].lo <= p && p <= of[i].hi ? 100.0 / TRIALS : 0.0;
            }
        }
        cr_log_info("%zu jets: Wilson %.1f %%, Clopper-Pearson %.1f %%", each[k], held[0],
                    held[1]);
        cr_expect_float_eq(held[0], 68.3, slack + 1.0, "%zu jets: Wilson %.1f %%",
                           each[k], held[0]);
        cr_expect(held[1] > 68.3 - slack, "%zu jets: Clopper-Pearson %.1f %%", each[k],
                  held[1]);
    }
}
