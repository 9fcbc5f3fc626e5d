/* Fraction of events that are decided for their label. */
#include <string.h>

#include "metrics/blocks.h"
#include "metrics/fraction.h"
#include "metrics/metric.h"

enum { WILSON, CLOPPER_PEARSON };
enum {
    TIED = PQ_FRACTION_SUMS,
    SUMS /* numbers of a block: the fraction, events tied */
};

static const double many_tied = 0.01;

static const char note_tied[] = "more than 1 % of the events have several largest "
                                "outputs, of which the first decides "
                                "or rounding does";

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

static void add_block(const pq_evaluation *e, const void *context, size_t first,
                      size_t end, double *sums)
{
    pq_fraction f = {0};

    (void)context;
    sums[TIED] = 0.0;
    for (size_t i = first; i < end; i++) {
        const size_t decision = pq_evaluation_decision(e, i);
        pq_fraction_add(&f, pq_evaluation_weight(e, i), decision == (size_t)e->labels[i]);
        sums[TIED] += pq_evaluation_tied(e, i, decision) ? 1.0 : 0.0;
    }
    memcpy(sums, &f, sizeof f);
}

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const accuracy_params *p          = values;
    double                 sums[SUMS] = {0};
    pq_fraction            f;
    pq_interval            interval;
    const char            *note;
    pq_status              st;

    PQ_TRY(pq_evaluation_check(e, err));
    PQ_TRY(pq_blocks_sum(e, add_block, NULL, SUMS, sums, err));
    memcpy(&f, sums, sizeof f);
    interval = p != NULL && p->interval == CLOPPER_PEARSON
                   ? pq_fraction_clopper_pearson(&f)
                   : pq_fraction_wilson(&f);
    PQ_TRY(pq_values_add(out, "accuracy", pq_fraction_value(&f), interval.lo, interval.hi,
                         pq_fraction_effective(&f), "", PQ_BETTER_HIGHER, err));
    note = pq_fraction_note(&f);
    out->items[out->n - 1].note =
        note == NULL && sums[TIED] > many_tied * (double)e->n ? note_tied : note;
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
