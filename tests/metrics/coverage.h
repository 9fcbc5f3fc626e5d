/* How often printed intervals hold the truth, by simulation: what docs/measurement.md
 * lists and test_coverage.c checks in short. */
#ifndef TESTS_METRICS_COVERAGE_H
#define TESTS_METRICS_COVERAGE_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/rng.h"
#include "metrics/fraction.h"
#include "metrics/latency.h"
#include "metrics/metric.h"
#include "metrics/tests.h"

enum { COVERAGE_EVENTS_MAX = 2000, COVERAGE_CLASSES = 2 };

typedef enum { EQUAL, UNIFORM, LOGNORMAL, HEAVY_SIGNAL, SIGNED } coverage_weights;

typedef struct coverage_row coverage_row;

/* One pseudo-experiment of n events: whether the interval holds the truth; `defined` says
 * whether there is an interval, `warned` whether it carries a note. */
typedef struct {
    bool defined, warned, holds;
} coverage_trial;

struct coverage_row {
    const char      *interval, *setting;
    double           nominal;
    coverage_weights weights;
    coverage_trial (*run)(const coverage_row *row, size_t n, pq_rng *rng);
    const pq_metric *metric; /* where one row serves several */
};

static const char *const coverage_class_names[COVERAGE_CLASSES] = {"rest", "signal"};

/* HEAVY_SIGNAL: 5 % of the events, of weight 19, so that they make up half. SIGNED: 15 %
 * of weight -1. */
static inline float coverage_weight(coverage_weights kind, bool signal, pq_rng *rng)
{
    switch (kind) {
    case UNIFORM:
        return (float)(2.0 * pq_rng_uniform(rng));
    case LOGNORMAL:
        return (float)exp(pq_rng_normal(rng));
    case HEAVY_SIGNAL:
        return signal ? 19.0F : 1.0F;
    case SIGNED:
        return pq_rng_uniform(rng) < 0.15 ? -1.0F : 1.0F;
    case EQUAL:
        break;
    }
    return 1.0F;
}

static inline coverage_trial coverage_of(double lo, double hi, double truth,
                                         const char *note)
{
    return (coverage_trial){.defined = isfinite(lo) && isfinite(hi),
                            .warned  = note != NULL,
                            .holds   = lo <= truth && truth <= hi};
}

/* Events that pass with a probability drawn from 0.5 .. 0.99; of heavy signal, with one
 * lower by 0.2 than the rest. */
static inline coverage_trial coverage_fraction(const coverage_row *row, size_t n,
                                               pq_rng *rng, bool exact)
{
    const bool   heavy = row->weights == HEAVY_SIGNAL;
    const double p = 0.5 + 0.49 * pq_rng_uniform(rng), signal_p = p - 0.2;
    const double truth = heavy ? (0.95 * signal_p + 0.95 * p) / 1.9 : p;
    pq_fraction  f     = {0};
    pq_interval  interval;

    for (size_t i = 0; i < n; i++) {
        const bool signal = heavy && pq_rng_uniform(rng) < 0.05;
        pq_fraction_add(&f, (double)coverage_weight(row->weights, signal, rng),
                        pq_rng_uniform(rng) < (signal ? signal_p : p));
    }
    interval = exact ? pq_fraction_clopper_pearson(&f) : pq_fraction_wilson(&f);
    return coverage_of(interval.lo, interval.hi, truth, pq_fraction_note(&f));
}

static inline coverage_trial coverage_wilson(const coverage_row *row, size_t n,
                                             pq_rng *rng)
{
    return coverage_fraction(row, n, rng, false);
}

static inline coverage_trial coverage_clopper(const coverage_row *row, size_t n,
                                              pq_rng *rng)
{
    return coverage_fraction(row, n, rng, true);
}

/* Scores of two unit Gaussians, `shift` apart: AUC = Phi(shift / sqrt 2), drawn between
 * 0.6 and 0.95. Losses are exponential with mean 1/2. */
static inline coverage_trial coverage_metric(const coverage_row *row, size_t n,
                                             pq_rng *rng)
{
    static float   probabilities[COVERAGE_EVENTS_MAX * COVERAGE_CLASSES];
    static float   weights[COVERAGE_EVENTS_MAX];
    static int32_t labels[COVERAGE_EVENTS_MAX];
    const bool     is_auc = row->metric->name[0] == 'a';
    const double   shift  = 0.36 + 1.97 * pq_rng_uniform(rng);
    const double   share  = row->weights == HEAVY_SIGNAL ? 0.05 : 0.3;
    pq_values      values = {0};
    pq_evaluation  e      = {.n           = n,
                             .classes     = COVERAGE_CLASSES,
                             .width       = COVERAGE_CLASSES,
                             .head        = PQ_HEAD_SOFTMAX,
                             .outputs     = probabilities,
                             .labels      = labels,
                             .weights     = row->weights == EQUAL ? NULL : weights,
                             .negative    = row->weights == SIGNED,
                             .class_names = coverage_class_names};
    coverage_trial trial;

    for (size_t i = 0; i < n; i++) {
        const bool   signal = pq_rng_uniform(rng) < share;
        const double x      = pq_rng_normal(rng) + (signal ? shift : 0.0);
        const double p =
            is_auc ? 1.0 / (1.0 + exp(-x)) : exp(0.5 * log(1.0 - pq_rng_uniform(rng)));
        labels[i]  = signal;
        weights[i] = coverage_weight(row->weights, signal, rng);
        probabilities[2 * i + (is_auc || signal ? 1 : 0)] = (float)p;
        probabilities[2 * i + (is_auc || signal ? 0 : 1)] = (float)(1.0 - p);
    }
    const pq_status st = row->metric->compute(&e, NULL, &values, NULL);
    assert(st == PQ_OK || row->weights == SIGNED); /* which may add up to nothing */
    if (st != PQ_OK) {
        return (coverage_trial){0};
    }
    const pq_value *v = pq_values_find(&values, is_auc ? "auc.signal" : "log_loss");
    trial = coverage_of(v->lo, v->hi, is_auc ? 0.5 * erfc(-shift / 2.0) : 0.5, v->note);
    pq_values_free(&values);
    return trial;
}

/* Times with a long tail, lognormal around 1. */
static inline coverage_trial coverage_median(const coverage_row *row, size_t n,
                                             pq_rng *rng)
{
    static double values[COVERAGE_EVENTS_MAX];
    double        median, lo, hi;

    (void)row;
    for (size_t i = 0; i < n; i++) {
        values[i] = exp(pq_rng_normal(rng));
    }
    pq_median(values, n, &median, &lo, &hi);
    return coverage_of(lo, hi, 1.0, NULL);
}

/* Ratios of times that drift together: two samples of one sweep share most of it. */
static inline coverage_trial coverage_ratio(const coverage_row *row, size_t n,
                                            pq_rng *rng)
{
    static double ratios[COVERAGE_EVENTS_MAX];
    double        median, lo, hi;

    (void)row;
    for (size_t i = 0; i < n; i++) {
        const double drift = exp(pq_rng_normal(rng));
        ratios[i]          = drift * exp(0.1 * pq_rng_normal(rng)) /
                    (drift * exp(0.1 * pq_rng_normal(rng)) / 1.5);
    }
    pq_median(ratios, n, &median, &lo, &hi);
    return coverage_of(lo, hi, 1.5, NULL);
}

extern const pq_metric pq_metric_auc, pq_metric_log_loss;

static const coverage_row coverage_rows[] = {
    {"accuracy, recall: Wilson", "no weights", 68.3, EQUAL, coverage_wilson, NULL},
    {"accuracy, recall: Wilson", "weights 0 to 2", 68.3, UNIFORM, coverage_wilson, NULL},
    {"accuracy, recall: Wilson", "lognormal weights", 68.3, LOGNORMAL, coverage_wilson,
     NULL},
    {"accuracy, recall: Wilson", "5 % of weight 19", 68.3, HEAVY_SIGNAL, coverage_wilson,
     NULL},
    {"Clopper-Pearson", "no weights", 68.3, EQUAL, coverage_clopper, NULL},
    {"Clopper-Pearson", "weights 0 to 2", 68.3, UNIFORM, coverage_clopper, NULL},
    {"Clopper-Pearson", "lognormal weights", 68.3, LOGNORMAL, coverage_clopper, NULL},
    {"Clopper-Pearson", "5 % of weight 19", 68.3, HEAVY_SIGNAL, coverage_clopper, NULL},
    {"accuracy, recall, efficiency: linear", "15 % of weight -1", 68.3, SIGNED,
     coverage_wilson, NULL},
    {"AUC: DeLong", "15 % of weight -1", 68.3, SIGNED, coverage_metric, &pq_metric_auc},
    {"log loss", "15 % of weight -1", 68.3, SIGNED, coverage_metric, &pq_metric_log_loss},
    {"AUC: DeLong", "no weights", 68.3, EQUAL, coverage_metric, &pq_metric_auc},
    {"AUC: DeLong", "weights 0 to 2", 68.3, UNIFORM, coverage_metric, &pq_metric_auc},
    {"AUC: DeLong", "lognormal weights", 68.3, LOGNORMAL, coverage_metric,
     &pq_metric_auc},
    {"AUC: DeLong", "5 % of weight 19", 68.3, HEAVY_SIGNAL, coverage_metric,
     &pq_metric_auc},
    {"log loss", "no weights", 68.3, EQUAL, coverage_metric, &pq_metric_log_loss},
    {"log loss", "weights 0 to 2", 68.3, UNIFORM, coverage_metric, &pq_metric_log_loss},
    {"log loss", "lognormal weights", 68.3, LOGNORMAL, coverage_metric,
     &pq_metric_log_loss},
    {"log loss", "5 % of weight 19", 68.3, HEAVY_SIGNAL, coverage_metric,
     &pq_metric_log_loss},
    {"median of times", "long tail", 95.0, EQUAL, coverage_median, NULL},
    {"speed-up: median of paired ratios", "common drift", 95.0, EQUAL, coverage_ratio,
     NULL},
};

enum { COVERAGE_ROWS = sizeof coverage_rows / sizeof *coverage_rows };

/* Per cent of the intervals that there are which hold the truth; those that carry a note
 * are counted apart. */
typedef struct {
    double all, warned, noted; /* coverage of all, of the noted, and the share of these */
} coverage;

static inline coverage coverage_measure(const coverage_row *row, size_t n, size_t trials,
                                        uint64_t seed)
{
    pq_rng rng     = pq_rng_stream(seed, row->setting);
    double defined = 0.0, holds = 0.0, noted = 0.0, noted_hold = 0.0;

    for (size_t t = 0; t < trials; t++) {
        const coverage_trial trial = row->run(row, n, &rng);
        defined += trial.defined;
        holds += trial.defined && trial.holds;
        noted += trial.defined && trial.warned;
        noted_hold += trial.defined && trial.warned && trial.holds;
    }
    return (coverage){100.0 * holds / defined, 100.0 * noted_hold / noted,
                      100.0 * noted / defined};
}

#endif
