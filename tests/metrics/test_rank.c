/* Sorting by score, and everything that is summed over events, against its plain form:
 * qsort, one thread, one pass. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "metrics/auc.h"
#include "metrics/rank.h"
#include "metrics/roc.h"

static const double TOL       = 1e-12; /* relative */
static const double TOL_ERROR = 1e-14; /* of an error of an area */

enum { MOST = 40000 };

/* Kinds of scores: what a radix sort may stumble over. */
typedef enum { NORMAL, TIES, EQUAL, TINY, HUGE_SPREAD, SATURATED, SORTED, KINDS } kind;

static const char *const kinds[] = {"normal", "ties",      "equal", "denormal",
                                    "spread", "saturated", "sorted"};

static double draw(kind k, pq_rng *rng, size_t i)
{
    const double x = pq_rng_normal(rng);

    switch (k) {
    case NORMAL:
    case KINDS:
        return x;
    case TIES:
        return rint(3.0 * x) / 3.0;
    case EQUAL:
        return 0.25;
    case TINY:
        return x < 0.0 ? -0.0 : x * DBL_MIN / 4096.0;
    case HUGE_SPREAD:
        return copysign(exp(600.0 * x), pq_rng_normal(rng));
    case SATURATED:
        return x > 0.0 ? 1.0 : 1.0 - exp(-30.0 * fabs(x));
    case SORTED:
        return (double)i;
    }
    return x;
}

typedef struct {
    double score;
    size_t at;
} plain;

static int by_score(const void *a, const void *b)
{
    const plain *x = a, *y = b;

    return x->score < y->score   ? -1
           : x->score > y->score ? 1
                                 : (x->at > y->at) - (x->at < y->at);
}

Test(rank, sorts_as_qsort_does_and_keeps_the_order_of_ties)
{
    static const size_t sizes[] = {0, 1, 2, 23, 24, 25, 300, 4095, 5000, MOST};
    static plain        want[MOST];
    static uint64_t     keys[MOST], have[MOST], spare[MOST];

    for (int k = 0; k < KINDS; k++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            pq_rng rng = pq_rng_stream(s, kinds[k]);
            for (size_t i = 0; i < sizes[s]; i++) {
                want[i] = (plain){draw((kind)k, &rng, i), i};
                keys[i] = pq_rank_key(want[i].score);
            }
            qsort(want, sizes[s], sizeof *want, by_score);
            pq_rank_sort(keys, have, spare, sizes[s]);
            for (size_t i = 0; i < sizes[s]; i++) {
                const bool first = i == 0 || want[i - 1].score < want[i].score;
                cr_assert_eq(have[i], want[i].at | (first ? PQ_RANK_NEW : 0),
                             "%s, %zu scores: place %zu", kinds[k], sizes[s], i);
            }
        }
    }
}

/* A large evaluation; owned. */
typedef struct {
    float        *outputs, *weights;
    int32_t      *labels;
    const char  **names;
    pq_evaluation e;
} large;

static void make(large *l, kind k, pq_head head, size_t n, size_t classes, bool weighted)
{
    pq_rng       rng   = pq_rng_stream(n + classes, kinds[k]);
    const size_t width = head == PQ_HEAD_BINARY ? 1 : classes;

    *l = (large){.outputs = pq_calloc(n * width, sizeof(float)),
                 .weights = pq_calloc(n, sizeof(float)),
                 .labels  = pq_calloc(n, sizeof(int32_t)),
                 .names   = pq_calloc(classes, sizeof(char *))};
    for (size_t c = 0; c < classes; c++) {
        static const char *const flavours[] = {"b", "c", "light", "tau"};
        static char              text[64][8];
        (void)snprintf(text[c], sizeof *text, "k%zu", c);
        l->names[c] = classes == 4 ? flavours[c] : text[c];
    }
    for (size_t i = 0; i < n; i++) {
        l->labels[i]  = (int32_t)pq_rng_below(&rng, classes);
        l->weights[i] = i % 17 == 0 ? 0.0F : (float)(0.1 + 3.0 * pq_rng_uniform(&rng));
        for (size_t c = 0; c < width; c++) {
            const double x = draw(k, &rng, i) + ((size_t)l->labels[i] == c ? 0.7 : 0.0);
            const double p = 1.0 / (1.0 + exp(-x));
            l->outputs[i * width + c] =
                (float)(head == PQ_HEAD_LOGITS ? fmax(fmin(x, 1e30), -1e30) : p);
        }
    }
    l->e = (pq_evaluation){.n           = n,
                           .classes     = classes,
                           .width       = width,
                           .head        = head,
                           .outputs     = l->outputs,
                           .labels      = l->labels,
                           .weights     = weighted ? l->weights : NULL,
                           .class_names = l->names};
}

static void drop(large *l)
{
    pq_free(l->outputs);
    pq_free(l->weights);
    pq_free(l->labels);
    pq_free(l->names);
}

static void expect_near(double have, double want, const char *what, kind k, size_t n)
{
    cr_expect((isnan(have) && isnan(want)) ||
                  fabs(have - want) <= TOL * fmax(fabs(want), 1e-300),
              "%s of %s scores, %zu events: %.17g, plainly %.17g", what, kinds[k], n,
              have, want);
}

/* Errors of an area, whose scale is 1: those of events that nearly all tie are small
 * differences of large numbers. */
static void expect_close(double have, double want, kind k, size_t n)
{
    cr_expect((isnan(have) && isnan(want)) || fabs(have - want) <= TOL_ERROR,
              "error of the area of %s scores, %zu events: %.17g, plainly %.17g",
              kinds[k], n, have, want);
}

static void compare_areas(const large *l, kind k)
{
    const size_t classes = l->e.classes;
    pq_auc_area *have    = pq_calloc(classes + 1, sizeof *have);
    pq_auc_area *want    = pq_calloc(classes + 1, sizeof *want);

    cr_assert_eq(pq_auc_ranked(&l->e, have, NULL), PQ_OK);
    cr_assert_eq(pq_auc_plain(&l->e, want, NULL), PQ_OK);
    for (size_t c = 0; c <= classes; c++) {
        expect_near(have[c].value, want[c].value, "area", k, l->e.n);
        expect_close(sqrt(have[c].variance), sqrt(want[c].variance), k, l->e.n);
        expect_close(pow(have[c].fourths, 0.25), pow(want[c].fourths, 0.25), k, l->e.n);
        if (l->e.weights == NULL) {
            cr_expect_eq(have[c].variance == 0.0, want[c].variance == 0.0);
        }
        if (!isnan(want[c].value)) {
            expect_near(have[c].smaller, want[c].smaller, "smaller side", k, l->e.n);
            cr_expect_eq(have[c].lone, want[c].lone);
        }
    }
    pq_free(have);
    pq_free(want);
}

/* Few events, and so many that they are cut into slices. */
Test(rank, areas_agree_with_plain_ones_for_every_kind_of_scores, .timeout = 300)
{
    static const size_t  sizes[] = {2, 3, 40, 3000, (1 << 17) + 1000};
    static const pq_head heads[] = {PQ_HEAD_LOGITS, PQ_HEAD_SIGMOID, PQ_HEAD_BINARY};

    for (int k = 0; k < KINDS; k++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (size_t h = 0; h < 3; h++) {
                const size_t classes = heads[h] == PQ_HEAD_BINARY ? 2
                                       : sizes[s] > 5000          ? 3
                                                                  : 19;
                large        l;
                make(&l, (kind)k, heads[h], sizes[s], classes, (s + h) % 2 == 0);
                l.e.threads = 2;
                compare_areas(&l, (kind)k);
                drop(&l);
            }
        }
    }
}

static bool same_bits(const double *a, const double *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Whether a metric has values of these events. */
static bool has_values(const pq_metric *m, const pq_evaluation *e)
{
    return !m->eventless && (m->refuses == NULL || m->refuses(e) == NULL) &&
           (m->usual == NULL || m->usual(e));
}

/* A metric's parameters as they are where none is given; freed with pq_free. */
static void *usual_params(const pq_metric *m)
{
    void *params = pq_calloc(1, m->params_size > 0 ? m->params_size : 1);

    cr_assert_eq(pq_params_default(m->params, params, NULL), PQ_OK);
    return params;
}

Test(rank, no_metric_depends_on_the_number_of_threads, .timeout = 300)
{
    static const size_t  sizes[]  = {50, 40000, (1 << 17) + 77};
    static const pq_head heads[]  = {PQ_HEAD_SIGMOID, PQ_HEAD_LOGITS};
    size_t               compared = 0;

    for (size_t s = 0; s < 2 * sizeof sizes / sizeof *sizes; s++) {
        large l;
        make(&l, TIES, heads[s % 2], sizes[s / 2], 4, true);
        for (size_t m = 0; pq_metrics[m] != NULL; m++) {
            pq_values one = {0}, more = {0};
            if (!has_values(pq_metrics[m], &l.e)) {
                continue;
            }
            void *params = usual_params(pq_metrics[m]);
            compared |= (size_t)1 << m;
            l.e.threads = 1;
            cr_assert_eq(pq_metrics[m]->compute(&l.e, params, &one, NULL), PQ_OK);
            for (l.e.threads = 2; l.e.threads <= 5; l.e.threads += 3) {
                cr_assert_eq(pq_metrics[m]->compute(&l.e, params, &more, NULL), PQ_OK);
                cr_assert_eq(one.n, more.n);
                for (size_t i = 0; i < one.n; i++) {
                    const pq_value *a = &one.items[i], *b = &more.items[i];
                    cr_expect(same_bits(&a->value, &b->value) &&
                                  same_bits(&a->lo, &b->lo) &&
                                  same_bits(&a->hi, &b->hi) && same_bits(&a->n, &b->n),
                              "%s of %zu events on %zu threads: %.17g, on one %.17g",
                              a->name, sizes[s / 2], l.e.threads, b->value, a->value);
                }
                pq_values_free(&more);
            }
            pq_values_free(&one);
            pq_free(params);
        }
        drop(&l);
    }
    for (size_t m = 0; pq_metrics[m] != NULL; m++) {
        cr_expect(pq_metrics[m]->eventless || (compared >> m & 1) != 0,
                  "%s: not compared", pq_metrics[m]->name);
    }
}

/* What is kept of an event's softmax gives the bits that it gives when computed anew, of
 * few outputs, of so many that their largest is kept too, and of events in slices. */
Test(rank, kept_norms_change_no_bit_of_a_metric, .timeout = 300)
{
    static const size_t sizes[][2] = {
        {3000, 4}, {3000, PQ_TOPS_WIDTH + 3}, {(1 << 17) + 9, 3}};

    for (size_t s = 0; s < 3; s++) {
        const size_t n = sizes[s][0], classes = sizes[s][1];
        double      *rests = pq_calloc(n, sizeof *rests);
        float       *tops  = pq_calloc(n, sizeof *tops);
        large        l;

        make(&l, NORMAL, PQ_HEAD_LOGITS, n, classes, s == 0);
        for (size_t i = 0; i < n; i++) {
            const pq_head_norm norm =
                pq_head_normalise(l.e.head, classes, l.outputs + i * classes);
            rests[i] = norm.rest;
            tops[i]  = (float)norm.top;
        }
        for (size_t m = 0; pq_metrics[m] != NULL; m++) {
            pq_values anew = {0}, kept = {0};
            if (!has_values(pq_metrics[m], &l.e)) {
                continue;
            }
            void *params = usual_params(pq_metrics[m]);
            l.e.rests    = NULL;
            l.e.tops     = NULL;
            cr_assert_eq(pq_metrics[m]->compute(&l.e, params, &anew, NULL), PQ_OK);
            l.e.rests = rests;
            l.e.tops  = classes > PQ_TOPS_WIDTH ? tops : NULL;
            cr_assert_eq(pq_metrics[m]->compute(&l.e, params, &kept, NULL), PQ_OK);
            cr_assert_eq(anew.n, kept.n);
            for (size_t i = 0; i < anew.n; i++) {
                const pq_value *a = &anew.items[i], *b = &kept.items[i];
                cr_expect(same_bits(&a->value, &b->value) && same_bits(&a->lo, &b->lo) &&
                              same_bits(&a->hi, &b->hi),
                          "%s: %.17g, anew %.17g", a->name, b->value, a->value);
            }
            pq_values_free(&anew);
            pq_values_free(&kept);
            pq_free(params);
        }
        pq_free(rests);
        pq_free(tops);
        drop(&l);
    }
}

/* The sums of blocks against one loop: accuracy, recalls, loss. */
Test(rank, sums_over_blocks_agree_with_one_loop)
{
    large     l;
    double    sum = 0.0, right = 0.0, loss = 0.0, of[4] = {0}, right_of[4] = {0};
    pq_values values = {0};

    make(&l, NORMAL, PQ_HEAD_LOGITS, 100000, 4, true);
    for (size_t i = 0; i < l.e.n; i++) {
        const size_t label = (size_t)l.labels[i];
        const double w     = (double)l.weights[i];
        const bool   is    = pq_evaluation_decision(&l.e, i) == label;
        sum += w;
        right += is ? w : 0.0;
        of[label] += w;
        right_of[label] += is ? w : 0.0;
        loss += w * pq_head_loss(l.e.head, l.e.width, l.outputs + i * l.e.width, label);
    }
    for (const char *const *name =
             (const char *const[]){"accuracy", "log_loss", "confusion", NULL};
         *name != NULL; name++) {
        char params[64] = {0};
        cr_assert_eq(pq_params_default(pq_metric_find(*name)->params, params, NULL),
                     PQ_OK);
        cr_assert_eq(pq_metric_find(*name)->compute(&l.e, params, &values, NULL), PQ_OK);
    }
    expect_near(pq_values_find(&values, "accuracy")->value, right / sum, "accuracy",
                NORMAL, l.e.n);
    expect_near(pq_values_find(&values, "log_loss")->value, loss / sum, "loss", NORMAL,
                l.e.n);
    for (size_t c = 0; c < 4; c++) {
        expect_near(values.items[2 + c].value, right_of[c] / of[c], "recall", NORMAL,
                    l.e.n);
    }
    pq_values_free(&values);
    drop(&l);
}

Test(rank, survives_every_failed_allocation)
{
    static const size_t sizes[] = {100, (1 << 17) + 1};

    for (size_t s = 0; s < 2; s++) {
        large       l;
        pq_auc_area areas[4];
        size_t      live, failed = 0;

        make(&l, NORMAL, PQ_HEAD_SIGMOID, sizes[s], 3, false);
        cr_assert_eq(pq_auc_ranked(&l.e, areas, NULL), PQ_OK);
        live = pq_memory_live();
        for (size_t n = 0; n < 40; n++) { /* threads do without what fails for them */
            pq_memory_fail_after(n);
            const pq_status st = pq_auc_ranked(&l.e, areas, NULL);
            pq_memory_fail_after(SIZE_MAX);
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
            cr_assert_eq(pq_memory_live(), live, "allocation %zu left something", n);
            failed += st == PQ_ERR_NOMEM ? 1 : 0;
        }
        cr_expect_geq(failed, 7, "%zu of seven buffers failed", failed);
        drop(&l);
    }
}
