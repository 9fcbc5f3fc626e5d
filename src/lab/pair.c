#include "lab/pair.h"

#include <string.h>

#include "metrics/paired.h"

pq_status pq_evaluate_paired(pq_graph *reference, const pq_graph *graph,
                             pq_dataset *dataset, size_t split,
                             const pq_evaluate_options *options, pq_evaluated *e,
                             pq_err *err)
{
    const pq_metric_choice cheap = {.metric = pq_metric_find("macs")};
    pq_evaluate_options    how   = *options;
    const void            *keys  = NULL;
    pq_evaluated           first = {0};
    pq_evaluation          before, after;
    pq_status              st = PQ_OK;

    if (pq_values_find(&e->values, "btag.distinct") == NULL) {
        return PQ_OK;
    }
    for (size_t i = 0; i < options->n_metrics; i++) {
        keys = strcmp(options->metrics[i].metric->name, "btag") == 0
                   ? options->metrics[i].params
                   : keys;
    }
    how.n_metrics = 1; /* outputs are what is wanted of it */
    how.metrics   = &cheap;
    PQ_TRY(pq_evaluate(reference, dataset, split, &how, &first, err));
    before = pq_evaluated_view(&first, reference, 0);
    after  = pq_evaluated_view(e, graph, 0);
    PQ_TRY(pq_btag_add_paired(&before, &after, keys, &e->values, err));
cleanup:
    pq_evaluated_free(&first);
    return st;
}
