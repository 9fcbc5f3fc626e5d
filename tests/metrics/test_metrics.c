#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "events.h"
#include "metrics/confusion.h"
#include "metrics/interval.h"

static const double TOL = 1e-12;

static events v;

static pq_values run(const char *metric, const char *key, const char *value)
{
    const pq_metric *m          = pq_metric_find(metric);
    pq_values        values     = {0};
    char             buffer[64] = {0};

    cr_assert_not_null(m);
    cr_assert_leq(m->params_size, sizeof buffer);
    cr_assert_eq(pq_params_default(m->params, buffer, NULL), PQ_OK);
    if (key != NULL) {
        cr_assert_eq(pq_params_set(m->params, buffer, key, value, NULL), PQ_OK);
    }
    cr_assert_eq(m->compute(&v.e, buffer, &values, NULL), PQ_OK);
    return values;
}

Test(metrics, are_found_by_name_in_a_fixed_order)
{
    static const char *const names[] = {"accuracy",   "auc",   "log_loss", "confusion",
                                        "thresholds", "btag",  "size",     "macs",
                                        "bops",       "ebops", "fpga"};
    size_t                   n       = 0;

    for (; pq_metrics[n] != NULL; n++) {
        cr_expect_str_eq(pq_metrics[n]->name, names[n]);
        cr_expect_eq(pq_metric_find(names[n]), pq_metrics[n]);
    }
    cr_expect_eq(n, sizeof names / sizeof names[0]);
    cr_expect_null(pq_metric_find("acuracy"));
}

Test(metrics, accuracy_counts_events_and_carries_the_interval_asked_for)
{
    pq_values values;
    size_t    correct = 0;

    events_fill(&v, 500, 5, false, 1);
    for (size_t i = 0; i < 500; i++) {
        size_t best = 0;
        for (size_t c = 1; c < 5; c++) {
            best = v.logits[i * 5 + c] > v.logits[i * 5 + best] ? c : best;
        }
        correct += best == (size_t)v.labels[i] ? 1 : 0;
    }
    values = run("accuracy", NULL, NULL);
    cr_expect_float_eq(values.items[0].value, (double)correct / 500.0, TOL);
    cr_expect_float_eq(values.items[0].lo,
                       pq_interval_wilson((double)correct, 500.0, 1.0).lo, TOL);
    cr_expect_eq(values.items[0].n, 500.0);
    cr_expect_eq(values.items[0].better, PQ_BETTER_HIGHER);
    pq_values_free(&values);
    values = run("accuracy", "interval", "clopper-pearson");
    cr_expect_float_eq(
        values.items[0].hi,
        pq_interval_clopper_pearson((double)correct, 500.0, PQ_ONE_SIGMA).hi, TOL);
    pq_values_free(&values);
}

/* Ties that are exact, and those that a step of rounding decides. */
Test(metrics, accuracy_tells_of_many_events_that_are_tied)
{
    for (size_t tied = 5; tied <= 6; tied++) {
        for (int steps = 0; steps <= 1; steps++) {
            pq_values values;
            events_fill(&v, 500, 5, false, 1);
            for (size_t i = 0; i < 500 * 5; i++) {
                v.logits[i] += 0.01f * (float)(i % 5); /* they lie on a grid */
            }
            for (size_t i = 0; i < tied; i++) {
                float *row = &v.logits[i * 5];
                row[4] = row[2] = 9.0f;
                for (int k = 0; k < steps; k++) {
                    row[4] = nextafterf(row[4], 10.0f);
                }
            }
            values = run("accuracy", NULL, NULL);
            cr_expect_eq(values.items[0].note != NULL, tied == 6, "%zu of 500 are tied",
                         tied);
            pq_values_free(&values);
        }
    }
}

Test(metrics, weights_of_two_are_events_counted_twice_but_known_once)
{
    pq_values plain, weighted;

    events_fill(&v, 300, 4, false, 2);
    plain = run("accuracy", NULL, NULL);
    for (size_t i = 0; i < 300; i++) {
        v.weights[i] = 2.0f;
    }
    v.e.weights = v.weights;
    weighted    = run("accuracy", NULL, NULL);
    cr_expect_float_eq(plain.items[0].value, weighted.items[0].value, TOL);
    cr_expect_float_eq(plain.items[0].lo, weighted.items[0].lo, TOL);
    cr_expect_float_eq(weighted.items[0].n, 300.0, 1e-9);
    pq_values_free(&plain);
    pq_values_free(&weighted);
}

Test(metrics, decision_takes_the_first_of_equal_outputs)
{
    static const float  logits[] = {20.0f, 21.0f, 5.0f, 5.0f};
    const pq_evaluation e        = {
               .n = 2, .classes = 2, .width = 2, .head = PQ_HEAD_LOGITS, .outputs = logits};

    cr_expect_eq(pq_evaluation_decision(&e, 0), 1);
    cr_expect_eq(pq_evaluation_decision(&e, 1), 0);
}

Test(metrics, log_loss_is_the_mean_of_minus_ln_p)
{
    double    sum = 0.0;
    pq_values values;

    events_fill(&v, 400, 5, true, 3);
    double all = 0.0;
    for (size_t i = 0; i < 400; i++) {
        double partition = 0.0;
        for (size_t c = 0; c < 5; c++) {
            partition += exp((double)v.logits[i * 5 + c]);
        }
        sum -= (double)v.weights[i] *
               log(exp((double)v.logits[i * 5 + (size_t)v.labels[i]]) / partition);
        all += (double)v.weights[i];
    }
    values = run("log_loss", NULL, NULL);
    cr_expect_float_eq(values.items[0].value, sum / all, TOL);
    cr_expect(values.items[0].lo < values.items[0].value &&
              values.items[0].value < values.items[0].hi);
    pq_values_free(&values);
}

Test(metrics, log_loss_stays_finite_where_a_probability_is_zero)
{
    pq_values values;

    events_fill(&v, 10, 2, false, 4);
    events_use_probabilities(&v);
    for (size_t i = 0; i < 10; i++) {
        v.probabilities[2 * i + (size_t)v.labels[i]]     = 0.0f;
        v.probabilities[2 * i + 1 - (size_t)v.labels[i]] = 1.0f;
    }
    values = run("log_loss", NULL, NULL);
    cr_expect_float_eq(values.items[0].value, -log(0x1p-23), TOL);
    pq_values_free(&values);
    v.logits[0] = 3e38f;
    v.logits[1] = -3e38f;
    v.labels[0] = 1;
    v.e.head    = PQ_HEAD_LOGITS;
    v.e.outputs = v.logits;
    values      = run("log_loss", NULL, NULL);
    cr_expect(isfinite(values.items[0].value));
    pq_values_free(&values);
}

Test(metrics, confusion_counts_and_recalls_agree)
{
    double    counts[25], all = 0.0;
    char      name[32];
    pq_values values;

    events_fill(&v, 700, 5, true, 5);
    pq_confusion(&v.e, counts);
    values = run("confusion", NULL, NULL);
    cr_expect_eq(values.n, 5);
    for (size_t c = 0; c < 5; c++) {
        double row = 0.0;
        for (size_t k = 0; k < 5; k++) {
            row += counts[c * 5 + k];
        }
        all += row;
        snprintf(name, sizeof name, "recall.%s", event_classes[c]);
        cr_expect_float_eq(value_of(&values, name)->value, counts[c * 5 + c] / row, TOL);
    }
    for (size_t i = 0; i < 700; i++) {
        all -= (double)v.weights[i];
    }
    cr_expect_float_eq(all, 0.0, 1e-9);
    pq_values_free(&values);
}

Test(metrics, recall_of_an_absent_class_is_not_a_number)
{
    pq_values values;

    events_fill(&v, 50, 3, false, 6);
    for (size_t i = 0; i < 50; i++) {
        v.labels[i] = v.labels[i] == 2 ? 0 : v.labels[i];
    }
    values = run("confusion", NULL, NULL);
    cr_expect(isnan(value_of(&values, "recall.w")->value));
    cr_expect(isnan(value_of(&values, "recall.w")->lo));
    cr_expect_eq(value_of(&values, "recall.w")->n, 0.0);
    pq_values_free(&values);
}

typedef struct {
    const char *message;
    pq_status   status;
} refusal;

static refusal refused(void)
{
    static pq_err err;
    pq_values     values = {0};
    refusal       r;

    err       = (pq_err){0};
    r.status  = pq_metric_find("accuracy")->compute(&v.e, NULL, &values, &err);
    r.message = err.message;
    cr_expect_eq(values.n, 0);
    return r;
}

Test(metrics, bad_events_are_named)
{
    refusal r;

    events_fill(&v, 20, 5, true, 7);
    v.labels[12] = 5;
    r            = refused();
    cr_expect_eq(r.status, PQ_ERR_RANGE);
    cr_expect_str_eq(r.message, "event 12: label 5 is not in 0..4");
    v.labels[12] = 0;
    v.weights[3] = -0.5f;
    r            = refused();
    cr_expect_eq(r.status, PQ_ERR_RANGE);
    cr_expect_str_eq(
        r.message,
        "event 3: weight -0.5 is negative: negative_weights: true under evaluate, or "
        "--negative-weights, takes such");
    v.weights[3]    = 1.0f;
    v.logits[5 * 4] = NAN;
    r               = refused();
    cr_expect_eq(r.status, PQ_ERR_NUMERIC);
    cr_expect_str_eq(r.message, "event 4: output 0 is nan");
    v.e.n = 0;
    r     = refused();
    cr_expect_eq(r.status, PQ_ERR_CONFIG);
    cr_expect_str_eq(r.message, "nothing to evaluate: 0 events of 5 classes");
    events_fill(&v, 2, 2, true, 7);
    v.weights[0] = v.weights[1] = 0.0f;
    r                           = refused();
    cr_expect_str_eq(r.message, "nothing to evaluate: the weights of all 2 events are 0");
}

Test(metrics, survive_every_failed_allocation)
{
    events_fill(&v, 30, 3, true, 8);
    for (const pq_metric *const *m = pq_metrics; *m != NULL; m++) {
        pq_status st = PQ_ERR_NOMEM;

        for (size_t n = 0; st != PQ_OK && st != PQ_ERR_CONFIG; n++) {
            const size_t live   = pq_memory_live();
            pq_values    values = {0};

            pq_memory_fail_after(n);
            st = (*m)->compute(&v.e, NULL, &values, NULL);
            pq_memory_fail_after(SIZE_MAX);
            pq_values_free(&values);
            cr_assert_eq(pq_memory_live(), live, "%s, allocation %zu", (*m)->name, n);
        }
    }
}
