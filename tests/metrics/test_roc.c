#include <criterion/criterion.h>
#include <math.h>

#include "events.h"
#include "metrics/roc.h"

static const double TOL = 1e-12;

static events v;

/* Efficiencies of the cut D >= t, counted event by event. */
static void cut(size_t class_index, double t, double out[2])
{
    double passed[2] = {0.0, 0.0}, all[2] = {0.0, 0.0};

    for (size_t i = 0; i < v.e.n; i++) {
        const int    k = (size_t)v.labels[i] == class_index ? 0 : 1;
        const double w = pq_evaluation_weight(&v.e, i);
        all[k] += w;
        passed[k] +=
            (double)v.probabilities[i * v.e.classes + class_index] >= t ? w : 0.0;
    }
    out[0] = passed[0] / all[0];
    out[1] = passed[1] / all[1];
}

static bool has_point(const pq_roc_curve *curve, const double point[2])
{
    for (size_t i = 0; i < curve->n; i++) {
        if (fabs(curve->signal[i] - point[0]) < TOL &&
            fabs(curve->background[i] - point[1]) < TOL) {
            return true;
        }
    }
    return false;
}

Test(roc, every_cut_is_a_point_and_every_point_a_cut)
{
    pq_roc_curve curve = {0};
    double       point[2];

    events_fill(&v, 300, 3, true, 21);
    events_use_probabilities(&v);
    cr_assert_eq(pq_roc(&v.e, 1, 1000, &curve, NULL), PQ_OK);
    for (size_t i = 0; i < 300; i++) {
        cut(1, (double)v.probabilities[3 * i + 1], point);
        cr_expect(has_point(&curve, point));
    }
    cr_expect_eq(curve.signal[0], 0.0);
    cr_expect_eq(curve.background[0], 0.0);
    cr_expect_eq(curve.signal[curve.n - 1], 1.0);
    cr_expect_eq(curve.background[curve.n - 1], 1.0);
    pq_roc_free(&curve);
}

Test(roc, area_by_trapezoids_is_the_auc)
{
    pq_roc_curve curve  = {0};
    pq_values    values = {0};
    double       area   = 0.0;

    events_fill(&v, 500, 4, true, 22);
    cr_assert_eq(pq_roc(&v.e, 2, 1000, &curve, NULL), PQ_OK);
    cr_assert_eq(pq_metric_find("auc")->compute(&v.e, NULL, &values, NULL), PQ_OK);
    for (size_t i = 1; i < curve.n; i++) {
        area += 0.5 * (curve.signal[i] + curve.signal[i - 1]) *
                (curve.background[i] - curve.background[i - 1]);
    }
    cr_expect_float_eq(area, value_of(&values, "auc.w")->value, TOL);
    pq_roc_free(&curve);
    pq_values_free(&values);
}

Test(roc, thinned_curve_keeps_ends_and_exact_points_within_the_limit)
{
    pq_roc_curve full = {0};

    events_fill(&v, 2000, 5, true, 23);
    cr_assert_eq(pq_roc(&v.e, 0, 100000, &full, NULL), PQ_OK);
    cr_assert_gt(full.n, 1000);
    for (size_t limit = 8; limit < 600; limit = limit * 3 / 2) {
        pq_roc_curve thin = {0};

        cr_assert_eq(pq_roc(&v.e, 0, limit, &thin, NULL), PQ_OK);
        cr_expect_leq(thin.n, limit);
        cr_expect_geq(thin.n, limit / 3);
        cr_expect_eq(thin.signal[0], 0.0);
        cr_expect_eq(thin.background[thin.n - 1], 1.0);
        for (size_t i = 0; i < thin.n; i++) {
            cr_expect(has_point(&full, (double[]){thin.signal[i], thin.background[i]}));
            cr_expect(i == 0 || (thin.signal[i] >= thin.signal[i - 1] &&
                                 thin.background[i] >= thin.background[i - 1]));
        }
        pq_roc_free(&thin);
    }
    pq_roc_free(&full);
}

/* Where many of the last events count negatively, what passes rises far above all. */
Test(roc, thinned_curve_keeps_the_limit_with_negative_weights)
{
    pq_roc_curve full = {0};

    events_fill(&v, 2000, 5, true, 26);
    v.e.negative = true;
    for (size_t i = 0; i < v.e.n; i++) {
        v.weights[i] *= v.logits[5 * i] < (v.labels[i] == 0 ? 1.0f : 0.0f) && i % 20 > 0
                            ? -1.0f
                            : 1.0f;
    }
    cr_assert_eq(pq_roc(&v.e, 0, 100000, &full, NULL), PQ_OK);
    cr_assert_gt(full.n, 1000);
    for (size_t limit = 8; limit < 600; limit = limit * 3 / 2) {
        pq_roc_curve thin = {0};

        cr_assert_eq(pq_roc(&v.e, 0, limit, &thin, NULL), PQ_OK);
        cr_expect_leq(thin.n, limit, "%zu points, not %zu", thin.n, limit);
        cr_expect_eq(thin.signal[0], 0.0);
        cr_expect_eq(thin.signal[thin.n - 1], 1.0);
        cr_expect_eq(thin.background[thin.n - 1], 1.0);
        for (size_t i = 0; i < thin.n; i++) {
            cr_expect(has_point(&full, (double[]){thin.signal[i], thin.background[i]}));
        }
        pq_roc_free(&thin);
    }
    pq_roc_free(&full);
}

Test(roc, of_an_absent_class_has_no_points)
{
    pq_roc_curve curve = {0};

    events_fill(&v, 20, 2, false, 24);
    for (size_t i = 0; i < 20; i++) {
        v.labels[i] = 0;
    }
    cr_assert_eq(pq_roc(&v.e, 1, 100, &curve, NULL), PQ_OK);
    cr_expect_eq(curve.n, 0);
    pq_roc_free(&curve);
}

Test(roc, refuses_a_class_that_is_not_there)
{
    pq_roc_curve curve = {0};
    pq_err       err   = {0};

    events_fill(&v, 20, 2, false, 25);
    cr_expect_eq(pq_roc(&v.e, 2, 100, &curve, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "class 2 is not in 0..1");
    err = (pq_err){0};
    cr_expect_eq(pq_roc(&v.e, 0, 7, &curve, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "max_points = 7 is less than 8");
}
