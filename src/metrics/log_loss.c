/* Mean of -ln p(label), with its standard error. */
#include <math.h>

#include "metrics/blocks.h"
#include "metrics/interval.h"

/* Of logits their norms, which are there, say it without another softmax. */
static double loss(const pq_evaluation *e, size_t event)
{
    if (e->head == PQ_HEAD_LOGITS && e->width > 1) {
        return -pq_evaluation_score(e, event, (size_t)e->labels[event]);
    }
    return pq_head_loss(e->head, e->width, e->outputs + event * e->width,
                        (size_t)e->labels[event]);
}

enum { WEIGHT, SQUARES, LOSS, SUMS };

static void add_losses(const pq_evaluation *e, const void *context, size_t first,
                       size_t end, double *sums)
{
    (void)context;
    for (size_t i = first; i < end; i++) {
        const double w = pq_evaluation_weight(e, i);
        sums[WEIGHT] += w;
        sums[SQUARES] += w * w;
        sums[LOSS] += w * loss(e, i);
    }
}

/* Second and fourth powers about the mean, which is the context. */
static void add_spread(const pq_evaluation *e, const void *context, size_t first,
                       size_t end, double *sums)
{
    const double mean = *(const double *)context;

    for (size_t i = first; i < end; i++) {
        const double d = pq_evaluation_weight(e, i) * (loss(e, i) - mean);
        sums[0] += d * d;
        sums[1] += d * d * d * d;
    }
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    double    sums[SUMS], spread[2];
    pq_status st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_TRY(pq_blocks_sum(e, add_losses, NULL, SUMS, sums, err));
    const double mean = sums[LOSS] / sums[WEIGHT];
    const double n    = pq_weight_effective((pq_weight_sum){sums[WEIGHT], sums[SQUARES]});

    PQ_TRY(pq_blocks_sum(e, add_spread, &mean, 2, spread, err));
    const double error = n > 1.0 ? pq_student_sigma(pq_freedom(spread[0], spread[1])) *
                                       sqrt(spread[0] * n / (n - 1.0)) / sums[WEIGHT]
                                 : (double)NAN;

    PQ_TRY(pq_values_add(out, "log_loss", mean, mean - error, mean + error, n, "nat",
                         PQ_BETTER_LOWER, err));
    if (n < PQ_FEW_EFFECTIVE) {
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
