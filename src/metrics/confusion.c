#include "metrics/confusion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/interval.h"

void pq_confusion(const pq_evaluation *e, double *counts)
{
    memset(counts, 0, e->classes * e->classes * sizeof *counts);
    for (size_t i = 0; i < e->n; i++) {
        counts[(size_t)e->labels[i] * e->classes + pq_evaluation_decision(e, i)] +=
            pq_evaluation_weight(e, i);
    }
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    double        *counts = NULL;
    pq_weight_sum *truth  = NULL;
    char           name[64];
    pq_status      st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_NEW(counts, e->classes * e->classes);
    PQ_NEW(truth, e->classes);
    pq_confusion(e, counts);
    for (size_t i = 0; i < e->n; i++) {
        pq_weight_add(&truth[e->labels[i]], pq_evaluation_weight(e, i));
    }
    for (size_t c = 0; c < e->classes; c++) {
        const double n = pq_weight_effective(truth[c]);
        const double value =
            n > 0.0 ? counts[c * e->classes + c] / truth[c].sum : (double)NAN;
        const pq_interval interval = pq_interval_wilson(value * n, n, 1.0);

        snprintf(name, sizeof name, "recall.%s", e->class_names[c]);
        PQ_TRY(pq_values_add(out, name, value, interval.lo, interval.hi, n, "",
                             PQ_BETTER_HIGHER, err));
    }
cleanup:
    pq_free(counts);
    pq_free(truth);
    return st;
}

static const char *const values[] = {"recall.*", NULL};

const pq_metric pq_metric_confusion = {
    .name   = "confusion",
    .values = values,
    .summary =
        "recall of each class: fraction of its events that are decided for it; the "
        "whole matrix is in the record",
    .source  = "doi:10.1080/01621459.1927.10502953",
    .version = "2",
    .refuses = pq_evaluation_undecided,
    .compute = compute,
};
