/* Mean of -ln p(label), with its standard error. */
#include <math.h>

#include "metrics/interval.h"
#include "metrics/metric.h"

static double loss(const pq_evaluation *e, size_t event)
{
    return pq_head_loss(e->head, e->width, e->outputs + event * e->width,
                        (size_t)e->labels[event]);
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    pq_weight_sum all = {0};
    double        sum = 0.0, spread = 0.0, fourths = 0.0;
    pq_status     st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    for (size_t i = 0; i < e->n; i++) {
        const double w = pq_evaluation_weight(e, i);
        pq_weight_add(&all, w);
        sum += w * loss(e, i);
    }
    const double mean = sum / all.sum, n = pq_weight_effective(all);

    for (size_t i = 0; i < e->n; i++) {
        const double d = pq_evaluation_weight(e, i) * (loss(e, i) - mean);
        spread += d * d;
        fourths += d * d * d * d;
    }
    const double error = n > 1.0 ? pq_student_sigma(pq_freedom(spread, fourths)) *
                                       sqrt(spread * n / (n - 1.0)) / all.sum
                                 : (double)NAN;

    PQ_TRY(pq_values_add(out, "log_loss", mean, mean - error, mean + error, n, "nat",
                         PQ_BETTER_LOWER, err));
    if (e->weights != NULL && n < PQ_FEW_EFFECTIVE) {
        out->items[out->n - 1].note = pq_note_few;
    }
cleanup:
    return st;
}

static const char *const values[] = {"log_loss", NULL};

const pq_metric pq_metric_log_loss = {
    .name   = "log_loss",
    .values = values,
    .summary =
        "mean -ln p(label) in nats; from logits, also those that a softmax or one "
        "sigmoid "
        "at the end is given, else p is at least 1.19e-7; of independent sigmoids the "
        "sum over outputs",
    .source  = "Good, J. R. Stat. Soc. B 14 (1952)",
    .version = "3",
    .refuses = pq_evaluation_improbable,
    .compute = compute,
};
