/* Decisions of two models on the same events, against sums written out. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/rng.h"
#include "lab/pair.h"

enum { N = 500, WIDTH = 3 };

static char *names[]  = {"x", "y", "z"};
static char *turned[] = {"z", "y", "x"};

/* Outputs of a model that is right in about `share` of the events; `turn`: its classes
 * stand in the other order. */
static pq_evaluated made(double share, const int *labels, float *weights, bool turn,
                         const char *stream)
{
    pq_rng       rng = pq_rng_stream(3, stream);
    pq_evaluated e   = {.n           = N,
                        .classes     = WIDTH,
                        .width       = WIDTH,
                        .head        = PQ_HEAD_SOFTMAX,
                        .decided     = true,
                        .class_names = turn ? turned : names,
                        .weights     = weights};

    e.outputs = calloc((size_t)N * WIDTH, sizeof *e.outputs);
    e.labels  = calloc(N, sizeof *e.labels);
    for (size_t i = 0; i < N; i++) {
        const int says = pq_rng_uniform(&rng) < share ? labels[i] : (labels[i] + 1) % 3;
        e.labels[i]    = turn ? 2 - labels[i] : labels[i];
        e.outputs[i * WIDTH + (size_t)(turn ? 2 - says : says)] = 1.0F;
    }
    return e;
}

static int right(const pq_evaluated *e, size_t i)
{
    return e->outputs[i * WIDTH + (size_t)e->labels[i]] > 0.5F;
}

static void expect_pair(const pq_evaluated *a, const pq_evaluated *b, const int *labels,
                        int only)
{
    pq_decision_pair got;
    size_t           alone[2] = {0};
    double           w_all = 0.0, d_all = 0.0, variance = 0.0;

    cr_assert_eq(pq_pair_decisions(only < 0 ? NULL : names[only], a, b, &got, NULL),
                 PQ_OK);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < N; i++) {
            const double w = a->weights != NULL ? (double)a->weights[i] : 1.0;
            const double d = right(b, i) - right(a, i);
            if (only >= 0 && labels[i] != only) {
                continue;
            }
            if (pass == 0) {
                w_all += w;
                d_all += w * d;
                alone[0] += d < 0.0;
                alone[1] += d > 0.0;
            } else {
                variance += w * w * (d - d_all / w_all) * (d - d_all / w_all);
            }
        }
    }
    cr_expect_eq(got.first_alone, alone[0]);
    cr_expect_eq(got.second_alone, alone[1]);
    cr_expect_float_eq(got.difference.value, d_all / w_all, 1e-12);
    cr_expect_float_eq(got.difference.hi - got.difference.value, sqrt(variance) / w_all,
                       1e-12);
    cr_expect_float_eq(got.difference.value - got.difference.lo, sqrt(variance) / w_all,
                       1e-12);
    cr_expect_eq(isnan(got.p), a->weights != NULL);
}

Test(pair, decisions_are_compared_event_by_event)
{
    int    labels[N];
    float *weights = calloc(N, sizeof *weights);
    pq_rng rng     = pq_rng_stream(5, "events");

    for (size_t i = 0; i < N; i++) {
        labels[i]  = (int)(3.0 * pq_rng_uniform(&rng));
        weights[i] = (float)pq_rng_uniform(&rng);
    }
    for (int weighted = 0; weighted < 2; weighted++) {
        for (int turn = 0; turn < 2; turn++) {
            pq_evaluated a =
                made(0.8, labels, weighted != 0 ? weights : NULL, false, "a");
            pq_evaluated b =
                made(0.7, labels, weighted != 0 ? weights : NULL, turn != 0, "b");
            for (int only = -1; only < 3; only++) {
                expect_pair(&a, &b, labels, only);
            }
            free(a.outputs);
            free(a.labels);
            free(b.outputs);
            free(b.labels);
        }
    }
    free(weights);
}

Test(pair, other_events_and_models_that_decide_nothing_are_refused)
{
    int              labels[N] = {0}, others[N] = {1};
    pq_evaluated     a = made(0.8, labels, NULL, false, "a");
    pq_evaluated     b = made(0.8, others, NULL, false, "b");
    pq_decision_pair got;
    pq_err           err = {0};

    cr_expect_eq(pq_pair_decisions(NULL, &a, &b, &got, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "event 0 is 'x' of one model and 'y' of the other");
    err = (pq_err){0};
    cr_expect_eq(pq_pair_decisions("z", &a, &a, &got, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "no event counts");
    err = (pq_err){0};
    b.n = N - 1;
    cr_expect_eq(pq_pair_decisions(NULL, &a, &b, &got, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "there are 500 events of one model and 499 of the other");
    err       = (pq_err){0};
    b.decided = false;
    cr_expect_eq(pq_pair_decisions(NULL, &a, &b, &got, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "the outputs of the second model decide for no class");
    free(a.outputs);
    free(a.labels);
    free(b.outputs);
    free(b.labels);
}
