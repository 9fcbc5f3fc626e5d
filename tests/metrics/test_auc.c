#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "events.h"
#include "metrics/interval.h"

static const double TOL_BRUTE = 1e-12; /* against all pairs */
static const double TOL_BOOT =
    0.12; /* of the bootstrap's standard error, 1000 replicas */

static events v;

static pq_values auc(const pq_evaluation *e)
{
    pq_values values = {0};

    cr_assert_eq(pq_metric_find("auc")->compute(e, NULL, &values, NULL), PQ_OK);
    return values;
}

static double score(size_t i, size_t c)
{
    return (double)v.probabilities[i * v.e.classes + c];
}

static double beats(double a, double b)
{
    return a > b ? 1.0 : a == b ? 0.5 : 0.0;
}

/* Area of class c from all pairs, and DeLong's error from all pairs, times what Student's
 * t asks for where few events rule it. */
static double brute_force(size_t c, double *error)
{
    double pairs = 0.0, won = 0.0, variance = 0.0, fourths = 0.0;

    for (size_t i = 0; i < v.e.n; i++) {
        for (size_t j = 0; j < v.e.n; j++) {
            if ((size_t)v.labels[i] == c && (size_t)v.labels[j] != c) {
                const double w =
                    pq_evaluation_weight(&v.e, i) * pq_evaluation_weight(&v.e, j);
                pairs += w;
                won += w * beats(score(i, c), score(j, c));
            }
        }
    }
    for (int side = 0; side < 2; side++) { /* 1: the class, 0: the rest */
        double sum = 0.0, sum2 = 0.0, spread = 0.0, spread4 = 0.0;
        for (size_t i = 0; i < v.e.n; i++) {
            double component = 0.0, others = 0.0;
            if (((size_t)v.labels[i] == c) != (side == 1)) {
                continue;
            }
            for (size_t j = 0; j < v.e.n; j++) {
                if (((size_t)v.labels[j] == c) == (side == 1)) {
                    continue;
                }
                const double w = pq_evaluation_weight(&v.e, j);
                others += w;
                component += w * (side == 1 ? beats(score(i, c), score(j, c))
                                            : beats(score(j, c), score(i, c)));
            }
            const double w = pq_evaluation_weight(&v.e, i);
            const double d = w * (component / others - won / pairs);
            sum += w;
            sum2 += w * w;
            spread += d * d;
            spread4 += d * d * d * d;
        }
        const double n = sum * sum / sum2;
        variance += spread / (sum * sum) * n / (n - 1.0);
        fourths += spread4 / pow(sum, 4.0) * pow(n / (n - 1.0), 2.0);
    }
    *error = sqrt(variance) * pq_student_sigma(variance * variance / fourths - 1.0);
    cr_expect(*error < 1.1 * sqrt(variance), "of 300 events Student's t is near 1");
    return won / pairs;
}

Test(auc, agrees_with_all_pairs_with_ties_and_weights)
{
    for (int weighted = 0; weighted < 2; weighted++) {
        pq_values values;
        double    mean = 0.0;

        events_fill(&v, 300, 5, weighted == 1, 11);
        events_use_probabilities(&v);
        values = auc(&v.e);
        for (size_t c = 0; c < 5; c++) {
            double       error;
            const double area = brute_force(c, &error);
            cr_expect_float_eq(values.items[c].value, area, TOL_BRUTE);
            cr_expect_float_eq(values.items[c].hi - area, error, TOL_BRUTE);
            cr_expect_float_eq(area - values.items[c].lo, error, TOL_BRUTE);
            mean += area / 5.0;
        }
        cr_expect_float_eq(value_of(&values, "auc.macro")->value, mean, TOL_BRUTE);
        pq_values_free(&values);
    }
}

/* Six events: positives 0.9 0.4 0.4, negatives 0.1 0.4 0.8: wins 3 + (1 + 0.5 + 0) * 2 =
 * 6 of 9. */
Test(auc, known_value_by_hand)
{
    static const float   p[]      = {0.9f, 0.4f, 0.4f, 0.1f, 0.4f, 0.8f};
    static const int32_t labels[] = {0, 0, 0, 1, 1, 1};
    pq_values            values;

    events_fill(&v, 6, 2, false, 1);
    events_use_probabilities(&v);
    memcpy(v.labels, labels, sizeof labels);
    for (size_t i = 0; i < 6; i++) {
        v.probabilities[2 * i]     = p[i];
        v.probabilities[2 * i + 1] = 1.0f - p[i];
    }
    values = auc(&v.e);
    cr_expect_float_eq(value_of(&values, "auc.g")->value, 6.0 / 9.0, 1e-15);
    pq_values_free(&values);
}

Test(auc, interval_of_the_mean_over_classes_agrees_with_the_bootstrap)
{
    static events drawn;
    pq_rng        rng = pq_rng_stream(5, "bootstrap");
    double        sum = 0.0, squares = 0.0;
    pq_values     values;

    events_fill(&v, 500, 5, false, 12);
    events_use_probabilities(&v);
    drawn           = v;
    drawn.e.labels  = drawn.labels;
    drawn.e.outputs = drawn.probabilities;
    for (int replica = 0; replica < 1000; replica++) {
        for (size_t i = 0; i < 500; i++) {
            const size_t from = pq_rng_below(&rng, 500);
            drawn.labels[i]   = v.labels[from];
            memcpy(drawn.probabilities + 5 * i, v.probabilities + 5 * from,
                   5 * sizeof(float));
        }
        values            = auc(&drawn.e);
        const double area = value_of(&values, "auc.macro")->value;
        sum += area;
        squares += area * area;
        pq_values_free(&values);
    }
    const double error = sqrt(squares / 1000.0 - sum / 1000.0 * (sum / 1000.0));

    values                = auc(&v.e);
    const pq_value *macro = value_of(&values, "auc.macro");
    cr_expect_float_eq(0.5 * (macro->hi - macro->lo), error, TOL_BOOT * error);
    pq_values_free(&values);
}

Test(auc, of_separated_classes_is_one_with_an_interval_that_admits_less)
{
    pq_values values;

    events_fill(&v, 40, 2, false, 13);
    events_use_probabilities(&v);
    for (size_t i = 0; i < 40; i++) {
        v.probabilities[2 * i]     = v.labels[i] == 0 ? 0.9f : 0.1f;
        v.probabilities[2 * i + 1] = v.labels[i] == 0 ? 0.1f : 0.9f;
    }
    values = auc(&v.e);
    for (size_t k = 0; k < values.n; k++) {
        cr_expect_eq(values.items[k].value, 1.0);
        cr_expect_eq(values.items[k].hi, 1.0);
        cr_expect(values.items[k].lo < 1.0 && values.items[k].lo > 0.9);
    }
    pq_values_free(&values);
}

Test(auc, of_an_absent_class_is_undefined_and_left_out_of_the_mean)
{
    pq_values values;

    events_fill(&v, 100, 3, false, 14);
    for (size_t i = 0; i < 100; i++) {
        v.labels[i] = v.labels[i] == 1 ? 0 : v.labels[i];
    }
    values = auc(&v.e);
    cr_expect(isnan(value_of(&values, "auc.q")->value));
    cr_expect_float_eq(
        value_of(&values, "auc.macro")->value,
        0.5 * (value_of(&values, "auc.g")->value + value_of(&values, "auc.w")->value),
        TOL_BRUTE);
    pq_values_free(&values);
}

Test(auc, of_a_class_with_one_event_says_why_there_is_no_interval)
{
    pq_values values;

    events_fill(&v, 100, 3, false, 15);
    for (size_t i = 0; i < 100; i++) {
        v.labels[i] = i == 7 ? 1 : v.labels[i] == 1 ? 0 : v.labels[i];
    }
    values = auc(&v.e);
    cr_expect(isnan(value_of(&values, "auc.q")->lo));
    cr_expect_str_eq(value_of(&values, "auc.q")->note,
                     "one event of the class or of the rest: no interval");
    cr_expect_not_null(value_of(&values, "auc.macro")->note);
    cr_expect_null(value_of(&values, "auc.g")->note);
    pq_values_free(&values);
}

Test(auc, of_few_effective_events_warns)
{
    pq_values values;

    events_fill(&v, 300, 2, true, 16);
    for (size_t i = 0; i < 300; i++) {
        v.weights[i] = v.labels[i] == 1 && i < 12 ? 100.0f : 1.0f;
    }
    values = auc(&v.e);
    cr_expect_str_eq(value_of(&values, "auc.q")->note, pq_note_few);
    pq_values_free(&values);
    events_fill(&v, 300, 2, false, 16); /* also without weights */
    for (size_t i = 0; i < 300; i++) {
        v.labels[i] = i < 9 ? 1 : 0;
    }
    values = auc(&v.e);
    cr_expect_str_eq(value_of(&values, "auc.q")->note, pq_note_few);
    v.labels[9] = 1;
    pq_values_free(&values);
    values = auc(&v.e);
    cr_expect_null(value_of(&values, "auc.q")->note);
    pq_values_free(&values);
}

/* Names of classes are any text: none is cut, none takes another's place. */
Test(auc, of_classes_with_long_and_awkward_names_is_not_mixed_up)
{
    static char       longest[2][200];
    const char *const names[] = {longest[0], longest[1], "macro", "g", "a,\"b\"\n%"};
    pq_values         values;

    for (size_t i = 0; i < 2; i++) {
        memset(longest[i], 'x', sizeof longest[i] - 1);
        longest[i][sizeof longest[i] - 2] = (char)('0' + i);
    }
    events_fill(&v, 300, 5, false, 17);
    v.e.class_names = names;
    values          = auc(&v.e);
    cr_assert_eq(values.n, 6);
    for (size_t i = 0; i < values.n; i++) {
        cr_expect_eq(pq_values_find(&values, values.items[i].name), &values.items[i],
                     "%s is there twice", values.items[i].name);
    }
    cr_expect_str_eq(values.items[2].name, "auc.class.macro");
    cr_expect_str_eq(values.items[5].name, "auc.macro");
    pq_values_free(&values);
}
