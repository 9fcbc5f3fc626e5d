#include <criterion/criterion.h>
#include <math.h>

#include "metrics/btag.h"

static const double TOL = 1e-12;

enum { N = 3000 };

static float   outputs[N * 3];
static int32_t labels[N];
static double  score[N];

static const char *const names[] = {"light", "c", "b"};

/* Jets of all flavours whose probabilities overlap. */
static pq_evaluation make(double f_c)
{
    unsigned seed = 11;

    for (size_t i = 0; i < N; i++) {
        double p[3], sum = 0.0;
        labels[i] = (int32_t)(i % 3);
        for (size_t k = 0; k < 3; k++) {
            seed = seed * 1664525U + 1013904223U;
            p[k] = (double)(seed >> 8) / (double)(1U << 24) +
                   ((size_t)labels[i] == k ? 0.7 : 0.01);
            sum += p[k];
        }
        for (size_t k = 0; k < 3; k++) {
            outputs[i * 3 + k] = (float)(p[k] / sum);
        }
        score[i] =
            pq_btag_discriminant((double)outputs[i * 3 + 2], (double)outputs[i * 3 + 1],
                                 (double)outputs[i * 3], f_c);
    }
    return (pq_evaluation){.n           = N,
                           .classes     = 3,
                           .width       = 3,
                           .head        = PQ_HEAD_SOFTMAX,
                           .outputs     = outputs,
                           .labels      = labels,
                           .class_names = names};
}

/* Part of a flavour with a score of at least the cut. */
static double passes(int32_t flavour, double cut)
{
    double pass = 0.0, all = 0.0;

    for (size_t i = 0; i < N; i++) {
        all += labels[i] == flavour;
        pass += labels[i] == flavour && score[i] >= cut;
    }
    return pass / all;
}

static double value_of(const pq_values *v, const char *name)
{
    cr_assert_not_null(pq_values_find(v, name), "%s", name);
    return pq_values_find(v, name)->value;
}

Test(btag, discriminant_is_its_formula)
{
    cr_assert_float_eq(pq_btag_discriminant(0.7, 0.2, 0.1, 0.018),
                       log(0.7 / (0.018 * 0.2 + 0.982 * 0.1)), TOL);
    cr_assert_float_eq(pq_btag_discriminant(0.7, 0.2, 0.1, 0.0), log(7.0), TOL);
    cr_assert(isfinite(pq_btag_discriminant(1.0, 0.0, 0.0, 0.018)));
}

Test(btag, cuts_are_the_least_that_hold_the_mistag_rate)
{
    static const struct {
        const char *name;
        int32_t     flavour;
        double      rate;
    } table[]                  = {{"light.0.1", 0, 0.1},
                                  {"light.0.01", 0, 0.01},
                                  {"c.0.1", 1, 0.1},
                                  {"c.0.001", 1, 0.001}};
    const pq_evaluation e      = make(0.018);
    pq_values           values = {0};

    cr_assert_eq(pq_btag_evaluate(&e, 0.018, &values, NULL), PQ_OK);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char   name[64];
        double cut, next = -INFINITY;
        snprintf(name, sizeof name, "btag.%s.cut", table[i].name);
        cut = value_of(&values, name);
        cr_assert_leq(passes(table[i].flavour, cut), table[i].rate);
        for (size_t k = 0; k < N; k++) {
            next = score[k] < cut && score[k] > next ? score[k] : next;
        }
        cr_assert_gt(passes(table[i].flavour, next), table[i].rate, "%s", name);
        snprintf(name, sizeof name, "btag.%s.efficiency", table[i].name);
        cr_assert_float_eq(value_of(&values, name), passes(2, cut), TOL);
        snprintf(name, sizeof name, "btag.%s.mistag", table[i].name);
        cr_assert_float_eq(value_of(&values, name), passes(table[i].flavour, cut), TOL);
    }
    cr_assert_float_eq(value_of(&values, "btag.light.0.1.rejection_c"),
                       1.0 / passes(1, value_of(&values, "btag.light.0.1.cut")), 1e-9);
    pq_values_free(&values);
}

Test(btag, of_equal_scores_all_pass_or_none)
{
    const pq_evaluation e      = make(0.018);
    pq_values           values = {0};

    for (size_t i = 0; i < N * 3; i++) {
        outputs[i] = 1.0F / 3.0F;
    }
    cr_assert_eq(pq_btag_evaluate(&e, 0.018, &values, NULL), PQ_OK);
    cr_assert_eq(value_of(&values, "btag.light.0.1.efficiency"), 0.0);
    cr_assert(isinf(value_of(&values, "btag.light.0.1.cut")));
    pq_values_free(&values);
}

Test(btag, refuses_what_it_cannot_mean)
{
    static const char *const quarks[] = {"g", "q", "w"};
    pq_evaluation            e        = make(0.018);
    pq_values                values   = {0};
    pq_err                   err      = {0};

    cr_assert_eq(pq_btag_evaluate(&e, 1.5, &values, &err), PQ_ERR_RANGE);
    cr_assert_str_eq(err.message, "f_c = 1.5 is not in 0..1");
    e.class_names = quarks;
    err           = (pq_err){0};
    cr_assert_eq(pq_btag_evaluate(&e, 0.018, &values, &err), PQ_ERR_CONFIG);
    e.class_names = names;
    for (size_t i = 0; i < N; i++) {
        labels[i] = labels[i] == 2 ? 0 : labels[i];
    }
    err = (pq_err){0};
    cr_assert_eq(pq_btag_evaluate(&e, 0.018, &values, &err), PQ_ERR_CONFIG);
    cr_assert_str_eq(err.message, "there are no b jets");
}
