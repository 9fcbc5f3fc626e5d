/* Multiply-accumulates of one sample. */
#include <math.h>

#include "metrics/metric.h"

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    pq_status st;

    (void)params;
    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'macs' needs the model, not only its outputs");
    PQ_TRY(pq_values_add(out, "macs", (double)pq_graph_macs(e->graph), (double)NAN,
                         (double)NAN, 0.0, "MAC", PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

static const char *const values[] = {"macs", NULL};

const pq_metric pq_metric_macs = {
    .name      = "macs",
    .values    = values,
    .summary   = "multiply-accumulates of one sample, zeros included",
    .source    = "",
    .version   = "1",
    .eventless = true,
    .compute   = compute,
};
