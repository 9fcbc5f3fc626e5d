/* Random events with ties, absent weights or not, for the tests of metrics. */
#ifndef TESTS_METRICS_EVENTS_H
#define TESTS_METRICS_EVENTS_H

#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "core/rng.h"
#include "metrics/metric.h"

enum { MAX_EVENTS = 2000, MAX_CLASSES = 5 };

typedef struct {
    float         probabilities[MAX_EVENTS * MAX_CLASSES];
    float         logits[MAX_EVENTS * MAX_CLASSES];
    float         weights[MAX_EVENTS];
    int32_t       labels[MAX_EVENTS];
    pq_evaluation e;
} events;

static const char *const event_classes[] = {"g", "q", "w", "z", "t"};

/* Logits on a grid of 0.25, shifted by 1 for the true class. */
static inline void events_fill(events *v, size_t n, size_t classes, bool weighted,
                               uint64_t seed)
{
    pq_rng rng = pq_rng_stream(seed, "test");

    for (size_t i = 0; i < n; i++) {
        double sum    = 0.0;
        v->labels[i]  = (int32_t)pq_rng_below(&rng, classes);
        v->weights[i] = weighted ? (float)(0.1 + 2.0 * pq_rng_uniform(&rng)) : 1.0f;
        for (size_t c = 0; c < classes; c++) {
            const double l = rint(4.0 * pq_rng_normal(&rng)) / 4.0 +
                             ((size_t)v->labels[i] == c ? 1.0 : 0.0);
            v->logits[i * classes + c] = (float)l;
            sum += exp(l);
        }
        for (size_t c = 0; c < classes; c++) {
            v->probabilities[i * classes + c] =
                (float)(exp((double)v->logits[i * classes + c]) / sum);
        }
    }
    v->e = (pq_evaluation){.n           = n,
                           .classes     = classes,
                           .width       = classes,
                           .head        = PQ_HEAD_LOGITS,
                           .outputs     = v->logits,
                           .labels      = v->labels,
                           .weights     = weighted ? v->weights : NULL,
                           .class_names = event_classes};
}

/* The same events as a net that ends in a softmax gives them. */
static inline void events_use_probabilities(events *v)
{
    v->e.head    = PQ_HEAD_SOFTMAX;
    v->e.outputs = v->probabilities;
}

static inline const pq_value *value_of(const pq_values *values, const char *name)
{
    const pq_value *v = pq_values_find(values, name);

    cr_assert_not_null(v, "no value '%s'", name);
    return v;
}

#endif
