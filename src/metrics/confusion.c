#include "metrics/confusion.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/blocks.h"
#include "metrics/fraction.h"

void pq_confusion(const pq_evaluation *e, double *counts)
{
    memset(counts, 0, e->classes * e->classes * sizeof *counts);
    for (size_t i = 0; i < e->n; i++) {
        counts[(size_t)e->labels[i] * e->classes + pq_evaluation_decision(e, i)] +=
            pq_evaluation_weight(e, i);
    }
}

/* sums: a pq_fraction of each class. */
static void add_recalls(const pq_evaluation *e, const void *context, size_t first,
                        size_t end, double *sums)
{
    (void)context;
    for (size_t i = first; i < end; i++) {
        const size_t label = (size_t)e->labels[i];
        double      *of    = sums + label * PQ_FRACTION_SUMS;
        pq_fraction  recall;
        memcpy(&recall, of, sizeof recall);
        pq_fraction_add(&recall, pq_evaluation_weight(e, i),
                        pq_evaluation_decision(e, i) == label);
        memcpy(of, &recall, sizeof recall);
    }
}

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    pq_fraction *recall = NULL;
    pq_status    st;

    (void)params;
    PQ_TRY(pq_evaluation_check(e, err));
    PQ_NEW(recall, e->classes);
    PQ_TRY(pq_blocks_sum(e, add_recalls, NULL, e->classes * PQ_FRACTION_SUMS,
                         (double *)recall, err));
    for (size_t c = 0; c < e->classes; c++) {
        const pq_interval interval = pq_fraction_wilson(&recall[c]);
        const pq_value    value    = {.value  = pq_fraction_value(&recall[c]),
                                      .lo     = interval.lo,
                                      .hi     = interval.hi,
                                      .n      = pq_fraction_effective(&recall[c]),
                                      .better = PQ_BETTER_HIGHER,
                                      .note   = pq_fraction_note(&recall[c])};

        PQ_TRY(pq_values_add_class(out, "recall", e->class_names[c], value, err));
    }
cleanup:
    pq_free(recall);
    return st;
}

static const char *refuses(const pq_evaluation *e)
{
    _Static_assert(PQ_CONFUSION_CLASSES_MOST == 1024, "said in the text");
    return e->width > PQ_CONFUSION_CLASSES_MOST
               ? "the matrix of more than 1024 classes is not made"
               : pq_evaluation_undecided(e);
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
    .refuses = refuses,
    .compute = compute,
};
