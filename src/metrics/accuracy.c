/* Fraction of events that are decided for their label. */
#include "metrics/interval.h"
#include "metrics/metric.h"

enum { WILSON, CLOPPER_PEARSON };

typedef struct {
    int interval;
} accuracy_params;

static const char *const intervals[] = {"wilson", "clopper-pearson", NULL};

static const pq_param params[] = {
    {.name     = "interval",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(accuracy_params, interval),
     .fallback = "wilson",
     .choices  = intervals,
     .help     = "68.3 % interval: wilson, or clopper-pearson (never too narrow)"},
    {0},
};

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const accuracy_params *p       = values;
    pq_weight_sum          all     = {0};
    double                 correct = 0.0;
    pq_interval            interval;
    pq_status              st;

    PQ_TRY(pq_evaluation_check(e, err));
    for (size_t i = 0; i < e->n; i++) {
        const double w = pq_evaluation_weight(e, i);
        pq_weight_add(&all, w);
        correct += pq_evaluation_decision(e, i) == (size_t)e->labels[i] ? w : 0.0;
    }
    const double value = correct / all.sum, n = pq_weight_effective(all);

    if (p != NULL && p->interval == CLOPPER_PEARSON) {
        interval = pq_interval_clopper_pearson(value * n, n, PQ_ONE_SIGMA);
    } else {
        interval = pq_interval_wilson(value * n, n, 1.0);
    }
    PQ_TRY(pq_values_add(out, "accuracy", value, interval.lo, interval.hi, n, "",
                         PQ_BETTER_HIGHER, err));
cleanup:
    return st;
}

static const char *const values[] = {"accuracy", NULL};

const pq_metric pq_metric_accuracy = {
    .name    = "accuracy",
    .values  = values,
    .summary = "fraction of events decided for their label: by the largest output, of "
               "one output by p > 0.5",
    .source  = "doi:10.1080/01621459.1927.10502953",
    .params  = params,
    .params_size = sizeof(accuracy_params),
    .version     = "2",
    .refuses     = pq_evaluation_undecided,
    .compute     = compute,
};
